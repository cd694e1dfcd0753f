//! `/v1/runs/{id}/cancel`: takes a run back and does nothing else. `DELETE` forgets one that has just settled, which whoever presses
//! Ctrl-C in that moment does not want.

use crate::http::guard::Caller;
use crate::http::runs::{RunSummary, own_live, run_id, stored, with_id};
use crate::problem::Problem;
use crate::service::Service;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use model::RunResult;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(cancel))
}

/// Take back a run that is on its way
///
/// One that is settled stays as it is, and is the answer. A run of a session is interrupted first, and killed if that does not help.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", operation_id = "cancel_run", tag = "runs", params(("id" = String, Path, description = "The run")),
    responses((status = 200, description = "It was over; this is its result", body = RunResult), (status = 202, description = "Taken back; it settles as cancelled unless it was over", body = RunSummary),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn cancel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = run_id(&id)?;
    let live = own_live(&service, &caller, &id);
    if let Some(live) = &live {
        live.cancel();
    }
    let response = stored(&service, &caller, &id).await?;
    let status = if live.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(with_id(&id, status, response))
}
