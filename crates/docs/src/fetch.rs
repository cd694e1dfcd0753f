//! One request: the name is resolved once, its addresses are judged, one of them is dialled, and what comes back is bounded. A redirect
//! is told, never followed here.

use crate::cache::Entry;
use crate::scope::Scope;
use egress::address::Private;
use flate2::read::MultiGzDecoder;
use std::io::{self, Read};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{HeaderMap, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};
use url::Url;

/// Who asks, as robots.txt would name it.
pub(crate) const AGENT: &str = "fireclay";
const USER_AGENT: &str = concat!(
    "fireclay/",
    env!("CARGO_PKG_VERSION"),
    " (+https://github.com/fireclay/fireclay; reads documentation)"
);
/// What pages are made of that can be read; the rest is not.
const TYPES: [&str; 4] = ["text/html", "application/xhtml+xml", "text/plain", "text/markdown"];

/// What came back.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// At most so many bytes as were wanted, without what HTTP adds; nothing of what cannot be read.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub is_cut: bool,
}

impl Answer {
    /// A header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where a redirect leads.
    pub fn redirect(&self, from: &Url) -> Option<Url> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
            .then(|| self.header("location").and_then(|to| from.join(to).ok()))
            .flatten()
    }
}

/// Sends requests to one place, one after the other.
pub(crate) struct Fetcher {
    agent: Agent,
}

impl Fetcher {
    /// One for this place; each request has so much time.
    pub fn new(scope: &Scope, private: bool, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy would resolve names in our place, and nobody would judge the addresses.
            .proxy(None)
            .timeout_global(Some(patience))
            .max_idle_connections(1)
            .user_agent(USER_AGENT)
            .build();
        let judge = Judge { open: scope.private(private), resolver: DefaultResolver::default() };
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), judge) }
    }

    /// Fetches at most so many bytes; `known` is what we have of it already.
    pub fn get(&self, url: &Url, known: Option<&Entry>, bytes_max: usize) -> Result<Answer, String> {
        let mut request = self
            .agent
            .get(url.as_str())
            .header("accept", "text/html, application/xhtml+xml, text/markdown, text/plain;q=0.5")
            .header("accept-encoding", "gzip");
        if let Some(etag) = known.and_then(|known| known.etag.as_deref()) {
            request = request.header("if-none-match", etag);
        }
        if let Some(date) = known.and_then(|known| known.last_modified.as_deref()) {
            request = request.header("if-modified-since", date);
        }
        let answer = request.call().map_err(|error| error.to_string())?;
        let (parts, body) = answer.into_parts();
        let text =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_gzip = matches!(text("content-encoding").to_ascii_lowercase().as_str(), "gzip" | "x-gzip");
        let mut answer = Answer {
            status: parts.status.as_u16(),
            body: Vec::new(),
            is_cut: false,
            headers: HeaderMap::new(),
        };
        if answer.status == 200 && is_readable(text("content-type")) {
            let raw = body.into_with_config().limit(u64::MAX).reader();
            let read = if is_gzip {
                bounded(MultiGzDecoder::new(raw), bytes_max, &mut answer.body)
            } else {
                bounded(raw, bytes_max, &mut answer.body)
            };
            answer.is_cut = read.map_err(|error| error.to_string())?;
        }
        answer.headers = parts.headers;
        Ok(answer)
    }
}

/// Whether a body of this type can be read as text. What has no type is looked at.
pub(crate) fn is_readable(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.is_empty() || TYPES.contains(&kind.as_str())
}

/// Reads at most so many bytes; answers whether there were more.
fn bounded(reader: impl Read, bytes_max: usize, into: &mut Vec<u8>) -> io::Result<bool> {
    reader.take(bytes_max as u64 + 1).read_to_end(into)?;
    let is_cut = into.len() > bytes_max;
    into.truncate(bytes_max);
    Ok(is_cut)
}

/// Resolves a name, once, to addresses that may be dialled.
#[derive(Debug)]
struct Judge {
    open: Private,
    resolver: DefaultResolver,
}

impl Resolver for Judge {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let all = self.resolver.resolve(uri, config, timeout)?;
        let mut judged = self.empty();
        let mut why = "";
        for address in all.iter() {
            match self.open.refuses(address.ip()) {
                None => judged.push(*address),
                Some(refused) => why = refused,
            }
        }
        if judged.is_empty() {
            let message = format!("its address is not public ({why})");
            return Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, message)));
        }
        Ok(judged)
    }
}
