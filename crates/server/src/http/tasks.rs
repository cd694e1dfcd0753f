//! `/v1/tasks`: questions that the service's model works on with programs: ask, list, look at, follow, ask on, approve, take back.

mod following;
mod said;
mod view;

use crate::http::body::{self, Query};
use crate::http::guard::Caller;
use crate::http::runs::{SubmitQuery, accepts_events, idempotency_of, page_of};
use crate::http::sessions::open_one;
use crate::http::traceparent::{parent_of, with_trace};
use crate::problem::{Kind, Problem};
use crate::service::Service;
use crate::tasks::{
    Approval, Asked, Beginning, INSTRUCTIONS_BYTES_MAX, QUESTION_BYTES_MAX, Story, Undecided,
};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use following::{TaskStreamEvent, follow};
use model::spec::check_path;
use model::{Language, TaskId};
use said::{ApproveAttempt, AskTask, CreateTask, Verdict, budget_of, check_text, reject};
use serde::Deserialize;
use std::sync::Arc;
use store::{StoreError, TaskRow, TaskState};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use view::{TaskList, TaskSummary, TaskView, asked_of};

/// The most passes of a solution.
const ITERATIONS_MAX: u32 = 25;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, remove))
        .routes(routes!(events))
        .routes(routes!(ask))
        .routes(routes!(approve))
}

/// The task that a path names; a word that is no id names nothing.
fn task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(|_| Problem::not_found("task", text))
}

async fn look(service: &Service, caller: &Caller, id: &TaskId) -> Result<TaskView, Problem> {
    let row = service.task_row(caller.scope(), id).await?;
    let events = service.task_events(caller.scope(), id, 0, store::limits::TASK_EVENTS_MAX).await?;
    TaskView::of(row, Story::of(events))
}

/// Ask the service's model
///
/// The model (settings `model.*`) writes programs, they run in a session, it is told what came of them and mends what failed, until it has an
/// answer or a part of the budget is used up. Answers as soon as the task is recorded; with `"wait": true` when it is settled; with
/// `stream=true` or `Accept: text/event-stream` with its events as they happen. It goes on when nobody listens.
#[utoipa::path(post, path = "/v1/tasks", operation_id = "create_task", tag = "tasks", params(SubmitQuery, ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[\\x21-\\x7e]+$", description = "The same key with the same request is the same task, for 24 hours"), ("traceparent" = Option<String>, Header, description = "Where the caller stands in a trace (W3C Trace Context): the task becomes a part of it")),
    request_body = CreateTask,
    responses((status = 200, description = "Settled; or the stream of its events", content((TaskView = "application/json"), (TaskStreamEvent = "text/event-stream"))), (status = 202, description = "Recorded and on its way", body = TaskView),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<SubmitQuery>,
    request: Request,
) -> Result<Response, Problem> {
    body::is_json(request.headers())?;
    let headers = request.headers().clone();
    let bytes = body::read_all(request.into_body(), &service).await?;
    let said: CreateTask = body::parse(&bytes)?;
    let idempotency = idempotency_of(&headers, "/v1/tasks", &bytes)?;
    check_text("question", &said.question, QUESTION_BYTES_MAX)?;
    if let Some(own) = &said.instructions {
        check_text("instructions", own, INSTRUCTIONS_BYTES_MAX)?;
    }
    for file in &said.files {
        check_path("files", &file.path)?;
    }
    if said.session.is_some() && said.template.is_some() {
        return Err(reject("template", "a session has one template", "leave it out"));
    }
    if said.session.is_some() && (!said.packages.is_empty() || said.egress.is_some()) {
        let field = if said.packages.is_empty() { "egress" } else { "packages" };
        return Err(reject(field, "what a session has is said when it is opened", "leave it out"));
    }
    if let Some(solving) = &said.solution {
        if said.session.is_some() {
            let hint = "leave it out: its sandboxes are fresh";
            return Err(reject("session", "a solution is tried in no session", hint));
        }
        if !(1..=ITERATIONS_MAX).contains(&solving.max_iterations) {
            let message = format!("solution.max_iterations is not from 1 to {ITERATIONS_MAX}");
            return Err(reject("solution", &message, "leave it out for 3"));
        }
    }
    let budget = budget_of(said.budget, &service.settings.model)?;
    let model = service.models.model("model")?.name();
    let session = match &said.session {
        Some(id) => Some(open_one(&service, &caller, id).await?),
        None => None,
    };
    let language = said.language.unwrap_or(Language::Python);
    let asked = Asked {
        question: said.question.clone(),
        instructions: said.instructions,
        language,
        template: said.template.unwrap_or_else(|| language.default_template().to_owned()),
        session: said.session,
        limits: said.limits,
        packages: said.packages,
        auto_packages: said.auto_packages.unwrap_or(true),
        egress: said.egress,
        solution: said.solution,
        review: said.review,
        ask: said.ask,
        model,
    };
    let beginning = Beginning {
        caller: caller.clone(),
        asked,
        question: said.question,
        budget,
        files: said.files,
        session,
        idempotency,
        trace: parent_of(&headers),
    };
    let id = service.begin_task(beginning).await?;
    let stream = query.stream || accepts_events(&headers);
    answer(&service, &caller, id, (said.wait, stream, 0)).await
}

