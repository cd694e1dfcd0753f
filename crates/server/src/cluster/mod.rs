//! Other nodes: a service sends its runs to them, and a machine does those of others.

mod adopt;
mod door;
mod hands;
mod luggage;
mod relay;
mod reopen;
mod saver;
mod there;

pub use hands::MachineHands;
pub use relay::relay;
use there::Counted;
pub use there::{There, arrived_of};

use crate::http::nodes::{NodeRow, NodeWish};
use crate::problem::{Kind, Problem};
use crate::service::{Service, internal};
use crate::sessions::Ends;
use crate::settings::ClusterSettings;
use cluster::gateway::{Canceller, Outgoing};
use cluster::{Bus, ClusterError, Directory, End, Gateway, Identity, Links, Name, NodeState, Task, Worker};
use door::NodeDoor;
use luggage::Bringer;
use model::{RunId, RunRequest, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use worker::machine::{Machine, Order};
use worker::queue::Share;

/// What becomes of runs that are handed to other nodes.
#[derive(Debug)]
pub struct Elsewhere {
    gateway: Arc<Gateway>,
    machine: Machine,
    /// Runs of all tenants that may be on their way.
    most: usize,
    /// Runs of each tenant that are.
    tenants: std::sync::Mutex<BTreeMap<TenantId, Arc<AtomicUsize>>>,
    /// What this machine does for all: says how it is, and does runs unless the settings say otherwise.
    worker: Arc<Worker>,
    /// Where sessions are.
    directory: Arc<Directory>,
    /// The way to them.
    links: Arc<Links>,
    /// Those that are being reopened: one request does it, others wait for it.
    reopening: reopen::Turns,
}

/// What other nodes have to know of a run, beside its spec.
#[derive(Debug, Clone)]
pub struct Wanted {
    packages: Vec<String>,
    auto_packages: bool,
    offline: bool,
    repeatable: bool,
    /// Runs of the tenant at once, on all nodes together.
    everywhere: Option<usize>,
}

/// Takes such a run back.
pub type Withdrawal = Canceller;

impl Wanted {
    /// What a request says.
    pub fn of(request: &RunRequest) -> Self {
        Self {
            packages: request.packages.clone(),
            auto_packages: request.auto_packages,
            offline: request.offline,
            repeatable: request.repeatable.unwrap_or(true),
            everywhere: None,
        }
    }

    /// The same for a tenant that may have so many runs at once on all nodes together.
    pub fn within(self, everywhere: Option<usize>) -> Self {
        Self { everywhere, ..self }
    }
}

impl Elsewhere {
    fn count(&self, tenant: &TenantId) -> Arc<AtomicUsize> {
        let mut tenants = self.tenants.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tenants.entry(tenant.clone()).or_default().clone()
    }

    /// Says whether a run of this tenant would be taken in now: as many may be on their way as may wait, and run on all nodes. What other
    /// gateways have counts as they told lately.
    pub fn room(&self, tenant: &TenantId, share: Share, everywhere: Option<usize>) -> Result<(), String> {
        if self.gateway.outstanding() >= self.most {
            return Err("the queue is full".to_owned());
        }
        let own = self.count(tenant).load(Ordering::Relaxed);
        let others = self.gateway.elsewhere(Some(tenant));
        // A gateway that knows no worker yet takes itself for one.
        let run = everywhere.unwrap_or_else(|| self.gateway.places().max(share.concurrency));
        if own.saturating_add(others) >= share.waiting.saturating_add(run) {
            return Err("the tenant's queue is full".to_owned());
        }
        Ok(())
    }

    /// Sends a run; one that was sent `again` is first looked for.
    pub fn send(
        &self,
        tenant: &TenantId,
        share: Share,
        order: Order,
        wanted: &Wanted,
        again: bool,
    ) -> Result<There, String> {
        let (luggage, freight) = luggage::of(&self.machine, tenant, &order.spec)?;
        let outgoing = Outgoing {
            run: order.id.clone(),
            created_at: order.created_at.clone(),
            tenant: tenant.clone(),
            ceiling: wanted.everywhere,
            priority: share.priority,
            repeatable: wanted.repeatable,
            task: Task {
                spec: order.spec.clone(),
                allow_missing: order.allow_missing.clone(),
                packages: wanted.packages.clone(),
                auto_packages: wanted.auto_packages,
                luggage,
                offline: wanted.offline,
            },
            again,
            freight,
        };
        let counted = Counted::new(self.count(tenant));
        let away = self.gateway.send(outgoing).map_err(|error| error.to_string())?;
        Ok(There {
            away,
            order: Box::new(order),
            machine: self.machine.clone(),
            next: None,
            _counted: counted,
        })
    }

    /// Every node that lives, by name.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, Problem> {
        let nodes = self.gateway.nodes().await.map_err(problem)?;
        Ok(nodes
            .into_iter()
            .map(|node| NodeRow {
                name: node.name.to_string(),
                gateway: node.gateway,
                worker: node.worker,
                state: node.state.name().to_owned(),
                version: node.version,
                places: node.places,
                running: node.running,
                queued: node.queued,
                sessions: node.sessions,
                sessions_max: node.sessions_max,
                seen_at: worker::run::time(node.at_ms),
            })
            .collect())
    }

    /// Says what a node is to do from now on.
    pub async fn want(&self, name: &str, wish: NodeWish) -> Result<(), Problem> {
        let name: Name = name.parse()?;
        let state = match wish {
            NodeWish::Uncordon => NodeState::Ready,
            NodeWish::Cordon => NodeState::Cordoned,
            NodeWish::Drain => NodeState::Draining,
        };
        let known = self.gateway.nodes().await.map_err(problem)?;
        if !known.iter().any(|node| node.name == name) {
            let hint = "`fireclay nodes list` shows those that live";
            return Err(Problem::new(Kind::NotFound, format!("there is no node {name}"), hint));
        }
        self.gateway.want(&name, state).await.map_err(problem)
    }

    /// Rows for `/metrics`: name, meaning, value; and by template, free places of workers that have it prepared.
    pub async fn metrics(&self) -> (Vec<(&'static str, &'static str, u64)>, BTreeMap<String, u64>) {
        let mut rows = vec![
            (
                "cluster_outstanding",
                "Runs that this gateway sent and that are not settled",
                self.gateway.outstanding() as u64,
            ),
            (
                "cluster_held",
                "Runs that wait at this gateway for their tenant's turn",
                self.gateway.held() as u64,
            ),
            (
                "cluster_elsewhere",
                "Runs of other gateways that are not settled, as those told lately",
                self.gateway.elsewhere(None) as u64,
            ),
            (
                "cluster_refused",
                "Results and events that were refused, since the start",
                self.gateway.refused(),
            ),
        ];
        let mut prepared = BTreeMap::new();
        // Without an answer of NATS there is nothing to say.
        if let Ok(depth) = self.gateway.depth().await {
            rows.push(("cluster_waiting", "Runs in the cluster's queue that no worker has", depth.waiting));
            rows.push(("cluster_taken", "Runs that workers have", depth.taken));
            let oldest = depth.oldest_s as u64;
            rows.push(("cluster_oldest_seconds", "Age of the oldest run that is not settled", oldest));
            let waits = depth.oldest_waiting_s as u64;
            let help = "Age of the oldest run that no worker has, here or in the queue";
            rows.push(("cluster_oldest_waiting_seconds", help, waits));
            rows.push(("cluster_free", "Places of ready workers that nothing runs in", depth.free));
            prepared = depth.free_prepared;
        }
        (rows, prepared)
    }

    /// This machine takes no runs of others from now on.
    pub fn drain(&self) {
        self.worker.drain();
    }

    /// Leaves the list of nodes, when all know how sessions of this one ended.
    pub async fn leave(&self, service: &Service) {
        if let Some(ends) = service.sessions.ends.get() {
            ends.passed_on().await;
        }
        if let Err(error) = self.worker.leave().await {
            worker::log::warn(format_args!("{error}"));
        }
    }

    /// Returns when this machine, drained, has none left.
    pub async fn left(&self) {
        self.worker.left().await;
    }
}

