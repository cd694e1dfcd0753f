//! What this node answers to gateways: the API of sessions, for whom they say. And how a gateway says it.

use super::luggage::Bringer;
use crate::http::guard::Caller;
use crate::http::node_router;
use crate::http::sessions::Sent;
use crate::quotas::Complete;
use crate::service::Service;
use crate::sessions::{Again, Reopened};
use axum::{Extension, Router};
use cluster::{Door, Opening, Worker};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use model::{CheckPatch, Layer, LimitsPatch, Priority, SessionId, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Actor, KeyId, Role};
use tokio::io::DuplexStream;
use worker::queue::Share;

/// For whom a gateway asks, and what that tenant may do: the node's own store knows no tenants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnBehalf {
    tenant: TenantId,
    /// As the audit log names it.
    actor: String,
    ceiling: LimitsPatch,
    concurrency: usize,
    waiting: usize,
    rate_per_minute: u64,
    allow_missing: BTreeSet<Layer>,
    /// What a session that is to be opened needs besides an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    luggage: Option<String>,
    /// What its gateway says of the check of its runs: by the settings there, and by its record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checks: Vec<CheckPatch>,
    /// That the session that is to be opened was another node's before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    again: Option<OpenAgain>,
}

/// What a gateway says with a request to open a session.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What it needs besides an image.
    pub luggage: Option<String>,
    /// That it is opened again.
    pub again: Option<OpenAgain>,
}

/// That a durable session is opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAgain {
    /// Which.
    pub id: SessionId,
    /// When it was opened first, milliseconds since 1970.
    pub created_at_ms: i64,
    /// How often it was opened again, with this.
    pub epoch: u64,
    /// Now, by the gateway's clock.
    pub at_ms: i64,
    /// Which node had it before.
    pub from: String,
    /// When the files were saved that will be put there.
    pub files_of_ms: Option<i64>,
}

impl From<OpenAgain> for Again {
    fn from(said: OpenAgain) -> Self {
        let OpenAgain { id, created_at_ms, epoch, at_ms, from, files_of_ms } = said;
        Self { id, created_at_ms, epoch, reopened: Reopened { at_ms, from, files_of_ms } }
    }
}

impl OnBehalf {
    /// What this service knows of a caller, as the other reads it.
    pub fn of(
        caller: &Caller,
        quota: &Complete,
        (checks, allow_missing): (Vec<CheckPatch>, BTreeSet<Layer>),
        Beside { luggage, again }: Beside,
    ) -> String {
        let behalf = Self {
            tenant: caller.tenant.clone(),
            actor: caller.actor.to_string(),
            ceiling: quota.ceiling,
            concurrency: quota.share.concurrency,
            waiting: quota.share.waiting,
            rate_per_minute: quota.rate_per_minute,
            allow_missing,
            luggage,
            checks,
            again,
        };
        serde_json::to_string(&behalf).expect("it is JSON")
    }

    fn quota(&self) -> Complete {
        let Self { concurrency, waiting, .. } = *self;
        let share = Share { concurrency, waiting, priority: Priority::Normal };
        Complete { ceiling: self.ceiling, share, rate_per_minute: self.rate_per_minute, everywhere: None }
    }

    fn caller(&self) -> Caller {
        let actor = match self.actor.as_str() {
            "local" => Actor::Local,
            "service" => Actor::Service,
            key => serde_json::from_value::<KeyId>(key.into()).map_or(Actor::Service, Actor::Key),
        };
        // Whatever its key may do there: here it is one with sessions.
        Caller { tenant: self.tenant.clone(), role: Role::Tenant, actor }
    }
}

/// The door of this node.
pub struct NodeDoor {
    service: Arc<Service>,
    router: Router,
    bringer: Arc<Bringer>,
    worker: Arc<Worker>,
}

impl NodeDoor {
    /// That of this service.
    pub fn new(service: Arc<Service>, bringer: Arc<Bringer>, worker: Arc<Worker>) -> Arc<Self> {
        Arc::new(Self { router: node_router(service.clone()), service, bringer, worker })
    }
}

impl Door for NodeDoor {
    fn answer(&self, opening: Opening, stream: DuplexStream) {
        if !self.worker.has_sessions() {
            // Others may have what was here; this node is about to end it.
            return;
        }
        let Ok(behalf) = serde_json::from_str::<OnBehalf>(&opening.caller) else {
            let from = &opening.gateway;
            worker::log::warn(format_args!("{from} asks for nobody that this version understands"));
            return;
        };
        self.service.quotas.learn(&behalf.tenant, behalf.quota(), &behalf.checks);
        let caller = behalf.caller();
        let router = self.router.clone();
        let sent = Sent { allow_missing: behalf.allow_missing, again: behalf.again.map(Into::into) };
        let router = router.layer(Extension(caller)).layer(Extension(sent));
        let (bringer, tenant) = (self.bringer.clone(), behalf.tenant);
        tokio::spawn(async move {
            if let Some(luggage) = &behalf.luggage
                && let Err(fault) = bringer.bring_all(&tenant, luggage).await
            {
                // Who asks is told what is missing.
                worker::log::warn(format_args!("{}", fault.message));
            }
            let serving = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .with_upgrades();
            // An error is a gateway that broke off, or its client did.
            drop(serving.await);
        });
    }
}