/// Answers as the client wants it: when the question is settled, at once, or by the events after one.
async fn answer(
    service: &Arc<Service>,
    caller: &Caller,
    id: TaskId,
    (wait, stream, after): (bool, bool, u64),
) -> Result<Response, Problem> {
    let mut response = if stream {
        follow(service.clone(), caller, id.clone(), after).await?
    } else {
        let live = service.tasks.get(&caller.tenant, &id);
        if let Some(live) = live.filter(|_| wait) {
            live.settled().await;
        }
        let view = look(service, caller, &id).await?;
        let status = if view.state.is_settled() { StatusCode::OK } else { StatusCode::ACCEPTED };
        (status, Json(view)).into_response()
    };
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/tasks/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(with_trace(service.trace_of(id.as_str()).await, response))
}

/// Which tasks to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// In this state
    #[param(value_type = Option<String>)]
    state: Option<TaskState>,
    /// At most this many, 200 at most
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// List tasks
#[utoipa::path(get, path = "/v1/tasks", operation_id = "list_tasks", tag = "tasks", params(ListQuery),
    responses((status = 200, description = "A page", body = TaskList), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<TaskList>, Problem> {
    let page = page_of(query.limit, query.cursor.as_deref())?;
    let (scope, state) = (caller.scope(), query.state);
    let listed = crate::service::read(&service.reader, move |reader| reader.tasks(&scope, state, &page));
    let listed = listed.await?;
    let items = listed.items.into_iter().map(TaskSummary::of).collect::<Result<_, _>>()?;
    Ok(Json(TaskList { items, next: listed.next.map(|cursor| cursor.to_string()) }))
}

/// Look at a task
///
/// With all that it has come to so far: its questions, and each piece of code with its run, its error and what the model said to it.
#[utoipa::path(get, path = "/v1/tasks/{id}", operation_id = "show_task", tag = "tasks", params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "The task", body = TaskView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TaskView>, Problem> {
    look(&service, &caller, &task_id(&id)?).await.map(Json)
}

/// Take back a task that is on its way, or forget one that has ended
///
/// Taken back: its run is cancelled, its session ends unless it is yours, and what was recorded stays. It answers when all that is done.
/// Forgotten: the task goes with all that was recorded of it, and its session ends; its runs stay.
#[utoipa::path(delete, path = "/v1/tasks/{id}", operation_id = "remove_task", tag = "tasks", params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "Taken back", body = TaskView), (status = 204, description = "Forgotten"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = task_id(&id)?;
    let live = service.tasks.get(&caller.tenant, &id);
    let row = service.task_row(caller.scope(), &id).await?;
    if let Some(live) = live {
        if !row.state.is_settled() {
            service.cancel_task(&live).await;
            return Ok(Json(look(&service, &caller, &id).await?).into_response());
        }
        // Its end is in the store, and about to be told.
        live.settled().await;
    }
    service.store.remove_task(caller.scope(), &id, caller.actor.clone(), crate::service::now_ms()).await?;
    service.close_session_of(&caller, &row, &asked_of(&row)?).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Follow a task
///
/// Server-sent events, from the first to the end of the question that is worked on: `question`, `thought`, `code`, `approval`, `decided`,
/// `running`, `ran`, `refused`, `reviewed`, `denied`, `file`, `retrying`, `warning`, `spent`, `settled`. `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", operation_id = "follow_task", tag = "tasks",
    params(("id" = String, Path, description = "The task"), ("last-event-id" = Option<String>, Header, description = "The last event that was seen")),
    responses((status = 200, description = "Events", body = TaskStreamEvent, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn events(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = task_id(&id)?;
    let after = match headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default()) {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            let hint = "send the `id` of an event of this task, or nothing";
            reject("last-event-id", format!("{text:?} is not an event"), hint)
        })?,
    };
    follow(service, &caller, id, after).await
}

