//! Who is calling, and whether a browser was tricked into it.
//!
//! With keys, a key says who. Without any, on a loopback address only, whoever reaches the port is this machine's person: then `Host`
//! must be a name of this machine (a page cannot rebind its own name to us), `Origin` must be our own, and bodies must be JSON, which
//! no page of another origin can send without being asked first.

use crate::chat::Wrong;
use crate::console;
use crate::http::{agentrun, aigne, chat};
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::TenantId;
use std::sync::Arc;
use store::{Actor, Role, Scope};

/// Paths that tell nothing of anybody and need no key.
const PUBLIC: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/version",
    "/openapi.json",
    "/docs",
    "/v1/keys/receipt",
    "/v1/health",
    "/v1/health/",
];

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose things it may see and make.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
    /// How the audit log names it.
    pub actor: Actor,
}

impl Caller {
    /// What it may see.
    pub fn scope(&self) -> Scope {
        Scope::Tenant(self.tenant.clone())
    }

    /// What it may see where administrators see everything.
    pub fn wide_scope(&self) -> Scope {
        match self.role {
            Role::Admin => Scope::Admin,
            Role::Tenant => self.scope(),
        }
    }

    /// What it may see when it names a tenant, or none. Of a foreign tenant, it sees what it would of one that is not there.
    pub fn scope_of(&self, tenant: Option<TenantId>) -> Result<Scope, Problem> {
        match tenant {
            None => Ok(self.wide_scope()),
            Some(tenant) if self.role == Role::Admin || tenant == self.tenant => Ok(Scope::Tenant(tenant)),
            Some(tenant) => Err(Problem::not_found("tenant", tenant.as_str()).of_field("tenant")),
        }
    }

    /// Refuses all but administrators.
    pub fn admin(&self) -> Result<(), Problem> {
        match self.role {
            Role::Admin => Ok(()),
            Role::Tenant => Err(Problem::new(
                Kind::Forbidden,
                "this needs a key with the role admin",
                "ask whoever runs this service",
            )),
        }
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        // Put there by `guard`; a public path asks here for the first time.
        match parts.extensions.get::<Caller>() {
            Some(caller) => Ok(caller.clone()),
            None => console::caller_of(service, &parts.method, &parts.headers),
        }
    }
}

/// Lets a request through with its [`Caller`], or answers it.
pub async fn guard(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let public = PUBLIC.contains(&path) || path.starts_with("/docs/") || path.starts_with("/problems/");
    let public = public || console::is_public(path) || aigne::is_public(path);
    if let Err(problem) = not_tricked(&service, request.headers(), path) {
        return told(path, problem);
    }
    if !public {
        match console::caller_of(&service, request.method(), request.headers()) {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(problem) => return told(request.uri().path(), problem),
        }
    }
    next.run(request).await
}

/// A problem in the words of the clients of its path.
pub fn told(path: &str, problem: Problem) -> Response {
    if chat::serves(path) {
        Wrong::from(problem).into_response()
    } else if aigne::serves(path) {
        aigne::told(problem)
    } else {
        problem.into_response()
    }
}

/// Who calls, by the key of the request; without one, whoever needs none.
pub fn identify(service: &Service, headers: &HeaderMap) -> Result<Caller, Problem> {
    match key_of(headers) {
        Some(key) => identify_key(service, key),
        None if service.is_keyless() => {
            Ok(Caller { tenant: TenantId::local(), role: Role::Admin, actor: Actor::Local })
        }
        None => Err(Problem::new(Kind::Unauthenticated, "there is no key with the request", NO_KEY)),
    }
}

/// Whose key this is.
pub fn identify_key(service: &Service, key: &str) -> Result<Caller, Problem> {
    if service.is_owners(key) {
        return Ok(Caller { tenant: TenantId::local(), role: Role::Admin, actor: Actor::Local });
    }
    let principal = service.store.verify_key(key, now_ms());
    let principal = principal.ok_or_else(|| {
        Problem::new(Kind::Unauthenticated, "the key is unknown, expired or revoked", NO_KEY)
    })?;
    Ok(Caller { tenant: principal.tenant, role: principal.role, actor: Actor::Key(principal.key) })
}

const NO_KEY: &str = "send `Authorization: Bearer fc_…`; `fireclay key create` makes one";

/// The key of a request.
pub fn key_of(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, key)| key.trim()).or_else(|| headers.get("x-api-key")?.to_str().ok())
}

fn not_tricked(service: &Service, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    // A key is not something that a browser sends by itself.
    if key_of(headers).is_some() || !service.is_keyless() {
        return Ok(());
    }
    let refuse = |what: &str, hint: &str| Err(Problem::new(Kind::Forbidden, what, hint));
    // Two of them are none: somebody between could have meant the other.
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none());
    let host = host.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_ours(service, host) {
        return refuse(
            &format!("this service is not called {host:?}"),
            "use its address, or add the name to `allowed_hosts`",
        );
    }
    let Some(origin) = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default()) else {
        return Ok(());
    };
    let same = origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host));
    let settings = &service.settings.agentrun;
    let allowed =
        settings.enabled && agentrun::serves(path) && settings.cors_origins.iter().any(|own| own == origin);
    if same || allowed {
        return Ok(());
    }
    refuse(
        &format!("pages of {origin:?} may not call this service"),
        "use a key, or call from outside a browser",
    )
}

/// Whether a `Host` is a name of this machine's own, or one the operator gave it.
fn is_ours(service: &Service, host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback
        || name.eq_ignore_ascii_case("localhost")
        || service.settings.allowed_hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}
