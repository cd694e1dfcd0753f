//! `/v1/sessions`: open, list, look at, renew, begin anew and close sessions, and run in them.

use crate::http::body::{self, Json, Query};
use crate::http::guard::Caller;
use crate::http::runs::{self, SubmitQuery, accepts_events, idempotency_of, page_of};
use crate::http::sse::StreamEvent;
use crate::http::traceparent::{parent_of, with_trace};
use crate::problem::{Kind, Problem};
use crate::service::{Service, Submission, read};
use crate::sessions::{Again, Bound, Manner, NewOpen, OpenSession};
use crate::traces::Origin;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use model::{
    Background, Egress, Language, Layer, Limits, Priority, Rejection, RunRequest, RunResult, SessionId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{SessionCounts, SessionRow};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use worker::session::Standing;

mod create;
pub mod durable;
mod views;

use create::CreateSession;
use durable::DurableView;
use views::{EgressView, EndView, LostView, RunCounts, SubmitSessionRun};

/// Longest name of a session, as its schema says.
const NAME_CHARS_MAX: usize = 128;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, close))
        .routes(routes!(renew))
        .routes(routes!(restart))
        .routes(routes!(durable::save))
        .routes(routes!(submit))
}

/// More time for a session.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Renew {
    /// How long it stays from now on when nothing runs; absent leaves it.
    idle_ttl_ms: Option<u64>,
    /// How long it stays from now on at most; absent means as long as may be.
    ttl_ms: Option<u64>,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SessionState {
    /// Runs are taken in.
    Open,
    /// It has ended; `end` says why.
    Ended,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
struct SessionView {
    /// This session.
    id: SessionId,
    /// Where it is.
    state: SessionState,
    /// What its owner calls it.
    name: String,
    /// When it was opened, RFC 3339 in UTC.
    created_at: String,
    /// What its sandbox is made from.
    template: String,
    /// The language of runs that name none.
    language: Option<Language>,
    /// What becomes of what runs left behind, while no run is on.
    background: Background,
    /// Whether what listens in it may be visited.
    ports: bool,
    /// Packages that its Python was opened with.
    packages: Vec<String>,
    /// The version of Python that it asked for; absent is the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    python: Option<String>,
    /// Which hosts what runs in it may reach; absent is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<EgressView>,
    /// Which of the tenant's runs its own come before.
    priority: Priority,
    /// What it may use; absent once it has ended.
    limits: Option<Limits>,
    /// How long it stays when nothing runs; absent once it has ended.
    idle_ttl_ms: Option<u64>,
    /// When it ends if nothing happens any more; absent once it has ended.
    ends_at: Option<String>,
    /// When it ends at the latest, unless it is renewed; absent once it has ended.
    expires_at: Option<String>,
    /// Its runs. One that is waited for and just began may be missing for a tenth of a second.
    runs: RunCounts,
    /// What of it is kept beyond its node; absent unless it was opened with `durable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<DurableView>,
    /// The last interpreter that ended while it had no run, with its state. Files are kept.
    lost: Option<LostView>,
    /// Its end.
    end: Option<EndView>,
}

/// Which sessions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// In this state
    state: Option<SessionState>,
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList {
    /// Newest first.
    items: Vec<SessionView>,
    /// Where the next page begins; absent when this is the last.
    next: Option<String>,
}

/// The template of a session that asked for this one.
fn template_of(asked: Option<String>) -> String {
    asked.unwrap_or_else(|| Language::Python.default_template().to_owned())
}

fn view(
    service: &Service,
    row: SessionRow,
    open: Option<&OpenSession>,
    counts: SessionCounts,
) -> SessionView {
    let asked: CreateSession = serde_json::from_str(&row.request).unwrap_or_default();
    let template = template_of(asked.template);
    let SessionCounts { queued, running, completed, failed } = counts;
    let open = open.filter(|open| !matches!(open.session.standing(), Standing::Ended(_)));
    let times = open.map(OpenSession::times);
    let lost = open.and_then(|open| open.session.lost());
    let end = row.end.map(|end| EndView {
        at: worker::run::time(end.at_ms),
        why: end.why,
        detail: end.detail,
        files_until: end.files_until_ms.map(worker::run::time),
    });
    SessionView {
        id: row.id,
        state: if open.is_some() { SessionState::Open } else { SessionState::Ended },
        name: row.name,
        created_at: worker::run::time(row.created_at_ms),
        language: asked.language.or_else(|| {
            let templates = service.machine.templates();
            let template = templates.find(&templates.for_tenant(row.tenant.as_str(), &template)).ok()?;
            template.languages.first().map(|row| row.name)
        }),
        template,
        background: asked.background,
        ports: asked.ports,
        packages: asked.packages,
        python: asked.python,
        egress: asked.egress.map(|Egress { allow, methods, secrets }| EgressView { allow, methods, secrets }),
        priority: asked.priority,
        limits: open.map(|open| open.limits),
        idle_ttl_ms: times.map(|times| times.idle_ttl_ms),
        ends_at: times.map(|times| worker::run::time(times.ends_at_ms)),
        expires_at: times.map(|times| worker::run::time(times.expires_at_ms)),
        runs: RunCounts { queued, running, completed, failed },
        durable: asked.durable.then(|| open.map(durable::here).unwrap_or_default()),
        lost: lost.map(|lost| LostView { language: lost.language, why: lost.why }),
        end,
    }
}

/// What a gateway says of a session that it places on this node.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Layers that its sandbox may do without.
    pub allow_missing: BTreeSet<Layer>,
    /// That it is opened again.
    pub again: Option<Again>,
}

