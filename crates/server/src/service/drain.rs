//! A service that is ending: it takes no new runs in, and says so.

use super::Service;
use crate::problem::{Kind, Problem};
use std::sync::atomic::Ordering;

impl Service {
    /// Whether no new runs are taken in.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no new runs in from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.batches.interrupt();
    }
}

/// What is told to who comes when the service is ending.
pub fn draining() -> Problem {
    let hint = "send it again in a moment, to the service that follows";
    Problem::new(Kind::Unavailable, "the service is ending", hint).retry_safe(true)
}
