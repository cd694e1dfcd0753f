//! Removes the oldest, in steps small enough that other writes hardly wait.

use crate::columns::count;
use crate::limits::{RETAIN_STEP_BYTES, RETAIN_STEP_PAGES, RETAIN_STEP_ROWS, RETAIN_STEP_RUNS};
use crate::runs::write::remove;
use crate::writer::{After, Transaction, Write};
use crate::{Reader, Store, StoreError, audit, batches, idempotency, tasks, traces};
use rusqlite::{Connection, params};
use std::sync::atomic::Ordering;

/// What is kept; absent is for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Settled runs admitted no longer ago than this, and batches and tasks that still have runs.
    pub max_age_ms: Option<i64>,
    /// The newest, so that database and artifacts together stay below this.
    pub max_bytes: Option<u64>,
    /// The newest, this many; unfinished ones are counted but never removed.
    pub max_runs: Option<u64>,
    /// Traces no longer ago than this.
    pub traces_max_age_ms: Option<i64>,
    /// The newest traces, this many.
    pub traces_max: Option<u64>,
    /// Acts of the audit log no longer ago than this. Their removal is itself an act.
    pub audit_max_age_ms: Option<i64>,
}

/// What one step removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// Runs, with their texts, events and artifacts.
    pub runs: u64,
    /// About how many bytes these had.
    pub bytes: u64,
    /// Batches.
    pub batches: u64,
    /// Tasks.
    pub tasks: u64,
    /// Traces, beside those of runs that went.
    pub traces: u64,
    /// Rows of the audit log.
    pub audit_rows: u64,
    /// Whether another step would remove more.
    pub more: bool,
}

/// How large the store is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The database, without pages that are free and without the write-ahead log.
    pub db_bytes: u64,
    /// Contents of artifacts, each counted once.
    pub blob_bytes: u64,
    /// Runs, unfinished ones too.
    pub runs: u64,
}

impl Store {
    /// Removes the oldest beyond what is to be kept, and expired idempotency keys; gives pages back to the file system, and looks
    /// through one of the 256 directories of contents for files without a name. One bounded step: call it again while
    /// [`Retained::more`].
    pub fn retain(&self, retention: Retention, now_ms: i64) -> Write<Retained> {
        let prefix = self.sweep_next().fetch_add(1, Ordering::Relaxed);
        self.write("remove what is old", move |transaction| {
            let mut retained = Retained::default();
            let forgotten = idempotency::forget(transaction, now_ms, RETAIN_STEP_ROWS)?;
            remove_runs(transaction, &retention, now_ms, &mut retained)?;
            let oldest = match retention
                .max_bytes
                .filter(|max| size_of(transaction.db()).is_ok_and(|size| size > *max))
            {
                // All whose runs are gone already.
                Some(_) => Some(now_ms),
                None => retention.max_age_ms.map(|age| now_ms.saturating_sub(age)),
            };
            if let Some(oldest) = oldest {
                let (batches, more) =
                    batches::remove_old(transaction, oldest, RETAIN_STEP_RUNS, RETAIN_STEP_ROWS)?;
                retained.batches = batches;
                let (tasks, more_tasks) =
                    tasks::remove_old(transaction, oldest, RETAIN_STEP_RUNS, RETAIN_STEP_ROWS)?;
                retained.tasks = tasks;
                retained.more |= more || more_tasks;
            }
            if retention.traces_max_age_ms.is_some() || retention.traces_max.is_some() {
                let oldest = retention.traces_max_age_ms.map(|age| now_ms.saturating_sub(age));
                let (traces, more) =
                    traces::write::remove_old(transaction, oldest, retention.traces_max, RETAIN_STEP_ROWS)?;
                retained.traces = traces;
                retained.more |= more;
            }
            if let Some(age) = retention.audit_max_age_ms {
                let oldest = now_ms.saturating_sub(age);
                let (rows, more) = audit::prune(transaction, oldest, now_ms, RETAIN_STEP_ROWS)?;
                retained.audit_rows = rows;
                retained.more |= more;
            }
            retained.more |= forgotten == RETAIN_STEP_ROWS as u64;
            give_back(transaction)?;
            transaction.after.push(After::SweepBlobs(prefix));
            Ok(retained)
        })
    }
}

/// Removes runs, oldest first, as long as one of the bounds says so.
fn remove_runs(
    transaction: &mut Transaction<'_>,
    retention: &Retention,
    now_ms: i64,
    retained: &mut Retained,
) -> Result<(), StoreError> {
    let sizes = sizes(transaction.db())?;
    let excess_runs = retention.max_runs.map_or(0, |max| sizes.runs.saturating_sub(max));
    let excess_bytes =
        retention.max_bytes.map_or(0, |max| (sizes.db_bytes + sizes.blob_bytes).saturating_sub(max));
    let oldest = retention.max_age_ms.map_or(i64::MIN, |age| now_ms.saturating_sub(age));
    let candidates: Vec<(i64, i64)> = transaction
        .sql("SELECT seq, created_at FROM runs WHERE state = 'settled' ORDER BY created_at, id LIMIT ?")?
        .query_map([RETAIN_STEP_RUNS as i64 + 1], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (seq, created_at) in candidates {
        if created_at >= oldest && retained.runs >= excess_runs && retained.bytes >= excess_bytes {
            return Ok(());
        }
        if retained.runs == RETAIN_STEP_RUNS as u64 || retained.bytes >= RETAIN_STEP_BYTES {
            retained.more = true;
            return Ok(());
        }
        retained.bytes += remove(transaction, seq)?;
        retained.runs += 1;
    }
    Ok(())
}

/// Gives free pages back to the file system. The statement does a page for each step.
fn give_back(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = transaction.sql(&format!("PRAGMA incremental_vacuum({RETAIN_STEP_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

impl Reader {
    /// How large the store is.
    pub fn sizes(&self) -> Result<Sizes, StoreError> {
        self.read("measure the store", sizes)
    }
}

fn size_of(db: &Connection) -> Result<u64, StoreError> {
    sizes(db).map(|sizes| sizes.db_bytes + sizes.blob_bytes)
}

fn sizes(db: &Connection) -> Result<Sizes, StoreError> {
    let number = |sql: &str| -> Result<u64, StoreError> {
        Ok(count(db.prepare_cached(sql)?.query_row(params![], |row| row.get(0))?))
    };
    let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    Ok(Sizes {
        db_bytes: pages * number("PRAGMA page_size")?,
        blob_bytes: number("SELECT ifnull(sum(bytes), 0) FROM blobs")?,
        runs: number("SELECT count(*) FROM runs")?,
    })
}
