//! The review on the way of a run: what a language model has against it.

use crate::models::{Models, Reviewed};
use crate::problem::Problem;
use crate::service::internal;
use model::{CheckMode, Finding, RunSpec, Severity, TenantId};
use sha2::{Digest, Sha256};

/// What the model says of a run. Without a model a problem that says how to get one.
pub async fn of(models: &Models, tenant: &TenantId, run: &RunSpec) -> Result<Reviewed, Problem> {
    let read = (run.language, &run.code, &run.file_name, &run.args, &run.env, &run.stdin, &run.files);
    let text = serde_json::to_vec(&read).map_err(|error| internal(error.to_string()))?;
    // Tenants have verdicts of their own: how soon one comes tells nobody what others had reviewed.
    let digest = Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(text).finalize();
    models.review(tenant, run, digest.into()).await
}

/// A reason as a finding of the program as a whole: a model names no line.
pub fn finding(reason: String) -> Finding {
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
