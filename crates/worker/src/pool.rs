//! Sandboxes for a service: starts the spawner, keeps sandboxes ready ahead of need, leases them, and turns what a keeper says into
//! events.
//!
//! A lease is for one run. Sandboxes of one [`Shape`] are alike until then, whoever's run it will be: nothing of a tenant is in them.

use crate::json::{self, memory};
use crate::phases::Measured;
use crate::session::SessionShape;
use crate::shelf::{Idle, Shelves};
use crate::spawner::{
    BUILT, CANCEL, Job, KEEP, LISTENS, PACKET_BYTES_MAX, RUN, SETTLED, STAY, STDERR, STDOUT, Shape, Told,
    Warm, ZYGOTE, ZYGOTES_MAX,
};
use model::{Fault, FaultCode, RunResult};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UnixStream;

pub use crate::shelf::{PoolLoad, PoolSize, Waiting};

/// How a spawner is started.
#[derive(Debug, Clone)]
pub struct SpawnerCommand {
    /// The program: this binary.
    pub program: PathBuf,
    /// Its arguments. It finds its socket on standard input.
    pub args: Vec<String>,
}

/// How often a pool that nobody leases from is looked after.
const TEND: Duration = Duration::from_millis(500);

/// The number of no zygote.
const NO_ZYGOTE: u8 = u8::MAX;

/// The machine's sandboxes. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    command: SpawnerCommand,
    shelves: Mutex<Shelves>,
    // Dropped after the shelves: it ends when the last keeper has.
    spawner: Mutex<Spawner>,
}

#[derive(Debug)]
struct Spawner {
    socket: OwnedFd,
    process: Child,
    /// What its zygotes have warm, each under its place here.
    warm: Vec<Warm>,
}

impl Spawner {
    /// Starts the process without any of our environment: nothing of it is a sandbox's business.
    fn start(command: &SpawnerCommand, warm: Vec<Warm>) -> std::io::Result<Self> {
        let (socket, theirs) = sys::socket::pair()?;
        let process = Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        let spawner = Self { socket, process, warm };
        spawner.warm.iter().zip(0..).try_for_each(|(warm, number)| spawner.tell_of(number, warm))?;
        Ok(spawner)
    }

    fn tell_of(&self, number: u8, warm: &Warm) -> std::io::Result<()> {
        let warm = memory(c"warm", warm)?;
        Ok(sys::socket::send(self.socket.as_fd(), &[ZYGOTE, number], &[warm.as_fd()])?)
    }

    /// The number of the zygote whose forks see what sandboxes of this shape do.
    fn zygote_of(&self, shape: &Shape) -> u8 {
        let numbered = || self.warm.iter().zip(0..);
        let place = numbered().find(|(warm, _)| warm.image == shape.image);
        // A tenant's packages lie over what it has warm, and change none of that.
        let below = numbered().filter(|(warm, _)| warm.image.is_below(&shape.image));
        let place = place.or_else(|| below.max_by_key(|(warm, _)| warm.image.layers.len()));
        place.map_or(NO_ZYGOTE, |(_, number)| number)
    }

    /// Has a keeper of this kind, [`KEEP`] or [`STAY`], started.
    fn keep(&self, kind: u8, theirs: BorrowedFd<'_>, shape: BorrowedFd<'_>, zygote: u8) -> sys::Result<()> {
        sys::socket::send(self.socket.as_fd(), &[kind, zygote], &[theirs, shape])
    }
}

impl Drop for Spawner {
    /// Closes the socket by taking its place, and waits: then every keeper has ended and nothing is left of their sandboxes.
    fn drop(&mut self) {
        match sys::socket::pair() {
            Ok((other, _)) => self.socket = other,
            Err(error) => crate::log::warn(format_args!("close the spawner's socket: {error}")),
        }
        if let Err(error) = self.process.wait() {
            crate::log::warn(format_args!("wait for the spawner: {error}"));
        }
    }
}

impl Pool {
    /// Starts the spawner. To be called before secrets are read.
    pub fn start(command: SpawnerCommand) -> std::io::Result<Self> {
        let spawner = Mutex::new(Spawner::start(&command, Vec::new())?);
        let shelves = Mutex::new(Shelves::default());
        Ok(Self { inner: Arc::new(Inner { command, shelves, spawner }) })
    }

