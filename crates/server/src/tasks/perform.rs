//! The life of a question: taken in and recorded, worked on in a thread of its own, settled. The record comes before anybody is told.

use crate::http::guard::Caller;
use crate::http::tasks::not_asked;
use crate::models::{Model, in_thread};
use crate::problem::{Kind, Problem};
use crate::service::{Service, draining, internal, now_ms, read};
use crate::sessions::{Busy, NewOpen, OpenSession};
use crate::tasks::attempts::{Last, Settled};
use crate::tasks::hands::{State, TaskHands, bounded};
use crate::tasks::live::{LiveTask, Stopped};
use crate::tasks::{Budget, Code, EVENTS_MAX, End, QUESTIONS_MAX, Question, Solving, Worked};
use crate::traces::Beginning as TraceBeginning;
use model::{Background, Egress, InputFile, Language, LimitsPatch, Priority, SessionId, TaskId, TraceParent};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use store::{
    Idempotency, NewQuestion, NewTask, Scope, StoreError, TaskAdmission, TaskEvent, TaskNews, TaskRow,
    TaskState, TaskStep, TraceKind,
};
use tokio::runtime::Handle;
use worker::session::Standing;

/// What all questions of a task have in common, as it is recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// The first question.
    pub question: String,
    /// The caller's own instructions.
    pub instructions: Option<String>,
    /// The language of code that names none.
    pub language: Language,
    /// What the session is made from.
    pub template: String,
    /// The session that the client named: it is the client's, and stays.
    pub session: Option<SessionId>,
    /// How much the session may use.
    pub limits: LimitsPatch,
    /// Packages that the session has.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Whether what code imports is installed.
    #[serde(default)]
    pub auto_packages: bool,
    /// What the session may reach.
    #[serde(default)]
    pub egress: Option<Egress>,
    /// Whether a whole program is wanted.
    #[serde(default)]
    pub solution: Option<Solving>,
    /// Whether a model reads code before it runs.
    pub review: bool,
    /// Whether a person approves each run.
    pub ask: bool,
    /// Who works on it, as `provider:model`.
    pub model: String,
}

/// A question that is about to be worked on.
pub struct Beginning {
    /// Who asks.
    pub caller: Caller,
    /// What all questions of the task have in common.
    pub asked: Asked,
    /// The question.
    pub question: String,
    /// How much it may use.
    pub budget: Budget,
    /// Files that the session is to have.
    pub files: Vec<InputFile>,
    /// The session that there is, if it is open.
    pub session: Option<Arc<OpenSession>>,
    /// The client's key for it.
    pub idempotency: Option<Idempotency>,
    /// Where the client stands in a trace.
    pub trace: Option<TraceParent>,
}

/// What is said to a model whose sandbox ended between two questions.
const BEGAN_ANEW: &str = "(The sandbox began anew: variables and files of before are gone.)";

impl Service {
    /// Takes a new task in: recorded, and worked on, when this returns. A key that stands for it already answers with that one.
    pub async fn begin_task(self: &Arc<Self>, beginning: Beginning) -> Result<TaskId, Problem> {
        let model = self.models.model("model")?;
        if let Some(before) = self.task_before(&beginning).await? {
            return Ok(before);
        }
        let id = TaskId::from_random(sys::fs::random().map_err(|error| internal(error.to_string()))?);
        let task = self.enter(&beginning, id.clone()).await?;
        let new = NewTask {
            id,
            tenant: beginning.caller.tenant.clone(),
            created_at_ms: now_ms(),
            request: json!(beginning.asked),
            session: beginning.asked.session.clone(),
            idempotency: beginning.idempotency.clone(),
        };
        let write = self.store.create_task(new, vec![question_of(&beginning)]);
        let conversation = None;
        self.admitted(model, task, beginning, (conversation, 0), (write, Problem::from)).await
    }

    /// Goes on with a task that has ended; else as [`Service::begin_task`].
    pub async fn ask_task(
        self: &Arc<Self>,
        row: &TaskRow,
        events: &[TaskEvent],
        mut beginning: Beginning,
    ) -> Result<TaskId, Problem> {
        let model = self.models.model("model")?;
        if let Some(before) = self.task_before(&beginning).await? {
            return Ok(before);
        }
        if !row.state.is_settled() {
            return Err(not_asked(StoreError::NotSettled, row));
        }
        // Its end is in the store, and about to be told.
        if let Some(ending) = self.tasks.get(&row.tenant, &row.id) {
            ending.settled().await;
        }
        let (id, wanted) = (row.id.clone(), row.id.clone());
        let conversation = read(&self.reader, move |reader| reader.task_conversation(&wanted)).await?;
        let conflict = |what: &str| {
            Err(Problem::new(Kind::Conflict, format!("the task {} {what}", row.id), "begin another task"))
        };
        if row.questions >= QUESTIONS_MAX || events.len() as u64 >= EVENTS_MAX {
            return conflict("is as long as a task may be");
        }
        if conversation.is_none() {
            return conflict("has no conversation to go on with");
        }
        let attempts = events.iter().filter(|event| event.kind == "code").count();
        let new = NewQuestion {
            at_ms: now_ms(),
            news: vec![question_of(&beginning)],
            idempotency: beginning.idempotency.clone(),
        };
        let task = self.enter(&beginning, row.id.clone()).await?;
        if row.session.is_some() && beginning.session.is_none() {
            beginning.question = format!("{}\n\n{BEGAN_ANEW}", beginning.question);
        }
        let row = row.clone();
        let of_store = move |error| not_asked(error, &row);
        let write = self.store.ask_task(&beginning.caller.tenant, &id, new);
        self.admitted(model, task, beginning, (conversation, attempts as u32), (write, of_store)).await
    }

