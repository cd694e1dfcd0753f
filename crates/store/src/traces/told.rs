//! Spans that a program of a caller tells one by one: at their beginning, when more is known of them, at their end. A trace made of them has a row
//! as others have, counted anew with each word; runs that the program asked for from within may be parts of it.

use super::read::{COLUMNS, conditions, row};
use super::{TraceContent, TraceFilter, TraceRow};
use crate::columns::{at_most, int, word};
use crate::limits::{
    FILTER_TEXT_BYTES_MAX, NAME_BYTES_MAX, TEXT_SCAN_MAX, TOLD_SPANS_MAX, TRACE_TREE_BYTES_MAX,
};
use crate::texts::{Text, unpack};
use crate::writer::{Transaction, Write};
use crate::{Reader, Scope, Store, StoreError};
use model::{TenantId, TraceId};
use rusqlite::{OptionalExtension, params, params_from_iter};

/// A span that a program tells.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldSpan {
    /// The trace that it is of.
    pub trace: TraceId,
    /// What the program calls it, at most 256 bytes. Of one tenant, one has the name.
    pub id: String,
    /// What it calls its parent.
    pub parent: Option<String>,
    /// What lists call the trace, if this is its root.
    pub name: String,
    /// When it began, microseconds since 1970.
    pub began_us: i64,
    /// When it ended.
    pub ended_us: Option<i64>,
    /// Whether it went wrong.
    pub is_failed: bool,
    /// Which of the caller's programs tells it.
    pub component: Option<String>,
    /// Whether it is a request to a model.
    pub is_model: bool,
    /// Which.
    pub model: Option<String>,
    /// Tokens read.
    pub tokens_in: Option<u64>,
    /// Tokens written.
    pub tokens_out: Option<u64>,
    /// Dollars.
    pub cost_usd: Option<f64>,
    /// The beginning of what went in.
    pub input: String,
    /// The beginning of what came out.
    pub output: String,
    /// How much may be shown.
    pub content: TraceContent,
    /// Whether it came as a part of a file.
    pub imported: bool,
    /// The span as its readers know it: JSON, of at most [`TRACE_TREE_BYTES_MAX`].
    pub text: String,
}

/// A page of traces by number, with those of all pages: the trace, and the text of its first root if a program told it.
pub type ToldPage = (u64, Vec<(TraceRow, Option<String>)>);

impl Store {
    /// Tells a span, or more of one: `change` makes it of the text that there is, or of none, and may leave it as it is. Returns the trace that
    /// changed. Of a trace with [`TOLD_SPANS_MAX`] no more are taken: [`StoreError::TooLong`].
    pub fn tell_span(
        &self,
        tenant: &TenantId,
        id: &str,
        change: impl Fn(Option<&str>) -> Option<ToldSpan> + Send + 'static,
    ) -> Write<Option<TraceId>> {
        let (tenant, id) = (tenant.clone(), id.to_owned());
        if let Err(error) = at_most("id of a span", &id, NAME_BYTES_MAX) {
            return Write::refused(self, error);
        }
        self.write("tell a span", move |transaction| {
            let sql = "SELECT trace, text FROM told_spans WHERE tenant = ? AND id = ?";
            let before = transaction
                .sql(sql)?
                .query_row(params![tenant.as_str(), id], |row| {
                    Ok((row.get::<_, i64>(0)?, text_of(row.get_ref(1)?)))
                })
                .optional()?;
            let (seq, text) = match before {
                Some((seq, text)) => (Some(seq), text?),
                None => (None, None),
            };
            let Some(span) = change(text.as_deref()) else { return Ok(None) };
            at_most("span", &span.text, TRACE_TREE_BYTES_MAX)?;
            tell(transaction, &tenant, &span, seq)?;
            Ok(Some(span.trace))
        })
    }
}

fn text_of(column: rusqlite::types::ValueRef<'_>) -> Result<Option<String>, StoreError> {
    unpack(column, "a span", TRACE_TREE_BYTES_MAX)
}

