//! `/v1/audit`: who changed what, when. Append-only, and each row carries a hash of all before it.
//!
//! Recorded are changes: keys, quotas, removed runs. Refused keys are not: whoever reaches the port could fill the log with them.

use crate::http::body::Query;
use crate::http::guard::Caller;
use crate::http::runs::{page_of, time_of};
use crate::problem::Problem;
use crate::service::{Service, read};
use axum::Json;
use axum::extract::State;
use model::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use store::{AuditFilter, AuditRow, AuditVerdict};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify))
}

/// Which acts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// On things of this tenant
    tenant: Option<TenantId>,
    /// Of this kind, such as `key.create`
    action: Option<String>,
    /// By this key's id, `local` or `service`
    actor: Option<String>,
    /// To this thing
    object: Option<String>,
    /// At this time or later, RFC 3339
    #[param(format = DateTime)]
    since: Option<String>,
    /// Before this time
    #[param(format = DateTime)]
    until: Option<String>,
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// A recorded act.
#[derive(Debug, Serialize, ToSchema)]
struct AuditAct {
    /// Its place in the log, from 1.
    seq: u64,
    /// When, RFC 3339.
    at: String,
    /// Who: a key's id, `local` for the person at the machine, `service` for the service by itself.
    actor: String,
    /// Whose thing; absent for the service's own.
    tenant: Option<TenantId>,
    /// What was done, a noun and a verb.
    action: String,
    /// To what.
    object: String,
    /// More about it.
    detail: Value,
    /// SHA-256 of the hash before and this row, in hex.
    hash: String,
}

impl From<AuditRow> for AuditAct {
    fn from(row: AuditRow) -> Self {
        let AuditRow { seq, at_ms, actor, tenant, action, object, detail, hash } = row;
        Self { seq, at: worker::run::time(at_ms), actor, tenant, action, object, detail, hash }
    }
}

/// A page of acts.
#[derive(Debug, Serialize, ToSchema)]
struct AuditList {
    /// Newest first.
    items: Vec<AuditAct>,
    /// Where the next page begins; absent when this is the last.
    next: Option<String>,
}

/// Read the audit log
///
/// Acts on the tenant's own things; with the role admin all.
#[utoipa::path(get, path = "/v1/audit", operation_id = "read_audit", tag = "audit", params(ListQuery),
    responses((status = 200, description = "A page", body = AuditList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<AuditList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    let scope = caller.scope_of(query.tenant)?;
    let filter = AuditFilter {
        action: query.action,
        actor: query.actor,
        object: query.object,
        since_ms: time_of("since", query.since)?,
        until_ms: time_of("until", query.until)?,
    };
    let listed = read(&service.reader, move |reader| reader.audit(&scope, &filter, &page)).await?;
    let items = listed.items.into_iter().map(AuditAct::from).collect();
    Ok(Json(AuditList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Whether the log is as it was written.
#[derive(Debug, Serialize, ToSchema)]
struct LogVerdict {
    /// Whether every row follows from the one before.
    whole: bool,
    /// How many rows there are, if it is whole.
    rows: Option<u64>,
    /// The last hash, if it is whole: kept elsewhere, it proves later that nothing before was rewritten.
    head: Option<String>,
    /// The first row that is not what was written.
    broken_at: Option<u64>,
    /// What is wrong with it.
    why: Option<&'static str>,
}

/// Check the audit log
///
/// Needs the role admin. Reads all of it.
#[utoipa::path(get, path = "/v1/audit/verify", operation_id = "verify_audit", tag = "audit",
    responses((status = 200, description = "What was found", body = LogVerdict),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn verify(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<LogVerdict>, Problem> {
    caller.admin()?;
    Ok(Json(match read(&service.reader, store::Reader::verify_audit).await? {
        AuditVerdict::Whole { rows, head } => {
            LogVerdict { whole: true, rows: Some(rows), head: Some(head), broken_at: None, why: None }
        }
        AuditVerdict::Broken { seq, why } => {
            LogVerdict { whole: false, rows: None, head: None, broken_at: Some(seq), why: Some(why) }
        }
    }))
}
