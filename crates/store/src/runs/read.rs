//! What finds runs again.

use super::{Fate, FateFilter, Filter, RunRecord, RunRow};
use crate::columns::{Conditions, at_most, count, from_json, from_word, word};
use crate::limits::{
    FILTER_LABELS_MAX, FILTER_TEXT_BYTES_MAX, LABELS_FEW, NAME_BYTES_MAX, REQUEST_BYTES_MAX,
    RESULT_BYTES_MAX, TEXT_SCAN_BYTES_MAX, TEXT_SCAN_MAX,
};
use crate::texts::unpack;
use crate::{Cursor, Listed, Page, Reader, Scope, StoreError};
use model::RunId;
use model::result::RunState;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

/// The columns that [`row`] reads, in its order.
const COLUMNS: &str =
    "runs.id, tenant, state, created_at, started_at, settled_at, language, outcome, fault, session, batch,
    batch_index, verdict, metadata, wall_ms, cpu_ms, memory_peak_bytes";

impl Reader {
    /// One run with its texts, if it is in the scope.
    pub fn run(&self, scope: &Scope, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        self.read("read a run", |db| {
            let sql = format!(
                "SELECT {COLUMNS}, requests.text, results.text FROM runs
                JOIN requests ON requests.run = seq LEFT JOIN results ON results.run = seq
                WHERE runs.id = ?1 AND (?2 IS NULL OR tenant = ?2)"
            );
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params![id.as_str(), scope.tenant()])?;
            let Some(found) = rows.next()? else { return Ok(None) };
            let [request, result] = texts(found)?;
            Ok(Some(RunRecord { row: row(found)?, request: request.unwrap_or_default(), result }))
        })
    }

    /// Runs of the scope that match, newest first by the time they were admitted.
    pub fn runs(&self, scope: &Scope, filter: &Filter, page: &Page) -> Result<Listed<RunRow>, StoreError> {
        check(filter)?;
        self.read("list runs", |db| {
            let labels = labels(db, scope, filter)?;
            let conditions = conditions(scope, filter, &labels, page.cursor.as_ref());
            match &filter.text {
                None => {
                    list(db, &list_sql(filter, &labels, &conditions, page.rows()), &conditions, page.rows())
                }
                Some(text) => search(db, &conditions, page.rows(), text),
            }
        })
    }
}

fn check(filter: &Filter) -> Result<(), StoreError> {
    if filter.metadata.len() > FILTER_LABELS_MAX {
        return Err(StoreError::TooLong { what: "filter by metadata", max: FILTER_LABELS_MAX as u64 });
    }
    at_most("text to search for", filter.text.as_deref().unwrap_or_default(), FILTER_TEXT_BYTES_MAX)?;
    at_most("session", filter.session.as_deref().unwrap_or_default(), NAME_BYTES_MAX)
}

fn conditions(
    scope: &Scope,
    filter: &Filter,
    labels: &[WantedLabel<'_>],
    cursor: Option<&Cursor>,
) -> Conditions {
    let mut conditions = Conditions::default();
    let tenant = || scope.tenant().map(str::to_owned);
    conditions.equal("tenant", tenant());
    match &filter.state {
        None => {}
        // As constants: only then may SQLite use the index of unfinished runs.
        Some(RunState::Settled) => conditions.and::<Value>("state = 'settled'", []),
        Some(state) => conditions.and("state <> 'settled' AND state = ?", [word(state)]),
    }
    conditions.equal("language", filter.language.map(|language| language.name().to_owned()));
    conditions.equal("batch", filter.batch.as_ref().map(ToString::to_string));
    conditions.equal("session", filter.session.clone());
    match &filter.fate {
        None => {}
        Some(FateFilter::Outcome(outcome)) => conditions.equal("outcome", Some(word(outcome))),
        Some(FateFilter::Fault(code)) => conditions.equal("fault", Some(word(code))),
        Some(FateFilter::AnyFault) => conditions.and::<Value>("fault IS NOT NULL", []),
    }
    conditions.and_if("created_at >= ?", filter.since_ms);
    conditions.and_if("created_at < ?", filter.until_ms);
    for label in labels {
        let values = [label.key.to_owned(), label.value.to_owned()].into_iter();
        let condition = match (label.is_rare, scope) {
            (false, _) => "EXISTS (SELECT 1 FROM labels WHERE run = seq AND key = ? AND value = ?)",
            (true, Scope::Admin) => "seq IN (SELECT run FROM labels WHERE key = ? AND value = ?)",
            (true, Scope::Tenant(_)) => {
                "seq IN (SELECT run FROM labels WHERE key = ? AND value = ? AND labels.tenant = ?)"
            }
        };
        conditions.and(condition, values.chain(tenant().filter(|_| label.is_rare)));
    }
    conditions.beyond("(created_at, runs.id) < (?, ?)", cursor);
    conditions
}

/// A label that is asked for. A rare one (a trace's id) is looked up; a common one (`env=prod`) is tried on each run in the list's
/// order, where it is soon found.
struct WantedLabel<'a> {
    key: &'a str,
    value: &'a str,
    is_rare: bool,
}

