//! A session as the service sees it: its keeper's socket, its runs on their way, its files, and why it ended.

use super::{
    BUILT, CANCEL, ENDED_PROCESS, FAILED, How, LISTENS, LOST, Lost, NUMBERED, ProcessTold, RESTART, RUN,
    SETTLED, SOCKET, STARTED, STDERR, STDOUT, SessionJob, SessionShape, SessionTold, TOOK, Workspace,
    number_of, numbered,
};
use crate::json;
use crate::phases::Measured;
use crate::pool::{Pool, Stream};
use crate::proxies::{Gate, Proxies};
use crate::spawner::{Job, PACKET_BYTES_MAX};
use crate::template::Prepared;
use model::{Egress, EgressAttempt, Fault, FaultCode, RunId, RunResult, SessionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

mod input;
mod processes;
mod visits;

pub use input::{Input, NotTyped};
pub use processes::{NotDone, Process, ToProcess};
pub use visits::{NotReached, VISITS_MAX, Visit};

/// How many things that happened to a run may wait for the one who listens.
const HAPPENED_MAX: usize = 64;

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct SessionParts {
    /// Its id.
    pub id: SessionId,
    /// What it is made for.
    pub shape: SessionShape,
    /// By whom it reaches hosts, and which, if any.
    pub way_out: Option<(Proxies, String, Egress)>,
    /// Keeps what it is made from.
    pub hold: Option<Arc<Prepared>>,
}

/// One session. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: SessionId,
    shape: SessionShape,
    way_out: Option<(Proxies, String, Egress)>,
    _hold: Option<Arc<Prepared>>,
    /// A seqpacket socket in truth: the runtime's type lends only its readiness.
    socket: UnixStream,
    state: Mutex<State>,
    standing: watch::Sender<Standing>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last run.
    last: u32,
    runs: BTreeMap<u32, mpsc::Sender<SessionHappened>>,
    /// Those of them that somebody may type to.
    typed: BTreeMap<RunId, input::Typed>,
    /// By number, as the runs, none of which has the same.
    processes: BTreeMap<u32, Arc<Process>>,
    /// Who visits its ports, by a number likewise, and where each waits for a socket.
    visits: BTreeMap<u32, visits::Waits>,
    /// The root of its files, for as long as they are wanted.
    files: Option<OwnedFd>,
    lost: Option<Lost>,
    /// Its way out, while it is open.
    gate: Option<Gate>,
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// Its sandbox is being built.
    #[default]
    Building,
    /// Runs are done in it.
    Open,
    /// Nothing is done in it any more.
    Ended(Ended),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// In one word.
    pub why: Why,
    /// More, for people.
    pub detail: String,
}

/// Why a session ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its owner closed it.
    Closed,
    /// Nothing was done in it for its idle time to live.
    Idle,
    /// Its time to live was over.
    Expired,
    /// The machine was short of memory, and nothing ran in it.
    MemoryPressure,
    /// Its sandbox or the process that kept it died.
    Crashed,
    /// Its sandbox could not be built.
    NotBuilt,
    /// The service ended.
    ServiceRestarted,
    /// The machine that had it cannot be reached by the others of its cluster any more.
    NodeLost,
}

impl Why {
    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::MemoryPressure => "memory_pressure",
            Self::Crashed => "crashed",
            Self::NotBuilt => "not_built",
            Self::ServiceRestarted => "service_restarted",
            Self::NodeLost => "node_lost",
        }
    }
}

/// What happens to a run of a session.
#[derive(Debug)]
pub(crate) enum SessionHappened {
    /// The code began.
    Started,
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// It, or another of its session, tried to reach a host.
    Egress(EgressAttempt),
    /// The end.
    Settled(Box<RunResult>, Measured),
}

/// A run on its way in a session. Dropping it cancels it.
#[derive(Debug)]
pub(crate) struct Running {
    session: Session,
    number: u32,
    events: mpsc::Receiver<SessionHappened>,
    over: bool,
}

impl Session {
    /// Has a keeper started for it, which builds its sandbox. Needs a tokio runtime.
    pub(crate) fn open(pool: &Pool, parts: SessionParts) -> Result<Self, Fault> {
        let SessionParts { id, shape, way_out, hold } = parts;
        let socket = pool.stay(&shape).map_err(|error| {
            Fault::new(FaultCode::ResourcesExhausted, format!("start a session's keeper: {error}"))
        })?;
        let (standing, _) = watch::channel(Standing::default());
        let state = Mutex::default();
        let session =
            Self { inner: Arc::new(Inner { id, shape, way_out, _hold: hold, socket, state, standing }) };
        tokio::spawn(session.clone().hear());
        Ok(session)
    }

    /// Its id.
    pub fn id(&self) -> &SessionId {
        &self.inner.id
    }

    /// What it was made for.
    pub fn shape(&self) -> &SessionShape {
        &self.inner.shape
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.inner.standing.borrow().clone()
    }

