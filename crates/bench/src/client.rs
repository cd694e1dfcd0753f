//! One kept connection to a service: a socket and hardly more, so that a measurement takes nothing of the machine that is measured.

use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest that an answer may be; a test's largest is far below.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Most headers of an answer.
const HEADERS_MAX: usize = 64;
/// What is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Where a service is, and who asks.
#[derive(Debug, Clone)]
pub struct Address {
    /// Name or number and port.
    pub host: String,
    /// The key, if one is needed.
    pub key: Option<String>,
}

impl Address {
    /// Reads `http://HOST:PORT`.
    pub fn of_url(url: &str, key: Option<String>) -> anyhow::Result<Self> {
        let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        match host {
            Some(host) if !host.is_empty() && !host.contains('/') => Ok(Self { host: host.to_owned(), key }),
            _ => bail!("{url:?} is not an address of a service: use http://HOST:PORT"),
        }
    }

    fn authorization(&self) -> String {
        self.key.as_ref().map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    host: String,
    authorization: String,
    buffer: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// When to come again, if that was said.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: &'a [u8],
    /// From the first byte sent until the whole answer was here.
    pub took: Duration,
}

impl Answer<'_> {
    /// The body for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }
}

impl Client {
    /// Connects.
    pub fn connect(address: &Address) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(&address.host).with_context(|| format!("connect to {}", address.host))?;
        stream.set_nodelay(true)?;
        let (host, authorization) = (address.host.clone(), address.authorization());
        Ok(Self { stream, host, authorization, buffer: vec![0; PIECE_BYTES] })
    }

    /// Sends JSON and reads the answer.
    pub fn post(&mut self, path: &str, body: &str) -> anyhow::Result<Answer<'_>> {
        let Self { host, authorization, .. } = self;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.exchange(&request)
    }

    /// Asks, and reads the answer.
    pub fn get(&mut self, path: &str) -> anyhow::Result<Answer<'_>> {
        let Self { host, authorization, .. } = self;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n");
        self.exchange(&request)
    }

    /// Asks for something to be removed, and reads the answer.
    pub fn delete(&mut self, path: &str) -> anyhow::Result<Answer<'_>> {
        let Self { host, authorization, .. } = self;
        let request = format!("DELETE {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n");
        self.exchange(&request)
    }

    fn exchange(&mut self, request: &str) -> anyhow::Result<Answer<'_>> {
        let started = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let mut length = 0;
        let head = loop {
            length += self.read(length)?;
            if let Some(head) = Head::of(&self.buffer[..length])? {
                break head;
            }
        };
        let whole = head.bytes + head.content;
        ensure!(whole <= ANSWER_BYTES_MAX, "an answer of {whole} bytes");
        while length < whole {
            length += self.read(length)?;
        }
        let Head { status, retry_after, bytes, .. } = head;
        Ok(Answer { status, retry_after, body: &self.buffer[bytes..whole], took: started.elapsed() })
    }

    fn read(&mut self, at: usize) -> anyhow::Result<usize> {
        if self.buffer.len() - at < PIECE_BYTES {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[at..])?;
        ensure!(read > 0, "the service closed the connection");
        Ok(read)
    }
}

/// The head of an answer.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    retry_after: Option<Duration>,
    /// Its own length.
    bytes: usize,
    /// The length of what follows.
    content: usize,
}

impl Head {
    /// `None` if not all of it is there.
    fn of(text: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(bytes) = response.parse(text)? else {
            ensure!(text.len() <= PIECE_BYTES, "an answer's head without end");
            return Ok(None);
        };
        let status = response.code.unwrap_or_default();
        let number = |name: &str| {
            let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()?.trim().parse::<u64>().ok()
        };
        let content = number("content-length").context("an answer that does not say its length")?;
        let retry_after = number("retry-after").map(Duration::from_secs);
        Ok(Some(Self { status, retry_after, bytes, content: usize::try_from(content)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_head_says_so() {
        let text = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\nRetry-After: 3\r\n\r\n{}";
        let head = Head { status: 429, retry_after: Some(Duration::from_secs(3)), bytes: 69, content: 2 };
        assert_eq!(Head::of(text).unwrap(), Some(head));
        assert_eq!(Head::of(&text[..40]).unwrap(), None);
        assert!(Head::of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(Head::of(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }

    #[test]
    fn addresses() {
        let host = |url: &str| Address::of_url(url, None).map(|address| address.host).ok();
        assert_eq!(host("http://localhost:8000/"), Some("localhost:8000".into()));
        assert_eq!(host("https://localhost:8000"), None);
        assert_eq!(host("http://localhost:8000/v1"), None);
    }
}
