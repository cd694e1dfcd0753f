//! The spool: written without a store, taken in by the next one, whatever lies there.

use crate::harness::{NOW, completed, id, local, new_run, open, store};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use store::spool::{Backlog, ToSpool, write};
use store::{Durability, Ingested, Record, RunEvent, Store};

fn spooled(number: u64) -> Record {
    Record {
        run: new_run(number),
        started_at_ms: Some(NOW + 1),
        settled_at_ms: NOW + 5,
        result: completed(&id(number)),
        trace: None,
        events: vec![RunEvent { seq: 1, kind: "stdout".to_owned(), data: json!("hello\n") }],
    }
}

fn spool(directory: &Path, number: u64) {
    write(directory, spooled(number), Vec::new(), Durability::Commit).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("spool")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// More than there are.
const ALL: usize = 1_000;

fn ingest(store: &Store) -> Ingested {
    store.ingest_spool(ALL, NOW).unwrap()
}

#[test]
fn what_was_spooled_before_there_was_a_store_is_taken_in() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let mut content = &b"hello"[..];
    let artifact = ToSpool { path: "a/b".to_owned(), mime: "text/plain".to_owned(), content: &mut content };
    write(&directory, spooled(1), vec![artifact], Durability::Fsync).unwrap();
    (2..200).for_each(|number| spool(&directory, number));
    let store = open(&directory);
    assert_eq!(ingest(&store), Ingested { taken: 199, ..Ingested::default() });
    assert_eq!(names(&directory), Vec::<String>::new());
    let reader = store.reader();
    let record = reader.run(&local(), &id(1)).unwrap().unwrap();
    assert_eq!(record.parsed().unwrap().unwrap(), completed(&id(1)));
    assert_eq!((record.request, record.row.started_at_ms), (new_run(1).request, Some(NOW + 1)));
    assert_eq!(reader.events(&local(), &id(1), None).unwrap().unwrap(), spooled(1).events);
    let mut text = String::new();
    reader.artifact(&local(), &id(1), "a/b").unwrap().unwrap().1.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn taking_in_twice_changes_nothing() {
    let (directory, store) = store();
    assert_eq!(ingest(&store), Ingested::default());
    spool(directory.path(), 1);
    assert_eq!(ingest(&store).taken, 1);
    spool(directory.path(), 1);
    assert_eq!(ingest(&store), Ingested { known: 1, ..Ingested::default() });
    assert_eq!(names(directory.path()), Vec::<String>::new());
    let usage = store.reader().usage(&local(), 0, i64::MAX, &Default::default()).unwrap();
    assert_eq!(usage.items[0].runs, 1);
}

#[test]
fn hostile_files_are_put_aside_and_the_rest_is_taken_in() {
    let (directory, store) = store();
    (1..=20).for_each(|number| spool(directory.path(), number));
    let at = |name: &str| directory.path().join("spool").join(name);
    let json = |number| format!("{}.json", id(number));
    let text = fs::read_to_string(at(&json(1))).unwrap();
    let edit = |number, from: &str, to: &str| {
        let text = fs::read_to_string(at(&json(number))).unwrap();
        let edited = text.replace(from, to);
        assert_ne!(edited, text);
        fs::write(at(&json(number)), edited).unwrap();
    };
    fs::write(at(&json(1)), &text[..text.len() / 2]).unwrap();
    fs::write(at(&json(2)), "").unwrap();
    fs::write(at(&json(3)), "[".repeat(1_000_000)).unwrap();
    fs::write(at(&json(4)), b"\xff\xfe\0").unwrap();
    edit(5, id(5).as_str(), id(99).as_str());
    edit(6, "\"outcome\":\"completed\"", "\"outcome\":null");
    edit(7, "\"local\"", "\"../local\"");
    edit(
        8,
        "\"artifacts\":[]}",
        "\"artifacts\":[{\"path\":\"x\",\"mime\":\"\",\"bytes\":1,\"sha256\":\"\"}]}",
    );
    edit(9, "{\"record\":", "{\"extra\":1,\"record\":");
    // To a record that would be taken in if it lay there itself.
    let elsewhere = directory.path().join("elsewhere.json");
    fs::rename(at(&json(10)), &elsewhere).unwrap();
    symlink(&elsewhere, at(&json(10))).unwrap();
    fs::remove_file(at(&json(11))).unwrap();
    fs::create_dir(at(&json(11))).unwrap();
    fs::remove_file(at(&json(12))).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at(&json(12)),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    edit(13, "\"seq\":1", "\"seq\":-1");
    edit(14, "\"settled_at_ms\":", "\"settled_at_ms\":1e300,\"x\":");
    edit(15, &format!("\"settled_at_ms\":{}", NOW + 5), &format!("\"settled_at_ms\":{}", i64::MIN));
    edit(16, &format!("\"created_at_ms\":{NOW}"), &format!("\"created_at_ms\":{}", i64::MAX));
    fs::write(at("notes.txt"), "mine").unwrap();
    fs::write(at("run_.json"), "{}").unwrap();

    let found = ingest(&store);
    assert_eq!((found.taken, found.known, found.more), (4, 0, false));
    let mut bad: Vec<_> = found.bad.iter().map(|(name, _)| name.clone()).collect();
    bad.sort();
    let mut expected: Vec<_> = (1..=16).map(json).collect();
    expected.extend(["notes.txt".to_owned(), "run_.json".to_owned()]);
    expected.sort();
    assert_eq!(bad, expected);
    assert_eq!(names(directory.path()), ["bad"]);
    let aside: Vec<_> = fs::read_dir(at("bad")).unwrap().collect();
    assert_eq!(aside.len(), 18);
    // Once and for all.
    assert_eq!(ingest(&store), Ingested::default());
    assert!(store.reader().run(&local(), &id(5)).unwrap().is_none());
    assert!(store.reader().run(&local(), &id(99)).unwrap().is_none());
}

#[test]
fn an_artifact_that_was_changed_is_not_believed() {
    let (directory, store) = store();
    let mut content = &b"hello"[..];
    let artifact = ToSpool { path: "a".to_owned(), mime: String::new(), content: &mut content };
    write(directory.path(), spooled(1), vec![artifact], Durability::Commit).unwrap();
    fs::write(directory.path().join("spool").join(format!("{}.0", id(1))), "HELLO").unwrap();
    let found = ingest(&store);
    assert_eq!((found.taken, found.bad.len()), (0, 1));
    assert!(store.reader().run(&local(), &id(1)).unwrap().is_none());
}

#[test]
fn what_a_dead_writer_left_goes_after_an_hour() {
    let (directory, store) = store();
    fs::create_dir(directory.path().join("spool")).unwrap();
    let left = [format!("{}.tmp", id(1)), format!("{}.0", id(1))];
    for name in &left {
        fs::write(directory.path().join("spool").join(name), "half").unwrap();
    }
    let written = directory.path().join("spool").join(&left[0]).metadata().unwrap().modified().unwrap();
    let written_ms = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!(store.ingest_spool(ALL, written_ms + 3_500_000).unwrap(), Ingested::default());
    assert_eq!(names(directory.path()).len(), 2);
    assert_eq!(store.ingest_spool(ALL, written_ms + 3_700_000).unwrap(), Ingested::default());
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[test]
fn the_backlog_is_what_waits_and_looking_is_bounded() {
    let (directory, store) = store();
    let backlog = |files_max| store::spool::backlog(directory.path(), files_max).unwrap();
    assert_eq!(backlog(ALL), Backlog::default());
    (1..=5).for_each(|number| spool(directory.path(), number));
    let mut content = &[7; 1000][..];
    let artifact = ToSpool { path: "a".to_owned(), mime: String::new(), content: &mut content };
    write(directory.path(), spooled(6), vec![artifact], Durability::Commit).unwrap();
    fs::write(directory.path().join("spool").join("foreign"), "x").unwrap();
    let sizes = names(directory.path()).into_iter().filter(|name| name != "foreign");
    let bytes = sizes.map(|name| directory.path().join("spool").join(name).metadata().unwrap().len()).sum();
    let seen = backlog(ALL);
    assert_eq!((seen.records, seen.bytes), (6, bytes));
    assert!(seen.oldest_ms.is_some_and(|at| at > 0) && bytes > 1000);
    let some = backlog(3);
    assert!(some.records <= 3 && some.more && !seen.more);
    // As many as are asked for, and then the rest.
    let found = store.ingest_spool(4, NOW).unwrap();
    assert_eq!((found.taken, found.more, backlog(ALL).records), (4, true, 2));
    assert_eq!((ingest(&store).taken, backlog(ALL)), (2, Backlog::default()));
}
