//! The processes that make sandboxes for a service, and what they are told.
//!
//! ```text
//! service (tokio, holds secrets)      spawner (one thread, no secrets)     keeper (one for each sandbox)        zygote
//!     ── zygote + [what it has warm] ───► clones it ───────────────────────────────────────────────────────────► imports
//!     ── keep + [its socket, shape] ────► clones a keeper ─────────────────► builds a sandbox of that shape
//!     ◄──────────────────────────────────────────────────────── built ─────
//!     ── job ────────────────────────────────────────────────────────────► runs it in there, or gives it to an
//!                                                                            interpreter that waits in there, or
//!                                                                            has a fork of the zygote run it ──► forks
//!     ◄──────────────────────────────── packets of output, as they come ───
//!     ── anything, or the end of the socket ───────────────────────────────► cancels
//!     ◄──────────────────────────────── settled: result ───────────────── destroys the sandbox,
//!                                                                            builds the next
//! ```
//!
//! A keeper of a session (`session/`) has one sandbox for as long as it lives, and many runs.
//!
//! All sockets are seqpacket: a packet is one message, its first byte says which. The spawner is the same binary, started before
//! any secret is loaded, so that no sandbox is ever a copy of a process that held one. A keeper has one sandbox at a time; if it
//! dies, only its own run is lost. If the service dies, every keeper sees the end of its socket and destroys its sandbox; when the
//! last keeper and the spawner are gone, a zygote sees the end of its own.

mod keeper;
mod process;
mod zygotes;

pub use process::live;

use crate::phases::Measured;
use model::{Language, Layer, Limits, RunId, RunResult, RunSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// To the spawner: clone a keeper that speaks over the socket that comes with this, for a sandbox of the [`Shape`] in the memory file
/// that comes too. The second byte names its zygote, or none.
pub(crate) const KEEP: u8 = b'k';
/// To the spawner: likewise, for a sandbox that stays: a session's.
pub(crate) const STAY: u8 = b'y';
/// To the spawner: keep a zygote, described by the [`Warm`] in the memory file that comes with this, under the number in the second
/// byte.
pub(crate) const ZYGOTE: u8 = b'z';
/// Most zygotes: their numbers are below this.
pub(crate) const ZYGOTES_MAX: usize = 8;
/// From a keeper: the sandbox is built.
pub(crate) const BUILT: u8 = b'b';
/// To a keeper: run the job that comes with this.
pub(crate) const RUN: u8 = b'r';
/// To a keeper: end the run.
pub(crate) const CANCEL: u8 = b'c';
/// From a keeper: bytes of standard output.
pub(crate) const STDOUT: u8 = b'o';
/// From a keeper: bytes of standard error.
pub(crate) const STDERR: u8 = b'e';
/// From a keeper: the socket where the program finds its proxy comes with this.
pub(crate) const LISTENS: u8 = b'l';
/// From a keeper: the run is settled; its `Told` comes with this. The second byte is 1 if
/// another sandbox is being built, for another run, and 0 if the keeper ends.
pub(crate) const SETTLED: u8 = b's';

/// Longest packet from a keeper: a tag and a piece of output, or a value.
pub(crate) const PACKET_BYTES_MAX: usize = {
    let output = 1 + sandbox::forward::PACKET_BYTES;
    if output > crate::json::PACKET_BYTES_MAX { output } else { crate::json::PACKET_BYTES_MAX }
};

/// What a sandbox is made for, before its run is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// What it sees.
    pub image: sandbox::Image,
    /// What it is limited to. Time and output are the run's own.
    pub limits: Limits,
    /// Layers that may be absent if the machine lacks them.
    pub allow_missing: BTreeSet<Layer>,
    /// The language whose interpreter waits in it for its program, where there is such a one.
    pub ahead: Option<Language>,
    /// What an interpreter of Python that waits in it has imported of the packages that lie uppermost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Whether what runs in it may reach hosts.
    pub egress: bool,
}

impl Shape {
    /// What one that waits holds of memory, in bytes; rounded up from what was measured.
    pub fn idle_bytes(&self) -> u64 {
        match self.ahead {
            Some(Language::JavaScript | Language::TypeScript) => 48 << 20,
            // What it imports in there is its own.
            _ if !self.modules.is_empty() => 64 << 20,
            // A fork shares with its zygote what it has not touched.
            _ if !self.image.layers.is_empty() => 4 << 20,
            _ => 2 << 20,
        }
    }
}

/// What a zygote has warm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warm {
    /// Whose Python it is.
    pub image: sandbox::Image,
    /// What it imports, besides what every program may want.
    pub modules: Vec<String>,
    /// Programs that it runs when it has them, so that no fork is the first to.
    pub rehearsals: Vec<String>,
}

/// What a keeper tells of a settled run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub result: RunResult,
    pub measured: Measured,
}

/// One run for a keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The run.
    pub id: RunId,
    /// When it was admitted, RFC 3339 in UTC.
    pub created_at: String,
    /// What to run.
    pub spec: RunSpec,
    /// Where to copy artifacts: the n-th of the result is the file `n` there. The directory is made when there are any.
    pub artifacts: PathBuf,
}
