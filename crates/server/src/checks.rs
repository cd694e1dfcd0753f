//! The static check on the way of a run: what it says of a program.

use crate::problem::Problem;
use crate::service::{Service, internal};
use crate::settings::CheckSettings;
use check::Report;
use check::verdicts::Verdicts;
use model::{CheckMode, CheckPatch, CheckPolicy, Finding, RunRequest, RunSpec, TenantId};
use tokio::sync::Semaphore;

/// Longest program that is checked where it is: that takes a millisecond, and bash four. A longer one has a thread that may wait.
const HERE_BYTES_MAX: usize = 8 << 10;
/// How many longer ones are checked at once; each may take a second and 50 MB. The requests of others wait.
const LONG_AT_ONCE: usize = 4;

static LONG: Semaphore = Semaphore::const_new(LONG_AT_ONCE);

/// What came of the check of a run.
#[derive(Debug, Default)]
pub struct Checked {
    /// What was noticed.
    pub findings: Vec<Finding>,
    /// Whether it is not to be run.
    pub denied: bool,
}

/// What is done about a run whose rules have these verdicts: nothing when all are off.
pub async fn of(verdicts: &Verdicts, spec: &RunSpec) -> Result<Checked, Problem> {
    if verdicts.is_off(spec.language) {
        return Ok(Checked::default());
    }
    let report = report_of(verdicts, spec).await?;
    Ok(Checked { findings: report.findings, denied: report.refused })
}

/// What the check says of a program.
pub async fn report_of(verdicts: &Verdicts, spec: &RunSpec) -> Result<Report, Problem> {
    if spec.code.len() <= HERE_BYTES_MAX {
        return Ok(check::check_by(&spec.code, spec.language, verdicts));
    }
    let place = LONG.acquire().await.map_err(|error| internal(error.to_string()))?;
    let (code, language, verdicts) = (spec.code.clone(), spec.language, verdicts.clone());
    let checked = tokio::task::spawn_blocking(move || {
        let report = check::check_by(&code, language, &verdicts);
        // Not before: a client that breaks off does not end the check.
        drop(place);
        report
    });
    let checked = checked.await;
    checked.map_err(|error| internal(error.to_string()))
}

impl CheckSettings {
    /// As the layer that all others lie upon.
    pub fn patch(&self) -> CheckPatch {
        let Self { mode, policy, rules, enforce } = self.clone();
        CheckPatch { mode: Some(mode), policy: Some(policy), rules, enforce }
    }
}

impl Service {
    /// The verdict of each rule for a tenant's request: what the settings say, then the tenant's record, then the request. Rejects a rule
    /// that is not there.
    pub async fn verdicts_of(&self, tenant: &TenantId, request: &RunRequest) -> Result<Verdicts, Problem> {
        let RunRequest { check: mode, check_policy: policy, check_rules: rules, .. } = request;
        let own = CheckPatch { mode: *mode, policy: *policy, rules: rules.clone(), enforce: false };
        self.verdicts_under(tenant, &own, "check_rules").await
    }

    /// The same of a request that says this of the check, of its rules in `field`.
    pub async fn verdicts_under(
        &self,
        tenant: &TenantId,
        own: &CheckPatch,
        field: &str,
    ) -> Result<Verdicts, Problem> {
        let settings = self.settings.check.patch();
        let layers = self.quotas.checks_of(&self.reader, tenant).await?;
        let before: Vec<&CheckPatch> = std::iter::once(&settings).chain(layers.iter()).collect();
        Ok(Verdicts::of(&before, own, field)?)
    }

    /// What another node is to know of the check of this tenant's runs; empty if nobody here said anything.
    pub async fn checks_sent(&self, tenant: &TenantId) -> Result<Vec<CheckPatch>, Problem> {
        let layers = self.quotas.checks_of(&self.reader, tenant).await?;
        let settings = self.settings.check.patch();
        let usual = CheckPatch {
            mode: Some(CheckMode::default()),
            policy: Some(CheckPolicy::default()),
            ..CheckPatch::default()
        };
        // What nobody changed is not sent, so that nodes of other versions understand.
        let settings = Some(settings).filter(|settings| *settings != usual);
        let layers = layers.iter().filter(|layer| !layer.is_empty()).cloned();
        Ok(settings.into_iter().chain(layers).collect())
    }
}
