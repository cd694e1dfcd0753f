//! The streams of one job of a session, and what is kept of its output.

use rustix::io::Errno;
use sandbox::output::Captured;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Most bytes moved in one step: a pipe's usual capacity.
const PIECE_BYTES: usize = 65_536;
/// A smaller piece is a drop. A stream that drips is left alone for [`PAUSE`]; the pipe holds what comes meanwhile.
const DROP_BYTES: usize = 4_096;
/// How many pieces may come one after the other where something is waited for.
const DROPS_MAX: u32 = 16;
/// How long, and so how late a drop may be shown.
const PAUSE: Duration = Duration::from_millis(1);

/// One pipe from a job, until it has ended.
#[derive(Debug)]
pub(super) struct Source {
    pipe: Option<OwnedFd>,
    /// When it is looked at again.
    look: Instant,
    /// How many pieces came since something was waited for.
    drops: u32,
}

impl Source {
    pub fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe, look: Instant::now(), drops: 0 }
    }

    /// The pipe, if it is to be looked at now.
    pub fn due(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| self.look <= now).map(AsFd::as_fd)
    }

    /// When it is to be looked at, if that is not now.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        Some(self.look).filter(|look| self.pipe.is_some() && *look > now)
    }

    /// Reads one piece; empty at the end, and when there is nothing.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        buffer.clear();
        buffer.reserve(PIECE_BYTES);
        let Some(pipe) = &self.pipe else { return buffer };
        match rustix::io::read(pipe, rustix::buffer::spare_capacity(buffer)) {
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.pipe = None,
        }
        buffer
    }

    /// As [`Source::rest`], but only after many drops since [`Source::expect`]: what is waited for comes in a few.
    pub fn rest_after_many(&mut self, length: usize) {
        self.drops += 1;
        if self.drops > DROPS_MAX {
            self.rest(length);
        }
    }

    /// Something is waited for.
    pub fn expect(&mut self) {
        self.drops = 0;
    }

    /// Leaves the pipe alone for a moment, if what came was little.
    pub fn rest(&mut self, length: usize) {
        if length < DROP_BYTES {
            self.look = Instant::now() + PAUSE;
        }
    }

    /// Leaves the pipe alone for so long.
    pub fn leave_alone(&mut self, pause: Duration) {
        self.look = Instant::now() + pause;
    }

    /// How many bytes the pipe can hold; 0 when it has ended.
    pub fn capacity(&self) -> usize {
        self.pipe.as_ref().and_then(|pipe| rustix::pipe::fcntl_getpipe_size(pipe).ok()).unwrap_or(0)
    }
}

/// What a run wrote: kept within its limit, and what of it may be shown.
#[derive(Debug)]
pub(super) struct Output {
    pub kept: [Captured; 2],
}

impl Output {
    pub fn new(limit_bytes: u64) -> Self {
        Self { kept: [Captured::new(limit_bytes), Captured::new(limit_bytes)] }
    }

    /// Takes a piece of one stream; returns how much of it may be shown at once.
    pub fn push(&mut self, stream: usize, bytes: &[u8]) -> usize {
        self.kept[stream].push(bytes)
    }

    /// Whether one of them has come to more than this.
    pub fn exceeds(&self, bytes: u64) -> bool {
        self.kept.iter().any(|kept| kept.total_bytes() > bytes)
    }
}
