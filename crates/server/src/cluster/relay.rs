//! Sessions of other nodes: a request for one goes to the node that has it, and its answer comes back as it is, streams and WebSockets
//! too. A new session goes where there is room.

mod listing;

use super::door::{Beside, OnBehalf};
use super::{Elsewhere, luggage, problem};
use crate::http::guard::Caller;
use crate::http::sessions::{durable, shown};
use crate::needs::Needs;
use crate::ports::headers::is_websocket;
use crate::problem::{Kind, Problem};
use crate::service::{Service, internal};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cluster::{End, Name, Placed, Standing};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use listing::time_of;
use model::{Fault, FaultCode, Language, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Cursor, SessionEnd, SessionRow};
use tokio::io::copy_bidirectional;

/// Nodes that are asked to open a session before it is refused.
pub(super) const PLACES_MAX: usize = 3;
/// Bytes of a list, or of a new session, that another node tells.
pub(super) const LIST_BYTES_MAX: usize = 8 << 20;
/// Sessions of a list that names no number, and of any.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

/// Answers by another node what is another node's.
pub async fn relay(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let Some(elsewhere) = service.elsewhere.get() else { return next.run(request).await };
    let Some(caller) = request.extensions().get::<Caller>().cloned() else { return next.run(request).await };
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let relay = Relay { service: &service, elsewhere, caller: &caller };
    let answered = match parts[..] {
        ["v1", "sessions"] if request.method() == Method::POST => relay.open(request, next).await,
        ["v1", "sessions"] if request.method() == Method::GET => relay.list(request, next).await,
        ["v1", "sessions", id, ..] => match id.parse() {
            Ok(id) => relay.to_session(&id, request, next).await,
            Err(_) => Ok(next.run(request).await),
        },
        ["v1", "runs", _, ..] => relay.to_run(request, next).await,
        ["v1", "runs"] => match session_of(request.uri().query().unwrap_or_default()) {
            Some(id) if request.method() == Method::GET => relay.to_session(&id, request, next).await,
            _ => Ok(next.run(request).await),
        },
        _ => Ok(next.run(request).await),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// The session that a list of runs is asked for.
fn session_of(query: &str) -> Option<SessionId> {
    query.split('&').find_map(|pair| pair.strip_prefix("session=")?.parse().ok())
}

pub(super) struct Relay<'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) elsewhere: &'a Elsewhere,
    pub(super) caller: &'a Caller,
}

/// What a page of sessions is asked by, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    limit: usize,
    state: Option<String>,
    cursor: Option<(i64, String)>,
}

impl Asked {
    fn of(query: &str) -> Self {
        let said = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let cursor = said("cursor").and_then(|text| text.parse::<Cursor>().ok());
        Self {
            limit: said("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE_MAX),
            state: said("state").map(str::to_owned),
            cursor: cursor.map(|cursor| (cursor.place().0, cursor.place().1.to_owned())),
        }
    }
}

/// What is read of a request to open one.
#[derive(Deserialize)]
struct NewSession {
    template: Option<String>,
    #[serde(default)]
    packages: Vec<String>,
    python: Option<String>,
    #[serde(default)]
    offline: bool,
}

/// What is read of an answer to whoever opened a session.
#[derive(Deserialize)]
struct Opened {
    id: SessionId,
    name: String,
    /// RFC 3339.
    created_at: String,
}

impl Relay<'_> {
    /// Sends a request to a node, and returns its answer.
    pub(super) async fn ask(&self, node: &Name, request: Request) -> Result<Response, Problem> {
        self.ask_with(node, request, Beside::default()).await
    }

