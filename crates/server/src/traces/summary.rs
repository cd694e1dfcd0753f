//! Traces in numbers: how many, how they ended, how long they took, what they cost, in all and over time. Pure.

use serde::Serialize;
use std::collections::BTreeMap;
use store::{TraceDigest, TraceKind};
use utoipa::ToSchema;

/// Most parts that a span of time is divided into.
pub const BUCKETS_MAX: usize = 240;

/// Outcomes that are no failures.
pub const WELL: [&str; 8] =
    ["completed", "answered", "closed", "idle", "expired", "settled", "cancelled", "unset"];

/// How long traces took, in milliseconds: the nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = TraceDurations)]
pub struct Durations {
    /// Half took no longer.
    pub p50: f64,
    /// Nine of ten took no longer.
    pub p90: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// What one model was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = TraceModelUse)]
pub struct ModelNumbers {
    /// Which, as `provider:model`.
    pub model: String,
    /// Requests.
    pub calls: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Dollars, as far as prices are known.
    pub cost_usd: f64,
    /// How long one took, on average.
    pub duration_ms_mean: f64,
}

/// One part of the time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = TraceBucket)]
pub struct Bucket {
    /// When it begins, RFC 3339 in UTC.
    pub at: String,
    /// How many traces that began in it ended so; `running` for those that have not, `open` for sessions that have not.
    pub by_outcome: BTreeMap<String, u64>,
    /// Half of those that ended took no longer, in milliseconds; sessions left out.
    pub p50: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99: Option<f64>,
    /// Dollars.
    pub cost_usd: f64,
}

/// All numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    /// All traces.
    pub total: u64,
    /// Of these, on their way; sessions, which wait more than they work, are not counted here.
    pub running: u64,
    /// Of these, ended, and not badly: as [`WELL`] says.
    pub well: u64,
    /// Of these, by how they ended.
    pub by_outcome: BTreeMap<String, u64>,
    /// How long they took, without sessions: those last as long as somebody lets them.
    pub durations: Durations,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Dollars.
    pub cost_usd: f64,
    /// By model, those that were asked most first.
    pub models: Vec<ModelNumbers>,
    /// Over time, oldest first.
    pub buckets: Vec<Bucket>,
}

/// The numbers of these traces, which began between two times (microseconds since 1970), in so many buckets.
pub fn numbers(digests: &[TraceDigest], (since_us, until_us): (i64, i64), buckets: usize) -> Numbers {
    let mut all = Numbers::default();
    let mut models: BTreeMap<&str, (ModelNumbers, u64)> = BTreeMap::new();
    let width = ((until_us - since_us).max(1) as u64).div_ceil(buckets.max(1) as u64).max(1);
    let mut parts: Vec<(Bucket, Vec<i64>)> = (0..buckets as u64)
        .map(|place| {
            let at = since_us.saturating_add((place * width) as i64);
            (Bucket { at: super::time(at), ..Bucket::default() }, Vec::new())
        })
        .collect();
    let mut took = Vec::new();
    for digest in digests {
        let stays = digest.kind == TraceKind::Session;
        let outcome = digest.outcome.as_deref().unwrap_or(if stays { "open" } else { "running" });
        let own_us = digest.took_us.filter(|_| !stays);
        all.total += 1;
        if digest.took_us.is_none() {
            all.running += u64::from(!stays);
        } else {
            *all.by_outcome.entry(outcome.to_owned()).or_default() += 1;
            all.well += u64::from(WELL.contains(&outcome));
        }
        took.extend(own_us);
        all.tokens_in += digest.tokens_in;
        all.tokens_out += digest.tokens_out;
        all.cost_usd += digest.cost_usd;
        if let Some(model) = &digest.model {
            let (numbers, us) = models.entry(model).or_default();
            numbers.calls += digest.calls;
            numbers.failed += digest.calls_failed;
            numbers.tokens_in += digest.tokens_in;
            numbers.tokens_out += digest.tokens_out;
            numbers.cost_usd += digest.cost_usd;
            *us += digest.calls_us;
        }
        let place = (digest.started_us - since_us).max(0) as u64 / width;
        if let Some((bucket, took)) = parts.get_mut(usize::try_from(place).unwrap_or(usize::MAX)) {
            *bucket.by_outcome.entry(outcome.to_owned()).or_default() += 1;
            bucket.cost_usd += digest.cost_usd;
            took.extend(own_us);
        }
    }
    took.sort_unstable();
    if let Some(max) = took.last() {
        let rank = |share| ranked(&took, share).unwrap_or(0.0);
        all.durations = Durations { p50: rank(50), p90: rank(90), p99: rank(99), max: ms(*max) };
    }
    all.models = models
        .into_iter()
        .map(|(model, (numbers, us))| ModelNumbers {
            model: model.to_owned(),
            duration_ms_mean: if numbers.calls == 0 {
                0.0
            } else {
                us as f64 / 1000.0 / numbers.calls as f64
            },
            ..numbers
        })
        .collect();
    all.models.sort_by_key(|model| std::cmp::Reverse(model.calls));
    all.buckets = parts
        .into_iter()
        .map(|(bucket, mut took)| {
            took.sort_unstable();
            Bucket { p50: ranked(&took, 50), p99: ranked(&took, 99), ..bucket }
        })
        .collect();
    all
}

