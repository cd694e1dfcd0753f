//! `/mcp`: the tools of `crates/mcp`, for callers of this service. Tools ask the same routes as everybody, behind the same guard.

use crate::http::body;
use crate::http::guard::{self, Caller};
use crate::service::Service;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mcp::{Api, Door, DoorOptions, Unreachable};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// The API of this process.
struct Here(Router);

impl Api for Here {
    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Response, Unreachable>> {
        let answering = self.0.clone().oneshot(request);
        async move {
            match answering.await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
        .boxed()
    }
}

/// The route. `ending` fires when streams are to end.
pub fn routes(service: &Arc<Service>, ending: CancellationToken) -> Router<Arc<Service>> {
    let (api, _) = super::api();
    let guarded =
        api.layer(middleware::from_fn_with_state(service.clone(), guard::guard)).with_state(service.clone());
    let body_bytes = usize::try_from(service.settings.body_bytes).unwrap_or(usize::MAX);
    let door = Door::new(Arc::new(Here(guarded)), DoorOptions { body_bytes, ending });
    Router::new().route("/mcp", any(answer)).layer(Extension(door))
}

/// Answers one request of the protocol.
async fn answer(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Extension(door): Extension<Door>,
    request: Request,
) -> Response {
    let request = if request.method() == Method::POST {
        let (parts, body) = request.into_parts();
        // What no page of another origin can send unasked; and as patient with slow clients as elsewhere.
        if let Err(problem) = body::is_json(&parts.headers) {
            return problem.into_response();
        }
        match body::read_all(body, &service).await {
            Ok(bytes) => Request::from_parts(parts, Body::from(bytes)),
            Err(problem) => return problem.into_response(),
        }
    } else {
        request
    };
    door.answer(caller.tenant.as_str(), request).await
}
