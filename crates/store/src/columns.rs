//! Values on their way into columns and out of them.

use crate::limits::TIME_MS_MAX;
use crate::{Cursor, StoreError};
use rusqlite::types::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A count as SQLite keeps it: what does not fit is as large as can be.
pub(crate) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as we hold it. Negative ones are never written; a damaged row is 0.
pub(crate) fn count(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// One of the words of the model, as its JSON spells it.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("the model's words are strings in JSON, not {other:?}"),
    }
}

/// Reads one of the words of the model, or an id.
pub(crate) fn from_word<T: DeserializeOwned>(word: String, what: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|_| StoreError::damaged(what))
}

/// Reads JSON that the store itself wrote.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::damaged(what))
}

/// Writes JSON of at most `max` bytes.
pub(crate) fn to_json(value: &impl Serialize, what: &'static str, max: usize) -> Result<String, StoreError> {
    let text =
        serde_json::to_string(value).map_err(|error| StoreError::damaged(format!("{what} ({error})")))?;
    at_most(what, &text, max)?;
    Ok(text)
}

/// Refuses a text of more than `max` bytes.
pub(crate) fn at_most(what: &'static str, text: &str, max: usize) -> Result<(), StoreError> {
    if text.len() > max { Err(StoreError::TooLong { what, max: max as u64 }) } else { Ok(()) }
}

/// Refuses a time that RFC 3339 cannot spell.
pub(crate) fn moment(at_ms: i64) -> Result<(), StoreError> {
    if (0..=TIME_MS_MAX).contains(&at_ms) {
        return Ok(());
    }
    Err(StoreError::Invalid { what: "a time lies outside the years 1970 to 9999" })
}

/// The conditions of a query, and the values that they are bound to.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    sql: String,
    pub values: Vec<Value>,
}

impl Conditions {
    /// Demands that `condition` hold, with one `?` for each of `values`.
    pub fn and<V: Into<Value>>(&mut self, condition: &str, values: impl IntoIterator<Item = V>) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(condition);
        self.values.extend(values.into_iter().map(Into::into));
    }

    /// Demands that `condition` hold of what was said, if something was.
    pub fn and_if<V: Into<Value>>(&mut self, condition: &str, value: Option<V>) {
        if let Some(value) = value {
            self.and(condition, [value]);
        }
    }

    /// Demands that `column` equal what was said, if something was.
    pub fn equal<V: Into<Value>>(&mut self, column: &str, value: Option<V>) {
        self.and_if(&format!("{column} = ?"), value);
    }

    /// Demands that `condition`, which compares two columns with `(?, ?)`, hold of a place in a list, if there is one.
    pub fn beyond(&mut self, condition: &str, cursor: Option<&Cursor>) {
        if let Some(cursor) = cursor {
            let place: [Value; 2] = [cursor.number.into(), cursor.word.clone().into()];
            self.and(condition, place);
        }
    }

    /// ` WHERE …`, or nothing.
    pub fn sql(&self) -> &str {
        &self.sql
    }
}
