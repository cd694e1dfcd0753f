//! `kill -9` at any moment: what was acknowledged is there, and the database is sound.
//!
//! The test runs itself again as a child that writes as fast as it can from several threads and tells each acknowledged write
//! on its standard output. The parent reads a random number of lines, kills it, and looks.

use crate::harness::{NOW, assert_sound, id, local, new_run, open, settlement};
use model::result::RunState;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use store::{
    Actor, AuditVerdict, Durability, NewArtifact, NewAudit, Options, Record, Settlement, Store, StoreError,
};

const DIRECTORY: &str = "FIRECLAY_STORE_KILLED_DIRECTORY";
const FIRST: &str = "FIRECLAY_STORE_KILLED_FIRST";

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Runs one of the tests below as a child, which knows that it is one by its environment.
fn child(test: &str, directory: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads `count` acknowledged writes, calls `look`, kills the child, and reads what it had told before it died.
fn kill_after(mut child: Child, count: u64, look: impl FnOnce(u32)) -> Vec<(String, u64)> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut told = Vec::new();
    let mut line = String::new();
    let mut next = |line: &mut String| -> bool {
        line.clear();
        output.read_line(line).unwrap() > 0
    };
    let parse = |line: &str| {
        // The last line may be torn.
        let (kind, number) = line.strip_suffix('\n')?.strip_prefix("told ")?.split_once(' ')?;
        Some((kind.to_owned(), number.parse().ok()?))
    };
    while (told.len() as u64) < count {
        assert!(next(&mut line), "the child ended by itself");
        told.extend(parse(&line));
    }
    look(child.id());
    child.kill().unwrap();
    while next(&mut line) {
        told.extend(parse(&line));
    }
    child.wait().unwrap();
    told
}

fn told(kind: &str, number: u64) {
    let line = format!("told {kind} {number}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

fn content(number: u64) -> String {
    format!("content {}", number % 50)
}

/// What the child does for ever. A test that passes at once unless it is a child.
#[test]
fn child_writes_until_it_is_killed() {
    let (Some(directory), Ok(first)) = (std::env::var_os(DIRECTORY), std::env::var(FIRST)) else { return };
    let first: u64 = first.parse().unwrap();
    let durability = if first.is_multiple_of(3) { Durability::Fsync } else { Durability::Commit };
    let options = Options { durability, ..Options::default() };
    let store = Store::open(directory.as_ref(), options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in (first + thread..).step_by(4) {
                    store.admit(new_run(number)).wait().unwrap();
                    told("admitted", number);
                    let content = store.stage(&mut content(number).as_bytes(), 100).unwrap();
                    let artifacts = vec![NewArtifact { path: "a".to_owned(), mime: String::new(), content }];
                    let settlement = Settlement { artifacts, ..settlement(&id(number)) };
                    store.settle(&id(number), settlement).wait().unwrap();
                    told("settled", number);
                    if number % 5 == 0 {
                        // Its content is another run's too, or the last of its kind.
                        store.delete_run(local(), &id(number), Actor::Local, NOW).wait().unwrap();
                        told("deleted", number);
                    }
                    let act = NewAudit {
                        at_ms: NOW,
                        actor: Actor::Local,
                        tenant: None,
                        action: "test".to_owned(),
                        object: number.to_string(),
                        detail: serde_json::Value::Null,
                    };
                    store.audit(act).wait().unwrap();
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut all: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..30u64 {
        let count = 1 + random(400);
        let child = child("killed::child_writes_until_it_is_killed", directory.path(), round * 1_000_000);
        let told = kill_after(child, count, |pid| {
            let refused = Store::open(directory.path(), Options::default()).unwrap_err();
            assert!(matches!(refused, StoreError::InUse { pid: Some(owner), .. } if owner == pid));
        });
        assert!(told.len() as u64 >= count);
        // In order for each run, since each is written by one thread.
        all.extend(told.into_iter().map(|(kind, number)| (number, kind)));

        assert_sound(directory.path());
        let store = open(directory.path());
        let reader = store.reader();
        for (number, kind) in &all {
            let found = reader.run(&local(), &id(*number)).unwrap();
            let state = found.as_ref().map(|record| record.row.state);
            let at = format!("round {round} after {count}, run {number}, told {kind}");
            match kind.as_str() {
                "admitted" => assert!(state.is_some(), "{at}: {state:?}"),
                // It may have been deleted since, unacknowledged.
                "settled" if number % 5 == 0 && state.is_none() => {}
                "settled" => {
                    assert_eq!(state, Some(RunState::Settled), "{at}");
                    let (_, mut file) = reader.artifact(&local(), &id(*number), "a").unwrap().unwrap();
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    assert_eq!(text, content(*number), "{at}");
                }
                _ => assert_eq!(state, None, "{at}"),
            }
        }
        let interrupted = store.interrupt_unfinished(NOW).wait().unwrap();
        assert!(interrupted.len() <= 4, "one for each thread at most: {interrupted:?}");
        assert!(matches!(reader.verify_audit().unwrap(), AuditVerdict::Whole { .. }));
    }
}

/// As above, for one-shot commands.
#[test]
fn child_spools_until_it_is_killed() {
    let (Some(directory), Ok(first)) = (std::env::var_os(DIRECTORY), std::env::var(FIRST)) else { return };
    for number in first.parse().unwrap().. {
        let record = Record {
            run: new_run(number),
            started_at_ms: None,
            settled_at_ms: NOW,
            result: settlement(&id(number)).result,
            trace: None,
            events: Vec::new(),
        };
        store::spool::write(directory.as_ref(), record, Vec::new(), Durability::Commit).unwrap();
        told("spooled", number);
    }
}

#[test]
fn nothing_spooled_is_lost() {
    if std::env::var_os(DIRECTORY).is_some() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 0..10u64 {
        let child = child("killed::child_spools_until_it_is_killed", directory.path(), round * 1_000_000);
        let told = kill_after(child, 1 + random(300), |_| {});
        let store = open(directory.path());
        let found = store.ingest_spool(usize::MAX, NOW).unwrap();
        assert_eq!(found.bad, []);
        // The last may be there without having been told.
        assert!(found.taken == told.len() || found.taken == told.len() + 1, "{found:?}, {}", told.len());
        for (_, number) in told {
            assert!(store.reader().run(&local(), &id(number)).unwrap().is_some());
        }
    }
}
