//! Reads the rows of `policy/seccomp/*.toml` and checks them: what the filter shall say, before it is instructions.
//! Runs in the build script and in tests, never in the product; names no crate of the workspace.
//!
//! A condition is `TERM && TERM …`, a term is `argN [& MASK] == VALUE` or `argN [& MASK] in [VALUE, …]`. Values are numbers or names
//! from `[constants]`. Only the low 32 bits of an argument take part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

/// System call numbers by name.
pub type Numbers = BTreeMap<String, u32>;

/// A complete policy: what each number gets, and what all others get.
#[derive(Debug, Clone)]
pub struct Policy {
    pub default: Action,
    pub rules: BTreeMap<u32, Rule>,
}

/// What one call gets: the action of the first case that holds, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub cases: Vec<Case>,
    pub otherwise: Action,
}

/// An action under a condition: all terms hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub terms: Vec<Term>,
    pub action: Action,
}

/// `low32(argN) & mask` is one of `values`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub argument: u8,
    pub mask: u32,
    pub values: Vec<u32>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Allow,
    Errno(u16),
}

/// The errnos a row may name, with their x86_64 values.
pub const ERRNOS: [(&str, u16); 8] = [
    ("EPERM", 1),
    ("EACCES", 13),
    ("EINVAL", 22),
    ("ENOSYS", 38),
    ("ENOPROTOOPT", 92),
    ("EPROTONOSUPPORT", 93),
    ("EOPNOTSUPP", 95),
    ("EAFNOSUPPORT", 97),
];

/// Why a policy file cannot be used. Written out by hand: the build script has no error crate.
#[derive(Debug)]
pub enum PolicyError {
    Syntax(toml::de::Error),
    UnknownCall { row: String, call: String },
    Duplicate { row: String, call: String, first: String },
    NumberTwice { call: String, other: String },
    UnknownAction { row: String, action: String },
    NoReason { row: String },
    Condition { row: String, when: String, problem: String },
    UnusedConstant { name: String },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "{error}"),
            Self::UnknownCall { row, call } => {
                write!(f, "row of `{row}`: no system call is named `{call}` (see syscalls-x86_64.toml)")
            }
            Self::Duplicate { row, call, first } => {
                write!(f, "row of `{row}`: `{call}` stands already in the row of `{first}`")
            }
            Self::NumberTwice { call, other } => write!(f, "`{call}` and `{other}` have the same number"),
            Self::UnknownAction { row, action } => {
                write!(f, "row of `{row}`: action `{action}` is neither \"allow\" nor one of")?;
                ERRNOS.iter().try_for_each(|(name, _)| write!(f, " {name}"))
            }
            Self::NoReason { row } => write!(f, "row of `{row}`: a reason is missing"),
            Self::Condition { row, when, problem } => {
                write!(f, "row of `{row}`: condition `{when}`: {problem}")
            }
            Self::UnusedConstant { name } => write!(f, "constant `{name}` is used by no condition"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumbersFile {
    numbers: Numbers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    default: String,
    #[serde(default)]
    constants: BTreeMap<String, u32>,
    rows: Vec<RowText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowText {
    calls: Vec<String>,
    action: String,
    reason: String,
    #[serde(default)]
    cases: Vec<CaseText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    when: String,
    action: String,
    reason: String,
}

/// Reads the table of system call numbers.
pub fn parse_numbers(text: &str) -> Result<Numbers, PolicyError> {
    let file: NumbersFile = toml::from_str(text).map_err(PolicyError::Syntax)?;
    let mut names = BTreeMap::new();
    for (name, number) in &file.numbers {
        if let Some(other) = names.insert(number, name) {
            return Err(PolicyError::NumberTwice { call: name.clone(), other: other.clone() });
        }
    }
    Ok(file.numbers)
}

impl Policy {
    /// Reads a policy and resolves every name in it.
    pub fn parse(text: &str, numbers: &Numbers) -> Result<Self, PolicyError> {
        let file: PolicyFile = toml::from_str(text).map_err(PolicyError::Syntax)?;
        let mut policy = Self { default: action(&file.default, "default")?, rules: BTreeMap::new() };
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        let mut constants = Constants { values: &file.constants, used: BTreeSet::new() };
        for row in &file.rows {
            let title = row.calls.first().map_or("(no calls)", String::as_str);
            let rule = row.rule(title, &mut constants)?;
            for call in &row.calls {
                let named = |row: &str| (row.to_owned(), call.clone());
                let Some(number) = numbers.get(call) else {
                    let (row, call) = named(title);
                    return Err(PolicyError::UnknownCall { row, call });
                };
                if let Some(first) = owner.insert(call, title) {
                    let (row, call) = named(title);
                    return Err(PolicyError::Duplicate { row, call, first: first.to_owned() });
                }
                policy.rules.insert(*number, rule.clone());
            }
        }
        match file.constants.keys().find(|name| !constants.used.contains(name.as_str())) {
            Some(name) => Err(PolicyError::UnusedConstant { name: name.clone() }),
            None => Ok(policy),
        }
    }

    /// This policy with the rules of another in place of its own for the same calls.
    pub fn replaced_by(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self
    }
}

impl RowText {
    fn rule<'a>(&'a self, title: &str, constants: &mut Constants<'a>) -> Result<Rule, PolicyError> {
        if self.reason.trim().is_empty() || self.cases.iter().any(|case| case.reason.trim().is_empty()) {
            return Err(PolicyError::NoReason { row: title.to_owned() });
        }
        let mut cases = Vec::new();
        for case in &self.cases {
            let terms = condition(&case.when, constants).map_err(|problem| PolicyError::Condition {
                row: title.to_owned(),
                when: case.when.clone(),
                problem,
            })?;
            cases.push(Case { terms, action: action(&case.action, title)? });
        }
        Ok(Rule { cases, otherwise: action(&self.action, title)? })
    }
}

/// The named values of one file, and which of them a condition used.
struct Constants<'a> {
    values: &'a BTreeMap<String, u32>,
    used: BTreeSet<&'a str>,
}

