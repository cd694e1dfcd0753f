//! `fireclay agent` and `fireclay eval`: a question → programs in a sandbox → an answer.

mod choose;
mod docs;
pub mod evaluate;
mod export;
mod highlight;
mod interactive;
mod many;
#[cfg(feature = "mcp")]
mod others;
mod plots;
mod recorded;
mod report;
mod sandboxes;
mod show;

use crate::args::{AgentArguments, AgentFormat, Level, TaskArguments, Tools};
use crate::commands::run::{input_file, read_text, unreadable};
use crate::commands::session;
use crate::env::Settings;
use agent::{
    Approval, Beside, Budget, Chat, Desk, End, Ended, Problem, Program, Reviewer, Sampling, Solution, Told,
    ToolStyle, Workbench, solve,
};
use anyhow::Context;
use choose::Chosen;
use docs::Documentation;
use model::Rejection;
use plots::Plots;
use recorded::Recorder;
use report::Report;
use rustix::fs::FileType;
use sandboxes::{Interrupts, Sandboxes};
use show::Show;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

/// There is no answer.
const NO_ANSWER: u8 = 1;
/// It was stopped; as a shell says it of SIGINT.
const STOPPED: u8 = 130;
/// Most of standard input that becomes a file.
const STDIN_BYTES_MAX: u64 = 64 << 20;
/// What it is called in the sandbox.
const STDIN_FILE: &str = "stdin.txt";

/// Does what is asked; answers the exit code.
pub fn agent(arguments: &AgentArguments, settings: &Settings) -> anyhow::Result<u8> {
    if let Some(file) = &arguments.batch {
        return many::batch(file, arguments, settings);
    }
    let mut question = question(arguments)?;
    if arguments.ask && !std::io::stdin().is_terminal() {
        return Err(Rejection::new(
            "--ask",
            "there is no terminal to ask at",
            "leave it out, or use --review",
        )
        .into());
    }
    let asking = Asking::of(&arguments.task, arguments.ask, settings)?;
    let mut files = asking.files()?;
    if !arguments.interactive {
        question = question.map(|question| with_piped(question, &mut files)).transpose()?;
    }
    sys::signal::ignore_broken_pipes()?;
    let interrupts = Interrupts::catch(if arguments.interactive {
        &[crate::commands::run::INTERRUPT]
    } else {
        &crate::commands::run::ENDING
    })?;
    let client = session::service(arguments.task.url.as_ref(), settings)?;
    let mut bench =
        Sandboxes::new(&client, &interrupts, &arguments.task, arguments.session_id.as_deref(), files)?;
    let show = Show::new(&arguments.task, settings, asking.chosen.redactor.clone());
    // Without a directory of their own, only one who sees their names wants them.
    let here = show.is_watched().then_some(Path::new(""));
    let plots = Plots::new(arguments.artifacts.as_deref().or(here));
    let recorder = Recorder::new(asking.chosen.redactor.clone());
    let mut told = |told: Told<'_>| {
        show.tell(&told);
        recorder.tell(&told);
        if let Told::Ran(result) = told {
            match plots.save(result) {
                Ok(saved) => show.saved(&saved),
                Err(error) => show.say(Level::Error, &format!("a plot is not saved: {error:#}")),
            }
        }
    };
    let stop = || interrupts.came();
    let mut approve = show::approver(&show, &stop);
    let around = bench.surroundings();
    let mut desk = asking.desk(&mut bench, &mut told, &stop);
    desk.around = around;
    desk.approve = arguments.ask.then_some(&mut approve as &mut dyn FnMut(&Program) -> Approval);
    let model = asking.chosen.provider.name();
    if arguments.interactive {
        let mut chat = asking.chat();
        let with = (&show, &interrupts, &recorder);
        let send = |ended: &Ended| recorder.send(&client, &model, ended);
        let code = interactive::converse(&mut chat, &mut desk, with, question, settings, &send)?;
        drop(desk);
        leave(&mut bench, arguments.artifacts.as_deref(), &show)?;
        return Ok(code);
    }
    let question = whole(question)?;
    recorder.begin(&question);
    let (ended, solution) = asking.answer(&mut desk, &question);
    drop(desk);
    recorder.send(&client, &model, &ended);
    leave(&mut bench, arguments.artifacts.as_deref(), &show)?;
    let redactor = &asking.chosen.redactor;
    let report = Report { ended: &ended, solution: solution.as_ref(), model, redactor };
    finish(arguments, &show, &report)
}

