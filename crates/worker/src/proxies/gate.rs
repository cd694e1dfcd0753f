//! The proxy process as the service sees it: started, given listeners, heard.

use super::served::{Account, Heard, Served};
use super::{ASK, ATTEMPT, CLOSE, EgressPolicy, Keeper, SO_FAR, Told, two_numbers};
use crate::json;
use crate::pool::SpawnerCommand;
use model::{Egress, EgressAttempt, Fault, FaultCode, Rejection};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A process that dies younger than this is not followed by the next at once: what makes it die may be there still.
const YOUNG: Duration = Duration::from_secs(1);
/// How long is waited then, and after a process that could not be started.
const BREATH: Duration = Duration::from_millis(200);

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
    /// Every gate, by its number. Locked after the state, by whoever needs both.
    gates: Mutex<BTreeMap<u32, Served>>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// The number of the last gate.
    last: u32,
    /// How many processes there were.
    generations: u32,
}

#[derive(Debug)]
struct Process {
    socket: Arc<OwnedFd>,
    child: Child,
    /// Which of them it is.
    generation: u32,
    started: Instant,
    /// Whether a thread hears it. Not before there is something to hear: who makes sandboxes has one thread.
    heard: bool,
}

impl Process {
    fn start(command: &SpawnerCommand, generation: u32) -> io::Result<Self> {
        let (socket, theirs) = sys::socket::pair()?;
        // Nothing of our environment is its business, nor of what hostile programs speak to.
        let child = Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { socket: Arc::new(socket), child, generation, started: Instant::now(), heard: false })
    }

    fn have_heard(&mut self, inner: &Arc<Inner>) -> io::Result<()> {
        if !self.heard {
            let (socket, inner) = (Arc::clone(&self.socket), Arc::downgrade(inner));
            let (generation, started) = (self.generation, self.started);
            let thread = std::thread::Builder::new().name("egress".into());
            thread.spawn(move || hear(&socket, generation, started, &inner))?;
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

/// Passes on what a process says until it is gone, and has the next one serve what is open then. Ends with the last of the proxies.
fn hear(socket: &OwnedFd, generation: u32, started: Instant, inner: &Weak<Inner>) {
    let mut packet = vec![0; json::PACKET_BYTES_MAX];
    while let Ok((length @ 1.., files)) = sys::socket::receive(socket.as_fd(), &mut packet) {
        let Some(inner) = inner.upgrade() else { return };
        inner.take(generation, &packet[..length], &files);
    }
    match inner.upgrade() {
        Some(inner) => inner.bury(&mut locked(&inner.state), generation),
        None => return,
    }
    if started.elapsed() < YOUNG {
        std::thread::sleep(BREATH);
    }
    loop {
        let Some(inner) = inner.upgrade() else { return };
        match inner.go_on() {
            Ok(()) => return,
            Err(error) => crate::log::warn(format_args!("start the proxies again: {error}")),
        }
        drop(inner);
        std::thread::sleep(BREATH);
    }
}

impl Inner {
    /// Takes what the process of a generation says.
    fn take(&self, generation: u32, packet: &[u8], files: &[OwnedFd]) {
        let mut gates = locked(&self.gates);
        match packet {
            [ATTEMPT, ..] => match json::read::<Told>(packet, files.first()) {
                // One whose run is over may have been told already.
                Ok(Told { number, attempt }) => drop(gates.get_mut(&number).map(|gate| gate.tell(attempt))),
                Err(error) => crate::log::warn(format_args!("what a proxy tells cannot be read: {error}")),
            },
            [SO_FAR, _, rest @ ..] => {
                let (number, question) = two_numbers(rest);
                // One that is closed waits for no answer.
                drop(gates.get(&number).map(|gate| gate.sender.send(Heard::SoFar(question))));
            }
            [CLOSE, _, rest @ ..] => {
                let (number, _) = two_numbers(rest);
                // What another process serves by now is not over.
                if gates.get(&number).is_some_and(|gate| gate.generation == generation) {
                    gates.remove(&number);
                }
            }
            _ => crate::log::warn(format_args!("the proxies said something unknown")),
        }
    }

    /// Takes leave of the process of this generation, unless that is done: who is closing waits no more, all others are told.
    fn bury(&self, state: &mut State, generation: u32) {
        let Some(mut process) = state.process.take_if(|process| process.generation == generation) else {
            return;
        };
        crate::log::warn(format_args!("the proxies' process {} died", process.child.id()));
        // It may live in some way, and would not end by itself.
        if let Err(error) = process.child.kill() {
            crate::log::warn(format_args!("kill the proxies: {error}"));
        }
        drop(process);
        let mut gates = locked(&self.gates);
        gates.retain(|_, gate| gate.listener.is_some());
        gates.values_mut().for_each(Served::lose);
    }

    /// Starts the next process if there is none and something is open.
    fn go_on(self: &Arc<Self>) -> io::Result<()> {
        let mut state = locked(&self.state);
        if state.process.is_some() || locked(&self.gates).is_empty() {
            return Ok(());
        }
        self.start(&mut state)
    }

    /// Starts the next process and has it serve what is open.
    fn start(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        state.generations = state.generations.wrapping_add(1);
        let mut process = Process::start(&self.command, state.generations)?;
        let mut gates = locked(&self.gates);
        if !gates.is_empty() {
            process.have_heard(self)?;
        }
        gates.retain(|number, gate| match gate.serve_by(*number, process.generation, &process.socket) {
            Ok(()) => true,
            // It died again, which the thread sees that hears it.
            Err(error) if is_gone(&error) => true,
            Err(error) => {
                crate::log::warn(format_args!("open the way out of a sandbox again: {error}"));
                false
            }
        });
        state.process = Some(process);
        Ok(())
    }

    /// Has a gate closed; what hears it hears its end when all is told.
    fn close(&self, number: u32) {
        // Both, so that no other process comes between.
        let state = locked(&self.state);
        let mut gates = locked(&self.gates);
        let open = gates.get_mut(&number).and_then(|gate| gate.listener.take()).is_some();
        // Of a process that just died the thread that hears it takes leave, and then of what is closing.
        if open && matches!(state.say(&numbered(CLOSE, &[number])), Reached::Nobody) {
            gates.remove(&number);
        }
    }
}

impl State {
    /// Says something to the process.
    fn say(&self, packet: &[u8]) -> Reached {
        let Some(process) = &self.process else { return Reached::Nobody };
        match sys::socket::send(process.socket.as_fd(), packet, &[]).map_err(io::Error::from) {
            Ok(()) => Reached::Living,
            Err(error) if is_gone(&error) => Reached::Dead,
            Err(error) => {
                crate::log::warn(format_args!("tell the proxy of a sandbox: {error}"));
                Reached::Nobody
            }
        }
    }
}

/// Whom something that was said has reached.
enum Reached {
    /// The process that lives.
    Living,
    /// One that just died: [`Heard::Lost`] is on its way.
    Dead,
    /// There is none, or it cannot be told.
    Nobody,
}

fn numbered(tag: u8, numbers: &[u32]) -> Vec<u8> {
    let mut packet = vec![tag];
    packet.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    packet
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxies {
    /// Starts the process. To be called before secrets are read.
    pub fn start(command: SpawnerCommand) -> io::Result<Self> {
        let process = Some(Process::start(&command, 0)?);
        let state = Mutex::new(State { process, ..State::default() });
        let inner = Inner { command, state, gates: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), policy: Arc::default(), keeper: Arc::default() })
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

    /// Has a sandbox's listener served by these rules until the gate is closed, by whichever process lives. One that died is started again.
    /// The first time a thread is started that hears it.
    pub fn open(&self, tenant: &str, asked: &Egress, listener: OwnedFd) -> Result<Gate, Fault> {
        checked(&listener)?;
        let failed = |error: &dyn std::fmt::Display| {
            Fault::new(FaultCode::ResourcesExhausted, format!("open the way out of a sandbox: {error}"))
        };
        let policy = self.policy();
        let keeper = locked(&self.keeper).clone().filter(|_| !asked.secrets.is_empty());
        let inner = &self.inner;
        let mut state = locked(&inner.state);
        let dead =
            state.process.as_mut().and_then(|process| (!process.lives()).then_some(process.generation));
        if let Some(generation) = dead {
            inner.bury(&mut state, generation);
        }
        if state.process.is_none() {
            inner.start(&mut state).map_err(|error| failed(&error))?;
        }
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        let Some(process) = &mut state.process else { return Err(failed(&"there is no process")) };
        process.have_heard(inner).map_err(|error| failed(&error))?;
        let (sender, heard) = unbounded_channel();
        let mut served = Served {
            listener: Some(listener),
            asked: asked.clone(),
            policy,
            keeper: keeper.map(|keeper| (keeper, tenant.to_owned())),
            generation: process.generation,
            account: Account::default(),
            sender,
        };
        // Before anything can be told of it, it is known.
        let mut gates = locked(&inner.gates);
        served.serve_by(number, process.generation, &process.socket).map_err(|error| failed(&error))?;
        gates.insert(number, served);
        Ok(Gate { number, service: Arc::downgrade(inner), heard, questions: 0 })
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
    service: Weak<Inner>,
    heard: UnboundedReceiver<Heard>,
    /// How often it was asked what was tried so far.
    questions: u32,
}

impl Gate {
    /// Waits for what is tried next; `None` when nothing can be any more. Safe to drop between.
    pub async fn next(&mut self) -> Option<EgressAttempt> {
        loop {
            match self.heard.recv().await? {
                Heard::Attempt(attempt) => return Some(attempt),
                Heard::SoFar(_) | Heard::Lost => {}
            }
        }
    }

    /// What was tried so far and has not been read: all that those tried who say no more. If the process dies, the next one is asked.
    pub async fn told(&mut self) -> Vec<EgressAttempt> {
        let mut told = Vec::new();
        loop {
            self.questions = self.questions.wrapping_add(1);
            let question = numbered(ASK, &[self.number, self.questions]);
            let reached = self
                .service
                .upgrade()
                .map_or(Reached::Nobody, |service| locked(&service.state).say(&question));
            if let Reached::Nobody = reached {
                while let Ok(heard) = self.heard.try_recv() {
                    told.extend(heard.attempt());
                }
                return told;
            }
            loop {
                match self.heard.recv().await {
                    Some(Heard::SoFar(question)) if question == self.questions => return told,
                    None => return told,
                    // Perhaps of a process before the one that was asked, which is then asked twice.
                    Some(Heard::Lost) => break,
                    Some(heard) => told.extend(heard.attempt()),
                }
            }
        }
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
            rest.extend(heard.attempt());
        }
        rest
    }

    fn ask_to_close(&self) {
        if let Some(service) = self.service.upgrade() {
            service.close(self.number);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.ask_to_close();
    }
}