impl<'a> Constants<'a> {
    fn value(&mut self, text: &str) -> Result<u32, String> {
        if let Some((name, value)) = self.values.get_key_value(text) {
            self.used.insert(name);
            return Ok(*value);
        }
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => text.parse(),
        };
        parsed.map_err(|_| format!("`{text}` is neither a constant nor a number of 32 bits"))
    }
}

fn action(text: &str, row: &str) -> Result<Action, PolicyError> {
    if text == "allow" {
        return Ok(Action::Allow);
    }
    match ERRNOS.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(Action::Errno(*value)),
        None => Err(PolicyError::UnknownAction { row: row.to_owned(), action: text.to_owned() }),
    }
}

fn condition(text: &str, constants: &mut Constants<'_>) -> Result<Vec<Term>, String> {
    text.split("&&").map(|part| term(part.trim(), constants)).collect()
}

fn term(text: &str, constants: &mut Constants<'_>) -> Result<Term, String> {
    let (left, values) = match (text.split_once(" == "), text.split_once(" in ")) {
        (Some((left, value)), None) => (left, vec![constants.value(value.trim())?]),
        (None, Some((left, list))) => (left, list_of_values(list.trim(), constants)?),
        _ => return Err(format!("`{text}` is neither `… == VALUE` nor `… in [VALUE, …]`")),
    };
    let (name, mask) = match left.split_once('&') {
        Some((name, mask)) => (name.trim(), constants.value(mask.trim())?),
        None => (left.trim(), u32::MAX),
    };
    let argument = match name.strip_prefix("arg").map(str::parse) {
        Some(Ok(argument @ 0..=5)) => argument,
        _ => return Err(format!("`{name}` is not one of arg0 to arg5")),
    };
    match values.iter().find(|value| **value & !mask != 0) {
        Some(value) => Err(format!("{value:#x} has bits outside the mask {mask:#x} and can never match")),
        None => Ok(Term { argument, mask, values }),
    }
}

fn list_of_values(text: &str, constants: &mut Constants<'_>) -> Result<Vec<u32>, String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("`{text}` is not a list in brackets"))?;
    let mut values = Vec::new();
    for part in inner.split(',') {
        let value = constants.value(part.trim())?;
        if values.contains(&value) {
            return Err(format!("`{}` is listed twice", part.trim()));
        }
        values.push(value);
    }
    Ok(values)
}
