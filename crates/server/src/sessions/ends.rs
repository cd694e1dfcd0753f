//! Ends of sessions for those who want to know of them outside of this service.

use model::SessionId;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::SessionEnd;
use tokio::sync::{mpsc, watch};

/// A session that ended, how often it had been reopened, and how it ended.
pub type ToldEnd = (SessionId, u64, SessionEnd);

/// Where ends are told.
#[derive(Debug)]
pub struct Ends {
    sender: mpsc::UnboundedSender<ToldEnd>,
    sent: AtomicUsize,
    told: watch::Receiver<usize>,
}

impl Ends {
    /// A place for them; what comes there; and where it is said how many were passed on.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ToldEnd>, watch::Sender<usize>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (passed, told) = watch::channel(0);
        (Self { sender, sent: AtomicUsize::new(0), told }, receiver, passed)
    }

    /// Tells of one; does not wait.
    pub fn tell(&self, id: SessionId, epoch: u64, end: SessionEnd) {
        if self.sender.send((id, epoch, end)).is_ok() {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when all that were told before are passed on, or nobody passes them on any more.
    pub async fn passed_on(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        drop(self.told.clone().wait_for(|told| *told >= sent).await);
    }
}
