//! Tasks on their way: how far each is, for whoever follows, how to stop one, and what waits for a person.

use crate::problem::{Kind, Problem};
use crate::tasks::Approval;
use model::{TaskId, TenantId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Actor, KeyId};
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Why a task is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody took it back.
    Cancelled,
    /// The service ends.
    Interrupted,
    /// It cannot go on, for this reason.
    Broken(String),
}

/// What a person decided.
#[derive(Debug)]
pub struct Decision {
    /// What is done with the code.
    pub approval: Approval,
    /// Whether all code that follows runs without being asked for.
    pub always: bool,
    /// Told when it is recorded.
    pub(super) recorded: oneshot::Sender<()>,
}

/// Why a decision was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// Nothing waits for one, or something else does.
    NotAsked,
    /// The task ended in this moment.
    Ended,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// How many events are in the store.
    events: u64,
    /// Whether its question is settled, and recorded as such.
    settled: bool,
}

/// Code that waits for a person.
#[derive(Debug)]
struct Pending {
    attempt: u32,
    sender: oneshot::Sender<Decision>,
}

/// One task on its way.
#[derive(Debug)]
pub struct LiveTask {
    /// This task.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who asked.
    pub actor: Actor,
    /// Fires when it is to stop.
    pub stop: CancellationToken,
    why: Mutex<Option<Stopped>>,
    pending: Mutex<Option<Pending>>,
    progress: watch::Sender<Progress>,
}

impl LiveTask {
    fn new(id: TaskId, tenant: TenantId, actor: Actor) -> Self {
        let (progress, _) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        Self { id, tenant, actor, stop, why: Mutex::default(), pending: Mutex::default(), progress }
    }

    /// Stops it; the first reason counts.
    pub fn stop(&self, why: Stopped) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.stop.cancel();
    }

    /// Why it was stopped, if it was.
    pub fn why(&self) -> Option<Stopped> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that so many events are in the store.
    pub fn recorded(&self, events: u64) {
        self.progress.send_modify(|progress| progress.events = events);
    }

    /// Says that all is over, and recorded.
    pub fn settle(&self) {
        self.pending().take();
        self.progress.send_modify(|progress| progress.settled = true);
    }

    /// Waits until all is over.
    pub async fn settled(&self) {
        // The sender lives as long as we do, so this never fails.
        drop(self.progress.subscribe().wait_for(|progress| progress.settled).await);
    }

    /// Whether all is over.
    pub fn is_settled(&self) -> bool {
        self.progress.borrow().settled
    }

    /// Waits for an event after this one, or for the end.
    pub async fn more_than(&self, number: u64) {
        let more = |progress: &Progress| progress.settled || progress.events > number;
        drop(self.progress.subscribe().wait_for(more).await);
    }

    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the code of this attempt wait for a person.
    pub(super) fn ask(&self, attempt: u32) -> oneshot::Receiver<Decision> {
        let (sender, receiver) = oneshot::channel();
        *self.pending() = Some(Pending { attempt, sender });
        receiver
    }

    /// Nothing waits any more.
    pub(super) fn unask(&self) {
        self.pending().take();
    }

    /// Takes a person's word about the code of this attempt; returns when it is recorded.
    pub async fn decide(&self, attempt: u32, approval: Approval, always: bool) -> Result<(), Undecided> {
        let pending = {
            let mut pending = self.pending();
            if pending.as_ref().is_none_or(|pending| pending.attempt != attempt) {
                return Err(Undecided::NotAsked);
            }
            pending.take()
        };
        let Some(Pending { sender, .. }) = pending else { return Err(Undecided::NotAsked) };
        let (recorded, told) = oneshot::channel();
        sender.send(Decision { approval, always, recorded }).map_err(|_| Undecided::Ended)?;
        told.await.map_err(|_| Undecided::Ended)
    }
}

/// The tasks of this process that are on their way.
#[derive(Debug, Default)]
pub struct Tasks {
    live: Mutex<BTreeMap<TaskId, Arc<LiveTask>>>,
    /// Told when the last one was forgotten.
    emptied: Notify,
}

impl Tasks {
    fn live(&self) -> MutexGuard<'_, BTreeMap<TaskId, Arc<LiveTask>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in, if no more than so many are on their way, of this tenant and of all.
    pub fn begin(
        &self,
        id: TaskId,
        tenant: TenantId,
        actor: Actor,
        (own_max, all_max): (usize, usize),
    ) -> Result<Arc<LiveTask>, Problem> {
        let mut live = self.live();
        if live.contains_key(&id) {
            let hint = "wait until its question is settled, or take it back";
            return Err(Problem::new(Kind::Conflict, format!("the task {id} is on its way"), hint));
        }
        let own = live.values().filter(|one| one.tenant == tenant).count();
        if own >= own_max || live.len() >= all_max {
            let detail = format!("{own} tasks are on their way; more are not allowed at once");
            return Err(Problem::too_many(detail, 10));
        }
        let task = Arc::new(LiveTask::new(id.clone(), tenant, actor));
        live.insert(id, task.clone());
        Ok(task)
    }

    /// One of this tenant's.
    pub fn get(&self, tenant: &TenantId, id: &TaskId) -> Option<Arc<LiveTask>> {
        self.live().get(id).filter(|task| task.tenant == *tenant).cloned()
    }

    /// Forgets one that is settled, or was not begun.
    pub fn forget(&self, task: &LiveTask) {
        let mut live = self.live();
        live.remove(&task.id);
        if live.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Stops all: the service ends.
    pub fn interrupt(&self) {
        self.live().values().for_each(|task| task.stop(Stopped::Interrupted));
    }

    /// Stops what was asked for with this key: it is revoked.
    pub fn revoke(&self, key: &KeyId) {
        let own = Actor::Key(key.clone());
        let why = || Stopped::Broken("the key that asked was revoked".to_owned());
        self.live().values().filter(|task| task.actor == own).for_each(|task| task.stop(why()));
    }

    /// Returns when there is none.
    pub async fn empty(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            // Registered before the look, so that no change falls between.
            emptied.as_mut().enable();
            if self.live().is_empty() {
                return;
            }
            emptied.await;
        }
    }
}