/// A session as its record alone shows it: nothing of it is here.
pub fn shown(service: &Service, row: SessionRow) -> serde_json::Value {
    let view = view(service, row, None, SessionCounts::default());
    serde_json::to_value(view).expect("a view is JSON")
}

/// The session that a path names; a word that is no id names nothing.
pub fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|_| Problem::not_found("session", text))
}

async fn look(service: &Service, caller: &Caller, id: &SessionId) -> Result<SessionView, Problem> {
    let (scope, wanted) = (caller.scope(), id.clone());
    let found = read(&service.reader, move |reader| {
        let Some(row) = reader.session(&scope, &wanted)? else { return Ok(None) };
        let counts = reader.session_counts(&wanted)?;
        Ok(Some((row, counts)))
    });
    let (row, counts) = found.await?.ok_or_else(|| Problem::not_found("session", id.as_str()))?;
    let open = service.sessions.get(&caller.tenant, id);
    Ok(view(service, row, open.as_deref(), counts))
}

/// An open session of the caller's; one that has ended is a conflict that says why.
pub async fn open_one(
    service: &Service,
    caller: &Caller,
    id: &SessionId,
) -> Result<Arc<OpenSession>, Problem> {
    let open = service.sessions.get(&caller.tenant, id);
    if let Some(open) = open.filter(|open| !matches!(open.session.standing(), Standing::Ended(_))) {
        return Ok(open);
    }
    let ended = look(service, caller, id).await?;
    if service.sessions.keeping.get().is_some()
        && let Some(problem) = durable::goes_on(&ended)
    {
        return Err(problem);
    }
    let why = ended.end.map_or_else(String::new, |end| format!(": {} {}", end.why, end.detail));
    let hint = "open another; its files can be fetched until `end.files_until`";
    Err(Problem::new(Kind::Conflict, format!("the session has ended{why}"), hint))
}

