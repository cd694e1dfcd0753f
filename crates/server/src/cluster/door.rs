//! What this node answers to gateways: the API of sessions, for whom they say. And how a gateway says it.

use super::luggage::Bringer;
use crate::http::guard::Caller;
use crate::http::node_router;
use crate::http::sessions::Sent;
use crate::quotas::Complete;
use crate::service::Service;
use axum::{Extension, Router};
use cluster::{Door, Opening};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use model::{CheckPatch, Layer, LimitsPatch, Priority, TenantId};
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
}

impl OnBehalf {
    /// What this service knows of a caller, as the other reads it.
    pub fn of(
        caller: &Caller,
        quota: &Complete,
        (checks, allow_missing): (Vec<CheckPatch>, BTreeSet<Layer>),
        luggage: Option<String>,
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
}

impl NodeDoor {
    /// That of this service.
    pub fn new(service: Arc<Service>, bringer: Arc<Bringer>) -> Arc<Self> {
        Arc::new(Self { router: node_router(service.clone()), service, bringer })
    }
}

impl Door for NodeDoor {
    fn answer(&self, opening: Opening, stream: DuplexStream) {
        let Ok(behalf) = serde_json::from_str::<OnBehalf>(&opening.caller) else {
            let from = &opening.gateway;
            worker::log::warn(format_args!("{from} asks for nobody that this version understands"));
            return;
        };
        self.service.quotas.learn(&behalf.tenant, behalf.quota(), &behalf.checks);
        let caller = behalf.caller();
        let router = self.router.clone();
        let router =
            router.layer(Extension(caller)).layer(Extension(Sent { allow_missing: behalf.allow_missing }));
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
