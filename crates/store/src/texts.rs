//! Texts of runs as columns: short ones as they are, long ones compressed.
//!
//! What hostile code prints is long and dull: a megabyte of NULs is six of JSON, twice, and every other run's commit waits while
//! that is written. Compressed (LZ4, by the thread of the caller) it is a few kilobytes.

use crate::StoreError;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// Shorter texts are kept as they are: to compress them saves no page.
const SHORT_BYTES: usize = 8 << 10;
/// Bytes before a compressed text: its length (`lz4_flex::compress_prepend_size`).
const LENGTH_BYTES: usize = 4;

/// A text on its way into a column of type ANY.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// As it is.
    Plain(String),
    /// Compressed.
    Packed(Vec<u8>),
}

impl Text {
    /// The shorter of both forms, if it is long at all.
    pub fn of(text: String) -> Self {
        if text.len() < SHORT_BYTES || u32::try_from(text.len()).is_err() {
            return Self::Plain(text);
        }
        let packed = lz4_flex::compress_prepend_size(text.as_bytes());
        if packed.len() < text.len() { Self::Packed(packed) } else { Self::Plain(text) }
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Plain(text) => ValueRef::Text(text.as_bytes()),
            Self::Packed(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Reads a column that [`Text`] wrote, of at most `max` bytes; `None` for NULL.
pub(crate) fn unpack(column: ValueRef<'_>, what: &str, max: usize) -> Result<Option<String>, StoreError> {
    let damaged = || StoreError::damaged(what);
    let bytes = match column {
        ValueRef::Null => return Ok(None),
        ValueRef::Text(bytes) => bytes.to_vec(),
        ValueRef::Blob(packed) => {
            let length = packed.first_chunk::<LENGTH_BYTES>().ok_or_else(damaged)?;
            // So much memory is asked for at once: a damaged row may say anything.
            if u32::from_le_bytes(*length) as usize > max {
                return Err(damaged());
            }
            lz4_flex::decompress_size_prepended(packed).map_err(|_| damaged())?
        }
        _ => return Err(damaged()),
    };
    String::from_utf8(bytes).map(Some).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(text: &Text) -> ValueRef<'_> {
        match text {
            Text::Plain(text) => ValueRef::Text(text.as_bytes()),
            Text::Packed(bytes) => ValueRef::Blob(bytes),
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(piece in ".{0,40}", times in 0usize..2000) {
            let text = piece.repeat(times);
            let kept = Text::of(text.clone());
            prop_assert_eq!(unpack(column(&kept), "test", text.len()).unwrap(), Some(text));
        }

        #[test]
        fn damaged_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // An error, or a text within the bound: never a panic, never more memory than that.
            if let Ok(Some(text)) = unpack(ValueRef::Blob(&bytes), "test", 1000) {
                prop_assert!(text.len() <= 1000);
            }
        }
    }

    #[test]
    fn a_flood_is_kept_in_little_room() {
        let Text::Packed(bytes) = Text::of("\\u0000".repeat(1 << 20)) else { panic!("it is long and dull") };
        assert!(bytes.len() < 64 << 10, "{}", bytes.len());
        assert!(unpack(ValueRef::Blob(&bytes), "test", 1 << 20).is_err(), "longer than it may be");
        assert_eq!(Text::of("short".to_owned()), Text::Plain("short".to_owned()));
    }
}
