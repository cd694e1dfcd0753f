//! Pages: whatever comes and goes between two of them, no run is told twice and none is left out.

use crate::harness::{NOW, id, local, new_run, noise, open, pages, settlement, store};
use model::RunId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Actor, Filter, Page, RunRow, StoreError};

fn assert_in_order(rows: &[RunRow]) {
    let places: Vec<(i64, &str)> = rows.iter().map(|row| (row.created_at_ms, row.id.as_str())).collect();
    assert!(places.is_sorted_by(|one, next| one > next), "{places:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Few times for many runs, so that pages end between runs of one time; insertions before, within and behind what is shown.
    #[test]
    fn pages_show_each_run_once(
        first in prop::collection::vec(0i64..6, 0..40),
        later in prop::collection::vec((0i64..8, any::<bool>()), 0..40),
        limit in 1usize..7,
    ) {
        let (_directory, store) = store();
        let mut next_id = 0u64;
        // Numbers scattered over the ids, so that ids of one time are not in the order of their making.
        let mut insert = |at: i64| {
            next_id += 1;
            let number = next_id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let run = store::NewRun { created_at_ms: NOW + at, ..new_run(number) };
            let id = run.id.clone();
            store.record(run, None, settlement(&id)).wait().unwrap();
            id
        };
        let mut stay: BTreeSet<RunId> = first.iter().map(|at| insert(*at)).collect();
        let mut seen_before = stay.clone();
        let mut changes = later.into_iter();
        let rows = pages(&store.reader(), limit, || {
            if let Some((at, delete)) = changes.next() {
                seen_before.insert(insert(at));
                if delete && let Some(id) = stay.pop_first() {
                    store.delete_run(local(), &id, Actor::Local, NOW).wait().unwrap();
                }
            }
        });
        assert_in_order(&rows);
        let shown: BTreeSet<RunId> = rows.iter().map(|row| row.id.clone()).collect();
        prop_assert_eq!(shown.len(), rows.len(), "one was told twice");
        prop_assert!(stay.is_subset(&shown), "one was left out");
        prop_assert!(shown.is_subset(&seen_before));
    }
}

#[test]
fn pages_hold_while_others_write() {
    let (directory, store) = store();
    for number in 0..500 {
        crate::harness::record(&store, number);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 1_000;
            while !done.load(Ordering::Relaxed) {
                // Before, among and behind the others.
                let at = NOW + (number % 3) as i64 - 1;
                let run = store::NewRun { created_at_ms: at, ..new_run(number) };
                store.record(run, None, settlement(&id(number))).wait().unwrap();
                number += 1;
            }
        });
        for _ in 0..10 {
            let rows = pages(&store.reader(), 7, || {});
            assert_in_order(&rows);
            let mut counted = BTreeMap::new();
            rows.iter().for_each(|row| *counted.entry(row.id.clone()).or_insert(0) += 1);
            assert!((0..500).all(|number| counted.get(&id(number)) == Some(&1)));
            assert!(counted.values().all(|times| *times == 1));
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(store);
    drop(open(directory.path()));
}

#[test]
fn foreign_cursors_are_refused_or_harmless() {
    let (_directory, store) = store();
    (0..5).for_each(|number| crate::harness::record(&store, number));
    for text in ["", "x", "!!!!", &"A".repeat(300), "AAAA", "////////////"] {
        assert!(matches!(text.parse::<store::Cursor>(), Err(StoreError::BadCursor)), "{text}");
    }
    // Of another list, or made up: some place in this one, never an error or another tenant's rows.
    let made_up: store::Cursor = "f_________8nIE9SIDE9MQ".parse().unwrap();
    let page = Page { limit: 3, cursor: Some(made_up) };
    assert_eq!(store.reader().runs(&local(), &Filter::default(), &page).unwrap().items.len(), 3);
}

#[test]
fn a_page_is_never_longer_than_the_maximum() {
    let (_directory, store) = store();
    (0..205).for_each(|number| crate::harness::record(&store, number));
    for limit in [0, 200, 201, usize::MAX] {
        let page = Page { limit, cursor: None };
        let listed = store.reader().runs(&local(), &Filter::default(), &page).unwrap();
        assert_eq!((listed.items.len(), listed.next.is_some()), (store::PAGE_ROWS_MAX, true));
    }
}

#[test]
fn a_search_reads_no_more_than_it_should_at_once() {
    let (_directory, store) = store();
    let large = noise(1 << 20);
    let needle = "needle";
    // The oldest run has it, behind more text than one page reads.
    for number in 0..80u64 {
        let mut run = new_run(number);
        run.created_at_ms = NOW + number as i64;
        run.request = if number == 0 { format!("{{\"code\":\"{needle}\"}}") } else { large.clone() };
        store.admit(run).wait().unwrap();
    }
    let filter = Filter { text: Some(needle.to_owned()), ..Filter::default() };
    let first = store.reader().runs(&local(), &filter, &Page::default()).unwrap();
    assert_eq!(first.items, []);
    let page = Page { limit: 10, cursor: first.next };
    assert!(page.cursor.is_some());
    let second = store.reader().runs(&local(), &filter, &page).unwrap();
    assert_eq!(second.items.iter().map(|row| &row.id).collect::<Vec<_>>(), [&id(0)]);
    assert_eq!(second.next, None);
}
