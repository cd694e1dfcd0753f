//! Runs that wait for the one before them: one lane for each session, and in each one run at a time. A plain value.

use std::collections::{BTreeMap, VecDeque};

/// Most runs that wait in one lane.
pub const WAITING_MAX: usize = 1_000;
/// Most bytes of code, input and files that wait in one lane.
pub const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Lanes by name.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: BTreeMap<String, Lane<T>>,
}

/// A lane that has a run on its way.
#[derive(Debug)]
struct Lane<T> {
    /// With their names and weights.
    waiting: VecDeque<(String, u64, T)>,
    bytes: u64,
}

/// What became of a run that entered a lane.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered<T> {
    /// It may go on at once.
    First(T),
    /// It waits.
    Waits,
    /// The lane is full.
    Full,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new() }
    }
}

impl<T> Lanes<T> {
    /// Enters a lane.
    pub fn enter(&mut self, lane: &str, name: &str, weight: u64, item: T) -> Entered<T> {
        let Some(own) = self.lanes.get_mut(lane) else {
            self.lanes.insert(lane.to_owned(), Lane { waiting: VecDeque::new(), bytes: 0 });
            return Entered::First(item);
        };
        if own.waiting.len() >= WAITING_MAX || own.bytes.saturating_add(weight) > WAITING_BYTES_MAX {
            return Entered::Full;
        }
        own.bytes += weight;
        own.waiting.push_back((name.to_owned(), weight, item));
        Entered::Waits
    }

    /// The one that is on its way leaves; returns who is next.
    pub fn leave(&mut self, lane: &str) -> Option<T> {
        let own = self.lanes.get_mut(lane)?;
        match own.waiting.pop_front() {
            Some((_, weight, item)) => {
                own.bytes -= weight;
                Some(item)
            }
            None => {
                self.lanes.remove(lane);
                None
            }
        }
    }

    /// Takes one out that waits; `None` if it has gone on.
    pub fn remove(&mut self, lane: &str, name: &str) -> Option<T> {
        let own = self.lanes.get_mut(lane)?;
        let at = own.waiting.iter().position(|(other, ..)| other == name)?;
        let (_, weight, item) = own.waiting.remove(at)?;
        own.bytes -= weight;
        Some(item)
    }

    /// How many wait in all lanes.
    pub fn waiting(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_at_a_time_and_in_order() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", "1", 1, 1), Entered::First(1));
        assert_eq!(lanes.enter("b", "9", 1, 9), Entered::First(9));
        for number in 2..=4 {
            assert_eq!(lanes.enter("a", &number.to_string(), 1, number), Entered::Waits);
        }
        assert_eq!(
            (lanes.remove("a", "3"), lanes.remove("a", "3"), lanes.remove("a", "1")),
            (Some(3), None, None)
        );
        assert_eq!(
            (lanes.leave("a"), lanes.leave("a"), lanes.leave("a"), lanes.leave("a")),
            (Some(2), Some(4), None, None)
        );
        assert_eq!(lanes.enter("a", "5", 1, 5), Entered::First(5));
        assert_eq!(lanes.waiting(), 0);
    }

    #[test]
    fn a_lane_is_bounded_in_number_and_bytes() {
        let mut lanes = Lanes::default();
        lanes.enter("a", "0", 0, 0);
        assert_eq!(lanes.enter("a", "big", WAITING_BYTES_MAX + 1, 0), Entered::Full);
        assert_eq!(lanes.enter("a", "big", WAITING_BYTES_MAX, 0), Entered::Waits);
        assert_eq!(lanes.enter("a", "one", 1, 0), Entered::Full);
        assert_eq!(lanes.leave("a"), Some(0));
        for _ in 0..WAITING_MAX {
            assert_eq!(lanes.enter("a", "n", 0, 0), Entered::Waits);
        }
        assert_eq!(lanes.enter("a", "n", 0, 0), Entered::Full);
    }
}
