//! A node that runs: pulls as many runs as it has room for, renews their leases while they run, settles them, and stops what it may
//! have lost.

use crate::body::{self, Place};
use crate::bus::{Bus, ClusterError, Stored, failed};
use crate::names::{self, CANCELS, NODES, PRIORITIES, RUNS};
use crate::nodes::{self, BEAT, HOLD, Node, NodeState};
use crate::work::{Cancel, Envelope, Happening, SIGNATURE, Task, Took};
use crate::{DELIVERIES_MAX, now_ms};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use lease::Lease;
use model::{Fault, FaultCode, Priority, RunId, RunResult};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

mod lease;
mod telling;

/// How long one question for runs stands.
const PULL: Duration = Duration::from_secs(5);
/// Templates that a node tells of.
const TEMPLATES_MAX: usize = 64;
/// After a failure of the bus.
const PAUSE: Duration = Duration::from_millis(250);

/// What the future of a trait's method is.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Runs at once, at most.
    pub places: usize,
    /// Runs that have a place.
    pub running: usize,
    /// Runs that wait for one.
    pub queued: usize,
}

/// A run that was begun. When the receiver is dropped the run is taken back, and nothing of it stays.
pub struct Doing {
    /// What happens to it; the last is [`Happening::Settled`].
    pub happenings: mpsc::Receiver<Happening>,
    /// Takes it back; it still settles.
    pub cancel: Box<dyn Fn() + Send + Sync>,
}

/// What does the runs of a node.
pub trait Hands: Send + Sync + 'static {
    /// How busy it is now.
    fn load(&self) -> Load;
    /// Returns when a place came free after the call.
    fn released(&self) -> Later<'_, ()>;
    /// Begins a run.
    fn begin<'a>(&'a self, envelope: &'a Envelope, task: Task) -> Later<'a, Result<Doing, Fault>>;
    /// Sessions that are open here, and how many may be.
    fn sessions(&self) -> (usize, usize);
    /// Templates that are prepared here.
    fn templates(&self) -> Vec<String>;
    /// Ends all sessions: nobody heard of this node for so long that others take them for lost.
    fn cut_off(&self);
    /// Where the artifacts of a settled run lie: the n-th of its result is the file `n` there.
    fn artifacts(&self, run: &RunId) -> PathBuf;
}

/// How a run ended on a worker, as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// With a result, which took so long.
    Result(Box<RunResult>, Took),
    /// By a fault, before there was one.
    Fault(Fault),
}

/// One worker.
pub struct Worker {
    bus: Bus,
    hands: Arc<dyn Hands>,
    is_gateway: bool,
    /// Whether it does runs; a gateway may not.
    does_runs: bool,
    started_ms: i64,
    state: watch::Sender<NodeState>,
    /// Whether this process was told to end: what operators say does not matter any more.
    leaving: watch::Sender<bool>,
    /// Runs that it has, and what tells each that it was taken back.
    held: Mutex<HashMap<RunId, Arc<Notify>>>,
    changed: watch::Sender<usize>,
    /// Ends what says how this node is.
    beating: Mutex<Option<AbortHandle>>,
    /// When the last word was sent of how it is that came through.
    came_through: Mutex<tokio::time::Instant>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({:?})", self.bus.identity)
    }
}

impl Worker {
    /// Joins the cluster; waits for the first gateway of it, which makes what there is.
    pub async fn join(
        bus: Bus,
        hands: Arc<dyn Hands>,
        (is_gateway, does_runs): (bool, bool),
    ) -> Result<Arc<Self>, ClusterError> {
        bus.wait_for_schema().await?;
        let started_ms = now_ms();
        let (state, leaving, changed) =
            (watch::channel(NodeState::Ready).0, watch::channel(false).0, watch::channel(0).0);
        let (held, beating) = (Mutex::default(), Mutex::default());
        let came_through = Mutex::new(tokio::time::Instant::now());
        Ok(Arc::new(Self {
            bus,
            hands,
            is_gateway,
            does_runs,
            started_ms,
            state,
            leaving,
            held,
            changed,
            beating,
            came_through,
        }))
    }

    /// Whether others still take its sessions for its own: by its own clock, which goes on while this process is stopped.
    pub fn has_sessions(&self) -> bool {
        self.came_through().elapsed() <= HOLD
    }

