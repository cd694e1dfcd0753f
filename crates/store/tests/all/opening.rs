//! Opening: whose directory, whose file, how old; and who else may look.

use crate::harness::{NOW, assert_sound, id, local, new_run, open, raw, record, store};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use store::{Filter, Options, Page, Reader, Store, StoreError};

const SCRIPTS: [&str; 10] = [
    include_str!("../../src/migrations/1-runs.sql"),
    include_str!("../../src/migrations/2-batches.sql"),
    include_str!("../../src/migrations/3-access.sql"),
    include_str!("../../src/migrations/4-audit.sql"),
    include_str!("../../src/migrations/5-texts.sql"),
    include_str!("../../src/migrations/6-sessions.sql"),
    include_str!("../../src/migrations/7-tasks.sql"),
    include_str!("../../src/migrations/8-traces.sql"),
    include_str!("../../src/migrations/9-observe.sql"),
    include_str!("../../src/migrations/10-secrets.sql"),
];

fn refused(directory: &std::path::Path) -> StoreError {
    Store::open(directory, Options::default()).unwrap_err()
}

#[test]
fn the_second_owner_is_told_who_the_first_is() {
    let (directory, store) = store();
    match refused(directory.path()) {
        StoreError::InUse { pid, .. } => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other}"),
    }
    drop(store.clone());
    assert!(matches!(refused(directory.path()), StoreError::InUse { .. }));
    drop(store);
    drop(open(directory.path()));
}

#[test]
fn others_read_beside_the_owner_and_after_it() {
    let (directory, store) = store();
    record(&store, 1);
    let reader = Reader::open(directory.path()).unwrap();
    assert!(reader.run(&local(), &id(1)).unwrap().is_some());
    record(&store, 2);
    assert!(reader.run(&local(), &id(2)).unwrap().is_some());
    drop(reader);
    drop(store);
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.runs(&local(), &Filter::default(), &Page::default()).unwrap().items.len(), 2);
    // And the owner comes back while it looks.
    record(&open(directory.path()), 3);
    assert!(reader.run(&local(), &id(3)).unwrap().is_some());
}

#[test]
fn a_reader_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Reader::open(directory.path()), Err(StoreError::Io { .. })));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn nobody_else_may_enter() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let store = open(&directory);
    record(&store, 1);
    let content = store.stage(&mut &b"x"[..], 1).unwrap();
    let mut todo = vec![directory.clone()];
    while let Some(path) = todo.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{}", path.display());
        if metadata.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    drop(content);
    drop(store);
    fs::set_permissions(directory.join("fireclay.db"), fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&directory));
    assert_eq!(directory.join("fireclay.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fireclay.db");
    let text = "this is a letter to my aunt\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    assert!(matches!(refused(directory.path()), StoreError::NotADatabase { .. }));
    assert!(matches!(Reader::open(directory.path()), Err(StoreError::NotADatabase { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn another_programs_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    raw(directory.path()).execute_batch("CREATE TABLE cookies (x)").unwrap();
    assert!(matches!(refused(directory.path()), StoreError::Foreign { application_id: 0, .. }));
    raw(directory.path()).execute_batch("PRAGMA application_id = 77").unwrap();
    assert!(matches!(refused(directory.path()), StoreError::Foreign { application_id: 77, .. }));
    let tables: i64 =
        raw(directory.path()).query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_newer_schema_is_refused_in_words() {
    let (directory, store) = store();
    drop(store);
    let known = SCRIPTS.len();
    raw(directory.path()).execute_batch(&format!("PRAGMA user_version = {}", known + 1)).unwrap();
    let expected = format!(
        "{}/fireclay.db has schema {}, newer than {known}, the newest this fireclay knows; use a newer fireclay",
        directory.path().display(),
        known + 1
    );
    assert_eq!(refused(directory.path()).to_string(), expected);
    assert!(matches!(Reader::open(directory.path()), Err(StoreError::Newer { .. })));
}

/// A database as the fireclay of an older schema left it, with one run.
fn old_database(directory: &std::path::Path, version: usize) {
    let db = Connection::open(directory.join("fireclay.db")).unwrap();
    db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").unwrap();
    SCRIPTS[..version].iter().for_each(|script| db.execute_batch(script).unwrap());
    db.execute_batch(&format!("PRAGMA application_id = 0x66726379; PRAGMA user_version = {version}"))
        .unwrap();
    let sql = "INSERT INTO runs (seq, id, tenant, state, created_at, language, metadata)
        VALUES (1, ?, 'local', 'queued', ?, 'python', '{\"a\":\"b\"}')";
    db.execute(sql, rusqlite::params![id(1).as_str(), NOW]).unwrap();
    db.execute_batch("INSERT INTO requests VALUES (1, '{}')").unwrap();
}

#[test]
fn every_older_schema_is_brought_up_to_date() {
    for version in 1..SCRIPTS.len() {
        let directory = tempfile::tempdir().unwrap();
        old_database(directory.path(), version);
        match Reader::open(directory.path()) {
            Err(StoreError::Older { found, known, .. }) => {
                assert_eq!((found, known), (version as i64, SCRIPTS.len() as i64));
            }
            other => panic!("{:?}", other.err()),
        }
        let store = open(directory.path());
        let run = store.reader().run(&local(), &id(1)).unwrap().unwrap();
        assert_eq!((run.row.created_at_ms, run.row.metadata["a"].as_str()), (NOW, "b"));
        assert_eq!(store.interrupt_unfinished(NOW).wait().unwrap(), [id(1)]);
        record(&store, 2);
        drop(store);
        let shape = |directory: &std::path::Path| -> Vec<(String, Option<String>)> {
            let db = raw(directory);
            let mut statement = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let (new, fresh) = crate::harness::store();
        drop(fresh);
        assert_eq!(shape(directory.path()), shape(new.path()));
        assert_sound(directory.path());
    }
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    old_database(directory.path(), 1);
    // Someone made a table of the name that script 4 wants; scripts 2 and 3 must be undone.
    raw(directory.path()).execute_batch("CREATE TABLE audit (x)").unwrap();
    assert!(matches!(refused(directory.path()), StoreError::Database { .. }));
    let version: i64 = raw(directory.path()).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    raw(directory.path()).execute_batch("DROP TABLE audit").unwrap();
    let store = open(directory.path());
    assert!(store.admit(new_run(2)).wait().is_ok());
}
