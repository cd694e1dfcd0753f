//! Batches: items as they come, their answers, ends.

use crate::harness::{NOW, id, local, new_run, open, raw, settlement, store, tenant};
use model::{BatchId, TenantId};
use serde_json::json;
use store::{
    Actor, BatchRow, BatchState, Filter, NewBatch, NewRun, Page, Retention, Scope, Store, StoreError,
};

fn batch_id(number: u8) -> BatchId {
    BatchId::from_random([number; 16])
}

fn create(store: &Store, number: u8, items: usize) {
    let batch = NewBatch {
        id: batch_id(number),
        tenant: TenantId::local(),
        created_at_ms: NOW + i64::from(number),
        options: json!({"dedupe": true}),
    };
    store.create_batch(batch).wait().unwrap();
    let requests = (0..items).map(|index| format!("request {index}").into_bytes()).collect();
    store.add_batch_items(&batch_id(number), 0, requests).wait().unwrap();
}

fn answer(store: &Store, number: u8, index: u32, fate: &str) -> Result<(), StoreError> {
    store.answer_batch_item(&batch_id(number), index, fate, format!("answer {index}")).wait()
}

fn end(store: &Store, number: u8, state: BatchState) -> Result<(), StoreError> {
    store.end_batch(&batch_id(number), state, json!({"total": 3}), NOW + 5).wait()
}

fn item(run: u64, batch: u8, index: u32) -> NewRun {
    NewRun { batch: Some((batch_id(batch), index)), ..new_run(run) }
}

fn get(store: &Store, number: u8) -> BatchRow {
    store.reader().batch(&local(), &batch_id(number)).unwrap().unwrap()
}

#[test]
fn items_are_recorded_as_they_come_and_answered_in_any_order() {
    let (_directory, store) = store();
    create(&store, 1, 2);
    store.add_batch_items(&batch_id(1), 2, vec![b"\xff".to_vec()]).wait().unwrap();
    let read = |index| store.reader().batch_item(&local(), &batch_id(1), index).unwrap();
    assert_eq!(read(2).unwrap().request.as_deref(), Some(&b"\xff"[..]));
    assert_eq!(read(3), None);
    answer(&store, 1, 2, "passed").unwrap();
    assert_eq!((read(2).unwrap().request, read(2).unwrap().answer.as_deref()), (None, Some("answer 2")));
    assert!(matches!(answer(&store, 1, 2, "passed"), Err(StoreError::AlreadySettled)));
    answer(&store, 1, 0, "fault").unwrap();
    let row = get(&store, 1);
    assert_eq!((row.state, row.total, row.answered, row.summary), (BatchState::Running, 3, 2, None));
    end(&store, 1, BatchState::Cancelled).unwrap();
    let row = get(&store, 1);
    assert_eq!((row.state, row.settled_at_ms, row.answered), (BatchState::Cancelled, Some(NOW + 5), 2));
    assert_eq!(row.fates, [("fault", 1), ("passed", 1)].map(|(fate, items)| (fate.to_owned(), items)).into());
    assert_eq!((row.options, row.summary), (json!({"dedupe": true}), Some(json!({"total": 3}))));

    let mut page = Page { limit: 2, cursor: None };
    let first = store.reader().batch_items(&local(), &batch_id(1), &page).unwrap();
    page.cursor = first.next;
    let second = store.reader().batch_items(&local(), &batch_id(1), &page).unwrap();
    let answers: Vec<_> =
        first.items.into_iter().chain(second.items).map(|item| (item.request, item.answer)).collect();
    assert_eq!(
        answers,
        [(None, Some("answer 0".to_owned())), (None, None), (None, Some("answer 2".to_owned()))]
    );
}

#[test]
fn an_ended_one_is_not_changed() {
    let (_directory, store) = store();
    create(&store, 1, 1);
    end(&store, 1, BatchState::Settled).unwrap();
    assert!(matches!(end(&store, 1, BatchState::Cancelled), Err(StoreError::AlreadySettled)));
    assert!(matches!(answer(&store, 1, 0, "passed"), Err(StoreError::AlreadySettled)));
    let more = store.add_batch_items(&batch_id(1), 1, vec![Vec::new()]).wait();
    assert!(matches!(more, Err(StoreError::AlreadySettled)));
    assert!(matches!(end(&store, 9, BatchState::Settled), Err(StoreError::NotFound)));
}

