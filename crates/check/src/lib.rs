//! Static findings over Python, JavaScript, TypeScript and shell: advice on top of isolation, never the wall.
//!
//! [`check`] reads a program into [`facts::Facts`] with a real parser (`python.rs`, `javascript.rs`, `shell.rs`), and rules look at
//! these facts (`rules/`). What each rule is for, how much it weighs and which words it looks for is data: `policy/check/rules.toml`.
//! Nothing here runs a program, touches a file or the network. Whoever wants to hide from it can; isolation is what holds them.

pub mod agentrun;
pub mod bound;
pub mod commands;
mod decode;
pub mod facts;
mod javascript;
mod parameters;
mod place;
mod python;
mod rules;
pub mod sarif;
mod shell;
#[cfg(test)]
mod tests;
pub mod verdicts;

use bound::Unchecked;
use facts::Facts;
use model::{CheckMode, CheckPolicy, Finding, Language, Severity};
pub use rules::{RULES, Rule};
use std::cmp::Reverse;
use std::collections::HashMap;
use verdicts::Verdicts;

/// What came of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was noticed, in the order of the program; the gravest [`FINDINGS_MAX`] of it.
    pub findings: Vec<Finding>,
    /// Whether the program is refused: a finding has the verdict `deny`.
    pub refused: bool,
    /// What AgentRun would answer instead of running it, under its policy.
    pub message: Option<String>,
}

/// The rule of programs that cannot be read.
const UNCHECKED: &str = "program.unchecked";

/// Most findings of one program.
pub const FINDINGS_MAX: usize = 100;

/// Checks a program under a policy; what that refuses has the verdict `deny`. Otherwise as [`check_by`].
pub fn check(source: &str, language: Language, policy: CheckPolicy) -> Report {
    check_by(source, language, &Verdicts::of_policy(policy))
}

/// Checks a program. Takes time and memory in proportion to its length, and never panics, whatever it is.
pub fn check_by(source: &str, language: Language, verdicts: &Verdicts) -> Report {
    let mut findings = Vec::new();
    if verdicts.loosens(language) {
        findings.push(rules::finding(verdicts::ENFORCED, (Severity::Low, CheckMode::Warn), (1, 1), ""));
    }
    let mut message = None;
    let agentrun = verdicts.of_agentrun(language);
    if agentrun != CheckMode::Off {
        let report = agentrun::report(source, agentrun);
        findings.extend(report.findings);
        message = report.message;
    }
    if verdicts.looks_for_rules(language) {
        let most = FINDINGS_MAX - findings.len();
        findings.extend(by_rules(source, language, verdicts, most));
        // All that come from elsewhere are few, and before.
        findings.sort_by_key(|finding| (finding.line, finding.column));
    }
    let refused = findings.iter().any(|finding| finding.verdict == CheckMode::Deny);
    Report { findings, refused, message }
}

/// What rules of the table notice whose verdict is not `off`, at most so many, in the order of the program.
fn by_rules(source: &str, language: Language, verdicts: &Verdicts, most: usize) -> Vec<Finding> {
    let weights: HashMap<&str, (Severity, CheckMode)> = RULES
        .iter()
        .enumerate()
        .map(|(index, rule)| (&*rule.id, (verdicts.severity(rule), verdicts.of_rule(index, language))))
        .collect();
    let weight = |rule: &str| weights[rule];
    let is_on = |rule: &str| weight(rule).1 != CheckMode::Off;
    let facts = match facts_of(source, language) {
        Ok(facts) => facts,
        Err(_) if !is_on(UNCHECKED) => return Vec::new(),
        Err(unchecked) => {
            return vec![rules::finding(UNCHECKED, weight(UNCHECKED), (1, 1), unchecked.words())];
        }
    };
    let mut found = rules::apply(facts, language);
    found.retain(|(rule, ..)| is_on(rule));
    if found.len() > most {
        // The gravest stay, first of all what denies: a hundred remarks are nothing to hide behind.
        found.sort_by_cached_key(|(rule, ..)| {
            let (severity, verdict) = weight(rule);
            Reverse((verdict, severity))
        });
        found.truncate(most);
        found.sort_by_key(|(_, at, _)| *at);
    }
    let mut lines = Lines::new(source);
    found
        .into_iter()
        .map(|(rule, at, detail)| rules::finding(rule, weight(rule), lines.place(at), &detail))
        .collect()
}

/// Whether a finding of this weight refuses a program.
pub fn refuses(policy: CheckPolicy, severity: Severity) -> bool {
    severity >= if policy == CheckPolicy::Strict { Severity::Medium } else { Severity::High }
}

/// Reads a program, within bounds.
fn facts_of(source: &str, language: Language) -> Result<Facts, Unchecked> {
    if source.len() > bound::SOURCE_BYTES_MAX {
        return Err(Unchecked::TooLong);
    }
    if language != Language::Bash && bound::too_deep(source) {
        return Err(Unchecked::TooDeep);
    }
    match language {
        Language::Python => bound::with_stack(source.len(), || python::read(source)),
        Language::JavaScript => bound::with_stack(source.len(), || javascript::read(source, false)),
        Language::TypeScript => bound::with_stack(source.len(), || javascript::read(source, true)),
        // The grammar's own scanner takes a NUL for the end and never moves on; bash ends there too.
        Language::Bash if source.contains('\0') => Err(Unchecked::GaveUp),
        Language::Bash => shell::read(source),
        _ => Err(Unchecked::NoRules),
    }
}

/// Lines and columns of places in a text, quick for places in order.
struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(source: &'a str) -> Self {
        let ends = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column from 1; a column counts characters.
    fn place(&mut self, at: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let start = self.starts[line - 1];
        let before = self.source.as_bytes().get(start..at).unwrap_or_default();
        // Bytes that continue a character are none of their own. A line of a megabyte is counted as far as it matters to people.
        let column = before.iter().take(10_000).filter(|byte| **byte & 0xC0 != 0x80).count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}
