//! Sessions: opened, ended once, found by their owners.

use crate::harness::{NOW, store, tenant};
use model::SessionId;
use store::{Actor, NewSession, Page, Scope, SessionEnd, StoreError};

fn id(number: u8) -> SessionId {
    SessionId::from_random([number; 16])
}

fn open(number: u8, owner: &str) -> NewSession {
    NewSession {
        id: id(number),
        tenant: tenant(owner),
        name: format!("n{number}"),
        created_at_ms: NOW + i64::from(number),
        request: "{}".into(),
    }
}

fn end(at_ms: i64, files_until_ms: Option<i64>) -> SessionEnd {
    SessionEnd { at_ms, why: "idle".into(), detail: String::new(), files_until_ms, files_bytes: 7 }
}

#[test]
fn a_session_ends_once_and_is_its_owners() {
    let (_directory, store) = store();
    for (number, owner) in [(1, "a"), (2, "a"), (3, "b")] {
        store.open_session(open(number, owner), Actor::Local).wait().unwrap();
    }
    let again = store.open_session(open(1, "b"), Actor::Local).wait();
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    store.end_session(&id(1), end(NOW + 9, Some(NOW + 50)), Actor::Local).wait().unwrap();
    let twice = store.end_session(&id(1), end(NOW + 10, None), Actor::Local).wait();
    assert!(matches!(twice, Err(StoreError::AlreadySettled)));
    let reader = store.reader();
    let of = |owner: &str| Scope::Tenant(tenant(owner));
    assert_eq!(reader.session(&of("b"), &id(1)).unwrap(), None);
    let row = reader.session(&of("a"), &id(1)).unwrap().unwrap();
    assert_eq!(row.end, Some(end(NOW + 9, Some(NOW + 50))));
    let names = |scope: &Scope, open| {
        let listed = reader.sessions(scope, open, &Page::default()).unwrap().items;
        listed.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&of("a"), None), ["n2", "n1"]);
    assert_eq!(names(&Scope::Admin, Some(true)), ["n3", "n2"]);
    assert_eq!(names(&of("a"), Some(false)), ["n1"]);
    assert_eq!(reader.session_counts(&id(1)).unwrap(), Default::default());
    // Four acts: three beginnings and one end.
    assert_eq!(reader.audit(&Scope::Admin, &Default::default(), &Page::default()).unwrap().items.len(), 4);
}

#[test]
fn files_are_forgotten_before_the_session_is() {
    let (_directory, store) = store();
    store.open_session(open(1, "a"), Actor::Local).wait().unwrap();
    store.end_session(&id(1), end(NOW + 9, Some(NOW + 50)), Actor::Local).wait().unwrap();
    assert!(store.reader().sessions_to_clear(NOW + 49, 10).unwrap().is_empty());
    assert_eq!(store.reader().sessions_to_clear(NOW + 50, 10).unwrap(), [id(1)]);
    assert_eq!(store.remove_sessions(NOW + 100, 10).wait().unwrap(), 0);
    assert_eq!(store.reader().session_files_bytes().unwrap(), 7);
    store.forget_session_files(&id(1)).wait().unwrap();
    assert_eq!(store.reader().session_files_bytes().unwrap(), 0);
    assert!(store.reader().sessions_to_clear(NOW + 50, 10).unwrap().is_empty());
    assert_eq!(store.remove_sessions(NOW + 9, 10).wait().unwrap(), 0);
    assert_eq!(store.remove_sessions(NOW + 10, 10).wait().unwrap(), 1);
}
