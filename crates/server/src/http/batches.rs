//! `/v1/batches`: many runs and graded programs at once; lines in, lines out as each is done.

mod following;

use self::following::{Following, follow, line, line_of};
use crate::batches::answer::{Answer, Summary};
use crate::batches::item::GradingSaid;
use crate::batches::{ITEMS_MAX, LiveBatch, Options, feed, intake};
use crate::http::body::{self, Pieces, Query};
use crate::http::guard::Caller;
use crate::http::runs::{idempotency_of, page_of};
use crate::http::traceparent::{parent_of, with_trace};
use crate::problem::{Kind, Problem};
use crate::service::{Service, internal, now_ms, read};
use crate::traces::Beginning;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::{BatchId, TraceParent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use store::{BatchAdmission, BatchRow, BatchState, NewBatch, Scope, TraceKind};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The type of a body of lines, and another name of it.
const LINES: [&str; 2] = ["application/x-ndjson", "application/jsonl"];

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(submit, list)).routes(routes!(show, cancel)).routes(routes!(items))
}

/// Arguments of a batch.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SubmitQuery {
    /// Whether to answer with a line for each item as it is done; else once all lines are recorded
    #[param(default = true)]
    wait: bool,
    /// Runs at once; by default, and at most, as many as keep the machine busy
    #[param(minimum = 1)]
    concurrency: Option<usize>,
    /// Whether identical items are run once
    dedupe: bool,
}

impl Default for SubmitQuery {
    fn default() -> Self {
        Self { wait: true, concurrency: None, dedupe: false }
    }
}

/// One line of a batch: a run as `POST /v1/runs` takes it, a graded program, or a group; each may have an `id`, returned unchanged.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum BatchLine {
    /// A run.
    Run(Box<model::RunRequest>),
    /// A graded program, or a group of them.
    Graded(Box<GradingSaid>),
}

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchSummary {
    /// This batch.
    id: BatchId,
    /// `running`, `settled`, `cancelled` or `interrupted`.
    #[schema(value_type = String)]
    state: BatchState,
    /// When it began, RFC 3339 in UTC.
    created_at: String,
    /// When it ended.
    settled_at: Option<String>,
    /// How many items have come.
    total: u32,
    /// How many of them are answered.
    answered: u32,
    /// Answered items by verdict.
    verdicts: BTreeMap<String, u64>,
    /// What was asked of the whole.
    options: Value,
    /// What it came to, once it has ended.
    #[schema(value_type = Option<Summary>)]
    summary: Option<Value>,
}

impl From<BatchRow> for BatchSummary {
    fn from(row: BatchRow) -> Self {
        Self {
            id: row.id,
            state: row.state,
            created_at: worker::run::time(row.created_at_ms),
            settled_at: row.settled_at_ms.map(worker::run::time),
            total: row.total,
            answered: row.answered,
            verdicts: row.fates,
            options: row.options,
            summary: row.summary,
        }
    }
}

