//! What runs of a tenant get, what they may do without, and what is said of each before it is taken in.

use super::Service;
use crate::checks::{self, Checked};
use crate::problem::Problem;
use crate::reviews;
use crate::runtime;
use crate::traces::Timeline;
use check::verdicts::Verdicts;
use model::{Layer, Policy, RunRequest, RunSpec, TenantId};
use std::collections::BTreeSet;

impl Service {
    /// Completes a request as it would be run for this tenant, or says what is wrong with it.
    pub async fn admit(&self, tenant: &TenantId, mut request: RunRequest) -> Result<RunSpec, Problem> {
        runtime::resolve(&mut request, self.machine.installer().node_version())?;
        let quota = self.quotas.of(&self.reader, tenant).await?;
        let request = self.machine.templates().fill(tenant.as_str(), request);
        let mut spec = RunSpec::admit(request, &quota.narrow(&self.policy))?;
        spec.template = self.machine.templates().for_tenant(tenant.as_str(), &spec.template);
        spec.python = self.have_python(&spec).await?;
        self.machine.have_toolchain(&spec).await?;
        self.machine.check(tenant.as_str(), &spec)?;
        Ok(spec)
    }

    /// The policy for this tenant's runs.
    pub async fn policy_of(&self, tenant: &TenantId) -> Result<Policy, Problem> {
        Ok(self.quotas.of(&self.reader, tenant).await?.narrow(&self.policy))
    }

    /// Layers that a run may do without. With keys there are tenants, and between those only the operator may leave one out.
    pub fn allow_missing(&self) -> BTreeSet<Layer> {
        let mut missing = self.settings.allow_missing.clone();
        if self.is_alone() {
            missing.extend(&self.alone_missing);
        }
        missing
    }

    /// What the check says of a run that has room, and the review of one that it lets pass.
    pub(super) async fn judged(
        &self,
        tenant: &TenantId,
        (verdicts, review): (&Verdicts, bool),
        spec: &RunSpec,
        timeline: &mut Option<Timeline>,
    ) -> Result<Checked, Problem> {
        let mut checked = checks::of(verdicts, spec).await?;
        timeline.iter_mut().for_each(|timeline| timeline.mark("check"));
        if review && !checked.denied {
            let reviewed = reviews::of(&self.models, tenant, spec).await?;
            checked.denied = !reviewed.reasons.is_empty();
            checked.findings.extend(reviewed.reasons.into_iter().map(reviews::finding));
            timeline.iter_mut().for_each(|timeline| timeline.reviewed(reviewed.used.clone()));
        }
        Ok(checked)
    }
}
