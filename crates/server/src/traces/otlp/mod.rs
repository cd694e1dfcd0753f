//! Sends what ended to an OpenTelemetry collector: OTLP/HTTP with Protocol Buffers (opentelemetry.io/docs/specs/otlp).
//!
//! It follows traces as anybody does who listens: it reads the store, at its own pace, and whoever records never waits for it. While the collector
//! does not answer, the latest changes wait in [`super::Notices`]; those that were pushed out are counted as dropped.

mod wire;

use super::{Change, Notice, Span};
use crate::service::Service;
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use model::TraceId;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::Scope;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Ended parts of traces that are sent at once.
const AT_ONCE: usize = 64;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a request is sent, and how long after the first failure again; after each more, twice as long.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that a collector may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Where collectors take traces, if the address names no path.
const PATH: &str = "/v1/traces";

/// A connection with TLS around it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is going to be secured.
pub type Secured<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// What speaks TLS to a collector, and checks that it is the one that was named.
pub trait Tls: Send + Sync + fmt::Debug {
    /// The connection, secured.
    fn secure<'a>(&'a self, host: &'a str, stream: TcpStream) -> Secured<'a>;
}

/// Where to send.
#[derive(Debug, Clone)]
pub struct Collector {
    tls: Option<Arc<dyn Tls>>,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Collector {
    /// The one at this address, `http[s]://HOST[:PORT][/PATH]`, with `tls` for the latter, asked with these headers, `NAME=VALUE,…` with values percent-encoded as in
    /// `OTEL_EXPORTER_OTLP_HEADERS`. Fails with words for whoever wrote the settings.
    pub fn new(endpoint: &str, headers: &str, tls: Option<Arc<dyn Tls>>) -> Result<Self, String> {
        let uri: Uri = endpoint.parse().map_err(|_| format!("{endpoint:?} is not an address"))?;
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let none = || {
                    format!(
                        "{endpoint:?} needs TLS, which this build has not: build it with all its features"
                    )
                };
                (Some(tls.ok_or_else(none)?), 443)
            }
            _ => return Err(format!("{endpoint:?} is not http://… or https://…")),
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| format!("{endpoint:?} names no host"))?;
        let path = Some(uri.path()).filter(|path| *path != "/" && !path.is_empty()).unwrap_or(PATH);
        let headers = headers.split(',').filter(|pair| !pair.trim().is_empty()).map(header);
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(port),
            path: path.to_owned(),
            headers: headers.collect::<Result<_, _>>()?,
        })
    }

    /// What only the collector may see.
    pub fn secrets(&self) -> Vec<String> {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        values.flat_map(|value| value.split_ascii_whitespace().map(str::to_owned)).collect()
    }

    /// Sends a request once; answers its status, and how long the collector would have us wait.
    async fn send(&self, body: Bytes) -> Result<(StatusCode, Option<Duration>), String> {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| error.to_string())?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => tls.secure(host, stream).await.map_err(|error| error.to_string())?,
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driving = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string());
        let told = match answer {
            Ok(answer) => {
                let after =
                    answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let status = answer.status();
                // Read to its end, so that the collector is not cut off.
                drop(Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await);
                Ok((status, after.map(|seconds| Duration::from_secs(seconds).min(PAUSE_MAX))))
            }
            Err(error) => Err(error),
        };
        driving.abort();
        told
    }
}

