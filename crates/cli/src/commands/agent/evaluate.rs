//! `fireclay eval`: questions with what is expected → answers → verdicts, each by a checker in a sandbox of its own.

use super::many::{Item, Lines, Many, Sum, bar, items};
use super::show::Show;
use super::{Asking, NO_ANSWER, STOPPED};
use crate::args::{EvalArguments, Level};
use crate::commands::run::{read_text, unreadable};
use crate::env::Settings;
use agent::{Program, Spent, Workbench};
use model::{Language, Outcome, Rejection};
use serde_json::{Value, json};
use std::fs::File;
use std::time::Duration;

/// How long a checker may take.
const CHECK: Duration = Duration::from_secs(60);
/// Most characters of a reason.
const REASON: usize = 500;

/// Judges answers to the questions of a dataset; answers the exit code.
pub fn evaluate(arguments: &EvalArguments, settings: &Settings) -> anyhow::Result<u8> {
    let mut items = items(&arguments.dataset)?;
    if let Some(path) = &arguments.checker {
        let name = path.display().to_string();
        let common =
            read_text(File::open(path).map_err(|error| unreadable("--checker", &name, &error))?, &name)?;
        items.iter_mut().for_each(|item| {
            item.checker.get_or_insert_with(|| common.clone());
        });
    }
    if let Some(at) =
        items.iter().position(|item| item.checker.is_none() && text_of(&item.expected).trim().is_empty())
    {
        let message = format!("question {} has neither an expected answer nor a checker", at + 1);
        return Err(
            Rejection::new("DATASET", message, "say \"expected\" or \"checker\", or --checker").into()
        );
    }
    let asking = Asking::of(&arguments.task, false, settings)?;
    let mut lines = Lines::create(arguments.output.as_deref())?;
    let many = Many::begin(&asking, settings)?;
    let show = Show::new(&arguments.task, settings, asking.chosen.redactor.clone());
    let bar = bar(items.len(), settings);
    let (mut tally, mut sum) = (Tally::default(), Sum::nothing());
    let all = many.each(
        items.len(),
        arguments.jobs,
        |index| judge(&many, index, &items[index]),
        |(verdict, spent)| {
            lines.write(&verdict)?;
            tally.take(&verdict);
            sum.add(&spent);
            bar.inc(1);
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    let Tally { passed, failed, unanswered, faults } = tally;
    let count = items.len();
    let rate = passed as f64 / count as f64;
    show.note(&format!(
        "{passed} of {count} passed ({:.1} %), {failed} failed, {unanswered} not answered, {faults} not judged; {}",
        rate * 100.0,
        sum.words()
    ));
    if !all {
        show.say(Level::Error, "stopped");
        return Ok(STOPPED);
    }
    Ok(if faults == 0 && rate >= arguments.min_pass_rate { 0 } else { NO_ANSWER })
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    unanswered: usize,
    faults: usize,
}

impl Tally {
    fn take(&mut self, verdict: &Value) {
        match (&verdict["passed"], verdict["outcome"].as_str()) {
            (Value::Bool(true), _) => self.passed += 1,
            (Value::Bool(false), Some("answered")) => self.failed += 1,
            (Value::Bool(false), _) => self.unanswered += 1,
            _ => self.faults += 1,
        }
    }
}

/// Has a question answered and the answer judged: the report of the answer, with `passed` (null if nobody could judge it) and `reason`.
fn judge(many: &Many<'_>, index: usize, item: &Item) -> anyhow::Result<(Value, Spent)> {
    let done = many.answer(index, item, None)?;
    let mut report = done.report;
    let (passed, reason) = match (report["answer"].as_str(), &item.checker) {
        (None, _) => (Some(false), "there is no answer".to_owned()),
        (Some(answer), Some(checker)) => check(many, item, answer, checker)?,
        (Some(answer), None) => {
            let expected = text_of(&item.expected);
            let has = has_words(answer, expected.trim());
            (
                Some(has),
                if has { String::new() } else { format!("{:?} is not in the answer", expected.trim()) },
            )
        }
    };
    report["passed"] = passed.map_or(Value::Null, Value::Bool);
    report["reason"] = reason.into();
    report["expected"] = item.expected.clone();
    Ok((report, done.spent))
}

/// Runs a checker. What it does not come to judge has no verdict.
fn check(
    many: &Many<'_>,
    item: &Item,
    answer: &str,
    checker: &str,
) -> anyhow::Result<(Option<bool>, String)> {
    let stdin = json!({"input": item.input, "expected": item.expected, "answer": answer}).to_string();
    let program = Program {
        language: Language::Python,
        code: checker.to_owned(),
        stdin: Some(stdin),
        packages: Vec::new(),
    };
    let mut bench = many.bench()?;
    let run = match bench.run_fresh(&program, CHECK) {
        Ok(run) => run,
        Err(error) => return Ok((None, format!("the checker did not run: {error}"))),
    };
    let said = run.stdout.lines().chain(run.stderr.lines()).rfind(|line| !line.trim().is_empty());
    let said: String = run
        .stdout
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .or(said)
        .unwrap_or_default()
        .chars()
        .take(REASON)
        .collect();
    Ok(match run.outcome {
        Some(Outcome::Completed) => (Some(true), said),
        Some(Outcome::Failed) => (Some(false), said),
        Some(other) => (None, format!("the checker ended as {other}: {said}")),
        None => (None, "the checker did not run: the sandbox failed".to_owned()),
    })
}

/// A text as it is, anything else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether `words` are in `text`, not as parts of longer words or numbers.
fn has_words(text: &str, words: &str) -> bool {
    let (text, words) = (text.to_lowercase(), words.to_lowercase());
    let longer = |neighbour: Option<char>, end: Option<char>| {
        neighbour.is_some_and(char::is_alphanumeric) && end.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(&words).any(|(at, found)| {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        // A number goes on after a point or a comma, and a sentence does not.
        let mut next = after.chars();
        let goes_on =
            matches!(next.next(), Some('.' | ',')) && next.next().is_some_and(|c| c.is_ascii_digit());
        let is_number = found.chars().next_back().is_some_and(|c| c.is_ascii_digit());
        let mut previous = before.chars().rev();
        let came = matches!(previous.next(), Some('.' | ',' | '-'))
            && found.starts_with(|c: char| c.is_ascii_digit());
        let came = came && (before.ends_with('-') || previous.next().is_some_and(|c| c.is_ascii_digit()));
        !(longer(before.chars().next_back(), found.chars().next())
            || longer(after.chars().next(), found.chars().next_back())
            || goes_on && is_number
            || came)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole() {
        for (text, words, found) in [
            ("The sum is 5050.", "5050", true),
            ("5,050", "5050", false),
            ("It is 15050.", "5050", false),
            ("It is 5050.5", "5050", false),
            ("It is 5050, I think", "5050", true),
            ("It is -5", "5", false),
            ("3.14", "14", false),
            ("Paris", "paris", true),
            ("Parisian", "Paris", false),
            ("new york city", "New York", true),
            ("the answer: [1, 2]", "[1, 2]", true),
            ("überall", "all", false),
        ] {
            assert_eq!(has_words(text, words), found, "{words:?} in {text:?}");
        }
        assert_eq!(text_of(&json!([1, 2])), "[1,2]");
    }
}
