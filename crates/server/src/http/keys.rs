//! `/v1/keys`: make, list and revoke API keys; and the public key of receipts.
//!
//! Administrators make and revoke keys of every tenant. A tenant's key lists its own tenant's and changes none: who finds one in a
//! log must not be able to make itself another.

use crate::http::body::{Json, Query};
use crate::http::guard::Caller;
use crate::http::runs::{page_of, time_of};
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms, read};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{Fault, FaultCode, TenantId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{KEY_RANDOM_BYTES, KeyId, KeyRow, NewKey, Role, Scope};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(revoke)).routes(routes!(receipt))
}

/// What a key may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// Everything, of every tenant.
    Admin,
    /// What is its tenant's own.
    #[default]
    Tenant,
}

impl From<KeyRole> for Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Admin => Self::Admin,
            KeyRole::Tenant => Self::Tenant,
        }
    }
}

/// A key as it is asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// For whom; the caller's own tenant if absent. It is made if it is not there yet.
    pub tenant: Option<TenantId>,
    /// What it may do. The first key of a service must be an administrator's.
    #[serde(default)]
    pub role: KeyRole,
    /// What people call it.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub name: String,
    /// When it stops working, RFC 3339; never if absent.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// A key, without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its public part, by which it is listed, revoked and audited.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it may do.
    pub role: KeyRole,
    /// What people call it.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<String>,
    /// When it stops working.
    pub expires_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

/// A key that was just made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// What is kept of it.
    #[serde(flatten)]
    pub row: Key,
    /// The key itself. It is shown this once; only a digest of it is kept.
    pub key: String,
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id.to_string(),
            tenant: row.tenant,
            role: match row.role {
                Role::Admin => KeyRole::Admin,
                Role::Tenant => KeyRole::Tenant,
            },
            name: row.name,
            created_at: worker::run::time(row.created_at_ms),
            last_used_at: row.last_used_at_ms.map(worker::run::time),
            expires_at: row.expires_at_ms.map(worker::run::time),
            revoked_at: row.revoked_at_ms.map(worker::run::time),
        }
    }
}

/// Make a key
///
/// Needs the role admin. From the first key on, no request is answered without one, also when it is revoked later.
#[utoipa::path(post, path = "/v1/keys", operation_id = "create_key", tag = "keys", request_body = CreateKey,
    responses((status = 201, description = "Made; the key is shown this once", body = CreatedKey),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(asked): Json<CreateKey>,
) -> Result<(StatusCode, axum::Json<CreatedKey>), Problem> {
    caller.admin()?;
    let now = now_ms();
    if asked.role == KeyRole::Tenant && !service.store.has_admin_key(now) {
        let hint =
            "make one with the role admin first: with this one alone, nobody could make or revoke keys";
        return Err(Problem::new(Kind::Conflict, "there is no administrator's key", hint).of_field("role"));
    }
    let expires_at_ms = time_of("expires_at", asked.expires_at)?;
    if expires_at_ms.is_some_and(|at| at <= now) {
        let hint = "use a time to come, or leave it out";
        return Err(
            Problem::new(Kind::InvalidRequest, "the key would never work", hint).of_field("expires_at")
        );
    }
    let new = NewKey {
        tenant: asked.tenant.unwrap_or(caller.tenant),
        role: asked.role.into(),
        name: asked.name,
        expires_at_ms,
    };
    let made = service.store.create_key(new, random()?, caller.actor, now).await?;
    Ok((StatusCode::CREATED, axum::Json(CreatedKey { row: made.row.into(), key: made.plain })))
}

/// Bytes from the kernel's random source, for a key.
pub fn random() -> Result<[u8; KEY_RANDOM_BYTES], Fault> {
    let mut bytes = [0; KEY_RANDOM_BYTES];
    for part in bytes.chunks_mut(16) {
        let fresh = sys::fs::random().map_err(|error| Fault::new(FaultCode::Internal, error.to_string()))?;
        part.copy_from_slice(&fresh[..part.len()]);
    }
    Ok(bytes)
}

/// Which keys to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of this tenant
    tenant: Option<TenantId>,
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// A page of keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Newest first, revoked and expired ones too.
    pub items: Vec<Key>,
    /// Where the next page begins; absent when this is the last.
    pub next: Option<String>,
}

/// List keys
///
/// The tenant's own; with the role admin those of all tenants.
#[utoipa::path(get, path = "/v1/keys", operation_id = "list_keys", tag = "keys", params(ListQuery),
    responses((status = 200, description = "A page", body = KeyList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<KeyList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    let scope = caller.scope_of(query.tenant)?;
    let listed = read(&service.reader, move |reader| reader.keys(&scope, &page)).await?;
    let items = listed.items.into_iter().map(Key::from).collect();
    Ok(axum::Json(KeyList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Revoke a key
///
/// Needs the role admin. Nothing is answered to the key from the answer to this on. It stays in the list. The last key with the role
/// admin that works is not revoked (409): make another first.
#[utoipa::path(delete, path = "/v1/keys/{id}", operation_id = "revoke_key", tag = "keys", params(("id" = String, Path, description = "The key's public part")),
    responses((status = 204, description = "Revoked, or was before"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn revoke(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.admin()?;
    let key = KeyId::parse(&id).ok_or_else(|| Problem::not_found("key", &id))?;
    let revoked = service.store.revoke_key(Scope::Admin, &key, caller.actor, now_ms()).await;
    revoked.map_err(|error| match error {
        store::StoreError::NotFound => Problem::not_found("key", &id),
        other => other.into(),
    })?;
    // What it asked for does not go on at the operator's cost.
    service.tasks.revoke(&key);
    Ok(StatusCode::NO_CONTENT)
}

/// The key that receipts are signed with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptKey {
    /// `Ed25519` (RFC 8032).
    pub algorithm: String,
    /// The public key, in base64.
    pub public_key: String,
}

/// Fetch the public key of receipts
///
/// Needs no key: who was given a result can check it.
#[utoipa::path(get, path = "/v1/keys/receipt", operation_id = "receipt_key", tag = "keys", security(()),
    responses((status = 200, description = "The key", body = ReceiptKey),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn receipt(State(service): State<Arc<Service>>) -> Result<axum::Json<ReceiptKey>, Problem> {
    let signer = service.signer.as_ref().ok_or_else(|| {
        Problem::new(Kind::NotFound, "this service signs no receipts", "the setting `receipts` turns them on")
    })?;
    Ok(axum::Json(ReceiptKey { algorithm: "Ed25519".to_owned(), public_key: signer.public_key() }))
}
