//! Which distributions a program may have.
//!
//! A list has names and patterns, in which `*` stands for any letters: `requests`, `google-cloud-*`, `*`. What [`Policy::deny`] has is refused
//! whoever asks for it; what is asked for has to be in [`Policy::allow`]. What an allowed package needs comes with it unless it is
//! denied: who allows pandas allows numpy. So a lock is judged by [`Policy::judge_locked`], what was asked for by [`Policy::judge`].
//! Names that imitate others are a finding of the static check, not of this.

use crate::name::{Name, normalize};
use crate::refused::{Refused, Why};
use crate::{ENTRIES_MAX, NAME_BYTES_MAX};
use std::fmt;
use std::str::FromStr;

/// What an operator lets programs have. The default lets them have nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What may be asked for.
    pub allow: List,
    /// What nothing may bring.
    pub deny: List,
}

/// Names and patterns, at most [`ENTRIES_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List(Vec<Pattern>);

/// A name or a pattern with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written: names of npm are compared with it.
    text: String,
    /// Normalized: names of Python are compared with it.
    normal: String,
}

/// Whose names are compared.
#[derive(Debug, Clone, Copy)]
enum Registry {
    Python,
    Npm,
}

/// A package that policy refuses, with the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A rule of the deny-list names it.
    #[error("package {package} is denied by the rule packages.deny = \"{rule}\"")]
    Deny {
        /// Its name.
        package: String,
        /// The entry of the list.
        rule: Pattern,
    },
    /// No rule of the allow-list names it.
    #[error("package {package} is not in the list packages.allow")]
    NotAllowed {
        /// Its name.
        package: String,
    },
}

impl Policy {
    /// Whether a program may ask for a package.
    pub fn judge(&self, name: &Name) -> Result<(), Denied> {
        self.judge_text(name.as_str(), Registry::Python)
    }

    /// Whether a program may ask for a package of npm. Such names are compared letter by letter, with their scope (`@types/*`): there
    /// `lodash.get` and `lodash-get` are two packages.
    pub fn judge_npm(&self, name: &str) -> Result<(), Denied> {
        self.judge_text(name, Registry::Npm)
    }

    /// Whether a package may be in an environment that was resolved from what is allowed.
    pub fn judge_locked(&self, name: &Name) -> Result<(), Denied> {
        self.not_denied(name.as_str(), Registry::Python)
    }

    /// Whether a package of npm may be in an environment that was resolved from what is allowed.
    pub fn judge_locked_npm(&self, name: &str) -> Result<(), Denied> {
        self.not_denied(name, Registry::Npm)
    }

    fn judge_text(&self, name: &str, registry: Registry) -> Result<(), Denied> {
        self.not_denied(name, registry)?;
        match self.allow.rule(name, registry) {
            Some(_) => Ok(()),
            None => Err(Denied::NotAllowed { package: name.to_owned() }),
        }
    }

    fn not_denied(&self, name: &str, registry: Registry) -> Result<(), Denied> {
        match self.deny.rule(name, registry) {
            Some(rule) => Err(Denied::Deny { package: name.to_owned(), rule: rule.clone() }),
            None => Ok(()),
        }
    }
}

impl List {
    /// Reads entries. Fails with the first that is neither a name nor a pattern.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, Refused> {
        if entries.len() > ENTRIES_MAX {
            return Err(Refused::new("the list", Why::TooMuch { what: "entries", max: ENTRIES_MAX }));
        }
        entries.iter().map(|entry| entry.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// The first entry that names a package.
    fn rule(&self, name: &str, registry: Registry) -> Option<&Pattern> {
        self.0.iter().find(|pattern| pattern.covers(name, registry))
    }
}

impl Pattern {
    fn covers(&self, name: &str, registry: Registry) -> bool {
        let pattern = match registry {
            Registry::Python => &self.normal,
            Registry::Npm => &self.text,
        };
        let mut pieces = pattern.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some((_, after)) = rest.split_once(piece) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let text = text.trim();
        let fits = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*@/".contains(&byte));
        if !fits {
            return Err(Refused::new(text, Why::Name));
        }
        Ok(Self { text: text.to_owned(), normal: normalize(text) })
    }
}
