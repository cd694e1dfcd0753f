//! One choice of an answer: turns of the model, runs of its code between them, until it has an answer or calls a tool of the client's.

use super::asked::Asked;
use super::parted::Hidden;
use super::recorded::{Place, Recording};
use super::tool;
use super::turn::{Call, Turn, add_usage};
use super::wrong::Wrong;
use crate::http::guard::Caller;
use crate::models::{Asking, Model, Unanswered, in_thread};
use crate::problem::{Kind, Problem};
use crate::service::{Service, Submission, Submitted, internal, now_ms};
use crate::sessions::{Bound, Manner, NewOpen, OpenSession};
use crate::traces::Origin;
use model::{Background, Language, LimitsPatch, Priority, RunId, RunResult, SessionId, TraceParent};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use worker::session::Standing;

/// Events of a provider that may wait to be taken in, and chunks that may wait for the client.
pub const WAITING_MAX: usize = 64;
/// How long the session of a conversation stays that went to its client, in milliseconds.
const PARTED_IDLE_MS: u64 = 600_000;
/// Between what was said in two turns.
const BETWEEN: &str = "\n\n";

/// What is told of a conversation while it is had.
#[derive(Debug)]
pub enum Told {
    /// What the model says, as it says it.
    Said(Map<String, Value>),
    /// Code of the model's was run, or could not be.
    Ran(Ran),
}

/// A call of our tool, and what came of it.
#[derive(Debug)]
pub struct Ran {
    /// The call's arguments, JSON as the model wrote it.
    pub arguments: String,
    /// What the model was shown.
    pub shown: String,
    /// The run, if there was one.
    pub run: Option<RunId>,
    /// The session that it was in.
    pub session: Option<SessionId>,
}

/// What the choices of a request have in common.
pub struct Shared {
    /// Who has the sandboxes.
    pub service: Arc<Service>,
    /// Whose they are.
    pub caller: Caller,
    /// Who is asked.
    pub model: Arc<dyn Model>,
    /// What for.
    pub asked: Asked,
    /// Until when, and whether anybody still listens.
    pub asking: Asking,
    /// The session that the client named.
    pub session: Option<Arc<OpenSession>>,
    /// Whether the client sees all that was said, calls of ours too, and sends it again.
    pub seen: bool,
    /// What was used so far.
    pub spent: Mutex<Spent>,
    /// Where it stands in a trace, if it is recorded.
    pub place: Option<Place>,
}

/// What a request used.
#[derive(Debug, Default)]
pub struct Spent {
    turns: u64,
    tokens: u64,
    runs: u64,
    /// The sum of what the provider told; null if it told nothing.
    pub usage: Value,
}

impl Shared {
    /// What was used so far.
    pub fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn against_a_turn(&self) -> Result<(), Wrong> {
        // A provider that answers at once never waits for the end of the time.
        if std::time::Instant::now() >= self.asking.until {
            return Err(self.stopped());
        }
        let settings = &self.service.settings.model;
        let mut spent = self.spent();
        if spent.turns >= settings.turns {
            return Err(Wrong::budget("turns", "model.turns"));
        }
        if spent.tokens >= settings.tokens {
            return Err(Wrong::budget("tokens", "model.tokens"));
        }
        spent.turns += 1;
        Ok(())
    }

    fn against_a_run(&self) -> Result<(), Wrong> {
        let mut spent = self.spent();
        if spent.runs >= self.service.settings.model.runs {
            return Err(Wrong::budget("runs", "model.runs"));
        }
        spent.runs += 1;
        Ok(())
    }

    fn stopped(&self) -> Wrong {
        Wrong::budget("time", "model.time_ms")
    }
}

/// A choice, whole.
#[derive(Debug)]
pub struct Choice {
    /// Its message.
    pub message: Map<String, Value>,
    /// Probabilities of its words.
    pub logprobs: Value,
    /// Why it ended.
    pub finish_reason: String,
    /// Who answered.
    pub origin: Map<String, Value>,
    /// What ran for it, and where.
    pub ran: Value,
    /// What was said before its last message since the client's: turns of the model, and what came of its calls.
    pub added: Vec<Value>,
}

