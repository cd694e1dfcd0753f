//! Batches: many runs asked for at once, and how far they are.

use crate::Idempotency;
use model::{BatchId, TenantId};
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
