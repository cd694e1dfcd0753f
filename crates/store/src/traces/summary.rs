//! Traces as numbers are made of them: few columns of many.

use super::{TraceFilter, TraceKind, known};
use crate::columns::count;
use crate::limits::TRACE_DIGESTS_MAX;
use crate::{Reader, Scope, StoreError};
use rusqlite::params_from_iter;

/// What numbers are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceDigest {
    /// What it is of.
    pub kind: TraceKind,
    /// When it began, microseconds since 1970.
    pub started_us: i64,
    /// How long it took; `None` while it goes on.
    pub took_us: Option<i64>,
    /// How it ended; `None` while it goes on.
    pub outcome: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Dollars.
    pub cost_usd: f64,
    /// Requests to the model.
    pub calls: u64,
    /// Of these, failed.
    pub calls_failed: u64,
    /// How long they took together, microseconds.
    pub calls_us: u64,
}

impl Reader {
    /// The traces of the scope that match, but for a text; the newest [`TRACE_DIGESTS_MAX`] of them, newest first.
    pub fn trace_digests(&self, scope: &Scope, filter: &TraceFilter) -> Result<Vec<TraceDigest>, StoreError> {
        let conditions = super::read::conditions(scope, filter, None);
        self.read("count traces", |db| {
            let sql = format!(
                "SELECT started_at, ended_at, open, outcome, model, tokens_in, tokens_out, cost, calls, calls_failed, calls_us, kind
                FROM traces{} ORDER BY started_at DESC, id DESC LIMIT {TRACE_DIGESTS_MAX}",
                conditions.sql()
            );
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(&conditions.values))?;
            let mut digests = Vec::new();
            while let Some(row) = rows.next()? {
                let (started_us, is_open) = (row.get(0)?, row.get::<_, i64>(2)? > 0);
                let ended: Option<i64> = row.get(1)?;
                let number = |index| -> Result<u64, StoreError> {
                    Ok(row.get::<_, Option<i64>>(index)?.map_or(0, count))
                };
                digests.push(TraceDigest {
                    kind: known(row.get(11)?)?,
                    started_us,
                    took_us: ended.filter(|_| !is_open).map(|ended| ended - started_us),
                    outcome: row.get::<_, Option<String>>(3)?.filter(|_| !is_open),
                    model: row.get(4)?,
                    tokens_in: number(5)?,
                    tokens_out: number(6)?,
                    cost_usd: row.get::<_, Option<f64>>(7)?.unwrap_or(0.0),
                    calls: number(8)?,
                    calls_failed: number(9)?,
                    calls_us: number(10)?,
                });
            }
            Ok(digests)
        })
    }
}