fn ms(us: i64) -> f64 {
    us as f64 / 1000.0
}

/// The nearest rank of a share in percent among sorted times, in milliseconds.
fn ranked(sorted: &[i64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|us| ms(*us))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(started_us: i64, took_ms: Option<i64>, outcome: &str) -> TraceDigest {
        TraceDigest {
            kind: TraceKind::Run,
            started_us,
            took_us: took_ms.map(|ms| ms * 1000),
            outcome: took_ms.map(|_| outcome.to_owned()),
            model: None,
            tokens_in: 0,
            tokens_out: 0,
            cost_usd: 0.0,
            calls: 0,
            calls_failed: 0,
            calls_us: 0,
        }
    }

    #[test]
    fn every_trace_is_counted_once_and_where_it_began() {
        let mut digests: Vec<_> = (1..=100).map(|n| digest(n, Some(n), "completed")).collect();
        digests.push(digest(199, Some(7), "failed"));
        digests.push(digest(199, None, ""));
        let model = TraceDigest {
            model: Some("m".into()),
            calls: 2,
            calls_us: 3000,
            cost_usd: 0.5,
            ..digest(0, Some(1), "answered")
        };
        digests.push(model);
        let numbers = numbers(&digests, (0, 200), 2);
        assert_eq!((numbers.total, numbers.running), (103, 1));
        assert_eq!(numbers.by_outcome["completed"], 100);
        assert_eq!((numbers.durations.max, numbers.durations.p50), (100.0, 49.0));
        assert_eq!(numbers.buckets.len(), 2);
        assert_eq!(numbers.buckets[1].by_outcome["failed"], 1);
        assert_eq!(numbers.buckets[1].by_outcome["running"], 1);
        let counted: u64 = numbers.buckets.iter().flat_map(|bucket| bucket.by_outcome.values()).sum();
        assert_eq!(counted, numbers.total);
        assert_eq!((numbers.models[0].calls, numbers.models[0].duration_ms_mean), (2, 1.5));
    }

    #[test]
    fn sessions_are_counted_and_make_nothing_slow() {
        let session =
            |took_ms, outcome| TraceDigest { kind: TraceKind::Session, ..digest(1, took_ms, outcome) };
        let digests =
            [digest(1, Some(4), "completed"), session(Some(3_600_000), "closed"), session(None, "")];
        let told = numbers(&digests, (0, 10), 1);
        assert_eq!((told.total, told.running, told.well), (3, 0, 2));
        assert_eq!((told.durations.p99, told.durations.max, told.buckets[0].p99), (4.0, 4.0, Some(4.0)));
        assert_eq!((told.by_outcome["closed"], told.buckets[0].by_outcome["open"]), (1, 1));
        // A run of that length does count.
        let slow = numbers(&[digest(1, Some(3_600_000), "failed")], (0, 10), 1);
        assert_eq!((slow.durations.p99, slow.well), (3_600_000.0, 0));
    }

    #[test]
    fn nothing_is_zero_and_no_division() {
        let none = numbers(&[], (5, 5), 3);
        assert_eq!((none.total, none.buckets.len(), none.buckets[0].p50), (0, 3, None));
    }
}
