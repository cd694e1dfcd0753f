//! One request after the other, to what listens in a session and back.
//!
//! Each has a connection of its own to the guest, over which nothing else is said: what a guest answers too much is nobody's. Its head is
//! bounded in bytes, headers and time, its body goes through as it comes.

use super::{Base, ENTER, OURS, headers};
use crate::http::guard::{identify, key_of};
use crate::problem::{Kind, Problem};
use crate::service::{Service, draining, now_ms};
use crate::sessions::{Busy, OpenSession};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use model::SessionId;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Actor;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use worker::session::{NotReached, Standing, Visit};

/// Most bytes of the head of a guest's answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers of it.
const HEADERS_MAX: usize = 128;
/// How long neither side may say anything on a connection that goes on, a WebSocket or a stream.
const SILENCE: Duration = Duration::from_secs(600);

/// What a visitor is served by.
struct Proxy {
    service: Arc<Service>,
    base: Base,
    /// Fires when what would go on for ever is to end.
    ending: CancellationToken,
}

/// Serves all ports of all sessions, each at its own host.
pub fn router(service: Arc<Service>, base: Base, ending: CancellationToken) -> Router {
    let proxy = Arc::new(Proxy { service, base, ending });
    Router::new().fallback(serve).with_state(proxy)
}

async fn serve(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    match proxy.answer(request).await {
        Ok(response) => response,
        Err(problem) => ours(problem.into_response()),
    }
}

/// An answer of our own on an origin that is a guest's.
fn ours(mut response: Response) -> Response {
    let said = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    said.into_iter().for_each(|(name, value)| {
        drop(response.headers_mut().insert(name, HeaderValue::from_static(value)));
    });
    response
}

/// Who comes, to where.
struct Guest {
    open: Arc<OpenSession>,
    port: u16,
    /// Whether what it says of its authorization is meant for the page: it came in by our cookie, and that is no key of ours.
    keeps_authorization: bool,
}

