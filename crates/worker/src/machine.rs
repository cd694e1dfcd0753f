//! One machine at work: takes runs in, gives each its turn and a sandbox, and tells what happens to it.

use crate::image::Image;
use crate::image::environment::EnvironmentStore;
use crate::phases::{Phase, Phases};
use crate::pool::{Happened, Pool, PoolLoad, PoolSize, Stream};
use crate::queue::{FairQueue, Full, Share};
use crate::run::{result_of_cancelled, result_of_denied, result_of_fault, root_of};
use crate::spawner::{Job, Shape, Warm};
use crate::template::{NotReady, Prepared, Template, Templates};
use model::{Fault, FaultCode, Finding, Language, Layer, Limits, RunId, RunResult, RunSpec};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};

/// How many things that happened may wait for the one who listens; then the run waits too.
const HAPPENED_MAX: usize = 64;

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
    /// What some see laid over it.
    pub environments: EnvironmentStore,
    /// Where artifacts of runs are put down, a directory for each run that leaves any. Whoever takes them removes it.
    pub artifacts: PathBuf,
    /// Runs at once.
    pub places: usize,
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
    image: sandbox::Image,
    templates: Templates,
    artifacts: PathBuf,
    queue: Mutex<FairQueue<Pending>>,
    idle: Notify,
    phases: Phases,
}

#[derive(Debug)]
struct Pending {
    job: Box<Job>,
    /// Or why there is none.
    shape: Result<Box<Shape>, Fault>,
    since: Instant,
    events: mpsc::Sender<Event>,
    cancel: Arc<Notify>,
}

