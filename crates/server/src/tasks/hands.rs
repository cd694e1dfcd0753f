//! What a task's model does in the service: runs in its session, files, the word of a person; each written down as it happens.

use crate::models::Model;
use crate::problem::{Kind, Problem};
use crate::service::{Service, Submission, Submitted, now_ms};
use crate::sessions::{Bound, Busy, Manner, NewOpen, OpenSession};
use crate::tasks::live::{LiveTask, Stopped};
use crate::tasks::{Approval, Code, Decision, EVENTS_MAX, Hands, Happened, NotDone};
use crate::traces::Origin;
use model::spec::check_path;
use model::{InputFile, Language, LimitsPatch, RunRequest, RunResult};
use serde_json::{Value, json};
use std::any::Any;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::{TaskNews, TaskState, TaskStep};
use tokio::runtime::Handle;
use worker::session::{Standing, Workspace};

/// Longest file that a model reads at once; it is shown less.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What is recorded of what the model was told of a run.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// The hands of one question.
pub struct TaskHands {
    /// Who has the sandboxes.
    pub service: Arc<Service>,
    /// Which task.
    pub task: Arc<LiveTask>,
    /// Who shows runs to the model.
    pub model: Arc<dyn Model>,
    /// What is opened if there is no session.
    pub new: NewOpen,
    /// Whether the session is the client's own: then no other is opened.
    pub named: bool,
    /// Whether what code imports is installed.
    pub auto_packages: bool,
    /// Where the asynchronous part of the service runs.
    pub runtime: Handle,
    /// What changes.
    pub state: Mutex<State>,
}

/// What changes as a question is worked on.
#[derive(Debug, Default)]
pub struct State {
    /// The session, as long as it is open; it is not idle meanwhile.
    pub session: Option<(Arc<OpenSession>, Busy)>,
    /// Files that the session is to have and has not.
    pub files: Vec<InputFile>,
    /// How many pieces of code there were, of all questions.
    pub attempt: u32,
    /// Whether a person said that all runs.
    pub always: bool,
}

impl TaskHands {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happened. A task that cannot be recorded does not go on.
    fn record(&self, step: TaskStep) {
        match self.service.store.tell_task(&self.task.id, TaskStep { at_ms: now_ms(), ..step }).wait() {
            Ok(events) => {
                self.task.recorded(events);
                if events >= EVENTS_MAX {
                    let why = format!("more happened than the {EVENTS_MAX} events that a task may have");
                    self.task.stop(Stopped::Broken(why));
                }
            }
            Err(error) => {
                worker::log::warn(format_args!("{}: record a step: {error}", self.task.id));
                self.task.stop(Stopped::Broken(format!("what happened could not be recorded: {error}")));
            }
        }
    }

    fn tell(&self, kind: &'static str, data: Value) {
        self.record(TaskStep { news: vec![TaskNews { kind, data }], ..TaskStep::default() });
    }

    /// The session of this task, which is opened when it is first needed, or has ended as sessions do that are idle for long.
    async fn open(&self) -> Result<Arc<OpenSession>, NotDone> {
        let known = self.state().session.as_ref().map(|(open, _)| open.clone());
        let known = known.filter(|open| !matches!(open.session.standing(), Standing::Ended(_)));
        let open = match known {
            Some(open) => open,
            None if self.named => {
                return Err(NotDone::Failed("the session that the task was to work in has ended".to_owned()));
            }
            None => {
                // In a task of its own: nothing is left half done, whatever becomes of this one.
                let (service, new) = (self.service.clone(), self.new.clone());
                let opening = tokio::spawn(async move { service.open_session(new).await });
                opening.await.map_err(|error| NotDone::Failed(error.to_string()))?.map_err(failed)?
            }
        };
        Ok(open)
    }

