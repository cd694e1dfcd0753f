//! `/v1/sessions/{id}/processes`: commands that run in a session beside its runs, on pipes or on a terminal.

use crate::attach::typed_bytes;
use crate::http::body::{Json, Query};
use crate::http::guard::Caller;
use crate::http::sessions::{open_one, session_id};
use crate::problem::{Kind, Problem};
use crate::service::{Service, draining, now_ms};
use crate::sessions::OpenSession;
use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{LimitsPatch, Policy, Rejection, RunRequest, RunSpec, object};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use worker::session::{NewProcess, NotDone, Process, ToProcess};

mod following;

pub use following::told;

/// Most bytes that one request may type.
const TYPED_BYTES_MAX: usize = 64 << 10;
/// Most rows or columns of a terminal.
const CELLS_MAX: u16 = 1_000;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(start, list))
        .routes(routes!(show, remove))
        .routes(routes!(output))
        .routes(routes!(stdin))
        .routes(routes!(resize))
        .routes(routes!(signal))
}

/// A process as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StartProcess {
    /// The program and its arguments; without a slash it is looked for in `PATH`.
    #[schema(min_items = 1)]
    command: Vec<String>,
    /// Variables, on top of the session's.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Working directory, relative to the workspace.
    cwd: Option<String>,
    /// A terminal of its own, of this size; absent means pipes.
    terminal: Option<TerminalSize>,
    /// How much it may use: `memory_bytes`, `cpus`, `processes`, up to the session's own, which it has when nothing is said.
    #[serde(default, deserialize_with = "object::deserialize")]
    limits: LimitsPatch,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    #[schema(minimum = 1, maximum = 1000)]
    rows: u16,
    /// Characters of a line.
    #[schema(minimum = 1, maximum = 1000)]
    columns: u16,
}

impl TerminalSize {
    /// Rows and columns, if there are terminals of that size.
    pub fn checked(self) -> Result<(u16, u16), Problem> {
        let fits = |cells: u16| (1..=CELLS_MAX).contains(&cells);
        if fits(self.rows) && fits(self.columns) {
            return Ok((self.rows, self.columns));
        }
        let hint = format!("use 1 to {CELLS_MAX} rows and columns");
        Err(Rejection::new("terminal", "no terminal has that size", hint).into())
    }
}

/// Something for the standard input of a process.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessInput {
    /// As text.
    text: Option<String>,
    /// Or as bytes.
    base64: Option<String>,
    /// Whether nothing follows. On a terminal this is Ctrl-D.
    end: bool,
}

impl ProcessInput {
    /// Gives it to a process.
    pub async fn give(self, open: &OpenSession, process: &Process) -> Result<(), Problem> {
        let bytes = typed_bytes(self.text, self.base64)?;
        if bytes.len() > TYPED_BYTES_MAX {
            let hint = format!("send {TYPED_BYTES_MAX} bytes at most at once");
            return Err(Rejection::new("text", "that is too much", hint).into());
        }
        if !bytes.is_empty() {
            tell(open, process, ToProcess::Bytes(bytes)).await?;
        }
        if self.end { tell(open, process, ToProcess::End).await } else { Ok(()) }
    }
}

/// A signal for a process.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendSignal {
    /// Its name: `SIGINT`. It goes to the process's group; `SIGKILL` to all that it started.
    signal: String,
}

impl SendSignal {
    /// Sends it to a process.
    pub async fn send(self, open: &OpenSession, process: &Process) -> Result<(), Problem> {
        let number = sys::signal::number(&self.signal).and_then(|number| u8::try_from(number).ok());
        let number = number.filter(|number| (1..=64).contains(number)).ok_or_else(|| {
            let hint = "use a name such as SIGINT or SIGTERM";
            Rejection::new("signal", format!("{:?} is no signal", self.signal), hint)
        })?;
        tell(open, process, ToProcess::Signal(number)).await
    }
}

/// A process.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessView {
    /// Its number in the session.
    process: u32,
    /// Where it is.
    state: ProcessState,
    /// The program and its arguments.
    command: Vec<String>,
    /// The size of its terminal as it was started; absent if it has none.
    terminal: Option<TerminalSize>,
    /// When it was started, RFC 3339 in UTC.
    started_at: String,
    /// How much it wrote; of that the last MiB is kept.
    written_bytes: u64,
    /// Its exit code, if it ended by itself.
    exit_code: Option<i32>,
    /// The signal that ended it.
    signal: Option<String>,
    /// Whether it was killed for its memory.
    memory_exceeded: bool,
    /// Why it never ran.
    failed: Option<String>,
    /// Its processor time; 0 until it has ended.
    cpu_ms: u64,
    /// The most memory that it had; 0 until it has ended.
    memory_peak_bytes: u64,
}

/// Where a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProcessState {
    /// It runs.
    Running,
    /// It has ended.
    Ended,
}

