//! A service in another process: found by the data directory, named by its address, or started as a child that ends when we do.

use crate::client::Serving;
use anyhow::Context;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use mcp::{Api, Unreachable};
use model::Rejection;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a service is looked for, or started, before a call fails.
const ATTEMPTS: u32 = 20;
/// How long to wait between two attempts: another program may be starting a service just now.
const PAUSE: Duration = Duration::from_millis(250);
/// How long our own service may take to end when we do, before it is killed.
const ENDING: Duration = Duration::from_secs(15);

/// Where the service is.
enum Place {
    /// At this host and port.
    Address(String),
    /// Where the data directory's service says, or our own.
    Data(PathBuf),
}

/// A service that we started. It ends when its standard input does, whatever becomes of us.
struct Own {
    child: Child,
    /// Kept open, so that what it prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
}

/// A service in another process.
pub struct Elsewhere {
    place: Place,
    key: Option<String>,
    own: Arc<Mutex<Option<Own>>>,
    /// Held by whoever looks for a service or starts one.
    looking: tokio::sync::Mutex<()>,
}

impl Elsewhere {
    /// The service at `url`, asked as the holder of `key`.
    pub fn at(url: &str, key: Option<String>) -> anyhow::Result<Self> {
        let address = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|rest| !rest.contains('/'));
        let address = address.filter(|rest| !rest.is_empty()).ok_or_else(|| {
            let hint = "use http://HOST:PORT; this program speaks no TLS, a tunnel such as `ssh -L` does";
            Rejection::new("url", format!("{url:?} is not an address of a service"), hint)
        })?;
        let port = if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            ""
        } else {
            ":80"
        };
        Ok(Self::new(Place::Address(format!("{address}{port}")), key))
    }

    /// The service of a data directory, which is started if there is none.
    pub fn of(data: &Path, key: Option<String>) -> Self {
        Self::new(Place::Data(data.to_owned()), key)
    }

    fn new(place: Place, key: Option<String>) -> Self {
        Self { place, key, own: Arc::default(), looking: tokio::sync::Mutex::default() }
    }

    fn own(&self) -> MutexGuard<'_, Option<Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds or starts the service before it is needed.
    pub async fn start_early(&self) {
        // Whoever needs it is told what is wrong.
        drop(self.connect().await);
    }

    /// Ends the service that we started, if we did, and waits for that.
    pub fn end(&self) {
        let Some(mut own) = self.own().take() else { return };
        drop(own.child.stdin.take());
        let until = Instant::now() + ENDING;
        while matches!(own.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                eprintln!("fireclay: the service takes too long to end, and is killed");
                // Gone in this moment is gone too.
                drop(own.child.kill());
                drop(own.child.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn connect(&self) -> Result<(TcpStream, String), Unreachable> {
        match &self.place {
            Place::Address(address) => Ok((reach(address).await?, address.clone())),
            Place::Data(data) => self.connect_of(data).await,
        }
    }

    async fn connect_of(&self, data: &Path) -> Result<(TcpStream, String), Unreachable> {
        let mut last = Unreachable("there is none".to_owned());
        for attempt in 0..ATTEMPTS {
            let _turn = self.looking.lock().await;
            if let Some(serving) = Serving::read(data) {
                let address = serving.address.to_string();
                match reach(&address).await {
                    Ok(stream) => return Ok((stream, address)),
                    Err(error) => last = error,
                }
            }
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            if let Err(error) = self.start(data).await {
                last = Unreachable(format!("{error:#}"));
            }
        }
        Err(last)
    }

    /// Starts a service of our own, unless one of ours lives; returns when it listens or has ended.
    async fn start(&self, data: &Path) -> anyhow::Result<()> {
        let lives = self.own().as_mut().is_some_and(|own| matches!(own.child.try_wait(), Ok(None)));
        if lives {
            return Ok(());
        }
        let (data, own) = (data.to_owned(), self.own.clone());
        let starting = tokio::task::spawn_blocking(move || {
            let mut child = Command::new("/proc/self/exe")
                .args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--data"])
                .arg(&data)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("start a service")?;
            let stdout = child.stdout.take().context("a service without output")?;
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            while !line.contains("http://") {
                line.clear();
                if stdout.read_line(&mut line).context("listen to the service")? == 0 {
                    break;
                }
            }
            if line.is_empty() {
                let status = child.wait().context("wait for the service")?;
                anyhow::bail!("the service did not start ({status}); standard error says why");
            }
            *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(Own { child, _stdout: stdout });
            anyhow::Ok(())
        });
        starting.await.context("start a service")?
    }
}

async fn reach(address: &str) -> Result<TcpStream, Unreachable> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    let connected = connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(|error| Unreachable(format!("connect to {address}: {error}")))?;
    // Without it answers are as right and a little later.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

impl Api for Elsewhere {
    fn ask(&self, mut request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, Unreachable>> {
        async move {
            let (stream, address) = self.connect().await?;
            let of = |error: &dyn std::fmt::Display| Unreachable(format!("ask {address}: {error}"));
            let headers = request.headers_mut();
            headers.insert(header::HOST, HeaderValue::from_str(&address).map_err(|error| of(&error))?);
            if let Some(key) = &self.key {
                let key = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|error| of(&error))?;
                headers.insert(header::AUTHORIZATION, key);
            }
            let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = connected.map_err(|error| of(&error))?;
            // What breaks there breaks the answer, which says so.
            tokio::spawn(connection.map(drop));
            let response = sender.send_request(request).await.map_err(|error| of(&error))?;
            Ok(response.map(Body::new))
        }
        .boxed()
    }
}
