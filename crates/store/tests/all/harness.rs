//! A store in a directory of its own, and records with as little in them as a test needs.

use model::result::{Digests, RunState, Usage};
use model::{Isolation, Language, Outcome, RunId, RunResult, TenantId};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use store::{Filter, NewRun, Options, Page, Reader, RunRow, Scope, Settlement, Store};
use tempfile::TempDir;

/// Some moment; tests count on from it.
pub const NOW: i64 = 1_795_000_000_000;

pub fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (directory, store)
}

pub fn open(directory: &Path) -> Store {
    Store::open(directory, Options::default()).unwrap()
}

/// The database behind the store's back.
pub fn raw(directory: &Path) -> Connection {
    Connection::open(directory.join("fireclay.db")).unwrap()
}

/// The run of a number.
pub fn id(number: u64) -> RunId {
    RunId::from_random(u128::from(number).to_be_bytes())
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub fn local() -> Scope {
    Scope::Tenant(TenantId::local())
}

pub fn new_run(number: u64) -> NewRun {
    NewRun {
        id: id(number),
        tenant: TenantId::local(),
        created_at_ms: NOW,
        language: Language::Python,
        request: format!(r#"{{"code":"print({number})"}}"#),
        metadata: BTreeMap::new(),
        session: None,
        batch: None,
        trace: None,
        idempotency: None,
    }
}

pub fn completed(id: &RunId) -> RunResult {
    RunResult {
        id: id.clone(),
        state: RunState::Settled,
        outcome: Some(Outcome::Completed),
        fault: None,
        exit_code: Some(0),
        signal: None,
        stdout: "hello\n".to_owned(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
        limits_hit: Vec::new(),
        result: None,
        displays: Vec::new(),
        error: None,
        artifacts: Vec::new(),
        findings: Vec::new(),
        egress: Vec::new(),
        session: None,
        state_lost: false,
        language: Language::Python,
        created_at: "2026-11-18T06:26:40.000Z".to_owned(),
        metadata: BTreeMap::new(),
        usage: Usage { wall_ms: 3, cpu_ms: 2, memory_peak_bytes: 9 << 20, queue_ms: 0 },
        isolation: Isolation { level: "default".to_owned(), layers: Vec::new(), missing: Vec::new() },
        digests: Digests::default(),
        receipt: None,
    }
}

pub fn settlement(id: &RunId) -> Settlement {
    Settlement {
        settled_at_ms: NOW + 5,
        result: completed(id),
        events: Vec::new(),
        artifacts: Vec::new(),
        verdict: None,
        trace: None,
    }
}

/// Admits and settles the run of a number.
pub fn record(store: &Store, number: u64) {
    store.record(new_run(number), Some(NOW + 1), settlement(&id(number))).wait().unwrap();
}

/// Panics unless SQLite finds the database sound.
pub fn assert_sound(directory: &Path) {
    let found: String = raw(directory).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

/// All pages of the local tenant's runs, with `between` called after each. Fails when they do not end.
pub fn pages(reader: &Reader, limit: usize, mut between: impl FnMut()) -> Vec<RunRow> {
    let mut page = Page { limit, cursor: None };
    let mut rows = Vec::new();
    loop {
        let listed = reader.runs(&local(), &Filter::default(), &page).unwrap();
        assert!(listed.items.len() <= limit);
        rows.extend(listed.items);
        assert!(rows.len() < 100_000, "pages go round in circles");
        match listed.next {
            // As a client does: as text.
            Some(next) => page.cursor = Some(next.to_string().parse().unwrap()),
            None => return rows,
        }
        between();
    }
}

/// A text that no compression makes shorter: letters as good as random, the same each time (xorshift).
pub fn noise(bytes: usize) -> String {
    let mut state = 88_172_645_463_325_252u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 32) as u8 % 64)
    };
    (0..bytes).map(letter).collect()
}
