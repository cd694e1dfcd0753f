//! One throw-away child: cloned, mapped, told to go, heard, and killed if it takes too long.
//!
//! ```text
//! parent                        child
//!   clone ────────────────────►   dies with the parent
//!   map ids, if asked
//!   ── go ────────────────────►   joins the control group, takes the mapped id, performs the act
//!   ◄── "+text" | "-errno text"   ends
//! ```

use super::{Failure, Found};
use crate::cgroup::Leaf;
use crate::host::Outside;
use crate::plan::INSIDE_UID;
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use sys::process::{Cloned, Ended};

/// How long an act may take; the longest of them takes half a second.
const PATIENCE_MS: u64 = 5_000;
/// How long a killed child may take to be gone.
const DEATH_MS: u64 = 1_000;
/// Most bytes that a child says; a pipe holds them without a reader.
const SAID_BYTES_MAX: usize = 4096;

/// The circumstances of one act.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// New namespaces: CLONE_NEW* bits.
    pub namespaces: i32,
    /// With a user namespace: which id the child has outside.
    pub outside: Option<Outside>,
    /// The control group that the child joins first.
    pub leaf: Option<&'a Leaf>,
    /// How long the child may take.
    pub patience_ms: u64,
}

/// How a child ended.
#[derive(Debug)]
pub enum Ending {
    /// It said what it found.
    Said(Found),
    /// It ended without a word.
    Silent(Ended),
    /// It had to be killed for time.
    Stuck,
}

impl Default for Trial<'_> {
    fn default() -> Self {
        Self { namespaces: 0, outside: None, leaf: None, patience_ms: PATIENCE_MS }
    }
}

impl<'a> Trial<'a> {
    /// An act in a user namespace and these others.
    pub fn inside(outside: Outside, namespaces: i32) -> Self {
        Self { namespaces: namespaces | libc::CLONE_NEWUSER, outside: Some(outside), ..Self::default() }
    }

    /// An act in a control group.
    pub fn in_cgroup(leaf: &'a Leaf) -> Self {
        Self { leaf: Some(leaf), ..Self::default() }
    }

    /// Performs `act` in a child; a child that says nothing, or not in time, has failed.
    pub fn perform(self, act: impl FnOnce() -> Found) -> Found {
        match self.observe(act)? {
            Ending::Said(found) => found,
            Ending::Silent(Ended::Signalled(signal)) => {
                Err(Failure::of(format!("the probe was killed by {}", sys::signal::name(signal))))
            }
            Ending::Silent(Ended::Exited(code)) => {
                Err(Failure::of(format!("the probe ended with code {code}")))
            }
            Ending::Stuck => Err(Failure::of(format!("stuck: not done within {} ms", self.patience_ms))),
        }
    }

    /// Performs `act` in a child and tells how the child ended; an error means that it never began.
    pub fn observe(self, act: impl FnOnce() -> Found) -> Result<Ending, Failure> {
        let (go_read, go_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (heard, say) = sys::fs::pipe_to_read()?;
        let version = self.leaf.map(Leaf::version);
        let into = if version == Some(2) { self.leaf.map(Leaf::directory).transpose()? } else { None };
        let join = if version == Some(1) {
            self.leaf.map_or(Ok(Vec::new()), Leaf::join_descriptors)?
        } else {
            Vec::new()
        };
        let cloned = sys::process::clone_process(self.namespaces as u64, into.as_ref().map(AsFd::as_fd))?;
        let (pid, pidfd) = match cloned {
            Cloned::Child => {
                drop((go_write, heard));
                let code = live(&go_read, &say, &join, self.outside.is_some(), act);
                sys::process::exit_now(code)
            }
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop((go_read, say));
        let mapped = match self.outside {
            Some(outside) => {
                let deny_groups = matches!(outside, Outside::Own { .. });
                sys::identity::map_ids(pid, INSIDE_UID, outside.ids(pid), deny_groups).map_err(Failure::from)
            }
            None => Ok(()),
        };
        let started =
            mapped.and_then(|()| rustix::io::write(&go_write, b"g").map(drop).map_err(Failure::from));
        // Closed unwritten, the pipe tells the child to end.
        drop(go_write);
        let ended = reap(pid, &pidfd, self.patience_ms)?;
        started?;
        let mut said = [0; SAID_BYTES_MAX];
        let length = rustix::io::read(&heard, &mut said).unwrap_or(0);
        Ok(match (decode(&said[..length]), ended) {
            (_, None) => Ending::Stuck,
            (Some(found), _) => Ending::Said(found),
            (None, Some(ended)) => Ending::Silent(ended),
        })
    }
}

/// The child's life; returns its exit code.
fn live(go: &OwnedFd, say: &OwnedFd, join: &[OwnedFd], mapped: bool, act: impl FnOnce() -> Found) -> i32 {
    let prepare = || -> Result<bool, Failure> {
        sys::process::die_with_parent()?;
        if rustix::io::read(go, &mut [0u8; 1])? == 0 {
            return Ok(false);
        }
        for cgroup in join {
            rustix::io::write(cgroup, b"0")
                .map_err(|errno| Failure::from(errno).during("join the control group"))?;
        }
        if mapped {
            sys::identity::become_user(INSIDE_UID, INSIDE_UID)?;
            // A change of id clears it (prctl(2)).
            sys::process::die_with_parent()?;
        }
        Ok(true)
    };
    // A panic must not unwind into the parent's frames, which this process only has a copy of.
    let found = std::panic::catch_unwind(AssertUnwindSafe(|| match prepare() {
        Ok(true) => Some(act()),
        Ok(false) => None,
        Err(failure) => Some(Err(failure)),
    }));
    let Some(found) = found.unwrap_or_else(|_| Some(Err(Failure::of("the probe panicked")))) else {
        return 1;
    };
    i32::from(rustix::io::write(say, encode(&found).as_bytes()).is_err())
}

fn encode(found: &Found) -> String {
    let mut text = match found {
        Ok(text) => format!("+{text}"),
        Err(failure) => format!("-{} {}", failure.errno, failure.reason),
    };
    text.truncate(text.floor_char_boundary(SAID_BYTES_MAX));
    text
}

fn decode(said: &[u8]) -> Option<Found> {
    let text = String::from_utf8_lossy(said);
    if let Some(text) = text.strip_prefix('+') {
        return Some(Ok(text.to_owned()));
    }
    let (errno, reason) = text.strip_prefix('-')?.split_once(' ')?;
    Some(Err(Failure { reason: reason.to_owned(), errno: errno.parse().unwrap_or(0) }))
}

/// Waits for the child, kills it when its time is over, and reaps it; `None` when it had to be killed.
pub(super) fn reap(pid: i32, pidfd: &OwnedFd, patience_ms: u64) -> Result<Option<Ended>, Failure> {
    let in_time = is_dead_within(pidfd, patience_ms)?;
    if !in_time {
        match sys::process::kill(pidfd.as_fd(), libc::SIGKILL) {
            Err(error) if error.errno != libc::ESRCH => return Err(error.into()),
            _ => {}
        }
        if !is_dead_within(pidfd, DEATH_MS)? {
            // It sits in the kernel and cannot be waited for; it dies when the kernel lets go of it.
            return Ok(None);
        }
    }
    let reaped = sys::process::wait(pid, true)?;
    Ok(reaped.filter(|_| in_time).map(|reaped| Ended::from_status(reaped.status)))
}

fn is_dead_within(pidfd: &OwnedFd, ms: u64) -> Result<bool, Failure> {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(ms);
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}