    /// The session, with its files in it.
    fn session(&self) -> Result<Arc<OpenSession>, NotDone> {
        let before = self.state().session.as_ref().map(|(open, _)| open.session.id().clone());
        let open = self.runtime.block_on(self.open())?;
        if before.as_ref() != Some(open.session.id()) {
            self.state().session = Some((open.clone(), Busy::of(&open)));
            self.record(TaskStep { session: Some(open.session.id().clone()), ..TaskStep::default() });
        }
        let files = std::mem::take(&mut self.state().files);
        if !files.is_empty() {
            let workspace = self.workspace(&open)?;
            for file in files {
                let wrote = workspace.write(&file.path, file.content.as_bytes(), file.executable);
                wrote.map_err(|error| {
                    NotDone::Failed(format!("put {} into the session: {error}", file.path))
                })?;
            }
        }
        Ok(open)
    }

    fn workspace(&self, open: &OpenSession) -> Result<Workspace, NotDone> {
        let files = self.service.session_files(&open.tenant, open.session.id());
        self.runtime.block_on(files).map_err(failed)
    }

    /// Code as a run of this long at most: of the task's session, or of a fresh sandbox with all that the session would have.
    async fn request_of(
        &self,
        open: Option<&Arc<OpenSession>>,
        code: &Code,
        left_ms: u64,
    ) -> Result<RunRequest, NotDone> {
        let request = RunRequest {
            language: Some(code.language),
            code: code.code.clone(),
            stdin: code.stdin.clone(),
            packages: code.packages.clone(),
            auto_packages: self.auto_packages && code.language == Language::Python,
            metadata: [("task".to_owned(), self.task.id.to_string())].into(),
            ..RunRequest::default()
        };
        if let Some(open) = open {
            let timeout_ms = Some(open.limits.timeout_ms.min(left_ms));
            return Ok(RunRequest {
                limits: LimitsPatch { timeout_ms, ..LimitsPatch::default() },
                ..request
            });
        }
        let policy = self.service.policy_of(&self.task.tenant).await.map_err(failed)?;
        let timeout_ms = self.new.limits.timeout_ms.unwrap_or(policy.limits.timeout_ms).min(left_ms);
        Ok(RunRequest {
            template: Some(self.new.template.clone()),
            files: self.state().files.clone(),
            packages: [self.new.packages.clone(), code.packages.clone()].concat(),
            egress: self.new.egress.clone(),
            limits: LimitsPatch { timeout_ms: Some(timeout_ms), ..self.new.limits },
            ..request
        })
    }

