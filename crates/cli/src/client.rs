//! Asks a running service over its public HTTP API: another command's way to a data directory that a service owns.

use crate::serving::Serving;
use anyhow::Context;
use model::{Limits, LimitsPatch, Rejection, RunRequest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, WebSocket};
use ureq::http::{HeaderValue, Request, Response, Uri};
use ureq::{Agent, Body, SendBody};

/// How long an answer may take. Nothing that is asked here runs code.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a service says to a run.
pub enum Answer {
    /// It has it: the run's id, and its events as they come.
    Events {
        /// Names the run in paths.
        id: String,
        /// Server-sent events.
        events: Box<dyn BufRead>,
    },
    /// It takes none of this caller now: it wants a key, or is busy, or ends.
    NotNow,
}

/// What a path does not hold as it is (RFC 3986 §3.3), or what would end a part of it.
const NOT_IN_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path of a file of a session.
fn file_path(session: &str, path: &str) -> String {
    format!("/v1/sessions/{session}/files/{}", utf8_percent_encode(path, NOT_IN_PATHS))
}

/// The path of a directory of a session as an archive.
fn archive_path(session: &str, path: &str) -> String {
    format!("/v1/sessions/{session}/archive?path={}", in_query(path))
}

/// Text as a part of a query (RFC 3986 §3.4).
pub fn in_query(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// Statuses by which a service declines what can be run elsewhere.
const NOT_NOW: [u16; 5] = [401, 403, 413, 429, 503];

/// A service to ask.
pub struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
}

