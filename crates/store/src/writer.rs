//! The one thread that writes, and the writes that wait for it.
//!
//! It takes what is waiting, up to [`GROUP_MAX`] writes, into one transaction, each within a savepoint of its own, commits, and
//! then answers each. So the cost of a commit is shared, nothing is acknowledged before it is committed, and a write that fails
//! leaves no trace and harms no neighbour. When the transaction as a whole fails (SQLite rolls all back when the disk is full or
//! broken), every write of the group is done again in a transaction of its own: only those fail that must.

use crate::blobs::Blobs;
use crate::limits::{GROUP_MAX, WRITE_QUEUE_MAX};
use crate::{Store, StoreError};
use rusqlite::{CachedStatement, Connection};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::sync::{mpsc, oneshot};

/// A write that is ready and has not begun. Nothing happens until it is awaited, or [`Write::wait`] is called.
///
/// Once it has a place in the writer's queue it is carried out, also when nobody waits for the answer any more.
#[must_use = "nothing is written until it is awaited or waited for"]
pub struct Write<T> {
    store: Store,
    prepared: Result<Prepared<T>, StoreError>,
}

struct Prepared<T> {
    job: Box<dyn Job>,
    answer: Answer<T>,
}

/// What the writer will say.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

impl<T: Send + 'static> Write<T> {
    /// Prepares an operation. It may be applied twice, the first time without effect, so it must not consume what it owns.
    pub(crate) fn new<F>(store: &Store, doing: &'static str, apply: F) -> Self
    where
        F: Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let job = Box::new(Operation { doing, apply, result: None, sender });
        Self { store: store.clone(), prepared: Ok(Prepared { job, answer }) }
    }

    /// A write that could not even be prepared.
    pub(crate) fn refused(store: &Store, error: StoreError) -> Self {
        Self { store: store.clone(), prepared: Err(error) }
    }

    /// Writes and waits for the answer. Blocks; panics when called from async code, which has `.await`.
    pub fn wait(self) -> Result<T, StoreError> {
        answered(self.begin()?.blocking_recv())
    }

    /// Queues the write and returns where its answer will be. Blocks while the queue is full.
    pub(crate) fn begin(self) -> Result<Answer<T>, StoreError> {
        let Prepared { job, answer } = self.prepared?;
        self.store.jobs()?.blocking_send(job).map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }

    /// Queues the write if there is a place, and does not look at its answer. Returns whether it was queued. Never blocks.
    pub(crate) fn begin_if_idle(self) -> bool {
        match (self.prepared, self.store.jobs()) {
            (Ok(prepared), Ok(jobs)) => jobs.try_send(prepared.job).is_ok(),
            _ => false,
        }
    }
}

impl<T: Send + 'static> IntoFuture for Write<T> {
    type Output = Result<T, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Prepared { job, answer } = self.prepared?;
            self.store.jobs()?.send(job).await.map_err(|_| StoreError::Closed)?;
            answered(answer.await)
        })
    }
}

/// An answer that never comes means that the writer is gone.
pub(crate) fn answered<T>(
    answer: Result<Result<T, StoreError>, oneshot::error::RecvError>,
) -> Result<T, StoreError> {
    answer.unwrap_or(Err(StoreError::Closed))
}

/// What an operation works with: the open transaction, and what must follow it.
pub(crate) struct Transaction<'a> {
    db: &'a Connection,
    /// Contents of artifacts.
    pub blobs: &'a Blobs,
    /// Directories with new names, to be synced before the commit.
    pub changed: Vec<PathBuf>,
    /// What is done after the commit, before anybody is answered.
    pub after: Vec<After>,
}

/// What follows a commit.
pub(crate) enum After {
    /// Remove a content, if no row names it by now.
    RemoveBlob([u8; 32]),
    /// Look through one of the 256 directories of contents.
    SweepBlobs(u8),
    /// Tell the memory of this process.
    Tell(Box<dyn FnOnce() + Send>),
}

impl Transaction<'_> {
    /// The connection, for what reads.
    pub fn db(&self) -> &Connection {
        self.db
    }

    /// A compiled statement, kept for the next time.
    pub fn sql(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.db.prepare_cached(sql)
    }

    /// Executes one statement; returns how many rows it changed.
    pub fn execute(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.sql(sql)?.execute(params)
    }

    fn step(&self, sql: &str) -> Result<(), StoreError> {
        self.execute(sql, []).map(drop).map_err(|error| StoreError::from(error).doing("write a group"))
    }
}

