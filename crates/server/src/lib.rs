//! The doors of fireclay: HTTP, admission, tenants, batches. Knows no kernel; runs are the worker's.

pub mod attach;
pub mod batches;
pub mod chat;
mod checks;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(not(feature = "cluster"))]
#[path = "cluster/left_out.rs"]
pub mod cluster;
pub mod console;
pub mod counters;
pub mod doctor;
pub mod events;
mod housekeeping;
pub mod http;
mod listen;
pub mod live;
pub mod local;
pub mod models;
pub mod needs;
pub mod ports;
pub mod problem;
pub mod pulse;
pub mod quotas;
pub mod receipts;
mod reviews;
mod runtime;
pub mod secrets;
pub mod service;
pub mod sessions;
pub mod settings;
pub mod tasks;
pub mod traces;
mod way;

use ports::Base;
use service::Service;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use traces::otlp;

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Whoever reaches the address could run code.
    #[error(
        "listen on {0}: it can be reached from outside and there is no key; `fireclay key create --role admin` makes one"
    )]
    NoKey(std::net::SocketAddr),
    /// The address cannot be had.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Signals cannot be had.
    #[error("listen for signals: {0}")]
    Signals(io::Error),
}

/// Serves until SIGTERM, SIGINT, or a local service's end of use: then runs go on until they end or the drain's deadline, at a second
/// signal to no end at all. `ready` is told the address; `leaving` is called when nothing more is taken in.
pub async fn serve(
    service: Arc<Service>,
    ready: impl FnOnce(std::net::SocketAddr),
    leaving: impl FnOnce(),
) -> Result<(), ServeError> {
    let address = service.settings.listen;
    if !address.ip().is_loopback() && !service.store.has_key(service::now_ms()) {
        return Err(ServeError::NoKey(address));
    }
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    // Beside it: what a guest serves is never of one origin with the API.
    let ports = listen_for_ports(&service).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    ready(listener.local_addr().map_err(listen)?);
    let (ending, told) = watch::channel(false);
    let end = CancellationToken::new();
    // Before anything is served: what ends is sent from here on.
    let sending = service.traces.collector.clone().map(|collector| {
        let end = CancellationToken::new();
        (tokio::spawn(otlp::export(service.clone(), collector, end.clone())), end)
    });
    let router = http::router(service.clone(), end.clone());
    let serving = tokio::spawn(listen::serve(listener, (router, end), service.clone(), told.clone()));
    let serving_ports = ports.map(|(listener, base)| {
        let end = CancellationToken::new();
        let router = ports::router(service.clone(), base, end.clone());
        tokio::spawn(listen::serve(listener, (router, end), service.clone(), told))
    });
    let keeping = tokio::spawn(keep_house(service.clone()));
    let installing = tokio::spawn({
        let installer = service.machine.installer().clone();
        async move { installer.install_ahead().await }
    });
    let relieving = tokio::spawn({
        let service = service.clone();
        async move { service.relieve_memory().await }
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = service.unused() => {}
    }
    service.drain();
    leaving();
    let patience = Duration::from_millis(service.settings.drain_timeout_ms);
    let drained = async {
        drop(tokio::time::timeout(patience, service.live.empty()).await);
        take_back_all(&service).await;
        drop(tokio::time::timeout(patience, service.tasks.empty()).await);
        if let Some(elsewhere) = service.elsewhere.get() {
            drop(tokio::time::timeout(patience, elsewhere.left()).await);
        }
        // Their records are written; whoever waits for an answer gets it.
        ending.send_replace(true);
        drop(tokio::time::timeout(patience, service.attachments.end()).await);
        drop(tokio::time::timeout(patience, serving).await);
        if let Some(serving) = serving_ports {
            drop(tokio::time::timeout(patience, serving).await);
        }
        // A request that was half in when the drain began may have made one more.
        take_back_all(&service).await;
        service.sessions.end_all("the service ended in order");
        drop(tokio::time::timeout(patience, service.sessions.empty()).await);
        if let Some(elsewhere) = service.elsewhere.get() {
            drop(tokio::time::timeout(patience, elsewhere.leave(&service)).await);
        }
        if let Some((sending, end)) = sending {
            end.cancel();
            drop(tokio::time::timeout(patience, sending).await);
        }
    };
    tokio::select! {
        () = drained => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    keeping.abort();
    installing.abort();
    relieving.abort();
    // Also of a service that is told to end at once: their keepers would wait for ever.
    service.sessions.end_all("the service ended");
    Ok(())
}

/// Listens for those who visit ports of sessions, if the settings want that, and says how they are reached.
async fn listen_for_ports(service: &Service) -> Result<Option<(TcpListener, Base)>, ServeError> {
    let settings = &service.settings.ports;
    let Some(address) = settings.listen else { return Ok(None) };
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let base = Base::of(settings, listener.local_addr().map_err(listen)?);
    // Only here: there is one listener.
    drop(service.sessions.ports.set(base.clone()));
    Ok(Some((listener, base)))
}

/// Takes back every run that is on its way here; returns when what became of them is in the store. What other nodes have goes on: the
/// service that follows hears what became of it.
async fn take_back_all(service: &Service) {
    service.live.all().iter().filter(|run| !run.goes_on()).for_each(|run| run.cancel());
    service.live.empty_but_elsewhere().await;
}

/// How often old records are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Removes what is too old or too much, takes in what one-shot commands left, for as long as the service lives.
async fn keep_house(service: Arc<Service>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    loop {
        tick.tick().await;
        if let Err(problem) = service.keep_house().await {
            worker::log::warn(format_args!("keep house: {problem}"));
        }
        if let Err(problem) = service.clear_sessions().await {
            worker::log::warn(format_args!("clear old sessions: {problem}"));
        }
        service.logins.clear(&service, service::now_ms()).await;
    }
}
