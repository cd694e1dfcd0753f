//! Logging in and out, and whether a request with the cookie was meant by the page that holds it.
//!
//! Browsers send a cookie by themselves, so a cookie alone proves nothing of who wrote a request. `SameSite=Strict` keeps it from pages
//! of other sites; but a page of another port of this machine is of the same site. So every request that relies on the cookie must
//! come from our own origin (`Sec-Fetch-Site`, `Origin`), and one that changes something must carry [`PROOF`], which no page of another
//! origin can set without being asked first (Fetch standard, CORS-safelisted request headers), and that question we never answer.

use super::logins::{COOKIE, LINK_MS_MAX, LOGIN_MS_MAX};
use crate::http::aigne::Peer;
use crate::http::body::Json;
use crate::http::guard::{Caller, identify, identify_key, key_of};
use crate::ports::cookies_called;
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use model::TenantId;
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use store::{Actor, NewAudit, Role};

/// The header that shows that our own page wrote a request; of any value.
const PROOF: &str = "x-fireclay-console";

/// The routes.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/console/session", get(session))
        .route("/console/login", post(login))
        .route("/console/logout", post(logout))
        .route("/console/links", post(link))
}

/// Who calls: by key, by being on a service that asks for none, or by the cookie of a login.
pub fn caller_of(service: &Service, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
    if key_of(headers).is_some() || service.is_keyless() {
        return identify(service, headers);
    }
    let Some(secret) = secret_of(headers) else { return identify(service, headers) };
    let caller = service.logins.caller(service, secret, now_ms());
    let caller = caller.ok_or_else(|| {
        Problem::new(
            Kind::Unauthenticated,
            "the login has ended, or its key was revoked",
            "log in again at /",
        )
    })?;
    is_ours(method, headers)?;
    Ok(caller)
}

/// What a browser is logged in with; nothing if there are two.
fn secret_of(headers: &HeaderMap) -> Option<&str> {
    let mut secrets = cookies_called(headers, COOKIE);
    secrets.next().filter(|_| secrets.next().is_none())
}

/// Refuses a request that our own page did not write.
fn is_ours(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse =
        |what: &str| Err(Problem::new(Kind::Forbidden, what, "use the console, or a key in a header"));
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = said("sec-fetch-site");
    // `none` is what a person typed or opened; of a page it cannot be.
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return refuse("a page of another origin sent this with the login of the console");
    }
    let host = said("host").unwrap_or_default();
    let origin = said("origin");
    let foreign =
        |origin: &str| origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host));
    if origin.is_some_and(foreign) {
        return refuse("a page of another origin sent this with the login of the console");
    }
    let upgrades = headers.contains_key(header::UPGRADE);
    if upgrades && origin.is_none() {
        return refuse("a WebSocket with the login of the console must say its origin");
    }
    if method.is_safe() {
        return Ok(());
    }
    if !headers.contains_key(PROOF) {
        return refuse("the header x-fireclay-console is missing");
    }
    if origin.is_none() && site != Some("same-origin") {
        return refuse("neither `Origin` nor `Sec-Fetch-Site` says that the console sent this");
    }
    Ok(())
}

/// Who is logged in, for the page.
async fn session(State(service): State<Arc<Service>>, caller: Caller, headers: HeaderMap) -> Response {
    let key = match &caller.actor {
        Actor::Key(id) => Some(id.as_str().to_owned()),
        Actor::Local | Actor::Service => None,
    };
    let login = secret_of(&headers).is_some() && !service.is_keyless();
    let role = match caller.role {
        Role::Admin => "admin",
        Role::Tenant => "tenant",
    };
    let told = json!({"tenant": caller.tenant, "role": role, "key": key, "login": login});
    axum::Json(told).into_response()
}

/// What to log in with: a key, or the secret of a link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum With {
    Key(String),
    Link(String),
}

/// A login that is refused: counted, and noted unless its sender was refused too often in the last minute, who is then told to wait. One who has
/// a key is never kept from it by that.
async fn refused(service: &Service, peer: Option<IpAddr>, problem: Problem) -> Problem {
    service.logins.counts.refused.fetch_add(1, Ordering::Relaxed);
    if !service.logins.refusals.may(peer, Instant::now()) {
        return Problem::too_many("too many logins were refused", 60);
    }
    note(service, (Actor::Service, None), "console.refuse", peer).await;
    problem
}

