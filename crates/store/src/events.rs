//! What was told while a run ran, kept to be told again after it settled.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Its place among the run's events; ascending.
    pub seq: u64,
    /// What kind: `stdout`, `started`, …
    pub kind: String,
    /// What it says.
    pub data: Value,
}
