//! Batches: many items in one request, each answered as it is done; graded programs, groups of samples, and how they are judged.
//!
//! Pure: [`item`] (what a line says), [`compare`], [`grade`] (what a case asks and what an ended run is worth), [`answer`].
//! Performed: [`intake`] (body → recorded lines), [`feed`] (recorded lines → runs → recorded answers), [`live`] (who follows).
//!
//! ```text
//! body ── intake ──► store: lines ── feed ──► service: runs ──► store: answers ── live ──► whoever follows
//! ```
//!
//! Lines wait on disk, not in memory; the body is not read on while [`PENDING_BYTES_MAX`] wait. An answer is in the store before
//! anyone sees it, so a client that takes its time holds up nobody.

pub mod answer;
pub mod compare;
pub mod feed;
pub mod grade;
pub mod intake;
pub mod item;
pub mod live;
mod perform;

pub use live::{Batches, LiveBatch};

/// Most items of one batch.
pub const ITEMS_MAX: u32 = 100_000;
/// Most bytes of lines that are recorded and not yet answered; then the body waits.
pub const PENDING_BYTES_MAX: u64 = 1 << 30;
/// Most batches of one tenant that have not ended.
pub const RUNNING_MAX: usize = 64;
/// Most cases of one item.
pub const CASES_MAX: usize = 1_000;
/// Most programs of one group.
pub const PROGRAMS_MAX: usize = 1_000;
/// Most runs that one item asks for: programs times cases.
pub const EVALUATIONS_MAX: usize = 10_000;
/// How often a run is tried again after a fault that may pass.
pub const RETRIES: usize = 2;

/// What is asked of a batch as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Options {
    /// Runs at once; absent is as many as keep the machine busy.
    pub concurrency: Option<usize>,
    /// Whether identical items are run once.
    pub dedupe: bool,
}
