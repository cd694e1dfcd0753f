//! `/v1/tenants` and `/v1/quotas`: who there is, and how much each may do.

use crate::http::body::{Json, Query};
use crate::http::guard::Caller;
use crate::http::runs::page_of;
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms, read};
use axum::extract::{Path, State};
use model::{CheckPatch, Limits, LimitsPatch, TenantId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::TenantRow;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(own)).routes(routes!(show, put))
}

/// What a tenant may do; what is absent is the service's own default, `tenant.…` of its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Quota {
    /// The most that one run may ask for; narrows the service's ceiling.
    #[serde(default, deserialize_with = "model::object::deserialize")]
    ceiling: LimitsPatch,
    /// Runs at once. 0 holds all of them back.
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    /// Runs that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_length: Option<u32>,
    /// Submissions in a minute; 0 is any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_minute: Option<u32>,
    /// What is done about findings of the static check in its runs, over what the service says (`check.…` of its settings).
    #[serde(
        default,
        deserialize_with = "model::object::deserialize",
        skip_serializing_if = "CheckPatch::is_empty"
    )]
    check: CheckPatch,
}

impl From<store::Quota> for Quota {
    fn from(quota: store::Quota) -> Self {
        let store::Quota { ceiling, concurrency, queue_length, rate_per_minute, check } = quota;
        Self { ceiling, concurrency, queue_length, rate_per_minute, check }
    }
}

impl From<Quota> for store::Quota {
    fn from(quota: Quota) -> Self {
        let Quota { ceiling, concurrency, queue_length, rate_per_minute, check } = quota;
        Self { ceiling, concurrency, queue_length, rate_per_minute, check }
    }
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
struct Tenant {
    /// Its name.
    id: TenantId,
    /// When a key or a quota first named it, RFC 3339.
    created_at: String,
    /// What it may do.
    quota: Quota,
}

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        Self { id: row.id, created_at: worker::run::time(row.created_at_ms), quota: row.quota.into() }
    }
}

/// A page of tenants.
#[derive(Debug, Serialize, ToSchema)]
struct TenantList {
    /// By name.
    items: Vec<Tenant>,
    /// Where the next page begins; absent when this is the last.
    next: Option<String>,
}

/// Which tenants to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// List tenants
///
/// The caller's own; with the role admin all that a key or a quota ever named.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "list_tenants", tag = "tenants", params(ListQuery),
    responses((status = 200, description = "A page", body = TenantList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<TenantList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    if caller.admin().is_err() {
        let own = read(&service.reader, move |reader| reader.tenant(&caller.tenant)).await?;
        return Ok(axum::Json(TenantList { items: own.into_iter().map(Tenant::from).collect(), next: None }));
    }
    let listed = read(&service.reader, move |reader| reader.tenants(&page)).await?;
    let items = listed.items.into_iter().map(Tenant::from).collect();
    Ok(axum::Json(TenantList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// What a tenant may do: as it was set, and with all defaults.
#[derive(Debug, Serialize, ToSchema)]
struct QuotaInForce {
    /// Whose it is.
    tenant: TenantId,
    /// As it was set.
    quota: Quota,
    /// Runs at once.
    concurrency: usize,
    /// Runs that may wait.
    queue_length: usize,
    /// Submissions in a minute; 0 is any number.
    rate_per_minute: u64,
    /// The most that one run may ask for, narrowed by the service's own ceiling.
    ceiling: Limits,
}

/// Look at the caller's own quota
#[utoipa::path(get, path = "/v1/quotas", operation_id = "own_quota", tag = "tenants",
    responses((status = 200, description = "The quota", body = QuotaInForce),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn own(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<axum::Json<QuotaInForce>, Problem> {
    in_force(&service, caller.tenant).await.map(axum::Json)
}

/// Look at a tenant's quota
///
/// Another tenant's needs the role admin. One that nobody named has the defaults.
#[utoipa::path(get, path = "/v1/quotas/{tenant}", operation_id = "show_quota", tag = "tenants", params(("tenant" = TenantId, Path, description = "Whose")),
    responses((status = 200, description = "The quota", body = QuotaInForce),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<axum::Json<QuotaInForce>, Problem> {
    let name = named(&tenant)?;
    if caller.tenant != name && caller.admin().is_err() {
        return Err(Problem::not_found("tenant", &tenant));
    }
    in_force(&service, name).await.map(axum::Json)
}

/// Set a tenant's quota
///
/// Needs the role admin. Replaces what was set before, and holds for all that is submitted from the answer on.
#[utoipa::path(put, path = "/v1/quotas/{tenant}", operation_id = "put_quota", tag = "tenants", params(("tenant" = TenantId, Path, description = "Whose")),
    request_body = Quota,
    responses((status = 200, description = "The quota now", body = QuotaInForce),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(quota): Json<Quota>,
) -> Result<axum::Json<QuotaInForce>, Problem> {
    caller.admin()?;
    let name = named(&tenant)?;
    check_ceiling(&quota.ceiling)?;
    check::verdicts::check_names(&quota.check, "check.rules")?;
    service.store.put_tenant(name.clone(), quota.into(), caller.actor, now_ms()).await?;
    service.quotas.forget(&name);
    in_force(&service, name).await.map(axum::Json)
}

/// The tenant that a path names; a word that cannot be a name names nobody.
fn named(text: &str) -> Result<TenantId, Problem> {
    text.parse().map_err(|_| Problem::not_found("tenant", text))
}

/// Refuses ceilings under which nothing could run.
fn check_ceiling(ceiling: &LimitsPatch) -> Result<(), Problem> {
    let nothing = [
        ("timeout_ms", ceiling.timeout_ms == Some(0)),
        ("memory_bytes", ceiling.memory_bytes == Some(0)),
        ("cpus", ceiling.cpus.is_some_and(|cpus| cpus <= 0.0)),
        ("processes", ceiling.processes == Some(0)),
    ];
    match nothing.into_iter().find(|(_, nothing)| *nothing) {
        None => Ok(()),
        Some((name, _)) => {
            let hint = "leave it out for the service's own, or set `concurrency` to 0 to hold all runs back";
            Err(Problem::new(Kind::InvalidRequest, "must be more than zero", hint)
                .of_field(format!("ceiling.{name}")))
        }
    }
}

async fn in_force(service: &Service, tenant: TenantId) -> Result<QuotaInForce, Problem> {
    let complete = service.quotas.of(&service.reader, &tenant).await?;
    let name = tenant.clone();
    let row = read(&service.reader, move |reader| reader.tenant(&name)).await?;
    Ok(QuotaInForce {
        tenant,
        quota: row.map(|row| row.quota).unwrap_or_default().into(),
        concurrency: complete.share.concurrency,
        queue_length: complete.share.waiting,
        rate_per_minute: complete.rate_per_minute,
        ceiling: complete.narrow(&service.policy).ceiling,
    })
}
