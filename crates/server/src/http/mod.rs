//! The HTTP door: which routes there are, and what holds for all of them.

mod agentrun;
pub mod aigne;
mod attach;
mod audit;
pub mod batches;
pub mod body;
mod chat;
mod chat_stream;
mod checks;
mod docs;
pub mod guard;
mod health;
pub mod keys;
#[cfg(feature = "mcp")]
mod mcp;
#[cfg(not(feature = "mcp"))]
#[path = "mcp/left_out.rs"]
mod mcp;
pub mod nodes;
mod ports;
mod problems;
pub mod processes;
mod requests;
mod responses;
mod reviews;
mod run_cancel;
pub mod runs;
mod secrets;
mod session_archive;
mod session_files;
mod session_watch;
pub mod sessions;
mod settings;
mod sse;
pub mod tasks;
mod templates;
mod tenants;
mod traceparent;
mod traces;
mod usage;

use crate::problem::{Kind, Problem};
use crate::service::Service;
use crate::{cluster, console, local};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use model::TenantId;
use std::sync::Arc;
use store::{Actor, Role};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

/// What is said about the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "fireclay",
        version = env!("CARGO_PKG_VERSION"),
        description = "Runs code that a language model wrote: safely, at once, on your own machine.\n\n\
            Whatever the code does is data: status 200 with an `outcome`. A 4xx is a mistake of the caller's and a 5xx a failure of ours, \
            both as problem documents (RFC 9457) with a hint. AgentRun's `POST /v1/run/` and `GET /v1/health/` are served beside this.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This service")),
    security((), ("key" = [])),
    modifiers(&Security),
    tags(
        (name = "runs", description = "One run and all that comes of it"),
        (name = "sessions", description = "Sandboxes that stay: state and files that survive between runs"),
        (name = "batches", description = "Many runs, and graded programs"),
        (name = "tasks", description = "Questions that a language model works on with programs"),
        (name = "templates", description = "What sandboxes are made from"),
        (name = "traces", description = "What ran, when, and at what cost"),
        (name = "keys", description = "Who may call, and who signs receipts"),
        (name = "tenants", description = "Who there is, how much each may do, and what each did"),
        (name = "audit", description = "Who changed what, when"),
        (name = "service", description = "The service itself"),
    ),
)]
struct Api;

/// How callers prove who they are.
struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key, `fc_…`, as `fireclay key create` prints it. A service on a loopback address that never had a key needs none."))
            .build();
        api.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(key));
    }
}

/// The whole API and the router that serves it.
fn api() -> (Router<Arc<Service>>, utoipa::openapi::OpenApi) {
    let (router, mut description) = OpenApiRouter::with_openapi(Api::openapi())
        .merge(runs::routes())
        .merge(run_cancel::routes())
        .merge(sessions::routes())
        .merge(session_files::routes())
        .merge(attach::routes())
        .merge(processes::routes())
        .merge(ports::routes())
        .merge(session_archive::routes())
        .merge(session_watch::routes())
        .merge(batches::routes())
        .merge(checks::routes())
        .merge(reviews::routes())
        .merge(chat::routes())
        .merge(responses::routes())
        .merge(tasks::routes())
        .merge(templates::routes())
        .merge(traces::routes())
        .merge(keys::routes())
        .merge(secrets::routes())
        .merge(tenants::routes())
        .merge(usage::routes())
        .merge(audit::routes())
        .merge(nodes::routes())
        .merge(settings::routes())
        .merge(health::routes())
        .merge(problems::routes())
        .split_for_parts();
    // OpenAPI knows no parameter that takes several parts of a path: its clients encode the slashes, and both are served.
    let paths = std::mem::take(&mut description.paths.paths);
    description.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    (router, description)
}

/// The description of the API, OpenAPI 3.1, as it is committed in `api/openapi.json`.
pub fn openapi() -> String {
    let mut text = api().1.to_pretty_json().expect("the description is JSON");
    text.push('\n');
    text
}

/// The router. `ending` fires when streams that would go on for ever are to end.
pub fn router(service: Arc<Service>, ending: CancellationToken) -> Router {
    let (router, _) = api();
    service.traces.end_with(ending.clone());
    worker::log::requests_by(requests::current);
    let description: Bytes = openapi().into();
    let description =
        move || async move { ([(header::CONTENT_TYPE, "application/json")], description.clone()) };
    let compatible = if service.settings.agentrun.enabled { agentrun::routes() } else { Router::new() };
    router
        .merge(compatible)
        .merge(aigne::routes(&service))
        .merge(docs::routes())
        .merge(console::routes())
        .merge(mcp::routes(&service, ending))
        .route("/openapi.json", get(description))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(service.clone(), cluster::relay))
        .layer(middleware::from_fn_with_state(service.clone(), guard::guard))
        .layer(middleware::from_fn_with_state(service.clone(), agentrun::cors))
        .layer(middleware::from_fn(harden))
        .layer(middleware::from_fn_with_state(service.clone(), local::noted))
        .layer(middleware::from_fn_with_state(service.clone(), requests::named))
        .with_state(service)
}

/// The API for one who owns the data directory: in this process, without a listener, and so without a key.
pub fn local_router(service: Arc<Service>) -> Router {
    let (router, _) = api();
    let owner = guard::Caller { tenant: TenantId::local(), role: Role::Admin, actor: Actor::Local };
    router.layer(Extension(owner)).with_state(service)
}

/// What other nodes of a cluster are answered by, for whom they say: sessions, and the runs in them.
#[cfg(feature = "cluster")]
pub fn node_router(service: Arc<Service>) -> Router {
    let (router, _) = OpenApiRouter::new()
        .merge(runs::routes())
        .merge(run_cancel::routes())
        .merge(sessions::routes())
        .merge(session_files::routes())
        .merge(attach::routes())
        .merge(processes::routes())
        .merge(ports::routes())
        .merge(session_archive::routes())
        .merge(session_watch::routes())
        .split_for_parts();
    router.with_state(service)
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::new(Kind::NotFound, format!("there is nothing at {}", uri.path()), "/docs lists what there is")
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not allowed at {}", uri.path());
    guard::told(uri.path(), Problem::new(Kind::Method, detail, "the header `Allow` lists what is"))
}

/// Headers that every answer carries: nothing of ours is to be guessed at, framed or kept by others.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Generated clients name their functions by these.
    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let description: serde_json::Value = serde_json::from_str(&openapi()).unwrap();
        let paths = description["paths"].as_object().unwrap().values();
        let names = paths
            .flat_map(|path| path.as_object().unwrap().values())
            .map(|one| one["operationId"].to_string());
        let mut seen = std::collections::BTreeSet::new();
        assert!(names.clone().count() > 20);
        assert_eq!(names.filter(|name| !seen.insert(name.clone())).collect::<Vec<_>>(), [""; 0]);
    }

    /// `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_committed_description_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../api/openapi.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, openapi()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), openapi());
    }
}
