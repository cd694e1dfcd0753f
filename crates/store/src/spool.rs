//! Records of one-shot commands that do not pay for opening a database: a file each, taken in by whoever opens the store next.

use crate::{NewRun, RunEvent};
use model::RunResult;
use serde::{Deserialize, Serialize};

/// A settled run, as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The run as it was admitted.
    pub run: NewRun,
    /// When it entered a sandbox, milliseconds since 1970.
    pub started_at_ms: Option<i64>,
    /// When it was settled.
    pub settled_at_ms: i64,
    /// What became of it.
    pub result: RunResult,
    /// What was told while it ran.
    #[serde(default)]
    pub events: Vec<RunEvent>,
}

/// What taking in the spool found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Records that are in the store now and were not before.
    pub taken: usize,
    /// Records that were there already.
    pub known: usize,
    /// Files that are no records, moved to `spool/bad`: name and what is wrong.
    pub bad: Vec<(String, String)>,
    /// Whether there is more: at most [`crate::limits::SPOOL_INGEST_MAX`] are taken in at once.
    pub more: bool,
}
