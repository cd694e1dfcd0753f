//! What changes a run: admission, start, settlement, removal. Texts are made and measured by the caller's thread, so that the
//! writer only binds them.

use super::{Admission, NewRun, Settlement};
use crate::artifacts::{self, NewArtifact};
use crate::columns::{at_most, count, from_word, int, moment, to_json, word};
use crate::idempotency::{self, Claimed};
use crate::limits::{
    EVENTS_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, REQUEST_BYTES_MAX, RESULT_BYTES_MAX,
};
use crate::texts::Text;
use crate::usage::Spent;
use crate::writer::{Transaction, Write};
use crate::{
    Actor, NewAudit, Scope, Store, StoreError, TraceEnd, TraceKind, audit, batches, events, traces, usage,
};
use model::result::RunState;
use model::{RunId, TenantId};
use rusqlite::{ErrorCode, OptionalExtension, params};
use serde_json::json;

impl Store {
    /// Takes a run in as `queued`, and claims its idempotency key in the same transaction.
    ///
    /// Fails with [`StoreError::Exists`] if the id is taken; with [`StoreError::NotFound`] if the tenant
    /// has no such batch; with [`StoreError::IdempotencyConflict`] if the key stands for another request.
    pub fn admit(&self, run: NewRun) -> Write<Admission> {
        match Admitted::prepare(run) {
            Ok(run) => self.write("admit a run", move |transaction| {
                let admission = run.insert(transaction)?;
                if admission == Admission::Admitted {
                    run.begin_trace(transaction)?;
                }
                Ok(admission)
            }),
            Err(error) => Write::refused(self, error),
        }
    }

    /// Marks a queued run as running. Nobody need wait for it: settlement does not rely on it.
    pub fn started(&self, id: &RunId, at_ms: i64) -> Write<()> {
        let id = id.clone();
        self.write("start a run", move |transaction| {
            let sql = "UPDATE runs SET state = 'running', started_at = ? WHERE id = ? AND state = 'queued'";
            match transaction.execute(sql, params![at_ms, id.as_str()])? {
                0 => Err(Unfinished::find(transaction, &id).map_or_else(
                    |error| error,
                    |_| StoreError::Invalid { what: "the run is running already" },
                )),
                _ => Ok(()),
            }
        })
    }

    /// Settles a run with all that came of it, adds it to its tenant's usage. From any unfinished state.
    ///
    /// The first settlement stands: another fails with [`StoreError::AlreadySettled`] and changes nothing.
    pub fn settle(&self, id: &RunId, settlement: Settlement) -> Write<()> {
        let id = id.clone();
        match Settled::prepare(&id, settlement) {
            Ok(settled) => self.write("settle a run", move |transaction| settled.apply(transaction, &id)),
            Err(error) => Write::refused(self, error),
        }
    }

    /// Admits and settles in one transaction: for a run that nobody was told about before. As [`Store::admit`] and
    /// [`Store::settle`]; a replayed one is not settled again.
    pub fn record(
        &self,
        run: NewRun,
        started_at_ms: Option<i64>,
        settlement: Settlement,
    ) -> Write<Admission> {
        let id = run.id.clone();
        let prepared = Admitted::prepare(run).and_then(|run| Ok((run, Settled::prepare(&id, settlement)?)));
        match prepared {
            Ok((run, settled)) => self.write("record a run", move |transaction| {
                let admission = run.insert(transaction)?;
                if admission == Admission::Admitted {
                    if let Some(at) = started_at_ms {
                        let sql = "UPDATE runs SET started_at = ? WHERE id = ?";
                        transaction.execute(sql, params![at, id.as_str()])?;
                    }
                    settled.apply_to_run(transaction, &id)?;
                    if let Some(new) = &run.run.trace {
                        let part = (&run.run.tenant, id.as_str());
                        traces::write::recorded(transaction, part, new, (settled.fate(), &settled.trace))?;
                    }
                }
                Ok(admission)
            }),
            Err(error) => Write::refused(self, error),
        }
    }

    /// Takes an admission back as if it had never been: the run, and its claim on the idempotency `key`. Not audited.
    ///
    /// Fails with [`StoreError::Invalid`] if the run is more than queued.
    pub fn withdraw(&self, id: &RunId, key: Option<&str>) -> Write<()> {
        let (id, key) = (id.clone(), key.map(str::to_owned));
        self.write("take back an admission", move |transaction| {
            let Unfinished { seq, tenant } = Unfinished::find(transaction, &id)?;
            let sql = "SELECT 1 FROM runs WHERE seq = ? AND state = 'queued'";
            if !transaction.sql(sql)?.exists([seq])? {
                return Err(StoreError::Invalid { what: "the run is running already" });
            }
            remove(transaction, seq)?;
            let sql = "DELETE FROM idempotency WHERE tenant = ? AND key = ? AND object = ?";
            transaction.execute(sql, params![tenant.as_str(), key, id.as_str()])?;
            Ok(())
        })
    }