    fn came_through(&self) -> MutexGuard<'_, tokio::time::Instant> {
        self.came_through.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no runs from now on; [`Worker::work`] returns when it has none any more.
    pub fn drain(&self) {
        self.leaving.send_replace(true);
        self.state.send_replace(NodeState::Draining);
    }

    /// Works until it is drained, by [`Worker::drain`] or by an operator, or until another process has its name. Says how it is until
    /// [`Worker::leave`].
    pub async fn work(self: Arc<Self>) -> Result<(), ClusterError> {
        let cancels = self.bus.client.subscribe(CANCELS).await.map_err(failed("listen"))?;
        let hearing = tokio::spawn(self.clone().hear(cancels));
        let mut beating = tokio::spawn(self.clone().beat());
        *self.beating.lock().unwrap_or_else(PoisonError::into_inner) = Some(beating.abort_handle());
        let mut pulling = tokio::spawn(self.clone().pull_all());
        let twin = tokio::select! {
            twin = &mut beating => Some(twin),
            done = &mut pulling => done.map(|()| None).map_err(failed("pull runs"))?,
        };
        hearing.abort();
        pulling.abort();
        let Some(twin) = twin else { return Ok(()) };
        drop(self.beating.lock().unwrap_or_else(PoisonError::into_inner).take());
        // What it has is another's to do, and its place in the list another's to leave.
        self.drain();
        self.hands.cut_off();
        Err(twin.map_err(failed("tell how this node is"))?)
    }

