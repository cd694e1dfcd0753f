//! Who may see what: every read and every change by an id names a scope, so that a foreign id looks like an absent one.

use model::TenantId;

/// Whose records a call may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One tenant's own.
    Tenant(TenantId),
    /// Everybody's.
    Admin,
}

impl Scope {
    /// The tenant to compare with in SQL; `None` means any (`?1 IS NULL OR tenant = ?1`).
    pub(crate) fn tenant(&self) -> Option<&str> {
        match self {
            Self::Tenant(tenant) => Some(tenant.as_str()),
            Self::Admin => None,
        }
    }
}