    /// Waits until it is built, or has ended.
    pub async fn built(&self) -> Standing {
        let mut standing = self.inner.standing.subscribe();
        let built = standing.wait_for(|standing| *standing != Standing::Building).await;
        // The sender lives as long as we do.
        built.map(|standing| standing.clone()).unwrap_or_default()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Ended {
        let mut standing = self.inner.standing.subscribe();
        let ended = standing.wait_for(|standing| matches!(standing, Standing::Ended(_))).await;
        match ended.as_deref() {
            Ok(Standing::Ended(ended)) => ended.clone(),
            _ => Ended { why: Why::Crashed, detail: String::new() },
        }
    }

    /// The last interpreter of it that ended while it had no run.
    pub fn lost(&self) -> Option<Lost> {
        self.state().lost.clone()
    }

    /// Its files, also for a while after its end: until [`Session::let_files_go`]. `None` before it is built.
    pub fn files(&self) -> Result<Option<Workspace>, Fault> {
        self.directory(c"workspace")
    }

    /// The same for one of the directories of [`sandbox::plan::DIRECTORIES`].
    pub fn directory(&self, name: &CStr) -> Result<Option<Workspace>, Fault> {
        let state = self.state();
        let Some(root) = &state.files else { return Ok(None) };
        let user = rustix::fs::statat(root, c"workspace", rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| (stat.st_uid, stat.st_gid))
            .map_err(|errno| failed(&format!("look at the session's files: {errno}")))?;
        Workspace::open(root.as_fd(), name, Some(user)).map(Some).map_err(|error| failed(&error))
    }

    /// Whether something of this name lies in its working directory.
    pub fn has_in_workspace(&self, name: &CStr) -> bool {
        let state = self.state();
        let workspace = state.files.as_ref().and_then(|root| {
            let flags =
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
            rustix::fs::openat(root, c"workspace", flags, rustix::fs::Mode::empty()).ok()
        });
        workspace.is_some_and(|workspace| {
            rustix::fs::statat(workspace, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
        })
    }

    /// Lets its files go: of a session that ended nothing is left then.
    pub fn let_files_go(&self) {
        self.state().files = None;
    }

    /// Ends it, unless it has ended; its sandbox is destroyed with all that runs in it.
    pub fn end(&self, why: Why, detail: impl Into<String>) {
        let ended = Standing::Ended(Ended { why, detail: detail.into() });
        self.inner.standing.send_if_modified(|standing| {
            let first = !matches!(standing, Standing::Ended(_));
            if first {
                *standing = ended;
            }
            first
        });
        // By this, not by closing: others hold the socket too. A keeper that is gone is what was wanted.
        match rustix::net::shutdown(self.inner.socket.as_fd(), rustix::net::Shutdown::Both) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => {}
            Err(errno) => crate::log::warn(format_args!("{}: end its keeper: {errno}", self.inner.id)),
        }
    }

    /// Begins every interpreter of it anew.
    pub async fn restart(&self) -> Result<(), Fault> {
        self.send(&[RESTART]).await
    }

    async fn send(&self, packet: &[u8]) -> Result<(), Fault> {
        let socket = &self.inner.socket;
        let send = || Ok(sys::socket::send(socket.as_fd(), packet, &[])?);
        socket.async_io(Interest::WRITABLE, send).await.map_err(|error| gone(&error))
    }

    /// Begins a run.
    pub(crate) async fn run(&self, job: &Job, how: How) -> Result<Running, Fault> {
        let (sender, events) = mpsc::channel(HAPPENED_MAX);
        let number = {
            let mut state = self.state();
            state.last = state.last.wrapping_add(1);
            let number = state.last;
            state.runs.insert(number, sender);
            if how.is_interactive() {
                state.typed.insert(job.id.clone(), input::Typed::new(number, job.spec.stdin.len()));
            }
            number
        };
        let running = Running { session: self.clone(), number, events, over: false };
        // After the run is noted: one that is noted later than the end would wait for ever.
        if let Standing::Ended(Ended { why, detail }) = self.standing() {
            return Err(failed(&format!("the session ended: {} {detail}", why.name())));
        }
        let session = SessionJob { number, how, job: job.clone() };
        let (packet, file) = json::packet([RUN, 0], &session).map_err(|error| gone(&error))?;
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        let socket = &self.inner.socket;
        let send = || Ok(sys::socket::send(socket.as_fd(), &packet, &files)?);
        socket.async_io(Interest::WRITABLE, send).await.map_err(|error| gone(&error))?;
        Ok(running)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears its keeper to the end.
    async fn hear(self) {
        let mut packet = vec![0; PACKET_BYTES_MAX + NUMBERED];
        let detail = loop {
            let socket = &self.inner.socket;
            let receive = || Ok(sys::socket::receive(socket.as_fd(), &mut packet)?);
            match socket.async_io(Interest::READABLE, receive).await {
                Ok((0, _)) => break "its keeper is gone".to_owned(),
                Err(error) => break format!("its keeper is gone: {error}"),
                Ok((length, mut files)) => {
                    if let Err(wrong) = self.take(&packet[..length], &mut files).await {
                        break wrong;
                    }
                }
            }
        };
        self.end(Why::Crashed, detail);
        // Whoever waits for a run sees its end.
        self.state().runs.clear();
        self.state().gate = None;
        self.processes_end();
        self.visits_end();
    }

    async fn take(&self, packet: &[u8], files: &mut Vec<OwnedFd>) -> Result<(), String> {
        let wrong = |error: std::io::Error| format!("its keeper said something wrong: {error}");
        match packet.first() {
            Some(&LISTENS) => self.open_way_out(files.pop())?,
            Some(&BUILT) => {
                self.state().files = files.pop();
                self.inner.standing.send_if_modified(|standing| {
                    let building = *standing == Standing::Building;
                    if building {
                        *standing = Standing::Open;
                    }
                    building
                });
            }
            Some(&FAILED) => {
                let fault: Fault = json::read(packet, files.first()).map_err(wrong)?;
                self.end(Why::NotBuilt, fault.to_string());
            }
            Some(&STARTED) => self.pass(number_of(packet), SessionHappened::Started).await,
            Some(tag @ (&STDOUT | &STDERR)) => {
                let stream = if *tag == STDOUT { Stream::Stdout } else { Stream::Stderr };
                if self.process_wrote(packet, stream) {
                    return Ok(());
                }
                let bytes = packet.get(NUMBERED..).unwrap_or_default().to_vec();
                self.pass(number_of(packet), SessionHappened::Output(stream, bytes)).await;
            }
            Some(&SETTLED) => {
                let told: SessionTold = json::read(packet, files.first()).map_err(wrong)?;
                let SessionTold { number, mut result, measured } = told;
                result.session = Some(self.inner.id.to_string());
                result.egress = self.tried().await;
                for attempt in &result.egress {
                    self.pass(Some(number), SessionHappened::Egress(attempt.clone())).await;
                }
                self.pass(Some(number), SessionHappened::Settled(Box::new(result), measured)).await;
            }
            Some(&TOOK) => self.took(packet),
            Some(&SOCKET) => self.visit_has_socket(packet, files.pop()),
            Some(&ENDED_PROCESS) => {
                let ProcessTold { number, end } = json::read(packet, files.first()).map_err(wrong)?;
                self.process_ended(number, end);
            }
            Some(&LOST) => {
                let lost = json::read(packet, files.first()).map_err(wrong)?;
                self.state().lost = Some(lost);
            }
            _ => return Err("its keeper said something unknown".to_owned()),
        }
        Ok(())
    }

    /// What its code tried to reach since this was asked last.
    async fn tried(&self) -> Vec<EgressAttempt> {
        // Nobody else asks: all that the keeper says is heard in one place.
        let gate = self.state().gate.take();
        let Some(mut gate) = gate else { return Vec::new() };
        let told = gate.told().await;
        if !matches!(self.standing(), Standing::Ended(_)) {
            self.state().gate = Some(gate);
        }
        told
    }

    /// Has its listener served, where it was opened with hosts to reach.
    fn open_way_out(&self, listener: Option<OwnedFd>) -> Result<(), String> {
        let (Some(listener), Some((proxies, tenant, asked))) = (listener, &self.inner.way_out) else {
            return Err("its keeper sent a listener that nobody asked for, or none".to_owned());
        };
        let gate = proxies.open(tenant, asked, listener).map_err(|fault| fault.to_string())?;
        self.state().gate = Some(gate);
        Ok(())
    }

    /// Passes on what happened to a run. One that nobody waits for any more is nobody's.
    async fn pass(&self, number: Option<u32>, happened: SessionHappened) {
        let listener = number.and_then(|number| self.state().runs.get(&number).cloned());
        if let Some(listener) = listener {
            drop(listener.send(happened).await);
        }
    }
}

impl Running {
    /// Waits for what happens next. After [`SessionHappened::Settled`] nothing does. Safe to drop between.
    pub(crate) async fn next(&mut self) -> Result<SessionHappened, Fault> {
        match self.events.recv().await {
            Some(happened) => {
                self.over = matches!(happened, SessionHappened::Settled(..));
                Ok(happened)
            }
            None => {
                self.over = true;
                let Ended { why, detail } = self.session.ended().await;
                Err(failed(&format!("the session ended under the run: {} {detail}", why.name())))
            }
        }
    }

    /// Takes the run back.
    pub(crate) async fn cancel(&self) {
        if let Err(fault) = self.session.send(&numbered(CANCEL, self.number)).await {
            // A keeper that is gone has ended its runs, which `next` tells.
            crate::log::warn(format_args!("{}: cancel a run: {fault}", self.session.inner.id));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.session.forget(self.number);
        if self.over {
            return;
        }
        let socket = self.session.inner.socket.as_fd();
        match sys::socket::send(socket, &numbered(CANCEL, self.number), &[]) {
            Err(error) if !matches!(error.errno, libc::EPIPE | libc::ECONNRESET) => {
                crate::log::warn(format_args!("{}: cancel a run: {error}", self.session.inner.id));
            }
            _ => {}
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::Interrupted, error.to_string())
}

fn gone(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::Interrupted, format!("the session's keeper is gone: {error}"))
}