    /// The same with what a session that is to be opened needs.
    pub(super) async fn ask_with(
        &self,
        node: &Name,
        mut request: Request,
        beside: Beside,
    ) -> Result<Response, Problem> {
        let quota = self.service.quotas.of(&self.service.reader, &self.caller.tenant).await?;
        let checks = self.service.checks_sent(&self.caller.tenant).await?;
        let behalf = OnBehalf::of(self.caller, &quota, (checks, self.service.allow_missing()), beside);
        let stream = self.elsewhere.links.connect(node, behalf).await.map_err(problem)?;
        let websocket = is_websocket(request.headers());
        let theirs = websocket.then(|| hyper::upgrade::on(&mut request));
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| silent(node, &error))?;
        // What goes wrong on it is told where the answer is waited for, or read.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let (head, body) = request.into_parts();
        let answered = sender.send_request(inward(head, body, websocket)?).await;
        let mut response = answered.map_err(|error| silent(node, &error))?;
        if let (Some(theirs), StatusCode::SWITCHING_PROTOCOLS) = (theirs, response.status()) {
            let own = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                let (Ok(theirs), Ok(own)) = tokio::join!(theirs, own) else { return };
                // Who broke off has told the other side by that.
                drop(copy_bidirectional(&mut TokioIo::new(theirs), &mut TokioIo::new(own)).await);
            });
        }
        let (mut head, body) = response.into_parts();
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            head.headers.remove(header::CONNECTION);
        }
        head.headers.remove(header::TRANSFER_ENCODING);
        Ok(Response::from_parts(head, Body::new(body)))
    }

    /// Opens a session where there is room.
    async fn open(&self, request: Request, next: Next) -> Result<Response, Problem> {
        let open = self.elsewhere.directory.open_of(&self.caller.tenant);
        if open >= self.service.settings.tenant.sessions {
            let detail = format!("{open} sessions are open; more are not allowed at once");
            return Err(Problem::too_many(detail, 60));
        }
        let (head, body) = request.into_parts();
        let most = usize::try_from(self.service.settings.body_bytes).unwrap_or(usize::MAX);
        let too_large = |error: axum::Error| Problem::new(Kind::TooLarge, error.to_string(), "send less");
        let body = to_bytes(body, most).await.map_err(too_large)?;
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        // What listens in a session is visited at the gateway that was asked for it.
        let must_be_here = asked["ports"] == true;
        let name = self.elsewhere.gateway.name();
        let mut nodes = self.elsewhere.directory.with_room();
        nodes.retain(|node| !must_be_here || node.name == *name);
        nodes.truncate(PLACES_MAX);
        if nodes.is_empty() && !must_be_here {
            return Err(Problem::too_many("no node has room for a session", 5));
        }
        // Its own node has it anyway.
        let is_away = nodes.iter().any(|node| node.name != *name);
        let (luggage, theirs) =
            if is_away { self.luggage(&asked, &body).await? } else { (None, body.clone()) };
        let mut away = head.clone();
        if head.headers.contains_key(header::CONTENT_LENGTH) {
            away.headers.insert(header::CONTENT_LENGTH, theirs.len().into());
        }
        let mut next = Some(next);
        let mut last = None;
        for node in nodes {
            let _placing = self.elsewhere.directory.place(&node.name);
            let answered = match (node.name == *name, next.take()) {
                (true, Some(next)) => next.run(again(&head, &body)).await,
                (true, None) => continue,
                (false, kept) => {
                    next = kept;
                    let beside = Beside { luggage: luggage.clone(), again: None };
                    match self.ask_with(&node.name, again(&away, &theirs), beside).await {
                        Ok(answered) => answered,
                        Err(problem) => problem.into_response(),
                    }
                }
            };
            let is_full =
                matches!(answered.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            if !is_full {
                return self.placed(answered, &node, &asked).await;
            }
            last = Some(answered);
        }
        match (last, next) {
            (Some(last), _) => Ok(last),
            // Only this node may have it, and it will say why not.
            (None, Some(next)) => Ok(next.run(again(&head, &body)).await),
            (None, None) => Err(Problem::too_many("no node has room for a session", 5)),
        }
    }

    /// What a session needs of this node, stored for the other; and the request as that reads it, with the version of its template.
    pub(super) async fn luggage(
        &self,
        asked: &Value,
        body: &Bytes,
    ) -> Result<(Option<String>, Bytes), Problem> {
        let (tenant, machine) = (&self.caller.tenant, &self.service.machine);
        // What is wrong with a request is told by the node that is asked.
        let Ok(NewSession { template, packages, python, offline }) = serde_json::from_value(asked.clone())
        else {
            return Ok((None, body.clone()));
        };
        // What is made for another Python is made where that Python is, and what is not to be made is there or not.
        if python.is_some() || offline {
            return Ok((None, body.clone()));
        }
        let name = template.unwrap_or_else(|| Language::Python.default_template().to_owned());
        let Ok(template) = machine.templates().find(&name) else { return Ok((None, body.clone())) };
        let mut environment = None;
        if let (Some(row), false) = (template.languages.first(), packages.is_empty()) {
            let needs = Needs::of_list(&packages, row.name)?;
            environment = self
                .service
                .install(
                    tenant,
                    worker::installer::Over { template: &name, python: None, image: None },
                    &needs,
                )
                .await?;
        }
        let found = luggage::of_session(machine, tenant, (&name, environment.as_deref()));
        let (luggage, freight) =
            found.map_err(|error| Problem::from(Fault::new(FaultCode::ResourcesExhausted, error)))?;
        self.elsewhere.gateway.offer(&freight).await.map_err(problem)?;
        if template.own.is_none() {
            return Ok((luggage, body.clone()));
        }
        let mut asked = asked.clone();
        asked["template"] = template.address().into();
        Ok((luggage, asked.to_string().into()))
    }

    /// Writes where a session is before its owner hears of it.
    async fn placed(
        &self,
        answered: Response,
        node: &cluster::Node,
        asked: &Value,
    ) -> Result<Response, Problem> {
        if answered.status() != StatusCode::CREATED {
            return Ok(answered);
        }
        let (head, body) = answered.into_parts();
        let body = to_bytes(body, LIST_BYTES_MAX).await.map_err(|error| silent(&node.name, &error))?;
        let opened: Opened = serde_json::from_slice(&body)
            .map_err(|error| internal(format!("read a new session: {error}")))?;
        let placed = Placed {
            node: node.name.clone(),
            started_ms: node.started_ms,
            tenant: self.caller.tenant.clone(),
            name: opened.name,
            created_at_ms: time_of(&opened.created_at),
            request: asked.to_string(),
            durable: asked["durable"] == true,
            epoch: 0,
            opening_ms: None,
            source: None,
        };
        self.elsewhere.directory.tell(&opened.id, placed).await.map_err(problem)?;
        Ok(Response::from_parts(head, Body::from(body)))
    }

    /// Where a session of the caller's is, if it is on another node.
    async fn place_of(&self, id: &SessionId) -> Result<Option<(Placed, Option<End>)>, Problem> {
        if self.service.sessions.find(id).is_some() {
            return Ok(None);
        }
        let found = self.elsewhere.directory.find(id).await.map_err(problem)?;
        let is_theirs = |placed: &Placed| {
            placed.tenant == self.caller.tenant && placed.node != *self.elsewhere.gateway.name()
        };
        Ok(found.filter(|(placed, _)| is_theirs(placed)))
    }

    async fn to_session(&self, id: &SessionId, request: Request, next: Next) -> Result<Response, Problem> {
        if let Some((placed, end)) = self.durable_of(id).await? {
            return self.to_durable(id, (placed, end), request, next).await;
        }
        let Some((placed, end)) = self.place_of(id).await? else { return Ok(next.run(request).await) };
        let is_looked_at =
            request.method() == Method::GET && request.uri().path() == format!("/v1/sessions/{id}");
        let end = match (self.elsewhere.directory.standing(&placed), end) {
            (Standing::There, _) => return self.ask(&placed.node, request).await,
            (_, Some(end)) | (Standing::Lost(end), None) => end,
            (Standing::Silent, None) => {
                let detail = format!("{}, which has the session, is silent", placed.node);
                let hint = "ask again: it comes back, or the session is lost in some seconds";
                return Err(Problem::new(Kind::Unavailable, detail, hint).retry_safe(true));
            }
        };
        if is_looked_at {
            return Ok(axum::Json(self.shown(id, &placed, Some(&end))).into_response());
        }
        let hint =
            "open another; its files are where its node kept them, and can be fetched when that is back";
        let detail = format!("the session has ended: {} {}", end.why, end.detail);
        Err(Problem::new(Kind::Conflict, detail, hint))
    }

    /// A session that cannot be asked for.
    pub(super) fn shown(&self, id: &SessionId, placed: &Placed, end: Option<&End>) -> Value {
        let row = SessionRow {
            id: id.clone(),
            tenant: placed.tenant.clone(),
            name: placed.name.clone(),
            created_at_ms: placed.created_at_ms,
            request: placed.request.clone(),
            end: end.map(|end| SessionEnd {
                at_ms: end.at_ms,
                why: end.why.clone(),
                detail: end.detail.clone(),
                files_until_ms: end.files_until_ms,
                files_bytes: 0,
            }),
        };
        let mut shown = shown(self.service, row);
        if end.is_none() {
            shown["state"] = json!("open");
        }
        if placed.durable {
            shown["durable"] = durable::away(None, placed.epoch);
        }
        shown
    }

    /// Nodes that have sessions of the caller's, and are there.
    fn nodes(&self) -> BTreeSet<Name> {
        let directory = &self.elsewhere.directory;
        let all = directory.all_of(&self.caller.tenant).into_iter().map(|(_, placed, _)| placed);
        let there = all.filter(|placed| directory.standing(placed) == Standing::There);
        there.map(|placed| placed.node).filter(|node| node != self.elsewhere.gateway.name()).collect()
    }

    /// A run is this service's, or one of a session on another node: that is asked only of what is not here.
    async fn to_run(&self, request: Request, next: Next) -> Result<Response, Problem> {
        let nodes = self.nodes();
        if nodes.is_empty() {
            return Ok(next.run(request).await);
        }
        let (head, body) = request.into_parts();
        // What is asked of a run is small.
        let too_large = |error: axum::Error| Problem::new(Kind::TooLarge, error.to_string(), "send less");
        let body = to_bytes(body, LIST_BYTES_MAX).await.map_err(too_large)?;
        let here = next.run(again(&head, &body)).await;
        if here.status() != StatusCode::NOT_FOUND {
            return Ok(here);
        }
        for node in nodes {
            let there = self.ask(&node, again(&head, &body)).await;
            match there {
                Ok(there) if there.status() != StatusCode::NOT_FOUND => return Ok(there),
                // Whoever has it is another.
                _ => {}
            }
        }
        Ok(here)
    }
}