fn tell(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    span: &ToldSpan,
    before: Option<i64>,
) -> Result<(), StoreError> {
    let seq = match before {
        Some(seq) => seq,
        None => trace_for(transaction, tenant, span)?,
    };
    let sql = "SELECT 1 FROM told_spans WHERE tenant = ? AND id = ? AND trace = ?";
    let has_parent = match &span.parent {
        None => false,
        Some(parent) => transaction.sql(sql)?.exists(params![tenant.as_str(), parent, seq])?,
    };
    if before.is_none() {
        let sql = "UPDATE told_spans SET is_root = 0 WHERE trace = ? AND parent = ?";
        transaction.execute(sql, params![seq, span.id])?;
    }
    let sql = "INSERT INTO told_spans (tenant, id, parent, trace, is_root, began, ended, is_failed, component, is_model, tokens_in,
        tokens_out, cost, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (tenant, id) DO UPDATE SET parent = excluded.parent, is_root = excluded.is_root, began = excluded.began,
            ended = excluded.ended, is_failed = excluded.is_failed, component = excluded.component, is_model = excluded.is_model,
            tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out, cost = excluded.cost, text = excluded.text";
    let row = params![
        tenant.as_str(),
        span.id,
        span.parent,
        seq,
        !has_parent,
        span.began_us,
        span.ended_us,
        span.is_failed,
        span.component,
        span.is_model,
        span.tokens_in.map(int),
        span.tokens_out.map(int),
        span.cost_usd,
        Text::of(span.text.clone()),
    ];
    transaction.execute(sql, row)?;
    if !has_parent {
        let sql = "UPDATE traces SET name = ?, input = ?, output = ? WHERE seq = ?";
        let cut = super::write::cut;
        transaction.execute(sql, params![cut(&span.name), cut(&span.input), cut(&span.output), seq])?;
    }
    if let Some(model) = &span.model {
        transaction
            .execute("UPDATE traces SET model = ? WHERE seq = ?", params![super::write::cut(model), seq])?;
    }
    count_anew(transaction, seq)
}

/// The trace that a new span is of: begun if it is the first.
fn trace_for(transaction: &Transaction<'_>, tenant: &TenantId, span: &ToldSpan) -> Result<i64, StoreError> {
    let sql = "INSERT INTO traces (id, tenant, kind, object, name, started_at, open, parts, spans, input, output, content, imported)
        VALUES (?, ?, 'task', ?, ?, ?, 0, 0, 1, ?, ?, ?, ?)
        ON CONFLICT (id, tenant) DO UPDATE SET spans = spans + 1 RETURNING seq";
    let cut = super::write::cut;
    let row = params![
        span.trace.to_string(),
        tenant.as_str(),
        span.id,
        cut(&span.name),
        span.began_us,
        cut(&span.input),
        cut(&span.output),
        word(&span.content),
        span.imported,
    ];
    let seq: i64 = transaction.sql(sql)?.query_row(row, |row| row.get(0))?;
    let sql = "SELECT count(*) FROM told_spans WHERE trace = ?";
    let told: i64 = transaction.sql(sql)?.query_row([seq], |row| row.get(0))?;
    if told >= TOLD_SPANS_MAX {
        return Err(StoreError::TooLong {
            what: "list of the spans of a trace",
            max: TOLD_SPANS_MAX.unsigned_abs(),
        });
    }
    Ok(seq)
}

/// Has the row say what the spans say. A span with children that say what was used counts by them.
fn count_anew(transaction: &Transaction<'_>, seq: i64) -> Result<(), StoreError> {
    let sql = "UPDATE traces SET
        started_at = min(started_at, (SELECT min(began) FROM told_spans WHERE trace = ?1 AND is_root)),
        open = (SELECT count(*) FROM told_spans WHERE trace = ?1 AND is_root AND ended IS NULL)
            + (SELECT count(*) FROM trace_parts WHERE trace = ?1 AND ended IS NULL AND within IS NULL),
        ended_at = max((SELECT ifnull(max(ended), 0) FROM told_spans WHERE trace = ?1 AND is_root),
            (SELECT ifnull(max(ended), 0) FROM trace_parts WHERE trace = ?1), started_at),
        outcome = CASE WHEN EXISTS (SELECT 1 FROM told_spans WHERE trace = ?1 AND is_root AND is_failed) THEN 'failed' ELSE 'completed' END
        WHERE seq = ?1";
    transaction.execute(sql, [seq])?;
    let sql = "UPDATE traces SET (tokens_in, tokens_out, cost, calls, calls_failed, calls_us) =
        (SELECT sum(tokens_in), sum(tokens_out), sum(cost), count(*), ifnull(sum(is_failed), 0), ifnull(sum(max(ended - began, 0)), 0)
         FROM told_spans AS span WHERE trace = ?1 AND (tokens_in IS NOT NULL OR is_model)
         AND NOT EXISTS (SELECT 1 FROM told_spans AS inner WHERE inner.trace = ?1 AND inner.parent = span.id AND inner.is_model))
        WHERE seq = ?1";
    transaction.execute(sql, [seq]).map(drop).map_err(StoreError::from)
}

