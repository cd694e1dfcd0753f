//! `fireclay run` by the service that owns the data directory: the same output, files and exit code, from a sandbox that was ready.
//!
//! What the service cannot do as well is run here: see [`Served::possible`].

use super::{explain_end, open_artifacts, print, print_json};
use crate::args::RunArguments;
use crate::client::{Answer, Client};
use crate::env::Settings;
use crate::exit::{FAULT, code_of_outcome};
use crate::terminal::Inert;
use anyhow::Context;
use model::{LimitsPatch, Policy, RunRequest, RunResult, base64};
use rustix::event::{PollFd, PollFlags};
use serde_json::Value;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A run for the service.
pub struct Served<'a> {
    arguments: &'a RunArguments,
    client: Client,
}

/// Longest input that is read to be sent along.
const STDIN_BYTES_MAX: u64 = 1 << 20;

impl<'a> Served<'a> {
    /// The service for this run, if one answers and could do all that is asked: not one that shall run here, see another image, do
    /// without a layer, leave no record, or read what a person types.
    pub fn possible(arguments: &'a RunArguments, settings: &Settings) -> Option<Self> {
        let RunArguments { local, show_plan, no_record, stdin, allow_missing, .. } = arguments;
        let here = *local || *show_plan || *no_record || stdin.as_deref() == Some("-");
        if here || !allow_missing.is_empty() {
            return None;
        }
        let client = Client::serving(&settings.data, &arguments.image, settings.api_key.clone())?;
        Some(Self { arguments, client })
    }

    /// Has it run; `None` if it did not take it, and it is to be run here. Signals are taken from `cancel`.
    pub fn run(self, mut request: RunRequest, cancel: &OwnedFd) -> anyhow::Result<Option<u8>> {
        if let Some(path) = &self.arguments.stdin {
            match text_of(Path::new(path)) {
                Some(text) => request.stdin = Some(text),
                None => return Ok(None),
            }
        }
        let limits = request.limits;
        let Answer::Events { id, events } = self.client.run(&request)? else { return Ok(None) };
        let artifacts = self.arguments.artifacts.as_deref().map(open_artifacts).transpose()?;
        let (over, is_over) = std::io::pipe().context("make a pipe")?;
        let result = std::thread::scope(|scope| {
            scope.spawn(|| self.cancel_when_told(&id, cancel, &over));
            let result = self.follow(events, &id);
            drop(is_over);
            result
        })?;
        if let Some(directory) = &artifacts {
            for artifact in &result.artifacts {
                let content = self.client.artifact(&id, &artifact.path)?;
                worker::artifacts::export(directory.as_fd(), Path::new(&artifact.path), content)
                    .with_context(|| format!("copy {}", artifact.path))?;
            }
        }
        self.tell(&result, &limits).map(Some)
    }

    /// Cancels the run when a signal comes, until the other end of `over` is closed.
    fn cancel_when_told(&self, id: &str, cancel: &OwnedFd, over: &std::io::PipeReader) {
        let mut polls =
            [PollFd::new(cancel, PollFlags::IN), PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN)];
        while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut polls, None) {}
        if !polls[0].revents().is_empty()
            && let Err(error) = self.client.cancel(id)
        {
            eprintln!("fireclay: {error:#}");
        }
    }

    /// Passes output on as it comes; returns the result.
    fn follow(&self, events: impl BufRead, id: &str) -> anyhow::Result<RunResult> {
        let raw = self.arguments.raw;
        let mut outputs = [
            Output::new(Box::new(std::io::stdout()), std::io::stdout().is_terminal() && !raw),
            Output::new(Box::new(std::io::stderr()), std::io::stderr().is_terminal() && !raw),
        ];
        let mut kind = String::new();
        for line in events.lines() {
            let line = line.context("read what the service says")?;
            let (field, value) = line.split_once(": ").unwrap_or((&line, ""));
            match (field, kind.as_str()) {
                ("event", _) => value.clone_into(&mut kind),
                ("data", "stdout" | "stderr") if !self.arguments.json => {
                    let data: Value = serde_json::from_str(value).context("understand the service")?;
                    let output = &mut outputs[usize::from(kind == "stderr")];
                    let (bytes, was_closed) = (bytes_of(&data)?, output.closed);
                    output.show(&bytes)?;
                    // Here the program would be told so by its next write.
                    if output.closed && !was_closed {
                        self.client.cancel(id)?;
                    }
                }
                ("data", "settled") => {
                    let result: RunResult = serde_json::from_str(value).context("understand the result")?;
                    if !self.arguments.json {
                        outputs[0].show_rest(&result.stdout, result.stdout_truncated)?;
                        outputs[1].show_rest(&result.stderr, result.stderr_truncated)?;
                    }
                    return Ok(result);
                }
                ("data", "problem") => anyhow::bail!("the service could not record the run: {value}"),
                _ => {}
            }
        }
        anyhow::bail!("the service ended before the run did; `fireclay run --local` runs it here")
    }

    /// Says what the output does not, and answers the exit code.
    fn tell(&self, result: &RunResult, limits: &LimitsPatch) -> anyhow::Result<u8> {
        if self.arguments.json {
            print_json(result)?;
        } else if let Some(fault) = &result.fault {
            eprintln!("fireclay: {fault}");
        } else if let Some(outcome) = result.outcome {
            // The service's own limits may be others than those of a run here.
            let limits = if result.limits_hit.is_empty() {
                Policy::DEFAULT.limits
            } else {
                self.client.limits(limits)?
            };
            explain_end(outcome, result.signal.as_deref(), &limits, &result.isolation.missing);
        }
        let signal = result.signal.as_deref().and_then(sys::signal::number);
        Ok(result.outcome.map_or(FAULT, |outcome| code_of_outcome(outcome, result.exit_code, signal)))
    }
}

/// The content of a file that can be sent as it is: text, and not much.
fn text_of(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    (meta.is_file() && meta.len() <= STDIN_BYTES_MAX).then(|| std::fs::read_to_string(path).ok())?
}

fn bytes_of(data: &Value) -> anyhow::Result<Vec<u8>> {
    match (data["text"].as_str(), data["base64"].as_str()) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(coded)) => base64::decode(coded).map_err(anyhow::Error::msg),
        (None, None) => anyhow::bail!("the service told of output without any"),
    }
}

/// One of our streams, and how much of the program's went to it.
struct Output {
    to: Box<dyn Write>,
    inert: Option<Inert>,
    shown_bytes: usize,
    /// Its reader has gone.
    closed: bool,
}

impl Output {
    fn new(to: Box<dyn Write>, filter: bool) -> Self {
        Self { to, inert: filter.then(Inert::default), shown_bytes: 0, closed: false }
    }

    fn show(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.shown_bytes += bytes.len();
        if self.closed {
            return Ok(());
        }
        let shown = match &mut self.inert {
            Some(inert) => inert.push(bytes),
            None => bytes.to_vec(),
        };
        match print(&mut self.to, &shown) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.context("write output"),
        }
    }

    /// Shows the end of a stream whose middle was dropped.
    fn show_rest(&mut self, kept: &str, truncated: bool) -> anyhow::Result<()> {
        let rest = sandbox::output::rest_of(kept, self.shown_bytes).filter(|_| truncated);
        rest.map_or(Ok(()), |rest| self.show(rest.as_bytes()))
    }
}
