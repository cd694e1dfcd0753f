//! Sessions: one sandbox that stays, with an interpreter for each language that keeps its state, and programs beside it.
//!
//! ```text
//! service                                          keeper (one for each session)            sandbox
//!     ── the sandbox's shape, by the spawner ──────────► builds it, and it stays
//!     ◄─ built + [its files] ──────────────────────────
//!     ── run(number, how, job) ────────────────────────► to the language's interpreter ────► one order after the other
//!                                                        or as a program of its own ───────► beside it
//!     ◄─ started(number) · output(number, bytes) ──────
//!     ── cancel(number) ───────────────────────────────► interrupts, then kills
//!     ── typed(number, bytes), no more(number) ────────► to the run's standard input, when it has room
//!     ◄─ took(number, count) ────────────────────────── so much of it went there
//!     ── interrupt(number) ────────────────────────────► interrupts, once
//!     ◄─ settled(number, result) ──────────────────────
//!     ── process(number, command) ──────────────────────► beside everything; numbered with the runs, typed to as they are
//!     ── signal(number), resize(number) ───────────────► to it
//!     ◄─ ended(number, how) ───────────────────────────
//!     ── visit(number, family) ─────────────────────────► somebody comes to a port: all goes on until he has left
//!     ◄─ socket(number) + [a socket in its network] ────── made by init; the service connects it
//!     ── left(number) ─────────────────────────────────► nobody waits for what listens there any more
//!     ── restart ──────────────────────────────────────► kills the interpreters
//!     ◄─ lost(language, why) ────────────────────────── an interpreter ended that had no run
//!     ── the end of the socket ────────────────────────► destroys it
//! ```
//!
//! The keeper is one thread that waits for nobody: it holds everything that hostile code says, and the service hears only results.
//! The service has the root of the sandbox's files by descriptor: they outlive the sandbox for as long as it holds that.

pub mod archive;
mod desk;
mod ends;
mod handle;
mod interactive;
mod interpreter;
mod keeper;
mod outbox;
pub mod pack;
mod process;
mod reading;
mod ring;
mod run;
mod settle;
mod streams;
mod typing;
pub mod unpack;
mod visits;
mod work;

pub use handle::{
    Ended, Input, NotDone, NotReached, NotTyped, Process, Session, Standing, ToProcess, VISITS_MAX, Visit,
    Why,
};
pub(crate) use handle::{SessionHappened, SessionParts};
pub use keeper::live;
pub use process::{NewProcess, ProcessEnd};
use process::{ProcessJob, ProcessTold};
pub use ring::Piece;
pub use sandbox::workspace::{Entry, Kind, Upload, Workspace};

use crate::phases::Measured;
use crate::spawner::{Job, Shape};
use model::{Background, Language, RunResult};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// To a keeper: run the [`SessionJob`] that comes with this.
const RUN: u8 = b'r';
/// To a keeper: end the run whose number follows.
const CANCEL: u8 = b'c';
/// To a keeper: begin all interpreters anew.
const RESTART: u8 = b't';
/// To a keeper: bytes for the standard input of the run whose number they follow.
const TYPED: u8 = b'i';
/// To a keeper: nothing more comes for the standard input of the run whose number follows.
const NO_MORE: u8 = b'z';
/// To a keeper: interrupt the run whose number follows, once and without a threat.
const INTERRUPT: u8 = b'n';
/// To a keeper: start the process whose [`ProcessJob`] comes with this.
const PROCESS: u8 = b'p';
/// To a keeper: send the signal behind its number to a process.
const SIGNAL: u8 = b'g';
/// To a keeper: the terminal of a process has the size behind its number.
const RESIZE: u8 = b'w';
/// To a keeper: somebody visits a port; behind his number whether he wants a socket of IPv6. Again for another socket.
const VISIT: u8 = b'v';
/// To a keeper: the visitor whose number follows has left.
const LEFT: u8 = b'y';
/// From a keeper: the socket for a visit comes with this, or the kernel's refusal behind its number.
const SOCKET: u8 = b'h';
/// From a keeper: a process ended; its [`ProcessTold`] comes with this.
const ENDED_PROCESS: u8 = b'x';
/// From a keeper: so many bytes, as a number behind the run's, went to its standard input.
const TOOK: u8 = b'k';
/// From a keeper: the sandbox is built; the root of its files comes with this.
const BUILT: u8 = b'b';
/// From a keeper, before that: the socket where its programs find their proxy comes with this.
const LISTENS: u8 = b'q';
/// From a keeper: it cannot be built; the `Fault` comes with this, and the end.
const FAILED: u8 = b'f';
/// From a keeper: the run whose number follows has begun.
const STARTED: u8 = b'a';
/// From a keeper: bytes of standard output of the run whose number they follow.
const STDOUT: u8 = b'o';
/// From a keeper: bytes of standard error, likewise.
const STDERR: u8 = b'e';
/// From a keeper: a run is settled; its [`SessionTold`] comes with this.
const SETTLED: u8 = b's';
/// From a keeper: an interpreter ended by itself; the [`Lost`] comes with this.
const LOST: u8 = b'l';
/// Bytes of a tag and of a run's number.
const NUMBERED: usize = 5;

/// What a session is made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionShape {
    /// Its sandbox; the limits are complete here.
    pub shape: Shape,
    /// Variables of all its interpreters and programs.
    pub env: BTreeMap<String, String>,
    /// What becomes of what its interpreters do while no run is on.
    pub background: Background,
}

/// How a run of a session is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// By the language's interpreter, which keeps its state.
    State {
        /// What tracebacks call the code.
        name: String,
        /// Whether the run said where it is to work; else it goes on where the one before was.
        moves: bool,
        /// Whether its standard input goes on after what came with it, until its end is said.
        interactive: bool,
    },
    /// As a program of its own.
    Fresh {
        /// Whether it works in an empty directory of its own.
        private: bool,
        /// Whether its standard input goes on after what came with it, until its end is said.
        interactive: bool,
    },
}

impl How {
    /// Whether its standard input goes on.
    pub fn is_interactive(&self) -> bool {
        match self {
            Self::State { interactive, .. } | Self::Fresh { interactive, .. } => *interactive,
        }
    }
}

/// One run for a session's keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionJob {
    pub number: u32,
    pub how: How,
    pub job: Job,
}

/// What a keeper tells of a settled run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionTold {
    pub number: u32,
    pub result: RunResult,
    pub measured: Measured,
}

/// An interpreter that ended while it had no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Whose state is lost.
    pub language: Language,
    /// How it ended, for people.
    pub why: String,
}

/// A tag and a run's number.
fn numbered(tag: u8, number: u32) -> Vec<u8> {
    let mut packet = vec![tag];
    packet.extend(number.to_le_bytes());
    packet
}

/// The run's number of a packet.
fn number_of(packet: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(packet.get(1..NUMBERED)?.try_into().ok()?))
}