fn header(pair: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = pair.split_once('=').ok_or("a header is not NAME=VALUE")?;
    let name: HeaderName =
        name.trim().parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
    let value = percent_decoded(value.trim());
    let mut value = HeaderValue::from_bytes(&value)
        .map_err(|_| format!("the value of the header {name} cannot be sent"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// What was sent so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// Ended parts of traces that the collector took.
    pub taken: AtomicU64,
    /// Those that it did not, or that went before they were sent.
    pub dropped: AtomicU64,
}

/// Sends what ends from this call on, whenever it is polled first; returns after `ending` fires, when what ended before it is sent or refused.
pub fn export(
    service: Arc<Service>,
    collector: Collector,
    ending: CancellationToken,
) -> impl Future<Output = ()> {
    let at = service.traces.notices.last();
    export_after(at, service, collector, ending)
}

async fn export_after(mut at: u64, service: Arc<Service>, collector: Collector, ending: CancellationToken) {
    loop {
        let (notices, last) = tokio::select! {
            notices = service.traces.notices.after(at, AT_ONCE) => (notices, false),
            () = ending.cancelled() => (service.traces.notices.kept_after(at, AT_ONCE), true),
        };
        let Some(end) = notices.last().map(|notice| notice.number) else { return };
        // Numbers have no gaps but for what was pushed out.
        let missed = end - at - notices.len() as u64;
        service.traces.sent.dropped.fetch_add(missed, Ordering::Relaxed);
        at = end;
        let mut spans = Vec::new();
        for notice in &notices {
            spans.extend(span_of(&service, notice).await);
        }
        if !spans.is_empty() {
            deliver(&service, &collector, &spans, last).await;
        }
    }
}

/// The span that ended, with all within it that is not sent when it ends itself.
async fn span_of(service: &Arc<Service>, notice: &Notice) -> Option<(TraceId, String, Span)> {
    let Change::Ended(own) = notice.change else { return None };
    let (own, scope) = (own.to_string(), Scope::Tenant(notice.tenant.clone()));
    let (_, roots) = service.whole_trace(scope, notice.id).await.ok()?;
    let root = roots.into_iter().find_map(|root| taken_from(root, &own))?;
    Some((notice.id, notice.tenant.to_string(), root.alone()))
}

/// The span of this id: a root, or below a span that a program of the caller told.
fn taken_from(span: Span, own: &str) -> Option<Span> {
    if span.id == own {
        Some(span)
    } else {
        span.children.into_iter().find_map(|child| taken_from(child, own))
    }
}

/// Sends spans until they are taken, refused for good, or tried often enough; once if it is the last word.
async fn deliver(service: &Service, collector: &Collector, spans: &[(TraceId, String, Span)], last: bool) {
    let body = Bytes::from(wire::request(spans));
    let (mut pause, count) = (PAUSE, spans.len() as u64);
    let tries = if last { 1 } else { TRIES };
    for again in (0..tries).rev() {
        let sent = tokio::time::timeout(PATIENCE, collector.send(body.clone())).await;
        let sent = sent.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let (why, wanted) = match sent {
            Ok((status, _)) if status.is_success() => {
                service.traces.sent.taken.fetch_add(count, Ordering::Relaxed);
                return;
            }
            Ok((status, after)) => (Err(status), after),
            Err(error) => (Ok(error), None),
        };
        // Those that the standard lets be sent again (OTLP/HTTP, Failures).
        let passes = why.as_ref().err().is_none_or(|status| matches!(status.as_u16(), 429 | 502 | 503 | 504));
        let why = why.unwrap_or_else(|status| format!("it answers {status}"));
        if again == 0 || !passes {
            worker::log::warn(format_args!(
                "{count} traces were not taken by {}:{}: {why}",
                collector.host, collector.port
            ));
            service.traces.sent.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
        // It may have them all the same: what was not answered in time is sent twice.
        worker::log::warn(format_args!(
            "{count} traces are sent again to {}:{}: {why}",
            collector.host, collector.port
        ));
        tokio::time::sleep(wanted.unwrap_or(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused_in_words() {
        let read = |endpoint: &str| Collector::new(endpoint, "", None).map(|at| (at.host, at.port, at.path));
        assert_eq!(read("http://c:4318").unwrap(), ("c".into(), 4318, PATH.into()));
        assert_eq!(read("http://c/own/path").unwrap(), ("c".into(), 80, "/own/path".into()));
        assert_eq!(read("http://[::1]:9/").unwrap(), ("[::1]".into(), 9, PATH.into()));
        for bad in ["", "c:4318", "https://c", "ftp://c", "http://"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_read_as_opentelemetry_spells_them() {
        let collector = Collector::new("http://c", "authorization=Bearer%20x%3D, x-two = 2", None).unwrap();
        let headers: Vec<_> =
            collector.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, [("authorization", "Bearer x="), ("x-two", "2")]);
        assert!(Collector::new("http://c", "nothing", None).is_err());
        assert!(Collector::new("http://c", "a b=1", None).is_err());
    }
}