    async fn task_before(&self, beginning: &Beginning) -> Result<Option<TaskId>, Problem> {
        let Some(key) = beginning.idempotency.clone() else { return Ok(None) };
        let tenant = beginning.caller.tenant.clone();
        read(&self.reader, move |reader| reader.task_of_key(&tenant, &key, now_ms())).await
    }

    /// Takes a place for a question, if there is one and the tenant may ask now.
    async fn enter(&self, beginning: &Beginning, id: TaskId) -> Result<Arc<LiveTask>, Problem> {
        let Caller { tenant, actor, .. } = &beginning.caller;
        // So that its quota is known; it costs the operator money, and counts as a run does.
        self.policy_of(tenant).await?;
        self.quotas.spend(tenant)?;
        let most = (self.settings.tenant.tasks, self.settings.task.max);
        let task = self.tasks.begin(id, tenant.clone(), actor.clone(), most)?;
        if self.is_draining() {
            self.tasks.forget(&task);
            return Err(draining());
        }
        Ok(task)
    }

    /// Records a question and has it worked on, in a task of its own: a client that breaks off in the middle leaves nothing half done.
    async fn admitted(
        self: &Arc<Self>,
        model: Arc<dyn Model>,
        task: Arc<LiveTask>,
        beginning: Beginning,
        past: (Option<String>, u32),
        (write, of_store): (store::Write<TaskAdmission>, impl FnOnce(StoreError) -> Problem + Send + 'static),
    ) -> Result<TaskId, Problem> {
        let service = self.clone();
        let admitting = tokio::spawn(async move {
            match write.await {
                Ok(TaskAdmission::Admitted(events)) => {
                    task.recorded(events);
                    let id = task.id.clone();
                    let began = TraceBeginning {
                        kind: TraceKind::Task,
                        object: id.as_str(),
                        name: "agent task",
                        input: &beginning.question,
                        model: Some(&beginning.asked.model),
                        parent: beginning.trace,
                        before: None,
                    };
                    service.begin_trace(&task.tenant, began).await;
                    tokio::spawn(service.work(model, task, beginning, past));
                    Ok(id)
                }
                Ok(TaskAdmission::Replayed(before)) => {
                    service.tasks.forget(&task);
                    Ok(before)
                }
                Err(error) => {
                    service.tasks.forget(&task);
                    Err(of_store(error))
                }
            }
        });
        admitting.await.map_err(|error| internal(error.to_string()))?
    }

    /// Works on a question to its end.
    async fn work(
        self: Arc<Self>,
        model: Arc<dyn Model>,
        task: Arc<LiveTask>,
        beginning: Beginning,
        (conversation, attempt): (Option<String>, u32),
    ) {
        let Beginning { caller, asked, question, budget, files, session, .. } = beginning;
        let question = Question {
            text: question,
            conversation,
            instructions: asked.instructions.clone(),
            language: asked.language,
            review: asked.review,
            ask: asked.ask,
            solution: asked.solution,
            hosts: hosts_of(session.as_deref(), &asked),
            files: files.iter().map(|file| file.path.clone()).collect(),
            budget,
        };
        let named = asked.session.is_some();
        let session = session.map(|open| (open.clone(), Busy::of(&open)));
        let hands = Arc::new(TaskHands {
            service: self.clone(),
            task: task.clone(),
            model: model.clone(),
            new: session_of(&caller, &asked, &task.id),
            named,
            auto_packages: asked.auto_packages,
            runtime: Handle::current(),
            state: Mutex::new(State { session, files, attempt, always: false }),
        });
        let worked = {
            let hands = hands.clone();
            in_thread(move || model.work(&question, &*hands)).await
        };
        let settled = settled_of(&task, worked);
        // It is not idle as long as this is there.
        let session = hands.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).session.take();
        if settled.state == TaskState::Cancelled
            && !named
            && let Some((open, _)) = &session
        {
            self.close_session(open, caller.actor).await;
        }
        drop(session);
        let step = TaskStep {
            at_ms: now_ms(),
            state: Some(settled.state),
            news: vec![TaskNews { kind: "settled", data: json!(settled) }],
            ..TaskStep::default()
        };
        let told = self.store.tell_task(&task.id, step).await;
        let state = settled.state;
        if told.is_ok() {
            self.end_task_trace(&task.tenant, &task.id, state).await;
        }
        // In this order: who hears of the end may ask the next question.
        self.tasks.forget(&task);
        match told {
            Ok(events) => task.recorded(events),
            Err(error) => worker::log::warn(format_args!("{}: record its end: {error}", task.id)),
        }
        task.settle();
    }