/// An operation whose type of answer is forgotten.
trait Job: Send {
    /// Performs it and keeps its answer; returns whether it went well.
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> bool;
    /// Makes a good answer a bad one: the commit failed.
    fn spoil(&mut self, error: StoreError);
    /// Sends the answer.
    fn answer(self: Box<Self>);
}

struct Operation<T, F> {
    doing: &'static str,
    apply: F,
    result: Option<Result<T, StoreError>>,
    sender: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F> Job for Operation<T, F>
where
    F: Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send,
{
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> bool {
        let result = (self.apply)(transaction).map_err(|error| error.doing(self.doing));
        self.result.insert(result).is_ok()
    }

    fn spoil(&mut self, error: StoreError) {
        if !matches!(self.result, Some(Err(_))) {
            self.result = Some(Err(error.doing(self.doing)));
        }
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // Whoever asked may have gone; the write stands all the same.
            self.sender.send(result).ok();
        }
    }
}

/// The handle of the writing thread. Ends it, with all that is queued written, when dropped.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on a connection that is up to date.
    pub fn start(db: Connection, blobs: Arc<Blobs>) -> Result<Self, StoreError> {
        let (sender, mut receiver) = mpsc::channel::<Box<dyn Job>>(WRITE_QUEUE_MAX);
        let work = move || {
            let mut group = Vec::with_capacity(GROUP_MAX);
            while receiver.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
                write_group(&db, &blobs, &mut group);
                group.drain(..).for_each(|job| job.answer());
            }
        };
        let thread = thread::Builder::new().name("store".into()).spawn(work);
        let thread = thread.map_err(StoreError::io("start the thread of", "store".as_ref()))?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }
}

impl Store {
    fn jobs(&self) -> Result<&mpsc::Sender<Box<dyn Job>>, StoreError> {
        self.writer().jobs.as_ref().ok_or(StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, which was reported where it happened.
            thread.join().ok();
        }
    }
}

/// Writes a group: together, and if that fails as a whole, one by one.
fn write_group(db: &Connection, blobs: &Blobs, group: &mut [Box<dyn Job>]) {
    if group.len() > 1 && write_together(db, blobs, group).is_ok() {
        return;
    }
    for job in group {
        if let Err(error) = write_together(db, blobs, std::slice::from_mut(job)) {
            job.spoil(error);
        }
    }
}

/// Writes all in one transaction. On an error nothing is written.
fn write_together(db: &Connection, blobs: &Blobs, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let mut transaction = Transaction { db, blobs, changed: Vec::new(), after: Vec::new() };
    let written = perform(&mut transaction, group);
    if written.is_err() && !db.is_autocommit() {
        transaction.step("ROLLBACK")?;
    }
    written?;
    follow(transaction);
    Ok(())
}

fn perform(transaction: &mut Transaction<'_>, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    transaction.step("BEGIN IMMEDIATE")?;
    for job in group {
        transaction.step("SAVEPOINT one")?;
        let after = transaction.after.len();
        if !job.apply(transaction) {
            // A full or broken disk ends the whole transaction (lang_transaction.html, "Response To Errors").
            if transaction.db.is_autocommit() {
                return Err(StoreError::Closed);
            }
            transaction.step("ROLLBACK TO one")?;
            transaction.after.truncate(after);
        }
        transaction.step("RELEASE one")?;
    }
    let blobs = transaction.blobs;
    blobs.sync(&mut transaction.changed)?;
    transaction.step("COMMIT")
}

/// Does what follows a commit. What fails here is a content that nothing names any more; a later sweep finds it.
fn follow(transaction: Transaction<'_>) {
    let Transaction { db, blobs, after, .. } = transaction;
    let is_named = |sha256: &[u8; 32]| -> Result<bool, StoreError> {
        Ok(db.prepare_cached("SELECT 1 FROM blobs WHERE sha256 = ?")?.exists([sha256])?)
    };
    for act in after {
        match act {
            // A later write of the same group may have named it again.
            After::RemoveBlob(sha256) => match is_named(&sha256) {
                Ok(false) => drop(blobs.remove(&sha256)),
                Ok(true) | Err(_) => {}
            },
            After::SweepBlobs(prefix) => drop(blobs.sweep(prefix, is_named)),
            After::Tell(tell) => tell(),
        }
    }
}
