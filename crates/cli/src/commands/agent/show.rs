//! What a person sees of a task: steps on standard error, harmless for a terminal and without keys.

use super::write_out;
use crate::args::{Level, TaskArguments};
use crate::env::Settings;
use crate::terminal::Inert;
use agent::{Approval, Program, Redactor, Told, for_model};
use model::{Outcome, RunResult};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Most bytes of one stream that are shown of a step.
const SHOWN_BYTES: usize = 2_000;

/// Shows what happens.
pub struct Show {
    level: Level,
    color: bool,
    redactor: Redactor,
    /// Whether a person said that all may run.
    always: AtomicBool,
}

impl Show {
    /// Shows as much as the arguments say; little if nobody looks.
    pub fn new(arguments: &TaskArguments, settings: &Settings, redactor: Redactor) -> Self {
        let watched = std::io::stderr().is_terminal();
        let level = arguments.log_level.unwrap_or(if watched { Level::Info } else { Level::Error });
        Self { level, color: settings.color && watched, redactor, always: AtomicBool::new(false) }
    }

    /// Says something to the person, if the level has it.
    pub fn say(&self, level: Level, text: &str) {
        if level <= self.level {
            self.line("", &format!("fireclay: {text}"));
        }
    }

    /// Says what a person is told in any case.
    pub fn note(&self, text: &str) {
        self.line("", text);
    }

    /// Writes an answer to standard output.
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        let bytes = if std::io::stdout().is_terminal() {
            Inert::default().push(text.as_bytes())
        } else {
            text.as_bytes().to_vec()
        };
        write_out(&bytes)
    }

    /// Shows a step.
    pub fn tell(&self, told: &Told<'_>) {
        match told {
            Told::Waiting(why, wait) => {
                self.say(Level::Warn, &format!("{why}; trying again in {:.1} s", wait.as_secs_f64()))
            }
            Told::Warning(text) => self.say(Level::Warn, text),
            // It is kept in memory.
            Told::Said(_) => {}
            Told::Spent(spent) => self.say(Level::Debug, &format!("so far {spent}")),
            Told::Pass(number) => self.step("1", &format!("── pass {number}")),
            Told::Thought(text) => self.step("3", text),
            Told::Code(program) => {
                self.step("1", &format!("── {}", program.language));
                self.step("36", program.code.trim_end());
            }
            Told::Denied(reasons) => {
                reasons.iter().for_each(|reason| self.step("31", &format!("denied: {reason}")))
            }
            Told::File(done, path, bytes) => self.step("1", &format!("── {done} {path}, {bytes} bytes")),
            Told::Called(name, arguments, text) => {
                self.step("1", &format!("── {name} {}", for_model(arguments, SHOWN_BYTES)));
                self.step(
                    "",
                    &for_model(text, if self.level == Level::Trace { usize::MAX } else { SHOWN_BYTES }),
                );
            }
            Told::Ran(result) => self.ran(result),
        }
    }

    fn ran(&self, result: &RunResult) {
        let most = if self.level == Level::Trace { usize::MAX } else { SHOWN_BYTES };
        let part = |color: &str, text: &str| {
            if !text.is_empty() {
                self.step(color, &for_model(text.trim_end_matches('\n'), most));
            }
        };
        let text_of = |bundle: &model::result::MimeBundle| {
            let kinds = bundle.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            bundle
                .get("text/plain")
                .and_then(|text| text.as_str())
                .map_or(format!("<{kinds}>"), str::to_owned)
        };
        part("", &result.stdout);
        part("33", &result.stderr);
        result.displays.iter().chain(&result.result).for_each(|bundle| part("", &text_of(bundle)));
        if let Some(error) = result.error.as_ref().filter(|error| !result.stderr.contains(&error.message)) {
            part("33", if error.traceback.is_empty() { &error.message } else { &error.traceback });
        }
        match (&result.fault, result.outcome) {
            (Some(fault), _) => part("31", &format!("the sandbox failed: {fault}")),
            (None, Some(Outcome::Completed) | None) => {}
            (None, Some(outcome)) => {
                let code = result.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
                part("31", &format!("{outcome}{code}"));
            }
        }
    }

    fn step(&self, color: &str, text: &str) {
        if self.level >= Level::Info {
            self.line(color, text);
        }
    }

    fn line(&self, color: &str, text: &str) {
        let text = self.redactor.redact(text);
        let text = Inert::default().push(text.as_bytes());
        let mut error = std::io::stderr().lock();
        let (on, off) = if self.color && !color.is_empty() {
            (format!("\x1b[{color}m"), "\x1b[0m")
        } else {
            (String::new(), "")
        };
        // Who does not read our steps does not miss them.
        drop(error.write_all(&[on.as_bytes(), &text, off.as_bytes(), b"\n"].concat()));
    }
}

impl Show {
    /// Asks a person whether a tool of others may be called with these arguments: whether that holds for all calls of it from now on.
    ///
    /// # Errors
    /// The reason against it, for the model.
    #[cfg(feature = "mcp")]
    pub fn approve_call(&self, name: &str, arguments: &str) -> Result<bool, String> {
        self.line("36", &format!("── {name} {}", agent::escaped(arguments)));
        loop {
            eprint!("Call it? [y]es, [n]o, [a]lways this tool: ");
            match typed().as_deref() {
                None => return Err("nobody is there to approve it".to_owned()),
                Some("y" | "yes") => return Ok(false),
                Some("a" | "always") => return Ok(true),
                Some("n" | "no") => return Err("the person does not want it to be called".to_owned()),
                Some(_) => {}
            }
        }
    }
}

/// Asks a person before each run: yes, no and why, all from now on, or other code.
pub fn approver(show: &Show) -> impl FnMut(&Program) -> Approval + '_ {
    move |program| {
        // What is about to run is seen whatever the level says.
        if show.level < Level::Info {
            show.line("36", program.code.trim_end());
        }
        while !show.always.load(Ordering::Relaxed) {
            eprint!("Run it? [y]es, [n]o, [a]lways, [e]dit: ");
            let Some(line) = typed() else {
                return Approval::Refused("nobody is there to approve it".to_owned());
            };
            match line.as_str() {
                "y" | "yes" => return Approval::Run,
                "a" | "always" => show.always.store(true, Ordering::Relaxed),
                "n" | "no" => {
                    eprint!("Why not (the model is told): ");
                    let why = typed().filter(|why| !why.is_empty());
                    return Approval::Refused(
                        why.unwrap_or_else(|| "the person does not want it to run".to_owned()),
                    );
                }
                "e" | "edit" => {
                    eprintln!("Type the code; a line with nothing but a dot ends it.");
                    let mut code = String::new();
                    while let Some(line) = raw_line().filter(|line| line.trim_end() != ".") {
                        code.push_str(&line);
                    }
                    return Approval::Edited(code);
                }
                _ => {}
            }
        }
        Approval::Run
    }
}

fn raw_line() -> Option<String> {
    let mut line = String::new();
    // What cannot be read was not typed.
    std::io::stdin().read_line(&mut line).ok().filter(|bytes| *bytes > 0).map(|_| line)
}

fn typed() -> Option<String> {
    raw_line().map(|line| line.trim().to_owned())
}
