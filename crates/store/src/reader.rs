//! A small pool of connections that only read.

use crate::blobs::Blobs;
use crate::{Durability, StoreError, schema};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Reads the store. A cheap handle; its methods block, so async code calls them in `spawn_blocking`. Each sees one state of the
/// whole store, with every write that was acknowledged before it began.
#[derive(Clone)]
pub struct Reader {
    pool: Arc<Pool>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

struct Pool {
    path: PathBuf,
    blobs: Blobs,
    connections_max: usize,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Connection>,
    /// Connections that exist, idle or in use.
    open: usize,
}

/// Connections of a reader that stands alone.
const ALONE: usize = 2;

impl Reader {
    /// Opens a data directory for reading, beside the process that owns it or without one. Blocks.
    ///
    /// Fails if there is no database, or it is of another schema.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let reader = Self::pooled(directory, ALONE);
        reader.read("open the database", |_| Ok(()))?;
        Ok(reader)
    }

    /// A pool that opens its connections when they are needed.
    pub(crate) fn pooled(directory: &Path, connections_max: usize) -> Self {
        let pool = Pool {
            path: directory.join(crate::DATABASE),
            blobs: Blobs::beside(directory, Durability::Commit),
            connections_max: connections_max.max(1),
            state: Mutex::new(State { idle: Vec::new(), open: 0 }),
            returned: Condvar::new(),
        };
        Self { pool: Arc::new(pool) }
    }

    /// Reads within one transaction, so that several statements see one state. Waits for a connection.
    pub(crate) fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.pool.take()?;
        let answer = connection.get().unchecked_transaction().map_err(StoreError::from);
        answer.and_then(|transaction| read(&transaction)).map_err(|error| error.doing(doing))
    }

    /// Contents of artifacts.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.pool.blobs
    }
}

impl Pool {
    fn take(&self) -> Result<Taken<'_>, StoreError> {
        let mut state = self.state();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Ok(Taken { pool: self, connection: Some(connection) });
            }
            if state.open < self.connections_max {
                break;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.open += 1;
        drop(state);
        // From here on the place is given back whatever happens.
        let mut taken = Taken { pool: self, connection: None };
        taken.connection = Some(schema::open_reader(&self.path)?);
        Ok(taken)
    }

    /// The list cannot be left half changed, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use; goes back to the pool when dropped.
struct Taken<'a> {
    pool: &'a Pool,
    /// Absent only while it is being opened.
    connection: Option<Connection>,
}

impl Taken<'_> {
    fn get(&self) -> &Connection {
        self.connection.as_ref().expect("it was opened before it was given out")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
