//! What a person sees of a task: steps on standard error, harmless for a terminal and without keys.

use super::highlight::highlighted;
use super::write_out;
use crate::args::{Level, TaskArguments};
use crate::env::Settings;
use crate::terminal::Inert;
use agent::{Approval, Program, Redactor, Told, for_model};
use model::{Outcome, RunResult};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most bytes of one stream that are shown of a step.
const SHOWN_BYTES: usize = 2_000;

/// How often a stop is looked for while a person types.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Shows what happens.
pub struct Show {
    level: Level,
    color: bool,
    /// Whether standard error is a terminal.
    watched: bool,
    redactor: Redactor,
    /// Whether a person said that all may run.
    always: AtomicBool,
}

impl Show {
    /// Shows as much as the arguments say; little if nobody looks.
    pub fn new(arguments: &TaskArguments, settings: &Settings, redactor: Redactor) -> Self {
        let watched = std::io::stderr().is_terminal();
        let level = arguments.log_level.unwrap_or(if watched { Level::Info } else { Level::Error });
        Self { level, color: settings.color && watched, watched, redactor, always: AtomicBool::new(false) }
    }

    /// Whether a person sees each step at a terminal.
    pub fn is_watched(&self) -> bool {
        self.watched && self.level >= Level::Info
    }

    /// Names plots that were saved.
    pub fn saved(&self, plots: &[PathBuf]) {
        plots.iter().for_each(|path| self.step("1", &format!("── saved {}", path.display())));
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
                self.code(program);
            }
            // What it has against the code is told as a denial.
            Told::Reviewed(reviewed) => self.say(
                Level::Debug,
                &format!(
                    "reviewed by {}: {} tokens in, {} out",
                    reviewed.model, reviewed.tokens.input, reviewed.tokens.output
                ),
            ),
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

    fn code(&self, program: &Program) {
        if self.level >= Level::Info {
            self.any_code(program);
        }
    }

    /// Shows code whatever the level says.
    fn any_code(&self, program: &Program) {
        let code = self.redactor.redact(program.code.trim_end());
        if !self.color {
            return self.line("", &code);
        }
        let inert = Inert::default().push(code.as_bytes());
        // Dropping whole characters leaves text.
        self.line("", &highlighted(&String::from_utf8_lossy(&inert), program.language));
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
    /// The reason against it, for the model; or [`BenchError::Stopped`](agent::BenchError::Stopped).
    #[cfg(feature = "mcp")]
    pub fn approve_call(
        &self,
        name: &str,
        arguments: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, agent::BenchError> {
        use agent::BenchError::{Refused, Stopped};
        self.line("36", &format!("── {name} {}", agent::escaped(arguments)));
        loop {
            eprint!("Call it? [y]es, [n]o, [a]lways this tool: ");
            match typed(stop) {
                Ok(line) => match line.as_str() {
                    "y" | "yes" => return Ok(false),
                    "a" | "always" => return Ok(true),
                    "n" | "no" => {
                        return Err(Refused("the person does not want it to be called".to_owned()));
                    }
                    _ => {}
                },
                Err(NoLine::End) => return Err(Refused("nobody is there to approve it".to_owned())),
                Err(NoLine::Stopped) => return Err(Stopped),
            }
        }
    }
}

/// Asks a person before each run: yes, no and why, all from now on, or other code. `stop` ends the asking.
pub fn approver<'a>(show: &'a Show, stop: &'a dyn Fn() -> bool) -> impl FnMut(&Program) -> Approval + 'a {
    move |program| match asked(show, stop, program) {
        Ok(approval) => approval,
        Err(NoLine::End) => Approval::Refused("nobody is there to approve it".to_owned()),
        Err(NoLine::Stopped) => Approval::Stopped,
    }
}

fn asked(show: &Show, stop: &dyn Fn() -> bool, program: &Program) -> Result<Approval, NoLine> {
    // What is about to run is seen whatever the level says.
    if show.level < Level::Info {
        show.any_code(program);
    }
    while !show.always.load(Ordering::Relaxed) {
        eprint!("Run it? [y]es, [n]o, [a]lways, [e]dit: ");
        match typed(stop)?.as_str() {
            "y" | "yes" => return Ok(Approval::Run),
            "a" | "always" => show.always.store(true, Ordering::Relaxed),
            "n" | "no" => {
                eprint!("Why not (the model is told): ");
                let why = match typed(stop) {
                    Err(NoLine::Stopped) => return Err(NoLine::Stopped),
                    Ok(why) if !why.is_empty() => why,
                    Ok(_) | Err(NoLine::End) => "the person does not want it to run".to_owned(),
                };
                return Ok(Approval::Refused(why));
            }
            "e" | "edit" => {
                eprintln!("Type the code; a line with nothing but a dot ends it.");
                let mut code = String::new();
                loop {
                    match raw_line(stop) {
                        Ok(line) if line.trim_end() != "." => code.push_str(&line),
                        Ok(_) | Err(NoLine::End) => return Ok(Approval::Edited(code)),
                        Err(NoLine::Stopped) => return Err(NoLine::Stopped),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Approval::Run)
}

/// Why nothing was typed.
enum NoLine {
    /// Nobody will type any more.
    End,
    /// The run is to stop.
    Stopped,
}

/// The next line, unless a stop comes first: its signal is blocked, and would not break off a read. A terminal gives one line at a time, so
/// that none waits unseen in the buffer of standard input.
fn raw_line(stop: &dyn Fn() -> bool) -> Result<String, NoLine> {
    loop {
        if stop() {
            eprintln!();
            return Err(NoLine::Stopped);
        }
        let stdin = rustix::stdio::stdin();
        let mut waits = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waits, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(_) => return Err(NoLine::End),
        }
    }
    let mut line = String::new();
    // What cannot be read was not typed.
    match std::io::stdin().read_line(&mut line) {
        Ok(bytes) if bytes > 0 => Ok(line),
        _ => Err(NoLine::End),
    }
}

fn typed(stop: &dyn Fn() -> bool) -> Result<String, NoLine> {
    raw_line(stop).map(|line| line.trim().to_owned())
}