    /// Says how many sandboxes may wait, of which shapes how many always do, and what is warm in them. Needs a tokio runtime.
    pub fn open(&self, size: PoolSize, shapes: Vec<(Shape, usize)>, warm: Warm) {
        self.have_warm(warm);
        self.shelves().open(size, shapes);
        self.fill();
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(TEND);
            loop {
                tick.tick().await;
                // Ends with the last of the others.
                let Some(inner) = weak.upgrade() else { return };
                let pool = Pool { inner };
                pool.heal();
                pool.fill();
            }
        });
    }

    /// Has so many sandboxes of this shape wait from now on, within what may wait of all.
    pub fn keep(&self, shape: &Shape, min: usize) {
        self.shelves().keep(shape, min);
        self.fill();
    }

    /// Has one sandbox of this shape wait from the next lease on, until it was not needed for a while; of a few shapes at once.
    pub fn keep_for_a_while(&self, shape: &Shape) {
        self.shelves().keep_for_a_while(shape);
    }

    /// Has a zygote started, unless there is one for this image. Beyond [`ZYGOTES_MAX`] of them programs are executed.
    pub fn have_warm(&self, warm: Warm) {
        let mut spawner = self.spawner();
        let count = spawner.warm.len();
        if count >= ZYGOTES_MAX || spawner.warm.iter().any(|other| other.image == warm.image) {
            return;
        }
        if let Err(error) = spawner.tell_of(u8::try_from(count).unwrap_or(NO_ZYGOTE), &warm) {
            // It is told again when it is started again, with the first lease.
            crate::log::warn(format_args!("tell the spawner what to have warm: {error}"));
        }
        spawner.warm.push(warm);
    }

    /// The process id of the spawner, for tests and reports.
    pub fn spawner_id(&self) -> u32 {
        self.spawner().process.id()
    }

    /// How full it is.
    pub fn load(&self) -> PoolLoad {
        self.shelves().load()
    }

    /// What is ready of some shapes.
    pub fn waiting(&self, of: impl Fn(&Shape) -> bool) -> Waiting {
        self.shelves().waiting(of)
    }

    /// Leases a sandbox of this shape: one that waits, else one that is only now built.
    pub fn lease(&self, shape: &Shape) -> Result<Lease, Fault> {
        let (waiting, number) = self.shelves().take(shape);
        let leased = Leased { pool: self.clone(), number };
        let socket = match waiting {
            Some(idle) => Ok(idle),
            None => self.make(shape),
        };
        let socket = socket.map_err(|error| {
            Fault::new(FaultCode::ResourcesExhausted, format!("lease a sandbox: {error}"))
        })?;
        Ok(Lease { socket, leased })
    }

    /// Has a keeper started for single runs.
    fn make(&self, shape: &Shape) -> std::io::Result<UnixStream> {
        self.start_keeper(KEEP, shape, memory(c"shape", shape)?)
    }

    /// Has a keeper started for a session.
    pub(crate) fn stay(&self, shape: &SessionShape) -> std::io::Result<UnixStream> {
        self.start_keeper(STAY, &shape.shape, memory(c"shape", shape)?)
    }

    /// A spawner that died is started again: its other runs go on.
    fn start_keeper(&self, kind: u8, shape: &Shape, said: OwnedFd) -> std::io::Result<UnixStream> {
        let (ours, theirs) = sys::socket::pair()?;
        sys::fs::set_nonblocking(ours.as_fd())?;
        let mut spawner = self.spawner();
        let zygote = spawner.zygote_of(shape);
        if spawner.keep(kind, theirs.as_fd(), said.as_fd(), zygote).is_err() {
            self.replace(&mut spawner)?;
            spawner.keep(kind, theirs.as_fd(), said.as_fd(), zygote)?;
        }
        UnixStream::from_std(std::os::unix::net::UnixStream::from(ours))
    }

    fn replace(&self, spawner: &mut Spawner) -> std::io::Result<()> {
        let warm = std::mem::take(&mut spawner.warm);
        *spawner = Spawner::start(&self.inner.command, warm)?;
        Ok(())
    }

    /// Starts another spawner if this one died. Sandboxes that wait are let go of: their zygote died with it.
    fn heal(&self) {
        let mut spawner = self.spawner();
        if matches!(spawner.process.try_wait(), Ok(None)) {
            return;
        }
        match self.replace(&mut spawner) {
            Ok(()) => {
                drop(spawner);
                self.shelves().clear();
            }
            Err(error) => crate::log::warn(format_args!("start the spawner again: {error}")),
        }
    }

    /// Has sandboxes built until as many wait as should, and lets go of those that are too many or too old.
    pub fn fill(&self) {
        let wanted = self.shelves().wanted(Instant::now());
        for (number, shape) in wanted {
            match self.make(&shape) {
                Ok(socket) => self.shelves().put(number, Idle::new(socket)),
                Err(error) => {
                    self.shelves().put_nothing(number);
                    crate::log::warn(format_args!("build a sandbox ahead: {error}"));
                }
            }
        }
    }

    fn spawner(&self) -> MutexGuard<'_, Spawner> {
        self.inner.spawner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.inner.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sandbox in use.
