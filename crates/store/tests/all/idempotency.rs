//! Idempotency keys: one request, one run, whoever is first.

use crate::harness::{NOW, id, local, new_run, settlement, store, tenant};
use model::BatchId;
use serde_json::json;
use std::sync::Barrier;
use store::{
    Actor, Admission, BatchAdmission, Filter, Idempotency, NewBatch, NewRun, Page, Retention, StoreError,
};

fn keyed(number: u64, key: &str, body: u8) -> NewRun {
    let idempotency = Some(Idempotency { key: key.to_owned(), body_sha256: [body; 32] });
    NewRun { idempotency, ..new_run(number) }
}

#[test]
fn of_many_at_once_one_is_admitted() {
    let (_directory, store) = store();
    for round in 0..20u64 {
        let start = Barrier::new(16);
        let key = format!("key{round}");
        let answers: Vec<Admission> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    let (store, start, key) = (&store, &start, &key);
                    scope.spawn(move || {
                        start.wait();
                        store.admit(keyed(round * 100 + number, key, 1)).wait().unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let admitted = answers.iter().filter(|answer| **answer == Admission::Admitted).count();
        assert_eq!(admitted, 1);
        let filter = Filter::default();
        let newest = store.reader().runs(&local(), &filter, &Page::default()).unwrap().items;
        assert_eq!(newest.len() as u64, round + 1);
        let winner = newest.iter().find(|row| (0..16).any(|n| row.id == id(round * 100 + n))).unwrap();
        assert!(answers.iter().all(|answer| match answer {
            Admission::Admitted => true,
            Admission::Replayed(id) => *id == winner.id,
        }));
    }
}

#[test]
fn another_body_is_a_conflict_and_another_tenant_is_not() {
    let (_directory, store) = store();
    store.admit(keyed(1, "k", 1)).wait().unwrap();
    assert!(matches!(store.admit(keyed(2, "k", 2)).wait(), Err(StoreError::IdempotencyConflict)));
    let other = NewRun { tenant: tenant("other"), ..keyed(3, "k", 2) };
    assert_eq!(store.admit(other).wait().unwrap(), Admission::Admitted);
    assert_eq!(store.admit(keyed(4, "K", 2)).wait().unwrap(), Admission::Admitted);
    assert_eq!(store.reader().run(&local(), &id(2)).unwrap(), None);
}

#[test]
fn a_refused_run_leaves_its_key_free() {
    let (_directory, store) = store();
    store.admit(new_run(1)).wait().unwrap();
    assert!(matches!(store.admit(keyed(1, "k", 1)).wait(), Err(StoreError::Exists { .. })));
    assert_eq!(store.admit(keyed(2, "k", 9)).wait().unwrap(), Admission::Admitted);
}

#[test]
fn an_admission_that_is_taken_back_leaves_nothing() {
    let (_directory, store) = store();
    store.admit(keyed(1, "k", 1)).wait().unwrap();
    store.withdraw(&id(1), Some("k")).wait().unwrap();
    assert_eq!(store.reader().run(&local(), &id(1)).unwrap(), None);
    assert_eq!(store.reader().sizes().unwrap().runs, 0);
    assert!(matches!(store.withdraw(&id(1), Some("k")).wait(), Err(StoreError::NotFound)));
    assert_eq!(store.admit(keyed(2, "k", 2)).wait().unwrap(), Admission::Admitted);
    // Another's claim stays, and so does a run that is more than queued.
    store.admit(new_run(3)).wait().unwrap();
    store.withdraw(&id(3), Some("k")).wait().unwrap();
    assert!(matches!(store.admit(keyed(4, "k", 4)).wait(), Err(StoreError::IdempotencyConflict)));
    store.started(&id(2), NOW).wait().unwrap();
    assert!(matches!(store.withdraw(&id(2), Some("k")).wait(), Err(StoreError::Invalid { .. })));
    store.settle(&id(2), settlement(&id(2))).wait().unwrap();
    assert!(matches!(store.withdraw(&id(2), Some("k")).wait(), Err(StoreError::AlreadySettled)));
}

#[test]
fn a_key_is_remembered_for_a_day() {
    let (_directory, store) = store();
    let day = store::limits::IDEMPOTENCY_MS;
    store.record(keyed(1, "k", 1), None, settlement(&id(1))).wait().unwrap();
    // Also when the run is gone.
    store.delete_run(local(), &id(1), Actor::Local, NOW).wait().unwrap();
    store.retain(Retention::default(), NOW + day - 1).wait().unwrap();
    let at = |number, at_ms| NewRun { created_at_ms: at_ms, ..keyed(number, "k", 1) };
    assert_eq!(store.admit(at(2, NOW + day - 1)).wait().unwrap(), Admission::Replayed(id(1)));
    assert_eq!(store.admit(at(3, NOW + day)).wait().unwrap(), Admission::Admitted);
    store.retain(Retention::default(), NOW + 2 * day).wait().unwrap();
    assert_eq!(store.admit(keyed(4, "k", 5)).wait().unwrap(), Admission::Admitted);
}

#[test]
fn a_batch_claims_a_key_too() {
    let (_directory, store) = store();
    let batch = |number: u8, body| {
        let id = BatchId::from_random([number; 16]);
        let tenant = model::TenantId::local();
        let new = NewBatch { id: id.clone(), tenant, created_at_ms: NOW, options: json!({}) };
        store.create_batch(new).wait().unwrap();
        store.add_batch_items(&id, 0, vec![b"{}".to_vec()]).wait().unwrap();
        store.seal_batch(&id, keyed(0, "k", body).idempotency, NOW).wait()
    };
    assert_eq!(batch(1, 1).unwrap(), BatchAdmission::Admitted);
    let first = BatchId::from_random([1; 16]);
    assert_eq!(batch(2, 1).unwrap(), BatchAdmission::Replayed(first));
    let second = BatchId::from_random([2; 16]);
    assert_eq!(store.reader().batch(&crate::harness::local(), &second).unwrap(), None);
    assert!(matches!(batch(3, 2), Err(StoreError::IdempotencyConflict)));
    assert!(matches!(store.admit(keyed(1, "k", 1)).wait(), Err(StoreError::IdempotencyConflict)));
}

#[test]
fn empty_and_long_keys_are_refused() {
    let (_directory, store) = store();
    assert!(matches!(store.admit(keyed(1, "", 1)).wait(), Err(StoreError::Invalid { .. })));
    assert!(matches!(store.admit(keyed(1, &"k".repeat(256), 1)).wait(), Err(StoreError::TooLong { .. })));
    assert!(store.admit(keyed(1, &"k".repeat(255), 1)).wait().is_ok());
}
