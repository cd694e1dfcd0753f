//! One look at a service: its metrics, if the key may read them, and its traces in numbers.

use crate::client::{Client, in_query};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// The time that numbers of traces are about.
pub const SINCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// In how many parts.
pub const BUCKETS: usize = 60;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Where.
    pub url: String,
    /// When, for people: UTC.
    pub at: String,
    /// When.
    pub(super) taken: Option<Instant>,
    /// Metrics by name with labels; nothing if the key may not read them.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// As `GET /v1/traces/summary` has it.
    pub traces: Value,
    /// Runs in a second since the look before, else over the whole time.
    pub rate: f64,
    /// Why there is no answer; what was seen before is still told.
    pub error: Option<String>,
}

impl Look {
    /// Looks. What was seen before is what the rate is reckoned from, and what is shown when there is no answer.
    pub fn at(client: &Client, before: Option<&Self>) -> Self {
        let now = jiff::Timestamp::now();
        let at = now.strftime("%H:%M:%S UTC").to_string();
        let since = now.checked_sub(SINCE).unwrap_or(now).to_string();
        let path = format!("/v1/traces/summary?buckets={BUCKETS}&since={}", in_query(&since));
        let traces = match client.call::<Value>("GET", &path, None) {
            Ok(traces) => traces,
            Err(error) => {
                let seen = before.cloned().unwrap_or_default();
                return Self { url: client.url().to_owned(), at, error: Some(format!("{error:#}")), ..seen };
            }
        };
        let metrics = client.text("/metrics").ok().map(|text| parse(&text));
        let mut look = Self {
            url: client.url().to_owned(),
            at,
            taken: Some(Instant::now()),
            metrics,
            traces,
            rate: 0.0,
            error: None,
        };
        look.rate = look.rate_since(before);
        look
    }

    fn rate_since(&self, before: Option<&Self>) -> f64 {
        let overall = || self.traces["total"].as_f64().unwrap_or(0.0) / SINCE.as_secs_f64();
        let Some(before) = before else { return overall() };
        let (Some(now), Some(then)) = (self.taken, before.taken) else { return overall() };
        let (Some(_), Some(_)) = (&self.metrics, &before.metrics) else { return overall() };
        let (runs, earlier) = (self.sum("fireclay_runs_total"), before.sum("fireclay_runs_total"));
        // One that started anew counts from nothing.
        let more = if runs >= earlier { runs - earlier } else { runs };
        more / now.duration_since(then).as_secs_f64().max(0.001)
    }

    /// A metric without labels; nothing if it is not told.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.as_ref()?.get(name).copied()
    }

    /// The sum of a metric over its labels.
    pub fn sum(&self, name: &str) -> f64 {
        let own =
            |full: &str| full.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        let all = self.metrics.iter().flatten();
        all.filter(|(full, _)| own(full)).map(|(_, value)| value).sum::<f64>() + 0.0
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "url": self.url, "at": self.at, "error": self.error, "runs_per_second": self.rate,
            "metrics": self.metrics, "traces": self.traces,
        })
    }
}

/// Reads metrics in the text format of Prometheus: the value of each sample, histograms' parts among them.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_and_summed() {
        let text =
            "# HELP a b\na 1\nruns_total{o=\"x y\"} 2\nruns_total{o=\"z\"} 3.5\nruns_total_of 9\nbad line\n";
        let look = Look { metrics: Some(parse(text)), ..Look::default() };
        assert_eq!((look.metric("a"), look.metric("b")), (Some(1.0), None));
        assert_eq!(look.sum("runs_total"), 5.5);
    }
}
