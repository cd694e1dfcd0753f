//! One run over WebSocket: what it writes is shown as it comes, what is typed goes to it, Ctrl-C interrupts it and Ctrl-D ends its input.

use crate::client::Client;
use crate::commands::follow::{Output, bytes_of, reopened};
use anyhow::{Context, bail};
use model::{RunResult, SessionId};
use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tungstenite::{Error, Message, WebSocket};

/// Most bytes that are read of what is typed at once.
const TYPED_BYTES: usize = 16 << 10;

/// A run on its way. Each has a connection of its own: who thinks at the prompt would not answer whether anybody is there.
pub struct Talk<'a> {
    socket: WebSocket<TcpStream>,
    outputs: [Output; 2],
    /// Readable when Ctrl-C was pressed.
    interrupt: &'a OwnedFd,
    interruptions: usize,
    /// What is typed, until its end.
    typed: Option<BorrowedFd<'a>>,
}

impl<'a> Talk<'a> {
    /// Starts this run in a session. What comes on `typed` is its standard input; without it that is at its end.
    pub fn start(
        client: &Client,
        session: &SessionId,
        mut asked: Value,
        interrupt: &'a OwnedFd,
        typed: Option<BorrowedFd<'a>>,
    ) -> anyhow::Result<Self> {
        asked["type"] = "run".into();
        asked["interactive"] = typed.is_some().into();
        let socket = client.converse(&format!("/v1/sessions/{session}/attach"))?;
        let mut talk = Self { socket, outputs: Output::both(false), interrupt, interruptions: 0, typed };
        talk.say(&asked)?;
        Ok(talk)
    }

    /// Goes on to the end of the run.
    pub fn follow(mut self) -> anyhow::Result<RunResult> {
        loop {
            if let Some(result) = self.hear_all()? {
                return Ok(result);
            }
            let mut polls = vec![
                PollFd::new(self.socket.get_ref(), PollFlags::IN),
                PollFd::new(self.interrupt, PollFlags::IN),
            ];
            polls.extend(self.typed.map(|typed| PollFd::from_borrowed_fd(typed, PollFlags::IN)));
            match rustix::event::poll(&mut polls, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).context("wait for the service"),
            }
            let ready: Vec<bool> = polls.iter().map(|poll| !poll.revents().is_empty()).collect();
            if ready[1] {
                self.interrupted()?;
            }
            if ready.get(2) == Some(&true) {
                self.type_in()?;
            }
        }
    }

    fn say(&mut self, message: &Value) -> anyhow::Result<()> {
        self.socket.send(Message::text(message.to_string())).context("tell the service")
    }

    /// Hears all that is here already: some of it may have been read before the socket is looked at again.
    fn hear_all(&mut self) -> anyhow::Result<Option<RunResult>> {
        loop {
            self.socket.get_ref().set_nonblocking(true)?;
            let heard = self.socket.read();
            self.socket.get_ref().set_nonblocking(false)?;
            match heard {
                Ok(Message::Text(text)) => {
                    if let Some(result) = self.hear(text.as_str())? {
                        // The service may be told so; it needs not.
                        drop(self.socket.close(None));
                        return Ok(Some(result));
                    }
                }
                Ok(Message::Close(frame)) => {
                    let why = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    bail!("the service closed the conversation: {why}");
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("hear the service"),
            }
        }
    }

    fn hear(&mut self, text: &str) -> anyhow::Result<Option<RunResult>> {
        let mut message: Value = serde_json::from_str(text).context("understand the service")?;
        match message["type"].as_str().unwrap_or_default() {
            kind @ ("stdout" | "stderr") => {
                let output = &mut self.outputs[usize::from(kind == "stderr")];
                let was_closed = output.closed;
                output.show(&bytes_of(&message)?)?;
                // Here the program would be told so by its next write.
                if output.closed && !was_closed {
                    self.say(&json!({"type": "cancel"}))?;
                }
            }
            "settled" => {
                let result = message["result"].take();
                let result: RunResult = serde_json::from_value(result).context("understand the result")?;
                self.outputs[0].show_rest(&result.stdout, result.stdout_truncated)?;
                self.outputs[1].show_rest(&result.stderr, result.stderr_truncated)?;
                return Ok(Some(result));
            }
            "reopened" => eprintln!("fireclay: {}", reopened(&message)),
            kind @ ("refused" | "problem") => {
                let problem = &message["problem"];
                let said = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
                let about_the_run =
                    kind == "refused" || message["run"].is_string() && problem["status"] == 500;
                if about_the_run {
                    bail!("{} ({})", said("detail"), said("hint"));
                }
                eprintln!("fireclay: {}", said("detail"));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Once, code may go on; a second time it is taken back, and killed if it does not heed that.
    fn interrupted(&mut self) -> anyhow::Result<()> {
        while sys::signal::take(self.interrupt.as_fd())?.is_some() {
            self.interruptions += 1;
        }
        let kind = if self.interruptions > 1 { "cancel" } else { "interrupt" };
        self.say(&json!({"type": kind}))
    }

    fn type_in(&mut self) -> anyhow::Result<()> {
        let Some(typed) = self.typed else { return Ok(()) };
        let mut bytes = vec![0; TYPED_BYTES];
        let length = match rustix::io::read(typed, &mut bytes[..]) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(()),
            other => other.context("read what is typed")?,
        };
        if length == 0 {
            self.typed = None;
            return self.say(&json!({"type": "stdin", "end": true}));
        }
        match std::str::from_utf8(&bytes[..length]) {
            Ok(text) => self.say(&json!({"type": "stdin", "text": text})),
            Err(_) => self.say(&json!({"type": "stdin", "base64": model::base64::encode(&bytes[..length])})),
        }
    }
}