/// The question: standard input, if the arguments say none.
fn whole(question: Option<String>) -> anyhow::Result<String> {
    let question = match question {
        Some(question) => question,
        None => read_text(std::io::stdin().lock(), "standard input")?,
    };
    if question.trim().is_empty() {
        return Err(Rejection::new("QUESTION", "it is empty", "say what to find out").into());
    }
    Ok(question)
}

/// Copies what is wanted of the session, and closes it.
fn leave(bench: &mut Sandboxes<'_>, artifacts: Option<&Path>, show: &Show) -> anyhow::Result<()> {
    if let Some(directory) = artifacts {
        for remark in bench.fetch(directory)? {
            show.note(&format!("fireclay: {remark}"));
        }
    }
    bench.close()
}

/// What every question of a command has in common.
struct Asking<'a> {
    arguments: &'a TaskArguments,
    chosen: Chosen,
    sampling: Sampling,
    instructions: Option<String>,
    documentation: Option<Documentation>,
    #[cfg(feature = "mcp")]
    others: others::Others,
}

impl<'a> Asking<'a> {
    /// As the arguments say. Documentation is read and servers are begun with here, before any signal means anything but the end.
    /// `asks` is whether a person is there to approve what the arguments do not.
    #[cfg_attr(
        not(feature = "mcp"),
        expect(unused_variables, reason = "only tools of others are asked about here")
    )]
    fn of(arguments: &'a TaskArguments, asks: bool, settings: &Settings) -> anyhow::Result<Self> {
        let sampling = Sampling {
            temperature: arguments.temperature,
            top_p: arguments.top_p,
            presence_penalty: arguments.presence_penalty,
            frequency_penalty: arguments.frequency_penalty,
        };
        let chosen = Chosen::of(arguments, settings)?;
        chosen.provider.takes(&sampling)?;
        let instructions = arguments.instructions.as_deref().map(said).transpose()?;
        if arguments.tools == Tools::Fenced && !arguments.mcp.servers.is_empty() {
            let message = "a model that writes fenced blocks calls no tools";
            return Err(Rejection::new("--mcp", message, "leave --tools out, or --mcp").into());
        }
        #[cfg(feature = "mcp")]
        let tokens = others::Tokens::read(&arguments.mcp)?;
        #[cfg(feature = "mcp")]
        let chosen = Chosen { redactor: chosen.redactor.clone().with(tokens.secrets()), ..chosen };
        let show = Show::new(arguments, settings, chosen.redactor.clone());
        let documentation = Documentation::read(&arguments.docs, settings, &show)?;
        #[cfg(not(feature = "mcp"))]
        if !arguments.mcp.servers.is_empty() {
            let hint = "build it with the feature mcp, as releases are";
            return Err(Rejection::new("--mcp", "this build speaks no MCP", hint).into());
        }
        #[cfg(feature = "mcp")]
        let others = {
            // Threads that read what servers say leave signals to this one: taken by one of them, a signal would end the process.
            let held = Interrupts::catch(&crate::commands::run::ENDING)?;
            let others = others::Others::begin(&arguments.mcp, &tokens, asks, show);
            drop(held);
            sys::signal::unblock()?;
            others?
        };
        Ok(Self {
            arguments,
            sampling,
            instructions,
            documentation,
            #[cfg(feature = "mcp")]
            others,
            chosen,
        })
    }

    /// The files that each sandbox has.
    fn files(&self) -> anyhow::Result<Vec<model::InputFile>> {
        self.arguments.files.iter().map(|file| input_file(file)).collect()
    }

    /// Where one question is worked on.
    fn desk<'d>(
        &'d self,
        bench: &'d mut dyn Workbench,
        told: &'d mut dyn FnMut(Told<'_>),
        stop: &'d dyn Fn() -> bool,
    ) -> Desk<'d> {
        let mut desk = Desk::new(&self.chosen.provider, bench, told, stop);
        desk.sampling = self.sampling;
        desk.beside.extend(self.documentation.as_ref().map(|docs| docs as &dyn Beside));
        #[cfg(feature = "mcp")]
        desk.beside.push(&self.others);
        desk.redactor = self.chosen.redactor.clone();
        desk.reviewer = self.arguments.review.then(|| Reviewer::new(self.chosen.reviewer.clone()));
        desk.budget = Budget {
            turns: self.arguments.max_turns,
            tokens: self.arguments.max_tokens,
            dollars: self.arguments.max_cost,
            time: Duration::from_millis(self.arguments.max_time),
            runs: self.arguments.max_runs,
        };
        desk
    }

    /// An empty conversation.
    fn chat(&self) -> Chat {
        Chat::new(self.arguments.language, style(self.arguments), self.instructions.as_deref())
    }

    /// Has a question answered, once.
    fn answer(&self, desk: &mut Desk<'_>, question: &str) -> (Ended, Option<Solution>) {
        if !self.arguments.solution {
            return (self.chat().ask(desk, question), None);
        }
        let problem = Problem {
            question,
            language: self.arguments.language,
            instructions: self.instructions.as_deref(),
            passes: self.arguments.max_iterations,
            tests: self.arguments.tests,
        };
        solve(desk, &problem)
    }
}

