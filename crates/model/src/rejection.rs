//! The caller's mistake: which field, what is wrong, what to do instead.

use serde::{Deserialize, Serialize};

/// A request that cannot be carried out as it stands. Never used for what code did, nor for our own failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[error("{field}: {message}; {hint}")]
pub struct Rejection {
    /// The field or argument at fault, as the caller spelled it: `limits.memory_bytes`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be accepted.
    pub hint: String,
}

impl Rejection {
    /// Makes a rejection; all three parts are lower-case fragments.
    pub fn new(field: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), hint: hint.into() }
    }
}
