//! A node that sends runs, hears what happens to them, and settles each once.
//!
//! A run that was sent is held by the stream, not by a worker: what this node has of it is what it needs to send it again, should it
//! ever be neither in the stream nor settled.

use crate::body::{self, Body, Place};
use crate::bus::{Bus, ClusterError, Stored, failed};
use crate::identity::Role;
use crate::layout::{self, WAIT_MAX};
use crate::names::{self, META, Name, READY, RESULTS, RUNS, SCHEMA};
use crate::nodes::{self, Node, NodeState};
use crate::parcels::{Depot, Freight};
use crate::work::{Cancel, Envelope, SIGNATURE, Task, Took};
use crate::{LEASE, now_ms};
use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use model::{EgressAttempt, Fault, FaultCode, Priority, RunId, RunResult, TenantId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use turns::{Turn, Turns};

mod depth;
mod hearing;
mod share;
mod turns;

pub use depth::Depth;

/// How many things that happened may wait for the one who listens; more of what is only shown is dropped.
const NEWS_MAX: usize = 256;
/// How often it looks after runs.
const TICK: Duration = Duration::from_secs(1);
/// A run of which nothing was heard for so long is looked for.
const QUIET: Duration = Duration::from_secs(3 * LEASE.as_secs());
/// How often a run is sent by one gateway process.
const SENDINGS_MAX: u64 = 5;
/// Epochs of one process of a gateway: those of the next one are higher.
const EPOCHS: u64 = 1 << 16;
/// After a failure of the bus.
const PAUSE: Duration = Duration::from_millis(250);

/// A run to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The run.
    pub run: RunId,
    /// When it was admitted, RFC 3339 in UTC.
    pub created_at: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Runs at once of this tenant in the whole cluster, if somebody said that.
    pub ceiling: Option<usize>,
    /// Which of the tenant's come first.
    pub priority: Priority,
    /// Whether it may be begun again.
    pub repeatable: bool,
    /// What to do.
    pub task: Task,
    /// Whether it may have been sent before, by the process before this.
    pub again: bool,
    /// The layers that it needs, each stored before it is sent.
    pub freight: Vec<Freight>,
}

/// What happens to a run that was sent: started at most once, then shown things, then one of the last three.
#[derive(Debug)]
pub enum News {
    /// A worker has begun it.
    Started,
    /// It wrote something; shown, and not all: the result has it whole.
    Output {
        /// Whether on standard error.
        stderr: bool,
        /// What.
        bytes: Vec<u8>,
    },
    /// It tried to reach a host.
    Egress(EgressAttempt),
    /// It is settled, took so long, and left artifacts of this content.
    Settled(Box<RunResult>, Took, Vec<Vec<u8>>),
    /// It failed by our fault.
    Fault(Fault),
    /// It was taken back before it began.
    Cancelled,
}

/// A run that was sent.
#[derive(Debug)]
pub struct Away {
    news: mpsc::Receiver<News>,
    is_over: bool,
    canceller: Canceller,
}

/// Takes a run back, wherever it is.
#[derive(Debug, Clone)]
pub struct Canceller {
    gateway: Arc<Gateway>,
    run: Arc<Sent>,
}

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    bus: Bus,
    /// Of this process; no other process of this name has it.
    epoch: u64,
    sent: Mutex<HashMap<RunId, Arc<Sent>>>,
    refused: AtomicU64,
    depot: Depot,
    turns: Turns,
}

/// What is known of a run that is not settled.
#[derive(Debug)]
struct Sent {
    outgoing: Outgoing,
    subject: String,
    token: String,
    body: Vec<u8>,
    news: mpsc::Sender<News>,
    known: Mutex<Known>,
    cancelled: AtomicBool,
    /// What it is sent by.
    turn: Mutex<Option<Turn>>,
}

