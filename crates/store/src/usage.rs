//! What tenants used, by the hour; outlives the runs.

use crate::columns::{Conditions, count, from_word, int};
use crate::writer::Transaction;
use crate::{Cursor, Listed, Page, Reader, Scope, StoreError};
use model::TenantId;
use rusqlite::{params, params_from_iter};
use std::collections::BTreeMap;

/// What stands for a fault of ours where an outcome could stand.
pub(crate) const FAULT: &str = "fault";
const HOUR_MS: i64 = 60 * 60 * 1000;
/// The most that one run adds, 31 years of it: a record with a nonsensical number must not make its hour's sum overflow.
const SPENT_MAX: u64 = 1_000_000_000_000;

/// One hour of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Who.
    pub tenant: TenantId,
    /// The hour's beginning, milliseconds since 1970; a run counts in the hour it settled.
    pub hour_ms: i64,
    /// Runs settled.
    pub runs: u64,
    /// Of these, faults of ours.
    pub faults: u64,
    /// Runs by outcome, by its JSON name; faults are not among them.
    pub outcomes: BTreeMap<String, u64>,
    /// Wall time of all.
    pub wall_ms: u64,
    /// Processor time of all.
    pub cpu_ms: u64,
    /// Kept standard output and error of all.
    pub output_bytes: u64,
}

/// What one run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub output_bytes: u64,
}

/// Adds a settled run to its tenant's hour.
pub(crate) fn add(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    settled_at_ms: i64,
    fate: &str,
    spent: &Spent,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO usage (tenant, hour, fate, runs, wall_ms, cpu_ms, output_bytes) VALUES (?, ?, ?, 1, ?, ?, ?)
        ON CONFLICT (tenant, hour, fate) DO UPDATE SET runs = runs + 1, wall_ms = wall_ms + excluded.wall_ms,
        cpu_ms = cpu_ms + excluded.cpu_ms, output_bytes = output_bytes + excluded.output_bytes";
    let hour = settled_at_ms.div_euclid(HOUR_MS) * HOUR_MS;
    let row = params![
        tenant.as_str(),
        hour,
        fate,
        int(spent.wall_ms.min(SPENT_MAX)),
        int(spent.cpu_ms.min(SPENT_MAX)),
        int(spent.output_bytes.min(SPENT_MAX))
    ];
    transaction.execute(sql, row)?;
    Ok(())
}

impl Reader {
    /// The hours of the scope that begin within `from_ms..to_ms`, oldest first, of each hour by tenant.
    pub fn usage(
        &self,
        scope: &Scope,
        from_ms: i64,
        to_ms: i64,
        page: &Page,
    ) -> Result<Listed<UsageRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equal("tenant", scope.tenant().map(str::to_owned));
        conditions.and("hour >= ? AND hour < ?", [from_ms, to_ms]);
        conditions.beyond("(hour, tenant) > (?, ?)", page.cursor.as_ref());
        self.read("read usage", |db| {
            let sql = format!(
                "SELECT hour, tenant, fate, runs, wall_ms, cpu_ms, output_bytes FROM usage{} ORDER BY hour, tenant",
                conditions.sql()
            );
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(&conditions.values))?;
            let mut items: Vec<UsageRow> = Vec::new();
            while let Some(row) = rows.next()? {
                let (hour_ms, tenant) = (row.get(0)?, from_word(row.get(1)?, "the tenant of usage")?);
                if items.last().is_none_or(|last| (last.hour_ms, &last.tenant) != (hour_ms, &tenant)) {
                    if items.len() == page.rows() {
                        let next = items.last().map(UsageRow::cursor);
                        return Ok(Listed { items, next });
                    }
                    items.push(UsageRow::empty(tenant, hour_ms));
                }
                let fate: String = row.get(2)?;
                let numbers = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
                if let Some(last) = items.last_mut() {
                    last.add(fate, numbers.map(count));
                }
            }
            Ok(Listed { items, next: None })
        })
    }
}

impl UsageRow {
    fn empty(tenant: TenantId, hour_ms: i64) -> Self {
        let outcomes = BTreeMap::new();
        Self { tenant, hour_ms, runs: 0, faults: 0, outcomes, wall_ms: 0, cpu_ms: 0, output_bytes: 0 }
    }

    fn add(&mut self, fate: String, [runs, wall_ms, cpu_ms, output_bytes]: [u64; 4]) {
        self.runs = self.runs.saturating_add(runs);
        self.wall_ms = self.wall_ms.saturating_add(wall_ms);
        self.cpu_ms = self.cpu_ms.saturating_add(cpu_ms);
        self.output_bytes = self.output_bytes.saturating_add(output_bytes);
        if fate == FAULT {
            self.faults += runs;
        } else {
            self.outcomes.insert(fate, runs);
        }
    }

    fn cursor(&self) -> Cursor {
        Cursor { number: self.hour_ms, word: self.tenant.as_str().to_owned() }
    }
}
