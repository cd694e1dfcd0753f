//! AIGNE's trace API (github.com/AIGNE-io/aigne-framework, `observability-api` 0.11.14), so that its exporter, pointed at us, tells its traces here,
//! and what reads there reads here.
//!
//! What is told becomes traces of ours, and ours are listed in its shape: a trace's id is its own, a span's has the span's behind it. Answers, also
//! refusals, have AIGNE's shapes; who asks is known as everywhere, and sees its own traces. By default only this machine is served
//! (`aigne.serve`): AIGNE's server listens everywhere and asks nobody for a key, and its callers expect no better.
//!
//! Differences: text that is searched for is looked for in names, ids, remarks and previews, not in whole inputs; the switch `live` is forgotten when
//! the service ends; spans with `action` are taken and shown; what has not ended is not deleted.

mod carry;
mod view;

use crate::http::body;
use crate::http::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms, read};
use crate::settings::Serve;
use crate::traces::Change;
use crate::traces::aigne::{AigneSpan, AigneUpdate, issues};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use futures_util::stream;
use model::{TenantId, TraceId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Scope, StoreError};

/// How often a comment is sent when nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Characters of a remark, as there.
const REMARK_CHARS_MAX: usize = 50;
/// Names that one request may have.
const IDS_MAX: usize = 1_000;

/// Where a request comes from: put into it by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What AIGNE's server keeps in a file of its user: by tenant, whether it wants to be told of changes, and the latest trace that it asked about.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<HashMap<TenantId, (bool, Option<Latest>)>>);

/// A trace, and when it ended.
type Latest = (TraceId, Option<i64>);

impl Remembered {
    fn all(&self) -> MutexGuard<'_, HashMap<TenantId, (bool, Option<Latest>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_live(&self, tenant: &TenantId) -> bool {
        self.all().get(tenant).is_some_and(|own| own.0)
    }
}

/// The routes.
pub fn routes(service: &Arc<Service>) -> Router<Arc<Service>> {
    if service.settings.aigne.serve == Serve::Off {
        return Router::new();
    }
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/api/trace/tree", get(view::list).post(tell).delete(remove))
        .route("/api/trace/tree/summary", get(view::summary))
        .route("/api/trace/tree/components", get(view::components))
        .route("/api/trace/tree/stats", get(view::stats))
        .route("/api/trace/tree/children/{id}", get(view::child))
        .route("/api/trace/tree/{id}", patch(update).get(view::tree))
        .route("/api/trace/remark", post(remark))
        .route("/api/trace/download", post(carry::download))
        .route("/api/trace/upload", post(carry::upload))
        .route("/api/settings", get(settings).post(set))
        .route("/api/sse", get(events))
        .layer(middleware::from_fn_with_state(service.clone(), near))
}

/// Whether a path is one of AIGNE's.
pub fn serves(path: &str) -> bool {
    path.starts_with("/api/trace/") || path == "/api/settings" || path == "/api/sse"
}

/// Whether it needs no key.
pub fn is_public(path: &str) -> bool {
    path == "/health"
}

/// A problem in AIGNE's words.
pub fn told(problem: Problem) -> Response {
    wrong(problem.status(), &problem.to_string())
}

fn wrong(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({"success": false, "error": error}))).into_response()
}

/// Something went wrong; AIGNE's clients read `error`.
struct Wrong(Box<Response>);

