//! What became of a run: from what the kernel and the supervisor saw to exactly one outcome. Pure.

use model::{Limit, Outcome};
use std::collections::BTreeSet;
use sys::process::Ended;

/// Why the supervisor ended a run itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The deadline passed.
    TimedOut,
    /// Memory passed its limit.
    MemoryExceeded,
    /// Output passed the hard cap.
    OutputExceeded,
    /// The caller took it back.
    Cancelled,
}

/// What was seen of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// How the job ended by itself, if it did.
    pub ended: Option<Ended>,
    /// Why the supervisor ended it, if it did.
    pub stop: Option<Stop>,
    /// Processes that the kernel killed for memory.
    pub oom_kills: u64,
    /// Processes that were refused.
    pub process_refusals: u64,
    /// The scratch file system was found full.
    pub disk_full: bool,
    /// Output passed the soft cap.
    pub output_truncated: bool,
}

/// What became of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The fate of the code.
    pub outcome: Outcome,
    /// Every limit that was touched.
    pub limits_hit: Vec<Limit>,
    /// The code's own exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

/// Judges a run. `None` if neither the job nor the supervisor ended it: then the sandbox itself died, a fault.
pub fn judge(seen: &Seen) -> Option<Judgement> {
    let (outcome, exit_code, signal) = match (seen.stop, seen.ended) {
        (Some(Stop::TimedOut), _) => (Outcome::TimedOut, None, Some(libc::SIGKILL)),
        (Some(Stop::MemoryExceeded), _) => (Outcome::MemoryExceeded, None, Some(libc::SIGKILL)),
        (Some(Stop::OutputExceeded), _) => (Outcome::OutputExceeded, None, Some(libc::SIGKILL)),
        (Some(Stop::Cancelled), _) => (Outcome::Cancelled, None, Some(libc::SIGKILL)),
        (None, Some(Ended::Signalled(signal))) => (signalled(signal, seen), None, Some(signal)),
        (None, Some(Ended::Exited(code))) => (exited(code, seen), Some(code), None),
        (None, None) => return None,
    };
    let touched = [
        (Limit::Timeout, outcome == Outcome::TimedOut),
        (Limit::Memory, outcome == Outcome::MemoryExceeded || seen.oom_kills > 0),
        (Limit::Processes, seen.process_refusals > 0),
        (Limit::Disk, outcome == Outcome::DiskExceeded || seen.disk_full),
        (Limit::Output, seen.output_truncated),
    ];
    let limits_hit: BTreeSet<Limit> =
        touched.into_iter().filter_map(|(limit, hit)| hit.then_some(limit)).collect();
    Some(Judgement { outcome, limits_hit: limits_hit.into_iter().collect(), exit_code, signal })
}

fn signalled(signal: i32, seen: &Seen) -> Outcome {
    match signal {
        libc::SIGKILL if seen.oom_kills > 0 => Outcome::MemoryExceeded,
        libc::SIGXFSZ => Outcome::DiskExceeded,
        _ => Outcome::Signalled,
    }
}

fn exited(code: i32, seen: &Seen) -> Outcome {
    match code {
        0 => Outcome::Completed,
        // A shell says so of its last command: 128 and SIGKILL.
        137 if seen.oom_kills > 0 => Outcome::MemoryExceeded,
        _ if seen.disk_full => Outcome::DiskExceeded,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let exited = |code| Seen { ended: Some(Ended::Exited(code)), ..Seen::default() };
        let killed = |signal| Seen { ended: Some(Ended::Signalled(signal)), ..Seen::default() };
        let stopped = |stop| Seen { stop: Some(stop), ..Seen::default() };
        let rows = [
            (exited(0), Outcome::Completed, vec![]),
            (exited(3), Outcome::Failed, vec![]),
            (Seen { disk_full: true, ..exited(1) }, Outcome::DiskExceeded, vec![Limit::Disk]),
            (Seen { disk_full: true, ..exited(0) }, Outcome::Completed, vec![Limit::Disk]),
            (Seen { oom_kills: 1, ..exited(0) }, Outcome::Completed, vec![Limit::Memory]),
            (Seen { oom_kills: 1, ..exited(137) }, Outcome::MemoryExceeded, vec![Limit::Memory]),
            (Seen { oom_kills: 1, ..killed(9) }, Outcome::MemoryExceeded, vec![Limit::Memory]),
            (killed(9), Outcome::Signalled, vec![]),
            (killed(11), Outcome::Signalled, vec![]),
            (killed(libc::SIGXFSZ), Outcome::DiskExceeded, vec![Limit::Disk]),
            (stopped(Stop::TimedOut), Outcome::TimedOut, vec![Limit::Timeout]),
            (stopped(Stop::MemoryExceeded), Outcome::MemoryExceeded, vec![Limit::Memory]),
            (
                Seen { output_truncated: true, ..stopped(Stop::OutputExceeded) },
                Outcome::OutputExceeded,
                vec![Limit::Output],
            ),
            (stopped(Stop::Cancelled), Outcome::Cancelled, vec![]),
            (
                Seen { process_refusals: 2, output_truncated: true, ..exited(0) },
                Outcome::Completed,
                vec![Limit::Processes, Limit::Output],
            ),
            // The deadline and the job's end met: what the supervisor decided first is what ended it.
            (Seen { stop: Some(Stop::TimedOut), ..exited(0) }, Outcome::TimedOut, vec![Limit::Timeout]),
        ];
        for (seen, outcome, limits) in rows {
            let judgement = judge(&seen).unwrap();
            assert_eq!((judgement.outcome, judgement.limits_hit), (outcome, limits), "{seen:?}");
        }
        assert_eq!(judge(&Seen::default()), None);
    }
}
