//! One machine at work: takes runs in, gives each its turn and a sandbox, and tells what happens to it.

use crate::habits::Habits;
use crate::image::Image;
use crate::image::environment::EnvironmentStore;
use crate::image::packages::PackageStore;
use crate::image::pythons::Pythons;
use crate::installer::{InstallSettings, Installer};
use crate::lanes::Lanes;
use crate::phases::{Measured, Phase, Phases};
use crate::pool::{Pool, PoolLoad, PoolSize, Stream};
use crate::proxies::Proxies;
use crate::queue::{Age, FairQueue, Full, Places, Share};
use crate::run::{result_of_cancelled, result_of_denied, result_of_fault, root_of};
use crate::session::{How, Session};
use crate::spawner::{Job, Shape, Warm};
use crate::template::{NotReady, Prepared, TemplateStore, Templates};
use model::{
    EgressAttempt, Fault, FaultCode, Finding, Language, Layer, Limits, RunId, RunResult, RunSpec, SessionId,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

mod alone;
mod in_session;
mod templates;

/// How many things that happened may wait for the one who listens; then the run waits too.
const HAPPENED_MAX: usize = 64;
/// How long a run is young: most are over by then, and one that is not may take any time.
const YOUNG: Duration = Duration::from_millis(50);

/// One machine. Cheap to clone; all clones are the same machine. Needs a tokio runtime.
#[derive(Debug, Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

/// What a machine is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where sandboxes come from.
    pub pool: Pool,
    /// What they see.
    pub image: Image,
    /// The same with other Pythons.
    pub pythons: Pythons,
    /// By whom they reach hosts.
    pub proxies: Proxies,
    /// What some see laid over it.
    pub environments: EnvironmentStore,
    /// What tenants asked for over that.
    pub packages: PackageStore,
    /// What sandboxes are made from that is not shipped.
    pub templates: TemplateStore,
    /// Who may ask for what.
    pub install: InstallSettings,
    /// Where artifacts of runs are put down, a directory for each run that leaves any. Whoever takes them removes it.
    pub artifacts: PathBuf,
    /// Runs at once.
    pub places: Places,
    /// Runs that may wait.
    pub waiting_max: usize,
    /// Bytes of code, input and files that may wait with them.
    pub waiting_bytes_max: u64,
    /// Sandboxes that may wait for runs.
    pub size: PoolSize,
    /// What a run is limited to that names no limits: of this shape some sandboxes always wait.
    pub limits: Limits,
    /// Layers that sandboxes may do without.
    pub allow_missing: BTreeSet<Layer>,
}

/// One run to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// The run.
    pub id: RunId,
    /// When it was admitted, RFC 3339 in UTC.
    pub created_at: String,
    /// What to run.
    pub spec: RunSpec,
    /// Layers that may be absent if the machine lacks them.
    pub allow_missing: BTreeSet<Layer>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    proxies: Proxies,
    image: sandbox::Image,
    /// What a run has for which nothing was said.
    usual: Shape,
    templates: Templates,
    installer: Installer,
    artifacts: PathBuf,
    queue: Mutex<FairQueue<Pending>>,
    /// Runs of sessions that wait for the one before them.
    lanes: Mutex<Lanes<Pending>>,
    idle: Notify,
    phases: Phases,
    habits: Habits,
}

#[derive(Debug)]
struct Pending {
    job: Box<Job>,
    /// Or why there is none.
    shape: Result<Box<Shape>, Fault>,
    since: Instant,
    events: mpsc::Sender<Event>,
    cancel: Arc<Notify>,
    /// The session that it is a run of.
    session: Option<(Session, How)>,
    tenant: String,
    share: Share,
    weight: u64,
    /// Its place in the queue, once it has one.
    number: Arc<AtomicU64>,
    /// Keeps what its sandbox is made from.
    hold: Option<Arc<Prepared>>,
}

/// What happens to a submitted run, in this order: started at most once, output, then settled.
#[derive(Debug)]
pub enum Event {
    /// It has a place.
    Started,
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// It tried to reach a host.
    Egress(EgressAttempt),
    /// Where its time went: the last event but one, if it had a sandbox.
    Measured(Measured),
    /// It is settled: the last event.
    Settled(Box<RunResult>),
}

