//! What a settled run looks like, at every door.

use crate::{EgressAttempt, Fault, Finding, Isolation, Language, Limit, Outcome, RunId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A set of representations of one value, by MIME type, as the guest said them: untrusted display data.
pub type MimeBundle = Map<String, Value>;

/// Where a run is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Admitted, waiting for a place.
    Queued,
    /// In a sandbox.
    Running,
    /// Has exactly one of `outcome` or `fault`.
    Settled,
}

/// One run and all that came of it. `result`, `displays` and `error` are what the guest says; all else the supervisor saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RunResult {
    /// This run.
    pub id: RunId,
    /// Where it is.
    pub state: RunState,
    /// The fate of the code; absent when there is a fault.
    pub outcome: Option<Outcome>,
    /// Our failure; absent when there is an outcome.
    pub fault: Option<Fault>,
    /// The code's own exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The name of the signal that ended it, if one did.
    pub signal: Option<String>,
    /// Standard output: valid UTF-8, invalid bytes replaced; head and tail when truncated.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Whether the middle of stdout was dropped.
    pub stdout_truncated: bool,
    /// Whether the middle of stderr was dropped.
    pub stderr_truncated: bool,
    /// Every limit that was touched.
    pub limits_hit: Vec<Limit>,
    /// The value of the code, by MIME type.
    #[cfg_attr(feature = "schema", schema(value_type = Option<BTreeMap<String, Value>>))]
    pub result: Option<MimeBundle>,
    /// Rich output, in order.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<BTreeMap<String, Value>>))]
    pub displays: Vec<MimeBundle>,
    /// The uncaught exception, as the guest tells it.
    pub error: Option<GuestError>,
    /// Files it left in the workspace.
    pub artifacts: Vec<Artifact>,
    /// What the static check noticed.
    pub findings: Vec<Finding>,
    /// What it tried to reach, each connection that was over when it was: of each verdict the first 1,000.
    pub egress: Vec<EgressAttempt>,
    /// The session it ran in.
    pub session: Option<String>,
    /// Whether what the session's interpreter had in memory was lost with this run; its files were kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub state_lost: bool,
    /// The language, by its canonical name.
    pub language: Language,
    /// When the run was admitted, RFC 3339 in UTC.
    pub created_at: String,
    /// The caller's own labels.
    pub metadata: BTreeMap<String, String>,
    /// What it used.
    pub usage: Usage,
    /// What really stood around it.
    pub isolation: Isolation,
    /// What went in and came out, by SHA-256.
    pub digests: Digests,
    /// The service's signature over all that matters of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A statement about a run, signed by the service that ran it: proof for people who were not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// What is stated: JSON text, signed byte for byte.
    pub statement: String,
    /// Ed25519 (RFC 8032) over the statement's bytes, in base64.
    pub signature: String,
    /// The public key, in base64; `GET /v1/keys/receipt` says whose it is.
    pub public_key: String,
}

/// What a run used, as the kernel counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Usage {
    /// From the start of the code to its end.
    pub wall_ms: u64,
    /// Processor time of all its processes.
    pub cpu_ms: u64,
    /// The most memory it had at once; files on tmpfs count.
    pub memory_peak_bytes: u64,
    /// Time it waited for a place.
    pub queue_ms: u64,
}

/// A file a run left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// Where, relative to the workspace. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// A guess by its name.
    pub mime: String,
}

/// An uncaught exception, as the guest tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GuestError {
    /// The class: `ZeroDivisionError`.
    pub name: String,
    /// What it says.
    pub message: String,
    /// As the interpreter printed it.
    pub traceback: String,
}

/// SHA-256 of what went in and came out, in hex: with `isolation`, the receipt of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Digests {
    /// The code.
    pub code: String,
    /// Standard input, arguments, environment and files.
    pub inputs: String,
    /// The image's own digest.
    pub image: String,
    /// Policy: limits and the system-call rows in force.
    pub policy: String,
    /// Outcome, exit, output and artifacts.
    pub outputs: String,
}
