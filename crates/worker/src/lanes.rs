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
    all: Beside,
    tenants: BTreeMap<String, usize>,
}

/// What waits in lanes, for those who bound all that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beside {
    /// How many, of all tenants.
    pub waiting: usize,
    /// Their bytes.
    pub weight: u64,
    /// How many of the tenant's that is asked about.
    pub own: usize,
}

/// A lane that has a run on its way.
#[derive(Debug)]
struct Lane<T> {
    /// Whose session it is.
    tenant: String,
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
        Self { lanes: BTreeMap::new(), all: Beside::default(), tenants: BTreeMap::new() }
    }
}

impl<T> Lanes<T> {
    /// Whether a run that enters this lane would wait.
    pub fn is_busy(&self, lane: &str) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Enters a lane of a tenant's.
    pub fn enter(&mut self, lane: &str, tenant: &str, name: &str, weight: u64, item: T) -> Entered<T> {
        let Some(own) = self.lanes.get_mut(lane) else {
            let lane_of = Lane { tenant: tenant.to_owned(), waiting: VecDeque::new(), bytes: 0 };
            self.lanes.insert(lane.to_owned(), lane_of);
            return Entered::First(item);
        };
        if own.waiting.len() >= WAITING_MAX || own.bytes.saturating_add(weight) > WAITING_BYTES_MAX {
            return Entered::Full;
        }
        own.bytes += weight;
        own.waiting.push_back((name.to_owned(), weight, item));
        *self.tenants.entry(own.tenant.clone()).or_default() += 1;
        self.all.waiting += 1;
        self.all.weight += weight;
        Entered::Waits
    }

    fn uncount(&mut self, tenant: &str, weight: u64) {
        self.all.waiting -= 1;
        self.all.weight -= weight;
        if let Some(count) = self.tenants.get_mut(tenant) {
            *count -= 1;
            if *count == 0 {
                self.tenants.remove(tenant);
            }
        }
    }

    /// The one that is on its way leaves; returns who is next.
    pub fn leave(&mut self, lane: &str) -> Option<T> {
        let own = self.lanes.get_mut(lane)?;
        match own.waiting.pop_front() {
            Some((_, weight, item)) => {
                own.bytes -= weight;
                let tenant = own.tenant.clone();
                self.uncount(&tenant, weight);
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
        let tenant = own.tenant.clone();
        self.uncount(&tenant, weight);
        Some(item)
    }

    /// What waits in all lanes, and how many of this tenant's.
    pub fn beside(&self, tenant: &str) -> Beside {
        Beside { own: self.tenants.get(tenant).copied().unwrap_or(0), ..self.all }
    }

    /// How many wait in all lanes.
    pub fn waiting(&self) -> usize {
        self.all.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_at_a_time_and_in_order() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", "t", "1", 1, 1), Entered::First(1));
        assert_eq!(lanes.enter("b", "u", "9", 1, 9), Entered::First(9));
        for number in 2..=4 {
            assert_eq!(lanes.enter("a", "t", &number.to_string(), 1, number), Entered::Waits);
        }
        let beside = |own| Beside { waiting: 3, weight: 3, own };
        assert_eq!((lanes.beside("t"), lanes.beside("u")), (beside(3), beside(0)));
        assert_eq!(
            (lanes.remove("a", "3"), lanes.remove("a", "3"), lanes.remove("a", "1")),
            (Some(3), None, None)
        );
        assert_eq!(
            (lanes.leave("a"), lanes.leave("a"), lanes.leave("a"), lanes.leave("a")),
            (Some(2), Some(4), None, None)
        );
        assert_eq!(lanes.enter("a", "t", "5", 1, 5), Entered::First(5));
        assert_eq!((lanes.waiting(), lanes.beside("t")), (0, Beside::default()));
    }

    #[test]
    fn a_lane_is_bounded_in_number_and_bytes() {
        let mut lanes = Lanes::default();
        lanes.enter("a", "t", "0", 0, 0);
        assert_eq!(lanes.enter("a", "t", "big", WAITING_BYTES_MAX + 1, 0), Entered::Full);
        assert_eq!(lanes.enter("a", "t", "big", WAITING_BYTES_MAX, 0), Entered::Waits);
        assert_eq!(lanes.enter("a", "t", "one", 1, 0), Entered::Full);
        assert_eq!(lanes.leave("a"), Some(0));
        for _ in 0..WAITING_MAX {
            assert_eq!(lanes.enter("a", "t", "n", 0, 0), Entered::Waits);
        }
        assert_eq!(lanes.enter("a", "t", "n", 0, 0), Entered::Full);
    }
}
