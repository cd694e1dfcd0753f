//! Tenants and how much each may use.

use model::{LimitsPatch, TenantId};
use serde::{Deserialize, Serialize};

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRow {
    /// Its name.
    pub id: TenantId,
    /// When it was first named, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What it may use.
    pub quota: Quota,
}

/// What a tenant may use; absent is the service's own default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// The most that one run may ask for; narrows the service's ceiling.
    pub ceiling: LimitsPatch,
    /// Runs in sandboxes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Runs that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_minute: Option<u32>,
}
