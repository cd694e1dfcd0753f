//! Parts of a session as it is shown.

use model::{Language, RunRequest};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a session may reach.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EgressView {
    /// Hosts.
    pub allow: Vec<String>,
    /// Methods of plain HTTP; absent is the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Secrets, and the host that each is for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}

/// How many runs of a session there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunCounts {
    /// Waiting.
    pub queued: u64,
    /// On their way.
    pub running: u64,
    /// Settled as `completed`.
    pub completed: u64,
    /// Settled as anything else.
    pub failed: u64,
}

/// State that was lost.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LostView {
    /// Whose.
    pub language: Language,
    /// How the interpreter ended, for people.
    pub why: String,
}

/// The end of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndView {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// `closed`, `idle`, `expired`, `memory_pressure`, `crashed`, `not_built`, `service_restarted` or `node_lost`.
    pub why: String,
    /// More, for people.
    pub detail: String,
    /// Until when its files can be fetched; absent if there are none.
    pub files_until: Option<String>,
}

/// A run of a session as it is submitted. Describes the body; `submission_of` reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct SubmitSessionRun {
    #[schema(inline)]
    #[serde(flatten)]
    request: RunRequest,
    /// Whether to answer only when the run is settled.
    #[schema(default = true)]
    wait: Option<bool>,
    /// Whether to run it as a program of its own, beside others, instead of in the interpreter that keeps its state. Then `cwd` may be
    /// `private`: an empty directory of its own, whose files are the run's artifacts.
    #[schema(default = false)]
    fresh: Option<bool>,
}
