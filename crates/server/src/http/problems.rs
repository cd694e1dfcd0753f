//! `/problems/{word}`: where the `type` of a problem document leads. Needs no key: who was refused for the want of one may read why.

use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::extract::Path;
use axum::response::Html;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Explain a kind of problem
///
/// The `type` of every problem document is the path of such a page.
#[utoipa::path(get, path = "/problems/{word}", operation_id = "explain_problem", tag = "service", security(()),
    params(("word" = String, Path, description = "The end of `type`")),
    responses((status = 200, description = "When it is met, and what to do", body = String, content_type = "text/html"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn explain(Path(word): Path<String>) -> Result<Html<String>, Problem> {
    let kind = Kind::of_word(&word).ok_or_else(|| Problem::not_found("kind of problem", &word))?;
    Ok(Html(kind.page()))
}
