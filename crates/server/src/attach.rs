//! Conversations over WebSocket with open sessions: runs are started, typed to and interrupted, and tell what they write.
//!
//! docs/attach.md has the messages. A run that is started here goes the way of all runs: admitted, recorded, in its turn.

mod conversation;
mod process;
mod wire;
mod words;

pub use conversation::{Conversation, MESSAGE_BYTES_MAX};
pub use process::ProcessConversation;
pub use words::typed_bytes;

use crate::problem::Problem;
use model::SessionId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Most conversations with one session at once.
pub const CONVERSATIONS_MAX: usize = 8;

/// The conversations that are on. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Attachments {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    count: Mutex<BTreeMap<SessionId, usize>>,
    /// Told when the last one ended.
    emptied: Notify,
    ending: CancellationToken,
}

/// A place in a conversation; free again when this is dropped.
#[derive(Debug)]
pub struct Attached {
    of: Attachments,
    session: SessionId,
}

impl Attachments {
    fn count(&self) -> MutexGuard<'_, BTreeMap<SessionId, usize>> {
        self.inner.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if there is one.
    pub fn enter(&self, session: &SessionId) -> Result<Attached, Problem> {
        let mut count = self.count();
        let own = count.entry(session.clone()).or_default();
        if *own >= CONVERSATIONS_MAX {
            let detail = format!("{own} clients are attached to the session; more are not allowed at once");
            return Err(Problem::too_many(detail, 1));
        }
        *own += 1;
        Ok(Attached { of: self.clone(), session: session.clone() })
    }

    /// Completes when all are to end, since the service does.
    pub async fn ending(&self) {
        self.inner.ending.cancelled().await;
    }

    /// Has all end; returns when they have.
    pub async fn end(&self) {
        self.inner.ending.cancel();
        loop {
            let mut emptied = std::pin::pin!(self.inner.emptied.notified());
            // Registered before the look, so that no change falls between.
            emptied.as_mut().enable();
            if self.count().is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut count = self.of.count();
        if let Some(own) = count.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                count.remove(&self.session);
            }
        }
        if count.is_empty() {
            self.of.inner.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_free_again() {
        let attachments = Attachments::default();
        let session = SessionId::from_random([7; 16]);
        let places: Vec<_> = (0..CONVERSATIONS_MAX).map(|_| attachments.enter(&session).unwrap()).collect();
        assert!(attachments.enter(&session).is_err());
        attachments.enter(&SessionId::from_random([8; 16])).unwrap();
        drop(places);
        assert!(attachments.count().is_empty());
    }
}
