//! The process that serves proxies: confined, then one thread that waits for the service and for all connections.

use super::secrets::with;
use super::{ASK, ATTEMPT, CLOSE, OPEN, Open, SO_FAR, Told, rules_of, two_numbers};
use crate::json;
use egress::address::Private;
use egress::rules::Rules;
use egress::{Attempt, Limits, Proxy, System, Verdict};
use model::{EgressAttempt, EgressVerdict};
use sandbox::host::{Host, Outside};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;
use sys::landlock::Rights;
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, LocalSet};

/// Threads that may wait for the resolver.
const RESOLVERS_MAX: usize = 32;
/// Most memory of its own that it may have, in bytes.
const DATA_BYTES: u64 = 2 << 30;
/// How long an answer waits for connections that are at their end.
const CAUGHT_UP: Duration = Duration::from_millis(500);
/// Longest packet from the service: a tag and two numbers.
const PACKET_BYTES: usize = 9;
/// What the resolver reads, and where a link of it may lead.
const READABLE: [&str; 3] = ["/etc", "/run/systemd/resolve", "/run/resolvconf"];

/// Serves one service over `socket` until it is gone. The caller has a single thread and no secrets.
pub fn live(socket: OwnedFd) -> io::Result<()> {
    sys::signal::ignore_broken_pipes()?;
    // A terminal's Ctrl-C goes to the whole group; when to end is the service's to say, by closing the socket.
    let signals = sys::signal::as_descriptor(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
    confine()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(RESOLVERS_MAX)
        .build()?;
    let served = LocalSet::new().block_on(&runtime, serve(socket));
    drop(signals);
    // A resolver that hangs is left behind.
    runtime.shutdown_background();
    served
}

/// Gives up all that is not needed, for ever.
fn confine() -> io::Result<()> {
    sys::limits::raise_open_files()?;
    sys::limits::lower(libc::RLIMIT_CORE, 0)?;
    sys::limits::lower(libc::RLIMIT_DATA, DATA_BYTES)?;
    let readable = READABLE.iter().filter_map(|path| File::open(path).ok());
    let rules: Vec<(OwnedFd, Rights)> = readable.map(|place| (place.into(), Rights::Read)).collect();
    if let (true, Ok(outside @ Outside::Reserved { .. })) =
        (rustix::process::geteuid().is_root(), Host::detect().outside)
    {
        // That of a sandbox whose init would be this process: nobody else's.
        let (uid, gid) = outside.ids(rustix::process::getpid().as_raw_nonzero().get());
        sys::identity::become_powerless_user(uid, gid)?;
    }
    sys::identity::set_dumpable(false)?;
    sys::identity::set_no_new_privileges()?;
    if sys::landlock::version() > 0 {
        sys::landlock::restrict(&rules)?;
    }
    Ok(sys::seccomp::install(sandbox::seccomp::proxy())?)
}

/// What is to be said to the service.
enum Word {
    Attempt(Told),
    /// Of this gate, in answer to the question with this number.
    SoFar(u32, u32),
    Closed(u32),
}

/// What tells of one listener: when the last connection has let go of it, nothing more can be told.
struct Teller {
    number: u32,
    words: UnboundedSender<Word>,
}

impl Teller {
    fn tell(&self, attempt: Attempt) {
        let Attempt { host, port, verdict, reason, bytes_up, bytes_down, ms } = attempt;
        let verdict = match verdict {
            Verdict::Allowed => EgressVerdict::Allowed,
            Verdict::Refused => EgressVerdict::Refused,
            Verdict::Failed => EgressVerdict::Failed,
        };
        let attempt = EgressAttempt { host, port, verdict, reason, bytes_up, bytes_down, ms };
        // A service that is gone hears nothing.
        drop(self.words.send(Word::Attempt(Told { number: self.number, attempt })));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        drop(self.words.send(Word::Closed(self.number)));
    }
}

async fn serve(socket: OwnedFd) -> io::Result<()> {
    sys::fs::set_nonblocking(socket.as_fd())?;
    // A seqpacket socket in truth: the runtime's type lends only its readiness.
    let socket = UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))?;
    let (words, said) = unbounded_channel();
    tokio::select! {
        heard = hear(&socket, words) => heard,
        spoken = speak(&socket, said) => spoken,
    }
}

