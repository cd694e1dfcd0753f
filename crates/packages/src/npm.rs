//! Packages of npm: their names, and which versions will do.
//!
//! Names are those of github.com/npm/validate-npm-package-name, with capitals, which old packages have. Ranges are those of
//! github.com/npm/node-semver ("Range Grammar"), or a tag such as `latest`. Everything else that npm takes for a package
//! (docs.npmjs.com/cli/v11/configuring-npm/package-json#dependencies: URLs, git, files, aliases, workspaces) is refused by name.

use crate::refused::{Refused, Why, shown};
use crate::requirement::version;
use crate::{ENTRIES_MAX, ENTRY_BYTES_MAX};
use std::fmt;
use std::str::FromStr;

/// Longest name, with its scope (validate-npm-package-name).
const NAME_BYTES_MAX: usize = 214;

/// A package of npm that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// Its name, with its scope: `@types/node`.
    pub name: String,
    /// Which versions will do: a range or a tag, as it was written; `*` if nothing was said.
    pub range: String,
}

/// As npm takes it: one argument, which may hold spaces, `<`, `>` and `|`, so not a word for a shell.
impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}@{}", self.name, self.range)
    }
}

impl FromStr for Requirement {
    type Err = Refused;

    /// Reads `name`, `name@range` or `@scope/name@range`.
    fn from_str(entry: &str) -> Result<Self, Refused> {
        let text = entry.trim();
        let scope = usize::from(text.starts_with('@'));
        let at = text[scope..].find('@').map_or(text.len(), |at| at + scope);
        let (name, range) = (&text[..at], text.get(at + 1..).unwrap_or("*"));
        requirement(name, if range.is_empty() { "*" } else { range })
            .map_err(|refused| Refused::new(entry, refused.why))
    }
}

/// Reads `packages` of a request for JavaScript: at most [`ENTRIES_MAX`].
pub fn parse_list<T: AsRef<str>>(entries: &[T]) -> Result<Vec<Requirement>, Refused> {
    if entries.len() > ENTRIES_MAX {
        return Err(Refused::new("packages", Why::TooMuch { what: "entries", max: ENTRIES_MAX }));
    }
    entries.iter().map(|entry| entry.as_ref().parse()).collect()
}

/// A requirement of a name and a range.
pub(crate) fn requirement(name: &str, range: &str) -> Result<Requirement, Refused> {
    let entry = format!("{name}@{range}");
    let refuse = |why| Err(Refused::new(&entry, why));
    if entry.len() > ENTRY_BYTES_MAX {
        return refuse(Why::TooMuch { what: "bytes", max: ENTRY_BYTES_MAX });
    }
    if name.is_empty() {
        return refuse(Why::Empty);
    }
    if !is_name(name) {
        return refuse(foreign(name).unwrap_or(Why::Name));
    }
    let range = range.trim();
    if !is_range(range) && !is_tag(range) {
        return refuse(foreign(range).unwrap_or_else(|| version(range)));
    }
    Ok(Requirement { name: name.to_owned(), range: if range.is_empty() { "*" } else { range }.to_owned() })
}

/// Whether a text is a package's name, with or without a scope.
pub fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '-' || first == '~')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    let is_option_or_file = name.starts_with('-')
        || [".tgz", ".tar", ".tar.gz"].iter().any(|end| name.to_ascii_lowercase().ends_with(end))
        || matches!(name.to_ascii_lowercase().as_str(), "node_modules" | "favicon.ico");
    let fits = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(name),
    };
    name.len() <= NAME_BYTES_MAX && fits && !is_option_or_file
}

/// What npm would take for a place, and not for a name or a range.
fn foreign(text: &str) -> Option<Why> {
    let lower = text.to_ascii_lowercase();
    let begins = |schemes: &[&str]| schemes.iter().any(|scheme| lower.starts_with(scheme));
    if lower.starts_with('-') {
        return Some(Why::Option(shown(&lower, 40)));
    }
    if begins(&["git+", "git:", "git@", "github:", "gitlab:", "bitbucket:", "gist:", "ssh:"]) {
        return Some(Why::Vcs);
    }
    if begins(&["npm:"]) {
        return Some(Why::Alias);
    }
    if lower.contains("://") || begins(&["http:", "https:"]) {
        return Some(Why::Url);
    }
    let is_path =
        begins(&["file:", "link:", "portal:", "workspace:", "catalog:", "patch:", ".", "/", "~/", "\\"])
            || [".tgz", ".tar", ".tar.gz"].iter().any(|end| lower.ends_with(end));
    if is_path {
        return Some(Why::Path);
    }
    // What is left with a slash is `user/repository` of GitHub.
    (!lower.starts_with('@') && lower.contains('/')).then_some(Why::Vcs)
}

/// A tag: a word that could not be a version.
fn is_tag(text: &str) -> bool {
    let is_version = |text: &str| {
        let rest = text.strip_prefix('v').unwrap_or(text);
        rest.starts_with(|first: char| first.is_ascii_digit())
    };
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !is_version(text)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && foreign(text).is_none()
}

/// `range-set = range ("||" range)*`, where a range is a hyphen range, comparators between spaces, or nothing.
fn is_range(text: &str) -> bool {
    text.split("||").all(|range| {
        let words: Vec<&str> = range.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [from, "-", to] => is_partial(from) && is_partial(to),
            _ => comparators(&words),
        }
    })
}

/// `>=1.2 <2`, `^1`, `> 1`: an operator may stand apart from its version.
fn comparators(words: &[&str]) -> bool {
    let mut after_operator = false;
    for word in words {
        let version = word.trim_start_matches(['<', '>', '=', '^', '~']);
        let operator = &word[..word.len() - version.len()];
        if !matches!(operator, "" | "<" | ">" | "<=" | ">=" | "=" | "^" | "~" | "~>")
            || (after_operator && !operator.is_empty())
        {
            return false;
        }
        after_operator = version.is_empty();
        if !after_operator && !is_partial(version) {
            return false;
        }
    }
    !after_operator
}

/// `1`, `1.x`, `v1.2.3-beta.1+build`: at most three numbers or `x`, then identifiers of a pre-release and a build.
fn is_partial(text: &str) -> bool {
    let text = text.trim_start_matches(['v', '=']);
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| {
        matches!(*part, "x" | "X" | "*")
            || (!part.is_empty() && part.len() <= 16 && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let identifiers = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let full = numbers.len() == 3;
    numbers.len() <= 3
        && numbers.iter().all(is_number)
        && pre.is_none_or(|pre| full && identifiers(pre))
        && build.is_none_or(|build| full && identifiers(build))
}
