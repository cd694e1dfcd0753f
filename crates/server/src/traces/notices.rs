//! Tells that a trace changed: which, not how. Whoever follows reads the store, as slowly as it likes; nobody who records waits.

use model::{SpanId, TenantId, TraceId};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Changes that are kept for those who are slow or come again. Who is further behind misses some.
const KEPT: usize = 4_096;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its number, from 1.
    pub number: u64,
    /// Whose trace.
    pub tenant: TenantId,
    /// Which.
    pub id: TraceId,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It began, or something was noted.
    Told,
    /// The part of it ended whose span this is.
    Ended(SpanId),
    /// It is gone.
    Removed,
}

/// The latest changes.
#[derive(Debug)]
pub struct Notices {
    kept: Mutex<VecDeque<Notice>>,
    last: watch::Sender<u64>,
}

impl Default for Notices {
    fn default() -> Self {
        Self { kept: Mutex::default(), last: watch::channel(0).0 }
    }
}

impl Notices {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a change that is in the store.
    pub fn tell(&self, tenant: &TenantId, id: TraceId, change: Change) {
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        self.last.send_modify(|last| {
            *last += 1;
            kept.push_back(Notice { number: *last, tenant: tenant.clone(), id, change });
        });
    }

    /// The number of the last change; 0 if there was none.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// The changes after this one that are still kept, so many at most; waits for one if there is none.
    pub async fn after(&self, number: u64, most: usize) -> Vec<Notice> {
        let mut changed = self.last.subscribe();
        // The sender lives as long as we do, so this never fails.
        drop(changed.wait_for(|last| *last > number).await);
        self.kept_after(number, most)
    }

    /// As [`Notices::after`], but does not wait.
    pub fn kept_after(&self, number: u64, most: usize) -> Vec<Notice> {
        let kept = self.kept();
        let first = kept.partition_point(|notice| notice.number <= number);
        kept.iter().skip(first).take(most).cloned().collect()
    }
}
