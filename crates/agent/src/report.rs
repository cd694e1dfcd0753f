//! A run as a model is told of it: bounded text with labels that say where each part is from.

use crate::bounded::{OUTPUT_BYTES_MAX, for_model};
use crate::mark::Mark;
use crate::secret::Redactor;
use model::{Outcome, RunResult};
use serde_json::Value;

/// Most names of files that are told.
const FILES_MAX: usize = 32;

/// What is told of a run: a model with a mark in each label, since a program can print lines that look like ours; a person without.
/// What has the form of a credential is left out before the text is cut, so that no part of one is left.
pub fn of_run(run: &RunResult, redactor: &Redactor, mark: Option<&Mark>) -> String {
    let labelled = |label: &str| mark.map_or_else(|| format!("[{label}]"), |mark| mark.label(label));
    let mut parts = Vec::new();
    let mut part = |label: &str, text: &str| {
        if !text.is_empty() {
            let text = redactor.redact_output(text.trim_end_matches('\n'));
            parts.push(format!("{}\n{}", labelled(label), for_model(&text, OUTPUT_BYTES_MAX)));
        }
    };
    part("stdout", &run.stdout);
    part("stderr", &run.stderr);
    let value = run.result.as_ref().and_then(|bundle| bundle.get("text/plain")?.as_str());
    part("value of the last expression", value.unwrap_or_default());
    for display in &run.displays {
        // Kinds and names are the program's too.
        let kinds: Vec<String> = display.keys().map(|kind| in_one_line(kind)).collect();
        let text = display.get("text/plain").and_then(Value::as_str).unwrap_or_default();
        part(&format!("display: {}", kinds.join(", ")), if text.is_empty() { "(not text)" } else { text });
    }
    // An interpreter prints the traceback on stderr, a session tells it.
    if let Some(error) = run.error.as_ref().filter(|error| !run.stderr.contains(&error.message)) {
        let short = format!("{}: {}", error.name, error.message);
        part("exception", if error.traceback.is_empty() { &short } else { &error.traceback });
    }
    if !run.artifacts.is_empty() {
        let files = run.artifacts.iter().take(FILES_MAX);
        let names: Vec<String> =
            files.map(|file| format!("{} ({} bytes)", in_one_line(&file.path), file.bytes)).collect();
        part("files", &names.join("\n"));
    }
    for finding in run.findings.iter().take(FILES_MAX) {
        part("static check", &finding.to_string());
    }
    if run.state_lost {
        parts.push(labelled("variables and imports were lost; files are kept"));
    }
    parts.push(labelled(&format!("outcome: {}", ending_of(run))));
    redactor.redact(&parts.join("\n"))
}

/// A name that cannot begin a line of its own.
fn in_one_line(name: &str) -> String {
    name.replace(['\n', '\r', ']'], " ")
}

/// Whether the code did what it was to do.
pub fn went_well(run: &RunResult) -> bool {
    run.outcome == Some(Outcome::Completed)
}

/// How a run ended, in a few words.
pub fn ending_of(run: &RunResult) -> String {
    if let Some(fault) = &run.fault {
        return format!("the sandbox failed, not the code: {fault}");
    }
    let Some(outcome) = run.outcome else { return "unknown".to_owned() };
    match (outcome, run.exit_code, &run.signal) {
        (Outcome::Completed, ..) => outcome.to_string(),
        (_, Some(code), _) => format!("{outcome}, exit code {code}"),
        (_, None, Some(signal)) => format!("{outcome}, {signal}"),
        (_, None, None) => outcome.to_string(),
    }
}
