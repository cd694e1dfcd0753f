//! Settings of what stands beside the engine: tenants, retention, ports of sessions, the static check, the language model, tasks, local
//! servers, AgentRun's routes.

use super::values::{address, address_or_off, bytes, limits_patch, milliseconds, origin};
use model::{CheckMode, CheckPolicy, LimitsPatch};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What one tenant may do, unless its quota says otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// Runs at once.
    pub concurrency: usize,
    /// Waiting runs.
    pub queue: usize,
    /// Submissions in a minute.
    pub rate_per_minute: u64,
    /// Open sessions.
    pub sessions: usize,
    /// Tasks on their way.
    pub tasks: usize,
    /// Ceilings of limits.
    #[serde(deserialize_with = "limits_patch")]
    pub ceiling: LimitsPatch,
}

/// What is kept of settled runs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// How long.
    #[serde(deserialize_with = "milliseconds")]
    pub age_ms: u64,
    /// How much.
    #[serde(deserialize_with = "bytes")]
    pub bytes: u64,
}

/// The static check of runs that do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// What is done about findings.
    pub mode: CheckMode,
    /// Which are looked for.
    pub policy: CheckPolicy,
}

/// The language model of the service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Who is asked; empty is nobody.
    pub name: String,
    /// Where that is.
    pub base_url: String,
    /// Who reviews; empty is the same.
    pub reviewer: String,
    /// Whether others of its provider may be asked.
    pub any: bool,
    /// Answers for one request.
    pub turns: u64,
    /// Tokens for one request.
    pub tokens: u64,
    /// Dollars for one question of a task.
    pub dollars: f64,
    /// Runs for one request.
    pub runs: u64,
    /// Time for one request.
    #[serde(deserialize_with = "milliseconds")]
    pub time_ms: u64,
    /// Requests at once.
    pub concurrency: usize,
    /// Requests of one tenant at once.
    pub tenant_concurrency: usize,
}

/// Tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// On their way at once.
    pub max: usize,
    /// How long code waits for a person.
    #[serde(deserialize_with = "milliseconds")]
    pub approval_ms: u64,
}

/// A local server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSettings {
    /// How long it goes on when nobody needs it.
    #[serde(deserialize_with = "milliseconds")]
    pub idle_ms: u64,
}

/// AgentRun's routes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRunSettings {
    /// Whether they are served.
    pub enabled: bool,
    /// What its check does.
    pub check: CheckMode,
    /// Which browsers may call them.
    pub cors_origins: Vec<String>,
}

/// What listens in sessions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PortsSettings {
    /// Where; `None` is nowhere.
    #[serde(deserialize_with = "address", serialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// How browsers get there; empty is below `localhost`.
    #[serde(deserialize_with = "origin")]
    pub url: String,
    /// Until an answer begins.
    #[serde(deserialize_with = "milliseconds")]
    pub answer_timeout_ms: u64,
}
