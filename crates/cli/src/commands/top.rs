//! `fireclay top`: what a service does now, drawn anew every few seconds. A thread asks; this one draws, and hears keys and signals.

mod frame;
mod look;

use crate::args::TopArguments;
use crate::client::Client;
use crate::commands::session::service;
use crate::env::Settings;
use crate::exit::FAULT;
use anyhow::Context;
use frame::Size;
use look::Look;
use rustix::event::{PollFd, PollFlags};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What is assumed of a terminal that does not say.
const USUAL: Size = Size { rows: 24, columns: 80 };
/// To a screen of our own, without a cursor; and back (xterm's control sequences, DECSET 1049 and 25).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Signals that end it, and the one that says that the terminal has another size.
const SIGNALS: [rustix::process::Signal; 4] = [
    rustix::process::Signal::TERM,
    rustix::process::Signal::HUP,
    rustix::process::Signal::INT,
    rustix::process::Signal::WINCH,
];

/// Does what is asked; answers the exit code.
pub fn top(arguments: &TopArguments, settings: &Settings) -> anyhow::Result<u8> {
    let client = service(arguments.url.as_ref(), settings)?;
    let interval = Duration::from_secs(arguments.interval);
    let is_terminal = std::io::stdout().is_terminal();
    if arguments.once {
        let look = Look::at(&client, None);
        if arguments.json {
            println!("{}", look.json());
        } else {
            print!("{}", frame::plain(&look, size()));
        }
        return Ok(if look.error.is_some() { FAULT } else { 0 });
    }
    if arguments.json || !is_terminal || settings.dumb {
        return lines(&client, arguments.json, interval);
    }
    // Before there is a second thread: signals that are blocked here are blocked there too.
    let numbers = SIGNALS.map(rustix::process::Signal::as_raw);
    let signals = sys::signal::as_descriptor(&numbers).context("listen for signals")?;
    let (wake, woken) = channel();
    let (told, looks) = channel();
    std::thread::spawn(move || ask(&client, interval, &woken, &told));
    let screen = Screen::enter()?;
    let ended = draw(&looks, &wake, &signals, settings.color);
    drop(screen);
    ended.map(|()| 0)
}

/// Looks again and again, until nobody listens.
fn ask(client: &Client, interval: Duration, woken: &Receiver<()>, told: &Sender<Look>) {
    let mut before: Option<Look> = None;
    loop {
        let look = Look::at(client, before.as_ref());
        if told.send(look.clone()).is_err() {
            return;
        }
        before = Some(look);
        match woken.recv_timeout(interval) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Writes view below view, for a program or a terminal that obeys nothing. Ends when nobody reads any more.
fn lines(client: &Client, json: bool, interval: Duration) -> anyhow::Result<u8> {
    let mut before: Option<Look> = None;
    loop {
        let look = Look::at(client, before.as_ref());
        let text =
            if json { format!("{}\n", look.json()) } else { format!("{}\n", frame::plain(&look, USUAL)) };
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            written => written.context("write")?,
        }
        before = Some(look);
        std::thread::sleep(interval);
    }
}

/// Draws what is told until a person or a signal ends it.
fn draw(looks: &Receiver<Look>, wake: &Sender<()>, signals: &OwnedFd, color: bool) -> anyhow::Result<()> {
    let (mut look, mut drawn) = (Look::default(), None);
    loop {
        let mut is_new = false;
        while let Ok(next) = looks.try_recv() {
            (look, is_new) = (next, true);
        }
        let size = size();
        if is_new || drawn != Some(size) {
            show(&frame::drawn(&look, size, color))?;
            drawn = Some(size);
        }
        let stdin = rustix::stdio::stdin();
        let mut polls = [PollFd::from_borrowed_fd(stdin, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match rustix::event::poll(&mut polls, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for a key"),
        }
        let (typed, signalled) = (polls[0].revents(), polls[1].revents());
        if !signalled.is_empty() {
            let winch = rustix::process::Signal::WINCH.as_raw();
            if sys::signal::take(signals.as_fd())?.is_some_and(|signal| signal != winch) {
                return Ok(());
            }
        }
        if !typed.is_empty() {
            let mut keys = [0; 64];
            let length = rustix::io::read(stdin, &mut keys).context("read a key")?;
            // Nothing is the end of the terminal; 3 is Ctrl-C.
            if length == 0 || keys[..length].iter().any(|key| matches!(key, b'q' | b'Q' | 3 | 4)) {
                return Ok(());
            }
            if keys[..length].contains(&b' ') && wake.send(()).is_err() {
                return Ok(());
            }
        }
    }
}

fn show(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("draw")
}

/// What the terminal shows.
fn size() -> Size {
    let said = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    let said = said.ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    said.map_or(USUAL, |size| Size { rows: size.ws_row.into(), columns: size.ws_col.into() })
}

/// A screen of our own, and keys as they are pressed; as it was when this is dropped.
struct Screen {
    before: Option<Termios>,
}

impl Screen {
    fn enter() -> anyhow::Result<Self> {
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)
                .context("read keys")?;
        }
        let screen = Self { before };
        show(ENTER)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whoever has no terminal any more has nothing to be put back.
        drop(show(LEAVE));
        if let Some(before) = &self.before {
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before)
                .unwrap_or_default();
        }
    }
}
