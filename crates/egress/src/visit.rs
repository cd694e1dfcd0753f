//! One connection, from its first byte to the event that tells of it.

use crate::answer;
use crate::attempt::{Attempt, Verdict, Way};
use crate::dial::dial;
use crate::flow::{Flow, together};
use crate::hello::{self, BadHello};
use crate::limits::Limits;
use crate::proxy::Proxy;
use crate::read::{Client, Reading};
use crate::refusal::Refusal;
use crate::request::{self, BadHead, Plain, Request};
use crate::target::Target;
use crate::{body, flow};
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf,
    WriteHalf,
};
use tokio::time::{Instant, timeout, timeout_at};

/// Buffer of each direction of a connection.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// How long and how much is read from a client that was refused, so that it reads the answer before its connection is reset (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

// How a client can still be told that it is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ear {
    Http,
    Tls,
    Deaf,
}

struct Visit<'a, S> {
    proxy: &'a Proxy,
    flow: Flow<'a>,
    reader: BufReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    ear: Ear,
    asked: String,
    target: Option<Target>,
    started: Instant,
    told: bool,
}

/// Serves a connection and tells of it.
pub(crate) async fn visit<S: AsyncRead + AsyncWrite + Send + Unpin>(proxy: &Proxy, stream: S) {
    let mut visit = Visit::new(proxy, stream);
    let whole = proxy.limits.whole_time;
    let end = timeout(whole, visit.serve()).await.unwrap_or(Err(Refusal::Long(whole.as_secs())));
    visit.part(end).await;
}

/// Tells a client that there are too many.
pub(crate) async fn turn_away<S: AsyncRead + AsyncWrite + Send + Unpin>(proxy: &Proxy, stream: S) {
    let mut visit = Visit::new(proxy, stream);
    visit.part(Err(Refusal::Busy(proxy.limits.connections_max))).await;
}

