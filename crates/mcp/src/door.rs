//! The protocol over HTTP, at one address: the stateless revision of 2026-07-28, where each request is complete, and the older ones,
//! whose clients say `initialize` and get a session of the transport. rmcp tells them apart by the request's own version.
//!
//! A session of the transport holds nothing but what the client said of itself; who calls is asked anew with each request.

use crate::api::Api;
use crate::handler::Handler;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Most sessions of the transport of one owner; the oldest makes room.
const OWN_MAX: usize = 64;
/// Most sessions of the transport of all.
const ALL_MAX: usize = 1_024;
/// How long one of them stays that nobody uses: longer than any run goes on.
const KEEP_ALIVE: Duration = Duration::from_secs(24 * 3_600);
/// The header that names one.
const SESSION_ID: &str = "mcp-session-id";

/// How a door is made.
#[derive(Debug, Clone)]
pub struct DoorOptions {
    /// Largest body of a request.
    pub body_bytes: usize,
    /// Fires when the service ends: streams that would go on for ever end then.
    pub ending: CancellationToken,
}

/// The door. What is behind it is hidden from the type, and so from whoever is compiled with it: rmcp is compiled once.
#[derive(Clone)]
pub struct Door(Arc<dyn Answers>);

trait Answers: Send + Sync {
    fn answer(self: Arc<Self>, owner: String, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

struct Behind {
    service: StreamableHttpService<Handler, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    owners: Mutex<VecDeque<(String, String)>>,
}

impl Door {
    /// A door to tools that ask this API.
    pub fn new(api: Arc<dyn Api>, options: DoorOptions) -> Self {
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(KEEP_ALIVE);
        let sessions = Arc::new(sessions);
        // Hosts and origins are looked at before, by the guard that all routes have.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_max_request_body_bytes(options.body_bytes)
            .with_cancellation_token(options.ending);
        let handler = Handler::new(api);
        let service = StreamableHttpService::new(move || Ok(handler.clone()), sessions.clone(), config);
        Self(Arc::new(Behind { service, sessions, owners: Mutex::default() }))
    }

    /// Answers a request of `owner`. Another's session is one that is not there.
    pub fn answer(&self, owner: &str, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        self.0.clone().answer(owner.to_owned(), request)
    }
}

impl Answers for Behind {
    fn answer(self: Arc<Self>, owner: String, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        async move { self.answer_of(&owner, request).await }.boxed()
    }
}

impl Behind {
    fn owners(&self) -> MutexGuard<'_, VecDeque<(String, String)>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer_of(&self, owner: &str, request: Request<Body>) -> Response<Body> {
        if let Some(id) = session_of(request.headers())
            && !self.owners().iter().any(|(own, whose)| own == id && whose == owner)
        {
            let mut response = Response::new(Body::from("Not Found: Session not found"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        let is_first = session_of(request.headers()).is_none();
        let ends = request.method() == Method::DELETE;
        let mut response = match self.service.clone().oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        // It has ended when this is said; the Python SDK takes rmcp's 202 for a failure.
        if ends && response.status() == StatusCode::ACCEPTED {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        if let Some(id) = session_of(response.headers()).filter(|_| is_first) {
            self.remember(id.to_owned(), owner.to_owned()).await;
        }
        response
    }

    /// Remembers whose a session is, and ends what is too much.
    async fn remember(&self, id: String, owner: String) {
        let living: Vec<String> =
            self.sessions.sessions.read().await.keys().map(|id| id.to_string()).collect();
        let too_many = {
            let mut owners = self.owners();
            owners.retain(|(id, _)| living.contains(id));
            owners.push_back((id, owner.clone()));
            let own = owners.iter().filter(|(_, whose)| *whose == owner).count();
            let oldest = owners.iter().position(|(_, whose)| own <= OWN_MAX || *whose == owner);
            let full = own > OWN_MAX || owners.len() > ALL_MAX;
            oldest.filter(|_| full).and_then(|at| owners.remove(at))
        };
        if let Some((id, _)) = too_many {
            // One that has ended by itself meanwhile is what was wanted.
            drop(self.sessions.close_session(&id.into()).await);
        }
    }
}

fn session_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID).and_then(|value| value.to_str().ok())
}
