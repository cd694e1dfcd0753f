//! The listener: connections are bounded in number, in the time a head may take, and in how long nobody moves.

use crate::http::aigne::Peer;
use crate::service::Service;
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Most headers of one request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long to wait after a failed accept: for descriptors, mostly, which others must first give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections by a router until `ending` is true; then ends its streams that would go on for ever, finishes requests that are
/// being answered, and returns.
pub async fn serve(
    listener: TcpListener,
    (router, streams_end): (Router, CancellationToken),
    service: Arc<Service>,
    mut ending: watch::Receiver<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(service.settings.connections));
    loop {
        let place = places.clone().acquire_owned();
        let accepted = async { (place.await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = ended(&mut ending) => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let (service, ending) = (service.clone(), ending.clone());
                let router = router.clone().map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(Peer(from));
                    request
                });
                tokio::spawn(async move {
                    connection(stream, TowerToHyperService::new(router), &service, ending).await;
                    drop(place);
                });
            }
            Err(error) => {
                worker::log::warn(format_args!("accept a connection: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    streams_end.cancel();
    // All places are free when the last connection has ended.
    let all = u32::try_from(service.settings.connections).unwrap_or(u32::MAX);
    drop(places.acquire_many(all).await);
    Ok(())
}

/// Serves one connection. What goes wrong on it is the client's loss alone.
async fn connection<S>(stream: TcpStream, router: S, service: &Service, mut ending: watch::Receiver<bool>)
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    // An answer is written at once or as it comes: waiting for more to send helps nobody.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    // Reading has its own limits: a head by time, a body by pause.
    stream.set_write_timeout(Some(Duration::from_millis(service.settings.body_timeout_ms)));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(service.settings.header_timeout_ms))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), router)
        // What becomes a WebSocket is bounded where it does.
        .with_upgrades();
    let mut serving = pin!(serving);
    tokio::select! {
        // An error here is a client that broke off or spoke no HTTP: hyper has answered what can be answered.
        done = serving.as_mut() => drop(done),
        () = ended(&mut ending) => {
            serving.as_mut().graceful_shutdown();
            drop(serving.await);
        }
    }
}

/// Waits until the service is to end.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: that is an end too.
    drop(ending.wait_for(|ending| *ending).await);
}
