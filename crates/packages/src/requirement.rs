//! Requirements: `pandas>=2`, `requests[socks]; python_version < "3.12"`. Parsed strictly, and printed from what was parsed: what goes on to an
//! installer is never the caller's text.
//!
//! ```text
//! requirement = name [extras] ["(" versions ")" | versions] [";" marker]        extras = "[" name ("," name)* "]"
//! ```
//! The grammar is PEP 508's (packaging.python.org/en/latest/specifications/dependency-specifiers) without its URLs.

use crate::marker::is_marker;
use crate::name::{self, Name};
use crate::refused::{Refused, Why, shown};
use crate::requirements_txt::{self, Hash};
use crate::version::{Operator, Specifiers};
use crate::{ENTRIES_MAX, ENTRY_BYTES_MAX, EXTRAS_MAX, SPECIFIERS_MAX};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A package that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its distribution.
    pub name: Name,
    /// Its optional parts, at most [`EXTRAS_MAX`].
    pub extras: BTreeSet<Name>,
    /// Which versions will do, at most [`SPECIFIERS_MAX`] conditions.
    pub specifiers: Specifiers,
    /// In which environments it is asked for, as it was written; the grammar is right and all of it is printable ASCII.
    pub marker: Option<String>,
    /// What its file may hash to; none is any file. At most [`crate::HASHES_MAX`].
    pub hashes: BTreeSet<Hash>,
}

impl Requirement {
    /// Any version of a distribution.
    pub fn any(name: Name) -> Self {
        Self {
            name,
            extras: BTreeSet::new(),
            specifiers: Specifiers::default(),
            marker: None,
            hashes: BTreeSet::new(),
        }
    }
}

/// As an installer takes it, in one line: names normalized, extras sorted, no space around what it consists of.
impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}", self.name)?;
        for (at, extra) in self.extras.iter().enumerate() {
            write!(out, "{}{extra}", if at == 0 { "[" } else { "," })?;
        }
        out.write_str(if self.extras.is_empty() { "" } else { "]" })?;
        write!(out, "{}", self.specifiers)?;
        self.marker.as_ref().map_or(Ok(()), |marker| write!(out, " ; {marker}"))?;
        self.hashes.iter().try_for_each(|hash| write!(out, " --hash={hash}"))
    }
}

/// Reads `packages` of a request: at most [`ENTRIES_MAX`] requirements, each with the hashes that its file may have, as a line of
/// `requirements.txt` says them (`six==1.17.0 --hash=sha256:…`). Fails with the first entry that is none.
pub fn parse_list<T: AsRef<str>>(entries: &[T]) -> Result<Vec<Requirement>, Refused> {
    if entries.len() > ENTRIES_MAX {
        return Err(Refused::new("packages", Why::TooMuch { what: "entries", max: ENTRIES_MAX }));
    }
    entries.iter().map(|entry| requirements_txt::entry(entry.as_ref())).collect()
}

impl FromStr for Requirement {
    type Err = Refused;

    /// Reads one requirement of at most [`ENTRY_BYTES_MAX`] bytes. Direct URLs, paths, addresses of version control, editable installations and
    /// options are refused by these names.
    fn from_str(entry: &str) -> Result<Self, Refused> {
        let refuse = |why| Err(Refused::new(entry, why));
        if entry.len() > ENTRY_BYTES_MAX {
            return refuse(Why::TooMuch { what: "bytes", max: ENTRY_BYTES_MAX });
        }
        let text = entry.trim_matches([' ', '\t']);
        if text.is_empty() {
            return refuse(Why::Empty);
        }
        read(text).or_else(|why| refuse(foreign(text).unwrap_or(why)))
    }
}

