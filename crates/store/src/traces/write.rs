//! What begins, ends, marks and removes traces.

use super::{ForeignTrace, ModelUse, NewTrace, TraceEnd, TraceKind};
use crate::columns::{at_most, int, word};
use crate::limits::{
    TRACE_MEASURED_BYTES_MAX, TRACE_PARTS_MAX, TRACE_REMARK_BYTES_MAX, TRACE_TEXT_BYTES_MAX,
    TRACE_TREE_BYTES_MAX,
};
use crate::texts::Text;
use crate::writer::{Transaction, Write};
use crate::{Actor, NewAudit, PAGE_ROWS_MAX, Scope, Store, StoreError, audit};
use model::{TenantId, TraceId};
use rusqlite::{OptionalExtension, params};
use serde_json::json;

impl Store {
    /// Has an object be a part of a trace, and begins that if it is the first. One that is a part already is on its way again. Beyond
    /// [`TRACE_PARTS_MAX`] parts a trace takes no more, and nothing is said.
    pub fn begin_trace(&self, tenant: &TenantId, kind: TraceKind, object: &str, new: NewTrace) -> Write<()> {
        let (tenant, object) = (tenant.clone(), object.to_owned());
        self.write("begin a trace", move |transaction| begin(transaction, (&tenant, kind, &object), &new))
    }

    /// Ends the part that an object is; of one that is none nothing changes.
    pub fn end_trace(&self, object: &str, outcome: &str, end: TraceEnd) -> Write<()> {
        let (object, outcome) = (object.to_owned(), outcome.to_owned());
        self.write("end a trace", move |transaction| ended(transaction, &object, &outcome, &end))
    }

    /// Notes something on a trace, or nothing any more. Fails with [`StoreError::NotFound`] if the scope has no such trace.
    pub fn remark_trace(&self, scope: Scope, id: TraceId, remark: Option<String>) -> Write<()> {
        if let Err(error) = at_most("remark", remark.as_deref().unwrap_or_default(), TRACE_REMARK_BYTES_MAX) {
            return Write::refused(self, error);
        }
        self.write("note something on a trace", move |transaction| {
            let sql = "UPDATE traces SET remark = ?1 WHERE id = ?2 AND (?3 IS NULL OR tenant = ?3)";
            match transaction.execute(sql, params![remark, id.to_string(), scope.tenant()])? {
                0 => Err(StoreError::NotFound),
                _ => Ok(()),
            }
        })
    }

