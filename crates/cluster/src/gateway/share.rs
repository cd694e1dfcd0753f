//! How much of all places a tenant may have: a pure function of who wants how much.

/// How many runs of a tenant may be on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// From each gateway, without asking.
    pub(super) free: usize,
    /// From all gateways together, beside those.
    pub(super) slots: usize,
}

/// How many each may have of so many places, if none gets more than it wants and what one leaves is shared by the others (max-min fairness).
pub(super) fn level(places: usize, wants: impl IntoIterator<Item = usize>) -> usize {
    let mut wants: Vec<usize> = wants.into_iter().collect();
    wants.sort_unstable();
    let (mut left, mut count) = (places, wants.len());
    for want in wants {
        let fair = left.div_ceil(count);
        if want >= fair {
            return fair.max(1);
        }
        (left, count) = (left - want, count - 1);
    }
    places.max(1)
}

/// The part of a tenant whose share is so many places, with so many gateways.
pub(super) fn part(ceiling: Option<usize>, share: usize, gateways: usize) -> Part {
    match ceiling {
        Some(ceiling) => Part { free: 0, slots: share.min(ceiling) },
        None => {
            let free = share * 2 / 5 / gateways.max(1);
            Part { free, slots: share - free * gateways.max(1) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_places_are_shared_exactly() {
        assert_eq!(part(None, level(2, [1000]), 2), Part { free: 0, slots: 2 });
        assert_eq!(part(None, level(2, [1000, 1]), 2), Part { free: 0, slots: 1 });
        assert_eq!(part(None, level(3, [40; 10]), 1), Part { free: 0, slots: 1 });
        assert_eq!(part(Some(2), level(10, [2]), 2), Part { free: 0, slots: 2 });
        assert_eq!(part(Some(9), level(10, [9, 9]), 2), Part { free: 0, slots: 5 });
        assert_eq!(part(None, level(10, [3]), 1), Part { free: 4, slots: 6 });
        // Before a worker is known there is room for one.
        assert_eq!(part(None, level(0, [1]), 0), Part { free: 0, slots: 1 });
    }

    #[test]
    fn what_one_does_not_want_is_anothers() {
        assert_eq!(level(10, [1000, 1]), 9);
        assert_eq!(level(10, [1000, 1000, 1, 1]), 4);
        assert_eq!(level(10, [1, 2, 3]), 10, "there is room for all");
    }

    proptest! {
        #[test]
        fn gateways_together_never_have_more_than_a_ceiling(
            ceiling in prop::option::of(1usize..50),
            places in 0usize..500, gateways in 0usize..9, wants in prop::collection::vec(1usize..99, 1..20),
        ) {
            let share = level(places, wants.clone());
            let Part { free, slots } = part(ceiling, share, gateways);
            let all = free * gateways.max(1) + slots;
            prop_assert!(all >= 1, "nobody waits for ever");
            prop_assert!(ceiling.is_none_or(|ceiling| all <= ceiling && free == 0));
            // All that is wanted and given is no more than there is, but for what rounding up gives.
            let given: usize = wants.iter().map(|want| share.min(*want)).sum();
            prop_assert!(given <= places.max(1) + wants.len(), "{given} of {places}");
        }
    }
}
