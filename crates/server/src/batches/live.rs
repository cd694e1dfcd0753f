//! Batches on their way: how far each is, for whoever follows, and how to take one back.

use super::RUNNING_MAX;
use super::answer::Summary;
use crate::problem::Problem;
use model::{BatchId, TenantId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::BatchState;
use tokio::sync::watch;

/// One batch on its way.
#[derive(Debug)]
pub struct LiveBatch {
    /// This batch.
    pub id: BatchId,
    /// Whose it is.
    pub tenant: TenantId,
    state: Mutex<State>,
    /// Changes whenever `state` does.
    changed: watch::Sender<u64>,
    stop: watch::Sender<Option<BatchState>>,
}

#[derive(Debug, Default)]
struct State {
    /// Items that are recorded.
    recorded: u32,
    /// Whether no more will come.
    sealed: bool,
    /// What was wrong with the body, if it did not come whole.
    broken: Option<Problem>,
    /// Places of answered items, in the order of their answers. Four bytes each, [`super::ITEMS_MAX`] at most.
    answered: Vec<u32>,
    summary: Summary,
    ended: Option<BatchState>,
}

impl LiveBatch {
    fn new(id: BatchId, tenant: TenantId) -> Self {
        let (changed, _) = watch::channel(0);
        let (stop, _) = watch::channel(None);
        Self { id, tenant, state: Mutex::default(), changed, stop }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
        changed
    }

    async fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = look(&self.state()) {
                return found;
            }
            // The sender lives as long as we do, so this never fails.
            drop(changed.changed().await);
        }
    }

    /// Says that so many more items are recorded.
    pub fn record(&self, items: u32) {
        self.change(|state| state.recorded += items);
    }

    /// Says that no more items will come, and why not if that was not their end.
    pub fn seal(&self, broken: Option<Problem>) {
        self.change(|state| {
            state.sealed = true;
            state.broken = broken;
        });
    }

    /// Waits until the item is recorded; `false` if there will be none.
    pub async fn has(&self, index: u32) -> bool {
        let mut stopped = self.stop.subscribe();
        tokio::select! {
            has = self.wait(|state| (state.recorded > index).then_some(true).or(state.sealed.then_some(false))) => has,
            _ = stopped.wait_for(Option::is_some) => false,
        }
    }

    /// Records an answer that is in the store.
    pub fn answer(&self, index: u32, count: impl FnOnce(&mut Summary)) {
        self.change(|state| {
            state.answered.push(index);
            count(&mut state.summary);
        });
    }

    /// Counts runs that were made.
    pub fn count_runs(&self, runs: u64) {
        self.state().summary.runs += runs;
    }

    /// The place of the n-th answer; waits for it. `None` if the batch ends before.
    pub async fn nth_answer(&self, n: usize) -> Option<u32> {
        self.wait(|state| state.answered.get(n).map(|index| Some(*index)).or(state.ended.map(|_| None))).await
    }

    /// How far it is, and what was wrong with its body.
    pub fn summary(&self) -> (Summary, Option<Problem>) {
        let state = self.state();
        (Summary { total: state.recorded, ..state.summary.clone() }, state.broken.clone())
    }

    /// Says that it has ended, which is in the store.
    pub fn end(&self, ended: BatchState, wall_ms: u64) {
        self.change(|state| {
            state.summary.wall_ms = wall_ms;
            state.ended = Some(ended);
        });
    }

    /// Waits for its end.
    pub async fn ended(&self) -> BatchState {
        self.wait(|state| state.ended).await
    }

    /// Takes it back, or cuts it off: what runs is cancelled, what waits is not tried. The first word counts.
    pub fn stop(&self, as_what: BatchState) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(as_what);
            first
        });
    }

    /// How it was stopped, if it was.
    pub fn stopped(&self) -> Option<BatchState> {
        *self.stop.borrow()
    }

    /// Waits until it is stopped, maybe for ever.
    pub async fn stopping(&self) {
        // The sender lives as long as we do, so this never fails.
        drop(self.stop.subscribe().wait_for(Option::is_some).await);
    }
}

/// The batches of this process that have not ended.
#[derive(Debug, Default)]
pub struct Batches {
    running: Mutex<BTreeMap<BatchId, Arc<LiveBatch>>>,
}

impl Batches {
    fn running(&self) -> MutexGuard<'_, BTreeMap<BatchId, Arc<LiveBatch>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in, unless the tenant has too many.
    pub fn begin(&self, id: BatchId, tenant: TenantId) -> Result<Arc<LiveBatch>, Problem> {
        let mut running = self.running();
        if running.values().filter(|batch| batch.tenant == tenant).count() >= RUNNING_MAX {
            return Err(Problem::too_many(format!("{RUNNING_MAX} batches of this tenant have not ended"), 5));
        }
        let batch = Arc::new(LiveBatch::new(id.clone(), tenant));
        running.insert(id, batch.clone());
        Ok(batch)
    }

    /// Finds a tenant's.
    pub fn get(&self, tenant: &TenantId, id: &BatchId) -> Option<Arc<LiveBatch>> {
        self.running().get(id).filter(|batch| batch.tenant == *tenant).cloned()
    }

    /// Whether none is on its way.
    pub fn is_empty(&self) -> bool {
        self.running().is_empty()
    }

    /// Forgets one.
    pub fn remove(&self, id: &BatchId) {
        self.running().remove(id);
    }

    /// Cuts all off: we are ending.
    pub fn interrupt(&self) {
        self.running().values().for_each(|batch| batch.stop(BatchState::Interrupted));
    }
}