    /// Removes a trace; what it was made of stays. Audited. Fails with [`StoreError::NotFound`] if the scope has no such trace.
    pub fn remove_trace(&self, scope: Scope, id: TraceId, by: Actor, at_ms: i64) -> Write<()> {
        self.write("remove a trace", move |transaction| {
            let sql = "SELECT seq, tenant FROM traces WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2) LIMIT 1";
            let found: Option<(i64, String)> = transaction
                .sql(sql)?
                .query_row(params![id.to_string(), scope.tenant()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (seq, tenant) = found.ok_or(StoreError::NotFound)?;
            remove(transaction, seq)?;
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(super::known(tenant)?),
                action: "trace.delete".to_owned(),
                object: id.to_string(),
                detail: json!(null),
            };
            audit::append(transaction, &act).map(drop)
        })
    }

    /// Removes those of these traces that have ended and are in the scope; returns which. Audited as one act.
    ///
    /// Fails with [`StoreError::TooLong`] if they are more than a page.
    pub fn remove_traces(
        &self,
        scope: Scope,
        ids: Vec<TraceId>,
        by: Actor,
        at_ms: i64,
    ) -> Write<Vec<TraceId>> {
        if ids.len() > PAGE_ROWS_MAX {
            let error = StoreError::TooLong { what: "list of traces", max: PAGE_ROWS_MAX as u64 };
            return Write::refused(self, error);
        }
        self.write("remove traces", move |transaction| {
            let mut removed = Vec::new();
            for id in &ids {
                let sql = "SELECT seq FROM traces WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2) AND open = 0 LIMIT 1";
                let found: Option<i64> = transaction
                    .sql(sql)?
                    .query_row(params![id.to_string(), scope.tenant()], |row| row.get(0))
                    .optional()?;
                if let Some(seq) = found {
                    remove(transaction, seq)?;
                    removed.push(*id);
                }
            }
            if !removed.is_empty() {
                let act = NewAudit {
                    at_ms,
                    actor: by.clone(),
                    tenant: scope.tenant().map(|tenant| super::known(tenant.to_owned())).transpose()?,
                    action: "trace.delete".to_owned(),
                    object: "traces".to_owned(),
                    detail: json!({ "removed": removed.len() }),
                };
                audit::append(transaction, &act).map(drop)?;
            }
            Ok(removed)
        })
    }

    /// Takes in a trace that came from elsewhere. Returns whether it was not there before; one that was stays as it is.
    pub fn add_trace(&self, trace: ForeignTrace) -> Write<bool> {
        if let Err(error) = at_most("trace", &trace.tree, TRACE_TREE_BYTES_MAX) {
            return Write::refused(self, error);
        }
        let tree = Text::of(trace.tree.clone());
        self.write("take in a trace", move |transaction| {
            let (row, used) = (&trace.row, &trace.used);
            let sql = "INSERT INTO traces (id, tenant, kind, object, name, language, model, started_at, ended_at, open, parts,
                outcome, tokens_in, tokens_out, cost, calls, calls_failed, calls_us, spans, input, output, content, imported, remark)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT DO NOTHING";
            let added = transaction.execute(
                sql,
                params![
                    row.id.to_string(),
                    row.tenant.as_str(),
                    word(&row.kind),
                    cut(&row.object),
                    cut(&row.name),
                    row.language.as_deref().map(cut),
                    row.model.as_deref().map(cut),
                    row.started_us,
                    row.ended_us.unwrap_or(row.started_us),
                    cut(row.outcome.as_deref().unwrap_or("unknown")),
                    row.tokens_in.map(int),
                    row.tokens_out.map(int),
                    row.cost_usd,
                    used.calls,
                    used.failed,
                    used.took_us,
                    int(row.spans),
                    cut(&row.input),
                    cut(&row.output),
                    word(&row.content),
                    row.imported,
                    row.remark.as_deref().map(cut),
                ],
            )?;
            if added == 0 {
                return Ok(false);
            }
            let seq = transaction.db().last_insert_rowid();
            transaction.execute("INSERT INTO trace_trees (trace, text) VALUES (?, ?)", params![seq, tree])?;
            Ok(true)
        })
    }
}

/// The beginning of a text that a row has room for.
pub(super) fn cut(text: &str) -> &str {
    if text.len() <= TRACE_TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TRACE_TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// As [`Store::begin_trace`].
pub(crate) fn begin(
    transaction: &Transaction<'_>,
    (tenant, kind, object): (&TenantId, TraceKind, &str),
    new: &NewTrace,
) -> Result<(), StoreError> {
    let sql = "UPDATE trace_parts SET ended = NULL WHERE object = ? AND ended IS NOT NULL RETURNING trace";
    let again: Option<i64> = transaction.sql(sql)?.query_row([object], |row| row.get(0)).optional()?;
    if let Some(trace) = again {
        let sql = "UPDATE traces SET open = open + 1, outcome = NULL WHERE seq = ?";
        return transaction.execute(sql, [trace]).map(drop).map_err(StoreError::from);
    }
    let trace = match &new.within {
        Some(whole) => join(transaction, whole)?,
        None => found(transaction, (tenant, kind, object), new)?,
    };
    let Some(trace) = trace else { return Ok(()) };
    let sql = "INSERT INTO trace_parts (object, trace, kind, span, parent, within, began, measured)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let (span, parent) = (new.span.to_string(), new.parent.map(|span| span.to_string()));
    let measured = new.measured.as_deref().filter(|text| text.len() <= TRACE_MEASURED_BYTES_MAX);
    let row = params![object, trace, word(&kind), span, parent, new.within, new.began_us, measured];
    transaction.execute(sql, row).map(drop).map_err(StoreError::from)
}

/// Makes room in the trace of another object, if it has one and there is room.
fn join(transaction: &Transaction<'_>, whole: &str) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE traces SET parts = parts + 1 WHERE parts < ?
        AND seq = (SELECT trace FROM trace_parts WHERE object = ?) RETURNING seq";
    Ok(transaction.sql(sql)?.query_row(params![TRACE_PARTS_MAX, whole], |row| row.get(0)).optional()?)
}

/// Founds a trace, or joins the one of this id, if there is room.
fn found(
    transaction: &Transaction<'_>,
    (tenant, kind, object): (&TenantId, TraceKind, &str),
    new: &NewTrace,
) -> Result<Option<i64>, StoreError> {
    let sql = "INSERT INTO traces (id, tenant, kind, object, name, language, model, started_at, open, parts, spans, input, output,
        content, imported) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 1, 1, ?, '', ?, 0)
        ON CONFLICT (id, tenant) DO UPDATE SET open = open + 1, parts = parts + 1, spans = spans + 1,
            started_at = min(started_at, excluded.started_at),
            content = CASE WHEN 'off' IN (content, excluded.content) THEN 'off'
                WHEN 'preview' IN (content, excluded.content) THEN 'preview' ELSE 'full' END
            WHERE parts < ? RETURNING seq";
    let row = params![
        new.id.to_string(),
        tenant.as_str(),
        word(&kind),
        object,
        cut(&new.name),
        new.language.map(|language| language.name()),
        new.model.as_deref().map(cut),
        new.began_us,
        cut(&new.input),
        word(&new.content),
        TRACE_PARTS_MAX,
    ];
    Ok(transaction.sql(sql)?.query_row(row, |row| row.get(0)).optional()?)
}