#[derive(Debug)]
struct Known {
    /// The next epoch that it is sent with.
    epoch: u64,
    sendings: u64,
    /// Whether a sending of it is stored, as far as we know.
    stored: bool,
    /// The last delivery that was heard of, and the first.
    last: (u64, i64),
    first: (u64, i64),
    /// When something was heard of it.
    heard: Instant,
    /// Whether its end is told; and the message that told it, until that is recorded.
    ended: bool,
    message: Option<Message>,
}

impl Sent {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody ended it before.
    fn end(&self, message: Option<Message>) -> bool {
        let mut known = self.known();
        known.message = message;
        !std::mem::replace(&mut known.ended, true)
    }

    fn is_ended(&self) -> bool {
        self.known().ended
    }
}

impl Gateway {
    /// Joins the cluster; makes what is missing of it.
    pub async fn join(bus: Bus) -> Result<Arc<Self>, ClusterError> {
        let identity = &bus.identity;
        if identity.role != Role::Gateway {
            let (name, is) = (identity.name.to_string(), identity.role.name());
            return Err(ClusterError::Role { name, is, wanted: Role::Gateway.name() });
        }
        layout::make(&bus).await?;
        bus.client.publish(READY, Vec::new().into()).await.map_err(failed("say that all is there"))?;
        let epoch = next_epoch(&bus).await?;
        let (sent, refused) = (Mutex::default(), AtomicU64::new(0));
        let (depot, turns) = (Depot::default(), Turns::default());
        Ok(Arc::new(Self { bus, epoch, sent, refused, depot, turns }))
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.bus.identity.name
    }

    /// How many results and events it refused, because who sent them had no right to.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many runs it sent that are not settled.
    pub fn outstanding(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<RunId, Arc<Sent>>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, run: &RunId) -> Option<Arc<Sent>> {
        self.all().get(run).cloned()
    }

    /// Sends a run. It is on its way when this returns, whether NATS answers now or not: it is tried until it is stored or taken back.
    pub fn send(self: &Arc<Self>, outgoing: Outgoing) -> Result<Away, ClusterError> {
        let refused = |what: String| ClusterError::Refused(what);
        let template = names::template(&outgoing.task.spec.template);
        let body = serde_json::to_vec(&outgoing.task).map_err(failed("write the run"))?;
        if body.len() > body::BODY_MAX {
            return Err(refused(format!(
                "a run of {} bytes; {} travel between nodes",
                body.len(),
                body::BODY_MAX
            )));
        }
        let (news, told) = mpsc::channel(NEWS_MAX);
        // Signatures of Ed25519 are functions of what is signed (RFC 8032 §5.1.6): the process after this one has the same token.
        let secret = self.bus.identity.sign(format!("fireclay token 1\n{}", outgoing.run).as_bytes());
        let token = Body::of(&secret).sha256;
        let subject = names::run(outgoing.priority, &template, self.name(), &outgoing.run);
        let known = Known {
            epoch: self.epoch * EPOCHS,
            sendings: 0,
            stored: false,
            last: (0, 0),
            first: (0, 0),
            heard: Instant::now(),
            ended: false,
            message: None,
        };
        let (known, cancelled, turn) = (Mutex::new(known), AtomicBool::new(false), Mutex::default());
        let run = Arc::new(Sent { outgoing, subject, token, body, news, known, cancelled, turn });
        self.all().insert(run.outgoing.run.clone(), run.clone());
        self.enters(&run);
        if run.outgoing.again {
            let (gateway, run) = (self.clone(), run.clone());
            tokio::spawn(async move { gateway.look_for(&run).await });
        } else {
            self.line_up(run.clone());
        }
        let canceller = Canceller { gateway: self.clone(), run };
        Ok(Away { news: told, is_over: false, canceller })
    }

