//! Tenants and quotas.

use crate::harness::{NOW, store, tenant};
use model::{CheckMode, CheckPatch, LimitsPatch};
use store::{Actor, Page, Quota, Scope};

#[test]
fn a_quota_is_replaced_and_audited() {
    let (_directory, store) = store();
    assert_eq!(store.reader().tenant(&tenant("acme")).unwrap(), None);
    let put = |quota: &Quota, at| store.put_tenant(tenant("acme"), quota.clone(), Actor::Local, at).wait();
    put(&Quota::default(), NOW).unwrap();
    let quota = Quota {
        ceiling: LimitsPatch { timeout_ms: Some(1000), cpus: Some(0.5), ..LimitsPatch::default() },
        concurrency: Some(3),
        queue_length: Some(0),
        rate_per_minute: None,
        check: CheckPatch {
            rules: [("tree.*".to_owned(), CheckMode::Deny)].into(),
            enforce: true,
            ..CheckPatch::default()
        },
    };
    put(&quota, NOW + 1).unwrap();
    let row = store.reader().tenant(&tenant("acme")).unwrap().unwrap();
    assert_eq!((row.created_at_ms, row.quota), (NOW, quota));
    let audit = store.reader().audit(&Scope::Admin, &Default::default(), &Page::default()).unwrap();
    assert_eq!(audit.items.len(), 2);
    assert_eq!(audit.items[0].detail["concurrency"], 3);
    assert_eq!(audit.items[0].detail["check"]["rules"]["tree.*"], "deny");
}

#[test]
fn tenants_are_listed_by_name() {
    let (_directory, store) = store();
    for name in ["b", "a", "c2", "c-1"] {
        store.put_tenant(tenant(name), Quota::default(), Actor::Local, NOW).wait().unwrap();
    }
    let mut page = Page { limit: 3, cursor: None };
    let first = store.reader().tenants(&page).unwrap();
    page.cursor = first.next;
    let second = store.reader().tenants(&page).unwrap();
    let names: Vec<_> =
        first.items.iter().chain(&second.items).map(|row| row.id.as_str().to_owned()).collect();
    assert_eq!(names, ["a", "b", "c-1", "c2"]);
    assert_eq!(second.next, None);
}
