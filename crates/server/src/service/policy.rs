//! What runs of a tenant get, and what they may do without.

use super::Service;
use crate::problem::Problem;
use model::{Layer, Policy, TenantId};
use std::collections::BTreeSet;

impl Service {
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
}