/// The same request once more.
fn again(head: &Parts, body: &Bytes) -> Request {
    let mut request = Request::new(Body::from(body.clone()));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    *request.extensions_mut() = head.extensions.clone();
    request
}

/// A request as the other node hears it: who asks was said when the connection was opened, and our keys are none of its business.
fn inward(head: Parts, body: Body, websocket: bool) -> Result<Request, Problem> {
    let unreadable = |_| Problem::new(Kind::InvalidRequest, "the path cannot be read", "encode it");
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut inward = Request::new(body);
    *inward.method_mut() = head.method;
    *inward.uri_mut() = path.parse().map_err(unreadable)?;
    *inward.headers_mut() = without_ours(head.headers, websocket);
    Ok(inward)
}

fn without_ours(mut headers: HeaderMap, websocket: bool) -> HeaderMap {
    let ours =
        [header::AUTHORIZATION, header::COOKIE, header::ORIGIN, header::EXPECT, header::TRANSFER_ENCODING];
    ours.into_iter().for_each(|name| drop(headers.remove(name)));
    headers.remove("x-api-key");
    if !websocket {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers
}

/// A node did not answer: it may have done what was asked.
fn silent(node: &Name, error: &dyn std::fmt::Display) -> Problem {
    let hint = "ask what became of it; with an idempotency key it can be sent again";
    Problem::new(Kind::Unavailable, format!("{node} gave no answer: {error}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_the_service_reads_it() {
        assert_eq!(Asked::of(""), Asked { limit: PAGE, ..Asked::default() });
        let cursor = Cursor::at(5, "ses_x");
        let asked = Asked::of(&format!("state=open&limit=7&cursor={cursor}"));
        let cursor = Some((5, "ses_x".to_owned()));
        assert_eq!(asked, Asked { limit: 7, state: Some("open".to_owned()), cursor });
    }

    #[test]
    fn keys_do_not_leave_the_gateway() {
        let mut said = HeaderMap::new();
        for name in ["authorization", "x-api-key", "cookie", "traceparent", "connection", "host"] {
            said.insert(name, HeaderValue::from_static("secret"));
        }
        let inward = without_ours(said.clone(), false);
        let mut left: Vec<_> = inward.keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["host", "traceparent"]);
        assert_eq!(inward["host"], "localhost");
        assert!(without_ours(said, true).contains_key("connection"), "the control");
    }
}
