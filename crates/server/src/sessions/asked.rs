//! What a session is asked for with, as the service understands it.

use super::Reopened;
use model::{Background, Egress, Language, Layer, LimitsPatch, Priority, SessionId, TenantId, TraceParent};
use std::collections::{BTreeMap, BTreeSet};
use store::Actor;

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct NewOpen {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who opens it, for the audit log.
    pub actor: Actor,
    /// What its owner calls it.
    pub name: String,
    /// What its sandbox is made from.
    pub template: String,
    /// The language of runs that name none; absent is the template's first.
    pub language: Option<Language>,
    /// How much it may use.
    pub limits: LimitsPatch,
    /// Variables of all that runs in it.
    pub env: BTreeMap<String, String>,
    /// What becomes of what its interpreters do while no run is on.
    pub background: Background,
    /// Whether what listens in it may be visited.
    pub ports: bool,
    /// Packages of all that runs in it.
    pub packages: Vec<String>,
    /// Whether its runs have what they import.
    pub auto_packages: bool,
    /// Whether only those that are there will do.
    pub offline: bool,
    /// The version of its Python; absent is the image's.
    pub python: Option<String>,
    /// Which hosts what runs in it may reach; absent is none.
    pub egress: Option<Egress>,
    /// Which of the tenant's runs its own come before.
    pub priority: Priority,
    /// How long it stays when nothing runs, in milliseconds.
    pub idle_ttl_ms: Option<u64>,
    /// How long it stays at most.
    pub ttl_ms: Option<u64>,
    /// Whether its files are saved, and it is reopened elsewhere when its node is lost.
    pub durable: bool,
    /// That it is opened again, and was another node's before.
    pub again: Option<Again>,
    /// Layers that its sandbox may do without, where a gateway said so; else what this service says.
    pub allow_missing: Option<BTreeSet<Layer>>,
    /// The request as it came, JSON text.
    pub request: String,
    /// Where whoever asks stands in a trace.
    pub trace: Option<TraceParent>,
}

/// A session that is opened again.
#[derive(Debug, Clone)]
pub struct Again {
    /// Which.
    pub id: SessionId,
    /// When it was opened first, milliseconds since 1970.
    pub created_at_ms: i64,
    /// How often it was opened again, with this.
    pub epoch: u64,
    /// What is to be told of it.
    pub reopened: Reopened,
}
