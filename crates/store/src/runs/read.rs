//! What finds runs again.

use super::{Fate, FateFilter, Filter, RunRecord, RunRow};
use crate::columns::{Conditions, at_most, count, from_json, from_word, word};
use crate::limits::{
    FILTER_LABELS_MAX, FILTER_TEXT_BYTES_MAX, LABELS_FEW, NAME_BYTES_MAX, TEXT_SCAN_BYTES_MAX, TEXT_SCAN_MAX,
};
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
            Ok(Some(RunRecord { row: row(found)?, request: found.get(17)?, result: found.get(18)? }))
        })
    }

    /// Runs of the scope that match, newest first by the time they were admitted.
    pub fn runs(&self, scope: &Scope, filter: &Filter, page: &Page) -> Result<Listed<RunRow>, StoreError> {
        check(filter)?;
        self.read("list runs", |db| {
            let conditions = conditions(db, scope, filter, page.cursor.as_ref())?;
            match &filter.text {
                None => list(db, &conditions, page.rows()),
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
    db: &Connection,
    scope: &Scope,
    filter: &Filter,
    cursor: Option<&Cursor>,
) -> Result<Conditions, StoreError> {
    let mut conditions = Conditions::default();
    conditions.equal("tenant", scope.tenant().map(str::to_owned));
    match &filter.state {
        None => {}
        // As a constant, so that SQLite may use the index of unfinished runs.
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
    for (key, value) in &filter.metadata {
        label(db, scope, key, value, &mut conditions)?;
    }
    conditions.beyond("(created_at, runs.id) < (?, ?)", cursor);
    Ok(conditions)
}

/// Demands a label. A rare one (a trace's id) is looked up; a common one (`env=prod`) is tried on each run in the list's order,
/// where it is soon found.
fn label(
    db: &Connection,
    scope: &Scope,
    key: &str,
    value: &str,
    conditions: &mut Conditions,
) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM labels WHERE key = ?1 AND value = ?2 AND (?3 IS NULL OR tenant = ?3) LIMIT ?4)";
    let found: i64 = db
        .prepare_cached(sql)?
        .query_row(params![key, value, scope.tenant(), LABELS_FEW as i64], |row| row.get(0))?;
    let condition = if count(found) < LABELS_FEW as u64 {
        "seq IN (SELECT run FROM labels WHERE key = ? AND value = ?)"
    } else {
        "EXISTS (SELECT 1 FROM labels WHERE run = seq AND key = ? AND value = ?)"
    };
    conditions.and(condition, [key.to_owned(), value.to_owned()]);
    Ok(())
}

fn list(db: &Connection, conditions: &Conditions, limit: usize) -> Result<Listed<RunRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM runs{} ORDER BY created_at DESC, runs.id DESC LIMIT {}",
        conditions.sql(),
        limit + 1
    );
    let mut statement = db.prepare_cached(&sql)?;
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
        let texts = [found.get_ref(17)?, found.get_ref(18)?];
        let texts = texts.map(|text| text.as_bytes_or_null().ok().flatten().unwrap_or_default());
        scanned += 1;
        bytes += texts[0].len() + texts[1].len();
        let row = row(found)?;
        last = Some(row.cursor());
        if texts.iter().any(|text| contains(text, needle)) {
            items.push(row);
        }
    }
    Ok(Listed { items, next: None })
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
    use super::contains;

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
