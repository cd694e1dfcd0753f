//! `/v1/traces`: what ran, when, at what cost: list, look at, count, follow, note, remove, take along.

mod carry;
mod following;
mod view;

use crate::http::body::{self, Query};
use crate::http::guard::Caller;
use crate::http::runs::{page_of, time_of};
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms, read};
use crate::traces::Change;
use crate::traces::summary::{self, BUCKETS_MAX, WELL};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use model::{TenantId, TraceId};
use serde::Deserialize;
use std::sync::Arc;
use store::{Actor, Page, Scope, StoreError, TraceFilter, TraceKind, TraceRow};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use view::{RemovedTraces, TraceList, TraceNumbers, TraceRowView, TraceView};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list, remove_all))
        .routes(routes!(summary))
        .routes(routes!(following::events))
        .routes(routes!(carry::export))
        .routes(routes!(carry::import))
        .routes(routes!(show, note, remove))
}

/// Characters of a remark.
const REMARK_CHARS_MAX: usize = 200;
/// What lists of failures show.
const FAILED_LATELY: usize = 10;
/// Time that numbers are about when nobody says: an hour.
const SUMMARY_US: i64 = 3_600_000_000;

/// Which traces are meant.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct TraceQuery {
    /// The trace that a run, session, task or batch of this id is a part of; else those with this text in name, ids, remark or previews, ASCII case
    /// ignored. A page may be short, even empty, and have a `next`: only so many traces are looked at for one
    q: Option<String>,
    /// That this run, session, task or batch is a part of
    of: Option<String>,
    /// That ended so: `completed`, `failed`, `timed_out`, …; or `running`
    outcome: Option<String>,
    /// In this language
    language: Option<String>,
    /// By this model, as `provider:model`
    model: Option<String>,
    /// Of this kind: `run`, `session`, `task` or `batch`
    #[param(value_type = Option<String>)]
    kind: Option<TraceKind>,
    /// Of this tenant; only administrators may name another than their own
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// Begun at this time or later, RFC 3339
    since: Option<String>,
    /// Begun before this time, RFC 3339
    until: Option<String>,
    /// That took at least so many milliseconds
    min_ms: Option<f64>,
    /// That took at most so many milliseconds
    max_ms: Option<f64>,
    /// That cost at least so many dollars
    min_cost: Option<f64>,
    /// That cost at most so many dollars
    max_cost: Option<f64>,
    /// That came from elsewhere, or did not
    imported: Option<bool>,
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

fn not_a_number(field: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, "not a number that can be meant", "use one of 0 or more")
        .of_field(field)
}

fn at_least_zero(field: &str, said: Option<f64>) -> Result<Option<f64>, Problem> {
    match said {
        Some(number) if !(0.0..=1e15).contains(&number) => Err(not_a_number(field)),
        other => Ok(other),
    }
}

fn us(field: &str, said: Option<f64>) -> Result<Option<i64>, Problem> {
    Ok(at_least_zero(field, said)?.map(|ms| (ms * 1000.0).min(9e17) as i64))
}

impl TraceQuery {
    fn page(&self) -> Result<Page, Problem> {
        page_of(self.limit, self.cursor.as_deref())
    }

    fn filter(self) -> Result<TraceFilter, Problem> {
        Ok(TraceFilter {
            text: self.q.filter(|text| !text.is_empty()),
            of: self.of,
            outcome: self.outcome,
            language: self.language,
            model: self.model,
            kind: self.kind,
            since_us: time_of("since", self.since)?.map(|ms| ms.saturating_mul(1000)),
            until_us: time_of("until", self.until)?.map(|ms| ms.saturating_mul(1000)),
            min_us: us("min_ms", self.min_ms)?,
            max_us: us("max_ms", self.max_ms)?,
            min_cost: at_least_zero("min_cost", self.min_cost)?,
            max_cost: at_least_zero("max_cost", self.max_cost)?,
            imported: self.imported,
        })
    }
}

/// The trace that a path names; a word that is no id names nothing.
fn trace_id(text: &str) -> Result<TraceId, Problem> {
    text.parse().map_err(|_| Problem::not_found("trace", text))
}

