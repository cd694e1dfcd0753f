//! The proxy process as the service sees it: started, given listeners, heard.

use super::{ASK, ATTEMPT, CLOSE, EgressPolicy, Keeper, OPEN, Open, SO_FAR, Told};
use crate::json;
use crate::pool::SpawnerCommand;
use model::{Egress, EgressAttempt, Fault, FaultCode, Rejection};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The proxies of all sandboxes of this process. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Proxies {
    inner: Arc<Inner>,
    policy: Arc<Mutex<EgressPolicy>>,
    keeper: Arc<Mutex<Option<Keeper>>>,
}

#[derive(Debug)]
struct Inner {
    command: SpawnerCommand,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    last: u32,
}

/// Who hears of attempts, by number. Dropped with the thread that reads: then all that wait see their end.
type Listeners = Arc<Mutex<BTreeMap<u32, UnboundedSender<Heard>>>>;

/// What the process says of one gate.
#[derive(Debug)]
enum Heard {
    /// This was tried.
    Attempt(EgressAttempt),
    /// Nothing that was tried before it was asked is untold.
    SoFar,
}

#[derive(Debug)]
struct Process {
    socket: Arc<OwnedFd>,
    child: Child,
    listeners: Listeners,
    /// Whether a thread hears it. Not before there is something to hear: who makes sandboxes has one thread.
    heard: bool,
}

impl Process {
    fn start(command: &SpawnerCommand) -> io::Result<Self> {
        let (socket, theirs) = sys::socket::pair()?;
        // Nothing of our environment is its business, nor of what hostile programs speak to.
        let child = Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { socket: Arc::new(socket), child, listeners: Listeners::default(), heard: false })
    }

    fn have_heard(&mut self) -> io::Result<()> {
        if !self.heard {
            let (socket, listeners) = (Arc::clone(&self.socket), Arc::clone(&self.listeners));
            let thread = std::thread::Builder::new().name("egress".into());
            thread.spawn(move || hear(&socket, &listeners))?;
            self.heard = true;
        }
        Ok(())
    }

    fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    /// Ends it and waits: the thread that reads sees its end.
    fn drop(&mut self) {
        match rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => {}
            Err(errno) => crate::log::warn(format_args!("end the proxies: {errno}")),
        }
        if let Err(error) = self.child.wait() {
            crate::log::warn(format_args!("wait for the proxies: {error}"));
        }
    }
}

/// Passes on what the process says until it is gone.
fn hear(socket: &OwnedFd, listeners: &Listeners) {
    let mut packet = vec![0; json::PACKET_BYTES_MAX];
    loop {
        let Ok((length @ 1.., files)) = sys::socket::receive(socket.as_fd(), &mut packet) else { break };
        match &packet[..length] {
            whole @ [ATTEMPT, ..] => match json::read::<Told>(whole, files.first()) {
                Ok(Told { number, attempt }) => {
                    let listener = locked(listeners).get(&number).cloned();
                    // One whose run is over may have been told already.
                    drop(listener.map(|listener| listener.send(Heard::Attempt(attempt))));
                }
                Err(error) => crate::log::warn(format_args!("what a proxy tells cannot be read: {error}")),
            },
            [SO_FAR, _, number @ ..] => {
                let number = number.try_into().map(u32::from_le_bytes).unwrap_or_default();
                let listener = locked(listeners).get(&number).cloned();
                // One that is closed waits for no answer.
                drop(listener.map(|listener| listener.send(Heard::SoFar)));
            }
            [CLOSE, _, number @ ..] => {
                let number = number.try_into().map(u32::from_le_bytes).unwrap_or_default();
                locked(listeners).remove(&number);
            }
            _ => crate::log::warn(format_args!("the proxies said something unknown")),
        }
    }
    locked(listeners).clear();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxies {
    /// Starts the process. To be called before secrets are read.
    pub fn start(command: SpawnerCommand) -> io::Result<Self> {
        let process = Some(Process::start(&command)?);
        let state = Mutex::new(State { process, last: 0 });
        Ok(Self { inner: Arc::new(Inner { command, state }), policy: Arc::default(), keeper: Arc::default() })
    }

    /// What the operator says from now on.
    pub fn set_policy(&self, policy: EgressPolicy) {
        *locked(&self.policy) = policy;
    }

    /// What the operator says.
    pub fn policy(&self) -> EgressPolicy {
        locked(&self.policy).clone()
    }

    /// Who keeps secrets from now on.
    pub fn set_keeper(&self, keeper: Keeper) {
        *locked(&self.keeper) = Some(keeper);
    }

    /// The same process under another policy, without secrets: for sandboxes of our own.
    pub fn under(&self, policy: EgressPolicy) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::new(Mutex::new(policy)), keeper: Arc::default() }
    }

    /// Says whether a request of a tenant may have what it asks for.
    pub fn admit(&self, tenant: &str, asked: &Egress) -> Result<(), Rejection> {
        locked(&self.policy).admit(asked)?;
        let Some(name) = asked.secrets.keys().next() else { return Ok(()) };
        let none = || {
            let hint = "have a service run it that keeps it, with all features built in (`fireclay serve`)";
            Rejection::new(format!("egress.secrets.{name}"), "nobody keeps secrets here", hint)
        };
        locked(&self.keeper).as_ref().ok_or_else(none)?.admit(tenant, asked)
    }

    /// What is laid over the image of a sandbox that asks for this: by what it trusts who puts its secrets in.
    pub fn layer(&self, asked: Option<&Egress>) -> Option<PathBuf> {
        let uses = asked.is_some_and(|asked| !asked.secrets.is_empty());
        locked(&self.keeper).as_ref().filter(|_| uses).map(|keeper| keeper.layer().to_owned())
    }

    /// Has a sandbox's listener served by these rules until the gate is closed. A process that died is started again. The first time a
    /// thread is started that hears it.
    pub fn open(&self, tenant: &str, asked: &Egress, listener: &OwnedFd) -> Result<Gate, Fault> {
        checked(listener)?;
        let failed = |error: &dyn std::fmt::Display| {
            Fault::new(FaultCode::ResourcesExhausted, format!("open the way out of a sandbox: {error}"))
        };
        let policy = self.policy();
        let keeper = locked(&self.keeper).clone().filter(|_| !asked.secrets.is_empty());
        let secrets = keeper.map(|keeper| keeper.say(tenant, asked)).transpose()?;
        let mut state = locked(&self.inner.state);
        if !state.process.as_mut().is_some_and(Process::lives) {
            // The old one first: it is waited for.
            state.process = None;
            state.process = Some(Process::start(&self.inner.command).map_err(|error| failed(&error))?);
        }
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        let Some(process) = &mut state.process else { return Err(failed(&"there is no process")) };
        process.have_heard().map_err(|error| failed(&error))?;
        let (sender, heard) = unbounded_channel();
        locked(&process.listeners).insert(number, sender);
        let open = Open { number, asked: asked.clone(), policy, secrets };
        let gate = Gate { number, socket: Arc::clone(&process.socket), heard, closing: false };
        let said = json::memory(c"egress", &open).map_err(|error| failed(&error))?;
        let sent = sys::socket::send(process.socket.as_fd(), &[OPEN], &[listener.as_fd(), said.as_fd()]);
        sent.map(|()| gate).map_err(|error| failed(&error))
    }

    /// The process's id, for tests and reports.
    pub fn process_id(&self) -> Option<u32> {
        locked(&self.inner.state).process.as_ref().map(|process| process.child.id())
    }
}

