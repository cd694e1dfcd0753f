//! Batches: many items asked for at once, what was answered to each, and how far they are.

use crate::columns::{Conditions, at_most, count as whole, from_json, from_word, to_json, word};
use crate::idempotency::{self, Claimed};
use crate::limits::{DETAIL_BYTES_MAX, NAME_BYTES_MAX, REQUEST_BYTES_MAX, RESULT_BYTES_MAX};
use crate::writer::{Transaction, Write};
use crate::{Cursor, Idempotency, Listed, Page, Reader, Scope, Store, StoreError};
use model::{BatchId, TenantId};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A batch as it begins, without items. They come with [`Store::add_batch_items`]; their runs name it in [`crate::NewRun::batch`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewBatch {
    /// Made by the caller, of random bytes.
    pub id: BatchId,
    /// Who owns it.
    pub tenant: TenantId,
    /// When it began, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What was asked of the whole.
    pub options: Value,
}

/// What sealing a batch answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchAdmission {
    /// The batch is in the store, whole.
    Admitted,
    /// The same request was admitted before, under this id; this batch is gone.
    Replayed(BatchId),
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Items are coming, or are not answered yet.
    Running,
    /// All items are answered.
    Settled,
    /// Taken back before all items were answered.
    Cancelled,
    /// We ended before all items were answered.
    Interrupted,
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
    /// When it began, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it ended.
    pub settled_at_ms: Option<i64>,
    /// How many items it has, so far.
    pub total: u32,
    /// How many of them are answered.
    pub answered: u32,
    /// Answered items by fate. Outlives the runs.
    pub fates: BTreeMap<String, u64>,
    /// What was asked of the whole.
    pub options: Value,
    /// What it came to, once it has ended.
    pub summary: Option<Value>,
}

/// One item of a batch: its request until it is answered, then its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// Its place, from 0.
    pub index: u32,
    /// What was asked, as it came.
    pub request: Option<Vec<u8>>,
    /// What was answered, JSON text.
    pub answer: Option<String>,
}

impl Store {
    /// Begins a batch. Fails with [`StoreError::Exists`] if the id is taken.
    pub fn create_batch(&self, batch: NewBatch) -> Write<()> {
        match to_json(&batch.options, "options of a batch", DETAIL_BYTES_MAX) {
            Ok(options) => {
                self.write("create a batch", move |transaction| insert(transaction, &batch, &options))
            }
            Err(error) => Write::refused(self, error),
        }
    }

    /// Records the next items; `first` is the place of the first of them. Fails with [`StoreError::NotFound`] if there is no such
    /// batch on its way.
    pub fn add_batch_items(&self, id: &BatchId, first: u32, requests: Vec<Vec<u8>>) -> Write<()> {
        if requests.iter().any(|request| request.len() > REQUEST_BYTES_MAX) {
            return Write::refused(
                self,
                StoreError::TooLong { what: "item of a batch", max: REQUEST_BYTES_MAX as u64 },
            );
        }
        let id = id.clone();
        self.write("record items of a batch", move |transaction| {
            let seq = running(transaction, &id)?;
            let sql = "INSERT INTO batch_items (batch, place, request) VALUES (?, ?, ?)";
            for (place, request) in (first..).zip(&requests) {
                transaction.execute(sql, params![seq, place, request])?;
            }
            let sql = "UPDATE batches SET total = total + ? WHERE seq = ?";
            transaction.execute(sql, params![requests.len() as i64, seq])?;
            Ok(())
        })
    }

    /// Says that all items have come, and claims the client's key for the whole. If the key stands for the same request already,
    /// this batch is removed; fails with [`StoreError::IdempotencyConflict`] if it stands for another.
    pub fn seal_batch(
        &self,
        id: &BatchId,
        idempotency: Option<Idempotency>,
        at_ms: i64,
    ) -> Write<BatchAdmission> {
        let id = id.clone();
        if let Err(error) = idempotency.as_ref().map_or(Ok(()), idempotency::check) {
            return Write::refused(self, error);
        }
        self.write("seal a batch", move |transaction| {
            let seq = running(transaction, &id)?;
            let Some(key) = &idempotency else { return Ok(BatchAdmission::Admitted) };
            let tenant = transaction
                .sql("SELECT tenant FROM batches WHERE seq = ?")?
                .query_row([seq], |row| row.get(0))?;
            let tenant: TenantId = from_word(tenant, "the tenant of a batch")?;
            match idempotency::claim(transaction, &tenant, key, id.as_str(), at_ms)? {
                None => Ok(BatchAdmission::Admitted),
                Some(Claimed::Run(_) | Claimed::Task(_)) => Err(StoreError::IdempotencyConflict),
                Some(Claimed::Batch(first)) => {
                    remove(transaction, seq)?;
                    Ok(BatchAdmission::Replayed(first))
                }
            }
        })
    }

