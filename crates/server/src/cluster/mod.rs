//! Other nodes: a service sends its runs to them, and a machine does those of others.

mod hands;

pub use hands::MachineHands;

use crate::http::nodes::{NodeRow, NodeWish};
use crate::live::LiveRun;
use crate::problem::{Kind, Problem};
use crate::service::{Service, internal, read};
use crate::settings::ClusterSettings;
use crate::way::Way;
use cluster::gateway::{Canceller, Outgoing};
use cluster::{Away, Bus, ClusterError, Gateway, Identity, Name, News, NodeState, Task, Worker};
use model::result::RunState;
use model::{Outcome, RunId, RunRequest, RunResult, RunSpec, TenantId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{Filter, Page, Reader, Scope};
use tokio::signal::unix::{SignalKind, signal};
use worker::machine::{Event, Machine, Order};
use worker::pool::Stream;
use worker::queue::Share;

/// Runs that are read at once when the service starts.
const PAGE: usize = 500;

/// What becomes of runs that are handed to other nodes.
#[derive(Debug)]
pub struct Elsewhere {
    gateway: Arc<Gateway>,
    machine: Machine,
    /// Runs of all tenants that may be on their way.
    most: usize,
    /// Runs of each tenant that are.
    tenants: std::sync::Mutex<std::collections::BTreeMap<TenantId, Arc<AtomicUsize>>>,
    /// What this machine does for all, if it does.
    worker: Option<Arc<Worker>>,
}

/// What other nodes have to know of a run, beside its spec.
#[derive(Debug, Clone)]
pub struct Wanted {
    packages: Vec<String>,
    auto_packages: bool,
    repeatable: bool,
}

/// A run that other nodes have.
#[derive(Debug)]
pub struct There {
    away: Away,
    order: Box<Order>,
    machine: Machine,
    _counted: Counted,
}

/// A run of a tenant on its way, as long as this is there.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes such a run back.
pub type Withdrawal = Canceller;

impl Wanted {
    /// What a request says.
    pub fn of(request: &RunRequest) -> Self {
        Self {
            packages: request.packages.clone(),
            auto_packages: request.auto_packages,
            repeatable: request.repeatable.unwrap_or(true),
        }
    }
}

impl Elsewhere {
    fn count(&self, tenant: &TenantId) -> Arc<AtomicUsize> {
        let mut tenants = self.tenants.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tenants.entry(tenant.clone()).or_default().clone()
    }

    /// Says whether a run of this tenant would be taken in now: as many may be on their way from here as may wait and run here.
    pub fn room(&self, tenant: &TenantId, share: Share) -> Result<(), String> {
        if self.gateway.outstanding() >= self.most {
            return Err("the queue is full".to_owned());
        }
        let own = self.count(tenant).load(Ordering::Relaxed);
        if own >= share.waiting.saturating_add(share.concurrency) {
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
        let outgoing = Outgoing {
            run: order.id.clone(),
            created_at: order.created_at.clone(),
            tenant: tenant.clone(),
            concurrency: share.concurrency,
            priority: share.priority,
            repeatable: wanted.repeatable,
            task: Task {
                spec: order.spec.clone(),
                allow_missing: order.allow_missing.clone(),
                packages: wanted.packages.clone(),
                auto_packages: wanted.auto_packages,
            },
            again,
        };
        let count = self.count(tenant);
        count.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(count);
        let away = self.gateway.send(outgoing).map_err(|error| error.to_string())?;
        Ok(There { away, order: Box::new(order), machine: self.machine.clone(), _counted: counted })
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

    /// Rows for `/metrics`: name, meaning, value.
    pub async fn metrics(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut rows = vec![
            (
                "cluster_outstanding",
                "Runs that this gateway sent and that are not settled",
                self.gateway.outstanding() as u64,
            ),
            (
                "cluster_refused",
                "Results and events that were refused, since the start",
                self.gateway.refused(),
            ),
        ];
        // Without an answer of NATS there is nothing to say.
        if let Ok(depth) = self.gateway.depth().await {
            rows.push(("cluster_waiting", "Runs in the cluster's queue that no worker has", depth.waiting));
            rows.push(("cluster_taken", "Runs that workers have", depth.taken));
            let oldest = depth.oldest_s as u64;
            rows.push(("cluster_oldest_seconds", "Age of the oldest run that is not settled", oldest));
            rows.push(("cluster_free", "Places of ready workers that nothing runs in", depth.free));
        }
        rows
    }

    /// This machine takes no runs of others from now on.
    pub fn drain(&self) {
        if let Some(worker) = &self.worker {
            worker.drain();
        }
    }

    /// Returns when this machine, drained, has none left.
    pub async fn left(&self) {
        if let Some(worker) = &self.worker {
            worker.left().await;
        }
    }
}

impl There {
    /// Waits for the next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        Some(match self.away.next().await? {
            News::Started => Event::Started,
            News::Output { stderr, bytes } => {
                Event::Output(if stderr { Stream::Stderr } else { Stream::Stdout }, bytes)
            }
            News::Egress(attempt) => Event::Egress(attempt),
            News::Fault(fault) => Event::Settled(Box::new(self.machine.result_of_fault(&self.order, fault))),
            News::Cancelled => Event::Settled(Box::new(self.cancelled())),
            News::Settled(result, files) => Event::Settled(Box::new(self.arrived(*result, files).await)),
        })
    }

    fn cancelled(&self) -> RunResult {
        let mut result = self.machine.denied((*self.order).clone(), Vec::new());
        result.outcome = Some(Outcome::Cancelled);
        result.digests.outputs = worker::run::outputs_digest(&result);
        result
    }

    /// Puts the files of a result where those of this machine's runs lie.
    async fn arrived(&self, result: RunResult, files: Vec<Vec<u8>>) -> RunResult {
        if files.is_empty() {
            return result;
        }
        let directory = arrived_of(&self.machine, &self.order.id);
        let write = async {
            tokio::fs::create_dir_all(&directory).await?;
            for (index, content) in files.into_iter().enumerate() {
                tokio::fs::write(directory.join(index.to_string()), content).await?;
            }
            std::io::Result::Ok(())
        };
        match write.await {
            Ok(()) => result,
            Err(error) => {
                let fault = model::Fault::new(
                    model::FaultCode::ResourcesExhausted,
                    format!("keep artifacts: {error}"),
                );
                self.machine.result_of_fault(&self.order, fault)
            }
        }
    }

    /// What takes it back.
    pub fn canceller(&self) -> Withdrawal {
        self.away.canceller()
    }

    /// Says that its end is in the store.
    pub async fn recorded(&self) {
        self.away.recorded().await;
    }
}

