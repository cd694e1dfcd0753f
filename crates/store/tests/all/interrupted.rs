//! What a dead predecessor left: told as the fault it is.

use crate::harness::{NOW, id, local, new_run, open, record, store, tenant};
use model::FaultCode;
use store::{Fate, NewRun, Page, Scope};

#[test]
fn unfinished_runs_of_a_predecessor_become_faults() {
    let (directory, store) = store();
    let mut waiting = new_run(1);
    waiting.metadata = [("k".to_owned(), "v".to_owned())].into();
    waiting.session = Some("ses_1".to_owned());
    store.admit(waiting).wait().unwrap();
    store.admit(NewRun { tenant: tenant("other"), ..new_run(2) }).wait().unwrap();
    store.started(&id(2), NOW + 1).wait().unwrap();
    record(&store, 3);
    drop(store);

    let store = open(directory.path());
    // What this process admits before it gets round to it is alive.
    store.admit(new_run(4)).wait().unwrap();
    assert_eq!(store.interrupt_unfinished(NOW + 99).wait().unwrap(), [id(1), id(2)]);
    assert_eq!(store.interrupt_unfinished(NOW + 99).wait().unwrap(), []);
    let reader = store.reader();
    let get = |number| reader.run(&Scope::Admin, &id(number)).unwrap().unwrap();
    for (number, message) in
        [(1, "the service ended before the run started"), (2, "the service ended while the run was running")]
    {
        let record = get(number);
        assert_eq!(record.row.fate, Some(Fate::Fault(FaultCode::Interrupted)));
        assert_eq!(record.row.settled_at_ms, Some(NOW + 99));
        let fault = record.parsed().unwrap().unwrap().fault.unwrap();
        assert_eq!((fault.code, fault.retry_safe), (FaultCode::Interrupted, true));
        assert_eq!(fault.message, message);
    }
    let result = get(1).parsed().unwrap().unwrap();
    assert_eq!((result.metadata["k"].as_str(), result.session.as_deref()), ("v", Some("ses_1")));
    assert_eq!(result.created_at, "2026-11-18T11:06:40.000Z");
    assert_eq!(get(3).row.settled_at_ms, Some(NOW + 5));
    assert_eq!(get(4).row.fate, None);
    let usage = reader.usage(&local(), 0, i64::MAX, &Page::default()).unwrap().items;
    assert_eq!((usage[0].runs, usage[0].faults), (2, 1));
}

#[test]
fn a_thousand_are_no_trouble() {
    let (directory, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let store = &store;
            let admit = move |n| store.admit(new_run(thread * 1000 + n)).wait().unwrap();
            scope.spawn(move || (0..150).map(admit).for_each(drop));
        }
    });
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.interrupt_unfinished(NOW).wait().unwrap().len(), 1200);
}
