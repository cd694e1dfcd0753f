//! Keys: shown once, verified from memory, refused at once when revoked.

use crate::harness::{NOW, open, store, tenant};
use std::fs;
use store::{Actor, CreatedKey, KEY_RANDOM_BYTES, NewKey, Page, Role, Scope, Store, StoreError};

fn create(store: &Store, name: &str, random: u8, expires_at_ms: Option<i64>) -> CreatedKey {
    let role = if name == "admin" { Role::Admin } else { Role::Tenant };
    let new = NewKey { tenant: tenant("acme"), role, name: name.to_owned(), expires_at_ms };
    store.create_key(new, [random; KEY_RANDOM_BYTES], Actor::Local, NOW).wait().unwrap()
}

#[test]
fn a_key_verifies_from_its_making_to_its_revocation() {
    let (directory, store) = store();
    assert!(!store.has_key(NOW));
    let key = create(&store, "ci", 7, None);
    let (id, secret) = key.plain.strip_prefix("fc_").unwrap().split_once('_').unwrap();
    assert_eq!((id.len(), secret.len(), id), (10, 43, key.row.id.as_str()));
    let principal = store.verify_key(&key.plain, NOW).unwrap();
    assert_eq!((principal.tenant, principal.role), (tenant("acme"), Role::Tenant));
    assert!(store.has_key(NOW) && !store.has_admin_key(NOW));
    create(&store, "admin", 8, None);
    assert!(store.has_admin_key(NOW));

    // Also for whoever opens the store next.
    drop(store);
    let store = open(directory.path());
    assert!(store.verify_key(&key.plain, NOW).is_some());
    store.revoke_key(Scope::Admin, &key.row.id, Actor::Local, NOW + 1).wait().unwrap();
    assert_eq!(store.verify_key(&key.plain, NOW), None);
    store.revoke_key(Scope::Admin, &key.row.id, Actor::Local, NOW + 9).wait().unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.verify_key(&key.plain, NOW), None);
    let listed = store.reader().keys(&Scope::Admin, &Page::default()).unwrap().items;
    let row = listed.iter().find(|row| row.id == key.row.id).unwrap();
    assert_eq!(row.revoked_at_ms, Some(NOW + 1));
}

#[test]
fn the_last_key_of_an_administrator_stays() {
    let (_directory, store) = store();
    let revoke =
        |key: &CreatedKey, at_ms| store.revoke_key(Scope::Admin, &key.row.id, Actor::Local, at_ms).wait();
    let ci = create(&store, "ci", 1, None);
    let (first, second) = (create(&store, "admin", 2, None), create(&store, "admin", 3, Some(NOW + 10)));
    // One that has expired is no help, and may go.
    assert!(matches!(revoke(&first, NOW + 10), Err(StoreError::LastAdmin)));
    assert!(store.verify_key(&first.plain, NOW).is_some());
    revoke(&second, NOW + 10).unwrap();
    revoke(&ci, NOW).unwrap();
    assert!(matches!(revoke(&first, NOW), Err(StoreError::LastAdmin)));
    let third = create(&store, "admin", 4, None);
    revoke(&first, NOW).unwrap();
    revoke(&first, NOW).unwrap();
    assert!(matches!(revoke(&third, NOW), Err(StoreError::LastAdmin)));
}

/// Two administrators who revoke each other's key at once: one of them still can.
#[test]
fn of_two_who_go_at_once_one_stays() {
    for _ in 0..10 {
        let (_directory, store) = store();
        let keys = [1, 2].map(|random| create(&store, "admin", random, None));
        let gone = std::thread::scope(|scope| {
            let both = keys.each_ref().map(|key| {
                let revoke = || store.revoke_key(Scope::Admin, &key.row.id, Actor::Local, NOW).wait().is_ok();
                scope.spawn(revoke)
            });
            both.map(|thread| thread.join().unwrap())
        });
        assert_eq!(gone.into_iter().filter(|gone| *gone).count(), 1);
        assert!(store.has_admin_key(NOW));
    }
}

#[test]
fn only_the_very_key_verifies() {
    let (_directory, store) = store();
    let key = create(&store, "ci", 7, None).plain;
    for at in 0..key.len() {
        let mut wrong = key.clone().into_bytes();
        wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
        assert_eq!(store.verify_key(&String::from_utf8(wrong).unwrap(), NOW), None, "at {at}");
    }
    let hostile =
        ["", "fc_", "fc_é", "fc_éééééé_", &key[..key.len() - 1], &format!("{key}x"), &"fc_".repeat(99_999)];
    for text in hostile {
        assert_eq!(store.verify_key(text, NOW), None);
    }
}

#[test]
fn an_expired_key_is_refused() {
    let (_directory, store) = store();
    let key = create(&store, "ci", 7, Some(NOW + 10)).plain;
    assert!(store.verify_key(&key, NOW + 9).is_some() && store.has_key(NOW + 9));
    assert!(store.verify_key(&key, NOW + 10).is_none() && !store.has_key(NOW + 10));
}

#[test]
fn the_secret_is_nowhere_on_disk_and_in_no_log() {
    let (directory, store) = store();
    let key = create(&store, "ci", 7, None);
    let secret = key.plain.rsplit_once('_').unwrap().1.to_owned();
    assert!(!format!("{key:?}").contains(&secret));
    drop(store);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn keys_belong_to_their_tenant() {
    let (_directory, store) = store();
    let key = create(&store, "ci", 7, None);
    let other = Scope::Tenant(tenant("other"));
    let foreign = store.revoke_key(other.clone(), &key.row.id, Actor::Local, NOW).wait();
    assert!(matches!(foreign, Err(StoreError::NotFound)));
    assert_eq!(store.reader().keys(&other, &Page::default()).unwrap().items, []);
    assert!(store.verify_key(&key.plain, NOW).is_some());
    // The tenant was made along with its key.
    assert!(store.reader().tenant(&tenant("acme")).unwrap().is_some());
    let again =
        NewKey { tenant: tenant("acme"), role: Role::Tenant, name: String::new(), expires_at_ms: None };
    let again = store.create_key(again, [7; KEY_RANDOM_BYTES], Actor::Local, NOW).wait();
    assert!(matches!(again, Err(StoreError::Exists { .. })));
}

#[test]
fn the_last_use_is_noted_now_and_then() {
    let (directory, store) = store();
    let key = create(&store, "ci", 7, None).plain;
    let used = |store: &Store| {
        store.reader().keys(&Scope::Admin, &Page::default()).unwrap().items[0].last_used_at_ms
    };
    assert_eq!(used(&store), None);
    for at in [NOW, NOW + 1, NOW + 59_999] {
        store.verify_key(&key, at).unwrap();
    }
    // What was queued is written before the store closes.
    drop(store);
    let store = open(directory.path());
    assert_eq!(used(&store), Some(NOW));
    store.verify_key(&key, NOW + 60_000).unwrap();
    drop(store);
    assert_eq!(used(&open(directory.path())), Some(NOW + 60_000));
}
