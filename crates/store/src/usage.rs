//! What tenants used, by the hour; outlives the runs.

use model::TenantId;
use std::collections::BTreeMap;

/// One hour of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Who.
    pub tenant: TenantId,
    /// The hour's beginning, milliseconds since 1970; a run counts in the hour it settled.
    pub hour_ms: i64,
    /// Runs settled.
    pub runs: u64,
    /// Of these, faults of ours.
    pub faults: u64,
    /// Runs by outcome, by its JSON name; faults are not among them.
    pub outcomes: BTreeMap<String, u64>,
    /// Wall time of all.
    pub wall_ms: u64,
    /// Processor time of all.
    pub cpu_ms: u64,
    /// Kept standard output and error of all.
    pub output_bytes: u64,
}
