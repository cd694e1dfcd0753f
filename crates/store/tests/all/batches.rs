//! Batches: places, counters, ends.

use crate::harness::{NOW, id, local, new_run, open, settlement, store, tenant};
use model::{BatchId, Outcome, TenantId};
use serde_json::json;
use store::{
    Actor, BatchRow, BatchState, Filter, NewBatch, NewRun, Page, Retention, Scope, Settlement, Store,
    StoreError,
};

fn batch_id(number: u8) -> BatchId {
    BatchId::from_random([number; 16])
}

fn create(store: &Store, number: u8, total: u32) {
    let batch = NewBatch {
        id: batch_id(number),
        tenant: TenantId::local(),
        created_at_ms: NOW + i64::from(number),
        total,
        options: json!({"compare": "exact"}),
        idempotency: None,
    };
    store.create_batch(batch).wait().unwrap();
}

fn item(run: u64, batch: u8, index: u32) -> NewRun {
    NewRun { batch: Some((batch_id(batch), index)), ..new_run(run) }
}

fn get(store: &Store, number: u8) -> BatchRow {
    store.reader().batch(&local(), &batch_id(number)).unwrap().unwrap()
}

#[test]
fn the_last_item_settles_it() {
    let (_directory, store) = store();
    create(&store, 1, 3);
    for (run, index) in [(1, 2), (2, 0), (3, 1)] {
        store.admit(item(run, 1, index)).wait().unwrap();
    }
    let with = |run, outcome, verdict: Option<&str>| {
        let mut settlement = Settlement { verdict: verdict.map(str::to_owned), ..settlement(&id(run)) };
        settlement.result.outcome = Some(outcome);
        settlement
    };
    store.settle(&id(1), with(1, Outcome::Completed, Some("passed"))).wait().unwrap();
    store.settle(&id(2), with(2, Outcome::Completed, Some("wrong_answer"))).wait().unwrap();
    let row = get(&store, 1);
    assert_eq!((row.state, row.settled, row.settled_at_ms), (BatchState::Running, 2, None));
    store.settle(&id(3), with(3, Outcome::TimedOut, None)).wait().unwrap();
    let row = get(&store, 1);
    assert_eq!((row.state, row.settled, row.settled_at_ms), (BatchState::Settled, 3, Some(NOW + 5)));
    let fates = [("passed", 1), ("timed_out", 1), ("wrong_answer", 1)];
    assert_eq!(row.fates, fates.map(|(fate, runs)| (fate.to_owned(), runs)).into());
    assert_eq!(row.options, json!({"compare": "exact"}));

    let mut page = Page { limit: 2, cursor: None };
    let first = store.reader().batch_items(&local(), &batch_id(1), &page).unwrap();
    page.cursor = first.next;
    let second = store.reader().batch_items(&local(), &batch_id(1), &page).unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|row| row.id.clone()).collect();
    assert_eq!(ids, [id(2), id(3), id(1)]);
    assert_eq!(second.items[0].verdict.as_deref(), Some("passed"));
    let filter = Filter { batch: Some(batch_id(1)), ..Filter::default() };
    assert_eq!(store.reader().runs(&local(), &filter, &Page::default()).unwrap().items.len(), 3);
}

#[test]
fn a_place_is_taken_once_and_only_in_ones_own_batch() {
    let (_directory, store) = store();
    create(&store, 1, 2);
    store.admit(item(1, 1, 0)).wait().unwrap();
    assert!(matches!(store.admit(item(2, 1, 0)).wait(), Err(StoreError::Exists { .. })));
    assert!(matches!(store.admit(item(2, 1, 2)).wait(), Err(StoreError::Invalid { .. })));
    assert!(matches!(store.admit(item(2, 9, 0)).wait(), Err(StoreError::NotFound)));
    let foreign = NewRun { tenant: tenant("other"), ..item(2, 1, 1) };
    assert!(matches!(store.admit(foreign).wait(), Err(StoreError::NotFound)));
    let other = Scope::Tenant(tenant("other"));
    assert_eq!(store.reader().batch(&other, &batch_id(1)).unwrap(), None);
    assert_eq!(store.reader().batch_items(&other, &batch_id(1), &Page::default()).unwrap().items, []);
    assert!(matches!(store.cancel_batch(other, &batch_id(1), NOW).wait(), Err(StoreError::NotFound)));
}

#[test]
fn an_empty_one_is_settled_at_once_and_a_cancelled_one_still_counts() {
    let (_directory, store) = store();
    create(&store, 1, 0);
    assert_eq!(get(&store, 1).state, BatchState::Settled);
    assert!(matches!(store.cancel_batch(local(), &batch_id(1), NOW).wait(), Err(StoreError::AlreadySettled)));
    create(&store, 2, 2);
    store.admit(item(1, 2, 0)).wait().unwrap();
    store.cancel_batch(local(), &batch_id(2), NOW + 3).wait().unwrap();
    store.settle(&id(1), settlement(&id(1))).wait().unwrap();
    let row = get(&store, 2);
    assert_eq!((row.state, row.settled, row.settled_at_ms), (BatchState::Cancelled, 1, Some(NOW + 3)));
    let listed = store.reader().batches(&local(), &Page { limit: 1, cursor: None }).unwrap();
    assert_eq!(listed.items[0].id, batch_id(2));
    let rest = store.reader().batches(&local(), &Page { limit: 1, cursor: listed.next }).unwrap();
    assert_eq!((rest.items[0].id.clone(), rest.next), (batch_id(1), None));
}

#[test]
fn a_predecessors_batch_is_cancelled() {
    let (directory, store) = store();
    create(&store, 1, 2);
    store.admit(item(1, 1, 0)).wait().unwrap();
    drop(store);
    let store = open(directory.path());
    create(&store, 2, 1);
    assert_eq!(store.interrupt_unfinished(NOW + 9).wait().unwrap(), [id(1)]);
    let row = get(&store, 1);
    assert_eq!((row.state, row.fates["fault"]), (BatchState::Cancelled, 1));
    assert_eq!(get(&store, 2).state, BatchState::Running);
}

#[test]
fn retention_removes_ended_batches_after_their_runs() {
    let (_directory, store) = store();
    create(&store, 1, 1);
    create(&store, 2, 1);
    store.record(item(1, 1, 0), None, settlement(&id(1))).wait().unwrap();
    let retention = Retention { max_age_ms: Some(10), ..Retention::default() };
    let retained = store.retain(retention.clone(), NOW + 5).wait().unwrap();
    assert_eq!((retained.runs, retained.batches), (0, 0));
    store.delete_run(local(), &id(1), Actor::Local, NOW).wait().unwrap();
    assert_eq!(get(&store, 1).fates["completed"], 1);
    // The second still runs, however old it is.
    assert_eq!(store.retain(retention, NOW + 1000).wait().unwrap().batches, 1);
    assert_eq!(store.reader().batch(&local(), &batch_id(1)).unwrap(), None);
    assert_eq!(get(&store, 2).state, BatchState::Running);
}