/// Begins and ends the part of a new run at once: as [`begin`] and [`ended`], with two rows written instead of two written and changed.
pub(crate) fn recorded(
    transaction: &Transaction<'_>,
    (tenant, object): (&TenantId, &str),
    new: &NewTrace,
    (outcome, end): (&str, &TraceEnd),
) -> Result<(), StoreError> {
    if new.within.is_some() || end.used.is_some() {
        begin(transaction, (tenant, TraceKind::Run, object), new)?;
        return ended(transaction, object, outcome, end);
    }
    let ended_us = end.at_us.max(new.began_us);
    let sql = "INSERT INTO traces (id, tenant, kind, object, name, language, model, started_at, ended_at, open, parts, outcome, spans,
        input, output, content, imported) VALUES (?, ?, 'run', ?, ?, ?, ?, ?, ?, 0, 1, ?, ?, ?, ?, ?, 0)
        ON CONFLICT (id, tenant) DO NOTHING RETURNING seq";
    let row = params![
        new.id.to_string(),
        tenant.as_str(),
        object,
        cut(&new.name),
        new.language.map(|language| language.name()),
        new.model.as_deref().map(cut),
        new.began_us,
        ended_us,
        outcome,
        end.spans.max(1),
        cut(&new.input),
        cut(&end.output),
        word(&new.content),
    ];
    let trace: Option<i64> = transaction.sql(sql)?.query_row(row, |row| row.get(0)).optional()?;
    let Some(trace) = trace else {
        // It joins one that there is.
        begin(transaction, (tenant, TraceKind::Run, object), new)?;
        return ended(transaction, object, outcome, end);
    };
    let measured = end.measured.as_deref().filter(|text| text.len() <= TRACE_MEASURED_BYTES_MAX);
    let sql = "INSERT INTO trace_parts (object, trace, kind, span, parent, began, ended, measured) VALUES (?, ?, 'run', ?, ?, ?, ?, ?)";
    let (span, parent) = (new.span.to_string(), new.parent.map(|span| span.to_string()));
    let row = params![object, trace, span, parent, new.began_us, end.at_us, measured];
    transaction.execute(sql, row).map(drop).map_err(StoreError::from)
}