impl Wrong {
    fn with(answer: Response) -> Self {
        Self(Box::new(answer))
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Self {
        Self::with(told(problem))
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        Self::from(Problem::from(error))
    }
}

/// As there: a mistake in a few words, without `success`.
fn mistake(status: StatusCode, error: &str) -> Wrong {
    Wrong::with((status, axum::Json(json!({ "error": error }))).into_response())
}

/// As there: a trace that is not known is a failure of the server.
fn not_found(id: &str) -> Wrong {
    Wrong::with(wrong(StatusCode::INTERNAL_SERVER_ERROR, &format!("Not found trace: {id}")))
}

fn done(message: impl Into<String>) -> Response {
    axum::Json(json!({"code": 0, "message": message.into()})).into_response()
}

/// Lets only callers of this machine through, unless the settings say otherwise. A proxy on this machine says whom it asks for.
async fn near(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let is_near =
        request.extensions().get::<Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let is_passed_on = forwarded.iter().any(|name| request.headers().contains_key(*name));
    if service.settings.aigne.serve == Serve::All || (is_near && !is_passed_on) {
        return next.run(request).await;
    }
    let hint = "set aigne.serve to \"all\" if others may tell traces";
    told(Problem::new(Kind::Forbidden, "AIGNE's API is served to this machine only", hint))
}

/// A body of JSON; of nothing, `null`.
async fn json_of<T: DeserializeOwned>(request: Request, service: &Service) -> Result<T, Wrong> {
    // Asked for also of an empty body: a page of another origin could send one.
    body::is_json(request.headers())?;
    let bytes = body::read_all(request.into_body(), service).await?;
    parsed(&bytes)
}

/// Reads any JSON; of nothing, `null`.
fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Wrong> {
    let text: &[u8] = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(text)
        .map_err(|error| Wrong::with(wrong(StatusCode::BAD_REQUEST, &error.to_string())))
}

/// Spans, each new or told before.
async fn tell(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    let said: Value = json_of(request, &service).await?;
    if said.is_null() || said.as_array().is_some_and(Vec::is_empty) {
        return Err(Wrong::with(wrong(StatusCode::INTERNAL_SERVER_ERROR, "req.body is empty")));
    }
    let issues = issues(&said);
    if !issues.is_empty() {
        let text = serde_json::to_string_pretty(&issues).unwrap_or_default();
        return Err(Wrong::with(wrong(StatusCode::BAD_REQUEST, &text)));
    }
    if service.traces.enabled {
        for span in spans_of(said)? {
            let id = span.id.clone();
            let change = move |before: Option<&str>| Some(span.clone().after(before));
            service.keep_span(&caller.tenant, (&id, false), change).await?;
        }
    }
    Ok(done("ok"))
}

fn spans_of(said: Value) -> Result<Vec<AigneSpan>, Wrong> {
    let spans = serde_json::from_value(said);
    spans.map_err(|error| Wrong::with(wrong(StatusCode::BAD_REQUEST, &error.to_string())))
}

/// More of a span; of one that is not known nothing is kept, as there.
async fn update(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Wrong> {
    let update: AigneUpdate = json_of(request, &service).await?;
    let change = move |before: Option<&str>| {
        let span: AigneSpan = serde_json::from_str(before?).ok()?;
        Some(span.with(&update, now_ms()))
    };
    service.keep_span(&caller.tenant, (&id, false), change).await?;
    Ok(done("ok"))
}

/// Which traces are meant: names of ours, or of spans that were told.
async fn traces_called(service: &Service, scope: &Scope, ids: Vec<String>) -> Result<Vec<TraceId>, Wrong> {
    let scope = scope.clone();
    let found = read(&service.reader, move |reader| {
        let mut traces = Vec::new();
        for id in ids.iter().take(IDS_MAX) {
            match reader.told_span(&scope, id)? {
                Some((trace, _)) => traces.push(trace),
                None => traces.extend(id.split('-').next().and_then(|id| id.parse::<TraceId>().ok())),
            }
        }
        Ok(traces)
    });
    Ok(found.await?)
}

/// What `ids` of a body says.
fn ids_of(said: &Value) -> Vec<String> {
    let ids = said["ids"].as_array().into_iter().flatten();
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Deletes those that are named, or all.
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    let bytes = body::read_all(request.into_body(), &service).await?;
    let said: Value = parsed(&bytes)?;
    let (ids, scope) = (ids_of(&said), caller.scope());
    if ids.is_empty() {
        let filter = store::TraceFilter::default();
        crate::http::traces::remove_matching(&service, (&scope, &filter), &caller.actor).await?;
        return Ok(done("all traces deleted"));
    }
    let count = ids.len();
    let traces = traces_called(&service, &scope, ids).await?;
    for some in traces.chunks(store::PAGE_ROWS_MAX) {
        let gone =
            service.store.remove_traces(scope.clone(), some.to_vec(), caller.actor.clone(), now_ms()).await?;
        for id in gone {
            service.traces.notices.tell(&caller.tenant, id, Change::Removed);
        }
    }
    Ok(done(format!("{count} traces deleted")))
}

async fn remark(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    let said: Value = json_of(request, &service).await?;
    let Some(id) = said["id"].as_str().filter(|id| !id.is_empty()) else {
        return Err(mistake(StatusCode::BAD_REQUEST, "id is required"));
    };
    let remark = said["remark"].as_str().filter(|remark| !remark.is_empty());
    if remark.is_some_and(|remark| remark.chars().count() > REMARK_CHARS_MAX) {
        return Err(mistake(StatusCode::BAD_REQUEST, "Remark cannot exceed 50 characters"));
    }
    for trace in traces_called(&service, &caller.scope(), vec![id.to_owned()]).await? {
        match service.store.remark_trace(caller.scope(), trace, remark.map(str::to_owned)).await {
            // As there: of one that is not known nothing is said.
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        service.traces.notices.tell(&caller.tenant, trace, Change::Told);
    }
    Ok(done("remark updated successfully"))
}

async fn settings(State(service): State<Arc<Service>>, caller: Caller) -> Response {
    let live = service.traces.remembered.is_live(&caller.tenant);
    axum::Json(json!({"code": 0, "data": {"live": live}})).into_response()
}

async fn set(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    let said: Value = json_of(request, &service).await?;
    let live = match said.get("live") {
        None => false,
        Some(Value::Bool(live)) => *live,
        Some(_) => return Err(Wrong::with(wrong(StatusCode::BAD_REQUEST, "live: Expected boolean"))),
    };
    service.traces.remembered.all().entry(caller.tenant).or_default().0 = live;
    Ok(axum::Json(json!({"code": 0, "data": {"live": live}})).into_response())
}

/// Says that something changed, while the tenant wants to know.
async fn events(State(service): State<Arc<Service>>, caller: Caller, headers: HeaderMap) -> Response {
    drop(headers);
    let (ending, at) = (service.traces.ending(), service.traces.notices.last());
    let events = stream::unfold((service, at), move |(service, mut at)| {
        let (ending, tenant) = (ending.clone(), caller.tenant.clone());
        async move {
            loop {
                let notices = tokio::select! {
                    notices = service.traces.notices.after(at, 256) => notices,
                    () = ending.cancelled() => return None,
                };
                at = notices.last().map_or(at, |notice| notice.number);
                let own = notices.iter().any(|notice| notice.tenant == tenant);
                if own && service.traces.remembered.is_live(&tenant) {
                    let event = Event::default()
                        .id(at.to_string())
                        .data(json!({"type": "event", "data": {}}).to_string());
                    return Some((Ok::<_, Infallible>(event), (service, at)));
                }
            }
        }
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}
