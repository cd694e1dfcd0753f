//! Group commit: many writers at once, each told the truth about its own write.

use crate::harness::{NOW, assert_sound, id, local, new_run, noise, open, pages, record, settlement, store};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Durability, Filter, Options, Page, Store, StoreError};

/// Every run in the store, by all pages.
fn everything(store: &Store) -> BTreeSet<model::RunId> {
    pages(&store.reader(), 200, || {}).into_iter().map(|row| row.id).collect()
}

#[test]
fn what_a_thousand_writers_were_told_is_there_after_reopening() {
    for durability in [Durability::Commit, Durability::Fsync] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { durability, ..Options::default() };
        let store = Store::open(directory.path(), options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Half of them wait in threads, half in one async runtime.
        let acknowledged: BTreeSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..500)
                .map(|number| {
                    let store = store.clone();
                    scope.spawn(move || {
                        record(&store, number);
                        id(number)
                    })
                })
                .collect();
            let tasks: Vec<_> = (500..1000)
                .map(|number| {
                    let store = store.clone();
                    runtime.spawn(async move {
                        store.record(new_run(number), None, settlement(&id(number))).await.unwrap();
                        id(number)
                    })
                })
                .collect();
            let told = runtime.block_on(async {
                let mut told = Vec::new();
                for task in tasks {
                    told.push(task.await.unwrap());
                }
                told
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).chain(told).collect()
        });
        assert_eq!(acknowledged.len(), 1000);
        drop(runtime);
        drop(store);
        let store = open(directory.path());
        assert_eq!(everything(&store), acknowledged);
        assert_sound(directory.path());
    }
}

#[test]
fn a_bad_write_harms_no_neighbour() {
    let (_directory, store) = store();
    record(&store, 0);
    let store = Arc::new(store);
    std::thread::scope(|scope| {
        for number in 1..200 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                // Every third asks for an id that is taken; it must leave neither a run nor a label.
                let taken = number % 3 == 0;
                let mut run = new_run(if taken { 0 } else { number });
                run.metadata = [("taken".to_owned(), taken.to_string())].into();
                let answer = store.admit(run).wait();
                assert_eq!(matches!(answer, Err(StoreError::Exists { .. })), taken, "{answer:?}");
            });
        }
    });
    let ids = everything(&store);
    assert_eq!(ids, (0..200).filter(|number| number % 3 != 0 || *number == 0).map(id).collect());
    let filter = Filter { metadata: [("taken".to_owned(), "true".to_owned())].into(), ..Filter::default() };
    assert_eq!(store.reader().runs(&local(), &filter, &Page::default()).unwrap().items, []);
}

#[test]
fn a_write_goes_on_when_nobody_waits_for_it() {
    let (directory, store) = store();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut write = store.admit(new_run(1)).into_future();
        // Polled once, it is in the queue; then it is dropped.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context)));
        drop(polled.await);
    });
    drop(runtime);
    drop(store);
    let store = open(directory.path());
    assert!(store.reader().run(&local(), &id(1)).unwrap().is_some());
}

#[test]
fn a_reader_sees_what_was_acknowledged() {
    let (_directory, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let store = &store;
            scope.spawn(move || {
                let reader = store.reader();
                for number in 0..50 {
                    let number = thread * 1000 + number;
                    store.admit(new_run(number)).wait().unwrap();
                    assert!(reader.run(&local(), &id(number)).unwrap().is_some());
                    store.started(&id(number), NOW).wait().unwrap();
                }
            });
        }
    });
    assert_eq!(everything(&store).len(), 400);
}

#[test]
fn the_log_stays_small_while_reads_overlap_for_ever() {
    let (directory, store) = store();
    let log = directory.path().join("fireclay.db-wal");
    let done = AtomicBool::new(false);
    let largest = std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    pages(&store.reader(), 200, || {});
                }
            });
        }
        // Some 200 MB, looked at after each.
        let sizes = (0..1600).map(|number| {
            let mut run = new_run(number);
            run.request = noise(120_000);
            run.metadata = [("label".to_owned(), "y".repeat(4_000))].into();
            store.admit(run).wait().unwrap();
            log.metadata().unwrap().len()
        });
        let largest = sizes.max();
        done.store(true, Ordering::Relaxed);
        largest
    });
    let largest = largest.unwrap();
    assert!(largest < 2 * store::limits::LOG_BYTES_MAX, "{largest}");
}
