//! Who is next: a bounded queue that is fair between tenants. A plain value, without clocks, threads or sandboxes.
//!
//! A run is young when it begins and may be said to be old later ([`FairQueue::age`]). Only so many are young at once: more of them
//! would only hold each other up. An old one holds up no young one, as in a feedback queue of two levels (Corbató 1962): a few
//! that take long do not make all the short ones wait.
//!
//! The next item is that of the tenant with the fewest runs in places now; between equals, of the one that was served longest
//! ago; within a tenant by priority, then first come, first served. A tenant at its own ceiling waits without holding up others.

use crate::lanes::Beside;
use model::Priority;
use std::collections::{BTreeMap, VecDeque};

/// A queue of `T`, by tenant.
#[derive(Debug)]
pub struct FairQueue<T> {
    tenants: BTreeMap<String, Tenant<T>>,
    places: Places,
    /// Runs that have a place, and how many of them are young.
    taken: usize,
    young: usize,
    waiting: usize,
    waiting_max: usize,
    /// Bytes of all items that wait, and the most there may be.
    weight: u64,
    weight_max: u64,
    /// Counts takings, to know who was served longest ago.
    turn: u64,
}

#[derive(Debug)]
struct Tenant<T> {
    waiting: VecDeque<Waiting<T>>,
    taken: usize,
    served: u64,
    ceiling: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    ticket: u64,
    priority: Priority,
    weight: u64,
    item: T,
}

/// How much may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Runs, young and old.
    pub all: usize,
    /// Young ones.
    pub young: usize,
}

/// How long a run has had its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Nobody said that it is old.
    Young,
    /// [`FairQueue::age`] was called for it.
    Old,
}

/// Why something cannot be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The queue of all tenants.
    #[error("the queue is full")]
    Queue,
    /// This tenant's part.
    #[error("the tenant's queue is full")]
    Tenant,
}

/// How much of a queue a tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Places at once.
    pub concurrency: usize,
    /// Items that wait.
    pub waiting: usize,
    /// Before which of the tenant's own this item comes.
    pub priority: Priority,
}

impl<T> FairQueue<T> {
    /// A queue for `places`, in which at most `waiting_max` wait, of at most `weight_max` bytes together.
    pub fn new(places: Places, waiting_max: usize, weight_max: u64) -> Self {
        let tenants = BTreeMap::new();
        Self { tenants, places, taken: 0, young: 0, waiting: 0, waiting_max, weight: 0, weight_max, turn: 0 }
    }

    /// Says whether an item of this tenant would be taken in now, where others wait beside the queue for their turn to enter it.
    pub fn room(&self, tenant: &str, share: Share, beside: Beside) -> Result<(), Full> {
        let room = |taken, places| taken + self.waiting < places;
        let free = room(self.taken, self.places.all) && room(self.young, self.places.young);
        if !free {
            self.room_in_all(beside)?;
        }
        let (taken, waiting) = self.tenants.get(tenant).map_or((0, 0), |own| (own.taken, own.waiting.len()));
        let starts = free && taken + waiting < share.concurrency;
        if !starts && waiting + beside.own >= share.waiting { Err(Full::Tenant) } else { Ok(()) }
    }

    /// Says whether one more may wait beside the queue: it waits whatever is free.
    pub fn room_beside(&self, tenant: &str, share: Share, beside: Beside) -> Result<(), Full> {
        self.room_in_all(beside)?;
        let waiting = self.tenants.get(tenant).map_or(0, |own| own.waiting.len());
        if waiting + beside.own >= share.waiting { Err(Full::Tenant) } else { Ok(()) }
    }

    fn room_in_all(&self, beside: Beside) -> Result<(), Full> {
        let (waiting, weight) = (self.waiting + beside.waiting, self.weight.saturating_add(beside.weight));
        if waiting >= self.waiting_max || weight >= self.weight_max { Err(Full::Queue) } else { Ok(()) }
    }

    /// Takes in an item of `weight` bytes; its ticket names it to [`FairQueue::remove`]. With a free place it does not count as waiting.
    pub fn push(
        &mut self,
        tenant: &str,
        share: Share,
        beside: Beside,
        (weight, item): (u64, T),
    ) -> Result<u64, Full> {
        self.room(tenant, share, beside)?;
        Ok(self.push_admitted(tenant, share, weight, item))
    }