/// All processes of a session.
#[derive(Debug, Serialize, ToSchema)]
struct ProcessList {
    /// Those that run and the last that ended, oldest first.
    items: Vec<ProcessView>,
}

/// From where to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct OutputQuery {
    /// How many bytes of its output are known already; `Last-Event-ID` says so too
    after: Option<u64>,
}

impl From<&Process> for ProcessView {
    fn from(process: &Process) -> Self {
        let end = process.end();
        let of_end = end.as_ref();
        let what = &process.what;
        Self {
            process: process.number,
            state: if end.is_some() { ProcessState::Ended } else { ProcessState::Running },
            command: what.command.clone(),
            terminal: what.terminal.map(|(rows, columns)| TerminalSize { rows, columns }),
            started_at: worker::run::time(process.started_at_ms),
            written_bytes: process.written(),
            exit_code: of_end.and_then(|end| end.exit_code),
            signal: of_end.and_then(|end| end.signal).map(sys::signal::name),
            memory_exceeded: of_end.is_some_and(|end| end.memory_exceeded),
            failed: of_end.and_then(|end| end.failed.clone()),
            cpu_ms: of_end.map_or(0, |end| end.cpu_us / 1_000),
            memory_peak_bytes: of_end.map_or(0, |end| end.memory_peak_bytes),
        }
    }
}

/// A process that a path names. Whoever asks about one uses its session.
pub async fn process_of(
    service: &Service,
    caller: &Caller,
    id: &str,
    process: &str,
) -> Result<(Arc<OpenSession>, Arc<Process>), Problem> {
    let open = open_one(service, caller, &session_id(id)?).await?;
    let found = process.parse().ok().and_then(|number| open.session.process(number));
    let found = found.ok_or_else(|| Problem::not_found("process", process))?;
    open.is_used();
    Ok((open, found))
}

/// Gives something to a process.
pub async fn tell(open: &OpenSession, process: &Process, what: ToProcess) -> Result<(), Problem> {
    open.session.tell_process(process, what).await.map_err(problem_of)
}

fn problem_of(not: NotDone) -> Problem {
    let busy = |what: &str| Problem::too_many(what.to_owned(), 1);
    match not {
        NotDone::Ended => Problem::new(Kind::Conflict, "the process has ended", "GET it says how"),
        NotDone::Full => busy("nothing of this was taken: the process has not read what came before"),
        NotDone::TooMany => busy("as many processes of the session run as may at once"),
        NotDone::Fault(fault) => fault.into(),
    }
}

