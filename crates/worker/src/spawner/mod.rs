//! The processes that make sandboxes for a service, and what they are told.
//!
//! ```text
//! service (tokio, holds secrets)          spawner (one thread, no secrets)      keeper (one for each sandbox)
//!     ── keep + [its socket] ───────────────► clones a keeper ──────────────────► waits
//!     ── job in a memory file ──────────────────────────────────────────────────► runs it
//!     ◄──────────────────────────────── packets of output, as they come ────────
//!     ── anything, or the end of the socket ────────────────────────────────────► cancels
//!     ◄──────────────────────────────── settled: result in a memory file ───────  ends
//! ```
//!
//! All sockets are seqpacket: a packet is one message, its first byte says which. The spawner is the same binary, started before
//! any secret is loaded, so that no sandbox is ever a copy of a process that held one. A keeper serves one sandbox and ends; if it
//! dies, only its own run is lost. If the service dies, every keeper sees the end of its socket and destroys its sandbox.

mod keeper;
mod process;

pub use process::live;

use model::{Layer, RunId, RunSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// To the spawner: clone a keeper that speaks over the socket that comes with this.
pub(crate) const KEEP: u8 = b'k';
/// To a keeper: run the job in the memory file that comes with this.
pub(crate) const RUN: u8 = b'r';
/// To a keeper: end the run.
pub(crate) const CANCEL: u8 = b'c';
/// From a keeper: bytes of standard output.
pub(crate) const STDOUT: u8 = b'o';
/// From a keeper: bytes of standard error.
pub(crate) const STDERR: u8 = b'e';
/// From a keeper: the run is settled; its [`model::RunResult`] is in the memory file that comes with this.
pub(crate) const SETTLED: u8 = b's';

/// Longest packet: a tag and a piece of output.
pub(crate) const PACKET_BYTES_MAX: usize = 1 + sandbox::forward::PACKET_BYTES;

/// One run for a keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The run.
    pub id: RunId,
    /// When it was admitted, RFC 3339 in UTC.
    pub created_at: String,
    /// What to run.
    pub spec: RunSpec,
    /// On what.
    pub image: sandbox::Image,
    /// Layers that may be absent if the machine lacks them.
    pub allow_missing: BTreeSet<Layer>,
    /// Where to copy artifacts: the n-th of the result is the file `n` there. The directory is made when there are any.
    pub artifacts: PathBuf,
}
