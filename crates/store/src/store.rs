//! The store as its owner sees it: opened once, handed around, closed when the last handle goes.

use crate::blobs::{Blobs, Staged};
use crate::keys::Keyring;
use crate::lock::Lock;
use crate::writer::{Transaction, Write, Writer};
use crate::{Reader, StoreError, schema};
use std::fmt;
use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Most connections of [`Store::reader`]: as many reads as can run at once.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Commit, readers: 4 }
    }
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of this process at any moment (`kill -9`). A loss of power may take the last writes, never the database.
    #[default]
    Commit,
    /// A loss of power too: the disk is waited for, once for each group of writes.
    Fsync,
}

/// The store, open for writing by this process alone. A cheap handle: clones share one writer. When the last is dropped, what is
/// queued is written, and the data directory is free again.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped in this order: nothing is written any more when the lock is given back.
    writer: Writer,
    reader: Reader,
    blobs: Arc<Blobs>,
    keys: Arc<Keyring>,
    directory: PathBuf,
    /// The last run, batch and task of our predecessors, by `seq`.
    before: Before,
    /// The directory of contents that retention looks through next.
    sweep_next: AtomicU8,
    _lock: Lock,
}

/// Where our predecessors' records end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    pub run: i64,
    pub batch: i64,
    pub task: i64,
    pub trace: i64,
}

impl Store {
    /// Opens a data directory, makes it (0700) if it is not there, and brings its database up to date. Blocks.
    ///
    /// Fails with [`StoreError::InUse`] if another process has it open, and refuses a database that is newer, another program's,
    /// or none. What a dead predecessor left unfinished stays so until [`Store::interrupt_unfinished`].
    pub fn open(directory: &Path, options: Options) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(StoreError::io("make", directory))?;
        let lock = Lock::take(directory)?;
        let db = schema::open_writer(&directory.join(crate::DATABASE), options.durability)
            .map_err(|error| error.doing("open the database"))?;
        let last =
            |table| db.query_row(&format!("SELECT ifnull(max(seq), 0) FROM {table}"), [], |row| row.get(0));
        let before = Before {
            run: last("runs")?,
            batch: last("batches")?,
            task: last("tasks")?,
            trace: last("traces")?,
        };
        let blobs = Arc::new(Blobs::open(directory, options.durability)?);
        let keys = Arc::new(Keyring::load(&db)?);
        let inner = Inner {
            writer: Writer::start(
                db,
                directory.join(format!("{}-wal", crate::DATABASE)),
                Arc::clone(&blobs),
            )?,
            reader: Reader::pooled(directory, options.readers),
            blobs,
            keys,
            directory: directory.to_owned(),
            before,
            sweep_next: AtomicU8::new(0),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A handle for reading. It may outlive the store.
    pub fn reader(&self) -> Reader {
        self.inner.reader.clone()
    }

    /// Writes and hashes the content of an artifact of at most `bytes_max`, for [`crate::Settlement::artifacts`]. Blocks, and
    /// keeps nobody else from writing.
    pub fn stage(&self, content: &mut dyn Read, bytes_max: u64) -> Result<Staged, StoreError> {
        self.inner.blobs.stage(content, bytes_max)
    }

    /// Writes something and takes it back in one transaction: the disk is written to as by any write, and the records stay as they
    /// are. For one who asks whether the store works.
    pub fn probe(&self) -> Write<()> {
        self.write("try to write", |transaction| {
            // An update that changes nothing would not be written (SQLite compares the row first).
            transaction
                .execute("INSERT INTO batch_fates (batch, fate, items) VALUES (-1, 'probe', 0)", [])?;
            transaction.execute("DELETE FROM batch_fates WHERE batch = -1", [])?;
            Ok(())
        })
    }

    /// Prepares a write.
    pub(crate) fn write<T, F>(&self, doing: &'static str, apply: F) -> Write<T>
    where
        T: Send + 'static,
        F: Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        Write::new(self, doing, apply)
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    pub(crate) fn keys(&self) -> &Arc<Keyring> {
        &self.inner.keys
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.inner.directory
    }

    pub(crate) fn before(&self) -> Before {
        self.inner.before
    }

    pub(crate) fn sweep_next(&self) -> &AtomicU8 {
        &self.inner.sweep_next
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}
