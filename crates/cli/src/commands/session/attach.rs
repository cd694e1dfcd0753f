//! `fireclay session attach`: a prompt like the interpreter's own, with history, many lines, Ctrl-C and Ctrl-D.

use super::explain;
use super::talk::Talk;
use super::whole::wants_more;
use crate::client::Client;
use crate::env::Settings;
use crate::terminal::Inert;
use anyhow::Context;
use model::{Language, LimitsPatch, RunResult, SessionId};
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
    let stdin = std::io::stdin();
    // Lines that come from elsewhere are programs, one and all: none of them is another's input.
    let typed = stdin.is_terminal().then(|| stdin.as_fd());
    // Who types may think for longer than a program may usually run.
    let longest = LimitsPatch { timeout_ms: typed.map(|_| u64::MAX), ..LimitsPatch::default() };
    let timeout_ms = client.limits(&longest).context("ask for the limits")?.timeout_ms;
    if typed.is_some() {
        println!("{id}, {language}; Ctrl-D leaves it open, Ctrl-C interrupts a run");
    }
    sys::signal::ignore_broken_pipes()?;
    let interrupt = sys::signal::as_descriptor(&[crate::commands::run::INTERRUPT])?;
    let prompt = match language {
        Language::Python => ">>> ",
        Language::Bash => "$ ",
        _ => "> ",
    };
    loop {
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("read a line"),
        };
        if line.trim().is_empty() {
            continue;
        }
        let asked = json!({"language": language, "code": line, "file_name": "<stdin>",
            "limits": {"timeout_ms": timeout_ms}});
        let result = Talk::start(client, id, asked, &interrupt, typed)?.follow()?;
        // One that came as the run ended is not for the next.
        while sys::signal::take(interrupt.as_fd())?.is_some() {}
        tell(client, &result, timeout_ms)?;
    }
    if let Err(error) = editor.save_history(&history) {
        eprintln!("fireclay: keep what was typed: {error}");
    }
    Ok(0)
}

/// Shows what a run gave besides its output: values, pictures by their kind, and how it ended if its output does not say so.
fn tell(client: &Client, result: &RunResult, timeout_ms: u64) -> anyhow::Result<()> {
    for bundle in result.displays.iter().chain(&result.result) {
        let kinds = || bundle.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let shown = bundle.get("text/plain").and_then(Value::as_str);
        let shown = shown.map_or_else(|| format!("<{}>", kinds()), str::to_owned);
        let mut inert = Inert::default();
        println!("{}", String::from_utf8_lossy(&inert.push(shown.as_bytes())));
    }
    explain(client, result, Some(timeout_ms))
}