    /// Takes in an item that was promised a place before: however full it is.
    pub fn push_admitted(&mut self, tenant: &str, share: Share, weight: u64, item: T) -> u64 {
        let entry = self.tenants.entry(tenant.to_owned()).or_insert_with(|| Tenant {
            waiting: VecDeque::new(),
            taken: 0,
            served: 0,
            ceiling: share.concurrency,
        });
        entry.ceiling = share.concurrency;
        self.turn += 1;
        // Behind all that come before it; found at once where all are alike.
        let before = entry.waiting.iter().rposition(|other| other.priority >= share.priority);
        let waiting = Waiting { ticket: self.turn, priority: share.priority, weight, item };
        entry.waiting.insert(before.map_or(0, |at| at + 1), waiting);
        self.waiting += 1;
        self.weight += weight;
        self.turn
    }

    /// Takes the next item into a place, if there is one and a place is free.
    pub fn take(&mut self) -> Option<(String, T)> {
        if self.taken >= self.places.all || self.young >= self.places.young {
            return None;
        }
        let ready = self.tenants.iter_mut().filter(|(_, t)| !t.waiting.is_empty() && t.taken < t.ceiling);
        let (name, tenant) = ready.min_by_key(|(_, tenant)| (tenant.taken, tenant.served))?;
        let Waiting { weight, item, .. } = tenant.waiting.pop_front()?;
        self.turn += 1;
        tenant.served = self.turn;
        tenant.taken += 1;
        self.taken += 1;
        self.young += 1;
        self.waiting -= 1;
        self.weight -= weight;
        Some((name.clone(), item))
    }

    /// Says that a young run is old from now on.
    pub fn age(&mut self) {
        self.young = self.young.saturating_sub(1);
    }

    /// Frees a place of `tenant` that a run of this age had.
    pub fn release(&mut self, tenant: &str, age: Age) {
        let Some(entry) = self.tenants.get_mut(tenant) else { return };
        entry.taken = entry.taken.saturating_sub(1);
        self.taken = self.taken.saturating_sub(1);
        if age == Age::Young {
            self.young = self.young.saturating_sub(1);
        }
        if entry.taken == 0 && entry.waiting.is_empty() {
            self.tenants.remove(tenant);
        }
    }

    /// Takes an item out before its turn; `None` if it has had it.
    pub fn remove(&mut self, tenant: &str, ticket: u64) -> Option<T> {
        let entry = self.tenants.get_mut(tenant)?;
        let at = entry.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        let Waiting { weight, item, .. } = entry.waiting.remove(at)?;
        self.waiting -= 1;
        self.weight -= weight;
        if entry.taken == 0 && entry.waiting.is_empty() {
            self.tenants.remove(tenant);
        }
        Some(item)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.places.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Beside = Beside { waiting: 0, weight: 0, own: 0 };
    const WIDE: Share = Share { concurrency: 100, waiting: 10_000, priority: Priority::Normal };

    /// As many for young ones as for all.
    fn alike(count: usize) -> Places {
        Places { all: count, young: count }
    }

    #[test]
    fn within_a_tenant_those_of_higher_priority_come_first_and_nobody_else_is_held_up() {
        let mut queue = FairQueue::new(alike(10), 100, 10_000);
        let of = |priority| Share { priority, ..WIDE };
        for (n, priority) in
            [Priority::Low, Priority::Normal, Priority::High, Priority::Normal, Priority::High]
                .into_iter()
                .enumerate()
        {
            queue.push("a", of(priority), NONE, (1, n)).unwrap();
        }
        queue.push("b", of(Priority::Low), NONE, (1, 9)).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).map(|(_, n)| n).collect();
        assert_eq!(taken, [2, 9, 4, 1, 3, 0]);
    }

    #[test]
    fn old_ones_hold_up_nobody_until_all_places_are_taken() {
        let mut queue = FairQueue::new(Places { all: 3, young: 1 }, 10, 10_000);
        for n in 0..5 {
            queue.push("a", WIDE, NONE, (1, n)).unwrap();
        }
        for n in 0..3 {
            assert_eq!(queue.take(), Some(("a".into(), n)));
            assert_eq!(queue.take(), None, "one is young");
            queue.age();
        }
        assert_eq!((queue.take(), queue.taken()), (None, 3), "none is young, and all places are taken");
        queue.release("a", Age::Old);
        assert_eq!(queue.take(), Some(("a".into(), 3)));
        queue.release("a", Age::Young);
        assert_eq!(queue.take(), Some(("a".into(), 4)));
    }

    #[test]
    fn one_run_of_b_starts_at_the_next_release_though_a_waits_with_a_thousand() {
        let mut queue = FairQueue::new(alike(2), 10_000, 10_000);
        for n in 0..1000 {
            queue.push("a", WIDE, NONE, (1, n)).unwrap();
        }
        assert_eq!((queue.take(), queue.take()), (Some(("a".into(), 0)), Some(("a".into(), 1))));
        queue.push("b", WIDE, NONE, (1, 7)).unwrap();
        assert_eq!(queue.take(), None);
        queue.release("a", Age::Young);
        assert_eq!(queue.take(), Some(("b".into(), 7)));
    }

