//! Which of one tenant's runs come first.

use serde::{Deserialize, Serialize};

/// Which of a tenant's runs that wait for a place get one first. Between tenants it says nothing: each has its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// As plain runs.
    #[default]
    Normal,
    /// Before all others.
    High,
}
