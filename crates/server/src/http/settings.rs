//! `/v1/settings`, `/v1/limits` and `/v1/doctor`: what the service was told, what runs get, and what the machine lacks.

use crate::http::guard::Caller;
use crate::problem::Problem;
use crate::service::Service;
use crate::settings::{TABLE, variable_of};
use axum::Json;
use axum::extract::State;
use model::{Fault, FaultCode, Limits};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(limits)).routes(routes!(settings)).routes(routes!(doctor))
}

/// How much the caller's runs may use.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsInForce {
    /// What a run gets when it names nothing.
    limits: Limits,
    /// The most that it may ask for; larger wishes are clamped.
    ceiling: Limits,
    /// The largest request body, batches apart.
    body_bytes: u64,
}

/// Read the limits in force for the caller
#[utoipa::path(get, path = "/v1/limits", operation_id = "read_limits", tag = "runs",
    responses((status = 200, description = "The limits", body = LimitsInForce),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn limits(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<LimitsInForce>, Problem> {
    let policy = service.quotas.of(&service.reader, &caller.tenant).await?.narrow(&service.policy);
    let body_bytes = service.settings.body_bytes;
    Ok(Json(LimitsInForce { limits: policy.limits, ceiling: policy.ceiling, body_bytes }))
}

/// One setting.
#[derive(Debug, Serialize, ToSchema)]
struct SettingRow {
    /// Its name in the file; a dot is a table.
    name: &'static str,
    /// Its name in the environment.
    variable: String,
    /// Its value in force.
    value: Value,
    /// Its value when nothing is said, as TOML.
    default: &'static str,
    /// What it means.
    doc: &'static str,
}

/// All settings.
#[derive(Debug, Serialize, ToSchema)]
struct SettingList {
    /// In the order of the reference page. None is secret.
    items: Vec<SettingRow>,
}

/// Read the settings in force
///
/// Needs the role admin.
#[utoipa::path(get, path = "/v1/settings", operation_id = "read_settings", tag = "service",
    responses((status = 200, description = "All settings", body = SettingList),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn settings(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<SettingList>, Problem> {
    caller.admin()?;
    let all = serde_json::to_value(&service.settings)
        .map_err(|error| Fault::new(FaultCode::Internal, format!("show settings: {error}")))?;
    let row = |row: &crate::settings::Row| {
        let value = row.name.split('.').fold(&all, |value, part| &value[part]).clone();
        SettingRow {
            name: row.name,
            variable: variable_of(row.name),
            value,
            default: row.default,
            doc: row.doc,
        }
    };
    Ok(Json(SettingList { items: TABLE.iter().map(row).collect() }))
}

/// What a doctor found.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used: the report is the command's own")]
struct DoctorReport {
    /// The level of isolation that was asked for.
    level: String,
    /// `ready`, `degraded` or `refused`.
    verdict: String,
    /// One for each thing that was tried, with what follows and what to do.
    checks: Vec<Value>,
}

/// Examine the machine
///
/// Needs the role admin. Performs every act that a sandbox needs, once at a time; the report is kept for some seconds.
#[utoipa::path(get, path = "/v1/doctor", operation_id = "read_doctor", tag = "service",
    responses((status = 200, description = "The report of `fireclay doctor --json`", body = DoctorReport),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn doctor(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.admin()?;
    Ok(Json(service.doctor.report().await?))
}
