//! The one thread that writes, and the writes that wait for it.
//!
//! It takes what is waiting, up to [`GROUP_MAX`] writes, into one transaction, each within a savepoint of its own, commits, and
//! then answers each. So the cost of a commit is shared, nothing is acknowledged before it is committed, and a write that fails
//! leaves no trace and harms no neighbour. When the transaction as a whole fails (SQLite rolls all back when the disk is full or
//! broken), every write of the group is done again in a transaction of its own: only those fail that must.

use crate::blobs::Blobs;
use crate::limits::{GROUP_MAX, LOG_BYTES_MAX, LOG_WAIT, WRITE_QUEUE_MAX};
use crate::{Store, StoreError, schema};
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
        let Self { apply, result, sender, .. } = *self;
        // What it owns goes first, staged contents too: who is answered finds nothing half done.
        drop(apply);
        if let Some(result) = result {
            // Whoever asked may have gone; the write stands all the same.
            sender.send(result).ok();
        }
    }
}

/// The handle of the writing thread. Ends it, with all that is queued written, when dropped.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on a connection that is up to date, whose write-ahead log is the file `log`.
    pub fn start(db: Connection, log: PathBuf, blobs: Arc<Blobs>) -> Result<Self, StoreError> {
        let (sender, mut receiver) = mpsc::channel::<Box<dyn Job>>(WRITE_QUEUE_MAX);
        let work = move || {
            let mut group = Vec::with_capacity(GROUP_MAX);
            let mut log = Log { path: log, cut_at_bytes: LOG_BYTES_MAX };
            while receiver.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
                write_group(&db, &blobs, &mut group);
                group.drain(..).for_each(|job| job.answer());
                log.cut(&db);
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

/// The write-ahead log. SQLite begins it anew when no reader needs it, which under reads that overlap for ever is never; so it is
/// cut by waiting a moment for those that run. New ones do not hold that up (wal.html, "Avoiding Excessively Large WAL Files").
struct Log {
    path: PathBuf,
    cut_at_bytes: u64,
}

impl Log {
    fn cut(&mut self, db: &Connection) {
        let bytes = self.path.metadata().map_or(0, |metadata| metadata.len());
        if bytes < self.cut_at_bytes {
            return;
        }
        let truncate = || -> rusqlite::Result<bool> {
            db.busy_timeout(LOG_WAIT)?;
            let busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            db.busy_timeout(schema::BUSY)?;
            busy
        };
        // If a reader took too long, or the disk is full: when it has grown again.
        let cut = truncate().is_ok_and(|busy| !busy);
        self.cut_at_bytes = if cut { LOG_BYTES_MAX } else { bytes + LOG_BYTES_MAX / 4 };
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
            After::RemoveBlob(sha256) => {
                if is_named(&sha256).is_ok_and(|named| !named) {
                    drop(blobs.remove(&sha256));
                }
            }
            After::SweepBlobs(prefix) => drop(blobs.sweep(prefix, is_named)),
            After::Tell(tell) => tell(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, NewArtifact, NewRun, Options, Scope, Settlement};
    use model::{Fault, FaultCode, Language, RunId, TenantId};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Options::default()).unwrap();
        (directory, store)
    }

    /// Holds the writer until `queue` has queued all it wants in one group, and returns that.
    fn together<T>(store: &Store, queue: impl FnOnce() -> T) -> T {
        let gate = Arc::new(Barrier::new(2));
        let held = Arc::clone(&gate);
        let write = Write::new(store, "hold", move |_| {
            // Once to say that it is held, once to wait.
            held.wait();
            held.wait();
            Ok(())
        });
        let answer = write.begin().unwrap();
        gate.wait();
        let queued = queue();
        gate.wait();
        answer.blocking_recv().unwrap().unwrap();
        queued
    }

    fn note(store: &Store, text: &'static str) -> Write<()> {
        Write::new(store, "note", move |transaction| {
            transaction.execute("INSERT INTO tenants VALUES (?, 0, '{}')", [text])?;
            Ok(())
        })
    }

    fn noted(store: &Store) -> Vec<String> {
        let listed = store.reader().tenants(&crate::Page::default()).unwrap();
        listed.items.into_iter().map(|row| row.id.to_string()).collect()
    }

    #[test]
    fn when_the_transaction_is_lost_only_those_fail_that_must() {
        let (_directory, store) = store();
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let (first, lost, last) = together(&store, || {
            let first = note(&store, "first").begin().unwrap();
            // What SQLite does by itself when the disk is full.
            let lost = Write::<()>::new(&store, "lose", move |transaction| {
                counted.fetch_add(1, Ordering::Relaxed);
                transaction.execute("INSERT INTO tenants VALUES ('lost', 0, '{}')", [])?;
                transaction.db.execute_batch("ROLLBACK")?;
                Err(StoreError::Full { doing: "test" })
            });
            (first, lost.begin().unwrap(), note(&store, "last").begin().unwrap())
        });
        first.blocking_recv().unwrap().unwrap();
        assert!(matches!(lost.blocking_recv().unwrap(), Err(StoreError::Full { doing: "lose" })));
        last.blocking_recv().unwrap().unwrap();
        assert_eq!(noted(&store), ["first", "last"]);
        assert_eq!(tries.load(Ordering::Relaxed), 2, "once with the group, once alone");
    }

    #[test]
    fn when_the_thread_is_gone_every_write_says_so() {
        let (_directory, store) = store();
        store.probe().wait().unwrap();
        let dies = Write::<()>::new(&store, "die", |_| panic!("the writer's thread is made to die"));
        assert!(matches!(dies.wait(), Err(StoreError::Closed)));
        assert!(matches!(store.probe().wait(), Err(StoreError::Closed)));
        assert!(matches!(note(&store, "lost").wait(), Err(StoreError::Closed)));
        assert_eq!(noted(&store), [""; 0]);
    }

    #[test]
    fn a_probe_writes_to_the_disk_and_changes_nothing() {
        let (directory, store) = store();
        store.probe().wait().unwrap();
        let log = directory.path().join("fireclay.db-wal");
        let before = log.metadata().unwrap().len();
        store.probe().wait().unwrap();
        assert!(log.metadata().unwrap().len() > before);
        let rows = Write::new(&store, "count", |transaction| {
            Ok(transaction
                .db()
                .query_row("SELECT count(*) FROM batch_fates", [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(rows.wait().unwrap(), 0);
    }

    #[test]
    fn what_follows_a_write_is_done_once_before_its_answer_and_only_if_it_was_written() {
        let (_directory, store) = store();
        let told = Arc::new(AtomicUsize::new(0));
        let tell = |good: bool, lose: bool| {
            let told = Arc::clone(&told);
            Write::<()>::new(&store, "tell", move |transaction| {
                let told = Arc::clone(&told);
                let tell = move || {
                    told.fetch_add(1, Ordering::Relaxed);
                };
                transaction.after.push(After::Tell(Box::new(tell)));
                if lose {
                    transaction.db.execute_batch("ROLLBACK")?;
                }
                if good { Ok(()) } else { Err(StoreError::NotFound) }
            })
        };
        tell(true, false).wait().unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        tell(false, false).wait().unwrap_err();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        let answers = together(&store, || {
            [tell(true, false), tell(false, true), tell(true, false)].map(|write| write.begin().unwrap())
        });
        let good = answers.map(|answer| answer.blocking_recv().unwrap().is_ok());
        assert_eq!(good, [true, false, true]);
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_content_named_again_in_the_group_that_drops_it_stays() {
        let (_directory, store) = store();
        let record = |number: u8| {
            let id = RunId::from_random([number; 16]);
            let result = serde_json::json!({
                "id": id, "state": "settled", "outcome": null, "fault": Fault::new(FaultCode::Internal, "x"),
                "exit_code": null, "signal": null, "stdout": "", "stderr": "", "stdout_truncated": false,
                "stderr_truncated": false, "limits_hit": [], "result": null, "displays": [], "error": null,
                "artifacts": [], "findings": [], "egress": [], "session": null, "language": "python",
                "created_at": "", "metadata": {}, "isolation": {"level": "default", "layers": [], "missing": []},
                "usage": {"wall_ms": 0, "cpu_ms": 0, "memory_peak_bytes": 0, "queue_ms": 0},
                "digests": {"code": "", "inputs": "", "image": "", "policy": "", "outputs": ""},
            });
            let content = store.stage(&mut &b"hello"[..], 5).unwrap();
            let artifacts = vec![NewArtifact { path: "a".to_owned(), mime: String::new(), content }];
            let run = NewRun {
                id,
                tenant: TenantId::local(),
                created_at_ms: 0,
                language: Language::Python,
                request: String::new(),
                metadata: Default::default(),
                session: None,
                batch: None,
                trace: None,
                idempotency: None,
            };
            let settlement = Settlement {
                settled_at_ms: 0,
                result: serde_json::from_value(result).unwrap(),
                events: Vec::new(),
                artifacts,
                verdict: None,
                trace: None,
            };
            store.record(run, None, settlement)
        };
        let id = |number: u8| RunId::from_random([number; 16]);
        record(1).wait().unwrap();
        let (deleted, recorded) = together(&store, || {
            let delete = store.delete_run(Scope::Admin, &id(1), Actor::Local, 0);
            (delete.begin().unwrap(), record(2).begin().unwrap())
        });
        deleted.blocking_recv().unwrap().unwrap();
        recorded.blocking_recv().unwrap().unwrap();
        assert!(store.reader().artifact(&Scope::Admin, &id(2), "a").unwrap().is_some());
    }
}