    /// Submits a run, and again if there was no room for it and there is time.
    async fn submit(
        &self,
        open: Option<&Arc<OpenSession>>,
        code: &Code,
        until: Instant,
    ) -> Result<Submitted, NotDone> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).as_millis();
            let left_ms = u64::try_from(left).unwrap_or(u64::MAX).max(1);
            let request = self.request_of(open, code, left_ms).await?;
            let submission = Submission {
                tenant: self.task.tenant.clone(),
                environment: None,
                session: open.map(|open| Bound::new(open, &request, Manner::default())),
                request,
                idempotency: None,
                batch: None,
                merge_output: false,
                told_late: false,
                trace: Origin::Within(self.task.id.to_string()),
            };
            let problem = match self.service.submit(submission).await {
                Ok(submitted) => return Ok(submitted),
                Err(problem) => problem,
            };
            if problem.is_of(Kind::InvalidRequest) {
                return Err(NotDone::Refused(problem.to_string()));
            }
            let wait = problem.retry_after_s().map(Duration::from_secs);
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < until) else {
                return Err(failed(problem));
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.task.stop.cancelled() => return Err(NotDone::Stopped),
            }
        }
    }

    async fn run_in(
        &self,
        open: Option<&Arc<OpenSession>>,
        code: &Code,
        time_left: Duration,
    ) -> Result<Arc<RunResult>, NotDone> {
        let (id, live) = match self.submit(open, code, Instant::now() + time_left).await? {
            Submitted::New { id, live } => (id, live),
            Submitted::Replayed(_) => {
                return Err(NotDone::Failed("a run without a key was replayed".to_owned()));
            }
        };
        let (attempt, store) = (self.state().attempt, &self.service.store);
        let news = vec![TaskNews { kind: "running", data: json!({"attempt": attempt, "run": id}) }];
        let step = TaskStep { at_ms: now_ms(), news, ..TaskStep::default() };
        match store.tell_task(&self.task.id, step).await {
            Ok(events) => self.task.recorded(events),
            Err(error) => {
                live.cancel();
                return Err(NotDone::Failed(format!("what happened could not be recorded: {error}")));
            }
        }
        tokio::select! {
            result = live.finished() => result.map_err(failed),
            () = self.task.stop.cancelled() => {
                live.cancel();
                // Before its session ends: then it was cancelled, not interrupted.
                live.finished().await.map_err(failed)
            }
        }
    }

    /// Records what became of a run.
    fn told(&self, ran: Result<Arc<RunResult>, NotDone>) -> Result<RunResult, NotDone> {
        let attempt = self.state().attempt;
        match ran {
            Ok(result) => {
                let data = json!({
                    "attempt": attempt, "run": result.id, "outcome": result.outcome,
                    "error": error_of(&result), "output": bounded(self.model.summed_up(&result)),
                });
                self.tell("ran", data);
                if self.stopped() { Err(NotDone::Stopped) } else { Ok((*result).clone()) }
            }
            Err(not) => {
                if let NotDone::Refused(why) | NotDone::Failed(why) = &not {
                    self.tell("refused", json!({"attempt": attempt, "reason": why}));
                }
                Err(not)
            }
        }
    }

    /// What a person says of the code, if anybody says something in time.
    async fn decision(
        &self,
        mut receiver: tokio::sync::oneshot::Receiver<Decision>,
    ) -> Result<Decision, String> {
        let patience_ms = self.service.settings.task.approval_ms;
        tokio::select! {
            decision = &mut receiver => decision.map_err(|_| "the task ended".to_owned()),
            () = self.task.stop.cancelled() => Err("the task was stopped".to_owned()),
            () = tokio::time::sleep(Duration::from_millis(patience_ms)) => {
                Err(format!("nobody approved it within {} s", patience_ms / 1000))
            }
        }
    }
}

fn failed(problem: Problem) -> NotDone {
    NotDone::Failed(problem.to_string())
}

