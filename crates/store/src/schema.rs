//! The database file: how it is opened, whose it is, and the scripts that bring an older one up to date.

use crate::{Durability, StoreError};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// `frcy`: marks a database as ours (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x6672_6379;

/// Each brings a database from the version before it (`PRAGMA user_version`) to its own, which is its place from 1. Scripts that
/// were released are never edited.
const MIGRATIONS: [&str; 10] = [
    include_str!("migrations/1-runs.sql"),
    include_str!("migrations/2-batches.sql"),
    include_str!("migrations/3-access.sql"),
    include_str!("migrations/4-audit.sql"),
    include_str!("migrations/5-texts.sql"),
    include_str!("migrations/6-sessions.sql"),
    include_str!("migrations/7-tasks.sql"),
    include_str!("migrations/8-traces.sql"),
    include_str!("migrations/9-observe.sql"),
    include_str!("migrations/10-secrets.sql"),
];

/// How long a statement waits for another process's lock. Only an administrator's `sqlite3` can hold one.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// Statements kept compiled by each connection.
const STATEMENTS_KEPT: usize = 128;

/// Opens the database for the thread that writes, makes it if it is not there, and brings it up to date.
pub(crate) fn open_writer(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    // SQLite gives its own files (-wal, -shm) the permissions of this one.
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let file = file.map_err(StoreError::io("open", path))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(StoreError::io("protect", path))?;
    drop(file);
    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check_owner(&db, path)?;
    // Must come before the first table; later it changes nothing.
    db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let message = format!("the file system does not allow write-ahead logging, only {mode}");
        return Err(StoreError::Database { doing: "open the database", code: 0, message });
    }
    db.execute_batch(match durability {
        Durability::Commit => "PRAGMA synchronous = NORMAL",
        Durability::Fsync => "PRAGMA synchronous = FULL",
    })?;
    // 16 MiB of pages in memory.
    db.execute_batch("PRAGMA cache_size = -16384")?;
    migrate(&mut db, path, &MIGRATIONS)?;
    Ok(db)
}

/// Opens the database for reading, beside whoever writes.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    path.metadata().map_err(StoreError::io("open", path))?;
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check_owner(&db, path)?;
    let found = version(&db)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if found < known {
        return Err(StoreError::Older { path: path.to_owned(), found, known });
    }
    Ok(db)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    // One thread at a time uses a connection, which the type system sees to: SQLite's own mutex would be paid for nothing.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Functions in a schema that someone edited are not to be trusted.
    db.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY").map_err(not_ours(path))?;
    Ok(db)
}

fn not_ours(path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::NotADatabase { path },
        _ => error.into(),
    }
}

/// Refuses a file that is no database, or another program's. An empty one is ours to fill.
fn check_owner(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(not_ours(path));
    let application_id = number("PRAGMA application_id")? as i32;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application_id == APPLICATION_ID || (application_id == 0 && tables == 0) {
        return Ok(());
    }
    Err(StoreError::Foreign { path: path.to_owned(), application_id })
}

fn version(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Applies the scripts that the database has not seen, all in one transaction: it is up to date or as it was.
fn migrate(db: &mut Connection, path: &Path, scripts: &[&str]) -> Result<(), StoreError> {
    let known = scripts.len() as i64;
    let found = version(db)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::NotADatabase { path: path.to_owned() })?;
    if done == scripts.len() {
        return Ok(());
    }
    let transaction = db.transaction()?;
    for script in &scripts[done..] {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}
