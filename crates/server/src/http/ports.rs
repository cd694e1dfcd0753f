//! `/v1/sessions/{id}/ports/{port}`: links to what listens in a session.

use crate::http::guard::Caller;
use crate::http::sessions::{open_one, session_id};
use crate::ports::{LINK, not_asked_for};
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms};
use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use model::Rejection;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(link)).routes(routes!(follow))
}

/// How a port is reached.
#[derive(Debug, Serialize, ToSchema)]
struct PortLink {
    /// For a browser: lets it in once, and leads to `origin`.
    url: String,
    /// For programs, with a key of the tenant in `Authorization`; and for the browser that followed the link.
    origin: String,
    /// Until when the link is good, RFC 3339 in UTC.
    expires_at: String,
}

async fn link_of(service: &Service, caller: &Caller, id: &str, port: &str) -> Result<PortLink, Problem> {
    // As it stands in its address, so that no port has two names.
    let is_plain = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_plain).ok_or_else(|| {
        Problem::from(Rejection::new("port", "that is no port", "use a number from 1 to 65535"))
    })?;
    let open = open_one(service, caller, &session_id(id)?).await?;
    if !open.ports {
        return Err(not_asked_for());
    }
    let Some(base) = service.sessions.ports.get() else {
        let hint = "whoever runs it sets `ports.listen`";
        return Err(Problem::new(Kind::Forbidden, "this service serves no ports", hint));
    };
    let origin = base.origin(open.session.id(), port);
    let secret = open.doors.link(port, caller.actor.clone(), Instant::now())?;
    open.is_used();
    let until = now_ms().saturating_add(i64::try_from(LINK.as_millis()).unwrap_or(i64::MAX));
    let url = format!("{origin}{}?link={secret}", crate::ports::ENTER);
    Ok(PortLink { url, origin, expires_at: worker::run::time(until) })
}

/// Link to a port of a session
///
/// What listens there on the sandbox's loopback, HTTP or WebSocket, is served at an origin of its own. The link lets a browser in, once;
/// programs send their key. The session must have been opened with `"ports": true`.
#[utoipa::path(post, path = "/v1/sessions/{id}/ports/{port}", operation_id = "link_port", tag = "sessions", params(("id" = String, Path, description = "The session"), ("port" = String, Path, description = "1 to 65535")),
    responses((status = 200, description = "The link", body = PortLink), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn link(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, port)): Path<(String, String)>,
) -> Result<Answer<PortLink>, Problem> {
    link_of(&service, &caller, &id, &port).await.map(Answer)
}

/// Follow a link to a port of a session
#[utoipa::path(get, path = "/v1/sessions/{id}/ports/{port}/", operation_id = "follow_port", tag = "sessions", params(("id" = String, Path, description = "The session"), ("port" = String, Path, description = "1 to 65535")),
    responses((status = 303, description = "To a link, which leads to the port"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn follow(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path((id, port)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let link = link_of(&service, &caller, &id, &port).await?;
    Ok(([(header::REFERRER_POLICY, "no-referrer")], Redirect::to(&link.url)).into_response())
}