/// A submitted run. It goes on when this is dropped, unless its events are not read: then it waits at [`HAPPENED_MAX`] of them.
#[derive(Debug)]
pub struct Ticket {
    events: mpsc::Receiver<Event>,
    canceller: Canceller,
}

/// Takes a run back; outlives the ticket.
#[derive(Debug, Clone)]
pub struct Canceller {
    machine: Machine,
    tenant: String,
    /// The lane that it may wait in, and its name there.
    lane: Option<(SessionId, RunId)>,
    number: Arc<AtomicU64>,
    cancel: Arc<Notify>,
}

/// How busy a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Runs at once, at most.
    pub places: usize,
    /// Runs that have a place.
    pub running: usize,
    /// Runs that wait for one.
    pub queued: usize,
}

/// The shape of the sandbox that a run with these limits needs: time and output are watched from outside.
fn shape_of(
    image: sandbox::Image,
    limits: &Limits,
    allow_missing: BTreeSet<Layer>,
    ahead: Option<Language>,
    egress: bool,
) -> Shape {
    let limits = Limits { timeout_ms: 0, output_bytes: 0, ..*limits };
    Shape { image, limits, allow_missing, ahead, modules: Vec::new(), egress }
}

/// What was found when it was checked may be gone.
fn fault_of(not: NotReady) -> Fault {
    match not {
        NotReady::Fault(fault) => fault,
        NotReady::Rejected(rejection) => Fault::new(FaultCode::ResourcesExhausted, rejection.to_string()),
    }
}

