//! Durable sessions: a request for one whose node is lost has it opened on another node, with the files that were saved.
//!
//! Looking at it reopens nothing, nor does closing it. Whoever had it before is not asked any more from the moment that the directory has
//! the next epoch; see `cluster/src/sessions/reopening.rs`.

use super::door::{Beside, OpenAgain};
use super::problem;
use super::relay::{LIST_BYTES_MAX, PLACES_MAX, Relay};
use crate::http::sessions::durable;
use crate::problem::{Kind, Problem};
use crate::service::{internal, now_ms};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cluster::sessions::reopening::{Turn, Whereabouts};
use cluster::{End, Head, Node, Placed, Source, Standing};
use futures_util::stream;
use model::SessionId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use worker::session::Why;

/// Zeros that end an archive (POSIX.1-2017, pax: two blocks).
const ARCHIVE_END: &[u8] = &[0; 1024];
/// How often a session is looked for that moves while it is.
const LOOKS_MAX: usize = 3;

/// Sessions that are being reopened by requests of this gateway.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<SessionId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, id: &SessionId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(id.clone()).or_default().clone()
    }
}

fn unavailable(detail: impl Into<String>) -> Problem {
    let hint = "ask again in a second: it is reopened with the files that were saved";
    Problem::new(Kind::Unavailable, detail, hint).retry_safe(true)
}

fn over(end: &End) -> Problem {
    let detail = format!("the session has ended: {} {}", end.why, end.detail);
    Problem::new(Kind::Conflict, detail, "open another")
}