/// Submit a batch
///
/// One item in each line, read as it comes. The answer begins with `{"batch": "bat_…"}`, has a line for each item as it is done, in
/// any order and with its `index`, and ends with `{"summary": {…}}`. What is wrong with one line is that line's answer. A client that
/// goes away takes the batch back, unless it gave an idempotency key or `wait=false`.
#[utoipa::path(post, path = "/v1/batches", operation_id = "submit_batch", tag = "batches", params(SubmitQuery, ("idempotency-key" = Option<String>, Header, description = "The same key with the same request is the same batch, for 24 hours; items then run once all have come"), ("traceparent" = Option<String>, Header, description = "Where the caller stands in a trace (W3C Trace Context): the batch becomes a part of it")),
    request_body(content = BatchLine, content_type = "application/x-ndjson"),
    responses((status = 200, description = "A line for each item", body = Answer, content_type = "application/x-ndjson"), (status = 202, description = "Recorded and on its way", body = BatchSummary),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn submit(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<SubmitQuery>,
    request: Request,
) -> Result<Response, Problem> {
    body::media_type(request.headers(), &LINES)?;
    if query.concurrency == Some(0) {
        let problem = Problem::new(Kind::InvalidRequest, "no runs at once", "use 1 or more, or leave it out");
        return Err(problem.of_field("concurrency"));
    }
    // Checked before the body is read; what it stands for is known after.
    let route = format!("/v1/batches {:?} {}", query.concurrency, query.dedupe);
    let key = idempotency_of(request.headers(), &route, &[])?;
    let options = Options { concurrency: query.concurrency, dedupe: query.dedupe };
    let batch = begin(&service, &caller, options, parent_of(request.headers())).await?;
    let own = service.trace_of(batch.id.as_str()).await;
    let pieces = Pieces::new(request.into_body(), &service);
    let room = intake::room();
    let feeding = feed::feed(service.clone(), batch.clone(), options, room.clone());
    let reading = {
        let (service, batch) = (service.clone(), batch.clone());
        async move { intake::read(&service, &batch, pieces, &room).await }
    };
    match (query.wait, key) {
        (true, None) => {
            tokio::spawn(feeding);
            let reader = batch.clone();
            tokio::spawn(async move { seal(&reader, reading.await.map(drop)) });
            Ok(with_trace(own, follow(service, batch, true)))
        }
        (_, None) => {
            tokio::spawn(feeding);
            let read = reading.await.map(drop);
            seal(&batch, read.clone());
            read?;
            accepted(&service, &caller, &batch.id).await
        }
        (wait, Some(key)) => {
            let sealed = match reading.await {
                Ok(digest) => {
                    let key = idempotency_of_digest(key, &digest);
                    service.store.seal_batch(&batch.id, Some(key), now_ms()).await.map_err(Problem::from)
                }
                Err(problem) => Err(problem),
            };
            match sealed {
                Ok(BatchAdmission::Admitted) => {
                    seal(&batch, Ok(()));
                    tokio::spawn(feeding);
                    if wait {
                        Ok(with_trace(own, follow(service, batch, false)))
                    } else {
                        accepted(&service, &caller, &batch.id).await
                    }
                }
                Ok(BatchAdmission::Replayed(first)) => {
                    service.batches.remove(&batch.id);
                    if wait {
                        let own = service.trace_of(first.as_str()).await;
                        Ok(with_trace(own, replay(service, &caller, first).await?))
                    } else {
                        accepted(&service, &caller, &first).await
                    }
                }
                Err(problem) => {
                    seal(&batch, Err(problem.clone()));
                    tokio::spawn(feeding);
                    Err(problem)
                }
            }
        }
    }
}

/// Begins a batch: counted against the rate, recorded, and to be found by others.
async fn begin(
    service: &Service,
    caller: &Caller,
    options: Options,
    parent: Option<TraceParent>,
) -> Result<Arc<LiveBatch>, Problem> {
    service.quotas.of(&service.reader, &caller.tenant).await?;
    service.quotas.spend(&caller.tenant)?;
    let id = BatchId::from_random(sys::fs::random().map_err(|error| internal(error.to_string()))?);
    let batch = service.batches.begin(id.clone(), caller.tenant.clone())?;
    let new =
        NewBatch { id, tenant: caller.tenant.clone(), created_at_ms: now_ms(), options: json!(options) };
    if let Err(error) = service.store.create_batch(new).await {
        service.batches.remove(&batch.id);
        return Err(error.into());
    }
    let began = Beginning {
        kind: TraceKind::Batch,
        object: batch.id.as_str(),
        name: "batch",
        input: "",
        model: None,
        parent,
        before: None,
    };
    service.begin_trace(&caller.tenant, began).await;
    if service.is_draining() {
        batch.stop(BatchState::Interrupted);
    }
    Ok(batch)
}

/// Says that the body has ended. One that did not come whole ends the batch.
fn seal(batch: &LiveBatch, read: Result<(), Problem>) {
    let broken = read.err();
    if broken.is_some() {
        batch.stop(BatchState::Cancelled);
    }
    batch.seal(broken);
}

/// The client's key for the whole request: route and arguments, already in it, and the body.
fn idempotency_of_digest(key: store::Idempotency, body: &[u8; 32]) -> store::Idempotency {
    use sha2::{Digest, Sha256};
    let body_sha256 = Sha256::new().chain_update(key.body_sha256).chain_update(body).finalize().into();
    store::Idempotency { body_sha256, ..key }
}

async fn accepted(service: &Service, caller: &Caller, id: &BatchId) -> Result<Response, Problem> {
    let summary = row(service, caller.scope(), id).await.map(BatchSummary::from)?;
    let own = service.trace_of(id.as_str()).await;
    Ok(with_trace(own, (StatusCode::ACCEPTED, location(id), Json(summary)).into_response()))
}

fn location(id: &BatchId) -> [(header::HeaderName, HeaderValue); 1] {
    let path = HeaderValue::from_str(&format!("/v1/batches/{id}"));
    [(header::LOCATION, path.unwrap_or(HeaderValue::from_static("/v1/batches")))]
}

async fn row(service: &Service, scope: Scope, id: &BatchId) -> Result<BatchRow, Problem> {
    let wanted = id.clone();
    let found = read(&service.reader, move |reader| reader.batch(&scope, &wanted)).await?;
    found.ok_or_else(|| Problem::not_found("batch", id.as_str()))
}

/// The same request again: what was answered, once all is.
async fn replay(service: Arc<Service>, caller: &Caller, id: BatchId) -> Result<Response, Problem> {
    if let Some(batch) = service.batches.get(&caller.tenant, &id) {
        return Ok(follow(service, batch, false));
    }
    let row = row(&service, caller.scope(), &id).await?;
    let mut lines = Following::new(service, None, caller.scope(), row.id);
    lines.ended = Some((row.state, row.summary, None));
    Ok(lines.into_response())
}

/// Which batches to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// A page of batches.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchList {
    /// Newest first.
    items: Vec<BatchSummary>,
    /// Where the next page begins; absent when this is the last.
    next: Option<String>,
}