/// As [`Store::end_trace`].
pub(crate) fn ended(
    transaction: &Transaction<'_>,
    object: &str,
    outcome: &str,
    end: &TraceEnd,
) -> Result<(), StoreError> {
    let measured = end.measured.as_deref().filter(|text| text.len() <= TRACE_MEASURED_BYTES_MAX);
    let sql = "UPDATE trace_parts SET ended = ?, measured = ifnull(?, measured) WHERE object = ? AND ended IS NULL RETURNING trace, within IS NOT NULL";
    let part: Option<(i64, bool)> = transaction
        .sql(sql)?
        .query_row(params![end.at_us, measured, object], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((trace, is_within)) = part else { return Ok(()) };
    if is_within {
        let sql = "UPDATE traces SET spans = spans + ? WHERE seq = ?";
        return transaction.execute(sql, params![end.spans, trace]).map(drop).map_err(StoreError::from);
    }
    let ModelUse { calls, failed, took_us, tokens_in, tokens_out, cost_usd } = end.used.unwrap_or_default();
    let used = end.used.map(|_| (int(tokens_in), int(tokens_out)));
    // The span of the part itself is counted since it began.
    let sql = "UPDATE traces SET open = open - 1, ended_at = max(ifnull(ended_at, 0), ?1, started_at),
        outcome = CASE WHEN outcome IS NULL OR outcome IN ('completed', 'answered') THEN ?2 ELSE outcome END,
        spans = spans + ?3, output = ?4,
        tokens_in = CASE WHEN ?5 IS NULL THEN tokens_in ELSE ifnull(tokens_in, 0) + ?5 END,
        tokens_out = CASE WHEN ?6 IS NULL THEN tokens_out ELSE ifnull(tokens_out, 0) + ?6 END,
        cost = CASE WHEN ?7 IS NULL THEN cost ELSE ifnull(cost, 0) + ?7 END,
        calls = calls + ?8, calls_failed = calls_failed + ?9, calls_us = calls_us + ?10 WHERE seq = ?11";
    let row = params![
        end.at_us,
        outcome,
        end.spans.saturating_sub(1),
        cut(&end.output),
        used.map(|used| used.0),
        used.map(|used| used.1),
        cost_usd,
        calls,
        failed,
        took_us,
        trace,
    ];
    transaction.execute(sql, row).map(drop).map_err(StoreError::from)
}

/// Removes the part that an object is, because the object is. A trace goes with the last part that is not within another.
pub(crate) fn forget(transaction: &Transaction<'_>, object: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM trace_parts WHERE object = ? RETURNING trace, ended IS NULL AND within IS NULL";
    let part: Option<(i64, bool)> =
        transaction.sql(sql)?.query_row([object], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((trace, was_open)) = part else { return Ok(()) };
    let sql = "UPDATE traces SET parts = parts - 1, open = open - ? WHERE seq = ? RETURNING imported
        OR EXISTS (SELECT 1 FROM trace_parts WHERE trace = traces.seq AND within IS NULL)
        OR EXISTS (SELECT 1 FROM told_spans WHERE trace = traces.seq)";
    let stays: bool = transaction.sql(sql)?.query_row(params![was_open, trace], |row| row.get(0))?;
    if stays { Ok(()) } else { remove(transaction, trace) }
}

/// Removes a trace and all that is only its own.
fn remove(transaction: &Transaction<'_>, seq: i64) -> Result<(), StoreError> {
    for table in ["trace_parts", "trace_trees", "told_spans"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE trace = ?"), [seq])?;
    }
    transaction.execute("DELETE FROM traces WHERE seq = ?", [seq]).map(drop).map_err(StoreError::from)
}

/// Ends what a predecessor left on its way.
pub(crate) fn interrupt(transaction: &Transaction<'_>, before: i64, at_ms: i64) -> Result<(), StoreError> {
    let at_us = at_ms.saturating_mul(1000);
    let sql = "UPDATE trace_parts SET ended = ?1 WHERE ended IS NULL
        AND trace IN (SELECT seq FROM traces WHERE open > 0 AND seq <= ?2)";
    transaction.execute(sql, params![at_us, before])?;
    let sql = "UPDATE traces SET open = 0, outcome = 'interrupted', ended_at = max(?1, started_at)
        WHERE open > 0 AND seq <= ?2";
    transaction.execute(sql, params![at_us, before]).map(drop).map_err(StoreError::from)
}

/// Removes ended traces that began before `oldest_ms`, or are more than `max`, oldest first, so many at most. Returns how many went, and whether
/// another step would remove more.
pub(crate) fn remove_old(
    transaction: &Transaction<'_>,
    oldest_ms: Option<i64>,
    max: Option<u64>,
    limit: usize,
) -> Result<(u64, bool), StoreError> {
    let oldest_us = oldest_ms.map_or(i64::MIN, |ms| ms.saturating_mul(1000));
    let excess = match max {
        None => 0,
        Some(max) => {
            let all: i64 = transaction.sql("SELECT count(*) FROM traces")?.query_row([], |row| row.get(0))?;
            all.saturating_sub(int(max)).max(0)
        }
    };
    let sql = "SELECT seq, started_at FROM traces WHERE open = 0 ORDER BY started_at, id LIMIT ?";
    let found: Vec<(i64, i64)> = transaction
        .sql(sql)?
        .query_map([limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut removed = 0;
    for (seq, started_us) in found {
        if started_us >= oldest_us && removed >= excess {
            return Ok((crate::columns::count(removed), false));
        }
        remove(transaction, seq)?;
        removed += 1;
    }
    Ok((crate::columns::count(removed), removed == limit as i64))
}
