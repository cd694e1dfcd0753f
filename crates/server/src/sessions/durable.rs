//! Durable sessions, as their node knows them: when their files were saved, by whoever saves them, and what is known of their past.

use super::OpenSession;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, watch};

/// That a session was reopened here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reopened {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The node that had it before.
    pub from: String,
    /// When the files that it has now were saved there; absent if none were.
    pub files_of_ms: Option<i64>,
}

/// Whoever saves files, for those who open sessions.
#[derive(Debug)]
pub struct Keeping {
    /// The name of this node.
    pub node: String,
    opened: mpsc::UnboundedSender<Arc<OpenSession>>,
}

impl Keeping {
    /// For this node; durable sessions that are opened come to the receiver.
    pub fn new(node: String) -> (Self, mpsc::UnboundedReceiver<Arc<OpenSession>>) {
        let (opened, came) = mpsc::unbounded_channel();
        (Self { node, opened }, came)
    }

    /// Has the files of a session saved from now on.
    pub fn begin(&self, open: &Arc<OpenSession>) {
        // Nobody saves when the process ends.
        drop(self.opened.send(open.clone()));
    }
}

/// Where saving stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saving {
    /// Changes that were told of.
    pub changes: u64,
    /// Those of them that are saved.
    pub saved: u64,
    /// How often saving was tried.
    pub tries: u64,
    /// When the files were looked at that are saved, milliseconds since 1970.
    pub saved_at_ms: Option<i64>,
    /// Why the last try failed.
    pub failure: Option<String>,
}

/// What makes a session durable.
#[derive(Debug)]
pub struct Durable {
    /// The node that has it.
    pub node: String,
    /// How often it was reopened.
    pub epoch: u64,
    /// The last time.
    pub reopened: Option<Reopened>,
    told: AtomicBool,
    saving: watch::Sender<Saving>,
}

impl Durable {
    /// Of a session of this node that nothing is saved of yet.
    pub fn new(node: String, epoch: u64, reopened: Option<Reopened>) -> Self {
        // That it is there is to be saved, too.
        let saving = Saving { changes: 1, ..Saving::default() };
        let told = AtomicBool::new(reopened.is_none());
        Self { node, epoch, reopened, told, saving: watch::channel(saving).0 }
    }

    /// That it was reopened, if nobody was told of it yet.
    pub fn take_news(&self) -> Option<&Reopened> {
        let is_news = !self.told.swap(true, Ordering::Relaxed);
        self.reopened.as_ref().filter(|_| is_news)
    }

    /// Where saving stands.
    pub fn saving(&self) -> Saving {
        self.saving.borrow().clone()
    }

    /// Its files, or the time that it has, may have changed.
    pub fn touch(&self) {
        self.saving.send_modify(|saving| saving.changes += 1);
    }

    /// Waits until there is something to save; returns the number of the change.
    pub async fn wants_saving(&self) -> u64 {
        let mut saving = self.saving.subscribe();
        let wanted = saving.wait_for(|saving| saving.changes > saving.saved).await;
        // The sender lives as long as we do.
        wanted.map_or(0, |saving| saving.changes)
    }

    /// Says that files were saved as they were when so many changes had been told of, or why not.
    pub fn has_tried(&self, changes: u64, done: Result<i64, String>) {
        self.saving.send_modify(|saving| {
            saving.tries += 1;
            match done {
                Ok(at_ms) => {
                    saving.saved = saving.saved.max(changes);
                    saving.saved_at_ms = Some(at_ms);
                    saving.failure = None;
                }
                Err(failure) => saving.failure = Some(failure),
            }
        });
    }

    /// Has the files saved as they are now; returns when they are, or when that failed.
    pub async fn save(&self) -> Result<(), String> {
        let mut saving = self.saving.subscribe();
        let (mut wanted, mut tries) = (0, 0);
        self.saving.send_modify(|saving| {
            saving.changes += 1;
            (wanted, tries) = (saving.changes, saving.tries);
        });
        // The first try that ends may have begun before.
        let done = saving
            .wait_for(|saving| saving.saved >= wanted || (saving.tries > tries && saving.failure.is_some()));
        match done.await {
            Ok(saving) if saving.saved >= wanted => Ok(()),
            Ok(saving) => Err(saving.failure.clone().unwrap_or_default()),
            Err(_) => Err("nobody saves them any more".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_while_files_were_saved_is_saved_again() {
        let durable = Durable::new("w1".to_owned(), 0, None);
        let begun = durable.saving().changes;
        durable.touch();
        durable.has_tried(begun, Ok(7));
        let saving = durable.saving();
        assert!(saving.changes > saving.saved && saving.saved_at_ms == Some(7), "{saving:?}");
        durable.has_tried(saving.changes, Ok(8));
        assert_eq!(durable.saving().changes, durable.saving().saved, "the control");
    }

    #[test]
    fn it_is_told_once_that_a_session_was_reopened() {
        let reopened = Reopened { at_ms: 1, from: "w1".to_owned(), files_of_ms: None };
        let durable = Durable::new("w2".to_owned(), 1, Some(reopened.clone()));
        assert_eq!((durable.take_news(), durable.take_news()), (Some(&reopened), None));
        assert_eq!(Durable::new("w1".to_owned(), 0, None).take_news(), None, "the control");
    }
}
