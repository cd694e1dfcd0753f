//! Requests that a client may repeat: the first to claim a key does the work, the rest are told its id.

use model::{BatchId, RunId};

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
}