    /// Removes a settled run with its texts, events and artifacts. What it used stays counted, its idempotency key claimed.
    ///
    /// Fails with [`StoreError::NotSettled`] if it is queued or running: cancel it first.
    pub fn delete_run(&self, scope: Scope, id: &RunId, by: Actor, at_ms: i64) -> Write<()> {
        let id = id.clone();
        self.write("delete a run", move |transaction| {
            let sql = "SELECT seq, state, tenant FROM runs WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
            let found = transaction
                .sql(sql)?
                .query_row(params![id.as_str(), scope.tenant()], |row| {
                    Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
                })
                .optional()?;
            let (seq, state, tenant) = found.ok_or(StoreError::NotFound)?;
            if state != word(&RunState::Settled) {
                return Err(StoreError::NotSettled);
            }
            remove(transaction, seq)?;
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(from_word(tenant, "the tenant of a run")?),
                action: "run.delete".to_owned(),
                object: id.to_string(),
                detail: json!(null),
            };
            audit::append(transaction, &act).map(drop)
        })
    }
}

/// A run that is ready to be inserted.
pub(crate) struct Admitted {
    run: NewRun,
    request: Text,
    metadata: String,
}

impl Admitted {
    fn prepare(mut run: NewRun) -> Result<Self, StoreError> {
        moment(run.created_at_ms)?;
        at_most("request", &run.request, REQUEST_BYTES_MAX)?;
        at_most("session", run.session.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
        run.idempotency.as_ref().map_or(Ok(()), idempotency::check)?;
        let metadata = to_json(&run.metadata, "metadata", REQUEST_BYTES_MAX)?;
        let request = Text::of(std::mem::take(&mut run.request));
        Ok(Self { run, request, metadata })
    }

    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<Admission, StoreError> {
        let run = &self.run;
        if let Some(key) = &run.idempotency {
            let claimed =
                idempotency::claim(transaction, &run.tenant, key, run.id.as_str(), run.created_at_ms)?;
            match claimed {
                None => {}
                Some(Claimed::Run(id)) => return Ok(Admission::Replayed(id)),
                Some(Claimed::Batch(_) | Claimed::Task(_)) => return Err(StoreError::IdempotencyConflict),
            }
        }
        if let Some((batch, _)) = &run.batch {
            batches::check_owner(transaction, &run.tenant, batch)?;
        }
        let seq = insert_row(transaction, run, &self.metadata)?;
        transaction.execute("INSERT INTO requests (run, text) VALUES (?, ?)", params![seq, self.request])?;
        let short = |text: &str| text.len() <= LABEL_BYTES_MAX;
        let labels = run.metadata.iter().filter(|(key, value)| short(key) && short(value));
        for (key, value) in labels.take(LABELS_MAX) {
            let sql = "INSERT INTO labels (run, key, value, tenant) VALUES (?, ?, ?, ?)";
            transaction.execute(sql, params![seq, key, value, run.tenant.as_str()])?;
        }
        Ok(Admission::Admitted)
    }

    fn begin_trace(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let NewRun { trace, tenant, id, .. } = &self.run;
        let Some(trace) = trace else { return Ok(()) };
        traces::write::begin(transaction, (tenant, TraceKind::Run, id.as_str()), trace)
    }
}

fn insert_row(transaction: &Transaction<'_>, run: &NewRun, metadata: &str) -> Result<i64, StoreError> {
    let sql =
        "INSERT INTO runs (id, tenant, state, created_at, language, session, batch, batch_index, metadata)
        VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?)";
    let inserted = transaction.sql(sql)?.insert(params![
        run.id.as_str(),
        run.tenant.as_str(),
        run.created_at_ms,
        run.language.name(),
        run.session,
        run.batch.as_ref().map(|(batch, _)| batch.as_str()),
        run.batch.as_ref().map(|(_, index)| index),
        metadata,
    ]);
    inserted.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Exists { id: run.id.to_string() },
        _ => error.into(),
    })
}

/// A run that is not settled yet.
struct Unfinished {
    seq: i64,
    tenant: TenantId,
}

