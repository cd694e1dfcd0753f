//! What finds traces again.

use super::{TraceFilter, TracePart, TraceRow, known};
use crate::columns::{Conditions, at_most, count, word};
use crate::limits::{FILTER_TEXT_BYTES_MAX, TEXT_SCAN_MAX, TRACE_PARTS_MAX, TRACE_TREE_BYTES_MAX};
use crate::texts::unpack;
use crate::{Cursor, Listed, Page, Reader, Scope, StoreError};
use model::{TraceId, TraceParent};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

/// The columns that [`row`] reads, in its order.
pub(super) const COLUMNS: &str = "id, tenant, kind, object, name, open, outcome, language, model, started_at, ended_at, tokens_in, tokens_out,
    cost, spans, input, output, content, imported, remark";

/// A trace, its parts in the order in which they began, and the spans that came from elsewhere.
pub type WholeTrace = (TraceRow, Vec<TracePart>, Option<String>);

impl Reader {
    /// One trace, if it is in the scope.
    pub fn trace(&self, scope: &Scope, id: TraceId) -> Result<Option<WholeTrace>, StoreError> {
        self.read("read a trace", |db| {
            let sql = format!(
                "SELECT {COLUMNS}, seq FROM traces WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY seq DESC LIMIT 1"
            );
            let mut statement = db.prepare_cached(&sql)?;
            let found = statement.query_row(params![id.to_string(), scope.tenant()], |found| {
                Ok((row(found), found.get::<_, i64>(20)?))
            });
            let Some((row, seq)) = found.optional()? else { return Ok(None) };
            let sql = "SELECT text FROM trace_trees WHERE trace = ?";
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query([seq])?;
            let tree = match rows.next()? {
                Some(row) => unpack(row.get_ref(0)?, "the spans of a trace", TRACE_TREE_BYTES_MAX)?,
                None => None,
            };
            Ok(Some((row?, parts(db, seq)?, tree)))
        })
    }

    /// The row of one trace, if it is in the scope.
    pub fn trace_row(&self, scope: &Scope, id: TraceId) -> Result<Option<TraceRow>, StoreError> {
        self.read("read a trace", |db| {
            let sql =
                format!("SELECT {COLUMNS} FROM traces WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY seq DESC LIMIT 1");
            let mut statement = db.prepare_cached(&sql)?;
            let found = statement.query_row(params![id.to_string(), scope.tenant()], |found| Ok(row(found)));
            found.optional()?.transpose()
        })
    }

    /// The trace that an object is a part of, and the object's span in it.
    pub fn trace_of(&self, object: &str) -> Result<Option<TraceParent>, StoreError> {
        self.read("find the trace of an object", |db| {
            let sql = "SELECT id, span FROM traces JOIN trace_parts ON trace = traces.seq WHERE trace_parts.object = ?";
            let mut statement = db.prepare_cached(sql)?;
            let found = statement.query_row([object], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((trace, span)) = found.optional()? else { return Ok(None) };
            Ok(Some(TraceParent { trace: known(trace)?, span: known(span)? }))
        })
    }

    /// Traces of the scope that match, newest first by when they began.
    pub fn traces(
        &self,
        scope: &Scope,
        filter: &TraceFilter,
        page: &Page,
    ) -> Result<Listed<TraceRow>, StoreError> {
        for text in [&filter.text, &filter.of] {
            at_most("text to search for", text.as_deref().unwrap_or_default(), FILTER_TEXT_BYTES_MAX)?;
        }
        let cursor = page.cursor.as_ref();
        self.read("list traces", |db| {
            let Some(text) = &filter.text else {
                return list(db, &conditions(scope, filter, cursor), page.rows());
            };
            // What is within a task or a batch has no row that names it.
            let mut named = conditions(scope, filter, cursor);
            named.and_if(OF, Some(text.clone()));
            let found = list(db, &named, page.rows())?;
            if found.items.is_empty() {
                search(db, &conditions(scope, filter, cursor), page.rows(), text)
            } else {
                Ok(found)
            }
        })
    }
}

/// Holds of the trace that an object is a part of.
const OF: &str = "seq = (SELECT trace FROM trace_parts WHERE trace_parts.object = ?)";

fn list(db: &Connection, conditions: &Conditions, limit: usize) -> Result<Listed<TraceRow>, StoreError> {
    let mut statement = db.prepare_cached(&list_sql(conditions, limit + 1))?;
    let rows = statement.query(params_from_iter(&conditions.values))?;
    crate::page::collect(rows, limit, row, TraceRow::cursor)
}

fn list_sql(conditions: &Conditions, limit: usize) -> String {
    format!(
        "SELECT {COLUMNS} FROM traces{} ORDER BY started_at DESC, id DESC LIMIT {limit}",
        conditions.sql()
    )
}

/// Lists the traces that contain a text. Reads a bounded number of them; the cursor says how far it came.
fn search(
    db: &Connection,
    conditions: &Conditions,
    limit: usize,
    text: &str,
) -> Result<Listed<TraceRow>, StoreError> {
    let needle = text.to_ascii_lowercase();
    let mut statement = db.prepare_cached(&list_sql(conditions, TEXT_SCAN_MAX + 1))?;
    let mut rows = statement.query(params_from_iter(&conditions.values))?;
    let (mut items, mut last, mut scanned) = (Vec::new(), None, 0);
    while let Some(found) = rows.next()? {
        if items.len() == limit || scanned == TEXT_SCAN_MAX {
            return Ok(Listed { items, next: last });
        }
        scanned += 1;
        let row = row(found)?;
        last = Some(row.cursor());
        if row.contains(&needle) {
            items.push(row);
        }
    }
    Ok(Listed { items, next: None })
}

/// The conditions of a list.
pub(super) fn conditions(scope: &Scope, filter: &TraceFilter, cursor: Option<&Cursor>) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.equal("tenant", scope.tenant().map(str::to_owned));
    match filter.outcome.as_deref() {
        None => {}
        // As a constant: only then may SQLite use the index of open ones.
        Some("running") => conditions.and::<Value>("open > 0", []),
        Some(outcome) => conditions.and("open = 0 AND outcome = ?", [outcome.to_owned()]),
    }
    conditions.and_if(OF, filter.of.clone());
    conditions.equal("language", filter.language.clone());
    conditions.equal("model", filter.model.clone());
    conditions.equal("kind", filter.kind.map(|kind| word(&kind)));
    conditions.and_if("started_at >= ?", filter.since_us);
    conditions.and_if("started_at < ?", filter.until_us);
    conditions.and_if("open = 0 AND ended_at - started_at >= ?", filter.min_us);
    conditions.and_if("open = 0 AND ended_at - started_at <= ?", filter.max_us);
    conditions.and_if("cost >= ?", filter.min_cost);
    conditions.and_if("cost <= ?", filter.max_cost);
    conditions.equal("imported", filter.imported);
    conditions.beyond("(started_at, id) < (?, ?)", cursor);
    conditions
}

