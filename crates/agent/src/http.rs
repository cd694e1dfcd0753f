//! One request to a provider and what comes back, line by line, while somebody may say stop.
//!
//! A thread waits for the network; we wait for the thread, for a stop and for the time, and leave the thread behind when one of these
//! comes first. It ends by itself: at its next line, or when its own patience does.

use crate::error::ModelError;
use crate::provider::Watch;
use model::Rejection;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Body};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a provider may think before its first word, and say nothing between two. The task's own time may be shorter.
const SILENCE: Duration = Duration::from_secs(300);
/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Longest line of a stream.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// Longest answer, with all that the stream adds.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Longest error that is read.
const ERROR_BYTES_MAX: u64 = 64 << 10;
/// Lines that may wait to be read.
const LINES_WAITING_MAX: usize = 64;

/// Why a request has no answer, and what was answered instead.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: ModelError,
    /// The status and the body of an answer that is an error; 0 of one that came within a stream.
    pub answer: Option<Box<(u16, Value)>>,
    /// Whether a part of the answer was handed on: then it cannot be asked for again.
    pub begun: bool,
}

impl From<ModelError> for Failed {
    fn from(error: ModelError) -> Self {
        Self { error, answer: None, begun: false }
    }
}

/// A place that answers requests.
#[derive(Clone)]
pub struct Exchange {
    agent: Agent,
    base_url: String,
}

