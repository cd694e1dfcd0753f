//! One conversation, from the upgrade of its connection to the last message.
//!
//! One task hears the client and tells it; beside it, one for each run waits for what happens to that. They meet in a short channel: a
//! client that does not read is not told more, and what its runs write waits, bounded, where that of all runs does.

use super::wire::{Over, Wire};
use super::words::{self, Said};
use crate::live::LiveRun;
use crate::problem::Problem;
use crate::service::{Service, Submission, Submitted};
use crate::sessions::{Bound, Manner, OpenSession};
use crate::traces::Origin;
use axum::extract::ws::WebSocket;
use model::{Rejection, RunId, RunRequest, TenantId};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use worker::session::{Input, NotTyped, Session};

/// Largest message of a client. A run that is larger is sent to `POST …/runs`.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Most runs of one conversation that are not over.
const RUNS_MAX: usize = 32;
/// Most bytes that wait for a run that has not begun.
const EARLY_BYTES_MAX: usize = 256 << 10;
/// How many messages may wait for the client, besides the one that is being sent: each is a page of a run's events at most.
const TOLD_MAX: usize = 4;

/// Who talks with which session.
pub struct Conversation {
    /// The service.
    pub service: Arc<Service>,
    /// Whose client it is.
    pub tenant: TenantId,
    /// The session.
    pub open: Arc<OpenSession>,
}

/// A run that was started here and is not over.
struct Mine {
    id: RunId,
    live: Arc<LiveRun>,
    interactive: bool,
    began: bool,
    /// What was typed before it began.
    early: Vec<u8>,
    /// Whether the end of that was typed, too.
    ended: bool,
}

/// What is done to a run that is on.
enum Act {
    /// It is typed to; whether that is the end.
    Take(Vec<u8>, bool),
    /// It is interrupted.
    Interrupt,
    /// It is taken back.
    Cancel,
}

/// What happened to a run: messages for the client.
struct Told {
    run: RunId,
    began: bool,
    over: bool,
    texts: Vec<String>,
}

impl Conversation {
    /// Talks to the end.
    pub async fn hold(self, socket: WebSocket) {
        let mut wire = Wire::new(socket, self.service.clone(), self.open.clone());
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let mut talk = Talk { conversation: self, runs: Vec::new(), sender };
        // From its end on its runs are told nothing more: nobody types.
        let Err(over) = talk.go_on(&mut wire, told).await;
        drop(talk);
        wire.end(over).await;
    }
}

/// A conversation that is on.
struct Talk {
    conversation: Conversation,
    runs: Vec<Mine>,
    sender: mpsc::Sender<Told>,
}

impl Talk {
    /// Hears and tells, until there is a reason to end.
    async fn go_on(&mut self, wire: &mut Wire, mut told: mpsc::Receiver<Told>) -> Result<Infallible, Over> {
        let open = self.conversation.open.clone();
        let (session, language) = (open.session.id(), open.language);
        wire.tell(&json!({"type": "attached", "session": session, "language": language})).await?;
        loop {
            tokio::select! {
                heard = wire.next() => {
                    if let Some(answer) = self.hear(heard?.as_str()).await {
                        wire.tell(&answer).await?;
                    }
                }
                // We hold a sender, so there is always one more.
                Some(Told { run, began, over, texts }) = told.recv() => {
                    if began {
                        self.begin(&run).await;
                    }
                    if over {
                        self.runs.retain(|mine| mine.id != run);
                    }
                    for text in texts {
                        wire.tell_text(text).await?;
                    }
                }
            }
        }
    }

    /// Does what the client says; returns what there is to be answered at once.
    async fn hear(&mut self, text: &str) -> Option<Value> {
        match words::read(text) {
            Ok(Said::Run { reference, request, manner }) => {
                let mut answer = match self.start(*request, manner).await {
                    Ok(run) => json!({"type": "accepted", "run": run}),
                    Err(problem) => json!({"type": "refused", "problem": problem}),
                };
                if let Some(reference) = reference {
                    answer["ref"] = reference.into();
                }
                Some(answer)
            }
            Ok(Said::Stdin { run, bytes, end }) => self.act(run, Act::Take(bytes, end)).await,
            Ok(Said::Interrupt { run }) => self.act(run, Act::Interrupt).await,
            Ok(Said::Cancel { run }) => self.act(run, Act::Cancel).await,
            Err(problem) => Some(json!({"type": "problem", "problem": problem})),
        }
    }

    /// Does something to a run of this conversation: the first that is not over, if none is named.
    async fn act(&mut self, run: Option<RunId>, act: Act) -> Option<Value> {
        let session = self.conversation.open.session.clone();
        let mine = self.runs.iter_mut().find(|mine| run.as_ref().is_none_or(|run| *run == mine.id));
        let (run, done) = match mine {
            Some(mine) => {
                let done = match act {
                    Act::Take(bytes, end) => mine.take(&session, bytes, end).await,
                    Act::Interrupt => mine.interrupt(&session).await,
                    Act::Cancel => {
                        mine.live.cancel();
                        Ok(())
                    }
                };
                (Some(mine.id.clone()), done)
            }
            None => {
                let hint = "start one first; a run that is over hears nothing";
                (run, Err(Rejection::new("run", "no run of this conversation is on", hint).into()))
            }
        };
        done.err().map(|problem| {
            let mut answer = json!({"type": "problem", "problem": problem});
            if let Some(run) = run {
                answer["run"] = json!(run);
            }
            answer
        })
    }