    /// Stores a run in the stream; returns when it is, or is over, or has to wait for its turn again.
    async fn dispatch(self: &Arc<Self>, run: &Arc<Sent>) {
        loop {
            if run.is_ended() {
                return;
            }
            if run.cancelled.load(Ordering::Relaxed) {
                return self.end(run, None, News::Cancelled).await;
            }
            if !self.has_turn(run).await {
                return self.line_up(run.clone());
            }
            match self.try_dispatch(run).await {
                Ok(()) => {
                    let mut known = run.known();
                    known.stored = true;
                    known.heard = Instant::now();
                    return;
                }
                // Neither a layer nor a body of its own will do better another time.
                Err(ClusterError::Refused(why)) => {
                    let fault = Fault::new(FaultCode::ResourcesExhausted, why);
                    return self.end(run, None, News::Fault(fault)).await;
                }
                Err(error) => crate::log::warn(format_args!("{}: send it: {error}", run.outgoing.run)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_dispatch(&self, run: &Arc<Sent>) -> Result<(), ClusterError> {
        let outgoing = &run.outgoing;
        let (body, issued_ms, epoch) = (Body::of(&run.body), now_ms(), run.known().epoch);
        self.offer(&outgoing.freight).await?;
        body::put(&self.bus, Place::In, &body, &run.body).await?;
        let inline = if body.is_inline() { run.body.as_slice() } else { b"" };
        let envelope = Envelope {
            schema: SCHEMA,
            run: outgoing.run.clone(),
            gateway: self.name().clone(),
            epoch,
            issued_ms,
            expires_ms: issued_ms + i64::try_from(WAIT_MAX.as_millis()).unwrap_or(i64::MAX),
            created_at: outgoing.created_at.clone(),
            tenant: outgoing.tenant.clone(),
            concurrency: outgoing.ceiling.unwrap_or(usize::MAX),
            priority: outgoing.priority,
            repeatable: outgoing.repeatable,
            token: run.token.clone(),
            body,
        };
        let (payload, signature) = envelope.sealed(&self.bus.identity, &run.subject, inline);
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, signature.as_str());
        let id = format!("{}.{epoch}", outgoing.run);
        match self.bus.store(run.subject.clone(), &id, headers, payload).await? {
            // It waits there already: an answer that was lost, or a sending of the process before.
            Stored::Yes { .. } | Stored::Taken => Ok(()),
        }
    }

    /// Sees that layers are on the bus, for a node that is to be asked for something that needs them.
    pub async fn offer(&self, freight: &[Freight]) -> Result<(), ClusterError> {
        for freight in freight {
            self.depot.offer(&self.bus, freight).await?;
        }
        Ok(())
    }

    /// Finds out where a run is of which nothing was heard; sends it again if it is nowhere.
    async fn look_for(self: &Arc<Self>, run: &Arc<Sent>) {
        run.known().heard = Instant::now();
        loop {
            match self.is_somewhere(run).await {
                Ok(true) => {
                    run.known().stored = true;
                    return;
                }
                Ok(false) => break,
                Err(error) => crate::log::warn(format_args!("{}: look for it: {error}", run.outgoing.run)),
            }
            tokio::time::sleep(PAUSE).await;
        }
        let sendings = {
            let mut known = run.known();
            if known.ended {
                return;
            }
            known.epoch += 1;
            known.sendings += 1;
            known.sendings
        };
        if sendings > SENDINGS_MAX {
            let message = format!("it was sent {SENDINGS_MAX} times and is in no queue");
            return self.end(run, None, News::Fault(Fault::new(FaultCode::Internal, message))).await;
        }
        self.line_up(run.clone());
    }

    /// Whether it waits, is being run, or has a result that was not read yet. The queue is looked at first: what leaves it has one.
    async fn is_somewhere(&self, run: &Sent) -> Result<bool, ClusterError> {
        let results = names::results_of(self.name(), &run.outgoing.run);
        Ok(self.has(RUNS, &run.subject).await? || self.has(RESULTS, &results).await?)
    }

    /// Whether a stream has a message for a subject, by its leader.
    async fn has(&self, stream: &str, subject: &str) -> Result<bool, ClusterError> {
        Ok(self.bus.last_of_leader(stream, subject).await?.is_some())
    }

    /// Tells the end of a run, once.
    async fn end(self: &Arc<Self>, run: &Arc<Sent>, message: Option<Message>, news: News) {
        if run.end(message) {
            self.has_ended(run);
            drop(run.news.send(news).await);
        }
    }

    /// What is done about a run that was taken back, until it is over.
    async fn take_back(self: &Arc<Self>, run: &Arc<Sent>) {
        if self.leaves(run).await {
            return;
        }
        let (is_begun, is_stored) = {
            let known = run.known();
            if known.ended {
                return;
            }
            (known.last != (0, 0), known.stored)
        };
        if !is_begun && is_stored && self.withdraw(run).await {
            // A worker that has just got it hears it too; what it makes of it is nobody's.
            self.end(run, None, News::Cancelled).await;
        }
        let (run, gateway) = (run.outgoing.run.clone(), self.name().clone());
        let (subject, cancel) = (names::cancel(&run), Cancel { run, gateway, issued_ms: now_ms() });
        let (text, signature) = cancel.sealed(&self.bus.identity);
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, signature.as_str());
        // Said again at each tick, as long as it is not over.
        drop(self.bus.client.publish_with_headers(subject, headers, text.into()).await);
    }

    /// Takes a run out of the queue; whether it was there.
    async fn withdraw(&self, run: &Sent) -> bool {
        let Ok(stream) = self.bus.js.get_stream_no_info(RUNS).await else { return false };
        stream.purge().filter(run.subject.as_str()).await.is_ok_and(|purged| purged.purged > 0)
    }

    /// Looks after runs, for as long as the service lives.
    async fn look_after(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            let all: Vec<_> = self.all().values().cloned().collect();
            for run in all {
                if run.cancelled.load(Ordering::Relaxed) {
                    self.take_back(&run).await;
                }
                let is_quiet = {
                    let known = run.known();
                    known.stored && !known.ended && known.heard.elapsed() > QUIET
                };
                if is_quiet {
                    self.look_for(&run).await;
                }
            }
        }
    }

    /// Every node that lives, by name.
    pub async fn nodes(&self) -> Result<Vec<Node>, ClusterError> {
        nodes::all(&self.bus).await
    }

    /// Says what a node is to do from now on.
    pub async fn want(&self, node: &Name, state: NodeState) -> Result<(), ClusterError> {
        nodes::want(&self.bus, node, state).await
    }
}

impl Away {
    /// Waits for what happens next; `None` after the end.
    pub async fn next(&mut self) -> Option<News> {
        if self.is_over {
            return None;
        }
        let news = self.news.recv().await;
        self.is_over = matches!(news, Some(News::Settled(..) | News::Fault(_) | News::Cancelled));
        news
    }

