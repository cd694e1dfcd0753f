//! Pages of a list, and the opaque cursor that says where the next one begins.
//!
//! A cursor names the last row shown by its place in the list's order, not by counting: rows that come or go between two pages
//! neither repeat nor hide another.

use crate::StoreError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Row, Rows};
use std::fmt;
use std::str::FromStr;

/// Most rows of one page.
pub const PAGE_ROWS_MAX: usize = 200;
/// Longest cursor that is looked at.
const CURSOR_CHARS_MAX: usize = 256;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most this many rows; 0 and more than [`PAGE_ROWS_MAX`] mean [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// [`Listed::next`] of the page before; absent for the first.
    pub cursor: Option<Cursor>,
}

impl Page {
    pub(crate) fn rows(&self) -> usize {
        if self.limit == 0 { PAGE_ROWS_MAX } else { self.limit.min(PAGE_ROWS_MAX) }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; absent when this is the last.
    pub next: Option<Cursor>,
}

/// A place in a list. Text for clients, who are to give it back unchanged: a number and a word that order the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) number: i64,
    pub(crate) word: String,
}

impl Cursor {
    /// The place of what was made then, milliseconds since 1970, and has this id.
    pub fn at(number: i64, word: impl Into<String>) -> Self {
        Self { number, word: word.into() }
    }

    /// Time and id of its place.
    pub fn place(&self) -> (i64, &str) {
        (self.number, &self.word)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.number.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.word.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        if text.len() > CURSOR_CHARS_MAX {
            return Err(StoreError::BadCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::BadCursor)?;
        let (number, word) = bytes.split_first_chunk::<8>().ok_or(StoreError::BadCursor)?;
        let word = std::str::from_utf8(word).map_err(|_| StoreError::BadCursor)?.to_owned();
        Ok(Self { number: i64::from_be_bytes(*number), word })
    }
}

/// Reads a page of rows that were asked for with one more than `limit`: if that one is there, so is a next page.
pub(crate) fn collect<T>(
    mut rows: Rows<'_>,
    limit: usize,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    place: impl Fn(&T) -> Cursor,
) -> Result<Listed<T>, StoreError> {
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        if items.len() == limit {
            return Ok(Listed { next: items.last().map(place), items });
        }
        items.push(read(row)?);
    }
    Ok(Listed { items, next: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went(number in any::<i64>(), word in ".{0,40}") {
            let cursor = Cursor { number, word };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text in ".{0,300}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
