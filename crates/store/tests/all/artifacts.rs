//! Artifacts: contents kept once, served whole, gone with their last run.

use crate::harness::{NOW, id, local, new_run, open, settlement, store, tenant};
use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use store::{Actor, NewArtifact, Retention, Scope, Settlement, Store, StoreError};

fn with(store: &Store, number: u64, files: &[(&str, &[u8])]) -> Settlement {
    let stage = |(path, content): &(&str, &[u8])| NewArtifact {
        path: (*path).to_owned(),
        mime: "text/plain".to_owned(),
        content: store.stage(&mut &**content, 1 << 20).unwrap(),
    };
    Settlement { artifacts: files.iter().map(stage).collect(), ..settlement(&id(number)) }
}

fn record(store: &Store, number: u64, files: &[(&str, &[u8])]) {
    store.record(new_run(number), None, with(store, number, files)).wait().unwrap();
}

/// Content files, staged ones too.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![directory.join("blobs")];
    while let Some(path) = todo.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn a_content_is_kept_once_and_read_by_path() {
    let (directory, store) = store();
    let large = vec![7; 300_000];
    record(&store, 1, &[("a.txt", b"hello"), ("d/b.bin", &large), ("copy.txt", b"hello")]);
    record(&store, 2, &[("other name", b"hello")]);
    assert_eq!(files(directory.path()).len(), 2);
    let reader = store.reader();
    let rows = reader.artifacts(&local(), &id(1)).unwrap();
    let paths: Vec<_> = rows.iter().map(|row| (row.path.as_str(), row.bytes)).collect();
    assert_eq!(paths, [("a.txt", 5), ("copy.txt", 5), ("d/b.bin", 300_000)]);
    assert_eq!(rows[0].sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let (row, mut file) = reader.artifact(&local(), &id(1), "d/b.bin").unwrap().unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!((row.mime.as_str(), content), ("text/plain", large));

    for path in ["", "a", "../a.txt", "A.txt", "a.txt\0"] {
        assert!(reader.artifact(&local(), &id(1), path).unwrap().is_none(), "{path:?}");
    }
    let other = Scope::Tenant(tenant("other"));
    assert!(reader.artifact(&other, &id(1), "a.txt").unwrap().is_none());
    assert_eq!(reader.artifacts(&other, &id(1)).unwrap(), []);
    assert_eq!(reader.sizes().unwrap().blob_bytes, 300_005);
}

#[test]
fn a_content_goes_with_the_last_run_that_has_it() {
    let (directory, store) = store();
    record(&store, 1, &[("a", b"hello"), ("b", b"hello")]);
    record(&store, 2, &[("c", b"hello")]);
    let delete = |number| store.delete_run(local(), &id(number), Actor::Local, NOW).wait().unwrap();
    let (_, mut open_file) = store.reader().artifact(&local(), &id(2), "c").unwrap().unwrap();
    delete(1);
    assert_eq!(files(directory.path()).len(), 1);
    delete(2);
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
    // Who reads it already reads to the end.
    let mut text = String::new();
    open_file.rewind().unwrap();
    open_file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    record(&store, 3, &[("c", b"hello")]);
    assert!(store.reader().artifact(&local(), &id(3), "c").unwrap().is_some());
}

#[test]
fn what_was_staged_for_nothing_is_removed() {
    let (directory, store) = store();
    record(&store, 1, &[]);
    // Dropped, refused, too large.
    drop(store.stage(&mut &b"x"[..], 10).unwrap());
    let refused = store.settle(&id(1), with(&store, 1, &[("a", b"y")])).wait();
    assert!(matches!(refused, Err(StoreError::AlreadySettled)));
    assert!(matches!(store.stage(&mut &b"too much"[..], 7), Err(StoreError::TooLong { .. })));
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn what_a_crash_left_is_swept() {
    let (directory, store) = store();
    record(&store, 1, &[("a", b"hello")]);
    drop(store);
    let kept = files(directory.path());
    let blobs = directory.path().join("blobs");
    fs::write(blobs.join("staging/17"), "half").unwrap();
    fs::create_dir_all(blobs.join("ab")).unwrap();
    let orphan = blobs.join("ab").join("c".repeat(62));
    fs::write(&orphan, "orphan").unwrap();
    let foreign = blobs.join("ab/README");
    fs::write(&foreign, "not a content").unwrap();
    let store = open(directory.path());
    for _ in 0..256 {
        store.retain(Retention::default(), NOW).wait().unwrap();
    }
    assert!(!orphan.exists() && foreign.exists());
    fs::remove_file(foreign).unwrap();
    assert_eq!(files(directory.path()), kept);
}

#[test]
fn the_first_of_two_artifacts_with_one_path_is_kept() {
    let (directory, store) = store();
    record(&store, 1, &[("a", b"one"), ("a", b"two")]);
    let rows = store.reader().artifacts(&local(), &id(1)).unwrap();
    assert_eq!((rows.len(), rows[0].bytes), (1, 3));
    assert_eq!(files(directory.path()).len(), 1);
    store.delete_run(local(), &id(1), Actor::Local, NOW).wait().unwrap();
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn who_reads_while_others_delete_gets_all_or_nothing() {
    let (_directory, store) = store();
    let done = AtomicBool::new(false);
    // No id is ever given twice.
    let latest = AtomicU64::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let run = latest.fetch_add(1, Ordering::Relaxed) + 1;
                record(&store, run, &[("a", b"hello")]);
                store.delete_run(local(), &id(run), Actor::Local, NOW).wait().unwrap();
            }
        });
        let (mut whole, mut none) = (0, 0);
        while whole < 200 || none < 200 {
            match store.reader().artifact(&local(), &id(latest.load(Ordering::Relaxed)), "a") {
                Ok(None) => none += 1,
                Ok(Some((_, mut file))) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    assert_eq!(text, "hello");
                    whole += 1;
                }
                Err(error) => {
                    done.store(true, Ordering::Relaxed);
                    panic!("{error}");
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