/// The text, or its beginning.
pub fn bounded(mut text: String) -> String {
    if text.len() > OUTPUT_BYTES_MAX {
        let end = (0..=OUTPUT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("\n[…]");
    }
    text
}

/// What went wrong with a run, in a few words; nothing if it completed.
fn error_of(result: &RunResult) -> Option<String> {
    if let Some(fault) = &result.fault {
        return Some(format!("the sandbox failed, not the code: {fault}"));
    }
    if result.outcome == Some(model::Outcome::Completed) {
        return None;
    }
    if let Some(error) = &result.error {
        return Some(bounded(format!("{}: {}", error.name, error.message)));
    }
    let outcome = result.outcome.map_or("unknown", model::Outcome::name);
    Some(result.exit_code.map_or_else(|| outcome.to_owned(), |code| format!("{outcome}, exit code {code}")))
}

impl Hands for TaskHands {
    fn run(&self, code: &Code, time_left: Duration) -> Result<RunResult, NotDone> {
        self.told(
            self.session().and_then(|open| self.runtime.block_on(self.run_in(Some(&open), code, time_left))),
        )
    }

    fn run_fresh(&self, code: &Code, time_left: Duration) -> Result<RunResult, NotDone> {
        self.told(self.runtime.block_on(self.run_in(None, code, time_left)))
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>, NotDone> {
        check_path("path", path).map_err(|wrong| NotDone::Refused(wrong.to_string()))?;
        let open = self.session()?;
        let refused = |error: &dyn std::fmt::Display| NotDone::Refused(format!("read {path}: {error}"));
        let (file, _) = self.workspace(&open)?.read(path).map_err(|error| refused(&error))?;
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(|error| refused(&error))?;
        Ok(content)
    }

    fn write_file(&self, path: &str, content: &[u8]) -> Result<(), NotDone> {
        check_path("path", path).map_err(|wrong| NotDone::Refused(wrong.to_string()))?;
        let open = self.session()?;
        let wrote = self.workspace(&open)?.write(path, content, false);
        wrote.map_err(|error| NotDone::Refused(format!("write {path}: {error}")))
    }

    fn approve(&self, code: &Code) -> Approval {
        let (attempt, always) = {
            let state = self.state();
            (state.attempt, state.always)
        };
        if always {
            return Approval::Run;
        }
        // Before anybody is told that it waits.
        let receiver = self.task.ask(attempt);
        let asked =
            json!({"attempt": attempt, "language": code.language, "code": code.code, "stdin": code.stdin});
        let news = vec![TaskNews { kind: "approval", data: asked }];
        self.record(TaskStep { state: Some(TaskState::Waiting), news, ..TaskStep::default() });
        let decided = self.runtime.block_on(self.decision(receiver));
        self.task.unask();
        let (approval, always, recorded) = match decided {
            Ok(Decision { approval, always, recorded }) => (approval, always, Some(recorded)),
            Err(why) => (Approval::Refused(why), false, None),
        };
        self.state().always = always;
        let data = match &approval {
            Approval::Run if always => json!({"attempt": attempt, "decision": "always"}),
            Approval::Run => json!({"attempt": attempt, "decision": "approve"}),
            Approval::Edited(code) => json!({"attempt": attempt, "decision": "approve", "code": code}),
            Approval::Refused(why) => json!({"attempt": attempt, "decision": "deny", "reason": why}),
        };
        let news = vec![TaskNews { kind: "decided", data }];
        self.record(TaskStep { state: Some(TaskState::Running), news, ..TaskStep::default() });
        if let Some(recorded) = recorded {
            // Whoever decided may have left.
            recorded.send(()).unwrap_or(());
        }
        approval
    }

    fn happened(&self, what: Happened<'_>) {
        match what {
            Happened::Thought(text) => self.tell("thought", json!({"text": text})),
            Happened::Code(Code { language, code, stdin, .. }) => {
                let attempt = {
                    let mut state = self.state();
                    state.attempt += 1;
                    state.attempt
                };
                let data = json!({"attempt": attempt, "language": language, "code": code, "stdin": stdin});
                self.tell("code", data);
            }
            Happened::Reviewed(used, reasons) => {
                let mut data = json!(used);
                data["attempt"] = self.state().attempt.into();
                data["reasons"] = reasons.into();
                self.tell("reviewed", data);
            }
            Happened::Denied(reasons) => {
                let attempt = self.state().attempt;
                self.tell("denied", json!({"attempt": attempt, "reasons": reasons}));
            }
            Happened::File(done, path, bytes) => {
                self.tell("file", json!({"done": done, "path": path, "bytes": bytes}));
            }
            Happened::Waiting(why, wait) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                self.tell("retrying", json!({"reason": why, "wait_ms": wait_ms}));
            }
            Happened::Warning(text) => self.tell("warning", json!({"text": text})),
            Happened::Spent(spent) => self.tell("spent", json!(spent)),
            Happened::Pass(pass) => self.tell("pass", json!({"pass": pass})),
            Happened::Said(conversation) => {
                self.record(TaskStep { conversation: Some(conversation), ..TaskStep::default() });
            }
        }
    }

    fn enter(&self, until: Instant) -> Box<dyn Any> {
        let waiting = async {
            tokio::select! {
                place = self.service.models.enter(&self.task.tenant) => place.ok(),
                () = self.task.stop.cancelled() => None,
                () = tokio::time::sleep_until(until.into()) => None,
            }
        };
        Box::new(self.runtime.block_on(waiting))
    }

    fn stopped(&self) -> bool {
        self.task.stop.is_cancelled()
    }
}