/// Where artifacts lie that came from another node: this machine may run the same run, too.
pub fn arrived_of(machine: &Machine, id: &RunId) -> PathBuf {
    machine.artifacts_of(id).with_extension("arrived")
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
    let worker = tokio::select! {
        worker = Worker::join(bus, Arc::new(MachineHands::new(service.clone())), false) => worker?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    ready(&name);
    let mut working = tokio::spawn(worker.clone().work());
    let ended = |done: Result<Result<(), ClusterError>, tokio::task::JoinError>| match done {
        Ok(done) => done.map_err(JoinError::from),
        Err(error) => Err(internal(error.to_string()).into()),
    };
    tokio::select! {
        done = &mut working => return ended(done),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    worker.drain();
    let patience = std::time::Duration::from_millis(service.settings.drain_timeout_ms);
    tokio::select! {
        done = &mut working => ended(done),
        // What it has left is given to others when its leases end.
        () = tokio::time::sleep(patience) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Makes this service a gateway, and a worker unless the settings say otherwise. Runs that the process before left on other nodes are
/// followed again; their ids are returned, so that nobody says that they are interrupted.
pub async fn join(service: &Arc<Service>) -> Result<BTreeSet<RunId>, JoinError> {
    let bus = connect(&service.settings.cluster).await?;
    let gateway = Gateway::join(bus.clone()).await?;
    let worker = if service.settings.cluster.worker {
        let worker = Worker::join(bus, Arc::new(MachineHands::new(service.clone())), true).await?;
        tokio::spawn(told(worker.clone().work()));
        Some(worker)
    } else {
        None
    };
    let settings = &service.settings;
    let most = settings.queue + service.machine.load().places;
    let elsewhere = Elsewhere {
        gateway: gateway.clone(),
        machine: service.machine.clone(),
        most,
        tenants: std::sync::Mutex::default(),
        worker,
    };
    if service.elsewhere.set(elsewhere).is_err() {
        return Err(internal("the service has joined before".to_owned()).into());
    }
    let adopted = adopt(service).await?;
    gateway.listen().await?;
    Ok(adopted)
}

/// Says it if a worker's part ends by a failure.
async fn told(work: impl Future<Output = Result<(), ClusterError>>) {
    if let Err(error) = work.await {
        worker::log::warn(format_args!("{error}"));
    }
}

/// Follows again what the process before had sent. Runs of sessions and batches ended with it.
async fn adopt(service: &Arc<Service>) -> Result<BTreeSet<RunId>, Problem> {
    let mut adopted = BTreeSet::new();
    for state in [RunState::Queued, RunState::Running] {
        let mut cursor = None;
        loop {
            let filter = Filter { state: Some(state), ..Filter::default() };
            let page = Page { limit: PAGE, cursor };
            let listed =
                read(&service.reader, move |reader| reader.runs(&Scope::Admin, &filter, &page)).await?;
            for row in listed.items {
                if row.session.is_none() && row.batch.is_none() && adopt_one(service, &row.id).await.is_some()
                {
                    adopted.insert(row.id);
                }
            }
            cursor = listed.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(adopted)
}

/// `None` if what was asked cannot be asked any more: then it is interrupted, as everything is that a service leaves.
async fn adopt_one(service: &Arc<Service>, id: &RunId) -> Option<()> {
    let wanted_id = id.clone();
    let record =
        read(&service.reader, move |reader: &Reader| reader.run(&Scope::Admin, &wanted_id)).await.ok()??;
    let request: RunRequest = serde_json::from_str(&record.request).ok()?;
    let tenant = record.row.tenant;
    let wanted = Wanted::of(&request);
    let spec: RunSpec = service.admit(&tenant, request).await.ok()?;
    let share = service.quotas.of(&service.reader, &tenant).await.ok()?.share;
    let created_at = worker::run::time(record.row.created_at_ms);
    let order = Order { id: id.clone(), created_at, spec, allow_missing: service.allow_missing() };
    let elsewhere = service.elsewhere.get()?;
    let there = elsewhere.send(&tenant, share, order, &wanted, true).ok()?;
    let live = LiveRun::new(tenant, None);
    service.live.insert(id.as_str(), live.clone());
    live.can_be_cancelled_by(crate::way::TakeBack::There(there.canceller()));
    live.is_taken_in();
    tokio::spawn(service.clone().follow(id.clone(), live, Way::There(there), None, None));
    Some(())
}
