//! The report as a table for people.

use super::Verdict;
use super::check::{Check, Severity};
use std::fmt::Write as _;

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "1;31";
const BOLD: &str = "1";

/// Widths of the columns: mark, check, have. A longer text pushes the rest of its line.
const MARK: usize = 5;
const TITLE: usize = 32;
const HAVE: usize = 48;
/// Where the column of what there is begins.
const START: usize = MARK + TITLE + 4;

/// All checks, grouped; those that are not as they should be with what follows and what to do.
pub fn text(checks: &[Check], color: bool) -> String {
    let mut text = String::new();
    let mut group = None;
    for check in checks {
        if group != Some(check.group) {
            let gap = if group.is_some() { "\n" } else { "" };
            let heading = format!("{:<width$}", check.group.title(), width = START);
            writeln!(text, "{gap}{}{:<HAVE$}  NEED", paint(&heading, BOLD, color), "HAVE")
                .expect("a String takes all");
            group = Some(check.group);
        }
        let (mark, paint_as) = mark(check);
        let mark = paint(&format!("{mark:<MARK$}"), paint_as, color);
        // A text too long for its column has the line to itself.
        let gap = if check.have.chars().count() > HAVE { format!("\n{:START$}", "") } else { String::new() };
        let have = if gap.is_empty() {
            format!("{:<HAVE$}", check.have)
        } else {
            format!("{}{gap}{:HAVE$}", check.have, "")
        };
        writeln!(text, "  {mark}{:<TITLE$}  {have}  {}", check.title, check.need)
            .expect("a String takes all");
        if let Some(fix) = &check.fix {
            let indent = " ".repeat(MARK + 4);
            writeln!(text, "{indent}consequence  {}", check.consequence).expect("a String takes all");
            writeln!(text, "{indent}fix          {fix}").expect("a String takes all");
        }
    }
    text
}

/// The last line: one word for the level.
pub fn verdict(level: &str, verdict: Verdict, color: bool) -> String {
    let (word, paint_as) = match verdict {
        Verdict::Ready => ("ready", GREEN),
        Verdict::Degraded => ("degraded", YELLOW),
        Verdict::Refused => ("refused", RED),
    };
    format!("\n{level}: {}", paint(word, paint_as, color))
}

fn mark(check: &Check) -> (&'static str, &'static str) {
    match (check.ok, check.severity) {
        (true, _) => ("ok", GREEN),
        (false, _) if check.fix.is_none() => ("-", YELLOW),
        (false, Severity::Required) => ("NO", RED),
        (false, Severity::Degrading) => ("lack", YELLOW),
        (false, Severity::Advice) => ("tip", YELLOW),
    }
}

fn paint(text: &str, code: &str, color: bool) -> String {
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