    /// Leaves the list of nodes at once. To be called when its sessions have ended, so that nobody takes them for lost.
    pub async fn leave(&self) -> Result<(), ClusterError> {
        let beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Else it was never there, or another is.
        let Some(beating) = beating else { return Ok(()) };
        beating.abort();
        let gone = names::key(NODES, self.bus.identity.name.as_str());
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "PURGE");
        headers.insert("Nats-Rollup", "sub");
        let gone = self.bus.client.publish_with_headers(gone, headers, Vec::new().into()).await;
        gone.map_err(failed("leave"))?;
        self.bus.client.flush().await.map_err(failed("leave"))
    }

    /// Takes runs until it is drained; returns when it has none any more.
    async fn pull_all(self: Arc<Self>) {
        if self.does_runs {
            let pulling = PRIORITIES.map(|priority| tokio::spawn(self.clone().pull(priority)));
            for pulling in pulling {
                drop(pulling.await);
            }
        } else {
            drop(self.leaving.subscribe().wait_for(|leaving| *leaving).await);
        }
        self.left().await;
    }

    /// Returns when it has no runs.
    pub async fn left(&self) {
        let mut changed = self.changed.subscribe();
        drop(changed.wait_for(|held| *held == 0).await);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<RunId, Arc<Notify>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this node is.
    fn node(&self) -> Node {
        let Load { places, running, queued } = self.hands.load();
        let (sessions, sessions_max) = self.hands.sessions();
        Node {
            name: self.bus.identity.name.clone(),
            gateway: self.is_gateway,
            worker: self.does_runs,
            state: *self.state.borrow(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            places,
            running,
            queued,
            sessions,
            sessions_max,
            templates: self.hands.templates().into_iter().take(TEMPLATES_MAX).collect(),
            started_ms: self.started_ms,
            at_ms: now_ms(),
        }
    }

    /// Says how this node is, for as long as it is the only one of its name.
    async fn beat(self: Arc<Self>) -> ClusterError {
        *self.came_through() = tokio::time::Instant::now();
        let mut last = None;
        loop {
            let sent = tokio::time::Instant::now();
            let told = nodes::beat(&self.bus, &self.node(), &mut last).await;
            // Looked at first: a word that comes through after all saves nothing that others took for lost.
            if !self.has_sessions() {
                self.hands.cut_off();
            }
            match told {
                Ok(()) => *self.came_through() = sent,
                Err(twin @ ClusterError::Twin { .. }) => return twin,
                Err(error) => crate::log::warn(format_args!("{error}")),
            }
            let wanted = nodes::wanted(&self.bus).await;
            let is_leaving = *self.leaving.borrow();
            if let (false, Ok(wanted)) = (is_leaving, wanted) {
                self.state.send_if_modified(|state| std::mem::replace(state, wanted) != wanted);
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    async fn hear(self: Arc<Self>, mut cancels: async_nats::Subscriber) {
        while let Some(message) = cancels.next().await {
            let signature = header(message.headers.as_ref(), SIGNATURE);
            let cancel = Cancel::open(&self.bus.identity, signature.as_deref(), &message.payload, now_ms());
            let told = cancel.and_then(|cancel| self.held().get(&cancel.run).cloned());
            if let Some(told) = told {
                told.notify_one();
            }
        }
    }

    /// How many runs of this priority there is room for. What waits here waits for nobody else's place, so little may.
    fn room(&self, priority: Priority) -> usize {
        let Load { places, running, queued } = self.hands.load();
        let held = self.held().len();
        let free = places.saturating_sub(running.max(held));
        match priority {
            Priority::High => free.min(8),
            Priority::Normal if queued == 0 => free.min(4),
            Priority::Low if queued == 0 && held * 2 <= places => free.min(2),
            Priority::Normal | Priority::Low => 0,
        }
    }

    async fn pull(self: Arc<Self>, priority: Priority) {
        let mut state = self.state.subscribe();
        let mut consumer = None;
        loop {
            let now = *state.borrow_and_update();
            match now {
                NodeState::Ready => {}
                NodeState::Draining if !self.is_gateway || *self.leaving.borrow() => return,
                // A gateway ends when its process is told to, not before.
                NodeState::Cordoned | NodeState::Draining => {
                    drop(state.changed().await);
                    continue;
                }
            }
            // Registered before the look, so that no change falls between.
            let mut changed = self.changed.subscribe();
            let released = self.hands.released();
            let room = self.room(priority);
            if room == 0 {
                tokio::select! {
                    () = released => {}
                    changed = changed.changed() => drop(changed),
                    changed = state.changed() => drop(changed),
                }
                continue;
            }
            drop(released);
            if let Err(error) = self.pull_some(priority, room, &mut consumer, &mut state).await {
                crate::log::warn(format_args!("{error}"));
                consumer = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn pull_some(
        self: &Arc<Self>,
        priority: Priority,
        room: usize,
        consumer: &mut Option<PullConsumer>,
        state: &mut watch::Receiver<NodeState>,
    ) -> Result<(), ClusterError> {
        let doing = || format!("pull {} runs", names::word(priority));
        let consumer = match consumer {
            Some(consumer) => consumer,
            None => {
                let found = self.bus.js.get_consumer_from_stream(names::word(priority), RUNS).await;
                consumer.insert(found.map_err(failed(doing()))?)
            }
        };
        let batch = consumer.batch().max_messages(room).expires(PULL);
        let mut batch = batch.messages().await.map_err(failed(doing()))?;
        loop {
            let message = tokio::select! {
                message = batch.next() => message,
                changed = state.changed() => match changed {
                    Ok(()) if *state.borrow() == NodeState::Ready => continue,
                    _ => return Ok(()),
                },
            };
            let Some(message) = message else { return Ok(()) };
            let message = message.map_err(failed(doing()))?;
            tokio::spawn(self.clone().take(message));
        }
    }

    /// One delivery, from here to its end.
    async fn take(self: Arc<Self>, message: Message) {
        let Ok(info) = message.info() else { return };
        let (delivery, sequence) = (info.delivered, info.stream_sequence);
        let opened = self.open(&message);
        let (envelope, inline) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let run = names::part::<RunId>(&message.subject, 5);
                crate::log::warn(format_args!("a message for {run:?} is given up: {error}"));
                return self.bury(&message, sequence, delivery, &error.to_string()).await;
            }
        };
        let told = Arc::new(Notify::new());
        if self.held().insert(envelope.run.clone(), told.clone()).is_some() {
            // It is here already: its lease was lost for a moment. Whoever has it next does it.
            return;
        }
        self.changed.send_replace(self.held().len());
        let lease = Lease::of(&self.bus, &message);
        tokio::select! {
            () = self.carry_out(&message, &envelope, inline, delivery, &told) => {}
            () = lease.lost() => crate::log::warn(format_args!("{}: its lease is lost: it is stopped here", envelope.run)),
        }
        self.held().remove(&envelope.run);
        self.changed.send_replace(self.held().len());
    }

    /// Reads a message. Whatever it does to the reader, it does not end this node.
    fn open<'a>(&self, message: &'a Message) -> Result<(Envelope, &'a [u8]), ClusterError> {
        let signature = header(message.headers.as_ref(), SIGNATURE);
        let read = || {
            let identity = &self.bus.identity;
            Envelope::open(identity, &message.subject, signature.as_deref(), &message.payload, now_ms())
        };
        let opened = catch_unwind(AssertUnwindSafe(read));
        opened.unwrap_or_else(|_| Err(ClusterError::Refused("its reader failed".to_owned())))
    }

    /// Puts a message aside, with the reason.
    async fn bury(&self, message: &Message, sequence: u64, delivery: i64, why: &str) {
        let subject = names::dead(&self.bus.identity.name, sequence);
        let text =
            serde_json::json!({ "subject": message.subject.as_str(), "delivery": delivery, "reason": why });
        let stored =
            self.bus.store(subject.clone(), &subject, HeaderMap::new(), text.to_string().into()).await;
        match stored {
            Ok(_) => drop(message.ack_with(AckKind::Term).await),
            Err(error) => crate::log::warn(format_args!("{error}")),
        }
    }

    async fn carry_out(
        &self,
        message: &Message,
        envelope: &Envelope,
        inline: &[u8],
        delivery: i64,
        told: &Notify,
    ) {
        let ending = match self.perform(envelope, inline, delivery, told).await {
            Ok((result, took)) => Ending::Result(result, took),
            Err(fault) => Ending::Fault(fault),
        };
        if delivery > DELIVERIES_MAX
            && let Ok(info) = message.info()
            && let Ending::Fault(fault) = &ending
        {
            let sequence = info.stream_sequence;
            self.bury(message, sequence, delivery, &fault.message).await;
        }
        let body = self.body_of(ending).await;
        drop(tokio::fs::remove_dir_all(self.hands.artifacts(&envelope.run)).await);
        // As long as the lease is ours: after that it is another's to say.
        while let Err(error) = self.settle(envelope, delivery, &body).await {
            crate::log::warn(format_args!("{}: settle it: {error}", envelope.run));
            tokio::time::sleep(PAUSE).await;
        }
        while let Err(error) = message.double_ack().await {
            crate::log::warn(format_args!("{}: acknowledge it: {error}", envelope.run));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs it, or says why not.
    async fn perform(
        &self,
        envelope: &Envelope,
        inline: &[u8],
        delivery: i64,
        told: &Notify,
    ) -> Result<(Box<RunResult>, Took), Fault> {
        if delivery > DELIVERIES_MAX {
            let message =
                format!("{DELIVERIES_MAX} workers took it and none settled it: it may be what ends them");
            return Err(Fault { retry_safe: false, ..Fault::new(FaultCode::Interrupted, message) });
        }
        if envelope.is_expired(now_ms()) {
            return Err(Fault::new(FaultCode::ResourcesExhausted, "no worker had room for it in time"));
        }
        if !envelope.repeatable && !self.claim(envelope, delivery).await? {
            let message = "the node that ran it is gone, and it is not to be run again";
            return Err(Fault { retry_safe: false, ..Fault::new(FaultCode::Interrupted, message) });
        }
        let internal = |error: String| Fault::new(FaultCode::Internal, error);
        let body = body::get(&self.bus, Place::In, &envelope.body, inline).await;
        let body = body.map_err(|error| internal(error.to_string()))?;
        let task = serde_json::from_slice(&body).map_err(|error| internal(error.to_string()))?;
        drop(body);
        let mut doing = self.hands.begin(envelope, task).await?;
        loop {
            let happening = tokio::select! {
                happening = doing.happenings.recv() => happening,
                () = told.notified() => {
                    (doing.cancel)();
                    continue;
                }
            };
            match happening {
                Some(Happening::Settled(result, took)) => return Ok((result, took)),
                Some(happening) => self.tell(envelope, delivery, happening).await,
                None => return Err(internal("the run ended without a result".to_owned())),
            }
        }
    }

    /// Whether this is the first beginning of a run that may begin but once.
    async fn claim(&self, envelope: &Envelope, delivery: i64) -> Result<bool, Fault> {
        let (subject, worker) = (names::claim(&envelope.run), &self.bus.identity.name);
        let id = format!("{worker}.{}.{}.{delivery}", envelope.run, envelope.epoch);
        loop {
            match self.bus.store(subject.clone(), &id, HeaderMap::new(), worker.to_string().into()).await {
                Ok(Stored::Yes { .. }) => return Ok(true),
                Ok(Stored::Taken) => return Ok(false),
                // What was stored may be ours: sent again, it has the same id.
                Err(error) => crate::log::warn(format_args!("{error}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn header(headers: Option<&HeaderMap>, name: &str) -> Option<String> {
    Some(headers?.get(name)?.as_str().to_owned())
}