fn labels<'a>(
    db: &Connection,
    scope: &Scope,
    filter: &'a Filter,
) -> Result<Vec<WantedLabel<'a>>, StoreError> {
    let mut wanted = Vec::new();
    for (key, value) in &filter.metadata {
        let mut conditions = Conditions::default();
        conditions.and("key = ? AND value = ?", [key.clone(), value.clone()]);
        conditions.equal("tenant", scope.tenant().map(str::to_owned));
        let sql =
            format!("SELECT count(*) FROM (SELECT 1 FROM labels{} LIMIT {LABELS_FEW})", conditions.sql());
        let mut statement = db.prepare_cached(&sql)?;
        let found: i64 = statement.query_row(params_from_iter(&conditions.values), |row| row.get(0))?;
        wanted.push(WantedLabel { key, value, is_rare: count(found) < LABELS_FEW as u64 });
    }
    Ok(wanted)
}

/// The statement of a list. Where few runs can match, it names the way to them: SQLite, which does not count rows, would rather
/// walk all of a tenant's runs in the list's order than sort a few.
fn list_sql(filter: &Filter, labels: &[WantedLabel<'_>], conditions: &Conditions, limit: usize) -> String {
    let unfinished = matches!(filter.state, Some(RunState::Queued | RunState::Running));
    let way = if labels.iter().any(|label| label.is_rare) {
        // But by number, which the labels give.
        "NOT INDEXED"
    } else if filter.batch.is_some() {
        "INDEXED BY runs_by_batch"
    } else if unfinished {
        "INDEXED BY runs_unfinished"
    } else {
        ""
    };
    let order = "ORDER BY created_at DESC, runs.id DESC";
    format!("SELECT {COLUMNS} FROM runs {way}{} {order} LIMIT {}", conditions.sql(), limit + 1)
}

fn list(
    db: &Connection,
    sql: &str,
    conditions: &Conditions,
    limit: usize,
) -> Result<Listed<RunRow>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query(params_from_iter(&conditions.values))?;
    crate::page::collect(rows, limit, row, RunRow::cursor)
}

/// Lists the runs that contain a text. Reads a bounded number of them; the cursor says how far it came.
fn search(
    db: &Connection,
    conditions: &Conditions,
    limit: usize,
    text: &str,
) -> Result<Listed<RunRow>, StoreError> {
    // As it stands within a string of the JSON, without the quotes around.
    let quoted = serde_json::Value::from(text).to_string();
    let needle = &quoted.as_bytes()[1..quoted.len() - 1];
    let sql = format!(
        "SELECT {COLUMNS}, requests.text, results.text FROM runs
        JOIN requests ON requests.run = seq LEFT JOIN results ON results.run = seq{}
        ORDER BY created_at DESC, runs.id DESC LIMIT {}",
        conditions.sql(),
        TEXT_SCAN_MAX + 1
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(&conditions.values))?;
    let (mut items, mut last, mut bytes, mut scanned) = (Vec::new(), None, 0, 0);
    while let Some(found) = rows.next()? {
        if items.len() == limit || scanned == TEXT_SCAN_MAX || bytes > TEXT_SCAN_BYTES_MAX {
            return Ok(Listed { items, next: last });
        }
        let texts = texts(found)?.map(Option::unwrap_or_default);
        scanned += 1;
        bytes += texts[0].len() + texts[1].len();
        let row = row(found)?;
        last = Some(row.cursor());
        if texts.iter().any(|text| contains(text.as_bytes(), needle)) {
            items.push(row);
        }
    }
    Ok(Listed { items, next: None })
}

/// The request and the result of a row that ends with them.
fn texts(row: &Row<'_>) -> Result<[Option<String>; 2], StoreError> {
    Ok([
        unpack(row.get_ref(17)?, "the request of a run", REQUEST_BYTES_MAX)?,
        unpack(row.get_ref(18)?, "the result of a run", RESULT_BYTES_MAX)?,
    ])
}

/// Whether `needle` occurs, ASCII case ignored.
fn contains(text: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let starts = |at: &u8| at.eq_ignore_ascii_case(first);
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(starts) {
        let rest = &text[from + at..];
        if rest.len() < needle.len() {
            return false;
        }
        if rest[..needle.len()].eq_ignore_ascii_case(needle) {
            return true;
        }
        from += at + 1;
    }
    false
}