impl Machine {
    /// A machine at rest.
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, proxies, image, environments, artifacts, places, .. } = parts;
        let (waiting_max, waiting_bytes_max) = (parts.waiting_max, parts.waiting_bytes_max);
        let queue = Mutex::new(FairQueue::new(places, waiting_max, waiting_bytes_max));
        let installer = Installer::new(
            parts.pythons.clone(),
            (parts.packages.clone(), environments.clone(), parts.templates.clone()),
            (pool.clone(), &proxies),
            parts.install,
            parts.allow_missing.clone(),
        );
        let templates = Templates::new(parts.pythons, environments, parts.packages, parts.templates);
        let image = root_of(&image);
        let warm = Warm { image: image.clone(), modules: Vec::new(), rehearsals: Vec::new() };
        let shape = |ahead| shape_of(image.clone(), &parts.limits, parts.allow_missing.clone(), ahead, false);
        // Of each language one, of the one that most programs are in as many as was said; a second comes with the first program.
        let one = parts.size.min.min(1);
        let mut shapes = vec![(shape(Some(Language::Python)), parts.size.min), (shape(None), one)];
        if image.node.is_some() {
            shapes.push((shape(Some(Language::JavaScript)), one));
        }
        let usual = shape(None);
        pool.open(parts.size, shapes, warm);
        let lanes = Mutex::default();
        let idle = Notify::new();
        let phases = Phases::default();
        Self {
            inner: Arc::new(Inner {
                pool,
                proxies,
                image,
                usual,
                templates,
                installer,
                artifacts,
                queue,
                lanes,
                idle,
                phases,
                habits: Habits::default(),
            }),
        }
    }

    /// Says whether its template can run this at all, and sees that a zygote of it is on its way.
    pub fn check(&self, tenant: &str, spec: &RunSpec) -> Result<(), NotReady> {
        let prepared = self.inner.templates.of(spec)?;
        sandbox::command::Command::of(spec, &prepared.image)?;
        spec.egress.iter().try_for_each(|asked| self.inner.proxies.admit(tenant, asked))?;
        self.have_warm(&prepared);
        Ok(())
    }

    /// Who installs packages for runs of this machine.
    pub fn installer(&self) -> &Installer {
        &self.inner.installer
    }

    fn have_warm(&self, prepared: &Prepared) {
        // That of the image alone is warm from the start, and what a tenant chose to have is imported in no zygote.
        if prepared.image != self.inner.image && !prepared.template.is_tenants() {
            let Prepared { image, template, .. } = prepared;
            let (modules, rehearsals) = (template.modules(), template.rehearsals());
            self.inner.pool.have_warm(Warm { image: image.clone(), modules, rehearsals });
        }
    }

    /// Where the artifacts of a settled run lie: the n-th of its result is the file `n` there.
    pub fn artifacts_of(&self, id: &RunId) -> PathBuf {
        self.inner.artifacts.join(id.as_str())
    }

    /// Tells an order that we could not carry out.
    pub fn result_of_fault(&self, order: &Order, fault: Fault) -> RunResult {
        result_of_fault(order.id.clone(), order.created_at.clone(), &order.spec, &self.inner.image, fault)
    }

    /// What a run sees, or would see.
    fn image_of<'a>(&'a self, shape: &'a Result<Box<Shape>, Fault>) -> &'a sandbox::Image {
        shape.as_ref().map_or(&self.inner.image, |shape| &shape.image)
    }

    /// The result of a run that the static check refused.
    pub fn denied(&self, order: Order, findings: Vec<Finding>) -> RunResult {
        result_of_denied(order.id, order.created_at, &order.spec, &self.inner.image, findings)
    }

    /// The digest of the image.
    pub fn image_digest(&self) -> &str {
        &self.inner.image.digest
    }

    /// Says whether a run of this tenant would be taken in now.
    pub fn room(&self, tenant: &str, share: Share) -> Result<(), Full> {
        let beside = self.lanes().beside(tenant);
        self.queue().room(tenant, share, beside)
    }

    /// Takes a run in, or says which queue is full.
    pub fn submit(&self, tenant: &str, share: Share, order: Order) -> Result<Ticket, Full> {
        let Order { id, created_at, spec, allow_missing } = order;
        let ahead = Some(spec.language).filter(|_| sandbox::command::may_be_started_ahead(&spec));
        let (prepared, egress) = (self.inner.templates.of_tenant(tenant, &spec), spec.egress.is_some());
        let hold = prepared.as_ref().ok().cloned();
        let shape = |prepared: Arc<Prepared>| {
            let image = self.trusting(&prepared.image, &spec);
            let shape = shape_of(image, &spec.limits, allow_missing, ahead, egress);
            Box::new(self.with_habits(shape, &spec, &prepared.template))
        };
        let shape = prepared.map(shape).map_err(fault_of);
        let job = Job { artifacts: self.artifacts_of(&id), id, created_at, spec };
        let (ticket, mut pending) = self.pend(tenant, share, job, shape, None);
        pending.hold = hold;
        self.queue_up(pending)?;
        Ok(ticket)
    }

    /// The image of a run, with what it trusts whoever puts its secrets in by.
    fn trusting(&self, image: &sandbox::Image, spec: &RunSpec) -> sandbox::Image {
        let layer = self.inner.proxies.layer(spec.egress.as_ref());
        sandbox::Image { layers: layer.into_iter().chain(image.layers.clone()).collect(), ..image.clone() }
    }

    fn pend(
        &self,
        tenant: &str,
        share: Share,
        job: Job,
        shape: Result<Box<Shape>, Fault>,
        session: Option<(Session, How)>,
    ) -> (Ticket, Pending) {
        let files = job.spec.files.iter().map(|file| file.content.as_bytes().len());
        let weight = files.chain([job.spec.code.len(), job.spec.stdin.len()]).sum::<usize>() as u64;
        let (sender, events) = mpsc::channel(HAPPENED_MAX);
        let (cancel, number) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
        let lane = session.as_ref().map(|(session, _)| (session.id().clone(), job.id.clone()));
        let canceller = Canceller {
            machine: self.clone(),
            tenant: tenant.to_owned(),
            lane,
            number: number.clone(),
            cancel: cancel.clone(),
        };
        let pending = Pending {
            job: Box::new(job),
            shape,
            since: Instant::now(),
            events: sender,
            cancel,
            session,
            tenant: tenant.to_owned(),
            share,
            weight,
            number,
            hold: None,
        };
        (Ticket { events, canceller }, pending)
    }

    fn queue_up(&self, pending: Pending) -> Result<(), Full> {
        let (tenant, share, weight) = (pending.tenant.clone(), pending.share, pending.weight);
        let number = pending.number.clone();
        let beside = self.lanes().beside(&tenant);
        {
            let mut queue = self.queue();
            // Before another thread can take it out again.
            number.store(queue.push(&tenant, share, beside, (weight, pending))?, Ordering::Relaxed);
        }
        self.dispatch();
        Ok(())
    }

    /// How busy it is now.
    pub fn load(&self) -> Load {
        let lanes = self.lanes().waiting();
        let queue = self.queue();
        Load { places: queue.places(), running: queue.taken(), queued: queue.waiting() + lanes }
    }

    /// Returns when nothing runs and nothing waits.
    pub async fn idle(&self) {
        loop {
            let mut notified = std::pin::pin!(self.inner.idle.notified());
            // Registered before the look, so that no change falls between.
            notified.as_mut().enable();
            let load = self.load();
            if load.running + load.queued == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Returns when a place or a place in the queue was given back after the call. Others may have taken it since.
    pub fn released(&self) -> impl Future<Output = ()> + Send + '_ {
        self.inner.idle.notified()
    }

    /// Where the time of runs went.
    pub fn phases(&self) -> &Phases {
        &self.inner.phases
    }

    /// How many sandboxes wait.
    pub fn pool(&self) -> PoolLoad {
        self.inner.pool.load()
    }

    /// The process id of the spawner, for tests and reports.
    pub fn spawner_id(&self) -> u32 {
        self.inner.pool.spawner_id()
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue<Pending>> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every free place to who is next.
    fn dispatch(&self) {
        // The lock is not held while a run starts.
        while let Some((tenant, pending)) = { self.queue().take() } {
            let machine = self.clone();
            tokio::spawn(async move {
                let Pending { job, shape, since, events, cancel, session, hold: _hold, .. } = pending;
                let queued = since.elapsed();
                machine.inner.phases.add(Phase::Queue, queued);
                let execution = async {
                    match &session {
                        Some((session, how)) => {
                            machine.execute_in(session, how, &job, &events, &cancel).await
                        }
                        None => machine.execute((&tenant, &job), &shape, &events, &cancel).await,
                    }
                };
                let mut execution = std::pin::pin!(execution);
                let (mut result, age) = match tokio::time::timeout(YOUNG, &mut execution).await {
                    Ok(result) => (result, Age::Young),
                    Err(_) => {
                        machine.queue().age();
                        machine.dispatch();
                        (execution.await, Age::Old)
                    }
                };
                result.usage.queue_ms = queued.as_millis() as u64;
                machine.queue().release(&tenant, age);
                if let Some((session, How::State { .. })) = &session {
                    machine.leave_lane(session.id());
                }
                machine.dispatch();
                machine.inner.idle.notify_waiters();
                // Nobody may be listening any more.
                drop(events.send(Event::Settled(result)).await);
            });
        }
    }
}

impl Ticket {
    /// Waits for the next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// What takes the run back.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }
}

impl Canceller {
    /// Takes the run back: queued, it settles at once; running, as soon as it is dead; settled, nothing happens.
    pub fn cancel(&self) {
        let lane = self.lane.as_ref();
        let in_lane = lane.and_then(|(lane, id)| self.machine.lanes().remove(lane.as_str(), id.as_str()));
        let was_in_lane = in_lane.is_some();
        let number = self.number.load(Ordering::Relaxed);
        let waiting = in_lane.or_else(|| self.machine.queue().remove(&self.tenant, number));
        let Some(Pending { job, shape, since, events, session, .. }) = waiting else {
            // Kept for one who asks before the run listens.
            self.cancel.notify_one();
            return;
        };
        let image = self.machine.image_of(&shape);
        let mut result = result_of_cancelled(job.id, job.created_at, &job.spec, image);
        result.usage.queue_ms = since.elapsed().as_millis() as u64;
        result.session = session.as_ref().map(|(session, _)| session.id().to_string());
        if let (false, Some((session, How::State { .. }))) = (was_in_lane, &session) {
            // It was the one whose turn it was.
            self.machine.leave_lane(session.id());
        }
        tokio::spawn(async move { drop(events.send(Event::Settled(Box::new(result))).await) });
        self.machine.inner.idle.notify_waiters();
    }
}
