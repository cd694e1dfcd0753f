//! What becomes of what goes on in a session while no run of it does.

use serde::{Deserialize, Serialize};

/// What becomes of threads and processes that runs left in a session's interpreters, from a tenth of a second after the last run until
/// the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// They stand still, and go on with the next run. Where a machine cannot do that they are `slow`.
    #[default]
    Frozen,
    /// They share a twentieth of a processor.
    Slow,
    /// They go on as during a run.
    Running,
}
