//! Retention: the oldest go, in steps, with all that belongs to them; nothing else does.

use crate::harness::{NOW, assert_sound, id, local, new_run, noise, raw, settlement, store};
use store::{Filter, NewArtifact, NewRun, Page, Retained, Retention, Settlement, Store};

/// Settled runs of numbers `1..=count`, one each millisecond.
fn fill(store: &Store, count: u64) {
    for number in 1..=count {
        let content = store.stage(&mut format!("content {number}").as_bytes(), 100).unwrap();
        let artifact = NewArtifact { path: "a".to_owned(), mime: String::new(), content };
        let run = NewRun { created_at_ms: NOW + number as i64, ..new_run(number) };
        let settlement = Settlement { artifacts: vec![artifact], ..settlement(&id(number)) };
        store.record(run, None, settlement).wait().unwrap();
    }
}

fn retain(store: &Store, retention: &Retention, now_ms: i64) -> (Retained, usize) {
    let mut sum = Retained::default();
    for step in 1.. {
        let retained = store.retain(retention.clone(), now_ms).wait().unwrap();
        sum.runs += retained.runs;
        sum.bytes += retained.bytes;
        if !retained.more {
            return (sum, step);
        }
    }
    unreachable!()
}

fn kept(store: &Store) -> Vec<i64> {
    let listed = store.reader().runs(&local(), &Filter::default(), &Page::default()).unwrap();
    listed.items.iter().map(|row| row.created_at_ms - NOW).collect()
}

#[test]
fn nothing_goes_unless_it_is_said() {
    let (_directory, store) = store();
    fill(&store, 3);
    assert_eq!(retain(&store, &Retention::default(), i64::MAX).0.runs, 0);
    assert_eq!(kept(&store), [3, 2, 1]);
}

#[test]
fn age_and_number_remove_the_oldest_settled() {
    let (directory, store) = store();
    store.admit(NewRun { created_at_ms: NOW, ..new_run(0) }).wait().unwrap();
    fill(&store, 10);
    let age = Retention { max_age_ms: Some(6), ..Retention::default() };
    assert_eq!(retain(&store, &age, NOW + 10).0.runs, 3);
    assert_eq!(kept(&store), [10, 9, 8, 7, 6, 5, 4, 0]);
    // The unfinished one counts and stays.
    let number = Retention { max_runs: Some(3), ..Retention::default() };
    assert_eq!(retain(&store, &number, NOW + 10).0.runs, 5);
    assert_eq!(kept(&store), [10, 9, 0]);
    let none = Retention { max_runs: Some(0), ..Retention::default() };
    retain(&store, &none, NOW + 10);
    assert_eq!(kept(&store), [0]);
    assert_eq!(store.reader().sizes().unwrap().blob_bytes, 0);
    for table in ["results", "events", "artifacts", "blobs"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = raw(directory.path()).query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_sound(directory.path());
}

#[test]
fn a_step_is_bounded() {
    let (_directory, store) = store();
    fill(&store, 250);
    let retention = Retention { max_runs: Some(10), ..Retention::default() };
    let (retained, steps) = retain(&store, &retention, NOW);
    assert_eq!((retained.runs, steps), (240, 3));
    assert_eq!(kept(&store).len(), 10);
}

#[test]
fn size_removes_no_more_than_it_must_and_the_file_shrinks() {
    let (directory, store) = store();
    for number in 1..=40u64 {
        let mut run = NewRun { created_at_ms: NOW + number as i64, ..new_run(number) };
        run.request = noise(100_000);
        store.record(run, None, settlement(&id(number))).wait().unwrap();
    }
    let before = store.reader().sizes().unwrap();
    assert_eq!(before.runs, 40);
    let retention = Retention { max_bytes: Some(before.db_bytes - 950_000), ..Retention::default() };
    let (retained, _) = retain(&store, &retention, NOW);
    assert_eq!(retained.runs, 10);
    assert!(store.reader().sizes().unwrap().db_bytes <= before.db_bytes - 950_000);
    assert_eq!(kept(&store).last(), Some(&11));
    drop(store);
    let file = directory.path().join("fireclay.db").metadata().unwrap().len();
    assert!(file < before.db_bytes - 900_000, "{file} of {}", before.db_bytes);
    assert_sound(directory.path());
}

#[test]
fn artifacts_count_for_size() {
    let (_directory, store) = store();
    for number in 1..=4u64 {
        let content = store.stage(&mut &vec![number as u8; 1 << 20][..], 1 << 20).unwrap();
        let artifacts = vec![NewArtifact { path: "a".to_owned(), mime: String::new(), content }];
        let run = NewRun { created_at_ms: NOW + number as i64, ..new_run(number) };
        store.record(run, None, Settlement { artifacts, ..settlement(&id(number)) }).wait().unwrap();
    }
    let retention = Retention { max_bytes: Some(5 << 19), ..Retention::default() };
    retain(&store, &retention, NOW);
    assert_eq!(kept(&store), [4, 3]);
    assert_eq!(store.reader().sizes().unwrap().blob_bytes, 2 << 20);
}

#[test]
fn a_step_is_bounded_in_bytes_too() {
    let (_directory, store) = store();
    let quarter = usize::try_from(store::limits::RETAIN_STEP_BYTES / 4).unwrap();
    for number in 1..=6 {
        let request = noise(quarter);
        let run = NewRun { request, created_at_ms: NOW + number as i64, ..new_run(number) };
        store.record(run, None, settlement(&id(number))).wait().unwrap();
    }
    let all = Retention { max_runs: Some(0), ..Retention::default() };
    let removed = || store.retain(all.clone(), NOW).wait().map(|step| (step.runs, step.more)).unwrap();
    assert_eq!([removed(), removed()], [(4, true), (2, false)]);
}
