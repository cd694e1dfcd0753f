//! Batches: many runs asked for at once, and how far they are.

use crate::columns::{Conditions, count as whole, from_json, from_word, to_json};
use crate::idempotency::{self, Claimed};
use crate::limits::DETAIL_BYTES_MAX;
use crate::writer::{Transaction, Write};
use crate::{Cursor, Idempotency, Listed, Page, Reader, Scope, Store, StoreError};
use model::{BatchId, TenantId};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A batch as it is admitted. Its items are runs with [`crate::NewRun::batch`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewBatch {
    /// Made by the caller, of random bytes.
    pub id: BatchId,
    /// Who owns it.
    pub tenant: TenantId,
    /// When it was admitted, milliseconds since 1970.
    pub created_at_ms: i64,
    /// How many items it has; with none it is settled at once.
    pub total: u32,
    /// What was asked of the whole.
    pub options: Value,
    /// Claims a key in the same transaction.
    pub idempotency: Option<Idempotency>,
}

/// What admission of a batch answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchAdmission {
    /// The batch is in the store.
    Admitted,
    /// The same request was admitted before, under this id; nothing was written.
    Replayed(BatchId),
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Some items are not settled.
    Running,
    /// All items are settled.
    Settled,
    /// Ended before all items were: taken back, or interrupted. Items that settle later still count.
    Cancelled,
}

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchRow {
    /// This batch.
    pub id: BatchId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Where it is.
    pub state: BatchState,
    /// When it was admitted, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When the last item settled, or it was cancelled.
    pub settled_at_ms: Option<i64>,
    /// How many items it has.
    pub total: u32,
    /// How many of them are settled.
    pub settled: u32,
    /// Settled items by verdict if they have one, else by outcome, else `fault`. Outlives the runs.
    pub fates: BTreeMap<String, u64>,
    /// What was asked of the whole.
    pub options: Value,
}

impl Store {
    /// Takes a batch in. Its items are then admitted one by one, each with its place.
    ///
    /// Fails with [`StoreError::Exists`] if the id is taken, and with [`StoreError::IdempotencyConflict`] if the key stands for
    /// another request.
    pub fn create_batch(&self, batch: NewBatch) -> Write<BatchAdmission> {
        let checked = batch.idempotency.as_ref().map_or(Ok(()), idempotency::check);
        match checked.and_then(|()| to_json(&batch.options, "options of a batch", DETAIL_BYTES_MAX)) {
            Ok(options) => {
                self.write("create a batch", move |transaction| insert(transaction, &batch, &options))
            }
            Err(error) => Write::refused(self, error),
        }
    }

    /// Ends a running batch before all its items are settled. Fails with [`StoreError::AlreadySettled`] if it has ended.
    pub fn cancel_batch(&self, scope: Scope, id: &BatchId, at_ms: i64) -> Write<()> {
        let id = id.clone();
        self.write("cancel a batch", move |transaction| {
            let sql = "UPDATE batches SET state = 'cancelled', settled_at = ?1
                WHERE id = ?2 AND (?3 IS NULL OR tenant = ?3) AND state = 'running'";
            if transaction.execute(sql, params![at_ms, id.as_str(), scope.tenant()])? > 0 {
                return Ok(());
            }
            let sql = "SELECT 1 FROM batches WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
            let exists = transaction.sql(sql)?.exists(params![id.as_str(), scope.tenant()])?;
            Err(if exists { StoreError::AlreadySettled } else { StoreError::NotFound })
        })
    }
}