fn row(row: &Row<'_>) -> Result<RunRow, StoreError> {
    let outcome: Option<String> = row.get(7)?;
    let fault: Option<String> = row.get(8)?;
    let fate = match (outcome, fault) {
        (Some(outcome), _) => Some(Fate::Outcome(from_word(outcome, "the outcome of a run")?)),
        (None, Some(fault)) => Some(Fate::Fault(from_word(fault, "the fault of a run")?)),
        (None, None) => None,
    };
    let batch: Option<String> = row.get(10)?;
    let index: Option<u32> = row.get(11)?;
    let batch = batch.map(|batch| from_word(batch, "the batch of a run")).transpose()?;
    Ok(RunRow {
        id: from_word(row.get(0)?, "the id of a run")?,
        tenant: from_word(row.get(1)?, "the tenant of a run")?,
        state: from_word(row.get(2)?, "the state of a run")?,
        created_at_ms: row.get(3)?,
        started_at_ms: row.get(4)?,
        settled_at_ms: row.get(5)?,
        language: from_word(row.get(6)?, "the language of a run")?,
        fate,
        session: row.get(9)?,
        batch: batch.zip(index),
        verdict: row.get(12)?,
        metadata: from_json(&row.get::<_, String>(13)?, "the metadata of a run")?,
        wall_ms: count(row.get(14)?),
        cpu_ms: count(row.get(15)?),
        memory_peak_bytes: count(row.get(16)?),
    })
}

/// The internal number of a run, if it is in the scope.
pub(crate) fn seq(db: &Connection, scope: &Scope, id: &RunId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT seq FROM runs WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
    let mut statement = db.prepare_cached(sql)?;
    Ok(statement.query_row(params![id.as_str(), scope.tenant()], |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Store};
    use model::{BatchId, TenantId};

    /// How SQLite goes about a list.
    fn plan(scope: &Scope, filter: Filter) -> String {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Options::default()).unwrap();
        let cursor = Cursor { number: 0, word: String::new() };
        let steps = store.reader().read("explain", |db| {
            let labels = labels(db, scope, &filter)?;
            let conditions = conditions(scope, &filter, &labels, Some(&cursor));
            let sql = format!("EXPLAIN QUERY PLAN {}", list_sql(&filter, &labels, &conditions, 10));
            let mut statement = db.prepare(&sql)?;
            let steps = statement.query_map(params_from_iter(&conditions.values), |row| row.get(3))?;
            Ok(steps.collect::<Result<Vec<String>, _>>()?)
        });
        steps.unwrap().join("; ")
    }

    #[test]
    fn lists_go_by_an_index() {
        let tenant = Scope::Tenant(TenantId::local());
        let all = Filter::default();
        let batch = Filter { batch: Some(BatchId::from_random([0; 16])), ..all.clone() };
        let queued = Filter { state: Some(RunState::Queued), ..all.clone() };
        let session = Filter { session: Some("s".to_owned()), ..all.clone() };
        let label = Filter { metadata: [("k".to_owned(), "v".to_owned())].into(), ..all.clone() };
        for (scope, filter, way) in [
            (&tenant, &all, "INDEX runs_by_tenant (tenant=? AND (created_at,id)<(?,?))"),
            (&Scope::Admin, &all, "INDEX runs_by_time ((created_at,id)<(?,?))"),
            (&tenant, &batch, "INDEX runs_by_batch (batch=?)"),
            (&tenant, &queued, "INDEX runs_unfinished"),
            (&Scope::Admin, &queued, "INDEX runs_unfinished"),
            (&tenant, &session, "INDEX runs_by_session (session=? AND (created_at,id)<(?,?))"),
            (&tenant, &label, "SEARCH runs USING INTEGER PRIMARY KEY (rowid=?)"),
            (&tenant, &label, "INDEX labels_by_value (key=? AND value=? AND tenant=?)"),
            (&Scope::Admin, &label, "INDEX labels_by_value (key=? AND value=?)"),
        ] {
            let plan = plan(scope, filter.clone());
            assert!(plan.contains(way), "{way}: {plan}");
        }
    }

    #[test]
    fn a_text_is_found_whatever_its_case() {
        for (text, needle, found) in [
            ("print(1)", "PRINT", true),
            ("aab", "ab", true),
            ("a", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("Übung", "übung", false),
            ("Übung", "BUNG", true),
        ] {
            assert_eq!(contains(text.as_bytes(), needle.as_bytes()), found, "{text} {needle}");
        }
    }
}