/// One choice on its way.
pub struct Conversation {
    shared: Arc<Shared>,
    /// Who is told what is said as it is; nobody if the answer is wanted whole.
    told: Option<mpsc::Sender<Told>>,
    /// What was said since the client's last message: our turns and what came of them.
    added: Vec<Value>,
    session: Option<Arc<OpenSession>>,
    runs: Vec<RunId>,
    /// What was said in words in the turns before.
    text: String,
    recording: Option<Recording>,
}

impl Conversation {
    /// A choice of this request.
    pub fn new(shared: Arc<Shared>, told: Option<mpsc::Sender<Told>>) -> Self {
        let session = shared.session.clone();
        Self {
            shared,
            told,
            added: Vec::new(),
            session,
            runs: Vec::new(),
            text: String::new(),
            recording: None,
        }
    }

    /// Has the conversation, to its end. A session that was opened for it ends with it, unless the client is to come back to it.
    pub async fn converse(mut self) -> Result<Choice, Wrong> {
        self.recording = Recording::begin(&self.shared).await;
        let done = self.turns().await;
        if let Some(recording) = self.recording.take() {
            recording.end(&self.shared, done.as_ref().map(|choice| &choice.message)).await;
        }
        let parted = matches!(&done, Ok(choice) if choice.message.contains_key("tool_calls"));
        if !parted
            && self.shared.session.is_none()
            && let Some(open) = self.session.take()
        {
            let (service, actor) = (self.shared.service.clone(), self.shared.caller.actor.clone());
            // Nobody waits for that.
            tokio::spawn(async move { service.close_session(&open, actor).await });
        }
        done
    }

    async fn turns(&mut self) -> Result<Choice, Wrong> {
        let shared = self.shared.clone();
        let (mut messages, session) =
            shared.service.parted.restore(&shared.caller.tenant, &shared.asked.messages);
        if shared.seen {
            messages.clone_from(&shared.asked.messages);
        }
        if self.session.is_none() {
            let known = session.and_then(|id| shared.service.sessions.get(&shared.caller.tenant, &id));
            self.session = known.filter(|open| is_open(open));
        }
        let mut fields = shared.asked.fields.clone();
        loop {
            let began_ms = now_ms();
            let turn = self.turn(&fields, &messages).await;
            if let Some(recording) = &self.recording {
                recording.turn(&shared, began_ms, &messages, turn.as_ref()).await;
            }
            let turn = turn?;
            let (ours, theirs): (Vec<Call>, Vec<Call>) =
                turn.calls.iter().cloned().partition(|call| call.name == tool::NAME);
            if ours.is_empty() && theirs.is_empty() {
                return Ok(self.choice(turn, Vec::new()));
            }
            let theirs: Vec<Call> = theirs.into_iter().map(named).collect::<Result<_, _>>()?;
            let calls: Vec<Value> = ours.iter().chain(&theirs).map(Call::value).collect();
            let mut said = Map::from_iter([("role".to_owned(), "assistant".into())]);
            said.insert("content".to_owned(), turn.text().into());
            said.insert("tool_calls".to_owned(), calls.into());
            let mut new = vec![Value::Object(said)];
            for call in &ours {
                let before = self.runs.len();
                let content = self.use_recorded(call).await?;
                self.tell_of_run(call, &content, before).await;
                new.push(json!({"role": "tool", "tool_call_id": call.id, "content": content}));
            }
            if !theirs.is_empty() {
                self.part(&theirs, new);
                return Ok(self.choice(turn, theirs));
            }
            self.added.extend(new.iter().cloned());
            self.keep_text(&turn);
            messages.extend(new);
            // Who was to call a tool has.
            if fields.get("tool_choice").is_some_and(|choice| choice == "required" || choice.is_object()) {
                fields.insert("tool_choice".to_owned(), "auto".into());
            }
        }
    }