fn parts(db: &Connection, seq: i64) -> Result<Vec<TracePart>, StoreError> {
    let sql =
        "SELECT object, kind, span, parent, within, began, ended, measured FROM trace_parts WHERE trace = ?
        ORDER BY began, object LIMIT ?";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![seq, TRACE_PARTS_MAX])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        let parent: Option<String> = row.get(3)?;
        parts.push(TracePart {
            object: row.get(0)?,
            kind: known(row.get(1)?)?,
            span: known(row.get(2)?)?,
            parent: parent.map(known).transpose()?,
            within: row.get(4)?,
            began_us: row.get(5)?,
            ended_us: row.get(6)?,
            measured: row.get(7)?,
        });
    }
    Ok(parts)
}

pub(super) fn row(row: &Row<'_>) -> Result<TraceRow, StoreError> {
    let is_open = row.get::<_, i64>(5)? > 0;
    let number =
        |index| -> Result<Option<u64>, StoreError> { Ok(row.get::<_, Option<i64>>(index)?.map(count)) };
    Ok(TraceRow {
        id: known(row.get(0)?)?,
        tenant: known(row.get(1)?)?,
        kind: known(row.get(2)?)?,
        object: row.get(3)?,
        name: row.get(4)?,
        outcome: row.get::<_, Option<String>>(6)?.filter(|_| !is_open),
        language: row.get(7)?,
        model: row.get(8)?,
        started_us: row.get(9)?,
        ended_us: row.get::<_, Option<i64>>(10)?.filter(|_| !is_open),
        tokens_in: number(11)?,
        tokens_out: number(12)?,
        cost_usd: row.get(13)?,
        spans: count(row.get(14)?),
        input: row.get(15)?,
        output: row.get(16)?,
        content: known(row.get(17)?)?,
        imported: row.get(18)?,
        remark: row.get(19)?,
    })
}

impl TraceRow {
    /// This trace's place in lists, newest first.
    fn cursor(&self) -> Cursor {
        Cursor { number: self.started_us, word: self.id.to_string() }
    }

    /// Whether a text in lower case occurs in what lists show of it.
    pub(super) fn contains(&self, needle: &str) -> bool {
        let id = self.id.to_string();
        let optional =
            [&self.remark, &self.model, &self.outcome].map(|text| text.as_deref().unwrap_or_default());
        let texts = [&id, &self.object, &self.name, &self.input, &self.output];
        let texts = texts.into_iter().map(String::as_str).chain(optional);
        texts.into_iter().any(|text| text.to_ascii_lowercase().contains(needle))
    }
}