/// Start a process in a session
///
/// Any command, beside the session's runs, until it ends or the session does. It has no timeout. Of what it writes the last MiB is kept.
#[utoipa::path(post, path = "/v1/sessions/{id}/processes", operation_id = "start_process", tag = "sessions", params(("id" = String, Path, description = "The session")), request_body = StartProcess,
    responses((status = 201, description = "It is started", body = ProcessView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn start(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(asked): Json<StartProcess>,
) -> Result<Response, Problem> {
    if service.is_draining() {
        return Err(draining());
    }
    let open = open_one(&service, &caller, &session_id(&id)?).await?;
    let new = admit(&open, asked)?;
    service.quotas.spend(&caller.tenant)?;
    let most = service.settings.session.processes;
    open.is_used();
    let process = open.session.start_process(new, most, now_ms()).await.map_err(problem_of)?;
    let view = ProcessView::from(&*process);
    let location = format!("/v1/sessions/{id}/processes/{}", view.process);
    let mut response = (StatusCode::CREATED, Answer(view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Completes what is asked, or says what is wrong with it.
fn admit(open: &OpenSession, asked: StartProcess) -> Result<NewProcess, Problem> {
    let StartProcess { command, env, cwd, terminal, limits } = asked;
    if command.first().is_none_or(String::is_empty) {
        return Err(Rejection::new("command", "there is no program", "name one").into());
    }
    let wholes = [
        ("limits.timeout_ms", limits.timeout_ms.is_some()),
        ("limits.output_bytes", limits.output_bytes.is_some()),
        ("limits.disk_bytes", limits.disk_bytes.is_some()),
    ];
    if let Some((field, _)) = wholes.into_iter().find(|(_, said)| *said) {
        let hint = "a process has `memory_bytes`, `cpus` and `processes` of its own";
        return Err(Rejection::new(field, "a process has no such limit", hint).into());
    }
    let terminal = terminal.map(TerminalSize::checked).transpose()?;
    // By a run that is not run: words, variables and directory are bounded and checked as those of runs.
    let trial = RunRequest {
        language: Some(open.language),
        args: command,
        env,
        cwd,
        limits,
        ..RunRequest::default()
    };
    let own = open.limits;
    let spec = RunSpec::admit(trial, &Policy { limits: own, ceiling: own }).map_err(|rejection| {
        Rejection { field: rejection.field.replacen("args", "command", 1), ..rejection }
    })?;
    Ok(NewProcess { command: spec.args, env: spec.env, cwd: spec.cwd, limits: spec.limits, terminal })
}

/// List the processes of a session
#[utoipa::path(get, path = "/v1/sessions/{id}/processes", operation_id = "list_processes", tag = "sessions", params(("id" = String, Path, description = "The session")),
    responses((status = 200, description = "All of them", body = ProcessList), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Answer<ProcessList>, Problem> {
    let open = open_one(&service, &caller, &session_id(&id)?).await?;
    let items = open.session.processes().iter().map(|process| ProcessView::from(&**process)).collect();
    Ok(Answer(ProcessList { items }))
}

/// Look at a process
#[utoipa::path(get, path = "/v1/sessions/{id}/processes/{process}", operation_id = "show_process", tag = "sessions", params(("id" = String, Path, description = "The session"), ("process" = String, Path, description = "The process")),
    responses((status = 200, description = "The process", body = ProcessView), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, process)): Path<(String, String)>,
) -> Result<Answer<ProcessView>, Problem> {
    let (_, process) = process_of(&service, &caller, &id, &process).await?;
    Ok(Answer(ProcessView::from(&*process)))
}

/// Kill a process and all that it started, and forget it
#[utoipa::path(delete, path = "/v1/sessions/{id}/processes/{process}", operation_id = "remove_process", tag = "sessions", params(("id" = String, Path, description = "The session"), ("process" = String, Path, description = "The process")),
    responses((status = 204, description = "It is gone"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn remove(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, process)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (open, process) = process_of(&service, &caller, &id, &process).await?;
    open.session.remove_process(&process).await.map_err(problem_of)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Follow what a process writes
///
/// Server-sent events: `output` with `stream`, `offset` and `text` (or `base64` where a piece is no UTF-8), at last `ended` with the
/// process. `id` is how much is known after an event. What was written before the last MiB is not told any more, as `offset` shows.
#[utoipa::path(get, path = "/v1/sessions/{id}/processes/{process}/output", operation_id = "follow_process", tag = "sessions",
    params(OutputQuery, ("id" = String, Path, description = "The session"), ("process" = String, Path, description = "The process"), ("last-event-id" = Option<String>, Header, description = "The last event that was seen")),
    responses((status = 200, description = "Events", body = crate::http::sse::StreamEvent, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn output(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, process)): Path<(String, String)>,
    Query(query): Query<OutputQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (_, process) = process_of(&service, &caller, &id, &process).await?;
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().parse());
    let last = last.transpose().map_err(|_| {
        let hint = "send the `id` of an event of this process, or nothing";
        Problem::new(Kind::InvalidRequest, "that is no event", hint).of_field("last-event-id")
    })?;
    Ok(following::follow(service, process, last.or(query.after).unwrap_or(0)))
}

/// Type to a process
#[utoipa::path(post, path = "/v1/sessions/{id}/processes/{process}/stdin", operation_id = "type_to_process", tag = "sessions", params(("id" = String, Path, description = "The session"), ("process" = String, Path, description = "The process")), request_body = ProcessInput,
    responses((status = 204, description = "It is on its way"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn stdin(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, process)): Path<(String, String)>,
    Json(input): Json<ProcessInput>,
) -> Result<StatusCode, Problem> {
    let (open, process) = process_of(&service, &caller, &id, &process).await?;
    input.give(&open, &process).await.map(|()| StatusCode::NO_CONTENT)
}

/// Say how large the terminal of a process is
#[utoipa::path(post, path = "/v1/sessions/{id}/processes/{process}/resize", operation_id = "resize_process", tag = "sessions", params(("id" = String, Path, description = "The session"), ("process" = String, Path, description = "The process")), request_body = TerminalSize,
    responses((status = 204, description = "It is told"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn resize(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, process)): Path<(String, String)>,
    Json(size): Json<TerminalSize>,
) -> Result<StatusCode, Problem> {
    let (open, process) = process_of(&service, &caller, &id, &process).await?;
    let (rows, columns) = size.checked()?;
    if process.what.terminal.is_none() {
        return Err(Problem::new(Kind::Conflict, "the process has no terminal", "start one with `terminal`"));
    }
    tell(&open, &process, ToProcess::Resize(rows, columns)).await.map(|()| StatusCode::NO_CONTENT)
}

/// Send a signal to a process
#[utoipa::path(post, path = "/v1/sessions/{id}/processes/{process}/signal", operation_id = "signal_process", tag = "sessions", params(("id" = String, Path, description = "The session"), ("process" = String, Path, description = "The process")), request_body = SendSignal,
    responses((status = 204, description = "It is sent"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn signal(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, process)): Path<(String, String)>,
    Json(signal): Json<SendSignal>,
) -> Result<StatusCode, Problem> {
    let (open, process) = process_of(&service, &caller, &id, &process).await?;
    signal.send(&open, &process).await.map(|()| StatusCode::NO_CONTENT)
}
