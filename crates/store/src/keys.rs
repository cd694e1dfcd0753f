//! API keys: shown once, kept as hashes, verified from memory.

use model::TenantId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Random bytes that a new key is made of.
pub const KEY_RANDOM_BYTES: usize = 40;

/// The public part of a key, 10 characters: names it in lists and in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub(crate) String);

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, of every tenant.
    Admin,
    /// What is its tenant's own.
    Tenant,
}

/// A key as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// For whom; made with an empty quota if it is not there yet.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
    /// What people call it, at most 256 bytes.
    pub name: String,
    /// When it stops working, milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
}

/// A key that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedKey {
    /// What is kept of it.
    pub row: KeyRow,
    /// The key itself, `fc_<id>_<secret>`. Nobody can ask for it again.
    pub plain: String,
}

/// A key as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public part.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub name: String,
    /// When it was made, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last used, to within [`crate::limits::KEY_TOUCH_MS`].
    pub last_used_at_ms: Option<i64>,
    /// When it stops working.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<i64>,
}

/// Who a verified key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key.
    pub key: KeyId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
}

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Leaves the secret out: it must not reach a log.
impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey").field("row", &self.row).finish_non_exhaustive()
    }
}