#[derive(Debug)]
struct Leased {
    pool: Pool,
    number: u64,
}

impl Leased {
    /// The run is over, and its keeper builds another sandbox.
    fn goes_on(&self, socket: UnixStream) {
        self.pool.shelves().put_back(self.number, Idle::new(socket));
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.pool.shelves().give_back(self.number);
    }
}

/// A keeper that waits for its job.
#[derive(Debug)]
pub struct Lease {
    /// A seqpacket socket in truth: the runtime's type lends only its readiness, packets are sent and received by `sys`.
    socket: UnixStream,
    leased: Leased,
}

impl Lease {
    /// Gives it the job.
    pub fn run(self, job: &Job) -> Result<Running, Fault> {
        json::send(self.socket.as_fd(), [RUN, 0], job)
            .map_err(|error| Fault::new(FaultCode::Interrupted, format!("start a run: {error}")))?;
        // While it runs, the next one is built.
        self.leased.pool.fill();
        Ok(Running { keeper: Some((self.socket, self.leased)), cancelled: false })
    }
}

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happens to a run.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// Where its program finds its proxy is to be served.
    Listens(OwnedFd),
    /// It is settled: the result, of which `usage.queue_ms` is not known here, and where its time went.
    Settled(Box<RunResult>, Measured),
}

/// A run on its way. Dropping it cancels it.
#[derive(Debug)]
pub struct Running {
    /// Until it is settled.
    keeper: Option<(UnixStream, Leased)>,
    cancelled: bool,
}

impl Running {
    /// Waits for what happens next. After [`Happened::Settled`] nothing does. Safe to drop between: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Happened, Fault> {
        let lost = |why: &str| Fault::new(FaultCode::Interrupted, format!("the sandbox's keeper {why}"));
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            let Some((socket, _)) = &self.keeper else { return Err(lost("has settled the run")) };
            let receive = || Ok(sys::socket::receive(socket.as_fd(), &mut packet)?);
            let received = socket.async_io(Interest::READABLE, receive).await;
            let (length, descriptors) = received.map_err(|error| lost(&format!("is gone: {error}")))?;
            match packet[..length].first() {
                None => return Err(lost("died")),
                // It was leased before that.
                Some(&BUILT) => {}
                Some(&LISTENS) => {
                    let listener = descriptors.into_iter().next();
                    return listener.map(Happened::Listens).ok_or_else(|| lost("sent no listener"));
                }
                Some(&STDOUT) => return Ok(Happened::Output(Stream::Stdout, packet[1..length].to_vec())),
                Some(&STDERR) => return Ok(Happened::Output(Stream::Stderr, packet[1..length].to_vec())),
                Some(&SETTLED) => {
                    let told = json::read::<Told>(&packet[..length], descriptors.first());
                    if let (Some((socket, leased)), [_, 1]) = (self.keeper.take(), &packet[..length.min(2)]) {
                        leased.goes_on(socket);
                    }
                    let Told { result, measured } =
                        told.map_err(|error| lost(&format!("sent a wrong result: {error}")))?;
                    return Ok(Happened::Settled(Box::new(result), measured));
                }
                _ => return Err(lost("said something unknown")),
            }
        }
    }

    /// Takes the run back: it settles as cancelled, unless it was over already.
    pub fn cancel(&mut self) {
        // One is enough. A keeper that is gone has ended its run, which `next` tells.
        if let Some((socket, _)) = &self.keeper
            && !std::mem::replace(&mut self.cancelled, true)
            && let Err(error) = sys::socket::send(socket.as_fd(), &[CANCEL], &[])
            && !matches!(error.errno, libc::EPIPE | libc::ECONNRESET)
        {
            self.cancelled = false;
        }
    }
}
