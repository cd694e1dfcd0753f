//! What a session is asked for with.

use model::object;
use model::{Background, Egress, Language, LimitsPatch, Priority};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A session as it is asked for; all may be left out.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateSession {
    /// What its sandbox is made from; absent means `python`.
    pub template: Option<String>,
    /// The language of runs that name none; absent means the template's. Every language of the image runs in it.
    pub language: Option<Language>,
    /// What to call it.
    #[schema(max_length = 128)]
    pub name: String,
    /// How much it may use. `timeout_ms` and `output_bytes` are what its runs have that say nothing else.
    #[serde(deserialize_with = "object::deserialize")]
    pub limits: LimitsPatch,
    /// Environment variables of all that runs in it.
    pub env: BTreeMap<String, String>,
    /// What becomes of threads and processes that runs left behind, while no run is on: `frozen`, they stand still until the next;
    /// `slow`, they share a twentieth of a processor; `running`, they go on.
    pub background: Background,
    /// Whether what listens on the sandbox's loopback may be visited, by `/v1/sessions/{id}/ports/{port}`.
    pub ports: bool,
    /// Packages that its Python has, as `pandas>=2`.
    pub packages: Vec<String>,
    /// Whether its runs of Python have what they import installed, as if each said so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_packages: bool,
    /// Whether only packages that are installed already may be used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// The version of its Python, as `3.13` or `3.13.1`; absent means the image's. One that is not there is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Whether its files are saved as runs change them, so that it is reopened on another node, without what was in memory, when its own
    /// is lost or drained. Only in a cluster.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// Which hosts what runs in it may reach, through a proxy; absent is none.
    #[serde(deserialize_with = "Egress::deserialize")]
    pub egress: Option<Egress>,
    /// Which of the tenant's runs that wait for a place its own come before. Other tenants have their own share.
    pub priority: Priority,
    /// How long it stays when nothing runs, at most 24 hours.
    pub idle_ttl_ms: Option<u64>,
    /// How long it stays at most.
    pub ttl_ms: Option<u64>,
}
