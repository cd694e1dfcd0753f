//! What a predecessor that died left unfinished: settled as the fault it is, so that no run is lost silently.

use crate::columns::{from_json, from_word};
use crate::runs::write::Settled;
use crate::writer::{Transaction, Write};
use crate::{Settlement, Store, StoreError, batches, tasks, traces};
use model::result::{Digests, RunState, Usage};
use model::{Fault, FaultCode, Isolation, RunId, RunResult};
use rusqlite::{Row, params};
use std::collections::BTreeSet;

/// Runs settled at once, so that memory stays small however many there are.
const STEP: i64 = 500;

impl Store {
    /// Settles every run that was queued or running when this process opened the store as the fault `interrupted`, ends
    /// batches and tasks that were on their way, and returns the runs' ids. What this process admitted is not touched.
    ///
    /// The message says whether the run had started; either may be tried again, as [`Fault::new`] has it.
    pub fn interrupt_unfinished(&self, at_ms: i64) -> Write<Vec<RunId>> {
        self.interrupt_unfinished_but(at_ms, BTreeSet::new())
    }

    /// As [`Store::interrupt_unfinished`], except for runs that go on elsewhere: their results are to come.
    pub fn interrupt_unfinished_but(&self, at_ms: i64, elsewhere: BTreeSet<RunId>) -> Write<Vec<RunId>> {
        let before = self.before();
        self.write("settle interrupted runs", move |transaction| {
            let (mut ids, mut after) = (Vec::new(), 0);
            loop {
                let step = unfinished(transaction, (after, before.run))?;
                let Some((last, _)) = step.last() else { break };
                after = *last;
                let left = step.into_iter().map(|(_, result)| result);
                for result in left.filter(|result| !elsewhere.contains(&result.id)) {
                    let id = result.id.clone();
                    let settlement = Settlement {
                        settled_at_ms: at_ms,
                        result,
                        events: Vec::new(),
                        artifacts: Vec::new(),
                        verdict: None,
                        trace: None,
                    };
                    Settled::prepare(&id, settlement)?.apply(transaction, &id)?;
                    ids.push(id);
                }
            }
            batches::interrupt(transaction, before.batch, at_ms)?;
            tasks::interrupt(transaction, before.task, at_ms)?;
            traces::write::interrupt(transaction, before.trace, at_ms)?;
            Ok(ids)
        })
    }
}

fn unfinished(
    transaction: &Transaction<'_>,
    (after, last): (i64, i64),
) -> Result<Vec<(i64, RunResult)>, StoreError> {
    let sql = "SELECT id, state, language, created_at, session, metadata, seq FROM runs
        WHERE state <> 'settled' AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
    let mut statement = transaction.sql(sql)?;
    let mut rows = statement.query(params![after, last, STEP])?;
    let mut results = Vec::new();
    while let Some(row) = rows.next()? {
        results.push((row.get(6)?, interrupted(row)?));
    }
    Ok(results)
}

fn interrupted(row: &Row<'_>) -> Result<RunResult, StoreError> {
    let message = match from_word(row.get(1)?, "the state of a run")? {
        RunState::Running => "the service ended while the run was running",
        RunState::Queued | RunState::Settled => "the service ended before the run started",
    };
    Ok(RunResult {
        id: from_word(row.get(0)?, "the id of a run")?,
        state: RunState::Settled,
        outcome: None,
        fault: Some(Fault::new(FaultCode::Interrupted, message)),
        exit_code: None,
        signal: None,
        stdout: String::new(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
        limits_hit: Vec::new(),
        result: None,
        displays: Vec::new(),
        error: None,
        artifacts: Vec::new(),
        findings: Vec::new(),
        egress: Vec::new(),
        session: row.get(4)?,
        state_lost: false,
        language: from_word(row.get(2)?, "the language of a run")?,
        created_at: rfc3339(row.get(3)?)?,
        metadata: from_json(&row.get::<_, String>(5)?, "the metadata of a run")?,
        usage: Usage::default(),
        isolation: Isolation { level: "default".into(), layers: Vec::new(), missing: Vec::new() },
        digests: Digests::default(),
        receipt: None,
    })
}

/// A time as results spell it: RFC 3339 in UTC with milliseconds.
fn rfc3339(at_ms: i64) -> Result<String, StoreError> {
    let at =
        jiff::Timestamp::from_millisecond(at_ms).map_err(|_| StoreError::damaged("the time of a run"))?;
    Ok(at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}