/// Obeys the service until it is gone.
async fn hear(socket: &UnixStream, words: UnboundedSender<Word>) -> io::Result<()> {
    let mut packet = [0; PACKET_BYTES];
    let mut served: BTreeMap<u32, (AbortHandle, Weak<Proxy>)> = BTreeMap::new();
    loop {
        let receive = || Ok(sys::socket::receive(socket.as_fd(), &mut packet)?);
        let (length, descriptors) = socket.async_io(Interest::READABLE, receive).await?;
        match (packet.get(..length), descriptors.as_slice()) {
            (Some([]) | None, _) => return Ok(()),
            (Some([OPEN]), [_, said]) => {
                let open: Open = json::read_memory(said)?;
                let number = open.number;
                let listener = descriptors.into_iter().next();
                let teller = Teller { number, words: words.clone() };
                match listener.ok_or(io::ErrorKind::InvalidData.into()).and_then(listening) {
                    Ok(listener) => {
                        // One that cannot be served is not: the others go on.
                        let proxy = match proxy_of(open, teller) {
                            Ok(proxy) => proxy,
                            Err(error) => {
                                crate::log::warn(format_args!("egress: {error}"));
                                continue;
                            }
                        };
                        let weak = Arc::downgrade(&proxy);
                        let serving = async move {
                            if let Err(error) = proxy.serve(listener).await {
                                crate::log::warn(format_args!("egress: accept in a sandbox: {error}"));
                            }
                        };
                        served.insert(number, (tokio::task::spawn_local(serving).abort_handle(), weak));
                    }
                    Err(error) => crate::log::warn(format_args!("egress: {error}")),
                }
            }
            (Some([CLOSE, number @ ..]), []) => {
                let number = number.try_into().map(u32::from_le_bytes).unwrap_or_default();
                if let Some((serving, _)) = served.remove(&number) {
                    serving.abort();
                }
            }
            (Some([ASK, rest @ ..]), []) => {
                let (number, question) = two_numbers(rest);
                let (proxy, words) =
                    (served.get(&number).and_then(|(_, proxy)| proxy.upgrade()), words.clone());
                tokio::task::spawn_local(async move {
                    if let Some(proxy) = proxy {
                        proxy.caught_up(CAUGHT_UP).await;
                    }
                    // A service that is gone hears nothing.
                    drop(words.send(Word::SoFar(number, question)));
                });
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn listening(listener: OwnedFd) -> io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(listener))
}

/// The service looked at all of this before it was admitted: what cannot be read here allows nothing.
fn proxy_of(Open { asked, policy, secrets, .. }: Open, teller: Teller) -> io::Result<Arc<Proxy>> {
    let wrong = |what: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
    let rules = rules_of(&asked, &policy.tunnels).map_err(|(_, bad)| wrong(&bad))?;
    let rules = match policy.within.is_empty() {
        true => rules,
        false => rules.within(Rules::parse(&policy.within).map_err(|bad| wrong(&bad))?),
    };
    let private = Private::parse(&policy.private).map_err(|bad| wrong(&bad))?;
    let limits = Limits {
        connections_max: policy.connections,
        bytes_up_max: policy.bytes_up,
        bytes_down_max: policy.bytes_down,
        ..Limits::default()
    };
    let proxy =
        Proxy::new(rules, private, limits, Box::new(System), Box::new(move |attempt| teller.tell(attempt)));
    Ok(Arc::new(with(proxy, secrets)?))
}

fn numbered(tag: u8, numbers: &[u32]) -> Vec<u8> {
    let mut packet = vec![tag, 0];
    packet.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    packet
}

/// Says all that is to be said.
async fn speak(socket: &UnixStream, mut said: UnboundedReceiver<Word>) -> io::Result<()> {
    while let Some(word) = said.recv().await {
        let (packet, file) = match word {
            Word::Attempt(told) => json::packet([ATTEMPT, 0], &told)?,
            Word::SoFar(number, question) => (numbered(SO_FAR, &[number, question]), None),
            Word::Closed(number) => (numbered(CLOSE, &[number]), None),
        };
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        let send = || Ok(sys::socket::send(socket.as_fd(), &packet, &files)?);
        socket.async_io(Interest::WRITABLE, send).await?;
    }
    Ok(())
}
