//! Whom a service takes in: nobody new when it is ending, everybody when it knows no keys.

use super::Service;
use crate::problem::{Kind, Problem};
use std::sync::atomic::Ordering;

impl Service {
    /// Whether it has but one tenant: on a loopback address, as long as no key was ever made.
    pub fn is_alone(&self) -> bool {
        self.settings.listen.ip().is_loopback() && !self.store.has_made_key()
    }

    /// Whether whoever reaches the service may use it. A local server has a token from its first moment.
    pub fn is_keyless(&self) -> bool {
        self.is_alone() && self.local.is_none()
    }

    /// Whether no new runs are taken in.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no new runs in from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        if let Some(elsewhere) = self.elsewhere.get() {
            elsewhere.drain();
        }
        self.batches.interrupt();
        self.tasks.interrupt();
    }
}

/// What is told to who comes when the service is ending.
pub fn draining() -> Problem {
    let hint = "send it again in a moment, to the service that follows";
    Problem::new(Kind::Unavailable, "the service is ending", hint).retry_safe(true)
}