    /// Records an answer in place of the request, and counts the item under `fate`. Fails with [`StoreError::AlreadySettled`] if it
    /// has one.
    pub fn answer_batch_item(&self, id: &BatchId, index: u32, fate: &str, answer: String) -> Write<()> {
        let checked = at_most("fate of an item", fate, NAME_BYTES_MAX);
        if let Err(error) = checked.and_then(|()| at_most("answer of a batch", &answer, RESULT_BYTES_MAX)) {
            return Write::refused(self, error);
        }
        let (id, fate) = (id.clone(), fate.to_owned());
        self.write("answer an item of a batch", move |transaction| {
            let seq = running(transaction, &id)?;
            let sql = "UPDATE batch_items SET request = NULL, answer = ? WHERE batch = ? AND place = ? AND answer IS NULL";
            if transaction.execute(sql, params![answer, seq, index])? == 0 {
                return Err(StoreError::AlreadySettled);
            }
            transaction.execute("UPDATE batches SET answered = answered + 1 WHERE seq = ?", [seq])?;
            let sql = "INSERT INTO batch_fates (batch, fate, items) VALUES (?, ?, 1)
                ON CONFLICT (batch, fate) DO UPDATE SET items = items + 1";
            transaction.execute(sql, params![seq, fate])?;
            Ok(())
        })
    }

    /// Ends a batch that is on its way. What is not answered stays so.
    pub fn end_batch(&self, id: &BatchId, state: BatchState, summary: Value, at_ms: i64) -> Write<()> {
        let id = id.clone();
        match to_json(&summary, "summary of a batch", DETAIL_BYTES_MAX) {
            Ok(summary) => self.write("end a batch", move |transaction| {
                let seq = running(transaction, &id)?;
                let sql = "UPDATE batches SET state = ?, settled_at = ?, summary = ? WHERE seq = ?";
                transaction.execute(sql, params![word(&state), at_ms, summary, seq])?;
                let sql = "UPDATE batch_items SET request = NULL WHERE batch = ? AND request IS NOT NULL";
                transaction.execute(sql, [seq])?;
                Ok(())
            }),
            Err(error) => Write::refused(self, error),
        }
    }
}

