//! Requests that a client may repeat: the first to claim a key does the work, the rest are told its id.

use crate::StoreError;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_MS};
use crate::writer::Transaction;
use model::{BatchId, RunId, TaskId, TenantId};
use rusqlite::{OptionalExtension, params};

/// A client's key for one request, claimed in the transaction that admits what it asks for. Remembered for 24 hours
/// ([`crate::limits::IDEMPOTENCY_MS`]), for one tenant, also when the run has been deleted since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key, 1 to 255 bytes.
    pub key: String,
    /// SHA-256 of the request, its route included: the same key with another is a conflict.
    pub body_sha256: [u8; 32],
}

/// What a key stands for already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// A run.
    Run(RunId),
    /// A batch.
    Batch(BatchId),
    /// A task, or a message to it.
    Task(TaskId),
}

/// Refuses a key that is empty or too long.
pub(crate) fn check(idempotency: &Idempotency) -> Result<(), StoreError> {
    match idempotency.key.len() {
        0 => Err(StoreError::Invalid { what: "the idempotency key is empty" }),
        length if length > IDEMPOTENCY_KEY_BYTES_MAX => {
            Err(StoreError::TooLong { what: "idempotency key", max: IDEMPOTENCY_KEY_BYTES_MAX as u64 })
        }
        _ => Ok(()),
    }
}

/// Claims a key for `object`, or says what it stands for already. Fails if it stands for another request.
pub(crate) fn claim(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    idempotency: &Idempotency,
    object: &str,
    now_ms: i64,
) -> Result<Option<Claimed>, StoreError> {
    let sql = "SELECT body_sha256, object FROM idempotency WHERE tenant = ? AND key = ? AND created_at > ?";
    let oldest = now_ms.saturating_sub(IDEMPOTENCY_MS);
    let found: Option<([u8; 32], String)> = transaction
        .sql(sql)?
        .query_row(params![tenant.as_str(), idempotency.key, oldest], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((body_sha256, claimed)) = found else {
        let sql = "INSERT OR REPLACE INTO idempotency (tenant, key, body_sha256, object, created_at) VALUES (?, ?, ?, ?, ?)";
        let row = params![tenant.as_str(), idempotency.key, idempotency.body_sha256, object, now_ms];
        transaction.execute(sql, row)?;
        return Ok(None);
    };
    if body_sha256 != idempotency.body_sha256 {
        return Err(StoreError::IdempotencyConflict);
    }
    let run = claimed.parse().map(Claimed::Run);
    let object = run.or_else(|_| claimed.parse().map(Claimed::Batch));
    let object = object.or_else(|_| claimed.parse().map(Claimed::Task));
    object.map(Some).map_err(|_| StoreError::damaged("an idempotency key"))
}

/// Forgets expired keys, at most `limit`. Returns how many.
pub(crate) fn forget(transaction: &Transaction<'_>, now_ms: i64, limit: usize) -> Result<u64, StoreError> {
    let sql = "DELETE FROM idempotency WHERE (tenant, key) IN
        (SELECT tenant, key FROM idempotency WHERE created_at <= ? LIMIT ?)";
    let oldest = now_ms.saturating_sub(IDEMPOTENCY_MS);
    Ok(transaction.execute(sql, params![oldest, limit as i64])? as u64)
}