/// Says in the log and in the audit log who came or went.
async fn note(
    service: &Service,
    (actor, tenant): (Actor, Option<TenantId>),
    action: &str,
    peer: Option<IpAddr>,
) {
    let from = peer.map(|peer| peer.to_string());
    let told = json!({"actor": actor.to_string(), "tenant": tenant, "from": from});
    worker::log::info(action, told.as_object().cloned().unwrap_or_default());
    let act = NewAudit {
        at_ms: now_ms(),
        actor,
        tenant,
        action: action.to_owned(),
        object: String::new(),
        detail: json!({ "from": from }),
    };
    if let Err(error) = service.store.audit(act).await {
        worker::log::warn(format_args!("{action}: note it: {error}"));
    }
}

async fn login(
    State(service): State<Arc<Service>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Json(with): Json<With>,
) -> Result<Response, Problem> {
    // Also here: another page must not log its reader in as somebody else.
    is_ours(&Method::POST, &headers)?;
    let now = now_ms();
    let peer = peer.map(|Extension(Peer(peer))| peer.ip());
    let identified = match with {
        With::Key(key) => identify_key(&service, key.trim()),
        With::Link(secret) => service.logins.redeem(&service, &secret, now).ok_or_else(|| {
            let hint = "ask for another: a link is good once, for five minutes";
            Problem::new(Kind::Unauthenticated, "the link is not good, or not any more", hint)
        }),
    };
    let caller = match identified {
        Ok(caller) => caller,
        Err(problem) => return Err(refused(&service, peer, problem).await),
    };
    // One browser, one login.
    if let Some(before) = secret_of(&headers) {
        service.logins.end(&service, before).await;
    }
    let secret = service.logins.begin(&service, caller.clone(), now).await?;
    service.logins.counts.accepted.fetch_add(1, Ordering::Relaxed);
    note(&service, (caller.actor, Some(caller.tenant)), "console.login", peer).await;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&secret, LOGIN_MS_MAX / 1000)?)])
        .into_response())
}

async fn logout(
    State(service): State<Arc<Service>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    is_ours(&Method::POST, &headers)?;
    if let Some(secret) = secret_of(&headers)
        && let Some(caller) = service.logins.end(&service, secret).await
    {
        service.logins.counts.ended.fetch_add(1, Ordering::Relaxed);
        let peer = peer.map(|Extension(Peer(peer))| peer.ip());
        note(&service, (caller.actor, Some(caller.tenant)), "console.logout", peer).await;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie("", 0)?)]).into_response())
}

/// Makes a link that logs a browser in as the caller, once. The secret is in the fragment, which no server is sent and no log sees.
async fn link(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Problem> {
    let now = now_ms();
    let secret = service.logins.link(&service, caller, now)?;
    let told =
        json!({"path": format!("/#/link/{secret}"), "expires_at": worker::run::time(now + LINK_MS_MAX)});
    Ok((StatusCode::CREATED, axum::Json(told)).into_response())
}

fn cookie(secret: &str, seconds: i64) -> Result<HeaderValue, Problem> {
    let text = format!("{COOKIE}={secret}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let unwritable = |_| Problem::new(Kind::Fault, "the cookie cannot be written", "report this");
    HeaderValue::from_str(&text).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_ours(method, &headers.collect()).is_err()
    }

    #[test]
    fn only_our_own_page_is_believed() {
        let ours = [("host", "here:1"), ("origin", "http://here:1"), ("x-fireclay-console", "1")];
        assert!(!refused(&Method::POST, &ours));
        assert!(!refused(&Method::POST, &[("sec-fetch-site", "same-origin"), ("x-fireclay-console", "1")]));
        assert!(!refused(&Method::GET, &[("host", "here:1")]));
        assert!(!refused(&Method::GET, &[("host", "here:1"), ("sec-fetch-site", "none")]));
        for headers in [
            &ours[..2],
            &[ours[0], ours[2]],
            &[ours[0], ours[2], ("origin", "http://here:2")],
            &[ours[0], ours[2], ("origin", "null")],
            &[ours[0], ours[1], ours[2], ("sec-fetch-site", "same-site")],
        ] {
            assert!(refused(&Method::POST, headers), "{headers:?}");
        }
        // A page of another port, and its WebSocket.
        assert!(refused(&Method::GET, &[ours[0], ("sec-fetch-site", "same-site")]));
        assert!(refused(&Method::GET, &[ours[0], ("origin", "http://here:2"), ("upgrade", "websocket")]));
        assert!(refused(&Method::GET, &[ours[0], ("upgrade", "websocket")]));
        assert!(!refused(&Method::GET, &[ours[0], ours[1], ("upgrade", "websocket")]));
    }
}
