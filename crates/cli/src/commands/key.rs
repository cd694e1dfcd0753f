//! `fireclay key`: makes, lists and revokes API keys, in the data directory or by the service that owns it.

use crate::args::{KeyArguments, KeyCommand, KeyRole as Role};
use crate::client::Client;
use crate::env::Settings;
use anyhow::Context;
use model::{Rejection, TenantId};
use serde_json::{Value, json};
use server::http::keys::{self, CreateKey, CreatedKey, Key, KeyList, KeyRole};
use server::service::now_ms;
use std::path::Path;
use store::{Actor, KeyId, NewKey, Options, Page, Scope, Store, StoreError};

/// Where keys are.
enum Place {
    /// In a data directory that nobody else has.
    Here(Store),
    /// With a service.
    There(Client),
}

/// Makes, lists or revokes keys.
pub fn key(arguments: &KeyArguments, settings: &Settings) -> anyhow::Result<u8> {
    let place = place(arguments, settings)?;
    match &arguments.command {
        KeyCommand::Create { role, tenant, name, expires_in } => {
            let expires_at_ms = expires_in.map(|ms| now_ms().saturating_add_unsigned(ms));
            let asked = CreateKey {
                tenant: Some(tenant.clone()),
                role: match role {
                    Role::Admin => KeyRole::Admin,
                    Role::Tenant => KeyRole::Tenant,
                },
                name: name.clone(),
                expires_at: expires_at_ms.map(worker::run::time),
            };
            show_created(&place.create(asked, expires_at_ms)?, arguments.json)?;
        }
        KeyCommand::List { tenant } => show_list(&place.list(tenant.as_ref())?, arguments.json)?,
        KeyCommand::Revoke { id } => {
            place.revoke(id)?;
            println!("revoked {id}");
        }
    }
    Ok(0)
}

fn place(arguments: &KeyArguments, settings: &Settings) -> anyhow::Result<Place> {
    let key = || match &arguments.api_key_file {
        Some(path) => first_line(path).map(Some),
        None => Ok(settings.api_key.clone()),
    };
    if let Some(url) = arguments.url.as_ref().or(settings.url.as_ref()) {
        return Ok(Place::There(Client::at(url, key()?)?));
    }
    match Store::open(&settings.data, Options::default()) {
        Ok(store) => Ok(Place::Here(store)),
        Err(in_use @ StoreError::InUse { .. }) => {
            let client = Client::of(&settings.data, key()?);
            Ok(Place::There(client.with_context(|| format!("{in_use}, which is no service"))?))
        }
        Err(error) => Err(error.into()),
    }
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

impl Place {
    fn create(&self, asked: CreateKey, expires_at_ms: Option<i64>) -> anyhow::Result<CreatedKey> {
        let store = match self {
            Self::There(client) => {
                return client.call("POST", "/v1/keys", Some(&serde_json::to_value(asked)?));
            }
            Self::Here(store) => store,
        };
        let now = now_ms();
        if asked.role == KeyRole::Tenant && !store.has_admin_key(now) {
            let hint = "make one with --role admin first: with this one alone, nobody could ask the service for keys";
            return Err(Rejection::new("role", "there is no administrator's key", hint).into());
        }
        let new = NewKey {
            tenant: asked.tenant.unwrap_or_else(TenantId::local),
            role: asked.role.into(),
            name: asked.name,
            expires_at_ms,
        };
        let made = store.create_key(new, keys::random()?, Actor::Local, now).wait().map_err(told)?;
        Ok(CreatedKey { row: made.row.into(), key: made.plain })
    }

    /// All keys, page by page.
    fn list(&self, tenant: Option<&TenantId>) -> anyhow::Result<Vec<Key>> {
        let mut all = Vec::new();
        match self {
            Self::There(client) => {
                let only = tenant.map(|tenant| format!("&tenant={tenant}")).unwrap_or_default();
                let mut page = format!("/v1/keys?limit={}{only}", store::PAGE_ROWS_MAX);
                loop {
                    let KeyList { items, next } = client.call("GET", &page, None)?;
                    all.extend(items);
                    let Some(next) = next else { return Ok(all) };
                    page = format!("/v1/keys?limit={}{only}&cursor={next}", store::PAGE_ROWS_MAX);
                }
            }
            Self::Here(store) => {
                let scope = tenant.map_or(Scope::Admin, |tenant| Scope::Tenant(tenant.clone()));
                let mut page = Page::default();
                loop {
                    let listed = store.reader().keys(&scope, &page)?;
                    all.extend(listed.items.into_iter().map(Key::from));
                    let Some(next) = listed.next else { return Ok(all) };
                    page.cursor = Some(next);
                }
            }
        }
    }

    fn revoke(&self, id: &str) -> anyhow::Result<()> {
        let unknown = || {
            Rejection::new(
                "id",
                format!("there is no key {id:?}"),
                "`fireclay key list` shows those there are",
            )
        };
        // Whoever copied the whole key means it too; its secret is not sent anywhere.
        let public = id.strip_prefix("fc_").and_then(|rest| rest.split('_').next()).unwrap_or(id);
        let key = KeyId::parse(public).ok_or_else(unknown)?;
        match self {
            Self::There(client) => client.call::<Value>("DELETE", &format!("/v1/keys/{key}"), None).map(drop),
            Self::Here(store) => match store.revoke_key(Scope::Admin, &key, Actor::Local, now_ms()).wait() {
                Err(StoreError::NotFound) => Err(unknown().into()),
                Err(last @ StoreError::LastAdmin) => {
                    let hint = "`fireclay key create --role admin` makes another; then this one can go";
                    Err(Rejection::new("id", last.to_string(), hint).into())
                }
                done => Ok(done?),
            },
        }
    }
}

/// A mistake of the caller's is a rejection, whoever found it.
fn told(error: StoreError) -> anyhow::Error {
    if error.is_mistake() {
        return Rejection::new("key", error.to_string(), "see `fireclay key create --help`").into();
    }
    error.into()
}

fn show_created(made: &CreatedKey, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(made)?);
        return Ok(());
    }
    let Key { id, tenant, role, .. } = &made.row;
    let until = made.row.expires_at.as_ref().map(|at| format!(", until {at}")).unwrap_or_default();
    eprintln!("key {id} of tenant {tenant}, role {}{until}; it is shown this once:", word(*role));
    println!("{}", made.key);
    Ok(())
}

fn show_list(keys: &[Key], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&json!(keys))?);
        return Ok(());
    }
    println!(
        "{:<10} {:<8} {:<6} {:<16} {:<19} {:<19} NAME",
        "ID", "STATE", "ROLE", "TENANT", "CREATED", "LAST USED"
    );
    let now = worker::run::now();
    for key in keys {
        let short = |time: &str| time.chars().take(19).collect::<String>();
        let state = match (&key.revoked_at, &key.expires_at) {
            (Some(_), _) => "revoked",
            // Times of the same form sort as text.
            (None, Some(at)) if *at <= now => "expired",
            _ => "live",
        };
        println!(
            "{:<10} {state:<8} {:<6} {:<16} {:<19} {:<19} {}",
            key.id,
            word(key.role),
            key.tenant.as_str(),
            short(&key.created_at),
            key.last_used_at.as_deref().map_or_else(|| "never".to_owned(), short),
            // What somebody called it must not move a terminal's cursor.
            key.name.escape_debug()
        );
    }
    Ok(())
}

fn word(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Admin => "admin",
        KeyRole::Tenant => "tenant",
    }
}