/// A listener for the proxy, if it is what init was asked for: of TCP, listening, and in another network than ours. Were it in ours, any
/// program of the machine could ask the proxy.
fn checked(listener: &OwnedFd) -> Result<(), Fault> {
    let foreign = |what: &dyn std::fmt::Display| {
        Fault::new(FaultCode::IsolationFailed, format!("no listener of the sandbox's own network: {what}"))
    };
    if !sys::net::is_tcp(listener.as_fd()) || !sys::net::is_listening(listener.as_fd()) {
        return Err(foreign(&"it does not listen for TCP"));
    }
    let own = sys::net::stream_socket(false).map_err(|error| foreign(&error))?;
    let ours = sys::net::namespace_of(own.as_fd()).map_err(|error| foreign(&error))?;
    if sys::net::namespace_of(listener.as_fd()).map_err(|error| foreign(&error))? == ours {
        return Err(foreign(&"the sandbox has the machine's"));
    }
    Ok(())
}

/// The way out of one sandbox, open until this is dropped.
#[derive(Debug)]
pub struct Gate {
    number: u32,
    socket: Arc<OwnedFd>,
    heard: UnboundedReceiver<Heard>,
    closing: bool,
}

impl Gate {
    /// Waits for what is tried next; `None` when nothing can be any more. Safe to drop between.
    pub async fn next(&mut self) -> Option<EgressAttempt> {
        loop {
            match self.heard.recv().await? {
                Heard::Attempt(attempt) => return Some(attempt),
                Heard::SoFar => {}
            }
        }
    }

    /// What was tried so far and has not been read: all that those tried who say no more.
    pub async fn told(&mut self) -> Vec<EgressAttempt> {
        let mut told = Vec::new();
        if self.say(ASK) {
            while let Some(Heard::Attempt(attempt)) = self.heard.recv().await {
                told.push(attempt);
            }
        }
        told
    }

    /// Ends all connections; returns what was not read of what was tried.
    pub async fn close(mut self) -> Vec<EgressAttempt> {
        self.ask_to_close();
        let mut rest = Vec::new();
        while let Some(attempt) = self.next().await {
            rest.push(attempt);
        }
        rest
    }

    /// As [`Gate::close`], for a thread that may wait.
    pub fn close_and_wait(mut self) -> Vec<EgressAttempt> {
        self.ask_to_close();
        let mut rest = Vec::new();
        while let Some(heard) = self.heard.blocking_recv() {
            if let Heard::Attempt(attempt) = heard {
                rest.push(attempt);
            }
        }
        rest
    }

    fn ask_to_close(&mut self) {
        if !std::mem::replace(&mut self.closing, true) {
            self.say(CLOSE);
        }
    }

    /// Says something about this gate; false to a process that is gone, which serves nobody.
    fn say(&self, what: u8) -> bool {
        let mut packet = vec![what];
        packet.extend(self.number.to_le_bytes());
        match sys::socket::send(self.socket.as_fd(), &packet, &[]) {
            Ok(()) => true,
            Err(error) => {
                if !matches!(error.errno, libc::EPIPE | libc::ECONNRESET) {
                    crate::log::warn(format_args!("tell the proxy of a sandbox: {error}"));
                }
                false
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.ask_to_close();
    }
}
