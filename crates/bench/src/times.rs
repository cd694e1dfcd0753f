//! Times of one thing that was done again and again.

use std::time::Duration;

/// Milliseconds, in the order in which they were measured.
#[derive(Debug, Clone, Default)]
pub struct Times {
    all: Vec<f64>,
}

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.all.push(time.as_secs_f64() * 1e3);
    }

    /// Adds all of another.
    pub fn append(&mut self, mut other: Times) {
        self.all.append(&mut other.all);
    }

    /// The median of how much longer each took than the one of another that was measured beside it: noise that hits both is not in it.
    pub fn p50_above(&self, other: &Times) -> Option<f64> {
        let above: Vec<f64> = self.all.iter().zip(&other.all).map(|(time, other)| time - other).collect();
        median(&above)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The least: what a thing takes when nothing disturbs it. `None` if nothing was measured.
    pub fn least(&self) -> Option<f64> {
        self.all.iter().copied().min_by(f64::total_cmp)
    }

    /// The median; `None` if nothing was measured.
    pub fn p50(&self) -> Option<f64> {
        self.at(0.5)
    }

    /// What 99 of 100 do not exceed. Of fewer than a hundred it is the longest.
    pub fn p99(&self) -> Option<f64> {
        self.at(0.99)
    }

    /// The nearest rank: the smallest that no more than the rest exceed.
    fn at(&self, share: f64) -> Option<f64> {
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

/// The median of figures that are no times.
pub fn median(figures: &[f64]) -> Option<f64> {
    Times { all: figures.to_vec() }.p50()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let times = |count: u64| {
            let mut times = Times::default();
            (1..=count).rev().for_each(|ms| times.push(Duration::from_millis(ms)));
            (times.p50(), times.p99())
        };
        assert_eq!(times(0), (None, None));
        assert_eq!(times(1), (Some(1.0), Some(1.0)));
        assert_eq!(times(4), (Some(2.0), Some(4.0)));
        assert_eq!(times(100), (Some(50.0), Some(99.0)));
        assert_eq!(times(1000), (Some(500.0), Some(990.0)));
    }

    #[test]
    fn differences_are_of_pairs() {
        let (mut long, mut short) = (Times::default(), Times::default());
        for noise in [0, 50, 1000] {
            long.push(Duration::from_millis(noise + 3));
            short.push(Duration::from_millis(noise + 1));
        }
        assert_eq!(long.p50_above(&short), Some(2.0));
        assert_eq!(long.p50_above(&Times::default()), None);
    }
}