impl Reader {
    /// The spans that a program told of a trace, as texts, in the order in which they began.
    pub fn told_spans(&self, tenant: &TenantId, id: TraceId) -> Result<Vec<String>, StoreError> {
        self.read("read the spans of a trace", |db| {
            let sql = "SELECT text FROM told_spans WHERE trace = (SELECT seq FROM traces WHERE id = ? AND tenant = ?)
                ORDER BY began, rowid LIMIT ?";
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query(params![id.to_string(), tenant.as_str(), TOLD_SPANS_MAX])?;
            let mut texts = Vec::new();
            while let Some(row) = rows.next()? {
                texts.extend(text_of(row.get_ref(0)?)?);
            }
            Ok(texts)
        })
    }

    /// The span of this name that a program told, and its trace.
    pub fn told_span(&self, scope: &Scope, id: &str) -> Result<Option<(TraceId, String)>, StoreError> {
        self.read("read a span", |db| {
            let sql = "SELECT traces.id, text FROM told_spans JOIN traces ON seq = told_spans.trace
                WHERE told_spans.id = ?1 AND (?2 IS NULL OR told_spans.tenant = ?2) LIMIT 1";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_row(params![id, scope.tenant()], |row| {
                Ok((row.get::<_, String>(0)?, text_of(row.get_ref(1)?)))
            });
            let Some((trace, text)) = found.optional()? else { return Ok(None) };
            Ok(Some((super::known(trace)?, text?.unwrap_or_default())))
        })
    }

    /// The programs that told spans.
    pub fn told_components(&self, scope: &Scope) -> Result<Vec<String>, StoreError> {
        self.read("list programs that tell spans", |db| {
            let sql = "SELECT DISTINCT component FROM told_spans WHERE component IS NOT NULL AND (?1 IS NULL OR tenant = ?1)
                ORDER BY component LIMIT 1000";
            let mut statement = db.prepare_cached(sql)?;
            let rows = statement.query_map([scope.tenant()], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Traces of the scope that match, newest first: `limit` of them after the first `skip`. With a text to search for it looks at the newest
    /// [`TEXT_SCAN_MAX`] only.
    pub fn traces_by_number(
        &self,
        scope: &Scope,
        (filter, component): (&TraceFilter, Option<&str>),
        (skip, limit): (u64, usize),
    ) -> Result<ToldPage, StoreError> {
        at_most("text to search for", filter.text.as_deref().unwrap_or_default(), FILTER_TEXT_BYTES_MAX)?;
        let mut wanted = conditions(scope, filter, None);
        wanted.and_if(
            "EXISTS (SELECT 1 FROM told_spans WHERE trace = traces.seq AND component = ?)",
            component.map(str::to_owned),
        );
        self.read("list traces", |db| {
            let (total, rows) = match &filter.text {
                None => {
                    let sql = format!("SELECT count(*) FROM traces{}", wanted.sql());
                    let total: i64 =
                        db.prepare_cached(&sql)?.query_row(params_from_iter(&wanted.values), |row| row.get(0))?;
                    let sql = format!(
                        "SELECT {COLUMNS}, seq FROM traces{} ORDER BY started_at DESC, id DESC LIMIT {limit} OFFSET {}",
                        wanted.sql(),
                        int(skip)
                    );
                    let mut statement = db.prepare_cached(&sql)?;
                    let mut found = statement.query(params_from_iter(&wanted.values))?;
                    let mut rows = Vec::new();
                    while let Some(next) = found.next()? {
                        rows.push((row(next)?, next.get::<_, i64>(20)?));
                    }
                    (crate::columns::count(total), rows)
                }
                Some(text) => {
                    let needle = text.to_ascii_lowercase();
                    let sql = format!(
                        "SELECT {COLUMNS}, seq FROM traces{} ORDER BY started_at DESC, id DESC LIMIT {TEXT_SCAN_MAX}",
                        wanted.sql()
                    );
                    let mut statement = db.prepare_cached(&sql)?;
                    let mut found = statement.query(params_from_iter(&wanted.values))?;
                    let (mut total, mut rows) = (0, Vec::new());
                    while let Some(next) = found.next()? {
                        let (trace, seq) = (row(next)?, next.get::<_, i64>(20)?);
                        if trace.contains(&needle) {
                            total += 1;
                            if total > skip && rows.len() < limit {
                                rows.push((trace, seq));
                            }
                        }
                    }
                    (total, rows)
                }
            };
            let sql = "SELECT text FROM told_spans WHERE trace = ? AND is_root ORDER BY began LIMIT 1";
            let mut statement = db.prepare_cached(sql)?;
            let mut page = Vec::new();
            for (trace, seq) in rows {
                let root = statement.query_row([seq], |row| Ok(text_of(row.get_ref(0)?))).optional()?;
                page.push((trace, root.transpose()?.flatten()));
            }
            Ok((total, page))
        })
    }
}
