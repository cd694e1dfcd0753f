//! The proxy of one sandbox: its rules, its limits, its listener.

use crate::address::Private;
use crate::attempt::{Ledger, Sink, Totals};
use crate::dial::Resolve;
use crate::guests::Guests;
use crate::limits::Limits;
use crate::rules::Rules;
use crate::secret::Secrets;
use crate::visit::{turn_away, visit};
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Most connections that are being told that there are too many; more are closed without a word.
const TURNED_AWAY_MAX: usize = 16;

/// How often it is looked whether all is told.
const LOOK: Duration = Duration::from_millis(1);

/// How long to wait when the process has no descriptor left for a connection.
const BREATH: Duration = Duration::from_millis(50);

/// The proxy of one sandbox. Everything about who asks is in which listener it serves.
pub struct Proxy {
    pub(crate) rules: Rules,
    pub(crate) private: Private,
    pub(crate) limits: Limits,
    pub(crate) resolver: Box<dyn Resolve>,
    pub(crate) ledger: Ledger,
    pub(crate) secrets: Option<Secrets>,
    guests: Guests,
}

/// A listener that can be served: TCP in the sandbox's network, or a Unix socket.
pub trait Listen: AsFd + Send {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static;

    /// Returns the next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Proxy {
    /// Makes the proxy of one sandbox. `private` is the operator's, never a request's; `sink` is told each attempt.
    #[must_use]
    pub fn new(
        rules: Rules,
        private: Private,
        limits: Limits,
        resolver: Box<dyn Resolve>,
        sink: Sink,
    ) -> Self {
        let ledger = Ledger::new(sink, &limits);
        let guests = Guests::default();
        Self { rules, private, limits, resolver, ledger, secrets: None, guests }
    }

    /// Reads what goes to the hosts that these are for, and puts them in.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets: Some(secrets), ..self }
    }

    /// Serves a listener until it fails, or the returned future is dropped: then all its connections end, and are told of.
    ///
    /// # Errors
    /// What the listener fails with, but for connections that end before they are accepted and for a process that has no descriptor left.
    pub async fn serve<L: Listen>(self: Arc<Self>, listener: L) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let doors = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        let mut visits = JoinSet::new();
        self.guests.come_from(&listener);
        loop {
            let stream = match listener.next().await {
                Ok(stream) => stream,
                Err(why) if is_of_one_connection(&why) => continue,
                Err(why) if is_for_now(&why) => {
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
                Err(why) => return Err(why),
            };
            while visits.try_join_next().is_some() {}
            let proxy = Arc::clone(&self);
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                visits.spawn(async move {
                    let guest = proxy.guests.enter(&stream);
                    visit(&proxy, stream).await;
                    drop((guest, place));
                });
            } else if let Ok(door) = Arc::clone(&doors).try_acquire_owned() {
                visits.spawn(async move {
                    let guest = proxy.guests.enter(&stream);
                    turn_away(&proxy, stream).await;
                    drop((guest, door));
                });
            }
        }
    }

    /// Serves one connection to its end. It is not counted among the connections at once: whoever calls this bounds them.
    pub async fn attend<S: AsyncRead + AsyncWrite + Send + Unpin>(&self, stream: S) {
        visit(self, stream).await;
    }

    /// Returns when all is told that those tried who say no more, or after `patience`. What a connection tried that goes on is told when it
    /// ends.
    pub async fn caught_up(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.guests.is_behind() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns the sums over all connections that have ended, and the bytes of those that have not.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.ledger.totals()
    }
}

// accept(2): errors of the network of one connection.
fn is_of_one_connection(why: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(why.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}

// EMFILE, ENFILE, ENOBUFS, ENOMEM (errno(3), Linux).
fn is_for_now(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(24 | 23 | 105 | 12))
}