impl Unfinished {
    fn find(transaction: &Transaction<'_>, id: &RunId) -> Result<Self, StoreError> {
        let found = transaction
            .sql("SELECT seq, tenant, state FROM runs WHERE id = ?")?
            .query_row([id.as_str()], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .optional()?;
        let (seq, tenant, state) = found.ok_or(StoreError::NotFound)?;
        if state == word(&RunState::Settled) {
            return Err(StoreError::AlreadySettled);
        }
        Ok(Self { seq, tenant: from_word(tenant, "the tenant of a run")? })
    }
}

/// A settlement whose texts are ready.
pub(crate) struct Settled {
    at_ms: i64,
    outcome: Option<String>,
    fault: Option<String>,
    result: Text,
    events: Option<Text>,
    artifacts: Vec<NewArtifact>,
    verdict: Option<String>,
    trace: TraceEnd,
    memory_peak_bytes: u64,
    spent: Spent,
}

impl Settled {
    pub fn prepare(id: &RunId, settlement: Settlement) -> Result<Self, StoreError> {
        let result = &settlement.result;
        if result.outcome.is_some() == result.fault.is_some() {
            return Err(StoreError::Invalid { what: "a settled run has exactly one of outcome and fault" });
        }
        if &result.id != id || result.state != RunState::Settled {
            return Err(StoreError::Invalid { what: "the result is not this run's, or not settled" });
        }
        moment(settlement.settled_at_ms)?;
        artifacts::check(&settlement.artifacts)?;
        at_most("verdict", settlement.verdict.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
        let at_us = settlement.settled_at_ms.saturating_mul(1000);
        let trace = settlement.trace.unwrap_or_else(|| TraceEnd { at_us, spans: 1, ..TraceEnd::default() });
        let output = result.stdout.len() + result.stderr.len();
        Ok(Self {
            at_ms: settlement.settled_at_ms,
            outcome: result.outcome.as_ref().map(word),
            fault: result.fault.as_ref().map(|fault| word(&fault.code)),
            result: Text::of(to_json(result, "result", RESULT_BYTES_MAX)?),
            events: events::to_text(&settlement.events, EVENTS_BYTES_MAX)?.map(Text::of),
            memory_peak_bytes: result.usage.memory_peak_bytes,
            spent: Spent {
                wall_ms: result.usage.wall_ms,
                cpu_ms: result.usage.cpu_ms,
                output_bytes: output as u64,
            },
            verdict: settlement.verdict,
            trace,
            artifacts: settlement.artifacts,
        })
    }

    fn fate(&self) -> &str {
        self.outcome.as_deref().unwrap_or(usage::FAULT)
    }

    pub fn apply(&self, transaction: &mut Transaction<'_>, id: &RunId) -> Result<(), StoreError> {
        self.apply_to_run(transaction, id)?;
        traces::write::ended(transaction, id.as_str(), self.fate(), &self.trace)
    }

    /// All but its trace.
    fn apply_to_run(&self, transaction: &mut Transaction<'_>, id: &RunId) -> Result<(), StoreError> {
        let run = Unfinished::find(transaction, id)?;
        let sql = "UPDATE runs SET state = 'settled', settled_at = ?, outcome = ?, fault = ?, verdict = ?, wall_ms = ?,
            cpu_ms = ?, memory_peak_bytes = ? WHERE seq = ?";
        transaction.execute(
            sql,
            params![
                self.at_ms,
                self.outcome,
                self.fault,
                self.verdict,
                int(self.spent.wall_ms),
                int(self.spent.cpu_ms),
                int(self.memory_peak_bytes),
                run.seq,
            ],
        )?;
        let sql = "INSERT INTO results (run, text) VALUES (?, ?)";
        transaction.execute(sql, params![run.seq, self.result])?;
        if let Some(events) = &self.events {
            transaction.execute("INSERT INTO events (run, text) VALUES (?, ?)", params![run.seq, events])?;
        }
        artifacts::insert(transaction, run.seq, &self.artifacts)?;
        usage::add(transaction, &run.tenant, self.at_ms, self.fate(), &self.spent)
    }
}

/// Removes a run and all that belongs to it. Returns about how many bytes that gave free.
pub(crate) fn remove(transaction: &mut Transaction<'_>, seq: i64) -> Result<u64, StoreError> {
    let mut freed = artifacts::remove(transaction, seq)?;
    let id: Option<String> = transaction
        .sql("SELECT id FROM runs WHERE seq = ?")?
        .query_row([seq], |row| row.get(0))
        .optional()?;
    traces::write::forget(transaction, &id.unwrap_or_default())?;
    for table in ["requests", "results", "events"] {
        let sql = format!("DELETE FROM {table} WHERE run = ? RETURNING octet_length(text)");
        let bytes: Option<i64> = transaction.sql(&sql)?.query_row([seq], |row| row.get(0)).optional()?;
        freed += count(bytes.unwrap_or(0));
    }
    transaction.execute("DELETE FROM labels WHERE run = ?", [seq])?;
    transaction.execute("DELETE FROM runs WHERE seq = ?", [seq])?;
    Ok(freed)
}
