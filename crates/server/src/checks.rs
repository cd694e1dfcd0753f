//! The static check on the way of a run: what it says of a program.

use crate::problem::Problem;
use crate::service::{Service, internal};
use check::Report;
use model::{CheckMode, CheckPolicy, Finding, RunRequest, RunSpec};
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

/// What is done about a run whose check is so: nothing when it is off.
pub async fn of((mode, policy): (CheckMode, CheckPolicy), spec: &RunSpec) -> Result<Checked, Problem> {
    if mode == CheckMode::Off {
        return Ok(Checked::default());
    }
    let report = report_of(policy, spec).await?;
    Ok(Checked { findings: report.findings, denied: report.refused && mode == CheckMode::Deny })
}

/// What the check says of a program.
pub async fn report_of(policy: CheckPolicy, spec: &RunSpec) -> Result<Report, Problem> {
    if spec.code.len() <= HERE_BYTES_MAX {
        return Ok(check::check(&spec.code, spec.language, policy));
    }
    let place = LONG.acquire().await.map_err(|error| internal(error.to_string()))?;
    let (code, language) = (spec.code.clone(), spec.language);
    let checked = tokio::task::spawn_blocking(move || {
        let report = check::check(&code, language, policy);
        // Not before: a client that breaks off does not end the check.
        drop(place);
        report
    });
    let checked = checked.await;
    checked.map_err(|error| internal(error.to_string()))
}

impl Service {
    /// What a request says of the check, or else the settings.
    pub fn check_of(&self, request: &RunRequest) -> (CheckMode, CheckPolicy) {
        let settings = self.settings.check;
        (request.check.unwrap_or(settings.mode), request.check_policy.unwrap_or(settings.policy))
    }
}