    /// Starts a run.
    async fn start(&mut self, request: RunRequest, manner: Manner) -> Result<RunId, Problem> {
        if self.runs.len() >= RUNS_MAX {
            let detail = format!("{RUNS_MAX} runs of this conversation are not over");
            return Err(Problem::too_many(detail, 1));
        }
        let Conversation { service, tenant, open } = &self.conversation;
        let submission = Submission {
            tenant: tenant.clone(),
            environment: None,
            session: Some(Bound::new(open, &request, manner)),
            request,
            idempotency: None,
            batch: None,
            merge_output: false,
            told_late: false,
            trace: Origin::default(),
        };
        let (id, live) = match service.submit(submission).await? {
            Submitted::New { id, live } => (id, live),
            Submitted::Replayed(_) => {
                return Err(crate::service::internal("a run without a key was there before".to_owned()));
            }
        };
        let follower = Follower {
            id: id.clone(),
            live: live.clone(),
            session: open.session.clone(),
            sender: self.sender.clone(),
        };
        tokio::spawn(follower.follow());
        let interactive = manner.interactive;
        self.runs.push(Mine {
            id: id.clone(),
            live,
            interactive,
            began: false,
            early: Vec::new(),
            ended: false,
        });
        Ok(id)
    }

    /// A run has begun: it gets what was typed before.
    async fn begin(&mut self, run: &RunId) {
        let session = self.conversation.open.session.clone();
        let Some(mine) = self.runs.iter_mut().find(|mine| mine.id == *run) else { return };
        mine.began = true;
        let (early, ended) = (std::mem::take(&mut mine.early), mine.ended);
        if !early.is_empty() || ended {
            // One that is over already needs none of it; no keeper, no run.
            drop(mine.take(&session, early, ended).await);
        }
    }
}

impl Mine {
    /// Takes what was typed.
    async fn take(&mut self, session: &Session, bytes: Vec<u8>, end: bool) -> Result<(), Problem> {
        if !self.interactive {
            let hint = "leave `\"interactive\": false` out of the run";
            return Err(Rejection::new("run", "its standard input ended with what came with it", hint).into());
        }
        if !self.began {
            if self.early.len() + bytes.len() > EARLY_BYTES_MAX {
                return Err(unread());
            }
            self.early.extend(bytes);
            self.ended |= end;
            return Ok(());
        }
        if !bytes.is_empty() {
            say(session, &self.id, Input::Bytes(bytes)).await?;
        }
        if end { say(session, &self.id, Input::End).await } else { Ok(()) }
    }

    /// Interrupts it; one that has not begun is taken back.
    async fn interrupt(&mut self, session: &Session) -> Result<(), Problem> {
        if self.began && self.interactive {
            return say(session, &self.id, Input::Interrupt).await;
        }
        self.live.cancel();
        Ok(())
    }
}

async fn say(session: &Session, run: &RunId, input: Input) -> Result<(), Problem> {
    match session.say(run, input).await {
        // It is over, and its end on the way to the client.
        Ok(()) | Err(NotTyped::NotThere) => Ok(()),
        Err(NotTyped::Full) => Err(unread()),
        Err(NotTyped::Fault(fault)) => Err(fault.into()),
    }
}

fn unread() -> Problem {
    Problem::too_many("nothing of this was taken: the program has not read what came before".to_owned(), 1)
}

/// Waits for what happens to one run.
struct Follower {
    id: RunId,
    live: Arc<LiveRun>,
    session: Session,
    sender: mpsc::Sender<Told>,
}

impl Follower {
    /// Tells the conversation what happens, to the end of either.
    async fn follow(self) {
        let (mut at, mut began) = (0, false);
        loop {
            let events = tokio::select! {
                events = self.live.after(at) => events,
                () = self.sender.closed() => return self.orphan(at, began).await,
            };
            let Some(events) = events else { break };
            at += events.len();
            let begins = events.iter().any(|event| event.kind == "started");
            began |= begins;
            let texts = events.into_iter().map(|event| {
                let mut text = json!({"type": event.kind, "run": self.id, "seq": event.seq});
                if let (Some(text), Value::Object(data)) = (text.as_object_mut(), event.data) {
                    text.extend(data);
                }
                text.to_string()
            });
            let told = Told { run: self.id.clone(), began: begins, over: false, texts: texts.collect() };
            if self.sender.send(told).await.is_err() {
                return self.orphan(at, began).await;
            }
        }
        let last = match self.live.finished().await {
            Ok(result) => json!({"type": "settled", "run": self.id, "result": &*result}),
            Err(problem) => json!({"type": "problem", "run": self.id, "problem": problem}),
        };
        let told = Told { run: self.id, began: false, over: true, texts: vec![last.to_string()] };
        // Nobody may be there to be told: the record has it.
        drop(self.sender.send(told).await);
    }

    /// Nobody will type any more: the run goes on, and finds the end of its input.
    async fn orphan(self, at: usize, mut began: bool) {
        while !began {
            // Before it has begun nothing else happens to it.
            match self.live.after(at).await {
                Some(events) => began = events.iter().any(|event| event.kind == "started"),
                None => return,
            }
        }
        drop(self.session.say(&self.id, Input::End).await);
    }
}