    /// Takes back a task that is on its way; returns when it has ended, and so has its session.
    pub async fn cancel_task(&self, task: &LiveTask) {
        task.stop(Stopped::Cancelled);
        task.settled().await;
    }

    /// Ends the session of a task that has ended, if it is the task's own and open.
    pub async fn close_session_of(&self, caller: &Caller, row: &TaskRow, asked: &Asked) {
        if asked.session.is_none()
            && let Some(open) = self.open_session_of(row)
        {
            self.close_session(&open, caller.actor.clone()).await;
        }
    }

    /// The session of a task, if it is open.
    pub fn open_session_of(&self, row: &TaskRow) -> Option<Arc<OpenSession>> {
        let open = self.sessions.get(&row.tenant, row.session.as_ref()?)?;
        (!matches!(open.session.standing(), Standing::Ended(_))).then_some(open)
    }

    /// A task of the scope.
    pub async fn task_row(&self, scope: Scope, id: &TaskId) -> Result<TaskRow, Problem> {
        let wanted = id.clone();
        let found = read(&self.reader, move |reader| reader.task(&scope, &wanted)).await?;
        found.ok_or_else(|| Problem::not_found("task", id.as_str()))
    }

    /// The events of a task after one, so many at most.
    pub async fn task_events(
        &self,
        scope: Scope,
        id: &TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TaskEvent>, Problem> {
        let wanted = id.clone();
        let found = read(&self.reader, move |reader| reader.task_events(&scope, &wanted, after, limit));
        found.await?.ok_or_else(|| Problem::not_found("task", id.as_str()))
    }
}

fn question_of(beginning: &Beginning) -> TaskNews {
    let data =
        json!({"text": beginning.question, "budget": beginning.budget, "model": beginning.asked.model});
    TaskNews { kind: "question", data }
}

/// The hosts that code may reach: those of the session that was named, else what was asked for.
fn hosts_of(session: Option<&OpenSession>, asked: &Asked) -> Vec<String> {
    if let Some(open) = session {
        return open.hosts.clone();
    }
    let Some(egress) = &asked.egress else { return Vec::new() };
    egress.allow.iter().chain(egress.secrets.values()).cloned().collect()
}

/// The session of a task, as it is opened.
fn session_of(caller: &Caller, asked: &Asked, task: &TaskId) -> NewOpen {
    let request = json!({
        "name": task, "template": asked.template, "language": asked.language, "limits": asked.limits, "packages": asked.packages,
        "egress": asked.egress,
    });
    NewOpen {
        tenant: caller.tenant.clone(),
        actor: caller.actor.clone(),
        name: task.to_string(),
        template: asked.template.clone(),
        language: None,
        limits: asked.limits,
        env: BTreeMap::new(),
        background: Background::default(),
        ports: false,
        packages: asked.packages.clone(),
        auto_packages: false,
        offline: false,
        python: None,
        egress: asked.egress.clone(),
        priority: Priority::default(),
        idle_ttl_ms: None,
        ttl_ms: None,
        durable: false,
        again: None,
        allow_missing: None,
        request: request.to_string(),
        trace: None,
    }
}

/// How a question ended: as it was stopped, if it was, else as the model's work did.
fn settled_of(task: &LiveTask, worked: Result<Worked, Problem>) -> Settled {
    let (end, last, solution, usage) = match worked {
        Ok(Worked { end, last, solution, spent }) => (end, last, solution, Some(spent)),
        // The thread has ended by a panic: what it was doing is in the log.
        Err(problem) => (End::Failed(problem.to_string()), None, None, None),
    };
    let last = last.map(|(Code { language, code, stdin, .. }, output)| Last {
        language,
        code,
        stdin,
        output: bounded(output),
    });
    let ended = |state| Settled {
        state,
        answer: None,
        error: None,
        limit: None,
        solution: None,
        usage,
        last: last.clone(),
    };
    let failed = |why: String| Settled { error: Some(why), ..ended(TaskState::Failed) };
    match (task.why(), end) {
        (Some(Stopped::Cancelled), _) => ended(TaskState::Cancelled),
        (Some(Stopped::Broken(why)), _) => failed(why),
        (_, End::Answered(answer)) => {
            Settled { answer: Some(answer), solution, last: None, ..ended(TaskState::Answered) }
        }
        (_, End::Exceeded(limit)) => Settled {
            limit: Some(limit.to_owned()),
            error: Some(format!("the budget of {limit} is used up")),
            ..ended(TaskState::BudgetExceeded)
        },
        (Some(Stopped::Interrupted), _) => {
            let why = "the service ended while the task was on its way".to_owned();
            Settled { error: Some(why), ..ended(TaskState::Interrupted) }
        }
        (None, End::Failed(why)) => failed(why),
        (None, End::Stopped) => failed("the work was stopped, and nobody says by whom".to_owned()),
    }
}
