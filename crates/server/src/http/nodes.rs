//! `/v1/nodes`: the machines of a cluster, and what they are to do with new runs.

use crate::cluster::Elsewhere;
use crate::http::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(cordon))
        .routes(routes!(uncordon))
        .routes(routes!(drain))
}

/// A machine of the cluster, as it tells of itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Whether it sends runs.
    pub gateway: bool,
    /// Whether it does them.
    pub worker: bool,
    /// `ready`, `cordoned` (takes no new runs) or `draining` (takes none, and ends when its own have).
    pub state: String,
    /// Of its fireclay.
    pub version: String,
    /// Runs at once, at most.
    pub places: usize,
    /// Runs that have a place.
    pub running: usize,
    /// Runs that wait on it for one.
    pub queued: usize,
    /// Sessions that are open on it.
    pub sessions: usize,
    /// Sessions that may be.
    pub sessions_max: usize,
    /// When it said this, RFC 3339 in UTC by its own clock. One that says nothing for 15 seconds is listed no more.
    pub seen_at: String,
}

/// Machines of the cluster.
#[derive(Debug, Serialize, ToSchema)]
struct NodeList {
    /// Those that live, by name.
    items: Vec<NodeRow>,
}

/// What an operator wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeWish {
    /// That it takes runs.
    Uncordon,
    /// That it takes none.
    Cordon,
    /// That it takes none, and a worker ends when its own have.
    Drain,
}

fn elsewhere<'a>(service: &'a Service, caller: &Caller) -> Result<&'a Elsewhere, Problem> {
    caller.admin()?;
    let hint = "start it with --cluster; docs/cluster.md says how";
    service.elsewhere.get().ok_or_else(|| Problem::new(Kind::NotFound, "this service is in no cluster", hint))
}

/// List the nodes of the cluster
#[utoipa::path(get, path = "/v1/nodes", operation_id = "list_nodes", tag = "service", responses((status = 200, description = "Those that live", body = NodeList),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<NodeList>, Problem> {
    Ok(Json(NodeList { items: elsewhere(&service, &caller)?.nodes().await? }))
}

/// Show a node
#[utoipa::path(get, path = "/v1/nodes/{name}", operation_id = "read_node", tag = "service", params(("name" = String, Path, description = "The node")),
    responses((status = 200, description = "It", body = NodeRow),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<NodeRow>, Problem> {
    let nodes = elsewhere(&service, &caller)?.nodes().await?;
    let found = nodes.into_iter().find(|node| node.name == name);
    let hint = "`fireclay nodes list` shows those that live";
    found.map(Json).ok_or_else(|| Problem::new(Kind::NotFound, "there is no such node", hint))
}

/// Have a node take no new runs
#[utoipa::path(post, path = "/v1/nodes/{name}/cordon", operation_id = "cordon_node", tag = "service", params(("name" = String, Path, description = "The node")),
    responses((status = 204, description = "It is told within seconds"),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn cordon(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    want(&service, &caller, &name, NodeWish::Cordon).await
}

/// Have a node take runs again
#[utoipa::path(post, path = "/v1/nodes/{name}/uncordon", operation_id = "uncordon_node", tag = "service", params(("name" = String, Path, description = "The node")),
    responses((status = 204, description = "It is told within seconds"),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn uncordon(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    want(&service, &caller, &name, NodeWish::Uncordon).await
}

/// Have a worker end when its runs have
///
/// A gateway goes on taking runs in, and does none itself. A node of this name that starts again takes runs only after `uncordon`.
#[utoipa::path(post, path = "/v1/nodes/{name}/drain", operation_id = "drain_node", tag = "service", params(("name" = String, Path, description = "The node")),
    responses((status = 204, description = "It is told within seconds"),
    (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn drain(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    want(&service, &caller, &name, NodeWish::Drain).await
}

async fn want(service: &Service, caller: &Caller, name: &str, wish: NodeWish) -> Result<StatusCode, Problem> {
    elsewhere(service, caller)?.want(name, wish).await?;
    Ok(StatusCode::NO_CONTENT)
}
