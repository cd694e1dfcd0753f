//! Sandboxes for a service: starts the spawner, leases keepers from it, and turns what a keeper says into events.
//!
//! A lease is for one run. Today a keeper is cloned when it is leased; warm ones will wait here.

use crate::spawner::{CANCEL, Job, KEEP, PACKET_BYTES_MAX, RUN, SETTLED, STDERR, STDOUT};
use model::{Fault, FaultCode, RunResult};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How a spawner is started.
#[derive(Debug, Clone)]
pub struct SpawnerCommand {
    /// The program: this binary.
    pub program: PathBuf,
    /// Its arguments. It finds its socket on standard input.
    pub args: Vec<String>,
}

/// The machine's sandboxes.
#[derive(Debug)]
pub struct Pool {
    command: SpawnerCommand,
    spawner: Mutex<Spawner>,
}

#[derive(Debug)]
struct Spawner {
    socket: OwnedFd,
    process: Child,
}

impl Spawner {
    /// Starts the process without any of our environment: nothing of it is a sandbox's business.
    fn start(command: &SpawnerCommand) -> std::io::Result<Self> {
        let (socket, theirs) = sys::socket::pair()?;
        let process = Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { socket, process })
    }
}

impl Drop for Spawner {
    /// Closes the socket by taking its place, and waits: then every keeper has ended and nothing is left of their sandboxes.
    fn drop(&mut self) {
        match sys::socket::pair() {
            Ok((other, _)) => self.socket = other,
            Err(error) => eprintln!("fireclay: close the spawner's socket: {error}"),
        }
        if let Err(error) = self.process.wait() {
            eprintln!("fireclay: wait for the spawner: {error}");
        }
    }
}

impl Pool {
    /// Starts the spawner. To be called before secrets are read.
    pub fn start(command: SpawnerCommand) -> std::io::Result<Self> {
        let spawner = Mutex::new(Spawner::start(&command)?);
        Ok(Self { command, spawner })
    }

    /// The process id of the spawner, for tests and reports.
    pub fn spawner_id(&self) -> u32 {
        self.spawner.lock().unwrap_or_else(PoisonError::into_inner).process.id()
    }

    /// Leases a keeper. A spawner that died is started again: its other runs go on.
    pub fn lease(&self) -> Result<Lease, Fault> {
        let lease = || -> std::io::Result<Lease> {
            let (ours, theirs) = sys::socket::pair()?;
            sys::fs::set_nonblocking(ours.as_fd())?;
            let mut spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
            let keep =
                |spawner: &Spawner| sys::socket::send(spawner.socket.as_fd(), &[KEEP], &[theirs.as_fd()]);
            if keep(&spawner).is_err() {
                *spawner = Spawner::start(&self.command)?;
                keep(&spawner)?;
            }
            let ours = std::os::unix::net::UnixStream::from(ours);
            Ok(Lease { socket: UnixStream::from_std(ours)? })
        };
        lease()
            .map_err(|error| Fault::new(FaultCode::ResourcesExhausted, format!("lease a sandbox: {error}")))
    }
}

/// A keeper that waits for its job.
#[derive(Debug)]
pub struct Lease {
    /// A seqpacket socket in truth: the runtime's type lends only its readiness, packets are sent and received by `sys`.
    socket: UnixStream,
}

impl Lease {
    /// Gives it the job.
    pub fn run(self, job: &Job) -> Result<Running, Fault> {
        let send = || -> std::io::Result<()> {
            let mut file = File::from(sys::fs::memory_file(c"job")?);
            file.write_all(&serde_json::to_vec(job)?)?;
            file.rewind()?;
            Ok(sys::socket::send(self.socket.as_fd(), &[RUN], &[file.as_fd()])?)
        };
        send().map_err(|error| Fault::new(FaultCode::Interrupted, format!("start a run: {error}")))?;
        Ok(Running { socket: self.socket, cancelled: false })
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
pub enum Happened {
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// It is settled. `usage.queue_ms` is not known here.
    Settled(Box<RunResult>),
}

/// A run on its way. Dropping it cancels it.
#[derive(Debug)]
pub struct Running {
    socket: UnixStream,
    cancelled: bool,
}

impl Running {
    /// Waits for what happens next. After [`Happened::Settled`] nothing does. Safe to drop between: nothing is lost.
    pub async fn next(&mut self) -> Result<Happened, Fault> {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let receive = || Ok(sys::socket::receive(self.socket.as_fd(), &mut packet)?);
        let received = self.socket.async_io(Interest::READABLE, receive).await;
        let lost = |why: &str| Fault::new(FaultCode::Interrupted, format!("the sandbox's keeper {why}"));
        let (length, mut descriptors) = received.map_err(|error| lost(&format!("is gone: {error}")))?;
        match (packet[..length].first(), descriptors.pop()) {
            (None, _) => Err(lost("died")),
            (Some(&STDOUT), _) => Ok(Happened::Output(Stream::Stdout, packet[1..length].to_vec())),
            (Some(&STDERR), _) => Ok(Happened::Output(Stream::Stderr, packet[1..length].to_vec())),
            (Some(&SETTLED), Some(file)) => {
                let mut text = Vec::new();
                let read = File::from(file).read_to_end(&mut text);
                read.map_err(|error| lost(&format!("sent a result that cannot be read: {error}")))?;
                let result = serde_json::from_slice(&text);
                Ok(Happened::Settled(result.map_err(|error| lost(&format!("sent a wrong result: {error}")))?))
            }
            _ => Err(lost("said something unknown")),
        }
    }

    /// Takes the run back: it settles as cancelled, unless it was over already.
    pub fn cancel(&mut self) {
        // One is enough. A keeper that is gone has ended its run, which `next` tells.
        if !std::mem::replace(&mut self.cancelled, true)
            && let Err(error) = sys::socket::send(self.socket.as_fd(), &[CANCEL], &[])
            && !matches!(error.errno, libc::EPIPE | libc::ECONNRESET)
        {
            self.cancelled = false;
        }
    }
}