impl<'a, S: AsyncRead + AsyncWrite + Send + Unpin> Visit<'a, S> {
    fn new(proxy: &'a Proxy, stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            proxy,
            flow: Flow::new(&proxy.ledger, proxy.limits.idle_time),
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            writer,
            ear: Ear::Http,
            asked: String::new(),
            target: None,
            started: Instant::now(),
            told: false,
        }
    }

    async fn serve(&mut self) -> Result<(), Refusal> {
        match self.request().await? {
            Request::Tunnel(target) => self.tunnel(target).await,
            Request::Plain(plain) => self.plain(plain).await,
        }
    }

    async fn request(&mut self) -> Result<Request, Refusal> {
        let mut head = Vec::new();
        let end = read_head(&mut self.reader, self.proxy.limits.head_time, &mut head).await;
        self.asked = request::asked(&head);
        end?;
        let request = request::parse(&head)?;
        if let (Some(secrets), Request::Plain(plain)) = (&self.proxy.secrets, &request)
            && secrets.is_named(&plain.target, &head)
        {
            return Err(Refusal::Bare(plain.target.clone()));
        }
        Ok(request)
    }

    async fn admit(&mut self, target: &Target, method: &str) -> Result<tokio::net::TcpStream, Refusal> {
        self.target = Some(target.clone());
        let Proxy { rules, private, limits, resolver, .. } = self.proxy;
        rules.check(target, method).map_err(|why| Refusal::Unlisted(target.clone(), why))?;
        dial(target, resolver.as_ref(), private, limits.connect_time).await
    }

    async fn tunnel(&mut self, target: Target) -> Result<(), Refusal> {
        let server = self.admit(&target, "CONNECT").await?;
        self.flow.wait(self.writer.write_all(answer::ESTABLISHED)).await?;
        self.ear = Ear::Deaf;
        let hello =
            if self.proxy.rules.is_plain_tunnel(&target) { Vec::new() } else { self.hello(&target).await? };
        if let Some(secrets) = &self.proxy.secrets
            && let Some(injector) = secrets.of(&target)
        {
            self.ear = Ear::Deaf;
            let client = Client::new(hello, &mut self.reader, &mut self.writer);
            let terminate = secrets.terminate.as_ref();
            return Reading {
                target: &target,
                injector,
                terminate,
                flow: &self.flow,
                limits: &self.proxy.limits,
            }
            .read(client, server)
            .await;
        }
        let (from_server, mut to_server) = tokio::io::split(server);
        let mut from_server = BufReader::with_capacity(BUFFER_BYTES, from_server);
        self.flow.send(&mut to_server, Way::Up, &hello).await?;
        self.ear = Ear::Deaf;
        let up = self.flow.pass(&mut self.reader, &mut to_server, Way::Up);
        let down = self.flow.pass(&mut from_server, &mut self.writer, Way::Down);
        together(up, down, true).await
    }

    // Reads the ClientHello, and returns the bytes it came in if it names the target.
    async fn hello(&mut self, target: &Target) -> Result<Vec<u8>, Refusal> {
        let until = Instant::now() + self.proxy.limits.head_time;
        let refuse = |why| Refusal::Hello(target.clone(), why);
        let mut bytes = Vec::new();
        loop {
            let more = match timeout_at(until, self.reader.fill_buf()).await {
                Ok(more) => more.map_err(Refusal::Broken)?,
                Err(_) => return Err(Refusal::SlowHello(target.clone())),
            };
            let count = more.len();
            if count == 0 {
                return Err(if bytes.is_empty() { Refusal::Left } else { refuse(BadHello::Malformed) });
            }
            bytes.extend_from_slice(more);
            self.reader.consume(count);
            let read = hello::parse(&bytes);
            if read != Err(BadHello::NotTls) {
                self.ear = Ear::Tls;
            }
            match read.map_err(refuse)? {
                None => {}
                Some(name) if name == target.name => return Ok(bytes),
                Some(other) => return Err(Refusal::OtherName(target.clone(), other)),
            }
        }
    }

    async fn plain(&mut self, plain: Plain) -> Result<(), Refusal> {
        let server = self.admit(&plain.target, &plain.method).await?;
        fits(&plain, &self.flow, &self.proxy.limits)?;
        let (from_server, mut to_server) = tokio::io::split(server);
        let mut from_server = BufReader::with_capacity(BUFFER_BYTES, from_server);
        if plain.expects_continue {
            self.flow.wait(self.writer.write_all(answer::CONTINUE)).await?;
        }
        self.flow.send(&mut to_server, Way::Up, &plain.head).await?;
        let (flow, reader, writer, ear) = (&self.flow, &mut self.reader, &mut self.writer, &mut self.ear);
        let up = body::pass(plain.body, reader, &mut to_server, flow);
        let down = async {
            // While the server has said nothing, the proxy can still answer in its place.
            let first = flow.wait(from_server.fill_buf()).await?;
            if first.is_empty() {
                return Err(Refusal::Broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
            *ear = Ear::Deaf;
            flow.pass(&mut from_server, writer, Way::Down).await
        };
        flow::together(up, down, false).await
    }

    // Tells what became of it, and answers if it went wrong and the client can hear.
    async fn part(&mut self, end: Result<(), Refusal>) {
        self.tell(&end);
        let words = match (&end, self.ear) {
            (Ok(()) | Err(Refusal::Left), _) | (_, Ear::Deaf) => None,
            (Err(refusal), Ear::Http) => Some(answer::http(refusal)),
            (Err(_), Ear::Tls) => Some(answer::ACCESS_DENIED.to_vec()),
        };
        // Whether the client hears it is its own affair.
        drop(timeout(LINGER, say(&mut self.writer, &mut self.reader, words)).await);
    }
}

impl<S> Visit<'_, S> {
    fn tell(&mut self, end: &Result<(), Refusal>) {
        self.told = true;
        let (verdict, reason) = match end {
            Ok(()) => (Verdict::Allowed, String::new()),
            // Clients end a connection by closing it, whoever still speaks.
            Err(Refusal::Broken(_)) if self.flow.passed(Way::Down) > 0 => (Verdict::Allowed, String::new()),
            Err(Refusal::Over) if self.flow.passed(Way::Up) > 0 => {
                (Verdict::Allowed, answer::reason(&Refusal::Over))
            }
            Err(refusal) => (refusal.verdict(), answer::reason(refusal)),
        };
        let target = self.target.as_ref().map(|target| (target.name.to_string(), target.port));
        let (host, port) = target.unwrap_or_else(|| (std::mem::take(&mut self.asked), 0));
        self.proxy.ledger.tell(Attempt {
            host,
            port,
            verdict,
            reason,
            bytes_up: self.flow.passed(Way::Up),
            bytes_down: self.flow.passed(Way::Down),
            ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

// Also a connection that ends with its sandbox is told of.
impl<S> Drop for Visit<'_, S> {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&Err(Refusal::Over));
        }
    }
}

/// Says whether the sum of the sandbox has room for a body whose length is known.
pub(crate) fn fits(plain: &Plain, flow: &Flow<'_>, limits: &Limits) -> Result<(), Refusal> {
    match plain.body {
        request::Body::Length(length) if length > flow.left(Way::Up) => {
            Err(Refusal::Bytes(Way::Up, limits.bytes_up_max))
        }
        _ => Ok(()),
    }
}

/// Reads a head, and not a byte of what stands behind it.
pub(crate) async fn read_head(
    reader: &mut (impl AsyncBufRead + Unpin),
    patience: Duration,
    head: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let until = Instant::now() + patience;
    loop {
        let bytes = match timeout_at(until, reader.fill_buf()).await {
            Ok(bytes) => bytes.map_err(Refusal::Broken)?,
            Err(_) => return Err(Refusal::SlowHead(patience.as_secs())),
        };
        if bytes.is_empty() {
            return Err(if head.is_empty() { Refusal::Left } else { BadHead::Unfinished.into() });
        }
        let (seen, count) = (head.len(), bytes.len());
        head.extend_from_slice(bytes);
        match request::head_end(head, seen)? {
            None => reader.consume(count),
            Some(end) => {
                reader.consume(end - seen);
                head.truncate(end);
                return Ok(());
            }
        }
    }
}

async fn say<S: AsyncRead + AsyncWrite + Send + Unpin>(
    writer: &mut WriteHalf<S>,
    reader: &mut BufReader<ReadHalf<S>>,
    words: Option<Vec<u8>>,
) -> std::io::Result<()> {
    if let Some(words) = words {
        writer.write_all(&words).await?;
    }
    writer.shutdown().await?;
    tokio::io::copy(&mut reader.take(LINGER_BYTES), &mut tokio::io::sink()).await.map(drop)
}