/// List batches
#[utoipa::path(get, path = "/v1/batches", operation_id = "list_batches", tag = "batches", params(PageQuery),
    responses((status = 200, description = "A page", body = BatchList), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<BatchList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    let scope = caller.scope();
    let listed = read(&service.reader, move |reader| reader.batches(&scope, &page)).await?;
    let items = listed.items.into_iter().map(BatchSummary::from).collect();
    Ok(Json(BatchList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// The batch that a path names; a word that is no id names nothing.
fn batch_id(text: &str) -> Result<BatchId, Problem> {
    text.parse().map_err(|_| Problem::not_found("batch", text))
}

/// Look at a batch
#[utoipa::path(get, path = "/v1/batches/{id}", operation_id = "show_batch", tag = "batches", params(("id" = String, Path, description = "The batch")),
    responses((status = 200, description = "The batch", body = BatchSummary), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchSummary>, Problem> {
    Ok(Json(row(&service, caller.scope(), &batch_id(&id)?).await?.into()))
}

/// Take back a batch that is on its way
///
/// What runs is cancelled, what waits is not tried. Answers when it has ended.
#[utoipa::path(delete, path = "/v1/batches/{id}", operation_id = "cancel_batch", tag = "batches", params(("id" = String, Path, description = "The batch")),
    responses((status = 200, description = "The batch, ended", body = BatchSummary), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn cancel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchSummary>, Problem> {
    let id = batch_id(&id)?;
    let Some(batch) = service.batches.get(&caller.tenant, &id) else {
        let ended = row(&service, caller.scope(), &id).await?;
        let detail = format!("the batch {} has ended", ended.id);
        return Err(Problem::new(Kind::Conflict, detail, "there is nothing to take back"));
    };
    batch.stop(BatchState::Cancelled);
    batch.ended().await;
    Ok(Json(row(&service, caller.scope(), &id).await?.into()))
}

/// Which items to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ItemsQuery {
    /// Only items after this index
    after: Option<u32>,
    /// At most this many
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<u32>,
}

/// Read the answers of a batch
///
/// Lines as `POST /v1/batches` gives them, by index. Of a batch on its way, those that there are: the answer may have gaps, which
/// `after` cannot see. Items of an ended batch that were not tried are `cancelled`, or a fault that may be sent again.
#[utoipa::path(get, path = "/v1/batches/{id}/items", operation_id = "list_batch_items", tag = "batches", params(("id" = String, Path, description = "The batch"), ItemsQuery),
    responses((status = 200, description = "A line for each item", body = Answer, content_type = "application/x-ndjson"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn items(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ItemsQuery>,
) -> Result<Response, Problem> {
    let batch = row(&service, caller.scope(), &batch_id(&id)?).await?;
    let left = query.limit.unwrap_or(ITEMS_MAX);
    if !(1..=ITEMS_MAX).contains(&left) {
        let problem = Problem::new(
            Kind::InvalidRequest,
            "the page is too long or empty",
            format!("use 1 to {ITEMS_MAX}"),
        );
        return Err(problem.of_field("limit"));
    }
    let first = query.after.map_or(0, |after| after.saturating_add(1));
    let scope = caller.scope();
    let lines = stream::unfold((first, left), move |(index, left)| {
        let (service, scope, id, state) = (service.clone(), scope.clone(), batch.id.clone(), batch.state);
        async move {
            if left == 0 || index >= batch.total {
                return None;
            }
            let found = read(&service.reader, move |reader| reader.batch_item(&scope, &id, index)).await;
            let line = match found {
                Ok(Some(item)) if item.answer.is_some() || state != BatchState::Running => {
                    line_of(item, state)
                }
                Ok(_) => Bytes::new(),
                Err(problem) => line(&json!({ "index": index, "problem": problem })),
            };
            let left = left - u32::from(!line.is_empty());
            Some((Ok::<_, Infallible>(line), (index + 1, left)))
        }
    });
    Ok(([(header::CONTENT_TYPE, LINES[0])], Body::from_stream(lines)).into_response())
}
