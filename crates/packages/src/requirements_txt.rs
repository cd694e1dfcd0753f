//! `requirements.txt`: one requirement on each line, comments, continued lines, and hashes.
//!
//! The form is pip's (pip.pypa.io/en/stable/reference/requirements-file-format, and `pip/_internal/req/req_file.py` for what a continuation
//! is). Of its options only `--hash` is kept; the others are refused by name, since they say where packages come from, or read other files.

use crate::refused::{Refused, Why, shown};
use crate::requirement::Requirement;
use crate::{ENTRIES_MAX, FILE_BYTES_MAX, HASHES_MAX};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One requirement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is asked for, with the hashes that its line names.
    pub requirement: Requirement,
    /// Where it begins, from 1.
    pub line: usize,
}

/// A digest of a file of a release, as `--hash` takes it: `sha256:` and lower-case hexadecimal digits. Weaker functions are none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(String);

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Hash {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let known = [("sha256:", 64), ("sha384:", 96), ("sha512:", 128)];
        let digits = known.iter().find_map(|(function, length)| {
            text.strip_prefix(function).filter(|digits| digits.len() == *length)
        });
        match digits {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(Refused::new(text, Why::Hash)),
        }
    }
}

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes and [`ENTRIES_MAX`] requirements. Fails with the first line that is not accepted.
pub fn parse(text: &str) -> Result<Vec<Entry>, Refused> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Refused::new("the file", Why::TooMuch { what: "bytes", max: FILE_BYTES_MAX }));
    }
    let mut entries = Vec::new();
    for (line, text) in logical_lines(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let text = without_comment(&text).trim();
        if text.is_empty() {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Err(Refused::new(text, Why::TooMuch { what: "entries", max: ENTRIES_MAX }).at(line));
        }
        let requirement = entry(text).map_err(|refused| refused.at(line))?;
        entries.push(Entry { requirement, line });
    }
    Ok(entries)
}

/// Lines with their continuations, and where each begins. A comment is not continued; it ends what it continues.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let is_comment = line.trim_start().starts_with('#');
        let continued = line.strip_suffix('\\').filter(|_| without_comment(line).len() == line.len());
        let (_, joined) = open.get_or_insert_with(|| (at + 1, String::new()));
        // A comment after a continuation begins with space, so that it is one (pip's `join_lines`).
        joined.push_str(if is_comment { " " } else { "" });
        joined.push_str(continued.unwrap_or(line));
        if continued.is_none() {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    lines
}

/// A line without what follows a `#` that begins it or comes after space (pip's `COMMENT_RE`).
fn without_comment(line: &str) -> &str {
    let starts = line.match_indices('#').map(|(at, _)| at);
    let end = starts.into_iter().find(|at| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
    end.map_or(line, |end| &line[..end])
}

/// Reads one requirement and the hashes that follow it, at most [`HASHES_MAX`].
pub(crate) fn entry(text: &str) -> Result<Requirement, Refused> {
    // Options come last, after space.
    let option = text.match_indices("--").map(|(at, _)| at).find(|at| text[..*at].ends_with([' ', '\t']));
    let (requirement, options) = text.split_at(option.unwrap_or(text.len()));
    let mut requirement: Requirement = requirement.parse()?;
    let mut hashes = BTreeSet::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let hash = match word.strip_prefix("--hash") {
            Some("") => words.next().unwrap_or_default(),
            Some(value) if value.starts_with('=') => &value[1..],
            _ => {
                let name = word.split('=').next().unwrap_or_default();
                return Err(Refused::new(text, Why::Option(shown(name, 40))));
            }
        };
        hashes.insert(hash.parse()?);
        if hashes.len() > HASHES_MAX {
            return Err(Refused::new(text, Why::TooMuch { what: "hashes", max: HASHES_MAX }));
        }
    }
    requirement.hashes = hashes;
    Ok(requirement)
}
