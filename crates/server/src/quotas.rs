//! How much each tenant may do: quotas as the store has them, kept in memory, and the rate of submissions.

use crate::problem::Problem;
use crate::service::{now_ms, read};
use crate::settings::Settings;
use model::{CheckPatch, LimitsPatch, Policy, Priority, TenantId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Quota, Reader};
use worker::queue::Share;

/// A minute, over which rates are counted.
const MINUTE_MS: i64 = 60_000;

/// The quotas of all tenants that have been seen.
#[derive(Debug)]
pub struct Quotas {
    defaults: Complete,
    tenants: Mutex<BTreeMap<TenantId, Tenant>>,
}

#[derive(Debug)]
struct Tenant {
    quota: Complete,
    /// What is said of the check of its runs over the settings, layer over layer.
    checks: Arc<[CheckPatch]>,
    /// Submissions that are left, refilled with time: a bucket that holds one minute's worth.
    left: f64,
    at_ms: i64,
}

/// What a tenant may do: nothing is left to defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Complete {
    /// The most that one run may ask for.
    pub ceiling: LimitsPatch,
    /// Its part of the queue.
    pub share: Share,
    /// Submissions in a minute; 0 is any number.
    pub rate_per_minute: u64,
    /// Runs at once on all nodes together, if somebody said that: else as many as there is room for.
    pub everywhere: Option<usize>,
}

impl Complete {
    /// The policy for this tenant's runs: its ceiling can only narrow the service's.
    pub fn narrow(&self, policy: &Policy) -> Policy {
        let ceiling = policy.ceiling.narrowed(&self.ceiling, &policy.ceiling);
        Policy { limits: policy.limits.narrowed(&LimitsPatch::default(), &ceiling), ceiling }
    }

    fn with(self, quota: &Quota) -> Self {
        let whole = |said: Option<u32>, own: usize| said.map_or(own, |said| said as usize);
        Self {
            ceiling: over(quota.ceiling, self.ceiling),
            share: Share {
                concurrency: whole(quota.concurrency, self.share.concurrency),
                waiting: whole(quota.queue_length, self.share.waiting),
                priority: self.share.priority,
            },
            rate_per_minute: quota.rate_per_minute.map_or(self.rate_per_minute, u64::from),
            everywhere: quota.concurrency.map(|said| said as usize).or(self.everywhere),
        }
    }
}

impl Tenant {
    fn new(quota: Complete, checks: Arc<[CheckPatch]>) -> Self {
        Self { quota, checks, left: quota.rate_per_minute as f64, at_ms: now_ms() }
    }
}

/// What is said, else the default.
fn over(said: LimitsPatch, own: LimitsPatch) -> LimitsPatch {
    LimitsPatch {
        timeout_ms: said.timeout_ms.or(own.timeout_ms),
        memory_bytes: said.memory_bytes.or(own.memory_bytes),
        cpus: said.cpus.or(own.cpus),
        processes: said.processes.or(own.processes),
        disk_bytes: said.disk_bytes.or(own.disk_bytes),
        output_bytes: said.output_bytes.or(own.output_bytes),
    }
}

impl Quotas {
    /// The defaults of `settings`, on a machine with so many places.
    pub fn new(settings: &Settings, places: usize) -> Self {
        let tenant = &settings.tenant;
        let concurrency = if tenant.concurrency == 0 { places } else { tenant.concurrency };
        let defaults = Complete {
            ceiling: tenant.ceiling,
            share: Share { concurrency, waiting: tenant.queue, priority: Priority::Normal },
            rate_per_minute: tenant.rate_per_minute,
            everywhere: Some(tenant.concurrency).filter(|said| *said > 0),
        };
        Self { defaults, tenants: Mutex::default() }
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeMap<TenantId, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this tenant may do. Asks the store once, then remembers until [`Quotas::forget`].
    pub async fn of(&self, reader: &Reader, tenant: &TenantId) -> Result<Complete, Problem> {
        self.known(reader, tenant, |known| known.quota).await
    }

    /// What is said of the check of this tenant's runs over the settings, layer over layer; remembered as its quota is.
    pub async fn checks_of(&self, reader: &Reader, tenant: &TenantId) -> Result<Arc<[CheckPatch]>, Problem> {
        self.known(reader, tenant, |known| known.checks.clone()).await
    }

    async fn known<T>(
        &self,
        reader: &Reader,
        tenant: &TenantId,
        what: impl Fn(&Tenant) -> T,
    ) -> Result<T, Problem> {
        if let Some(known) = self.tenants().get(tenant) {
            return Ok(what(known));
        }
        let name = tenant.clone();
        let row = read(reader, move |reader| reader.tenant(&name)).await?;
        let said = row.map(|row| row.quota).unwrap_or_default();
        let fresh = Tenant::new(self.defaults.with(&said), [said.check].into());
        Ok(what(self.tenants().entry(tenant.clone()).or_insert(fresh)))
    }

    /// What a gateway says that a tenant may do here, and of the check of its runs: its store knows, ours does not.
    pub fn learn(&self, tenant: &TenantId, quota: Complete, checks: &[CheckPatch]) {
        let mut tenants = self.tenants();
        let known = tenants.entry(tenant.clone()).or_insert_with(|| Tenant::new(quota, [].into()));
        known.quota = quota;
        if *known.checks != *checks {
            known.checks = checks.into();
        }
    }

    /// Asks the store again next time: the quota was changed.
    pub fn forget(&self, tenant: &TenantId) {
        self.tenants().remove(tenant);
    }

    /// Counts one submission, or says when the next may come.
    pub fn spend(&self, tenant: &TenantId) -> Result<(), Problem> {
        let mut tenants = self.tenants();
        let Some(known) = tenants.get_mut(tenant) else { return Ok(()) };
        let rate = known.quota.rate_per_minute as f64;
        if rate == 0.0 {
            return Ok(());
        }
        let now = now_ms();
        let refilled = (now - known.at_ms).max(0) as f64 / MINUTE_MS as f64 * rate;
        known.left = (known.left + refilled).min(rate);
        known.at_ms = now;
        if known.left >= 1.0 {
            known.left -= 1.0;
            return Ok(());
        }
        let wait_s = ((1.0 - known.left) * 60.0 / rate).ceil().max(1.0) as u64;
        Err(Problem::too_many(format!("more than {rate} submissions in a minute"), wait_s))
    }
}