impl Client {
    /// Asks the service at `url`, as the holder of `key`.
    pub fn at(url: &str, key: Option<String>) -> anyhow::Result<Self> {
        if !url.starts_with("http://") {
            let hint = "use http://HOST:PORT; this program speaks no TLS, a tunnel such as `ssh -L` does";
            return Err(Rejection::new("url", format!("{url:?} is not an address of a service"), hint).into());
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A key is for the service that was named.
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build();
        Ok(Self { agent: agent.into(), url: url.trim_end_matches('/').to_owned(), key })
    }

    /// Asks a service of this machine, as the holder of `key`, or of the token that it leaves for its user.
    pub fn to_serving(serving: &Serving, key: Option<String>) -> anyhow::Result<Self> {
        Self::at(&serving.url(), key.or_else(|| serving.token()))
    }

    /// Asks the service that owns a data directory, if one answers there.
    pub fn answering(data: &Path, key: Option<String>) -> Option<Self> {
        Self::to_serving(&Serving::answering(data)?, key).ok()
    }

    /// Asks the service that owns a data directory, if one lives there whose runs see this image.
    pub fn serving(data: &Path, image: &str, key: Option<String>) -> Option<Self> {
        let serving = Serving::read(data).filter(|serving| serving.image == image)?;
        Self::to_serving(&serving, key).ok()
    }

    /// Has it run something, and returns what happens as it does. Starts no thread.
    pub fn run(&self, request: &RunRequest) -> anyhow::Result<Answer> {
        let Ok(answer) = self.submit("/v1/runs", serde_json::to_string(request)?) else {
            return Ok(Answer::NotNow);
        };
        if NOT_NOW.contains(&answer.status().as_u16()) {
            return Ok(Answer::NotNow);
        }
        let (id, events) = self.events(answer)?;
        Ok(Answer::Events { id, events })
    }

    /// Has it run something in a session; the run's id, and its events as they come.
    pub fn run_in(&self, session: &str, body: &Value) -> anyhow::Result<(String, Box<dyn BufRead>)> {
        let answer = self.submit(&format!("/v1/sessions/{session}/runs"), body.to_string());
        self.events(answer.with_context(|| format!("ask {}", self.url))?)
    }

    /// Sends JSON and returns the events that are answered, as they come.
    pub fn post_for_events(&self, path: &str, body: &Value) -> anyhow::Result<Box<dyn BufRead>> {
        let answer = self.submit(path, body.to_string());
        let mut answer = answer.with_context(|| format!("ask {}", self.url))?;
        if !answer.status().is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(self.refused(answer.status().as_u16(), &text));
        }
        Ok(Box::new(BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader())))
    }

    fn submit(&self, path: &str, body: String) -> Result<Response<Body>, ureq::Error> {
        let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
        let sent = headers.iter().fold(self.to("POST", path), |to, (name, value)| to.header(*name, *value));
        // Its time is the run's; and waiting for less would take a thread, which a sandbox made here could not have beside it.
        let sent = self.agent.configure_request(sent.body(body)?).timeout_global(None).build();
        self.agent.run(sent)
    }

    fn events(&self, mut answer: Response<Body>) -> anyhow::Result<(String, Box<dyn BufRead>)> {
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(self.refused(status, &text));
        }
        let location = answer.headers().get("location").and_then(|path| path.to_str().ok());
        let id =
            location.and_then(|path| path.rsplit('/').next()).context("the service names no run")?.to_owned();
        let body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        Ok((id, Box::new(BufReader::new(body))))
    }

    /// What a run of this caller is limited to that asks for `patch`.
    pub fn limits(&self, patch: &LimitsPatch) -> anyhow::Result<Limits> {
        #[derive(Deserialize)]
        struct InForce {
            limits: Limits,
            ceiling: Limits,
        }
        let InForce { limits, ceiling } = self.call("GET", "/v1/limits", None)?;
        Ok(limits.narrowed(patch, &ceiling))
    }

    /// Takes a run back.
    pub fn cancel(&self, id: &str) -> anyhow::Result<()> {
        self.call::<Value>("POST", &format!("/v1/runs/{id}/cancel"), None).map(drop)
    }

    /// Reads a file that a run left.
    pub fn artifact(&self, id: &str, path: &str) -> anyhow::Result<impl Read> {
        self.read(&format!("/v1/runs/{id}/artifacts/{}", utf8_percent_encode(path, NOT_IN_PATHS)))
    }

    /// Reads a file of a session.
    pub fn file(&self, session: &str, path: &str) -> anyhow::Result<impl Read + use<>> {
        self.read(&file_path(session, path))
    }

    /// Writes a file of a session.
    pub fn put_file(&self, session: &str, path: &str, content: impl Read) -> anyhow::Result<()> {
        self.put(&file_path(session, path), "application/octet-stream", content)
    }

    /// Reads a directory of a session as a tar archive.
    pub fn archive(&self, session: &str, path: &str) -> anyhow::Result<impl Read + use<>> {
        self.read(&archive_path(session, path))
    }

    /// Unpacks a tar archive into a directory of a session.
    pub fn put_archive(&self, session: &str, path: &str, content: impl Read) -> anyhow::Result<()> {
        self.put(&archive_path(session, path), "application/x-tar", content)
    }

    fn put(&self, path: &str, kind: &str, mut content: impl Read) -> anyhow::Result<()> {
        let request = self.to("PUT", path).header("content-type", kind);
        let request = request.body(SendBody::from_reader(&mut content))?;
        let request = self.agent.configure_request(request).timeout_global(None).build();
        let mut answer = self.agent.run(request).with_context(|| format!("ask {}", self.url))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        if status.is_success() { Ok(()) } else { Err(self.refused(status.as_u16(), &text)) }
    }

    fn read(&self, path: &str) -> anyhow::Result<impl Read + use<>> {
        let request = self.to("GET", path).body(())?;
        let request = self.agent.configure_request(request).timeout_global(None).build();
        let mut answer = self.agent.run(request).with_context(|| format!("ask {}", self.url))?;
        if !answer.status().is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(self.refused(answer.status().as_u16(), &text));
        }
        Ok(answer.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Reads a text, such as `/metrics`.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let mut answer =
            self.agent.run(self.to("GET", path).body(())?).with_context(|| format!("ask {}", self.url))?;
        let text =
            answer.body_mut().read_to_string().with_context(|| format!("read what {} says", self.url))?;
        if answer.status().is_success() {
            Ok(text)
        } else {
            Err(self.refused(answer.status().as_u16(), &text))
        }
    }

    /// Where it asks.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn to(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// Asks the service that owns a data directory.
    pub fn of(data: &Path, key: Option<String>) -> anyhow::Result<Self> {
        let serving = Serving::read(data).with_context(|| format!("find who serves {}", data.display()))?;
        Self::to_serving(&serving, key)
    }

    /// Sends a request and reads the answer, null for none. A problem is a [`Rejection`] if it is the caller's.
    pub fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let request = self.to(method, path);
        let answer = match body {
            Some(body) => {
                self.agent.run(request.header("content-type", "application/json").body(body.to_string())?)
            }
            None => self.agent.run(request.body(())?),
        };
        let mut answer = answer.with_context(|| format!("ask {}", self.url))?;
        let text =
            answer.body_mut().read_to_string().with_context(|| format!("read what {} says", self.url))?;
        if !answer.status().is_success() {
            return Err(self.refused(answer.status().as_u16(), &text));
        }
        serde_json::from_str(if text.is_empty() { "null" } else { &text })
            .with_context(|| format!("understand what {} says", self.url))
    }

    /// Sends lines and returns the lines that are answered, as they come. Takes as long as it takes.
    pub fn lines(&self, path: &str, mut lines: impl Read) -> anyhow::Result<Box<dyn BufRead>> {
        let request = self.to("POST", path);
        let body = SendBody::from_reader(&mut lines);
        let request = request.header("content-type", "application/x-ndjson").body(body)?;
        let request = self.agent.configure_request(request).timeout_global(None).build();
        let mut answer = self.agent.run(request).with_context(|| format!("ask {}", self.url))?;
        if !answer.status().is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(self.refused(answer.status().as_u16(), &text));
        }
        Ok(Box::new(BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader())))
    }

    /// Opens a WebSocket. Its messages may be as large as the service makes them.
    pub fn converse(&self, path: &str) -> anyhow::Result<WebSocket<TcpStream>> {
        let uri: Uri = self.url.parse().with_context(|| format!("understand {}", self.url))?;
        let host = uri.host().unwrap_or_default();
        let address = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
        let stream = TcpStream::connect(address).with_context(|| format!("ask {}", self.url))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let url = self.url.replacen("http://", "ws://", 1);
        let mut request = format!("{url}{path}").into_client_request()?;
        if let Some(key) = &self.key {
            let bearer = HeaderValue::from_str(&format!("Bearer {key}")).context("send the key")?;
            request.headers_mut().insert("authorization", bearer);
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => {
                socket.get_ref().set_read_timeout(None)?;
                Ok(socket)
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                let text = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
                Err(self.refused(answer.status().as_u16(), &text))
            }
            Err(error) => Err(anyhow::anyhow!("{error}")).with_context(|| format!("ask {}", self.url)),
        }
    }

    fn refused(&self, status: u16, text: &str) -> anyhow::Error {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
            hint: String,
            field: Option<String>,
        }
        let Ok(problem) = serde_json::from_str::<Problem>(text) else {
            return anyhow::anyhow!("{} answers {status}, and is no fireclay", self.url);
        };
        let hint = match (status, &self.key) {
            (401, None) => "set FIRECLAY_API_KEY or --api-key-file to a key of its administrator".to_owned(),
            _ => problem.hint,
        };
        let rejection =
            Rejection::new(problem.field.unwrap_or_else(|| self.url.clone()), problem.detail, hint);
        if (400..500).contains(&status) { rejection.into() } else { anyhow::anyhow!(rejection.to_string()) }
    }
}
