//! `/v1/secrets`: keep, list and forget what code may use and never see. No answer has a value.

use crate::http::body::Json;
use crate::http::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::secrets::Secrets;
use crate::service::Service;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::SecretRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, remove))
}

/// A secret as it is kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutSecret {
    /// Its value: 8 to 8,192 visible ASCII characters. No answer ever has it.
    #[schema(min_length = 8, max_length = 8192)]
    value: String,
    /// Where it may go, over TLS: `HOST` or `HOST:PORT`, 1 to 16 of them.
    #[schema(min_items = 1, max_items = 16)]
    hosts: Vec<String>,
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
struct SecretView {
    /// The variable that stands for it.
    name: String,
    /// Where it may go, `HOST:PORT`.
    hosts: Vec<String>,
    /// When it was first kept, RFC 3339.
    created_at: String,
    /// When its value or its hosts were last set.
    changed_at: String,
}

impl From<SecretRow> for SecretView {
    fn from(row: SecretRow) -> Self {
        Self {
            name: row.name,
            hosts: row.hosts,
            created_at: worker::run::time(row.created_at_ms),
            changed_at: worker::run::time(row.changed_at_ms),
        }
    }
}

/// All secrets of a tenant.
#[derive(Debug, Serialize, ToSchema)]
struct SecretList {
    /// By name.
    items: Vec<SecretView>,
}

fn secrets(service: &Service) -> Result<&Secrets, Problem> {
    service.secrets.as_deref().ok_or_else(|| {
        let hint = "build it with all its features: `cargo install --features full`";
        Problem::new(Kind::NotFound, "this service keeps no secrets", hint)
    })
}

/// List secrets
///
/// The tenant's own, by name; no value.
#[utoipa::path(get, path = "/v1/secrets", operation_id = "list_secrets", tag = "secrets",
    responses((status = 200, description = "All of them", body = SecretList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<axum::Json<SecretList>, Problem> {
    let items = secrets(&service)?.of(&caller.tenant).into_iter().map(SecretView::from).collect();
    Ok(axum::Json(SecretList { items }))
}

/// Keep a secret
///
/// In place of one of the same name. A run or session names it in `egress.secrets` with one of its hosts; its code has a placeholder, and
/// the proxy puts the value into header fields of requests to that host.
#[utoipa::path(put, path = "/v1/secrets/{name}", operation_id = "put_secret", tag = "secrets", request_body = PutSecret,
    params(("name" = String, Path, description = "The variable that stands for it, such as GITHUB_TOKEN")),
    responses((status = 200, description = "Kept in place of another", body = SecretView),
        (status = 201, description = "Kept", body = SecretView),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
    Json(asked): Json<PutSecret>,
) -> Result<(StatusCode, axum::Json<SecretView>), Problem> {
    let Caller { tenant, actor, .. } = caller;
    let kept = secrets(&service)?.put((tenant, name), (&asked.value, &asked.hosts), actor).await?;
    let (row, is_new) = kept;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(row.into())))
}

/// Forget a secret
///
/// What is opened from now on does not get it; sandboxes that use it keep it until they end.
#[utoipa::path(delete, path = "/v1/secrets/{name}", operation_id = "remove_secret", tag = "secrets",
    params(("name" = String, Path, description = "The variable that stands for it")),
    responses((status = 204, description = "Forgotten"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    secrets(&service)?.remove(&caller.tenant, &name, caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