fn insert(transaction: &Transaction<'_>, batch: &NewBatch, options: &str) -> Result<(), StoreError> {
    let id = batch.id.as_str();
    let sql = "INSERT INTO batches (id, tenant, state, created_at, options) VALUES (?, ?, 'running', ?, ?)";
    let row = params![id, batch.tenant.as_str(), batch.created_at_ms, options];
    match transaction.execute(sql, row) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::Exists { id: id.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// The number of a batch that is on its way.
fn running(transaction: &Transaction<'_>, id: &BatchId) -> Result<i64, StoreError> {
    let sql = "SELECT seq, state = 'running' FROM batches WHERE id = ?";
    let found =
        transaction.sql(sql)?.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match found {
        Some((seq, true)) => Ok(seq),
        Some((_, false)) => Err(StoreError::AlreadySettled),
        None => Err(StoreError::NotFound),
    }
}

/// Refuses a run of a batch that the tenant does not have.
pub(crate) fn check_owner(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    batch: &BatchId,
) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM batches WHERE id = ? AND tenant = ?";
    let exists = transaction.sql(sql)?.exists([batch.as_str(), tenant.as_str()])?;
    if exists { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Ends what a predecessor left running. Its runs have been settled before.
pub(crate) fn interrupt(transaction: &Transaction<'_>, before: i64, at_ms: i64) -> Result<(), StoreError> {
    let sql = "UPDATE batches SET state = 'interrupted', settled_at = ? WHERE state = 'running' AND seq <= ?";
    transaction.execute(sql, params![at_ms, before])?;
    Ok(())
}

/// Removes ended batches that are older than `oldest_ms` and have no runs any more, with at most `items_max` items: a large one goes in
/// steps, the batch itself in the last. Returns how many went, and whether another step would remove more.
pub(crate) fn remove_old(
    transaction: &Transaction<'_>,
    oldest_ms: i64,
    limit: usize,
    items_max: usize,
) -> Result<(u64, bool), StoreError> {
    let sql = "SELECT seq FROM batches WHERE created_at < ? AND state <> 'running'
        AND NOT EXISTS (SELECT 1 FROM runs WHERE batch = batches.id) LIMIT ?";
    let mut statement = transaction.sql(sql)?;
    let old = statement.query_map(params![oldest_ms, limit as i64], |row| row.get(0))?;
    let old: Vec<i64> = old.collect::<Result<_, _>>()?;
    let mut items_left = items_max;
    for (removed, seq) in (0..).zip(&old) {
        let sql =
            "DELETE FROM batch_items WHERE seq IN (SELECT seq FROM batch_items WHERE batch = ? LIMIT ?)";
        items_left -= transaction.execute(sql, params![seq, items_left as i64])?;
        if items_left == 0 {
            return Ok((removed, true));
        }
        remove(transaction, *seq)?;
    }
    Ok((old.len() as u64, old.len() == limit))
}

fn remove(transaction: &Transaction<'_>, seq: i64) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM batch_items WHERE batch = ?", [seq])?;
    transaction.execute("DELETE FROM batch_fates WHERE batch = ?", [seq])?;
    let sql = "DELETE FROM batches WHERE seq = ? RETURNING id";
    let id: Option<String> = transaction.sql(sql)?.query_row([seq], |row| row.get(0)).optional()?;
    crate::traces::write::forget(transaction, &id.unwrap_or_default())
}

const COLUMNS: &str = "seq, id, tenant, state, created_at, settled_at, total, answered, options, summary";

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

    /// One item of a batch, if it is in the scope.
    pub fn batch_item(
        &self,
        scope: &Scope,
        batch: &BatchId,
        index: u32,
    ) -> Result<Option<BatchItem>, StoreError> {
        self.read("read an item of a batch", |db| {
            let sql = "SELECT place, request, answer FROM batch_items
                WHERE batch = (SELECT seq FROM batches WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)) AND place = ?3";
            let mut statement = db.prepare_cached(sql)?;
            Ok(statement.query_row(params![batch.as_str(), scope.tenant(), index], item).optional()?)
        })
    }

    /// The items of a batch in their order; of a batch outside the scope, none.
    pub fn batch_items(
        &self,
        scope: &Scope,
        batch: &BatchId,
        page: &Page,
    ) -> Result<Listed<BatchItem>, StoreError> {
        self.read("list a batch", |db| {
            let sql = "SELECT place, request, answer FROM batch_items
                WHERE batch = (SELECT seq FROM batches WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)) AND place > ?3
                ORDER BY place LIMIT ?4";
            let after = page.cursor.as_ref().map_or(-1, |cursor| cursor.number);
            let limit = page.rows();
            let mut statement = db.prepare_cached(sql)?;
            let rows = statement.query(params![batch.as_str(), scope.tenant(), after, limit as i64 + 1])?;
            let place = |item: &BatchItem| Cursor { number: i64::from(item.index), word: String::new() };
            crate::page::collect(rows, limit, |row| Ok(item(row)?), place)
        })
    }
}

fn item(row: &Row<'_>) -> rusqlite::Result<BatchItem> {
    Ok(BatchItem { index: row.get(0)?, request: row.get(1)?, answer: row.get(2)? })
}

fn row(db: &Connection, row: &Row<'_>) -> Result<BatchRow, StoreError> {
    let mut statement = db.prepare_cached("SELECT fate, items FROM batch_fates WHERE batch = ?")?;
    let fates = statement.query_map([row.get::<_, i64>(0)?], |row| Ok((row.get(0)?, whole(row.get(1)?))))?;
    let summary: Option<String> = row.get(9)?;
    Ok(BatchRow {
        id: from_word(row.get(1)?, "the id of a batch")?,
        tenant: from_word(row.get(2)?, "the tenant of a batch")?,
        state: from_word(row.get(3)?, "the state of a batch")?,
        created_at_ms: row.get(4)?,
        settled_at_ms: row.get(5)?,
        total: row.get(6)?,
        answered: row.get(7)?,
        fates: fates.collect::<Result<_, _>>()?,
        options: from_json(&row.get::<_, String>(8)?, "the options of a batch")?,
        summary: summary.map(|text| from_json(&text, "the summary of a batch")).transpose()?,
    })
}
