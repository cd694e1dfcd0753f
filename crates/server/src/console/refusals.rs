//! How often those were refused who wanted to log in: whoever tries many is told to wait, and the audit log is not theirs to fill.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time that refusals are counted for.
const WINDOW: Duration = Duration::from_secs(60);
/// Refusals of one address in that time.
const OF_ONE_MAX: u32 = 10;
/// Refusals of all.
const OF_ALL_MAX: u32 = 100;

/// Refusals of the last minute.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    since: Option<Instant>,
    all: u32,
    of: HashMap<Option<IpAddr>, u32>,
}

impl Refusals {
    /// Counts one of this address; whether there were not too many.
    pub fn may(&self, from: Option<IpAddr>, now: Instant) -> bool {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            *lately = Lately { since: Some(now), ..Lately::default() };
        }
        // So there are never more addresses than that.
        if lately.all >= OF_ALL_MAX {
            return false;
        }
        let own = lately.of.entry(from).or_default();
        *own += 1;
        let may = *own <= OF_ONE_MAX;
        lately.all += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_tries_often_waits_for_a_minute_and_others_do_not() {
        let (refusals, began) = (Refusals::default(), Instant::now());
        let [one, other] = [1, 2].map(|last| Some(IpAddr::from([127, 0, 0, last])));
        let may = |from, after| refusals.may(from, began + Duration::from_secs(after));
        assert!((0..10).all(|_| may(one, 0)));
        assert!(!may(one, 59) && may(other, 59));
        assert!(may(one, 60));
    }

    #[test]
    fn many_addresses_are_no_way_around_it() {
        let (refusals, began) = (Refusals::default(), Instant::now());
        let from = |number: u32| Some(IpAddr::from(number.to_be_bytes()));
        assert_eq!((0..1000).filter(|number| refusals.may(from(*number), began)).count(), 100);
    }
}
