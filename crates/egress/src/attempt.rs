//! What the code tried: each attempt, allowed or not, as an event, and sums of them all. Bounded in number and length.

use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// One connection of the sandbox to its proxy, told when it has ended. No string is longer than 800 bytes, and all are printable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The host that was asked for: its one spelling, or if it has none what was written. Empty if nothing was.
    pub host: String,
    /// The port, or 0 if none was understood.
    pub port: u16,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was refused, failed or cut short, as the client was told; empty if all passed.
    pub reason: String,
    /// Bytes that went to the server.
    pub bytes_up: u64,
    /// Bytes that came from it.
    pub bytes_down: u64,
    /// How long it lasted, in milliseconds.
    pub ms: u64,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passed.
    Allowed,
    /// A rule, an address or a form that is not allowed, or a limit. Bytes may have passed before a limit.
    Refused,
    /// It was allowed, and the network or the server failed it.
    Failed,
}

/// Takes each [`Attempt`]. It is called on the proxy's threads and must not wait.
pub type Sink = Box<dyn Fn(Attempt) + Send + Sync>;

/// Sums over all attempts of a sandbox, also those that were not told one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections that have ended.
    pub attempts: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Bytes to servers.
    pub bytes_up: u64,
    /// Bytes from servers.
    pub bytes_down: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if *self == Self::Up { "sent" } else { "received" })
    }
}

/// Counts what passes, holds the sums to their limits, and tells attempts while there are not too many.
pub(crate) struct Ledger {
    sink: Sink,
    told_max: u64,
    bytes_max: [u64; 2],
    bytes: [AtomicU64; 2],
    // By verdict.
    attempts: [AtomicU64; 3],
}

impl Ledger {
    pub(crate) fn new(sink: Sink, limits: &crate::Limits) -> Self {
        Self {
            sink,
            told_max: limits.attempts_max,
            bytes_max: [limits.bytes_up_max, limits.bytes_down_max],
            bytes: Default::default(),
            attempts: Default::default(),
        }
    }

    /// How many bytes may still go this way.
    pub(crate) fn left(&self, way: Way) -> u64 {
        self.bytes_max[way as usize].saturating_sub(self.bytes[way as usize].load(Ordering::Relaxed))
    }

    /// Takes as many of `wanted` bytes as are left, and returns their number. Never gives out more than the limit.
    pub(crate) fn take(&self, way: Way, wanted: usize) -> Result<usize, Refusal> {
        let (max, wanted) = (self.bytes_max[way as usize], wanted as u64);
        let add = |used: u64| (used < max).then(|| used + wanted.min(max - used));
        let before = self.bytes[way as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        match before {
            Ok(used) => Ok(usize::try_from(wanted.min(max - used)).unwrap_or(usize::MAX)),
            Err(_) => Err(Refusal::Bytes(way, max)),
        }
    }

    pub(crate) fn tell(&self, attempt: Attempt) {
        let before = self.attempts[attempt.verdict as usize].fetch_add(1, Ordering::Relaxed);
        if before < self.told_max {
            (self.sink)(attempt);
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            attempts: self.attempts.iter().map(load).sum(),
            refused: load(&self.attempts[Verdict::Refused as usize]),
            bytes_up: load(&self.bytes[0]),
            bytes_down: load(&self.bytes[1]),
        }
    }
}
