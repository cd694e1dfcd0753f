//! Removes the oldest, in steps small enough that other writes hardly wait.

/// What is kept; absent is for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Settled runs younger than this, by when they settled.
    pub max_age_ms: Option<i64>,
    /// The newest, so that database and artifacts together stay below this.
    pub max_bytes: Option<u64>,
    /// The newest, this many, unfinished ones counted but never removed.
    pub max_runs: Option<u64>,
    /// Audit rows younger than this. The removal is itself recorded.
    pub audit_max_age_ms: Option<i64>,
}

/// What one step removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// Runs, with their events.
    pub runs: u64,
    /// Artifact contents that no other run has.
    pub blobs: u64,
    /// Audit rows.
    pub audit_rows: u64,
    /// Whether another step would remove more.
    pub more: bool,
}

/// How large the store is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The database, without pages that are free.
    pub db_bytes: u64,
    /// Artifact contents, each counted once.
    pub blob_bytes: u64,
    /// Runs, unfinished ones too.
    pub runs: u64,
}
