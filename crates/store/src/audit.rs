//! The audit log: who did what, when, to whose thing. Rows are never changed, and each carries a hash of all before it.

use crate::KeyId;
use model::TenantId;
use serde_json::Value;
use std::fmt;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a key.
    Key(KeyId),
    /// The person at this machine: `local`.
    Local,
    /// The service by itself: `service`.
    Service,
}

/// An act to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: Actor,
    /// Whose thing; absent for the service's own.
    pub tenant: Option<TenantId>,
    /// What was done, a noun and a verb: `key.create`.
    pub action: String,
    /// To what: an id, or empty.
    pub object: String,
    /// More about it; `null` for nothing.
    pub detail: Value,
}

/// A recorded act.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Its place in the log, from 1.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who: a key's id, `local` or `service`.
    pub actor: String,
    /// Whose thing.
    pub tenant: Option<TenantId>,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// More about it.
    pub detail: Value,
    /// SHA-256 of the hash before and this row, in hex.
    pub hash: String,
}

/// Which acts of a scope are listed: those that match all that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// With this action.
    pub action: Option<String>,
    /// By this actor, as [`AuditRow::actor`] spells it.
    pub actor: Option<String>,
    /// To this object.
    pub object: Option<String>,
    /// At this time or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
}

/// What [`crate::Reader::verify_audit`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row follows from the one before.
    Whole {
        /// How many rows there are.
        rows: u64,
        /// The last hash, in hex: kept elsewhere, it proves later that nothing before was rewritten.
        head: String,
    },
    /// A row is not what was written.
    Broken {
        /// The first such row.
        seq: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Local => f.write_str("local"),
            Self::Service => f.write_str("service"),
        }
    }
}
