//! `POST /v1/review`: what a language model has against a program, without a run.

use crate::http::body;
use crate::http::guard::Caller;
use crate::problem::Problem;
use crate::reviews;
use crate::service::Service;
use axum::Json;
use axum::extract::{Request, State};
use model::{InputFile, Language, RunRequest};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(review_code))
}

/// A program to be reviewed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReviewCode {
    /// The program text.
    code: String,
    /// Its language; absent means by `file_name`, or by the first line.
    #[serde(default)]
    language: Option<Language>,
    /// What its file is called.
    #[serde(default)]
    file_name: Option<String>,
    /// Files that it finds in its workspace. Of each the model reads head and tail.
    #[serde(default)]
    #[schema(value_type = Vec<model::request::InputFileSaid>)]
    files: Vec<InputFile>,
}

/// What a model says of a program. Advice: what holds a program is its sandbox.
#[derive(Debug, Serialize, ToSchema)]
struct Reviewed {
    /// The language that it was read in.
    language: Language,
    /// Whether a run of it with `"review": true` would be let through.
    safe: bool,
    /// What is against it, ten reasons at most.
    reasons: Vec<String>,
    /// Who reviewed it, as `provider:model`.
    model: String,
}

/// Have a language model review a program without running it
///
/// Asks the service's model (settings `model.*`), which is shown the program as data. What cannot be reviewed is not safe. The same program
/// is read once.
#[utoipa::path(post, path = "/v1/review", operation_id = "review_code", tag = "runs", request_body = ReviewCode,
    responses((status = 200, description = "What it says", body = Reviewed),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn review_code(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Reviewed>, Problem> {
    body::is_json(request.headers())?;
    let bytes = body::read_all(request.into_body(), &service).await?;
    let ReviewCode { code, language, file_name, files } = body::parse(&bytes)?;
    let model = service.models.model("review")?.name();
    let request = RunRequest { code, language, file_name, files, ..RunRequest::default() };
    let spec = service.admit(&caller.tenant, request).await?;
    // It costs its operator money: it counts as a run does.
    service.quotas.spend(&caller.tenant)?;
    let reasons = reviews::of(&service.models, &caller.tenant, &spec).await?.reasons;
    Ok(Json(Reviewed { language: spec.language, safe: reasons.is_empty(), reasons, model }))
}
