//! `/v1/usage`: what tenants used, by the hour. Outlives the runs.

use crate::http::body::Query;
use crate::http::guard::Caller;
use crate::http::runs::{page_of, time_of};
use crate::problem::Problem;
use crate::service::{Service, read};
use axum::Json;
use axum::extract::State;
use model::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::UsageRow;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which hours to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of this tenant
    tenant: Option<TenantId>,
    /// Hours that begin at this time or later, RFC 3339
    #[param(format = DateTime)]
    since: Option<String>,
    /// Hours that begin before this time
    #[param(format = DateTime)]
    until: Option<String>,
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// One hour of one tenant.
#[derive(Debug, Serialize, ToSchema)]
struct UsageHour {
    /// Who.
    tenant: TenantId,
    /// When it begins, RFC 3339; a run counts in the hour it settled.
    hour: String,
    /// Runs settled.
    runs: u64,
    /// Of these, faults of ours.
    faults: u64,
    /// Runs by outcome; faults are not among them.
    outcomes: BTreeMap<String, u64>,
    /// Wall time of all.
    wall_ms: u64,
    /// Processor time of all.
    cpu_ms: u64,
    /// Standard output and error that were kept.
    output_bytes: u64,
}

impl From<UsageRow> for UsageHour {
    fn from(row: UsageRow) -> Self {
        let UsageRow { tenant, hour_ms, runs, faults, outcomes, wall_ms, cpu_ms, output_bytes } = row;
        let hour = worker::run::time(hour_ms);
        Self { tenant, hour, runs, faults, outcomes, wall_ms, cpu_ms, output_bytes }
    }
}

/// A page of hours.
#[derive(Debug, Serialize, ToSchema)]
struct UsageList {
    /// Oldest first, each hour by tenant. Hours without a run are not listed.
    items: Vec<UsageHour>,
    /// Where the next page begins; absent when this is the last.
    next: Option<String>,
}

/// Read usage by the hour
///
/// The tenant's own; with the role admin that of all tenants.
#[utoipa::path(get, path = "/v1/usage", operation_id = "read_usage", tag = "tenants", params(ListQuery),
    responses((status = 200, description = "A page", body = UsageList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<UsageList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    let scope = caller.scope_of(query.tenant)?;
    let from_ms = time_of("since", query.since)?.unwrap_or(0);
    let to_ms = time_of("until", query.until)?.unwrap_or(i64::MAX);
    let listed = read(&service.reader, move |reader| reader.usage(&scope, from_ms, to_ms, &page)).await?;
    let items = listed.items.into_iter().map(UsageHour::from).collect();
    Ok(Json(UsageList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}