/// What happens to a submitted run, in this order: started at most once, output, then settled.
#[derive(Debug)]
pub enum Event {
    /// It has a place.
    Started,
    /// It wrote something.
    Output(Stream, Vec<u8>),
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
    number: u64,
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
) -> Shape {
    let limits = Limits { timeout_ms: 0, output_bytes: 0, ..*limits };
    Shape { image, limits, allow_missing, ahead }
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
        let Parts { pool, image, environments, artifacts, places, waiting_max, waiting_bytes_max, .. } =
            parts;
        let queue = Mutex::new(FairQueue::new(places, waiting_max, waiting_bytes_max));
        let templates = Templates::new(image.clone(), environments);
        let image = root_of(&image);
        let warm = Warm { image: image.clone(), modules: Vec::new(), rehearsals: Vec::new() };
        let shape = |ahead| shape_of(image.clone(), &parts.limits, parts.allow_missing.clone(), ahead);
        // Of each language one, of the one that most programs are in as many as was said; a second comes with the first program.
        let one = parts.size.min.min(1);
        let mut shapes = vec![(shape(Some(Language::Python)), parts.size.min), (shape(None), one)];
        if image.node.is_some() {
            shapes.push((shape(Some(Language::JavaScript)), one));
        }
        pool.open(parts.size, shapes, warm);
        let idle = Notify::new();
        let phases = Phases::default();
        Self { inner: Arc::new(Inner { pool, image, templates, artifacts, queue, idle, phases }) }
    }

    /// Says whether its template can run this at all, and sees that a zygote of it is on its way.
    pub fn check(&self, spec: &RunSpec) -> Result<(), NotReady> {
        let prepared = self.inner.templates.of(spec)?;
        sandbox::command::Command::of(spec, &prepared.image)?;
        self.have_warm(&prepared);
        Ok(())
    }

    /// Has an interpreter of this template warm from now on; `false` if its packages are not installed. An unknown name is an error.
    pub fn warm(&self, template: &str) -> Result<bool, NotReady> {
        match self.inner.templates.prepare(Template::find(template)?) {
            Ok(prepared) => {
                self.have_warm(&prepared);
                Ok(true)
            }
            Err(NotReady::Rejected(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn have_warm(&self, prepared: &Prepared) {
        // That of the image alone is warm from the start.
        if prepared.image != self.inner.image {
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
        self.queue().room(tenant, share)
    }

    /// Takes a run in, or says which queue is full.
    pub fn submit(&self, tenant: &str, share: Share, order: Order) -> Result<Ticket, Full> {
        let Order { id, created_at, spec, allow_missing } = order;
        let files = spec.files.iter().map(|file| file.content.as_bytes().len());
        let weight = files.chain([spec.code.len(), spec.stdin.len()]).sum::<usize>() as u64;
        let ahead = Some(spec.language).filter(|_| sandbox::command::may_be_started_ahead(&spec));
        let prepared = self.inner.templates.of(&spec);
        let shape = prepared
            .map(|prepared| Box::new(shape_of(prepared.image.clone(), &spec.limits, allow_missing, ahead)))
            .map_err(fault_of);
        let job = Job { artifacts: self.artifacts_of(&id), id, created_at, spec };
        let (sender, events) = mpsc::channel(HAPPENED_MAX);
        let cancel = Arc::new(Notify::new());
        let pending = Pending {
            job: Box::new(job),
            shape,
            since: Instant::now(),
            events: sender,
            cancel: cancel.clone(),
        };
        let number = self.queue().push(tenant, share, weight, pending)?;
        self.dispatch();
        let canceller = Canceller { machine: self.clone(), tenant: tenant.to_owned(), number, cancel };
        Ok(Ticket { events, canceller })
    }

    /// How busy it is now.
    pub fn load(&self) -> Load {
        let queue = self.queue();
        Load { places: queue.places(), running: queue.taken(), queued: queue.waiting() }
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
    pub async fn released(&self) {
        self.inner.idle.notified().await;
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
                let Pending { job, shape, since, events, cancel } = pending;
                let queued = since.elapsed();
                machine.inner.phases.add(Phase::Queue, queued);
                let mut result = machine.execute(&job, &shape, &events, &cancel).await;
                result.usage.queue_ms = queued.as_millis() as u64;
                machine.queue().release(&tenant);
                machine.dispatch();
                machine.inner.idle.notify_waiters();
                // Nobody may be listening any more.
                drop(events.send(Event::Settled(result)).await);
            });
        }
    }

    async fn execute(
        &self,
        job: &Job,
        shape: &Result<Box<Shape>, Fault>,
        events: &mpsc::Sender<Event>,
        cancel: &Notify,
    ) -> Box<RunResult> {
        let followed = match shape {
            Ok(shape) => self.follow(job, shape, events, cancel).await,
            Err(fault) => Err(fault.clone()),
        };
        followed.unwrap_or_else(|fault| {
            let (id, created_at) = (job.id.clone(), job.created_at.clone());
            Box::new(result_of_fault(id, created_at, &job.spec, self.image_of(shape), fault))
        })
    }

    async fn follow(
        &self,
        job: &Job,
        shape: &Shape,
        events: &mpsc::Sender<Event>,
        cancel: &Notify,
    ) -> Result<Box<RunResult>, Fault> {
        let (pool, began) = (&self.inner.pool, Instant::now());
        // One that waited may have died since it was looked at; what it never got may be given to another.
        let running = pool.lease(shape)?.run(job).or_else(|_| pool.lease(shape)?.run(job));
        let mut running = running?;
        self.inner.phases.add(Phase::Lease, began.elapsed());
        // A listener that is gone does not end a run.
        drop(events.send(Event::Started).await);
        loop {
            tokio::select! {
                happened = running.next() => match happened? {
                    Happened::Output(stream, bytes) => drop(events.send(Event::Output(stream, bytes)).await),
                    Happened::Settled(result, measured) => {
                        self.inner.phases.add_measured(&measured);
                        return Ok(result);
                    }
                },
                () = cancel.notified() => running.cancel(),
            }
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
        let waiting = self.machine.queue().remove(&self.tenant, self.number);
        let Some(Pending { job, shape, since, events, .. }) = waiting else {
            // Kept for one who asks before the run listens.
            self.cancel.notify_one();
            return;
        };
        let image = self.machine.image_of(&shape);
        let mut result = result_of_cancelled(job.id, job.created_at, &job.spec, image);
        result.usage.queue_ms = since.elapsed().as_millis() as u64;
        tokio::spawn(async move { drop(events.send(Event::Settled(Box::new(result))).await) });
        self.machine.inner.idle.notify_waiters();
    }
}
