//! Follows a run of a service: passes its output on as it comes, and takes it back when told so.

use super::run::print;
use crate::client::Client;
use crate::terminal::Inert;
use anyhow::Context;
use model::{RunResult, base64};
use rustix::event::{PollFd, PollFlags};
use serde_json::Value;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Who follows, and how.
pub struct Follower<'a> {
    /// The service.
    pub client: &'a Client,
    /// Whether control sequences of the program reach the terminal.
    pub raw: bool,
    /// Whether output is not shown.
    pub quiet: bool,
}

impl Follower<'_> {
    /// Follows the run of this id to its end. A signal from `cancel` takes it back.
    pub fn follow(&self, events: impl BufRead, id: &str, cancel: &OwnedFd) -> anyhow::Result<RunResult> {
        let (over, is_over) = std::io::pipe().context("make a pipe")?;
        std::thread::scope(|scope| {
            scope.spawn(|| self.cancel_when_told(id, cancel, &over));
            let result = self.read(events, id);
            drop(is_over);
            result
        })
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
    fn read(&self, events: impl BufRead, id: &str) -> anyhow::Result<RunResult> {
        let mut outputs = Output::both(self.raw);
        let mut kind = String::new();
        for line in events.lines() {
            let line = line.context("read what the service says")?;
            let (field, value) = line.split_once(": ").unwrap_or((&line, ""));
            match (field, kind.as_str()) {
                ("event", _) => value.clone_into(&mut kind),
                ("data", "stdout" | "stderr") if !self.quiet => {
                    let data: Value = serde_json::from_str(value).context("understand the service")?;
                    let output = &mut outputs[usize::from(kind == "stderr")];
                    let (bytes, was_closed) = (bytes_of(&data)?, output.closed);
                    output.show(&bytes)?;
                    // Here the program would be told so by its next write.
                    if output.closed && !was_closed {
                        self.client.cancel(id)?;
                    }
                }
                ("data", "reopened") => {
                    let data: Value = serde_json::from_str(value).context("understand the service")?;
                    eprintln!("fireclay: {}", reopened(&data));
                }
                ("data", "settled") => {
                    let result: RunResult = serde_json::from_str(value).context("understand the result")?;
                    if !self.quiet {
                        outputs[0].show_rest(&result.stdout, result.stdout_truncated)?;
                        outputs[1].show_rest(&result.stderr, result.stderr_truncated)?;
                    }
                    return Ok(result);
                }
                ("data", "problem") => anyhow::bail!("the service could not record the run: {value}"),
                _ => {}
            }
        }
        anyhow::bail!("the service ended before the run did")
    }
}

/// What an event says of a session that was reopened.
pub fn reopened(data: &Value) -> String {
    let files = data["files_of"].as_str().map_or("no files".to_owned(), |at| format!("its files of {at}"));
    let from = data["from_node"].as_str().unwrap_or_default();
    format!("the session has left {from}, and was reopened with {files}; what was in memory is gone")
}

/// The bytes of an event of output.
pub fn bytes_of(data: &Value) -> anyhow::Result<Vec<u8>> {
    match (data["text"].as_str(), data["base64"].as_str()) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(coded)) => base64::decode(coded).map_err(anyhow::Error::msg),
        (None, None) => anyhow::bail!("the service told of output without any"),
    }
}

/// One of our streams, and how much of the program's went to it.
pub struct Output {
    to: Box<dyn Write>,
    inert: Option<Inert>,
    shown_bytes: usize,
    /// Its reader has gone.
    pub closed: bool,
}

impl Output {
    /// Standard output and standard error. Unless it is to be `raw`, what a terminal would obey is not shown on one.
    pub fn both(raw: bool) -> [Self; 2] {
        [
            Self::new(Box::new(std::io::stdout()), std::io::stdout().is_terminal() && !raw),
            Self::new(Box::new(std::io::stderr()), std::io::stderr().is_terminal() && !raw),
        ]
    }

    fn new(to: Box<dyn Write>, filter: bool) -> Self {
        Self { to, inert: filter.then(Inert::default), shown_bytes: 0, closed: false }
    }

    /// Shows what came; nothing is shown to a reader that has gone.
    pub fn show(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
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
    pub fn show_rest(&mut self, kept: &str, truncated: bool) -> anyhow::Result<()> {
        let rest = sandbox::output::rest_of(kept, self.shown_bytes).filter(|_| truncated);
        rest.map_or(Ok(()), |rest| self.show(rest.as_bytes()))
    }
}
