//! `fireclay agent --interactive`: question after question, with history. Ctrl-C stops what runs and not the chat.

use super::recorded::Recorder;
use super::sandboxes::Interrupts;
use super::show::Show;
use crate::args::Level;
use crate::env::Settings;
use agent::{Chat, Desk, End, Ended};
use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Editor, Helper, Highlighter, Hinter};
use std::io::IsTerminal;

/// Where what was typed is kept, in the data directory.
const HISTORY_FILE: &str = "agent_history";
/// How much of it.
const HISTORY_MAX: usize = 10_000;

const HELP: &str = "\
/new   forget what was said; the sandbox stays
/cost  what all questions cost so far
/help  this
/exit  leave, as Ctrl-D and `exit` do
A line that ends with a backslash goes on in the next, and so does a fence (```) until it is closed.";

/// Decides whether Enter sends.
#[derive(Completer, Helper, Highlighter, Hinter)]
struct Lines;

impl Validator for Lines {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let more = typed.input().ends_with('\\') || typed.input().matches("```").count() % 2 == 1;
        Ok(if more { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

/// Asks until the end of input; each question is recorded, and `send` is told its end. Answers the exit code.
pub fn converse(
    chat: &mut Chat,
    desk: &mut Desk<'_>,
    (show, interrupts, recorder): (&Show, &Interrupts, &Recorder),
    mut first: Option<String>,
    settings: &Settings,
    send: &dyn Fn(&Ended),
) -> anyhow::Result<u8> {
    let mut editor: Editor<Lines, FileHistory> = Editor::with_config(
        rustyline::Config::builder().max_history_size(HISTORY_MAX)?.auto_add_history(true).build(),
    )?;
    editor.set_helper(Some(Lines));
    let history = settings.data.join(HISTORY_FILE);
    // There is none before the first time.
    drop(editor.load_history(&history));
    if std::io::stdin().is_terminal() {
        show.say(Level::Info, "/help says what there is; Ctrl-D leaves, Ctrl-C stops what runs");
    }
    let (mut questions, mut dollars, mut unpriced) = (0u32, 0.0, false);
    loop {
        let typed = match first.take() {
            Some(first) => first,
            None => match editor.readline("> ") {
                Ok(typed) => typed.replace("\\\n", "\n"),
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error).context("read a line"),
            },
        };
        match typed.trim() {
            "" => continue,
            "exit" | "quit" | "/exit" | "/quit" => break,
            "/help" => show.print(&format!("{HELP}\n"))?,
            "/new" => chat.forget(),
            "/cost" => {
                let more = if unpriced { ", and what has no known price" } else { "" };
                show.print(&format!("{questions} questions, ${dollars:.4}{more}\n"))?;
            }
            command if command.starts_with('/') && !command.contains(char::is_whitespace) => {
                show.print(&format!("there is no {command}; /help says what there is\n"))?;
            }
            question => {
                interrupts.forget();
                recorder.begin(question);
                let ended = chat.ask(desk, question);
                send(&ended);
                questions += 1;
                dollars += ended.spent.dollars;
                unpriced |= ended.spent.unpriced;
                match &ended.end {
                    End::Answered(answer) => show.print(&format!("{}\n", desk.redactor.redact(answer)))?,
                    End::Stopped => show.say(Level::Error, "stopped"),
                    End::Failed(why) => show.say(Level::Error, why),
                    End::Exceeded(limit) => {
                        show.say(Level::Error, &format!("budget_exceeded: {limit} ({})", limit.option()));
                    }
                }
                show.say(Level::Info, &ended.spent.to_string());
            }
        }
    }
    if let Err(error) = editor.save_history(&history) {
        show.say(Level::Warn, &format!("keep what was typed: {error}"));
    }
    Ok(0)
}