fn problem(error: ClusterError) -> Problem {
    Problem::new(Kind::Unavailable, error.to_string(), "see that NATS answers, and ask again")
        .retry_safe(true)
}

/// Why a service does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It is the cluster's.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// It is our own.
    #[error("{0}")]
    Service(Problem),
}

impl From<Problem> for JoinError {
    fn from(problem: Problem) -> Self {
        Self::Service(problem)
    }
}

/// Connects to the servers that the settings name, with the credential that they name.
async fn connect(settings: &ClusterSettings) -> Result<Bus, ClusterError> {
    cluster::log::heard_by(|message| worker::log::warn(message));
    let identity = Identity::read(std::path::Path::new(&settings.credentials))?;
    Bus::connect(&settings.url, identity).await
}

/// Does runs of others, until SIGTERM or SIGINT, or until an operator drains this node; then until those that it has are over, the
/// drain's deadline, or another signal. `ready` is called when it can be given runs.
pub async fn work(
    service: &Arc<Service>,
    settings: &ClusterSettings,
    ready: impl FnOnce(&str),
) -> Result<(), JoinError> {
    let signals = |error| internal(format!("listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let bus = connect(settings).await?;
    let name = bus.identity.name.to_string();
    let bringer = Bringer::new(service.machine.clone(), bus.clone());
    let hands = Arc::new(MachineHands::new(service.clone(), bringer.clone()));
    let worker = tokio::select! {
        worker = Worker::join(bus.clone(), hands, (false, true)) => worker?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    // Kept for as long as sessions may be reached.
    let door = NodeDoor::new(service.clone(), bringer, worker.clone());
    let _links = Links::listen(bus.clone(), door, false).await?;
    saver::keep(service, bus.clone(), &worker);
    tell_ends(service, bus);
    let keeping = tokio::spawn(crate::keep_house(service.clone()));
    let relieving = tokio::spawn({
        let service = service.clone();
        async move { service.relieve_memory().await }
    });
    ready(&name);
    let mut working = tokio::spawn(worker.clone().work());
    let ended = |done: Result<Result<(), ClusterError>, tokio::task::JoinError>| match done {
        Ok(done) => done.map_err(JoinError::from),
        Err(error) => Err(internal(error.to_string()).into()),
    };
    let drained = tokio::select! {
        done = &mut working => Some(ended(done)),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    worker.drain();
    let patience = std::time::Duration::from_millis(service.settings.drain_timeout_ms);
    let leaving = async {
        service.drain();
        let runs = async {
            tokio::join!(service.live.empty(), async {
                if drained.is_none() { Some(working.await) } else { None }
            })
            .1
        };
        // What it has left is given to others when its leases end.
        let working = tokio::time::timeout(patience, runs).await.ok().flatten();
        service.sessions.end_all("its node was drained");
        drop(tokio::time::timeout(patience, service.sessions.empty()).await);
        if let Some(ends) = service.sessions.ends.get() {
            drop(tokio::time::timeout(patience, ends.passed_on()).await);
        }
        // Of a twin, the place in the list is another's.
        if !matches!(drained, Some(Err(_))) {
            worker.leave().await?;
        }
        match (drained, working) {
            (Some(drained), _) => drained,
            (None, Some(done)) => ended(done),
            (None, None) => Ok(()),
        }
    };
    let left = tokio::select! {
        left = leaving => left,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    keeping.abort();
    relieving.abort();
    // Also of one that is told to end at once: their keepers would wait for ever.
    service.sessions.end_all("its node ended");
    left
}

/// Tells other nodes how sessions of this one end, for as long as the process lives.
fn tell_ends(service: &Service, bus: Bus) {
    let (ends, mut came, passed) = Ends::new();
    if service.sessions.ends.set(ends).is_err() {
        return;
    }
    tokio::spawn(async move {
        while let Some((id, epoch, end)) = came.recv().await {
            let store::SessionEnd { at_ms, why, detail, files_until_ms, .. } = end;
            cluster::sessions::tell_end(
                &bus,
                &id,
                &End { at_ms, why, detail, files_until_ms, epoch, by_gateway: false },
            )
            .await;
            passed.send_modify(|passed| *passed += 1);
        }
    });
}

/// Makes this service a gateway, and a worker unless the settings say otherwise. Runs that the process before left on other nodes are
/// followed again; their ids are returned, so that nobody says that they are interrupted.
pub async fn join(service: &Arc<Service>) -> Result<BTreeSet<RunId>, JoinError> {
    let bus = connect(&service.settings.cluster).await?;
    let gateway = Gateway::join(bus.clone()).await?;
    let bringer = Bringer::new(service.machine.clone(), bus.clone());
    let hands = Arc::new(MachineHands::new(service.clone(), bringer.clone()));
    let worker = Worker::join(bus.clone(), hands, (true, service.settings.cluster.worker)).await?;
    let directory = Directory::watch(bus.clone()).await?;
    let door = NodeDoor::new(service.clone(), bringer, worker.clone());
    let links = Links::listen(bus.clone(), door, true).await?;
    saver::keep(service, bus.clone(), &worker);
    tell_ends(service, bus);
    tokio::spawn(told(service.clone(), worker.clone().work()));
    let settings = &service.settings;
    let most = settings.queue + service.machine.load().places;
    let elsewhere = Elsewhere {
        gateway: gateway.clone(),
        machine: service.machine.clone(),
        most,
        tenants: std::sync::Mutex::default(),
        worker,
        directory,
        links,
        reopening: reopen::Turns::default(),
    };
    if service.elsewhere.set(elsewhere).is_err() {
        return Err(internal("the service has joined before".to_owned()).into());
    }
    let adopted = adopt::adopt(service).await?;
    gateway.listen().await?;
    Ok(adopted)
}

/// Says it if this node's part ends by a failure: then another is this gateway, and this one takes nothing in any more.
async fn told(service: Arc<Service>, work: impl Future<Output = Result<(), ClusterError>>) {
    if let Err(error) = work.await {
        worker::log::warn(format_args!("{error}"));
        service.drain();
    }
}
