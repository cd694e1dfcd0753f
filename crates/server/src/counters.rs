//! What was counted since the service started, for `/metrics`.

use model::RunResult;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Upper bounds of the buckets of run times, in seconds; the last is everything.
const BUCKETS_S: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0];

/// Counters; they only grow.
#[derive(Debug, Default)]
pub struct Counters {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By language and outcome, or `fault`.
    runs: BTreeMap<(&'static str, &'static str), u64>,
    wall: Histogram,
    queue: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS_S.len()],
    count: u64,
    sum_ms: u64,
}

impl Histogram {
    fn add(&mut self, ms: u64) {
        let seconds = ms as f64 / 1000.0;
        for (bound, bucket) in BUCKETS_S.iter().zip(&mut self.buckets) {
            *bucket += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum_ms += ms;
    }

    fn write(&self, name: &str, help: &str, text: &mut String) -> std::fmt::Result {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        for (bound, bucket) in BUCKETS_S.iter().zip(&self.buckets) {
            writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {bucket}")?;
        }
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", self.count)?;
        writeln!(text, "{name}_sum {}\n{name}_count {}", self.sum_ms as f64 / 1000.0, self.count)
    }
}

impl Counters {
    /// Counts a settled run.
    pub fn settled(&self, result: &RunResult) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fate = result.outcome.map_or("fault", model::Outcome::name);
        *state.runs.entry((result.language.name(), fate)).or_default() += 1;
        state.wall.add(result.usage.wall_ms);
        state.queue.add(result.usage.queue_ms);
    }

    /// Writes all in the text format of Prometheus.
    pub fn write(&self, text: &mut String) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = || -> std::fmt::Result {
            writeln!(text, "# HELP fireclay_runs_total Settled runs\n# TYPE fireclay_runs_total counter")?;
            for ((language, outcome), count) in &state.runs {
                writeln!(
                    text,
                    "fireclay_runs_total{{language=\"{language}\",outcome=\"{outcome}\"}} {count}"
                )?;
            }
            state.wall.write("fireclay_run_seconds", "Time from the start of the code to its end", text)?;
            state.queue.write("fireclay_queue_seconds", "Time that runs waited for a place", text)
        };
        all().expect("a String takes all");
    }
}