impl Proxy {
    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        let (port, session) = self.address(&request)?;
        let path = request.uri().path();
        // Whoever only looks whether a link is there does not use it up.
        if path == ENTER && request.method() == Method::GET {
            return self.enter(port, &session, request.uri());
        }
        if path.starts_with(OURS) {
            return Err(Problem::not_found("page", path));
        }
        let guest = self.admit(port, &session, request.headers())?;
        if !guest.open.ports {
            return Err(not_asked_for());
        }
        if self.service.is_draining() {
            return Err(draining());
        }
        self.pass(guest, request).await
    }

    /// Which port is asked for, by the one `Host` that there is.
    fn address(&self, request: &Request) -> Result<(u16, SessionId), Problem> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Problem::new(Kind::Method, "that is not passed on", "use another method"));
        }
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok());
        let host = host.unwrap_or_default();
        if request.uri().authority().is_some_and(|authority| authority.as_str() != host) {
            let hint = "name the same host in the request's line and in `Host`";
            return Err(Problem::new(Kind::InvalidRequest, "two hosts are named", hint));
        }
        self.base.port_of(host).ok_or_else(|| Problem::not_found("port at the host", host))
    }

    /// Exchanges a link for a cookie.
    fn enter(&self, port: u16, session: &SessionId, uri: &Uri) -> Result<Response, Problem> {
        let said = uri.query().and_then(|query| query.strip_prefix("link=")).unwrap_or_default();
        let open = self.service.sessions.find(session);
        let cookie = open.map(|open| open.doors.exchange(port, said, Instant::now())).transpose()?.flatten();
        let cookie = cookie.ok_or_else(|| {
            let hint =
                "POST /v1/sessions/{id}/ports/{port} gives another, which is good once and for a minute";
            Problem::new(Kind::Forbidden, "the link is not good, or not any more", hint)
        })?;
        let secure = if self.base.secure { "; Secure" } else { "" };
        let cookie = format!("{}={cookie}; Path=/; HttpOnly; SameSite=Lax{secure}", self.base.cookie());
        let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())];
        Ok(ours((StatusCode::SEE_OTHER, headers).into_response()))
    }

    /// Lets in who has a key of the session's tenant, or our cookie for this port. Of a session that is not theirs they learn nothing.
    fn admit(&self, port: u16, session: &SessionId, said: &HeaderMap) -> Result<Guest, Problem> {
        let is_open = |open: &Arc<OpenSession>| !matches!(open.session.standing(), Standing::Ended(_));
        let caller = key_of(said).map(|_| identify(&self.service, said));
        if let Some(Ok(caller)) = &caller {
            let open = self.service.sessions.get(&caller.tenant, session).filter(is_open);
            let open = open.ok_or_else(|| Problem::not_found("open session", session.as_str()))?;
            return Ok(Guest { open, port, keeps_authorization: false });
        }
        let open = self.service.sessions.find(session).filter(is_open);
        let by_cookie = open.filter(|open| {
            let mut cookies = headers::cookies_called(said, self.base.cookie());
            cookies.any(|one| open.doors.visitor(port, one).is_some_and(|by| self.is_trusted(&by)))
        });
        let Some(open) = by_cookie else {
            let hint = "send a key (`Authorization: Bearer fc_…`), or open a link: POST /v1/sessions/{id}/ports/{port} gives one";
            let none = Problem::new(
                Kind::Unauthenticated,
                "neither a key nor the cookie of a link came with the request",
                hint,
            );
            return Err(caller.and_then(Result::err).unwrap_or(none));
        };
        is_same_origin(said)?;
        // A key of ours that does not work any more is still none of the guest's business.
        let keeps_authorization =
            key_of(said).is_none_or(|key| !key.starts_with("fc_") && !key.starts_with("local_"));
        Ok(Guest { open, port, keeps_authorization })
    }

    /// Whether a link of this maker's still lets in.
    fn is_trusted(&self, by: &Actor) -> bool {
        match by {
            Actor::Key(id) => self.service.store.is_live_key(id, now_ms()),
            Actor::Local => self.service.is_keyless() || self.service.local.is_some(),
            Actor::Service => false,
        }
    }

    /// Passes a request on, and its answer back.
    async fn pass(&self, guest: Guest, mut request: Request) -> Result<Response, Problem> {
        let patience = Duration::from_millis(self.service.settings.ports.answer_timeout_ms);
        let silent = || {
            let detail = format!("what listens on port {} has not answered for {patience:?}", guest.port);
            Problem::new(
                Kind::NoAnswer,
                detail,
                "look at its output; `ports.answer_timeout_ms` is how long it may take",
            )
        };
        let websocket = headers::is_websocket(request.headers());
        let theirs = websocket.then(|| hyper::upgrade::on(&mut request));
        let busy = Busy::of(&guest.open);
        let reached = timeout(patience, guest.open.session.visit(guest.port)).await.map_err(|_| silent())?;
        let (visit, stream) = reached.map_err(|why| not_reached(&why, guest.port))?;
        let stay = Arc::new((visit, busy));
        let mut sender = self.speak(stream, stay.clone()).await?;
        let request = self.inward(&guest, request)?;
        let answered = timeout(patience, sender.send_request(request)).await.map_err(|_| silent())?;
        let mut response = answered.map_err(|error| bad_answer(&error))?;
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match theirs {
            Some(theirs) if upgraded && headers::is_websocket(response.headers()) => {
                let own = hyper::upgrade::on(&mut response);
                tokio::spawn(talk(theirs, own, guest.open.clone(), self.ending.clone(), stay));
            }
            _ if upgraded => return Err(bad_answer(&"it changed to a protocol that nobody asked for")),
            _ => {}
        }
        let (head, body) = response.into_parts();
        let mut passed = Response::new(Body::new(body));
        *passed.status_mut() = head.status;
        *passed.headers_mut() = headers::outward(head.headers, self.base.cookie());
        Ok(passed)
    }

    /// Begins to speak HTTP with a guest. The visit lasts as long as the connection.
    async fn speak(
        &self,
        stream: TcpStream,
        stay: Arc<(Visit, Busy)>,
    ) -> Result<http1::SendRequest<Body>, Problem> {
        // What is lost by it is a delay.
        drop(stream.set_nodelay(true));
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(SILENCE));
        stream.set_write_timeout(Some(Duration::from_millis(self.service.settings.body_timeout_ms)));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let shaken = builder.handshake(TokioIo::new(Box::pin(stream))).await;
        let (sender, connection) = shaken.map_err(|error| bad_answer(&error))?;
        let ending = self.ending.clone();
        tokio::spawn(async move {
            tokio::select! {
                // What goes wrong on it is told where the answer is waited for, or read.
                _ = connection.with_upgrades() => {}
                // An answer may go on for ever: it is cut off.
                () = ending.cancelled() => {}
            }
            drop(stay);
        });
        Ok(sender)
    }

    fn inward(&self, guest: &Guest, request: Request) -> Result<Request, Problem> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let scheme = if self.base.secure { "https" } else { "http" };
        let mut inward = Request::new(body);
        *inward.method_mut() = head.method;
        *inward.version_mut() = Version::HTTP_11;
        *inward.uri_mut() = path
            .parse()
            .map_err(|_| Problem::new(Kind::InvalidRequest, "the path cannot be read", "encode it"))?;
        *inward.headers_mut() =
            headers::inward(head.headers, self.base.cookie(), guest.keeps_authorization, scheme);
        Ok(inward)
    }
}