impl Relay<'_> {
    /// Where a durable session of the caller's is, as far as it is known without asking much.
    pub(super) async fn durable_of(&self, id: &SessionId) -> Result<Option<(Placed, Option<End>)>, Problem> {
        // Chats' and tasks' are in no directory.
        if self.service.sessions.find(id).is_some_and(|open| open.durable.is_none()) {
            return Ok(None);
        }
        let found = self.elsewhere.directory.find(id).await.map_err(problem)?;
        Ok(found.filter(|(placed, _)| placed.durable && placed.tenant == self.caller.tenant))
    }

    /// Whether a session is durable and on no node that can be asked.
    pub(super) fn is_away(&self, placed: &Placed, end: Option<&End>) -> bool {
        let at = || self.elsewhere.directory.whereabouts(placed, end);
        placed.durable && !matches!(at(), Whereabouts::There | Whereabouts::Over(_))
    }

    /// Answers a request for such a session.
    pub(super) async fn to_durable(
        &self,
        id: &SessionId,
        (mut placed, mut end): (Placed, Option<End>),
        request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let directory = &self.elsewhere.directory;
        let is_whole = request.uri().path() == format!("/v1/sessions/{id}");
        for _ in 0..LOOKS_MAX {
            self.end_what_others_have(id, &placed);
            match directory.whereabouts(&placed, end.as_ref()) {
                Whereabouts::There if !self.is_here(&placed) => {
                    return self.ask(&placed.node, request).await;
                }
                Whereabouts::There if self.service.sessions.find(id).is_some() => {
                    return self.here(request, next).await;
                }
                // On a node that is there its files can be fetched for a while.
                Whereabouts::Over(End { files_until_ms: Some(_), .. }) if self.is_here(&placed) => {
                    return Ok(next.run(request).await);
                }
                Whereabouts::Over(End { files_until_ms: Some(_), .. })
                    if directory.standing(&placed) == Standing::There =>
                {
                    return self.ask(&placed.node, request).await;
                }
                Whereabouts::Over(end) if is_whole && request.method() == Method::GET => {
                    return Ok(axum::Json(self.shown(id, &placed, Some(&end))).into_response());
                }
                Whereabouts::Over(end) => return Err(over(&end)),
                _ if is_whole && request.method() == Method::GET => return self.look_away(id, &placed).await,
                // What is listed is what this gateway has.
                _ if request.uri().path() == "/v1/runs" => return Ok(next.run(request).await),
                Whereabouts::Silent => {
                    return Err(unavailable(format!("{}, which has the session, is silent", placed.node)));
                }
                Whereabouts::Opening => return Err(unavailable("the session is being reopened")),
                Whereabouts::Nowhere if is_whole && request.method() == Method::DELETE => {
                    let closed = self.ended(&placed, "closed", "its node was lost before");
                    directory.end(id, &placed, closed.clone()).await.map_err(problem)?;
                    return Ok(axum::Json(self.shown(id, &placed, Some(&closed))).into_response());
                }
                // Of this gateway, whose process began anew.
                Whereabouts::There | Whereabouts::Nowhere => {
                    placed = self.reopen(id).await?;
                    end = None;
                }
            }
        }
        Err(unavailable("the session moves"))
    }

    /// Whether this gateway's own machine is where a session was placed.
    fn is_here(&self, placed: &Placed) -> bool {
        placed.node == *self.elsewhere.gateway.name()
    }

    /// A session that is open here, and that another node has, is not this node's any more.
    fn end_what_others_have(&self, id: &SessionId, placed: &Placed) {
        let Some(open) = self.service.sessions.find(id) else { return };
        let epoch = open.durable.as_ref().map_or(0, |durable| durable.epoch);
        if !self.is_here(placed) || placed.epoch > epoch {
            open.session.end(Why::NodeLost, "it was reopened elsewhere");
        }
    }

    /// Answers here, unless others may have the session by the time that the answer is there.
    async fn here(&self, request: Request, next: Next) -> Result<Response, Problem> {
        let lost = || unavailable("the cluster did not hear of this node for too long");
        if !self.elsewhere.worker.has_sessions() {
            return Err(lost());
        }
        let answered = next.run(request).await;
        if self.elsewhere.worker.has_sessions() { Ok(answered) } else { Err(lost()) }
    }

    /// A session that is on no node now.
    async fn look_away(&self, id: &SessionId, placed: &Placed) -> Result<Response, Problem> {
        let saved = self.elsewhere.directory.saved(id, placed).await.map_err(problem)?;
        let said = saved.map(|(_, head)| head.said);
        let expired = said.filter(|said| said.expires_at_ms <= now_ms());
        let end = expired.map(|_| self.ended(placed, "expired", "while it was on no node"));
        let mut shown = self.shown(id, placed, end.as_ref());
        shown["durable"] = durable::away(said.map(|said| said.at_ms), placed.epoch);
        Ok(axum::Json(shown).into_response())
    }

    fn ended(&self, placed: &Placed, why: &str, detail: &str) -> End {
        let (why, detail, epoch) = (why.to_owned(), detail.to_owned(), placed.epoch);
        End { at_ms: now_ms(), why, detail, files_until_ms: None, epoch, by_gateway: true }
    }

    /// Opens a session that is nowhere on another node; of requests that ask at once one does it. Returns where it is then.
    async fn reopen(&self, id: &SessionId) -> Result<Placed, Problem> {
        let turn = self.elsewhere.reopening.of(id);
        let _turn = turn.lock().await;
        let directory = &self.elsewhere.directory;
        let known = directory.find(id).await.map_err(problem)?;
        let found = directory.find_now(id).await.map_err(problem)?;
        let (placed, turn) = found.ok_or_else(|| Problem::not_found("session", id.as_str()))?;
        let end = known.filter(|(known, _)| known.epoch == placed.epoch).and_then(|(_, end)| end);
        match directory.whereabouts(&placed, end.as_ref()) {
            Whereabouts::Nowhere => {}
            Whereabouts::There if self.is_here(&placed) && self.service.sessions.find(id).is_none() => {}
            Whereabouts::Over(end) => return Err(over(&end)),
            // Who had the turn before has done it.
            _ => return Ok(placed),
        }
        let open = directory.open_of(&self.caller.tenant);
        if open >= self.service.settings.tenant.sessions {
            return Err(Problem::too_many(
                format!("{open} sessions are open; more are not allowed at once"),
                60,
            ));
        }
        let saved = directory.saved(id, &placed).await.map_err(problem)?;
        if let Some((_, head)) = &saved
            && head.said.expires_at_ms <= now_ms()
        {
            let expired = self.ended(&placed, "expired", "while it was on no node");
            directory.end(id, &placed, expired.clone()).await.map_err(problem)?;
            return Err(over(&expired));
        }
        self.reopen_somewhere(id, (placed, turn), saved).await
    }

    async fn reopen_somewhere(
        &self,
        id: &SessionId,
        (before, mut turn): (Placed, Turn),
        saved: Option<(Source, Head)>,
    ) -> Result<Placed, Problem> {
        let directory = &self.elsewhere.directory;
        let mut asked: Value = serde_json::from_str(&before.request)
            .map_err(|error| internal(format!("read a session's request: {error}")))?;
        if let Some((_, head)) = &saved {
            asked["ttl_ms"] = json!(head.said.expires_at_ms.saturating_sub(now_ms()).max(1));
            asked["idle_ttl_ms"] = json!(head.said.idle_ttl_ms);
        }
        let (luggage, body) = self.luggage(&asked, &Bytes::from(asked.to_string())).await?;
        let mut nodes = directory.with_room();
        nodes.truncate(PLACES_MAX);
        let mut last = Problem::too_many("no node has room for the session", 5);
        for (epoch, node) in (before.epoch + 1..).zip(nodes) {
            let _placing = directory.place(&node.name);
            let claim = Placed {
                node: node.name.clone(),
                started_ms: node.started_ms,
                epoch,
                opening_ms: Some(now_ms()),
                source: saved.as_ref().map(|(source, _)| source.clone()),
                ..before.clone()
            };
            turn = self.write(id, &claim, turn).await?;
            let again = OpenAgain {
                id: id.clone(),
                created_at_ms: before.created_at_ms,
                epoch,
                at_ms: now_ms(),
                from: before.node.to_string(),
                files_of_ms: saved.as_ref().map(|(_, head)| head.said.at_ms),
            };
            let beside = Beside { luggage: luggage.clone(), again: Some(again) };
            match self.open_there(id, &node, (body.clone(), beside), saved.as_ref()).await {
                Ok(()) => {
                    let placed = Placed { opening_ms: None, source: None, ..claim };
                    self.write(id, &placed, turn).await?;
                    if let Some((source, _)) = &saved
                        && let Err(error) = directory.forget_saved(id, source).await
                    {
                        worker::log::warn(format_args!("{id}: {error}"));
                    }
                    return Ok(placed);
                }
                Err(problem) => last = problem,
            }
            // The next one may try at once, whoever that is.
            turn = self.write(id, &Placed { opening_ms: Some(0), ..claim }, turn).await?;
        }
        Err(last)
    }

    async fn write(&self, id: &SessionId, placed: &Placed, turn: Turn) -> Result<Turn, Problem> {
        let written = self.elsewhere.directory.tell_in_turn(id, placed, turn).await.map_err(problem)?;
        written.ok_or_else(|| unavailable("another gateway reopens the session"))
    }

    /// Opens it on a node, puts its files there, and has them saved.
    async fn open_there(
        &self,
        id: &SessionId,
        node: &Node,
        (body, beside): (Bytes, Beside),
        saved: Option<&(Source, Head)>,
    ) -> Result<(), Problem> {
        let path = format!("/v1/sessions/{id}");
        let opening = request(Method::POST, "/v1/sessions", "application/json", Body::from(body))?;
        self.tell(node, opening, beside).await?;
        let filled = async {
            if let Some((source, head)) = saved {
                let archive = self.elsewhere.directory.archive(id, source, head).await.map_err(problem)?;
                let pieces = stream::try_unfold((archive, false), |(mut archive, is_over)| async move {
                    if is_over {
                        return Ok(None);
                    }
                    let piece = archive.next().await.map_err(std::io::Error::other)?;
                    let is_over = piece.is_none();
                    let piece = piece.map_or_else(|| Bytes::from_static(ARCHIVE_END), Bytes::from);
                    Ok::<_, std::io::Error>(Some((piece, (archive, is_over))))
                });
                let body = Body::from_stream(pieces);
                let putting = request(Method::PUT, &format!("{path}/archive"), "application/x-tar", body)?;
                self.tell(node, putting, Beside::default()).await?;
            }
            let saving = request(Method::POST, &format!("{path}/save"), "application/json", Body::empty())?;
            self.tell(node, saving, Beside::default()).await
        };
        let done = filled.await;
        if done.is_err() {
            // One that is not as it was is nobody's: closed, so that it is there for nobody.
            let closing = request(Method::DELETE, &path, "application/json", Body::empty())?;
            drop(self.tell(node, closing, Beside::default()).await);
        }
        done
    }

    /// Asks a node for something, and returns why it did not do it.
    async fn tell(&self, node: &Node, request: Request, beside: Beside) -> Result<(), Problem> {
        let answered = self.ask_with(&node.name, request, beside).await?;
        let status = answered.status();
        let body = to_bytes(answered.into_body(), LIST_BYTES_MAX).await;
        if matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Ok(());
        }
        let said: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let detail = said["detail"].as_str().unwrap_or("it does not say why");
        Err(unavailable(format!("the session could not be reopened: {} said {status}: {detail}", node.name)))
    }
}

fn request(method: Method, path: &str, media_type: &'static str, body: Body) -> Result<Request, Problem> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| internal(format!("a path: {path}")))?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(request)
}