/// List traces
///
/// A trace is all that was done for one request: a run, a session, a task or a batch, or several of them that were asked for from one trace
/// (`traceparent`). Administrators see those of all tenants.
#[utoipa::path(get, path = "/v1/traces", operation_id = "list_traces", tag = "traces", params(TraceQuery),
    responses((status = 200, description = "A page", body = TraceList), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<TraceQuery>,
) -> Result<Json<TraceList>, Problem> {
    let (page, scope) = (query.page()?, caller.scope_of(query.tenant.clone())?);
    let filter = query.filter()?;
    let listed = read(&service.reader, move |reader| reader.traces(&scope, &filter, &page)).await?;
    let items = listed.items.into_iter().map(|row| TraceRowView::of(row, &service.traces)).collect();
    Ok(Json(TraceList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Whose trace is meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct OneQuery {
    /// Its tenant, which administrators may name, since callers of several may say the same id; the newest with this id if absent
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
}

/// Look at a trace
///
/// With its spans as a tree. What went in and came out is shown as far as the settings `traces.content` and `traces.bytes_max` allow.
#[utoipa::path(get, path = "/v1/traces/{id}", operation_id = "show_trace", tag = "traces", params(("id" = String, Path, description = "The trace: 32 hexadecimal digits"), OneQuery),
    responses((status = 200, description = "The trace", body = TraceView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(one): Query<OneQuery>,
) -> Result<Json<TraceView>, Problem> {
    let (row, tree) = service.whole_trace(caller.scope_of(one.tenant)?, trace_id(&id)?).await?;
    Ok(Json(TraceView::of(row, tree, &service.traces)))
}

/// Which numbers are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct SummaryQuery {
    /// From this time on, RFC 3339; an hour ago if absent
    since: Option<String>,
    /// Before this time; now if absent
    until: Option<String>,
    /// In how many parts the time is divided
    #[param(minimum = 1, maximum = 240)]
    buckets: Option<usize>,
    /// Of this tenant; only administrators may name another than their own
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
}

/// Traces in numbers
///
/// Of all that began in a time, the newest 100,000 of them: outcomes, durations, tokens, cost, models, and the same over time.
#[utoipa::path(get, path = "/v1/traces/summary", operation_id = "summarize_traces", tag = "traces", params(SummaryQuery),
    responses((status = 200, description = "The numbers", body = TraceNumbers), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn summary(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<TraceNumbers>, Problem> {
    let buckets = query.buckets.unwrap_or(60);
    if !(1..=BUCKETS_MAX).contains(&buckets) {
        let hint = format!("use 1 to {BUCKETS_MAX}");
        return Err(Problem::new(Kind::InvalidRequest, "too many parts, or none", hint).of_field("buckets"));
    }
    let until_us = time_of("until", query.until)?.unwrap_or_else(|| now_ms() + 1).saturating_mul(1000);
    let since_us = time_of("since", query.since)?.map_or(until_us - SUMMARY_US, |ms| ms.saturating_mul(1000));
    if since_us >= until_us {
        let hint = "let `since` be before `until`";
        return Err(Problem::new(Kind::InvalidRequest, "there is no such time", hint).of_field("since"));
    }
    let scope = caller.scope_of(query.tenant)?;
    let filter = TraceFilter { since_us: Some(since_us), until_us: Some(until_us), ..TraceFilter::default() };
    let found = read(&service.reader, move |reader| {
        let numbers =
            summary::numbers(&reader.trace_digests(&scope, &filter)?, (since_us, until_us), buckets);
        let mut failed = Vec::new();
        let mut page = Page { limit: store::PAGE_ROWS_MAX, cursor: None };
        // Bounded, so that one who fails seldom does not have all read.
        for _ in 0..5 {
            let listed = reader.traces(&scope, &filter, &page)?;
            failed.extend(
                listed
                    .items
                    .into_iter()
                    .filter(|row| row.outcome.as_deref().is_some_and(|outcome| !WELL.contains(&outcome))),
            );
            page.cursor = listed.next;
            if failed.len() >= FAILED_LATELY || page.cursor.is_none() {
                break;
            }
        }
        failed.truncate(FAILED_LATELY);
        Ok((numbers, failed))
    });
    let (numbers, failed) = found.await?;
    Ok(Json(TraceNumbers::of(numbers, failed, &service.traces)))
}

/// What is to be noted on a trace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NoteTrace {
    /// The remark, 200 characters at most; `null` for none.
    #[schema(max_length = 200)]
    #[serde(deserialize_with = "Option::deserialize")]
    remark: Option<String>,
}

/// Note something on a trace
#[utoipa::path(patch, path = "/v1/traces/{id}", operation_id = "note_trace", tag = "traces", params(("id" = String, Path, description = "The trace"), OneQuery),
    request_body = NoteTrace,
    responses((status = 200, description = "The trace, without its spans", body = TraceRowView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn note(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(one): Query<OneQuery>,
    body::Json(said): body::Json<NoteTrace>,
) -> Result<Json<TraceRowView>, Problem> {
    let id = trace_id(&id)?;
    let scope = Scope::Tenant(one_trace(&service, caller.scope_of(one.tenant)?, id).await?.tenant);
    let remark = said.remark.filter(|remark| !remark.is_empty());
    if remark.as_ref().is_some_and(|remark| remark.chars().count() > REMARK_CHARS_MAX) {
        let hint = format!("use at most {REMARK_CHARS_MAX} characters");
        return Err(Problem::new(Kind::InvalidRequest, "the remark is too long", hint).of_field("remark"));
    }
    service.store.remark_trace(scope.clone(), id, remark).await.map_err(|error| gone(error, id))?;
    let row = one_trace(&service, scope, id).await?;
    service.traces.notices.tell(&row.tenant, id, Change::Told);
    Ok(Json(TraceRowView::of(row, &service.traces)))
}

/// The newest trace of this id in this scope.
async fn one_trace(service: &Service, scope: Scope, id: TraceId) -> Result<TraceRow, Problem> {
    let row = read(&service.reader, move |reader| reader.trace_row(&scope, id)).await?;
    row.ok_or_else(|| Problem::not_found("trace", &id.to_string()))
}

fn gone(error: StoreError, id: TraceId) -> Problem {
    match error {
        StoreError::NotFound => Problem::not_found("trace", &id.to_string()),
        other => other.into(),
    }
}

/// Remove a trace
///
/// What it was made of stays: runs, sessions, tasks and batches are removed by their own routes, and their traces with them.
#[utoipa::path(delete, path = "/v1/traces/{id}", operation_id = "remove_trace", tag = "traces", params(("id" = String, Path, description = "The trace"), OneQuery),
    responses((status = 204, description = "It is gone"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(one): Query<OneQuery>,
) -> Result<StatusCode, Problem> {
    let id = trace_id(&id)?;
    let row = one_trace(&service, caller.scope_of(one.tenant)?, id).await?;
    let scope = Scope::Tenant(row.tenant.clone());
    let removed = service.store.remove_trace(scope, id, caller.actor.clone(), now_ms()).await;
    removed.map_err(|error| gone(error, id))?;
    service.traces.notices.tell(&row.tenant, id, Change::Removed);
    Ok(StatusCode::NO_CONTENT)
}

/// Whether all are meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct AllQuery {
    /// Whether all are removed; else at least one filter is needed
    all: bool,
}

/// Remove traces
///
/// Those that match the filters of the list and have ended.
#[utoipa::path(delete, path = "/v1/traces", operation_id = "remove_traces", tag = "traces", params(TraceQuery, AllQuery),
    responses((status = 200, description = "How many are gone", body = RemovedTraces), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove_all(
    State(service): State<Arc<Service>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<RemovedTraces>, Problem> {
    let (query, all) = removal_of(&uri)?;
    if query.limit.is_some() || query.cursor.is_some() {
        let hint = "leave it out: all that match are removed";
        return Err(Problem::new(Kind::InvalidRequest, "there are no pages of this", hint).of_field("limit"));
    }
    let scope = caller.scope_of(query.tenant.clone())?;
    let filter = query.filter()?;
    if filter.is_all() && !all {
        let hint = "give a filter of the list, or all=true";
        return Err(Problem::new(Kind::InvalidRequest, "nothing says which traces", hint).of_field("all"));
    }
    Ok(Json(RemovedTraces { removed: remove_matching(&service, (&scope, &filter), &caller.actor).await? }))
}

/// Removes the traces of a scope that match and have ended; returns how many.
pub async fn remove_matching(
    service: &Service,
    (scope, filter): (&Scope, &TraceFilter),
    actor: &Actor,
) -> Result<u64, Problem> {
    let (mut removed, mut page) = (0, Page { limit: store::PAGE_ROWS_MAX, cursor: None });
    loop {
        let (wanted, scope_now, at) = (filter.clone(), scope.clone(), page.clone());
        let listed = read(&service.reader, move |reader| reader.traces(&scope_now, &wanted, &at)).await?;
        let ids: Vec<TraceId> = listed.items.iter().map(|row| row.id).collect();
        let gone = service.store.remove_traces(scope.clone(), ids, actor.clone(), now_ms()).await?;
        removed += gone.len() as u64;
        for row in listed.items.iter().filter(|row| gone.contains(&row.id)) {
            service.traces.notices.tell(&row.tenant, row.id, Change::Removed);
        }
        page.cursor = listed.next;
        if page.cursor.is_none() {
            return Ok(removed);
        }
    }
}

/// The filters of a query that may also say `all`.
fn removal_of(uri: &Uri) -> Result<(TraceQuery, bool), Problem> {
    let wrong =
        |text: String| Problem::new(Kind::InvalidRequest, text, "/docs lists the arguments of each route");
    let read = axum::extract::Query::<AllQuery>::try_from_uri(uri);
    let AllQuery { all } = read.map_err(|error| wrong(error.body_text()))?.0;
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("all="));
    let rest = format!("/?{}", pairs.collect::<Vec<_>>().join("&"));
    let rest: Uri = rest.parse().map_err(|_| wrong("the arguments cannot be read".to_owned()))?;
    let query = axum::extract::Query::<TraceQuery>::try_from_uri(&rest);
    Ok((query.map_err(|error| wrong(error.body_text()))?.0, all))
}