/// Carries a WebSocket in both directions, until one side ends it, says nothing for too long, or the session or the service ends.
async fn talk(
    theirs: OnUpgrade,
    guest: OnUpgrade,
    open: Arc<OpenSession>,
    ending: CancellationToken,
    stay: Arc<(Visit, Busy)>,
) {
    let both = async {
        let (Ok(theirs), Ok(guest)) = tokio::join!(theirs, guest) else { return };
        // Who broke off has told the other side by that.
        drop(copy_bidirectional(&mut TokioIo::new(theirs), &mut TokioIo::new(guest)).await);
    };
    tokio::select! {
        () = both => {}
        _ = open.session.ended() => {}
        () = ending.cancelled() => {}
    }
    drop(stay);
}

/// Whether a browser was led here by a page of another origin, with a cookie that it sends by itself: its own word, which no page can
/// change (Fetch Metadata), or else `Origin`. Links from elsewhere may be followed.
fn is_same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let from_here = match (said("sec-fetch-site"), said("origin")) {
        (Some("same-origin" | "none"), _) | (None, None) => true,
        (Some(_), _) => said("sec-fetch-mode") == Some("navigate") && said("origin").is_none(),
        (None, Some(origin)) => {
            let host = said("host").unwrap_or_default();
            origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
        }
    };
    if from_here {
        return Ok(());
    }
    let hint = "a page may ask its own port; a program sends a key instead of a cookie";
    Err(Problem::new(Kind::Forbidden, "a page of another origin asked", hint))
}

/// The session was opened without ports.
pub fn not_asked_for() -> Problem {
    let hint = "open a session with `\"ports\": true`";
    Problem::new(Kind::Forbidden, "the session was opened without ports", hint).of_field("ports")
}

fn not_reached(why: &NotReached, port: u16) -> Problem {
    match why {
        NotReached::Nobody => {
            let hint = "start a server there, such as with POST /v1/sessions/{id}/processes, and send it again when it listens";
            Problem::new(Kind::BadAnswer, format!("nothing listens on port {port} of the session"), hint)
        }
        NotReached::TooMany => {
            Problem::too_many("as many requests are on their way into the session as may be", 1)
        }
        NotReached::Ended => Problem::new(Kind::Conflict, "the session has ended", "open another"),
        NotReached::Fault(fault) => fault.clone().into(),
    }
}

fn bad_answer(error: &dyn std::fmt::Display) -> Problem {
    let detail = format!("what listens in the session gave no answer that is HTTP: {error}");
    Problem::new(Kind::BadAnswer, detail, "look at its output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_cannot_use_the_cookie() {
        let asked = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().chain(&[("host", "a.localhost:1")]);
            is_same_origin(
                &pairs
                    .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                    .collect(),
            )
            .is_ok()
        };
        assert!(asked(&[]));
        assert!(asked(&[("origin", "http://a.localhost:1")]));
        assert!(!asked(&[("origin", "http://b.localhost:1")]));
        assert!(!asked(&[("origin", "null")]));
        assert!(
            asked(&[("sec-fetch-site", "same-origin"), ("origin", "null")]),
            "a form of a page without referrer"
        );
        assert!(!asked(&[("sec-fetch-site", "same-site")]));
        assert!(!asked(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
        assert!(asked(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]), "a link");
        assert!(
            !asked(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("origin", "null")]),
            "a form"
        );
    }
}
