//! Secrets of tenants, for the proxies of their sandboxes: kept sealed in the store, and sealed in memory; opened when a sandbox that may
//! use one is built.

use crate::problem::Problem;
use crate::service::now_ms;
use model::{Fault, FaultCode, Rejection, TenantId, check_secret_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use store::{Actor, Reader, SecretRow, Store, StoreError};
use worker::proxies::{Vault, check_secret_value, secret_host};

/// What seals values and opens them.
pub trait Seal: Send + Sync {
    /// A value, sealed for whoever knows what it is.
    fn seal(&self, what: &str, value: &[u8]) -> Result<Vec<u8>, String>;

    /// The value that was sealed for `what`; `None` if this was not, or with another key.
    fn open(&self, what: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// All secrets of all tenants.
pub struct Secrets {
    store: Store,
    seal: Box<dyn Seal>,
    held: RwLock<BTreeMap<(TenantId, String), SecretRow>>,
}

/// Says nothing of what it keeps.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// What a value is sealed for: whose, and by which name.
fn what(tenant: &str, name: &str) -> String {
    format!("{tenant}\0{name}")
}

impl Secrets {
    /// Those of a store. One that was sealed with another key is left out, and said to be.
    ///
    /// # Errors
    /// What the store says. Blocks.
    pub fn open(store: &Store, reader: &Reader, seal: Box<dyn Seal>) -> Result<Self, StoreError> {
        let mut held = BTreeMap::new();
        for row in reader.secrets()? {
            if seal.open(&what(row.tenant.as_str(), &row.name), &row.sealed).is_none() {
                let SecretRow { tenant, name, .. } = &row;
                worker::log::warn(format_args!(
                    "the secret {name} of {tenant} was sealed with another key: set it again"
                ));
                continue;
            }
            held.insert((row.tenant.clone(), row.name.clone()), row);
        }
        Ok(Self { store: store.clone(), seal, held: RwLock::new(held) })
    }

    fn held(&self) -> RwLockReadGuard<'_, BTreeMap<(TenantId, String), SecretRow>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a tenant, by name.
    pub fn of(&self, tenant: &TenantId) -> Vec<SecretRow> {
        self.held().values().filter(|row| row.tenant == *tenant).cloned().collect()
    }

    /// Keeps one, in place of one of the same name. Returns it, and whether it is a new one.
    ///
    /// # Errors
    /// A rejection of its name, value or hosts; too many of them.
    pub async fn put(
        &self,
        (tenant, name): (TenantId, String),
        (value, hosts): (&str, &[String]),
        by: Actor,
    ) -> Result<(SecretRow, bool), Problem> {
        check_secret_name(&name)?;
        check_secret_value(value.as_bytes())
            .map_err(|why| Rejection::new("value", "this cannot be a secret", why.to_string()))?;
        if hosts.is_empty() || hosts.len() > HOSTS_MAX {
            let hint = format!("name 1 to {HOSTS_MAX} hosts that it may go to, such as api.github.com");
            return Err(Rejection::new("hosts", format!("{} hosts", hosts.len()), hint).into());
        }
        let hosts = hosts.iter().map(|host| {
            secret_host(host).map_err(|why| {
                Rejection::new(
                    "hosts",
                    format!("{host:?} {why}"),
                    "write HOST or HOST:PORT, such as api.github.com",
                )
            })
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let sealed = self.seal.seal(&what(tenant.as_str(), &name), value.as_bytes());
        let sealed = sealed.map_err(|why| Fault::new(FaultCode::Internal, why))?;
        let now = now_ms();
        let mut row = SecretRow { tenant, name, hosts, sealed, created_at_ms: now, changed_at_ms: now };
        let is_new = self.store.put_secret(row.clone(), by).await?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let place = (row.tenant.clone(), row.name.clone());
        if let Some(before) = held.get(&place) {
            row.created_at_ms = before.created_at_ms;
        }
        held.insert(place, row.clone());
        Ok((row, is_new))
    }

    /// Forgets one. Sandboxes that have it keep it until they end.
    ///
    /// # Errors
    /// There is none.
    pub async fn remove(&self, tenant: &TenantId, name: &str, by: Actor) -> Result<(), Problem> {
        let removed = self.store.remove_secret(tenant, name, by, now_ms()).await;
        removed.map_err(|error| match error {
            StoreError::NotFound => Problem::not_found("secret", name),
            other => other.into(),
        })?;
        let place = (tenant.clone(), name.to_owned());
        self.held.write().unwrap_or_else(PoisonError::into_inner).remove(&place);
        Ok(())
    }
}

/// Most hosts of a secret.
const HOSTS_MAX: usize = 16;

impl Vault for Secrets {
    fn value(&self, tenant: &str, name: &str, target: &str) -> Option<Vec<u8>> {
        let held = self.held();
        let row = held.get(&(tenant.parse().ok()?, name.to_owned()))?;
        let may = row.hosts.iter().any(|host| host == target);
        may.then(|| self.seal.open(&what(tenant, name), &row.sealed)).flatten()
    }
}
