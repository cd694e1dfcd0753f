//! `/mcp` of a build without it, so that it says so.

use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::Router;
use axum::routing::any;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The route.
pub fn routes(_: &Arc<Service>, _: CancellationToken) -> Router<Arc<Service>> {
    Router::new().route("/mcp", any(left_out))
}

async fn left_out() -> Problem {
    let hint = "build one that has it: cargo install --path crates/cli --features mcp";
    Problem::new(Kind::NotFound, "this build has no mcp", hint)
}
