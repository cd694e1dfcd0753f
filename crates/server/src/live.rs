//! Runs that are on their way: what happened to each so far, for anyone who listens now or comes later.

use crate::events::Log;
use crate::problem::Problem;
use crate::traces::{Timeline, Times, Traces};
use crate::way::TakeBack;
use model::{Fault, FaultCode, Finding, RunResult, TenantId, TraceParent};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use store::{RunEvent, TraceEnd};
use tokio::sync::{Notify, watch};
use worker::phases::Measured;
use worker::pool::Stream;

/// What a batch makes of a result: a word that is recorded with it.
#[derive(Clone)]
pub struct Judge(Arc<dyn Fn(&RunResult) -> String + Send + Sync>);

impl Judge {
    /// A judge of what `judge` says.
    pub fn new(judge: impl Fn(&RunResult) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

/// One run on its way. Its events only grow.
#[derive(Debug)]
pub struct LiveRun {
    /// Whose it is.
    pub tenant: TenantId,
    judge: Option<Judge>,
    findings: OnceLock<Vec<Finding>>,
    canceller: Mutex<Option<TakeBack>>,
    timeline: Mutex<Option<Timeline>>,
    log: Mutex<Log>,
    changed: watch::Sender<State>,
}

/// What those who wait for a run wait for.
#[derive(Debug, Default)]
struct State {
    /// How many events there are.
    events: usize,
    /// Whether it was recorded and has a place in the queue.
    queued: bool,
    /// Whether all is over: the last event has come, or it was never taken in.
    finished: bool,
}

impl LiveRun {
    /// A run that is about to be recorded.
    pub fn new(tenant: TenantId, judge: Option<Judge>) -> Arc<Self> {
        let (changed, _) = watch::channel(State::default());
        Arc::new(Self {
            tenant,
            judge,
            findings: OnceLock::new(),
            canceller: Mutex::new(None),
            timeline: Mutex::new(None),
            log: Mutex::new(Log::default()),
            changed,
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timeline<T>(&self, act: impl FnOnce(&mut Timeline) -> T) -> Option<T> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(act)
    }

    /// Says when what happened to it so far, if that is recorded.
    pub fn traced(&self, timeline: Option<Timeline>) {
        *self.timeline.lock().unwrap_or_else(PoisonError::into_inner) = timeline;
    }

    /// Where it stands in its trace, if it has one that lists show.
    pub fn trace(&self) -> Option<TraceParent> {
        self.timeline(|timeline| timeline.is_listed().then_some(timeline.own)).flatten()
    }

    /// When what happened to it so far.
    pub fn times(&self) -> Option<Times> {
        self.timeline(|timeline| timeline.times().clone())
    }

    /// It has a place.
    pub fn has_started(&self) {
        self.timeline(Timeline::started);
    }

    /// It tried to reach a host.
    pub fn tried(&self) {
        self.timeline(Timeline::tried);
    }

    /// Where its time went.
    pub fn measured(&self, measured: Measured) {
        self.timeline(|timeline| timeline.measured(measured));
    }

    /// How its part of a trace ends now.
    pub fn trace_end(&self, traces: &Traces, result: &RunResult) -> Option<TraceEnd> {
        self.timeline(|timeline| traces.end_of(timeline, result))
    }

    /// Says what the static check noticed in its program; the first word counts.
    pub fn noticed(&self, findings: Vec<Finding>) {
        self.findings.get_or_init(|| findings);
    }

    /// Puts what the static check noticed into the result, unless it is there: of a run that was denied.
    pub fn tell_findings(&self, result: &mut RunResult) {
        if let Some(findings) = self.findings.get().filter(|_| result.findings.is_empty()) {
            result.findings.clone_from(findings);
        }
    }

    /// Says how to take it back. One who asked before is served now.
    pub fn can_be_cancelled_by(&self, canceller: TakeBack) {
        let asked = {
            let log = self.log();
            *self.canceller.lock().unwrap_or_else(PoisonError::into_inner) = Some(canceller.clone());
            log.cancelled
        };
        if asked {
            canceller.cancel();
        }
    }

    /// Says that it is recorded and queued: it will end with a result.
    pub fn is_taken_in(&self) {
        self.changed.send_modify(|state| state.queued = true);
    }

    /// Waits until it is recorded and queued, or fails as that did.
    pub async fn taken_in(&self) -> Result<(), Problem> {
        let mut changed = self.changed.subscribe();
        drop(changed.wait_for(|state| state.queued || state.finished).await);
        self.log().failure.clone().map_or(Ok(()), Err)
    }

    /// Takes it back.
    pub fn cancel(&self) {
        self.log().cancelled = true;
        let canceller = self.canceller.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(canceller) = canceller {
            canceller.cancel();
        }
    }

    /// Whether other nodes have it, so that it goes on when this service ends. A part of a batch ends with its batch.
    pub fn goes_on(&self) -> bool {
        let canceller = self.canceller.lock().unwrap_or_else(PoisonError::into_inner);
        self.judge.is_none() && matches!(*canceller, Some(TakeBack::There(_)))
    }

    /// Records that something happened.
    pub fn push(&self, kind: &str, data: Value) {
        let mut log = self.log();
        log.push(kind, data);
        self.tell(&log);
    }

    /// Records output, within the bounds of [`crate::events`]. Bytes that are not UTF-8 are replaced; a character is never split
    /// between two events.
    pub fn output(&self, stream: Stream, bytes: &[u8]) {
        let mut log = self.log();
        log.output(stream, bytes);
        self.tell(&log);
    }

    /// What its batch makes of the result.
    pub fn verdict(&self, result: &RunResult) -> Option<String> {
        self.judge.as_ref().map(|judge| judge.0(result))
    }

    /// Records the end and returns all events but it: they are kept in the store.
    pub fn settle(&self, result: Arc<RunResult>) -> Vec<RunEvent> {
        let mut log = self.log();
        log.settle(result);
        log.all()
    }

    /// Says why there is no result to be told: it was not taken in, or its end could not be written down.
    pub fn fail(&self, problem: Problem) {
        self.log().failure = Some(problem);
    }

    /// Tells listeners that the end is in the store: only now may they see it.
    pub fn finish(&self) {
        self.changed.send_modify(|state| state.finished = true);
        let log = self.log();
        self.tell(&log);
    }

    fn tell(&self, log: &Log) {
        self.changed.send_modify(|state| state.events = log.len());
    }

    /// Waits until it is settled and in the store, and returns what became of it.
    pub async fn finished(&self) -> Result<Arc<RunResult>, Problem> {
        let mut changed = self.changed.subscribe();
        // The sender lives as long as we do, so this never fails.
        drop(changed.wait_for(|state| state.finished).await);
        let log = self.log();
        match (&log.failure, &log.result) {
            (None, Some(result)) => Ok(result.clone()),
            (Some(problem), _) => Err(problem.clone()),
            (None, None) => {
                Err(Problem::from(Fault::new(FaultCode::Internal, "the run ended without a result")))
            }
        }
    }

    /// Whether its end is in the store.
    pub fn is_finished(&self) -> bool {
        self.changed.borrow().finished
    }

    /// How many events there are, the end apart.
    pub fn events(&self) -> usize {
        self.log().len()
    }

    /// The next events from `from` on, a bounded number; waits for one if there is none yet. `None` when all have been told.
    pub async fn after(&self, from: usize) -> Option<Vec<RunEvent>> {
        let mut changed = self.changed.subscribe();
        drop(changed.wait_for(|state| state.events > from || state.finished).await);
        let events = self.log().page(from);
        (!events.is_empty()).then_some(events)
    }
}

/// The runs of this process that are not settled.
#[derive(Debug, Default)]
pub struct Live {
    runs: Mutex<BTreeMap<String, Arc<LiveRun>>>,
    /// Told when the last one was forgotten.
    emptied: Notify,
}

impl Live {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LiveRun>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in.
    pub fn insert(&self, id: &str, run: Arc<LiveRun>) {
        self.runs().insert(id.to_owned(), run);
    }

    /// Finds one.
    pub fn get(&self, id: &str) -> Option<Arc<LiveRun>> {
        self.runs().get(id).cloned()
    }

    /// Forgets one.
    pub fn remove(&self, id: &str) {
        let mut runs = self.runs();
        runs.remove(id);
        if runs.is_empty() || runs.values().all(|run| run.goes_on()) {
            self.emptied.notify_waiters();
        }
    }

    /// Returns when there is none.
    pub async fn empty(&self) {
        self.wait_until(BTreeMap::is_empty).await;
    }

    /// Returns when other nodes have all that there are.
    pub async fn empty_but_elsewhere(&self) {
        self.wait_until(|runs| runs.values().all(|run| run.goes_on())).await;
    }

    async fn wait_until(&self, done: impl Fn(&BTreeMap<String, Arc<LiveRun>>) -> bool) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            // Registered before the look, so that no change falls between.
            emptied.as_mut().enable();
            if done(&self.runs()) {
                return;
            }
            emptied.await;
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<LiveRun>> {
        self.runs().values().cloned().collect()
    }
}