/// Ask a task another question
///
/// The same conversation goes on, in the same session as long as it is open, with a whole budget. The task must have ended, by an answer or
/// without one; one that was taken back takes no more. Answers as `POST /v1/tasks` does; a stream has what happens from this question on.
#[utoipa::path(post, path = "/v1/tasks/{id}/messages", operation_id = "ask_task", tag = "tasks", params(SubmitQuery, ("id" = String, Path, description = "The task"), ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[\\x21-\\x7e]+$", description = "The same key with the same request is asked once, for 24 hours")),
    request_body = AskTask,
    responses((status = 200, description = "Settled; or the stream of its events", content((TaskView = "application/json"), (TaskStreamEvent = "text/event-stream"))), (status = 202, description = "Recorded and on its way", body = TaskView),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn ask(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<SubmitQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let id = task_id(&id)?;
    body::is_json(request.headers())?;
    let headers = request.headers().clone();
    let bytes = body::read_all(request.into_body(), &service).await?;
    let said: AskTask = body::parse(&bytes)?;
    let idempotency = idempotency_of(&headers, &format!("/v1/tasks/{id}/messages"), &bytes)?;
    check_text("question", &said.question, QUESTION_BYTES_MAX)?;
    let budget = budget_of(said.budget, &service.settings.model)?;
    let row = service.task_row(caller.scope(), &id).await?;
    let asked = asked_of(&row)?;
    let session = match &asked.session {
        Some(own) => Some(open_one(&service, &caller, own).await?),
        None => service.open_session_of(&row),
    };
    let events = service.task_events(caller.scope(), &id, 0, store::limits::TASK_EVENTS_MAX).await?;
    let beginning = Beginning {
        caller: caller.clone(),
        asked,
        question: said.question,
        budget,
        files: Vec::new(),
        session,
        idempotency,
        trace: parent_of(&headers),
    };
    let id = service.ask_task(&row, &events, beginning).await?;
    let stream = query.stream || accepts_events(&headers);
    // The same request again may find more than its question.
    let before = service.task_events(caller.scope(), &id, 0, store::limits::TASK_EVENTS_MAX).await?;
    let question = before.iter().rfind(|event| event.kind == "question");
    let after = question.map_or(0, |question| question.number.saturating_sub(1));
    answer(&service, &caller, id, (said.wait, stream, after)).await
}

/// Say whether code of a task runs
///
/// Of a task with `"ask": true`: `n` is the number of the attempt that waits, `approval` of the task and of the event of that name. Code that is
/// not let run is told to the model, which goes on. Nobody's word within `task.approval_ms` is a no.
#[utoipa::path(post, path = "/v1/tasks/{id}/approvals/{n}", operation_id = "approve_attempt", tag = "tasks", params(("id" = String, Path, description = "The task"), ("n" = u32, Path, description = "The attempt")),
    request_body = ApproveAttempt,
    responses((status = 200, description = "Taken, and recorded", body = TaskView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn approve(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, n)): Path<(String, String)>,
    body::Json(said): body::Json<ApproveAttempt>,
) -> Result<Json<TaskView>, Problem> {
    let id = task_id(&id)?;
    let attempt: u32 = n.parse().map_err(|_| Problem::not_found("attempt", &n))?;
    let ApproveAttempt { decision, code, reason } = said;
    if code.is_some() && decision != Verdict::Approve {
        return Err(reject("code", "only code that is approved runs", "leave it out, or use \"approve\""));
    }
    if reason.is_some() && decision != Verdict::Deny {
        return Err(reject("reason", "what runs needs none", "leave it out, or use \"deny\""));
    }
    if let Some(reason) = &reason {
        check_text("reason", reason, INSTRUCTIONS_BYTES_MAX)?;
    }
    let row = service.task_row(caller.scope(), &id).await?;
    let not_asked = || {
        let detail = format!("attempt {attempt} of the task {} waits for no approval", row.id);
        Problem::new(Kind::Conflict, detail, "`approval` of the task says which does, if any")
    };
    let live = service.tasks.get(&caller.tenant, &id).ok_or_else(not_asked)?;
    let approval = match (decision, code) {
        (Verdict::Deny, _) => Approval::Refused(
            reason.unwrap_or_else(|| "the person who was asked does not want it to run".to_owned()),
        ),
        (_, Some(code)) => Approval::Edited(code),
        (_, None) => Approval::Run,
    };
    live.decide(attempt, approval, decision == Verdict::Always).await.map_err(
        |undecided| match undecided {
            Undecided::NotAsked => not_asked(),
            Undecided::Ended => {
                Problem::new(Kind::Conflict, "the task ended in this moment", "GET the task says how")
            }
        },
    )?;
    look(&service, &caller, &id).await.map(Json)
}

/// Why a task cannot be asked on, in the words of tasks.
pub fn not_asked(error: StoreError, row: &TaskRow) -> Problem {
    let conflict =
        |what: &str, hint: &str| Problem::new(Kind::Conflict, format!("the task {} {what}", row.id), hint);
    match error {
        StoreError::NotSettled => {
            conflict("is on its way", "wait until its question is settled, or take it back")
        }
        StoreError::AlreadySettled => conflict("was taken back", "begin another task"),
        StoreError::NotFound => Problem::not_found("task", row.id.as_str()),
        other => other.into(),
    }
}