fn insert(
    transaction: &Transaction<'_>,
    batch: &NewBatch,
    options: &str,
) -> Result<BatchAdmission, StoreError> {
    let (id, at) = (batch.id.as_str(), batch.created_at_ms);
    if let Some(key) = &batch.idempotency {
        match idempotency::claim(transaction, &batch.tenant, key, id, at)? {
            None => {}
            Some(Claimed::Batch(id)) => return Ok(BatchAdmission::Replayed(id)),
            Some(Claimed::Run(_)) => return Err(StoreError::IdempotencyConflict),
        }
    }
    let (state, settled_at) = if batch.total == 0 { ("settled", Some(at)) } else { ("running", None) };
    let sql = "INSERT INTO batches (id, tenant, state, created_at, settled_at, total, options)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    let row = params![id, batch.tenant.as_str(), state, at, settled_at, batch.total, options];
    match transaction.execute(sql, row) {
        Ok(_) => Ok(BatchAdmission::Admitted),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::Exists { id: id.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses a place in a batch that the tenant does not have, or beyond its end.
pub(crate) fn check_place(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    batch: &BatchId,
    index: u32,
) -> Result<(), StoreError> {
    let sql = "SELECT total FROM batches WHERE id = ? AND tenant = ?";
    let found = transaction.sql(sql)?.query_row([batch.as_str(), tenant.as_str()], |row| row.get(0));
    let total: u32 = found.optional()?.ok_or(StoreError::NotFound)?;
    if index < total { Ok(()) } else { Err(StoreError::Invalid { what: "the batch has fewer items" }) }
}

/// Counts a settled item; the last one settles a running batch. A batch that retention removed meanwhile is not missed.
pub(crate) fn count(
    transaction: &Transaction<'_>,
    batch: &str,
    fate: &str,
    at_ms: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE batches SET settled = settled + 1 WHERE id = ? RETURNING seq, settled >= total AND state = 'running'";
    let counted: Option<(i64, bool)> =
        transaction.sql(sql)?.query_row([batch], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((seq, ended)) = counted else { return Ok(()) };
    let sql = "INSERT INTO batch_fates (batch, fate, runs) VALUES (?, ?, 1)
        ON CONFLICT (batch, fate) DO UPDATE SET runs = runs + 1";
    transaction.execute(sql, params![seq, fate])?;
    if ended {
        let sql = "UPDATE batches SET state = 'settled', settled_at = ? WHERE seq = ?";
        transaction.execute(sql, params![at_ms, seq])?;
    }
    Ok(())
}

/// Cancels what a predecessor left running. Its runs have been settled before.
pub(crate) fn interrupt(transaction: &Transaction<'_>, before: i64, at_ms: i64) -> Result<(), StoreError> {
    let sql = "UPDATE batches SET state = 'cancelled', settled_at = ? WHERE state = 'running' AND seq <= ?";
    transaction.execute(sql, params![at_ms, before])?;
    Ok(())
}

/// Removes ended batches that are older than `oldest_ms` and have no runs any more, at most `limit`.
pub(crate) fn remove_old(
    transaction: &Transaction<'_>,
    oldest_ms: i64,
    limit: usize,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM batches WHERE seq IN (SELECT seq FROM batches WHERE created_at < ? AND state <> 'running'
        AND NOT EXISTS (SELECT 1 FROM runs WHERE batch = batches.id) LIMIT ?) RETURNING seq";
    let mut statement = transaction.sql(sql)?;
    let removed = statement.query_map(params![oldest_ms, limit as i64], |row| row.get(0))?;
    let removed: Vec<i64> = removed.collect::<Result<_, _>>()?;
    for seq in &removed {
        transaction.execute("DELETE FROM batch_fates WHERE batch = ?", [seq])?;
    }
    Ok(removed.len() as u64)
}

const COLUMNS: &str = "seq, id, tenant, state, created_at, settled_at, total, settled, options";

impl Reader {
    /// One batch, if it is in the scope.
    pub fn batch(&self, scope: &Scope, id: &BatchId) -> Result<Option<BatchRow>, StoreError> {
        self.read("read a batch", |db| {
            let sql = format!("SELECT {COLUMNS} FROM batches WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)");
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params![id.as_str(), scope.tenant()])?;
            rows.next()?.map(|found| row(db, found)).transpose()
        })
    }

    /// Batches of the scope, newest first.
    pub fn batches(&self, scope: &Scope, page: &Page) -> Result<Listed<BatchRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equal("tenant", scope.tenant().map(str::to_owned));
        conditions.beyond("(created_at, id) < (?, ?)", page.cursor.as_ref());
        let limit = page.rows();
        self.read("list batches", |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM batches{} ORDER BY created_at DESC, id DESC LIMIT {}",
                conditions.sql(),
                limit + 1
            );
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query(params_from_iter(&conditions.values))?;
            let place =
                |row: &BatchRow| Cursor { number: row.created_at_ms, word: row.id.as_str().to_owned() };
            crate::page::collect(rows, limit, |found| row(db, found), place)
        })
    }
}

fn row(db: &Connection, row: &Row<'_>) -> Result<BatchRow, StoreError> {
    let mut statement = db.prepare_cached("SELECT fate, runs FROM batch_fates WHERE batch = ?")?;
    let fates = statement.query_map([row.get::<_, i64>(0)?], |row| Ok((row.get(0)?, whole(row.get(1)?))))?;
    Ok(BatchRow {
        id: from_word(row.get(1)?, "the id of a batch")?,
        tenant: from_word(row.get(2)?, "the tenant of a batch")?,
        state: from_word(row.get(3)?, "the state of a batch")?,
        created_at_ms: row.get(4)?,
        settled_at_ms: row.get(5)?,
        total: row.get(6)?,
        settled: row.get(7)?,
        fates: fates.collect::<Result<_, _>>()?,
        options: from_json(&row.get::<_, String>(8)?, "the options of a batch")?,
    })
}