fn read(text: &str) -> Result<Requirement, Why> {
    let (text, marker) = match text.split_once(';') {
        Some((text, marker)) => (text, Some(marker.trim_matches([' ', '\t']))),
        None => (text, None),
    };
    let (name, rest) = text.split_at(name::prefix(text));
    let name: Name = name.parse().map_err(|refused: Refused| refused.why)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (extras, rest) = extras(rest)?;
    let specifiers = specifiers(rest.trim_matches([' ', '\t']))?;
    if !marker.is_none_or(is_marker) {
        return Err(Why::Marker);
    }
    Ok(Requirement { name, extras, specifiers, marker: marker.map(str::to_owned), hashes: BTreeSet::new() })
}

fn extras(text: &str) -> Result<(BTreeSet<Name>, &str), Why> {
    let Some(inside) = text.strip_prefix('[') else { return Ok((BTreeSet::new(), text)) };
    let (inside, rest) = inside.split_once(']').ok_or(Why::Extras)?;
    let inside = inside.trim_matches([' ', '\t']);
    if inside.is_empty() {
        return Ok((BTreeSet::new(), rest));
    }
    let names: Vec<&str> = inside.split(',').take(EXTRAS_MAX + 1).collect();
    if names.len() > EXTRAS_MAX {
        return Err(Why::TooMuch { what: "extras", max: EXTRAS_MAX });
    }
    let names = names.iter().map(|name| name.trim_matches([' ', '\t']).parse().map_err(|_| Why::Extras));
    Ok((names.collect::<Result<_, _>>()?, rest))
}

fn specifiers(text: &str) -> Result<Specifiers, Why> {
    let bare = match text.strip_prefix('(') {
        Some(inside) => inside.strip_suffix(')').ok_or_else(|| version(text))?,
        None => text,
    };
    if bare.matches(',').count() >= SPECIFIERS_MAX {
        return Err(Why::TooMuch { what: "version conditions", max: SPECIFIERS_MAX });
    }
    bare.parse().map_err(|_| version(text))
}

/// A version that is none, as far as a message shows it.
pub(crate) fn version(text: &str) -> Why {
    Why::Version(shown(text, 40))
}

/// What an entry is that is not a requirement of ours, if it is something an installer would take.
fn foreign(text: &str) -> Option<Why> {
    let lower = text.to_ascii_lowercase();
    if let Some(option) = lower.split_whitespace().find(|word| word.starts_with('-')) {
        let name = option.split('=').next().unwrap_or_default();
        // `-r file` and `-rfile` alike.
        let name = if name.starts_with("--") { name } else { name.get(..2).unwrap_or("-") };
        if lower.starts_with('-') || name.starts_with("--") {
            let name = shown(name, 40);
            return Some(if name == "-e" || name == "--editable" {
                Why::Editable
            } else {
                Why::Option(name)
            });
        }
    }
    let address = lower.split_once('@').map_or(&lower[..], |(_, address)| address).trim();
    if ["git", "hg", "svn", "bzr"].iter().any(|tool| is_scheme(address, tool) || is_scheme(&lower, tool)) {
        return Some(Why::Vcs);
    }
    let before_versions = lower.find(['=', '<', '>', '!', '~', ';']).map_or(&lower[..], |at| &lower[..at]);
    if lower.contains("://") || is_scheme(address, "file") || before_versions.contains('@') {
        return Some(Why::Url);
    }
    let is_path = text.starts_with(['.', '/', '~', '\\'])
        || before_versions.contains(['/', '\\'])
        || text.get(1..3).is_some_and(|drive| drive == ":\\" || drive == ":/");
    is_path.then_some(Why::Path)
}

fn is_scheme(text: &str, scheme: &str) -> bool {
    text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with([':', '+']))
}

/// The one version that a requirement is pinned to: a single `==` without `.*`.
pub(crate) fn pin(requirement: &Requirement) -> Option<&crate::version::Version> {
    match &requirement.specifiers.0[..] {
        [one] if one.operator == Operator::Equal && !one.prefix => one.version.as_ref(),
        _ => None,
    }
}
