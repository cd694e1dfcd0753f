//! Asks a running service over its public HTTP API: another command's way to a data directory that a service owns.

use anyhow::Context;
use model::Rejection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use ureq::http::Request;
use ureq::{Agent, SendBody};

/// Says who serves a data directory, and where; in it.
pub const SERVER_FILE: &str = "server.json";
/// How long an answer may take. Nothing that is asked here runs code.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who serves a data directory.
#[derive(Debug, Serialize, Deserialize)]
pub struct Serving {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

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

    /// Asks the service that owns a data directory, if one answers there.
    pub fn answering(data: &Path, key: Option<String>) -> Option<Self> {
        let text = std::fs::read(data.join(SERVER_FILE)).ok()?;
        let serving: Serving = serde_json::from_slice(&text).ok()?;
        // One that was killed leaves its file.
        TcpStream::connect_timeout(&serving.address, PATIENCE).ok()?;
        Self::of(data, key).ok()
    }

    /// Asks the service that owns a data directory.
    pub fn of(data: &Path, key: Option<String>) -> anyhow::Result<Self> {
        let path = data.join(SERVER_FILE);
        let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let serving: Serving =
            serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
        Self::at(&format!("http://{}", serving.address), key)
    }

    /// Sends a request and reads the answer, null for none. A problem is a [`Rejection`] if it is the caller's.
    pub fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
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
        let mut request = Request::builder().method("POST").uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
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
