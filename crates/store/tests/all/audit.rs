//! The audit log: only added to, and every row holds the next.

use crate::harness::{NOW, open, raw, store, tenant};
use serde_json::json;
use store::{Actor, AuditFilter, AuditVerdict, NewAudit, Page, Retention, Scope, Store};

fn act(number: i64) -> NewAudit {
    NewAudit {
        at_ms: NOW + number,
        actor: if number % 2 == 0 { Actor::Local } else { Actor::Service },
        tenant: (number % 3 == 0).then(|| tenant("acme")),
        action: "thing.do".to_owned(),
        object: format!("thing{number}"),
        detail: json!({"n": number}),
    }
}

fn filled() -> (tempfile::TempDir, Store) {
    let (directory, store) = store();
    for number in 1..=10 {
        assert_eq!(store.audit(act(number)).wait().unwrap(), number as u64);
    }
    (directory, store)
}

fn broken_at(store: &Store) -> Option<u64> {
    match store.reader().verify_audit().unwrap() {
        AuditVerdict::Whole { .. } => None,
        AuditVerdict::Broken { seq, .. } => Some(seq),
    }
}

#[test]
fn acts_are_listed_newest_first() {
    let (_directory, store) = filled();
    let list = |scope: &Scope, filter: AuditFilter| -> Vec<u64> {
        let listed = store.reader().audit(scope, &filter, &Page { limit: 4, cursor: None }).unwrap();
        listed.items.iter().map(|row| row.seq).collect()
    };
    assert_eq!(list(&Scope::Admin, AuditFilter::default()), [10, 9, 8, 7]);
    assert_eq!(list(&Scope::Tenant(tenant("acme")), AuditFilter::default()), [9, 6, 3]);
    assert_eq!(list(&Scope::Tenant(tenant("other")), AuditFilter::default()), [0u64; 0]);
    let filter =
        AuditFilter { actor: Some("local".to_owned()), until_ms: Some(NOW + 8), ..Default::default() };
    assert_eq!(list(&Scope::Admin, filter), [6, 4, 2]);
    let filter = AuditFilter { object: Some("thing5".to_owned()), ..Default::default() };
    assert_eq!(list(&Scope::Admin, filter), [5]);
    let first = store.reader().audit(&Scope::Admin, &Default::default(), &Page { limit: 9, cursor: None });
    let next = first.unwrap().next;
    let rest = store.reader().audit(&Scope::Admin, &Default::default(), &Page { limit: 9, cursor: next });
    assert_eq!(rest.unwrap().items[0].detail, json!({"n": 1}));
}

#[test]
fn rows_cannot_be_changed_by_mistake() {
    let (directory, store) = filled();
    let db = raw(directory.path());
    for sql in [
        "UPDATE audit SET actor = 'nobody' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT 3, at, 'nobody', tenant, action, object, detail, hash FROM audit WHERE seq = 3",
    ] {
        let error = db.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    assert_eq!(broken_at(&store), None);
}

#[test]
fn a_change_behind_the_triggers_is_found_and_named() {
    for (change, named) in [
        ("UPDATE audit SET actor = 'nobody' WHERE seq = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", 1),
        ("UPDATE audit SET tenant = NULL WHERE seq = 6", 6),
        ("UPDATE audit SET detail = '{}' WHERE seq = 10", 10),
        ("UPDATE audit SET object = object || action, action = '' WHERE seq = 4", 4),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 5", 5),
        ("UPDATE audit SET hash = x'00' WHERE seq = 5", 5),
        ("DELETE FROM audit WHERE seq = 1", 2),
        ("DELETE FROM audit WHERE seq = 7", 8),
        ("DELETE FROM audit WHERE seq >= 9", 9),
        ("DELETE FROM audit", 1),
        ("UPDATE audit_anchor SET seq = 4; DELETE FROM audit WHERE seq <= 4", 5),
        ("DELETE FROM audit_anchor", 0),
    ] {
        let (directory, store) = filled();
        assert_eq!(broken_at(&store), None);
        let db = raw(directory.path());
        db.execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted").unwrap();
        db.execute_batch(change).unwrap();
        assert_eq!(broken_at(&store), Some(named), "{change}");
    }
}

#[test]
fn the_chain_goes_on_after_reopening() {
    let (directory, store) = filled();
    let head = |store: &Store| match store.reader().verify_audit().unwrap() {
        AuditVerdict::Whole { rows, head } => (rows, head),
        broken => panic!("{broken:?}"),
    };
    let before = head(&store);
    drop(store);
    let store = open(directory.path());
    assert_eq!(head(&store), before);
    assert_eq!(store.audit(act(11)).wait().unwrap(), 11);
    let (rows, after) = head(&store);
    assert_eq!(rows, 11);
    assert_ne!(after, before.1);
    let last = store.reader().audit(&Scope::Admin, &Default::default(), &Page::default()).unwrap().items;
    assert_eq!((last[0].hash.clone(), last[1].hash.clone()), (after, before.1));
}

#[test]
fn retention_keeps_the_chain_whole_and_says_what_it_took() {
    let (directory, store) = filled();
    let retention = Retention { audit_max_age_ms: Some(5), ..Retention::default() };
    let retained = store.retain(retention.clone(), NOW + 9).wait().unwrap();
    // Older than 5 ms at 9: those of 1, 2 and 3.
    assert_eq!((retained.audit_rows, retained.more), (3, false));
    assert_eq!(broken_at(&store), None);
    let rows = store.reader().audit(&Scope::Admin, &Default::default(), &Page::default()).unwrap().items;
    assert_eq!((rows[0].action.as_str(), rows[0].actor.as_str()), ("audit.prune", "service"));
    assert_eq!((rows[0].detail["rows"].clone(), rows[0].detail["through"].clone()), (json!(3), json!(3)));
    assert_eq!(rows.last().unwrap().seq, 4);

    // All of it, then something new: the numbers and the chain go on.
    store.retain(retention, NOW + 1000).wait().unwrap();
    assert_eq!(broken_at(&store), None);
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.audit(act(12)).wait().unwrap(), 13);
    assert_eq!(broken_at(&store), None);
}

#[test]
fn too_long_a_detail_is_refused() {
    let (_directory, store) = store();
    let long = NewAudit { detail: json!("x".repeat(store::limits::DETAIL_BYTES_MAX)), ..act(1) };
    assert!(matches!(store.audit(long).wait(), Err(store::StoreError::TooLong { .. })));
    assert_eq!(broken_at(&store), None);
}