impl Exchange {
    /// The place at this URL. `proxy` is used for all but this machine.
    pub fn new(base_url: &str, proxy: Option<&str>) -> Result<Self, Rejection> {
        let base_url = base_url.trim_end_matches('/');
        if !base_url.starts_with("https://") && !base_url.starts_with("http://") {
            let message = format!("{base_url:?} is not an address of a provider");
            return Err(Rejection::new("--base-url", message, "use https://HOST/… or http://HOST:PORT/…"));
        }
        let here =
            ["http://127.", "http://localhost", "http://[::1]"].iter().any(|here| base_url.starts_with(here));
        let proxy = proxy.filter(|_| !here).map(|proxy| {
            ureq::Proxy::new(proxy).map_err(|error| {
                Rejection::new(
                    "HTTPS_PROXY",
                    format!("cannot be used: {error}"),
                    "set it to http://HOST:PORT",
                )
            })
        });
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A key is for the place that was named.
            .max_redirects(0)
            .proxy(proxy.transpose()?)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("fireclay/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: agent.into(), base_url: base_url.to_owned() })
    }

    /// Sends JSON and hands each event of the answer to `read`; a whole answer is one event.
    pub fn post(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: String,
        watch: &Watch<'_>,
        mut read: impl FnMut(&Value) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        // A base that already ends in the version that the path begins with, as many people write it.
        let base = match path.split('/').nth(1) {
            Some(version) => self.base_url.strip_suffix(&format!("/{version}")).unwrap_or(&self.base_url),
            None => &self.base_url,
        };
        let mut request = Request::builder().method("POST").uri(format!("{base}{path}"));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.header("content-type", "application/json").body(body);
        let request =
            request.map_err(|error| ModelError::Rejected(format!("the request cannot be sent: {error}")))?;
        let agent = self.agent.clone();
        let (told, events) = mpsc::sync_channel(LINES_WAITING_MAX);
        std::thread::spawn(move || {
            let end = converse(&agent, request, &told);
            // Nobody may be waiting any more.
            drop(told.send(end.map(|()| None)));
        });
        while let Some(event) = next(&events, watch)? {
            read(&event)?;
        }
        Ok(())
    }
}

type Told = Result<Option<Value>, Failed>;

/// The next event; `None` after the last.
fn next(events: &Receiver<Told>, watch: &Watch<'_>) -> Told {
    loop {
        match events.recv_timeout(LOOK) {
            Ok(told) => return told,
            Err(RecvTimeoutError::Timeout) if (watch.stop)() || Instant::now() >= watch.until => {
                return Err(ModelError::Stopped.into());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(unavailable("the thread that asks has ended").into());
            }
        }
    }
}

fn converse(agent: &Agent, request: Request<String>, told: &SyncSender<Told>) -> Result<(), Failed> {
    let mut answer = agent.run(request).map_err(|error| unavailable(&error.to_string()))?;
    let status = answer.status();
    if !status.is_success() {
        let waits = retry_after(answer.headers());
        let mut text = Vec::new();
        // What of an error cannot be read is not told; its status is.
        drop(answer.body_mut().as_reader().take(ERROR_BYTES_MAX).read_to_end(&mut text));
        let error = ModelError::of_answer(status.as_u16(), waits, &String::from_utf8_lossy(&text));
        let answer = serde_json::from_slice(&text).ok().map(|body| Box::new((status.as_u16(), body)));
        return Err(Failed { error, answer, begun: false });
    }
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
    let read = if is_stream { stream(answer.into_body(), told) } else { whole(answer.into_body(), told) };
    read.map_err(Failed::from)
}

fn whole(body: Body, told: &SyncSender<Told>) -> Result<(), ModelError> {
    let mut text = Vec::new();
    body.into_with_config()
        .limit(LINE_BYTES_MAX)
        .reader()
        .read_to_end(&mut text)
        .map_err(|error| unavailable(&error.to_string()))?;
    drop(told.send(parse(&text).map(Some).map_err(Failed::from)));
    Ok(())
}

/// Server-sent events (WHATWG HTML §9.2), of which only the data matters: each format says in it what it is.
fn stream(body: Body, told: &SyncSender<Told>) -> Result<(), ModelError> {
    let mut reader = BufReader::new(body.into_with_config().limit(ANSWER_BYTES_MAX).reader());
    let mut data: Vec<u8> = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let bytes = read.map_err(|error| unavailable(&error.to_string()))?;
        if bytes > 0 && !line.ends_with(b"\n") && bytes as u64 == LINE_BYTES_MAX {
            return Err(ModelError::Malformed(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let line = line.trim_ascii_end();
        if let Some(value) = line.strip_prefix(b"data:") {
            if !data.is_empty() {
                data.push(b'\n');
            }
            data.extend_from_slice(value.trim_ascii_start());
        }
        if (line.is_empty() || bytes == 0) && !data.is_empty() {
            if data == b"[DONE]" {
                return Ok(());
            }
            let event = parse(&data)?;
            data.clear();
            if told.send(Ok(Some(event))).is_err() {
                return Ok(());
            }
        }
        if bytes == 0 {
            return Ok(());
        }
    }
}

fn parse(text: &[u8]) -> Result<Value, ModelError> {
    serde_json::from_slice(text).map_err(|error| ModelError::Malformed(error.to_string()))
}

fn unavailable(message: &str) -> ModelError {
    ModelError::Unavailable { message: crate::bounded::escaped(message), retry_after: None }
}

/// How long a service asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110 §10.2.3). A date is reckoned from the
/// answer's own, where it has one, so that only the service's clock counts.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    if let Some(seconds) = number("retry-after-ms").map(|ms| ms / 1e3).or_else(|| number("retry-after")) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |name: &str| httpdate::parse_http_date(text(name)?).ok();
    let then = date("retry-after")?;
    Some(then.duration_since(date("date").unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

/// A wait that a stop can end.
pub struct Waited(bool);

impl Waited {
    /// Waits until then, or until it is told to stop.
    pub fn until(then: Instant, stop: &dyn Fn() -> bool) -> Self {
        while !stop() {
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Self(true);
            }
            std::thread::sleep(left.min(LOOK));
        }
        Self(false)
    }

    /// Whether nobody said stop.
    pub fn in_peace(self) -> bool {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read() {
        let of = |name: &'static str, value: &str| {
            retry_after(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        assert_eq!(of("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(of("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        for wrong in ["-1", "nan", "1e300", "tomorrow"] {
            assert_eq!(of("retry-after", wrong), None, "{wrong}");
        }
        let past = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(of("retry-after", past), Some(Duration::ZERO));
        let both = [("date", past), ("retry-after", "Sat, 01 Jan 2000 00:00:09 GMT")];
        let both = both.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert_eq!(retry_after(&HeaderMap::from_iter(both)), Some(Duration::from_secs(10)));
    }
}
