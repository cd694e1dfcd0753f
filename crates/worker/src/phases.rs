//! Where the time of runs goes: a histogram for each phase between the queue and the end of the sandbox.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; the last is everything.
const BUCKETS_US: [u64; 14] =
    [100, 250, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 5_000_000];

/// One part of a run's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In the queue.
    Queue,
    /// Until a keeper had the job.
    Lease,
    /// The building of a sandbox, mostly ahead of need.
    Build,
    /// From the job's arrival to the first instruction of its program, or of its interpreter.
    Fork,
    /// The code itself.
    Guest,
    /// Reading the rest of the output, judging, collecting artifacts.
    Collect,
    /// Destroying the sandbox, after the answer.
    Teardown,
}

impl Phase {
    const ALL: [Self; 7] =
        [Self::Queue, Self::Lease, Self::Build, Self::Fork, Self::Guest, Self::Collect, Self::Teardown];

    fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Lease => "lease",
            Self::Build => "build",
            Self::Fork => "fork",
            Self::Guest => "guest",
            Self::Collect => "collect",
            Self::Teardown => "teardown",
        }
    }
}

/// What another node did for a run before it had a place there, in microseconds; what does not apply is absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    /// The installation of its packages.
    pub install: Option<u64>,
    /// Its compilation.
    pub compile: Option<u64>,
}

/// What was measured of a run, in microseconds; what does not apply is absent.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Of a run on another node.
    #[serde(skip)]
    pub before: Option<Before>,
    /// As [`Phase::Lease`]; the keeper does not know it.
    #[serde(skip)]
    pub lease: Option<u64>,
    /// As [`Phase::Build`].
    pub build: Option<u64>,
    /// As [`Phase::Fork`].
    pub fork: Option<u64>,
    /// As [`Phase::Guest`].
    pub guest: Option<u64>,
    /// As [`Phase::Collect`].
    pub collect: Option<u64>,
    /// Of the sandbox before this one.
    pub teardown: Option<u64>,
}

/// All histograms of one machine.
#[derive(Debug, Default)]
pub struct Phases {
    histograms: Mutex<[Histogram; Phase::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS_US.len()],
    count: u64,
    sum_us: u64,
}

impl Phases {
    /// Counts one phase of one run.
    pub fn add(&self, phase: Phase, took: Duration) {
        self.add_us(phase, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add_measured(&self, measured: &Measured) {
        let Measured { build, fork, guest, collect, teardown, .. } = *measured;
        let of_keeper = [
            (Phase::Build, build),
            (Phase::Fork, fork),
            (Phase::Guest, guest),
            (Phase::Collect, collect),
            (Phase::Teardown, teardown),
        ];
        for (phase, us) in of_keeper {
            if let Some(us) = us {
                self.add_us(phase, us);
            }
        }
    }

    fn add_us(&self, phase: Phase, us: u64) {
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = &mut histograms[phase as usize];
        if let Some(bucket) = BUCKETS_US.iter().position(|bound| us <= *bound) {
            histogram.buckets[bucket] += 1;
        }
        histogram.count += 1;
        histogram.sum_us = histogram.sum_us.saturating_add(us);
    }

    /// Writes all in the text format of Prometheus.
    pub fn write(&self, text: &mut String) {
        let histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "fireclay_phase_seconds";
        let mut all = || -> std::fmt::Result {
            writeln!(text, "# HELP {name} Time that runs spent in each phase\n# TYPE {name} histogram")?;
            for (phase, histogram) in Phase::ALL.into_iter().zip(histograms.iter()) {
                let phase = phase.name();
                let mut below = 0;
                for (bound, count) in BUCKETS_US.iter().zip(histogram.buckets) {
                    below += count;
                    let seconds = *bound as f64 / 1e6;
                    writeln!(text, "{name}_bucket{{phase=\"{phase}\",le=\"{seconds}\"}} {below}")?;
                }
                writeln!(text, "{name}_bucket{{phase=\"{phase}\",le=\"+Inf\"}} {}", histogram.count)?;
                writeln!(text, "{name}_sum{{phase=\"{phase}\"}} {}", histogram.sum_us as f64 / 1e6)?;
                writeln!(text, "{name}_count{{phase=\"{phase}\"}} {}", histogram.count)?;
            }
            Ok(())
        };
        all().expect("a String takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_that_is_below_them() {
        let phases = Phases::default();
        for us in [90, 100, 101, 9_000_000] {
            phases.add(Phase::Fork, Duration::from_micros(us));
        }
        let mut text = String::new();
        phases.write(&mut text);
        for line in [
            "fireclay_phase_seconds_bucket{phase=\"fork\",le=\"0.0001\"} 2",
            "fireclay_phase_seconds_bucket{phase=\"fork\",le=\"0.00025\"} 3",
            "fireclay_phase_seconds_bucket{phase=\"fork\",le=\"5\"} 3",
            "fireclay_phase_seconds_bucket{phase=\"fork\",le=\"+Inf\"} 4",
            "fireclay_phase_seconds_sum{phase=\"fork\"} 9.000291",
            "fireclay_phase_seconds_count{phase=\"queue\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
