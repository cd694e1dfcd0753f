//! The review on the way of a run: what a language model has against it.

use crate::models::Models;
use crate::problem::Problem;
use crate::service::internal;
use model::{CheckMode, Finding, RunSpec, Severity, TenantId};
use sha2::{Digest, Sha256};

/// What the model has against a run, as findings; none if it is safe. Without a model a problem that says how to get one.
pub async fn of(models: &Models, tenant: &TenantId, run: &RunSpec) -> Result<Vec<Finding>, Problem> {
    let reasons = reasons(models, tenant, run).await?;
    Ok(reasons.into_iter().map(finding).collect())
}

/// The same in words.
pub async fn reasons(models: &Models, tenant: &TenantId, run: &RunSpec) -> Result<Vec<String>, Problem> {
    let read = (run.language, &run.code, &run.file_name, &run.args, &run.env, &run.stdin, &run.files);
    let text = serde_json::to_vec(&read).map_err(|error| internal(error.to_string()))?;
    // Tenants have verdicts of their own: how soon one comes tells nobody what others had reviewed.
    let digest = Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(text).finalize();
    models.review(tenant, run, digest.into()).await
}

/// Of the program as a whole: a model names no line.
fn finding(reason: String) -> Finding {
    Finding {
        rule: "review".to_owned(),
        severity: Severity::High,
        verdict: CheckMode::Deny,
        line: 1,
        column: 1,
        reason,
        advice: "write a program that does not do this".to_owned(),
    }
}
