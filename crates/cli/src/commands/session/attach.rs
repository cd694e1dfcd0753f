//! `fireclay session attach`: a prompt like the interpreter's own, with history, many lines, Ctrl-C and Ctrl-D.

use super::explain;
use super::whole::wants_more;
use crate::client::Client;
use crate::commands::follow::Follower;
use crate::env::Settings;
use crate::terminal::Inert;
use anyhow::Context;
use model::{Language, RunResult, SessionId};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Editor, Helper, Highlighter, Hinter};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Where what was typed is kept, in the data directory.
const HISTORY_FILE: &str = "session_history";
/// How much of it.
const HISTORY_MAX: usize = 10_000;

/// Decides whether Enter sends.
#[derive(Completer, Helper, Highlighter, Hinter)]
struct Lines {
    language: Language,
}

impl Validator for Lines {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let more = wants_more(self.language, typed.input());
        Ok(if more { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

/// Reads and runs until the end of input, or of the session; answers the exit code. The session stays.
pub fn attach(
    client: &Client,
    id: &SessionId,
    language: Option<Language>,
    settings: &Settings,
) -> anyhow::Result<u8> {
    let view: Value = client.call("GET", &format!("/v1/sessions/{id}"), None)?;
    let own = serde_json::from_value(view["language"].clone()).unwrap_or(Language::Python);
    let language = language.unwrap_or(own);
    let mut editor: Editor<Lines, FileHistory> = Editor::with_config(
        rustyline::Config::builder().max_history_size(HISTORY_MAX)?.auto_add_history(true).build(),
    )?;
    editor.set_helper(Some(Lines { language }));
    let history = settings.data.join(HISTORY_FILE);
    // There is none before the first time.
    drop(editor.load_history(&history));
    if std::io::stdin().is_terminal() {
        println!("{id}, {language}; Ctrl-D leaves it open, Ctrl-C interrupts a run");
    }
    sys::signal::ignore_broken_pipes()?;
    let interrupt = sys::signal::as_descriptor(&[crate::commands::run::INTERRUPT])?;
    let prompt = match language {
        Language::Python => ">>> ",
        Language::Bash => "$ ",
        Language::JavaScript | Language::TypeScript => "> ",
    };
    loop {
        let typed = match editor.readline(prompt) {
            Ok(typed) => typed,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("read a line"),
        };
        if typed.trim().is_empty() {
            continue;
        }
        let body = json!({"language": language, "code": typed, "file_name": "<stdin>"});
        let (run, events) = client.run_in(id.as_str(), &body)?;
        let result = Follower { client, raw: false, quiet: false }.follow(events, &run, &interrupt)?;
        // One that came as the run ended is not for the next.
        while sys::signal::take(interrupt.as_fd())?.is_some() {}
        tell(client, &result)?;
    }
    if let Err(error) = editor.save_history(&history) {
        eprintln!("fireclay: keep what was typed: {error}");
    }
    Ok(0)
}

/// Shows what a run gave besides its output: values, pictures by their kind, and how it ended if its output does not say so.
fn tell(client: &Client, result: &RunResult) -> anyhow::Result<()> {
    for bundle in result.displays.iter().chain(&result.result) {
        let kinds = || bundle.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let shown = bundle.get("text/plain").and_then(Value::as_str);
        let shown = shown.map_or_else(|| format!("<{}>", kinds()), str::to_owned);
        let mut inert = Inert::default();
        println!("{}", String::from_utf8_lossy(&inert.push(shown.as_bytes())));
    }
    explain(client, result, None)
}