    #[test]
    fn equal_tenants_take_turns_and_a_full_queue_is_an_answer() {
        let mut queue = FairQueue::new(alike(1), 4, 10_000);
        for tenant in ["a", "b"] {
            queue.push(tenant, WIDE, NONE, (1, 1)).unwrap();
            queue.push(tenant, WIDE, NONE, (1, 2)).unwrap();
        }
        assert_eq!(queue.push("c", WIDE, NONE, (1, 1)), Err(Full::Queue));
        let mut order = Vec::new();
        while let Some((tenant, n)) = queue.take() {
            queue.release(&tenant, Age::Young);
            order.push((tenant, n));
        }
        let order: Vec<_> = order.iter().map(|(tenant, n)| (tenant.as_str(), *n)).collect();
        assert_eq!(order, [("a", 1), ("b", 1), ("a", 2), ("b", 2)]);
    }

    #[test]
    fn a_tenant_at_its_ceiling_waits_alone() {
        let mut queue = FairQueue::new(alike(4), 100, 10_000);
        let narrow = Share { concurrency: 1, waiting: 1, ..WIDE };
        queue.push("a", narrow, NONE, (1, 1)).unwrap();
        queue.take().unwrap();
        let second = queue.push("a", narrow, NONE, (1, 2)).unwrap();
        assert_eq!(queue.push("a", narrow, NONE, (1, 3)), Err(Full::Tenant));
        assert_eq!(queue.take(), None);
        queue.push("b", WIDE, NONE, (1, 4)).unwrap();
        assert_eq!(queue.take(), Some(("b".into(), 4)));
        assert_eq!(queue.remove("a", second), Some(2));
        assert_eq!(queue.remove("a", second), None);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_too() {
        let mut queue = FairQueue::new(alike(1), 10, 100);
        queue.push("a", WIDE, NONE, (1000, 1)).unwrap();
        queue.take().unwrap();
        let first = queue.push("a", WIDE, NONE, (100, 2)).unwrap();
        assert_eq!(queue.push("b", WIDE, NONE, (1, 3)), Err(Full::Queue));
        queue.remove("a", first).unwrap();
        queue.push("b", WIDE, NONE, (1, 3)).unwrap();
    }

    proptest! {
        /// Places never overflow, nothing is lost, and tenants that always have work never differ by more than one turn.
        #[test]
        fn nothing_is_lost_and_nobody_starves(steps in prop::collection::vec((0usize..3, any::<bool>()), 1..200), places in 1usize..4) {
            let names = ["a", "b", "c"];
            let mut queue = FairQueue::new(alike(places), 1000, 10_000);
            let (mut pushed, mut served, mut running) = (0, 0, Vec::new());
            for (who, push) in steps {
                if push {
                    queue.push(names[who], WIDE, NONE, (1, ())).unwrap();
                    pushed += 1;
                } else if !running.is_empty() {
                    let tenant: String = running.remove(who % running.len());
                    queue.release(&tenant, Age::Young);
                }
                while let Some((tenant, ())) = queue.take() {
                    running.push(tenant);
                    served += 1;
                }
                prop_assert!(running.len() <= places && running.len() == queue.taken());
                prop_assert_eq!(pushed, served + queue.waiting());
                // A place is never left empty while somebody waits.
                prop_assert!(queue.waiting() == 0 || running.len() == places);
            }
        }
    }

    #[test]
    fn what_waits_beside_the_queue_counts_as_waiting() {
        let mut queue = FairQueue::new(alike(1), 10, 100);
        let share = Share { concurrency: 1, waiting: 5, ..WIDE };
        let beside = |waiting, weight, own| Beside { waiting, weight, own };
        assert_eq!(queue.room("a", share, beside(10, 0, 5)), Ok(()), "it starts at once");
        queue.push("a", share, NONE, (1, 0)).unwrap();
        queue.take();
        for (others, wanted) in [
            (beside(4, 4, 4), Ok(())),
            (beside(5, 5, 5), Err(Full::Tenant)),
            (beside(10, 0, 0), Err(Full::Queue)),
            (beside(1, 100, 0), Err(Full::Queue)),
        ] {
            assert_eq!(
                (queue.room("a", share, others), queue.room_beside("a", share, others)),
                (wanted, wanted)
            );
        }
    }
}