    /// Asks the model once.
    async fn turn(&mut self, fields: &Map<String, Value>, messages: &[Value]) -> Result<Turn, Wrong> {
        self.shared.against_a_turn()?;
        let mut body = fields.clone();
        body.insert("messages".to_owned(), messages.to_vec().into());
        let sent_bytes = messages.iter().map(|message| message.to_string().len()).sum();
        let (sender, mut events) = mpsc::channel::<Value>(WAITING_MAX);
        let (model, asking) = (self.shared.model.clone(), self.shared.asking.clone());
        let answered = tokio::spawn(in_thread(move || {
            model.complete(body, &asking, &mut |event| sender.blocking_send(event).is_ok())
        }));
        let (mut turn, mut unusable) = (Turn::default(), None);
        while let Some(event) = events.recv().await {
            match turn.take(&event) {
                Ok(Some(shown)) => self.show(shown).await,
                Ok(None) => {}
                Err(why) => {
                    unusable = Some(why);
                    // The model's thread notices that nobody takes in what it says.
                    break;
                }
            }
        }
        drop(events);
        let answered = answered.await.map_err(|error| Wrong::from(internal(error.to_string())))??;
        {
            let mut spent = self.shared.spent();
            spent.tokens = spent.tokens.saturating_add(turn.tokens(sent_bytes));
            if let Some(usage) = &turn.usage {
                add_usage(&mut spent.usage, usage);
            }
        }
        let failed = |why: String| Wrong::from(Unanswered::Failed(why));
        if let Some(why) = unusable {
            return Err(failed(why.to_string()));
        }
        match answered {
            Ok(()) => turn.is_whole().map(|()| turn).map_err(|why| failed(why.to_string())),
            Err(Unanswered::Stopped) => Err(self.shared.stopped()),
            Err(other) => Err(other.into()),
        }
    }

    /// Tells what is said as it is, unless only the last of it is the answer.
    async fn show(&mut self, mut shown: Map<String, Value>) {
        let Some(told) = self.told.as_ref().filter(|_| !self.shared.asked.formed) else { return };
        if let Some(Value::String(text)) = shown.get_mut("content")
            && !self.text.is_empty()
            && !self.text.ends_with(BETWEEN)
        {
            self.text.push_str(BETWEEN);
            text.insert_str(0, BETWEEN);
        }
        // One who has left takes the request with him.
        drop(told.send(Told::Said(shown)).await);
    }

    /// Tells of a call of ours what came of it; `before` is how many runs there were before it.
    async fn tell_of_run(&self, call: &Call, shown: &str, before: usize) {
        let Some(told) = &self.told else { return };
        let session = self.session.as_ref().map(|open| open.session.id().clone());
        let (arguments, shown) = (call.arguments.clone(), shown.to_owned());
        let ran = Ran { arguments, shown, run: self.runs.get(before).cloned(), session };
        drop(told.send(Told::Ran(ran)).await);
    }

    fn keep_text(&mut self, turn: &Turn) {
        if self.shared.asked.formed || turn.text().is_empty() {
            return;
        }
        if !self.text.is_empty() && !self.text.ends_with(BETWEEN) {
            self.text.push_str(BETWEEN);
        }
        self.text.push_str(turn.text());
    }

    /// The choice that this turn ends, with the calls that are its client's.
    fn choice(&mut self, turn: Turn, theirs: Vec<Call>) -> Choice {
        self.keep_text(&turn);
        let text =
            if self.shared.asked.formed { turn.text().to_owned() } else { std::mem::take(&mut self.text) };
        let mut message = Map::from_iter([("role".to_owned(), "assistant".into())]);
        message.extend(turn.said);
        let silent = text.is_empty() && !theirs.is_empty();
        message.insert("content".to_owned(), if silent { Value::Null } else { text.into() });
        message.entry("refusal").or_insert(Value::Null);
        if !theirs.is_empty() {
            message.insert("tool_calls".to_owned(), theirs.iter().map(Call::value).collect());
        }
        let logprobs = if turn.logprobs.is_empty() { Value::Null } else { Value::Object(turn.logprobs) };
        let session: Option<&SessionId> = self.session.as_ref().map(|open| open.session.id());
        Choice {
            message,
            logprobs,
            finish_reason: turn.finish_reason.unwrap_or_default(),
            origin: turn.origin,
            ran: json!({"session": session, "runs": self.runs}),
            added: std::mem::take(&mut self.added),
        }
    }

    /// Keeps what the client is not told until it comes back with the results of its calls.
    fn part(&self, theirs: &[Call], last: Vec<Value>) {
        let calls: Vec<String> = theirs.iter().map(|call| call.id.clone()).collect();
        // A session that the client named, it names again.
        let open = self.session.as_ref().filter(|_| self.shared.session.is_none());
        let session = open.map(|open| open.session.id().clone());
        let messages = self.added.iter().cloned().chain(last).collect();
        let hidden = Hidden { messages, session };
        self.shared.service.parted.keep(&self.shared.caller.tenant, &calls, hidden);
    }

