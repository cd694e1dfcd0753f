//! A service in another process: named by its address, or the data directory's, which is started if there is none.

use crate::env::Settings;
use crate::local;
use crate::serving::Serving;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use mcp::{Api, Unreachable};
use model::Rejection;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the service is.
enum Place {
    /// At this host and port.
    Address(String),
    /// Where the data directory's service says.
    Data(Settings),
}

/// A service in another process.
pub struct Elsewhere {
    place: Place,
    key: Option<String>,
    /// Held by whoever starts a service: one of us waits for the others of this machine.
    starting: tokio::sync::Mutex<()>,
}

/// A connection, and what to say on it.
struct Connected {
    stream: TcpStream,
    address: String,
    key: Option<String>,
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

    /// The service of the data directory, which is started if there is none. Without a key it is asked as its owner.
    pub fn of(settings: &Settings, key: Option<String>) -> Self {
        Self::new(Place::Data(settings.clone()), key)
    }

    fn new(place: Place, key: Option<String>) -> Self {
        Self { place, key, starting: tokio::sync::Mutex::default() }
    }

    /// Finds or starts the service before it is needed.
    pub async fn start_early(&self) {
        // Whoever needs it is told what is wrong.
        drop(self.connect().await);
    }

    async fn connect(&self) -> Result<Connected, Unreachable> {
        match &self.place {
            Place::Address(address) => {
                let (address, key) = (address.clone(), self.key.clone());
                Ok(Connected { stream: reach(&address).await?, address, key })
            }
            Place::Data(settings) => self.connect_of(settings).await,
        }
    }

    async fn connect_of(&self, settings: &Settings) -> Result<Connected, Unreachable> {
        // Looked for each time: it may have ended since, and the next one has another address.
        if let Some(serving) = Serving::read(&settings.data)
            && let Ok(connected) = self.connect_to(&serving).await
        {
            return Ok(connected);
        }
        let _turn = self.starting.lock().await;
        let settings = settings.clone();
        let started = tokio::task::spawn_blocking(move || local::start(&settings)).await;
        let started = started.unwrap_or_else(|error| Err(error.into()));
        self.connect_to(&started.map_err(|error| Unreachable(format!("{error:#}")))?).await
    }

    async fn connect_to(&self, serving: &Serving) -> Result<Connected, Unreachable> {
        let address = serving.address.to_string();
        let key = self.key.clone().or_else(|| serving.token());
        Ok(Connected { stream: reach(&address).await?, address, key })
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
            let Connected { stream, address, key } = self.connect().await?;
            let of = |error: &dyn std::fmt::Display| Unreachable(format!("ask {address}: {error}"));
            let headers = request.headers_mut();
            headers.insert(header::HOST, HeaderValue::from_str(&address).map_err(|error| of(&error))?);
            if let Some(key) = key {
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