    /// What takes it back.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Says that its end is recorded: nothing is kept of it from now on.
    pub async fn recorded(&self) {
        let Canceller { gateway, run } = &self.canceller;
        let message = run.known().message.take();
        if let Some(message) = message {
            // Told again if this is lost; then nobody knows it here, and it is acknowledged.
            drop(message.ack().await);
        }
        gateway.all().remove(&run.outgoing.run);
    }
}

impl Canceller {
    /// Takes the run back: one that waits settles at once, one that runs as soon as its worker hears it.
    pub fn cancel(&self) {
        self.run.cancelled.store(true, Ordering::Relaxed);
        let Self { gateway, run } = self.clone();
        tokio::spawn(async move { gateway.take_back(&run).await });
    }
}

/// Counts the processes that were this gateway.
async fn next_epoch(bus: &Bus) -> Result<u64, ClusterError> {
    let doing = "count this gateway's starts";
    let bucket = bus.js.get_key_value(META).await.map_err(failed(doing))?;
    let key = format!("epoch.{}", bus.identity.name);
    loop {
        let entry = bucket.entry(&key).await.map_err(failed(doing))?;
        let (count, revision) = match entry {
            Some(entry) => (String::from_utf8_lossy(&entry.value).parse().unwrap_or(0), entry.revision),
            None => (0_u64, 0),
        };
        // Another with our name may have counted meanwhile.
        if bucket.update(&key, (count + 1).to_string().into(), revision).await.is_ok() {
            return Ok(count + 1);
        }
    }
}
