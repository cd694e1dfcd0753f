//! What the store answers when it cannot do what it was asked: our failures and callers' mistakes, told apart by variant.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store did not do it. Nothing was written unless the message says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process owns the data directory.
    #[error("the data directory {} is in use{}", .directory.display(), by(*.pid))]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// Who owns it, if it has said so.
        pid: Option<u32>,
    },
    /// The file is no SQLite database, or is damaged beyond reading.
    #[error("{} is not a database", .path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of another program.
    #[error("{} is a database of another program (application id {application_id:#x})", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        application_id: i32,
    },
    /// A newer fireclay wrote this database.
    #[error("{} has schema {found}, newer than {known}, the newest this fireclay knows; use a newer fireclay", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// An older fireclay wrote this database, and only the process that owns it may bring it up to date.
    #[error("{} has schema {found}, older than {known}; the next `fireclay serve` brings it up to date", .path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// What this program reads.
        known: i64,
    },
    /// The disk, or the quota on it, is full.
    #[error("{doing}: no space left for the store")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// The file system failed.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// SQLite failed.
    #[error("{doing}: {message}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// SQLite's extended result code; 0 when the failure lies between SQLite and us.
        code: i32,
        /// What SQLite said.
        message: String,
    },
    /// A row or file says what it cannot say: it was damaged or edited.
    #[error("{what} is damaged")]
    Damaged {
        /// Which.
        what: String,
    },
    /// The writer has ended, so nothing more is written. Only seen while the process shuts down, or after a bug.
    #[error("the store is closed")]
    Closed,
    /// There is no such thing in the caller's scope. Foreign and absent look alike.
    #[error("not found")]
    NotFound,
    /// An id that is taken already.
    #[error("{id} exists already")]
    Exists {
        /// The id.
        id: String,
    },
    /// The run is queued or running, and must be settled first.
    #[error("it is not settled")]
    NotSettled,
    /// The run or batch was settled before; the first settlement stands.
    #[error("it is settled already")]
    AlreadySettled,
    /// Without this key nobody could make or revoke keys any more.
    #[error("it is the last key of an administrator that works")]
    LastAdmin,
    /// The idempotency key was used with another body, within its lifetime.
    #[error("the idempotency key was used with another request")]
    IdempotencyConflict,
    /// A record that contradicts itself.
    #[error("{what}")]
    Invalid {
        /// How.
        what: &'static str,
    },
    /// A cursor that this store did not make.
    #[error("not a cursor of this list")]
    BadCursor,
    /// Something longer or more than the store takes.
    #[error("{what} is too long: at most {max}")]
    TooLong {
        /// What.
        what: &'static str,
        /// The most that is taken, in bytes or items as `what` says.
        max: u64,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

impl StoreError {
    /// Whether the caller asked for something impossible, so that nothing of ours failed.
    pub fn is_mistake(&self) -> bool {
        matches!(
            self,
            Self::NotFound
                | Self::Exists { .. }
                | Self::NotSettled
                | Self::AlreadySettled
                | Self::LastAdmin
                | Self::IdempotencyConflict
                | Self::Invalid { .. }
                | Self::BadCursor
                | Self::TooLong { .. }
        )
    }

    /// Makes a closure that names what was being done with a file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing },
            _ => Self::Io { doing, path, source },
        }
    }

    /// Names what was being done when the database failed.
    pub(crate) fn doing(self, doing: &'static str) -> Self {
        match self {
            Self::Full { .. } => Self::Full { doing },
            Self::Database { code, message, .. } => Self::Database { doing, code, message },
            other => other,
        }
    }

    /// A row that says what it cannot say.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let doing = "use the database";
        match error.sqlite_error() {
            Some(sqlite) if sqlite.code == rusqlite::ErrorCode::DiskFull => Self::Full { doing },
            sqlite => {
                let code = sqlite.map_or(0, |sqlite| sqlite.extended_code);
                Self::Database { doing, code, message: error.to_string() }
            }
        }
    }
}