/// Open a session
#[utoipa::path(post, path = "/v1/sessions", operation_id = "create_session", tag = "sessions", params(("traceparent" = Option<String>, Header, description = "Where the caller stands in a trace (W3C Trace Context): the session becomes a part of it")), request_body = CreateSession,
    responses((status = 201, description = "Open", body = SessionView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    sent: Option<Extension<Sent>>,
    headers: HeaderMap,
    Json(asked): Json<CreateSession>,
) -> Result<Response, Problem> {
    let request = serde_json::to_string(&asked)
        .map_err(|error| Problem::new(Kind::NotJson, error.to_string(), "send one JSON object"))?;
    let CreateSession { template, language, name, limits, env, background, ports, packages, .. } = asked;
    let CreateSession { egress, priority, offline, auto_packages, python, durable, .. } = asked;
    let CreateSession { idle_ttl_ms, ttl_ms, .. } = asked;
    let (allow_missing, again) = match sent {
        Some(Extension(Sent { allow_missing, again })) => (Some(allow_missing), again),
        None => (None, None),
    };
    if name.chars().count() > NAME_CHARS_MAX {
        let what = format!("longer than {NAME_CHARS_MAX} characters");
        return Err(Rejection::new("name", what, "use a shorter one").into());
    }
    let new = NewOpen {
        tenant: caller.tenant.clone(),
        actor: caller.actor.clone(),
        name,
        template: template_of(template),
        language,
        limits,
        env,
        background,
        ports,
        packages,
        auto_packages,
        offline,
        python,
        egress,
        priority,
        idle_ttl_ms,
        ttl_ms,
        durable,
        again,
        allow_missing,
        request,
        trace: parent_of(&headers),
    };
    // In a task of its own: a client that breaks off leaves nothing half done.
    let opening = {
        let service = service.clone();
        tokio::spawn(async move { service.open_session(new).await })
    };
    let open = opening.await.map_err(|error| crate::service::internal(error.to_string()))??;
    let view = look(&service, &caller, open.session.id()).await?;
    let location = format!("/v1/sessions/{}", view.id);
    let mut response = (StatusCode::CREATED, Answer(view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(with_trace(service.trace_of(open.session.id().as_str()).await, response))
}

/// List sessions
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions", tag = "sessions", params(ListQuery),
    responses((status = 200, description = "A page", body = SessionList), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Answer<SessionList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    let open = query.state.map(|state| state == SessionState::Open);
    let scope = caller.scope();
    let listed = read(&service.reader, move |reader| {
        let listed = reader.sessions(&scope, open, &page)?;
        let counts =
            listed.items.iter().map(|row| reader.session_counts(&row.id)).collect::<Result<Vec<_>, _>>()?;
        Ok((listed, counts))
    });
    let (listed, counts) = listed.await?;
    let items = listed.items.into_iter().zip(counts).map(|(row, counts)| {
        let open = service.sessions.get(&caller.tenant, &row.id);
        view(&service, row, open.as_deref(), counts)
    });
    Ok(Answer(SessionList { items: items.collect(), next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Look at a session
#[utoipa::path(get, path = "/v1/sessions/{id}", operation_id = "show_session", tag = "sessions", params(("id" = String, Path, description = "The session")),
    responses((status = 200, description = "The session", body = SessionView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<SessionView>, Problem> {
    look(&service, &caller, &session_id(&id)?).await.map(Answer)
}

/// Close a session
///
/// All that runs in it ends. Its files are kept for a while; `end.files_until` says how long.
#[utoipa::path(delete, path = "/v1/sessions/{id}", operation_id = "close_session", tag = "sessions", params(("id" = String, Path, description = "The session")),
    responses((status = 200, description = "It has ended", body = SessionView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn close(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<SessionView>, Problem> {
    let id = session_id(&id)?;
    let open = open_one(&service, &caller, &id).await?;
    service.close_session(&open, caller.actor.clone()).await;
    look(&service, &caller, &id).await.map(Answer)
}

/// Give a session more time
#[utoipa::path(post, path = "/v1/sessions/{id}/renew", operation_id = "renew_session", tag = "sessions", params(("id" = String, Path, description = "The session")), request_body = Renew,
    responses((status = 200, description = "The session", body = SessionView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn renew(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(Renew { idle_ttl_ms, ttl_ms }): Json<Renew>,
) -> Result<Answer<SessionView>, Problem> {
    let id = session_id(&id)?;
    let open = open_one(&service, &caller, &id).await?;
    service.renew_session(&open, idle_ttl_ms, ttl_ms);
    look(&service, &caller, &id).await.map(Answer)
}

/// Begin a session's interpreters anew
///
/// Their state is cleared, files are kept. A run that is on its way in one of them is cancelled.
#[utoipa::path(post, path = "/v1/sessions/{id}/restart", operation_id = "restart_session", tag = "sessions", params(("id" = String, Path, description = "The session")),
    responses((status = 200, description = "The session", body = SessionView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn restart(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<SessionView>, Problem> {
    let id = session_id(&id)?;
    let open = open_one(&service, &caller, &id).await?;
    open.session.restart().await?;
    look(&service, &caller, &id).await.map(Answer)
}

/// What a body asks for besides the run itself.
#[derive(Deserialize)]
struct Beside {
    wait: Option<bool>,
    fresh: Option<bool>,
}

/// Takes `wait` and `fresh` out of the body; the rest is the request, which refuses what it does not know.
fn submission_of(bytes: &[u8]) -> Result<(RunRequest, Beside), Problem> {
    let beside: Beside = body::parse(bytes)?;
    if beside.wait.is_none() && beside.fresh.is_none() {
        return Ok((body::parse(bytes)?, beside));
    }
    let mut fields: serde_json::Map<String, serde_json::Value> = body::parse(bytes)?;
    fields.remove("wait");
    fields.remove("fresh");
    let rest =
        serde_json::to_vec(&fields).map_err(|error| Problem::new(Kind::NotJson, error.to_string(), ""))?;
    Ok((body::parse(&rest)?, beside))
}

/// Run something in a session
///
/// Runs are done in order by the language's interpreter, which keeps its state: variables, imports, working directory. A run that
/// takes too long, or is taken back, is interrupted, and killed only if that does not help: then `state_lost` says so. `"fresh": true`
/// runs a program of its own beside them, with the same files. Answers as `POST /v1/runs` does.
#[utoipa::path(post, path = "/v1/sessions/{id}/runs", operation_id = "submit_session_run", tag = "sessions", params(SubmitQuery, ("id" = String, Path, description = "The session"), ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[\\x21-\\x7e]+$", description = "The same key with the same request is the same run, for 24 hours"), ("traceparent" = Option<String>, Header, description = "Where the caller stands in a trace (W3C Trace Context): the run becomes a part of it")),
    request_body = SubmitSessionRun,
    responses((status = 200, description = "Settled; or the stream of its events", content((RunResult = "application/json"), (StreamEvent = "text/event-stream"))), (status = 202, description = "Recorded and on its way", body = runs::RunSummary),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn submit(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<SubmitQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    body::is_json(request.headers())?;
    let headers = request.headers().clone();
    let bytes = body::read_all(request.into_body(), &service).await?;
    let (mut request, Beside { wait, fresh }) = submission_of(&bytes)?;
    let manner = manner_of(&mut request, fresh.unwrap_or(false));
    let idempotency = idempotency_of(&headers, &format!("/v1/sessions/{id}/runs"), &bytes)?;
    let wait = wait.unwrap_or(true);
    let stream = query.stream || accepts_events(&headers);
    let open = match open_one(&service, &caller, &id).await {
        Ok(open) => open,
        // What was done before the end is still what it was.
        Err(ended) => {
            let before = service.run_of_key(&caller.tenant, idempotency).await?.ok_or(ended)?;
            return runs::answer_before(&service, &caller, before, (wait, stream)).await;
        }
    };
    let submission = Submission {
        tenant: caller.tenant.clone(),
        environment: None,
        session: Some(Bound::new(&open, &request, manner)),
        request,
        idempotency,
        batch: None,
        merge_output: false,
        told_late: wait && !stream,
        trace: Origin::Caller(parent_of(&headers)),
    };
    runs::answer(&service, &caller, submission, (wait, stream)).await
}

/// The working directory of a fresh run that is its own.
const PRIVATE: &str = "private";

/// How a run is done that comes with all its input. Takes the word for a directory of its own out of the request.
pub fn manner_of(request: &mut RunRequest, fresh: bool) -> Manner {
    let private = fresh && request.cwd.as_deref() == Some(PRIVATE);
    if private {
        request.cwd = None;
    }
    Manner { fresh, private, interactive: false }
}