/// Writes the answer, or says why there is none.
fn finish(arguments: &AgentArguments, show: &Show, report: &Report<'_>) -> anyhow::Result<u8> {
    let Ended { end, spent, .. } = report.ended;
    show.say(Level::Info, &format!("{}: {spent}", report.model));
    let text = match (end, arguments.format) {
        (_, AgentFormat::Json) => Some(format!("{:#}\n", report.value())),
        (_, AgentFormat::Yaml) => Some(report::yaml(&report.value())),
        (End::Answered(_), AgentFormat::Text) => Some(report.text()),
        (End::Answered(answer), AgentFormat::Markdown) => {
            Some(format!("{}\n", report.redactor.redact(answer)))
        }
        _ => None,
    };
    if let Some(text) = &text {
        match (&arguments.output, report.solution) {
            (Some(path), Some(solution)) => {
                std::fs::write(path, solution.program())
                    .with_context(|| format!("write {}", path.display()))?;
                show.print(text)?;
            }
            (Some(path), None) => {
                std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?
            }
            (None, _) => show.print(text)?,
        }
    }
    Ok(match end {
        End::Answered(_) => 0,
        End::Stopped => {
            show.say(Level::Error, "stopped");
            STOPPED
        }
        End::Failed(why) => {
            show.say(Level::Error, why);
            NO_ANSWER
        }
        End::Exceeded(limit) => {
            show.say(Level::Error, &format!("budget_exceeded: {limit} ({})", limit.option()));
            if let Some((program, output)) = report.ended.last.as_ref().filter(|_| text.is_none()) {
                show.say(
                    Level::Error,
                    &format!(
                        "the last code was:\n{}\nand what came of it:\n{output}",
                        program.code.trim_end()
                    ),
                );
            }
            NO_ANSWER
        }
    })
}

fn style(arguments: &TaskArguments) -> ToolStyle {
    match arguments.tools {
        Tools::Auto => ToolStyle::Auto,
        Tools::Calls => ToolStyle::Calls,
        Tools::Fenced => ToolStyle::Fenced,
    }
}

/// The question, as far as the arguments say it.
fn question(arguments: &AgentArguments) -> anyhow::Result<Option<String>> {
    let inputs = arguments.input.iter().map(|input| said(input)).collect::<anyhow::Result<Vec<_>>>()?;
    let parts: Vec<String> = arguments.question.iter().cloned().chain(inputs).collect();
    Ok(Some(parts.join("\n\n")).filter(|_| !parts.is_empty()))
}

/// A text, or with an at sign before it the content of a file.
fn said(text: &str) -> anyhow::Result<String> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    read_text(File::open(path).map_err(|error| unreadable("@FILE", path, &error))?, path)
}

/// Puts what is piped in among the files; the question then says so.
fn with_piped(question: String, files: &mut Vec<model::InputFile>) -> anyhow::Result<String> {
    let Some(content) = piped()? else { return Ok(question) };
    let bytes = content.len();
    files.push(model::InputFile {
        path: STDIN_FILE.to_owned(),
        content: model::request::FileContent::Bytes(content),
        executable: false,
    });
    Ok(format!("{question}\n\n(Standard input is in the file {STDIN_FILE}, {bytes} bytes.)"))
}

/// Standard input, if it is a pipe or a file with something in it. A socket or a device may stay open for ever.
fn piped() -> anyhow::Result<Option<Vec<u8>>> {
    let kind = FileType::from_raw_mode(
        rustix::fs::fstat(rustix::stdio::stdin()).context("look at standard input")?.st_mode,
    );
    if !matches!(kind, FileType::Fifo | FileType::RegularFile) {
        return Ok(None);
    }
    let mut content = Vec::new();
    std::io::stdin()
        .lock()
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .context("read standard input")?;
    if content.len() as u64 > STDIN_BYTES_MAX {
        return Err(Rejection::new(
            "standard input",
            "it is longer than 64 MiB",
            "put it in a file, and use --file",
        )
        .into());
    }
    Ok(Some(content).filter(|content| !content.is_empty()))
}

/// Writes to standard output; a reader that has gone was told all it wanted.
fn write_out(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("write the answer"),
    }
}
