//! Names of Python distributions, normalized.

use crate::NAME_BYTES_MAX;
use crate::refused::{Refused, Why};
use std::fmt;
use std::str::FromStr;

/// A distribution's name, normalized: lower case, and one `-` for each run of `-`, `_` and `.`
/// (packaging.python.org/en/latest/specifications/name-normalization). At most [`NAME_BYTES_MAX`] bytes, never a path or an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Name(String);

impl Name {
    /// The normalized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Refused;

    /// Reads a name in any spelling; surrounding space is not a part of one.
    fn from_str(text: &str) -> Result<Self, Refused> {
        let length = prefix(text);
        if length == 0 || length != text.len() {
            return Err(Refused::new(text, Why::Name));
        }
        if length > NAME_BYTES_MAX {
            return Err(Refused::new(text, Why::TooMuch { what: "bytes of a name", max: NAME_BYTES_MAX }));
        }
        if is_file(text) {
            return Err(Refused::new(text, Why::Path));
        }
        Ok(Self(normalize(text)))
    }
}

/// How many bytes at the beginning of a text are a name:
/// `[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?` (PEP 508, `identifier`).
pub(crate) fn prefix(text: &str) -> usize {
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        return 0;
    }
    let run = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte)).count();
    // A name ends with a letter or digit; there is one, the first.
    bytes[..run].iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1)
}

/// Lower case, with one `-` for each run of `-`, `_` and `.` (PEP 503).
pub(crate) fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            letter => normal.push(letter.to_ascii_lowercase()),
        }
    }
    normal
}

/// What pip and uv take for a file although it has the form of a name: archives (pip's `ARCHIVE_EXTENSIONS`), and files of requirements, the
/// names of which others have registered.
fn is_file(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let ends = [
        ".whl", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".tlz", ".lz", ".lzma", ".zst",
        ".egg", ".txt", ".toml", ".cfg", ".lock",
    ];
    ends.iter().any(|end| lower.ends_with(end)) || lower == "setup.py"
}
