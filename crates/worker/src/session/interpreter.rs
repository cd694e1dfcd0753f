//! An interpreter that keeps its state, as its session's keeper sees it.

use super::streams::Source;
use sandbox::frames::Conversation;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// One interpreter, from its start to the end of its process.
#[derive(Debug)]
pub(super) struct Interpreter {
    /// The job that it is.
    pub job: u32,
    /// Standard output, standard error, and the channel on which it speaks.
    pub sources: [Source; 3],
    /// Where it hears its orders.
    orders: OwnedFd,
    /// What it says.
    pub talk: Conversation,
    /// When it was started.
    pub since: Instant,
    /// Whether it said that it waits for orders.
    pub ready: bool,
    /// The run that it has, or will have when it is ready.
    pub run: Option<u32>,
    /// Interruptions on their way to it: one that comes late must not meet another run.
    pub interruptions: u32,
    /// Why it is being ended, if it is.
    pub ending: Option<Ending>,
}

/// Why an interpreter is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is to begin anew.
    Wanted,
    /// It did not do as it should.
    Broken,
}

/// The channel's place among the sources.
pub(super) const CHANNEL: usize = 2;

impl Interpreter {
    pub fn new(job: u32, pipes: [OwnedFd; 3], orders: OwnedFd) -> Self {
        Self {
            job,
            sources: pipes.map(|pipe| Source::new(Some(pipe))),
            orders,
            talk: Conversation::default(),
            since: Instant::now(),
            ready: false,
            run: None,
            interruptions: 0,
            ending: None,
        }
    }

    /// Tells it of an order: a line far shorter than what a pipe takes at once. One that is gone is an error.
    pub fn tell(&self, line: &str) -> sys::Result<()> {
        match rustix::io::write(self.orders.as_fd(), line.as_bytes()) {
            Ok(length) if length == line.len() => Ok(()),
            Ok(_) => Err(sys::Error { call: "write order", errno: libc::EPIPE }),
            Err(errno) => Err(sys::Error { call: "write order", errno: errno.raw_os_error() }),
        }
    }
}