#[test]
fn an_item_may_take_many_runs_and_only_in_ones_own_batch() {
    let (_directory, store) = store();
    create(&store, 1, 1);
    store.admit(item(1, 1, 0)).wait().unwrap();
    store.admit(item(2, 1, 0)).wait().unwrap();
    let filter = Filter { batch: Some(batch_id(1)), ..Filter::default() };
    assert_eq!(store.reader().runs(&local(), &filter, &Page::default()).unwrap().items.len(), 2);
    assert!(matches!(store.admit(item(3, 9, 0)).wait(), Err(StoreError::NotFound)));
    let foreign = NewRun { tenant: tenant("other"), ..item(3, 1, 0) };
    assert!(matches!(store.admit(foreign).wait(), Err(StoreError::NotFound)));
    let other = Scope::Tenant(tenant("other"));
    assert_eq!(store.reader().batch(&other, &batch_id(1)).unwrap(), None);
    assert_eq!(store.reader().batch_item(&other, &batch_id(1), 0).unwrap(), None);
    assert_eq!(store.reader().batch_items(&other, &batch_id(1), &Page::default()).unwrap().items, []);
    create(&store, 2, 0);
    let listed = store.reader().batches(&local(), &Page { limit: 1, cursor: None }).unwrap();
    assert_eq!(listed.items[0].id, batch_id(2));
    let rest = store.reader().batches(&local(), &Page { limit: 1, cursor: listed.next }).unwrap();
    assert_eq!((rest.items[0].id.clone(), rest.next), (batch_id(1), None));
}

#[test]
fn a_predecessors_batch_is_interrupted() {
    let (directory, store) = store();
    create(&store, 1, 2);
    store.admit(item(1, 1, 0)).wait().unwrap();
    drop(store);
    let store = open(directory.path());
    create(&store, 2, 1);
    assert_eq!(store.interrupt_unfinished(NOW + 9).wait().unwrap(), [id(1)]);
    assert_eq!(get(&store, 1).state, BatchState::Interrupted);
    assert_eq!(get(&store, 2).state, BatchState::Running);
}

#[test]
fn retention_removes_ended_batches_after_their_runs() {
    let (_directory, store) = store();
    create(&store, 1, 1);
    create(&store, 2, 1);
    store.record(item(1, 1, 0), None, settlement(&id(1))).wait().unwrap();
    end(&store, 1, BatchState::Settled).unwrap();
    let retention = Retention { max_age_ms: Some(10), ..Retention::default() };
    let retained = store.retain(retention.clone(), NOW + 5).wait().unwrap();
    assert_eq!((retained.runs, retained.batches), (0, 0));
    store.delete_run(local(), &id(1), Actor::Local, NOW).wait().unwrap();
    // The second still runs, however old it is.
    assert_eq!(store.retain(retention, NOW + 1000).wait().unwrap().batches, 1);
    assert_eq!(store.reader().batch(&local(), &batch_id(1)).unwrap(), None);
    assert_eq!(store.reader().batch_item(&local(), &batch_id(1), 0).unwrap(), None);
    assert_eq!(get(&store, 2).state, BatchState::Running);
}

/// A step of retention holds up every other write: a large batch goes in many.
#[test]
fn a_large_batch_is_removed_in_steps() {
    let (directory, store) = store();
    let step = store::limits::RETAIN_STEP_ROWS;
    create(&store, 1, 0);
    create(&store, 2, 1);
    store.add_batch_items(&batch_id(1), 0, vec![Vec::new(); 2 * step + 1]).wait().unwrap();
    end(&store, 1, BatchState::Settled).unwrap();
    end(&store, 2, BatchState::Settled).unwrap();
    let retention = Retention { max_age_ms: Some(10), ..Retention::default() };
    let items = || -> usize {
        let sql = "SELECT count(*) FROM batch_items";
        raw(directory.path()).query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as usize
    };
    let all = items();
    let steps: Vec<(u64, bool, usize)> = (0..3)
        .map(|_| {
            let retained = store.retain(retention.clone(), NOW + 1000).wait().unwrap();
            (retained.batches, retained.more, items())
        })
        .collect();
    assert_eq!(steps, [(0, true, all - step), (0, true, all - 2 * step), (2, false, 0)]);
    assert_eq!(store.reader().batch(&local(), &batch_id(1)).unwrap(), None);
}