    /// Does what a call of our tool asks for, and records it.
    async fn use_recorded(&mut self, call: &Call) -> Result<String, Wrong> {
        let place = self.recording.as_ref().and_then(Recording::place_of_call);
        let began_ms = now_ms();
        let done = self.use_tool(call, place).await;
        if let (Some(recording), Some(place)) = (&self.recording, place) {
            let shown = done.as_ref().map(String::as_str);
            recording.called(&self.shared, (place, began_ms), call, shown).await;
        }
        done
    }

    /// Does what a call of our tool asks for; answers what the model is told.
    async fn use_tool(&mut self, call: &Call, place: Option<TraceParent>) -> Result<String, Wrong> {
        let mut request = match tool::run_of(&call.arguments) {
            Ok(request) => request,
            Err(why) => return Ok(why),
        };
        self.shared.against_a_run()?;
        let left = self.shared.asking.until.saturating_duration_since(std::time::Instant::now());
        let policy = self.shared.service.policy_of(&self.shared.caller.tenant).await?;
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        request.limits.timeout_ms = Some(policy.limits.timeout_ms.min(left_ms));
        let open = self.open().await?;
        let service = &self.shared.service;
        let submission = Submission {
            tenant: self.shared.caller.tenant.clone(),
            environment: None,
            session: Some(Bound::new(&open, &request, Manner::default())),
            request,
            idempotency: None,
            batch: None,
            merge_output: false,
            told_late: true,
            trace: Origin::Caller(place),
        };
        let (id, live) = match service.submit(submission).await {
            Ok(Submitted::New { id, live }) => (id, live),
            Ok(Submitted::Replayed(_)) => {
                return Err(internal("a run without a key was replayed".to_owned()).into());
            }
            // What the model asked for cannot be done; it can do better.
            Err(problem) if problem.is_of(Kind::InvalidRequest) => return Ok(problem.to_string()),
            Err(problem) => return Err(problem.into()),
        };
        self.runs.push(id);
        let result: Arc<RunResult> = tokio::select! {
            result = live.finished() => result?,
            () = self.shared.asking.stop.cancelled() => {
                live.cancel();
                // Before its session ends: then it was cancelled, not interrupted.
                drop(live.finished().await);
                return Err(self.shared.stopped());
            }
        };
        Ok(self.shared.model.shown(&result))
    }

    /// The session of this conversation, which is opened when it is first needed, or has ended as sessions do that are idle for long.
    async fn open(&mut self) -> Result<Arc<OpenSession>, Problem> {
        if let Some(open) =
            self.session.as_ref().filter(|open| is_open(open) || self.shared.session.is_some())
        {
            return Ok(open.clone());
        }
        let caller = &self.shared.caller;
        let template = Language::Python.default_template().to_owned();
        let asked = json!({"name": "chat", "template": template, "idle_ttl_ms": PARTED_IDLE_MS});
        let new = NewOpen {
            tenant: caller.tenant.clone(),
            actor: caller.actor.clone(),
            name: "chat".to_owned(),
            template,
            language: None,
            limits: LimitsPatch::default(),
            env: BTreeMap::new(),
            background: Background::default(),
            priority: Priority::default(),
            ports: false,
            auto_packages: false,
            packages: Vec::new(),
            offline: false,
            python: None,
            egress: None,
            idle_ttl_ms: Some(PARTED_IDLE_MS),
            ttl_ms: None,
            durable: false,
            again: None,
            allow_missing: None,
            request: asked.to_string(),
            trace: None,
        };
        let open = self.shared.service.open_session(new).await?;
        self.session = Some(open.clone());
        Ok(open)
    }
}

fn is_open(open: &OpenSession) -> bool {
    !matches!(open.session.standing(), Standing::Ended(_))
}

/// A client's call with an id of ours, by which it is found when its result comes.
fn named(mut call: Call) -> Result<Call, Wrong> {
    let random: [u8; 16] = sys::fs::random().map_err(|error| internal(error.to_string()))?;
    let id = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    call.id = format!("call_{id}");
    Ok(call)
}
