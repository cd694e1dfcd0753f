//! It does not break honest code: the same work inside the sandbox and outside, and each difference is in `differences.toml`.
//!
//! The work is done by scripts of this directory that print one line of JSON for each item: its id, its outcome, and a detail for
//! the reader. Outside means an ordinary user of this machine, in a fresh directory of the same name, with the same environment.

mod node;
mod python;
mod shell;
mod sides;

use serde::Deserialize;
use std::collections::BTreeMap;

/// What became of one test, line or script.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Item {
    id: String,
    /// All that must be equal.
    outcome: String,
    /// What helps to understand it.
    #[serde(default)]
    detail: String,
}

/// What became of everything on one side. Doctests share names, so that a name may have several outcomes.
#[derive(Debug, Default)]
struct Outcomes(BTreeMap<String, Vec<Item>>);

impl Outcomes {
    /// Reads what a script printed.
    fn parse(text: &str) -> Self {
        let mut outcomes = Self::default();
        for line in text.lines() {
            let item: Item = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            outcomes.0.entry(item.id.clone()).or_default().push(item);
        }
        outcomes
    }

    /// How many items had this outcome.
    fn count(&self, outcome: &str) -> usize {
        self.0.values().flatten().filter(|item| item.outcome == outcome).count()
    }

    fn of(&self, id: &str) -> Vec<&str> {
        let items = self.0.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut outcomes: Vec<&str> = items.iter().map(|item| item.outcome.as_str()).collect();
        outcomes.sort_unstable();
        outcomes
    }

    /// The item's outcomes for a reader.
    fn tell(&self, id: &str) -> String {
        let items = self.0.get(id).map(Vec::as_slice).unwrap_or_default();
        let told: Vec<String> =
            items.iter().map(|item| format!("{} {}", item.outcome, item.detail)).collect();
        if told.is_empty() { "absent".into() } else { told.join(", ") }
    }
}

/// The ids whose outcomes differ between the sides.
fn differing(outside: &Outcomes, inside: &Outcomes) -> Vec<String> {
    let mut ids: Vec<&String> = outside.0.keys().chain(inside.0.keys()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter(|id| outside.of(id) != inside.of(id)).cloned().collect()
}

/// The patterns of one section of `differences.toml`, each with its reason.
fn listed(section: &str) -> Vec<(String, String)> {
    let (mut patterns, mut current) = (Vec::new(), "");
    for line in
        include_str!("differences.toml").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = name;
            continue;
        }
        // The file keeps to this much of TOML.
        let pair = line
            .split_once("' = \"")
            .and_then(|(id, reason)| Some((id.strip_prefix('\'')?, reason.strip_suffix('"')?)));
        let (id, reason) = pair.unwrap_or_else(|| panic!("not `'id' = \"reason\"`: {line}"));
        if current == section {
            patterns.push((id.to_owned(), reason.to_owned()));
        }
    }
    patterns
}

/// Says whether a pattern, in which `*` stands for anything, is all of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            after.is_empty() || rest.char_indices().any(|(at, _)| matches(after, &rest[at..]))
        }),
    }
}

/// Those of `differing` that no pattern of the section explains.
fn unexplained(section: &str, differing: Vec<String>) -> Vec<String> {
    let patterns = listed(section);
    let known = |id: &String| patterns.iter().any(|(pattern, _)| matches(pattern, id));
    differing.into_iter().filter(|id| !known(id)).collect()
}

/// Fails with what differs, unless nothing does.
fn assert_explained(section: &str, left: &[String], outside: &Outcomes, inside: &Outcomes) {
    let told: Vec<String> = left
        .iter()
        .map(|id| format!("{id}\n  outside: {}\n  inside:  {}", outside.tell(id), inside.tell(id)))
        .collect();
    assert!(
        told.is_empty(),
        "{} differences are not in differences.toml [{section}]:\n{}",
        told.len(),
        told.join("\n")
    );
}

#[test]
fn a_star_is_anything() {
    assert!(matches("a", "a") && matches("a*", "abc") && matches("*c", "abc") && matches("a*c*", "abcd"));
    assert!(!matches("a", "ab") && !matches("a*d", "abc") && !matches("*x*", "abc"));
}

#[test]
fn every_difference_has_a_reason() {
    let sections = ["python", "shell", "node", "javascript"];
    let pairs: Vec<(String, String)> = sections.into_iter().flat_map(listed).collect();
    let lines = include_str!("differences.toml").lines().filter(|line| line.starts_with('\'')).count();
    assert_eq!(pairs.len(), lines, "a section that no test reads");
    assert!(pairs.iter().all(|(_, reason)| reason.len() > 10));
}
