//! `POST /v1/check`: findings of the static check, without a run.

use crate::checks;
use crate::http::body;
use crate::http::guard::Caller;
use crate::problem::Problem;
use crate::service::Service;
use axum::Json;
use axum::extract::{Request, State};
use model::{CheckMode, CheckPatch, CheckPolicy, Finding, Language, RunRequest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(check_code))
}

/// A program to be checked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckCode {
    /// The program text.
    code: String,
    /// Its language; absent means by `file_name`, or by the first line.
    #[serde(default)]
    language: Option<Language>,
    /// What its file is called.
    #[serde(default)]
    file_name: Option<String>,
    /// Which findings are looked for; absent means as the service is set.
    #[serde(default)]
    policy: Option<CheckPolicy>,
    /// What is done about single rules, by id, or by the beginning of ids with a `*`, as `check_rules` of a run.
    #[serde(default)]
    rules: BTreeMap<String, CheckMode>,
}

/// What the check says. Advice: what holds a program is its sandbox.
#[derive(Debug, Serialize, ToSchema)]
struct Checked {
    /// The language that it was read in.
    language: Language,
    /// The policy it was measured by.
    policy: CheckPolicy,
    /// Whether a run with `"check": "deny"`, this policy and these rules would be denied.
    refused: bool,
    /// What was noticed, in the order of the program.
    findings: Vec<Finding>,
}

/// Check a program without running it
///
/// Findings are advice on top of isolation: whoever wants to hide from them can.
#[utoipa::path(post, path = "/v1/check", operation_id = "check_code", tag = "runs", request_body = CheckCode,
    responses((status = 200, description = "What was noticed", body = Checked),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn check_code(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Checked>, Problem> {
    body::is_json(request.headers())?;
    let bytes = body::read_all(request.into_body(), &service).await?;
    let CheckCode { code, language, file_name, policy, rules } = body::parse(&bytes)?;
    let own = CheckPatch { mode: Some(CheckMode::Deny), policy, rules, enforce: false };
    let verdicts = service.verdicts_under(&caller.tenant, &own, "rules").await?;
    let request = RunRequest { code, language, file_name, ..RunRequest::default() };
    let spec = service.admit(&caller.tenant, request).await?;
    let report = checks::report_of(&verdicts, &spec).await?;
    let (language, policy) = (spec.language, verdicts.policy());
    Ok(Json(Checked { language, policy, refused: report.refused, findings: report.findings }))
}
