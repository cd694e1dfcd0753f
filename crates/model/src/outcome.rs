//! What became of a run: the fate of the code ([`Outcome`]) or a failure of ours ([`Fault`]).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The fate of the code: what *ended* the run. Data, never an error of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The code ended by itself with exit code 0.
    Completed,
    /// The code ended by itself with another exit code, or an uncaught exception.
    Failed,
    /// Packages or a compile step failed before the code began.
    SetupFailed,
    /// The wall-clock limit passed.
    TimedOut,
    /// The memory limit was reached and the kernel or the supervisor ended the run.
    MemoryExceeded,
    /// Output passed the hard cap.
    OutputExceeded,
    /// The code failed after its disk was full.
    DiskExceeded,
    /// A signal that was not ours ended the code.
    Signalled,
    /// Policy refused to run it.
    Denied,
    /// The caller took it back.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order they are documented.
    pub const ALL: [Outcome; 10] = [
        Self::Completed,
        Self::Failed,
        Self::SetupFailed,
        Self::TimedOut,
        Self::MemoryExceeded,
        Self::OutputExceeded,
        Self::DiskExceeded,
        Self::Signalled,
        Self::Denied,
        Self::Cancelled,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::SetupFailed => "setup_failed",
            Self::TimedOut => "timed_out",
            Self::MemoryExceeded => "memory_exceeded",
            Self::OutputExceeded => "output_exceeded",
            Self::DiskExceeded => "disk_exceeded",
            Self::Signalled => "signalled",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A limit that a run touched, whether or not it ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// `timeout_ms`.
    Timeout,
    /// `memory_bytes`.
    Memory,
    /// `processes`.
    Processes,
    /// `disk_bytes`, or the number of files that goes with it.
    Disk,
    /// `output_bytes`.
    Output,
}

/// Why fireclay itself could not carry out a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// A step of the plan failed: the message names the step and the kernel's answer.
    IsolationFailed,
    /// The sandbox's init or spawner died under the run.
    Interrupted,
    /// The image is missing, damaged or could not be made.
    ImageUnavailable,
    /// The machine lacks something: memory, processes, descriptors.
    ResourcesExhausted,
    /// Anything else of ours.
    Internal,
}

/// A failure of ours. Never an answer about the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure.
    pub code: FaultCode,
    /// What failed, naming the object.
    pub message: String,
    /// Whether the same request may be sent again without harm and with hope.
    pub retry_safe: bool,
}

impl Fault {
    /// Makes a fault; `message` is a lower-case fragment.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        let retry_safe = matches!(code, FaultCode::Interrupted | FaultCode::ResourcesExhausted);
        Self { code, message: message.into(), retry_safe }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_spelling() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }
}
