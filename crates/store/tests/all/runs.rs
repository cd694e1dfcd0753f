//! Runs: their life, who sees them, and how they are found.

use crate::harness::{NOW, completed, id, local, new_run, record, settlement, store, tenant};
use model::result::RunState;
use model::{Fault, FaultCode, Language, Outcome};
use serde_json::json;
use store::{
    Actor, Admission, Fate, FateFilter, Filter, Page, RunEvent, Scope, Settlement, Store, StoreError,
};

fn found(store: &Store, filter: &Filter) -> Vec<u64> {
    let listed = store.reader().runs(&local(), filter, &Page::default()).unwrap();
    assert_eq!(listed.next, None);
    let number = |row: &store::RunRow| (0..100).find(|number| id(*number) == row.id).unwrap();
    listed.items.iter().map(number).collect()
}

#[test]
fn a_run_is_admitted_started_settled() {
    let (_directory, store) = store();
    let reader = store.reader();
    let state = || reader.run(&local(), &id(1)).unwrap().map(|record| record.row.state);
    assert_eq!(state(), None);
    assert_eq!(store.admit(new_run(1)).wait().unwrap(), Admission::Admitted);
    assert_eq!(state(), Some(RunState::Queued));
    store.started(&id(1), NOW + 1).wait().unwrap();
    assert_eq!(state(), Some(RunState::Running));
    store.settle(&id(1), settlement(&id(1))).wait().unwrap();

    let record = reader.run(&local(), &id(1)).unwrap().unwrap();
    assert_eq!(record.request, new_run(1).request);
    assert_eq!(record.parsed().unwrap().unwrap(), completed(&id(1)));
    assert_eq!(record.row.fate, Some(Fate::Outcome(Outcome::Completed)));
    let times = (record.row.created_at_ms, record.row.started_at_ms, record.row.settled_at_ms);
    assert_eq!(times, (NOW, Some(NOW + 1), Some(NOW + 5)));
    assert_eq!((record.row.wall_ms, record.row.cpu_ms, record.row.memory_peak_bytes), (3, 2, 9 << 20));
}

#[test]
fn the_first_settlement_stands() {
    let (_directory, store) = store();
    record(&store, 1);
    let mut second = settlement(&id(1));
    second.result.stdout = "forged".to_owned();
    assert!(matches!(store.settle(&id(1), second).wait(), Err(StoreError::AlreadySettled)));
    assert!(matches!(store.started(&id(1), NOW).wait(), Err(StoreError::AlreadySettled)));
    assert!(matches!(store.settle(&id(2), settlement(&id(2))).wait(), Err(StoreError::NotFound)));
    assert!(matches!(store.admit(new_run(1)).wait(), Err(StoreError::Exists { .. })));
    let result = store.reader().run(&local(), &id(1)).unwrap().unwrap().parsed().unwrap().unwrap();
    assert_eq!(result.stdout, "hello\n");
    let usage = store.reader().usage(&local(), 0, i64::MAX, &Page::default()).unwrap();
    assert_eq!(usage.items[0].runs, 1);
}

#[test]
fn a_result_has_exactly_one_of_outcome_and_fault() {
    let (_directory, store) = store();
    let fault = Fault::new(FaultCode::Internal, "broken");
    for (outcome, fault) in [(None, None), (Some(Outcome::Failed), Some(fault))] {
        store
            .admit(new_run(1))
            .wait()
            .or_else(|error| match error {
                StoreError::Exists { .. } => Ok(Admission::Admitted),
                other => Err(other),
            })
            .unwrap();
        let mut settlement = settlement(&id(1));
        (settlement.result.outcome, settlement.result.fault) = (outcome, fault);
        assert!(matches!(store.settle(&id(1), settlement).wait(), Err(StoreError::Invalid { .. })));
    }
    let other = settlement(&id(2));
    assert!(matches!(store.settle(&id(1), other).wait(), Err(StoreError::Invalid { .. })));
}

#[test]
fn a_foreign_run_is_an_absent_one() {
    let (_directory, store) = store();
    record(&store, 1);
    let reader = store.reader();
    let other = Scope::Tenant(tenant("other"));
    assert_eq!(reader.run(&other, &id(1)).unwrap(), None);
    assert_eq!(reader.events(&other, &id(1), None).unwrap(), None);
    assert_eq!(reader.runs(&other, &Filter::default(), &Page::default()).unwrap().items, []);
    let foreign = store.delete_run(other.clone(), &id(1), Actor::Local, NOW).wait().unwrap_err();
    let absent = store.delete_run(other, &id(2), Actor::Local, NOW).wait().unwrap_err();
    assert_eq!(foreign.to_string(), absent.to_string());
    assert!(reader.run(&local(), &id(1)).unwrap().is_some());
    assert!(reader.run(&Scope::Admin, &id(1)).unwrap().is_some());
}

#[test]
fn only_settled_runs_are_deleted() {
    let (directory, store) = store();
    store.admit(new_run(1)).wait().unwrap();
    let delete = || store.delete_run(local(), &id(1), Actor::Local, NOW).wait();
    assert!(matches!(delete(), Err(StoreError::NotSettled)));
    store.settle(&id(1), settlement(&id(1))).wait().unwrap();
    delete().unwrap();
    assert!(matches!(delete(), Err(StoreError::NotFound)));
    assert_eq!(store.reader().run(&local(), &id(1)).unwrap(), None);
    for table in ["runs", "requests", "results", "events", "labels", "artifacts", "blobs"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = crate::harness::raw(directory.path()).query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let audit = store.reader().audit(&local(), &Default::default(), &Page::default()).unwrap();
    assert_eq!(
        (audit.items[0].action.as_str(), audit.items[0].object.as_str()),
        ("run.delete", id(1).as_str())
    );
}

#[test]
fn events_are_told_again_from_any_place() {
    let (_directory, store) = store();
    store.admit(new_run(1)).wait().unwrap();
    assert_eq!(store.reader().events(&local(), &id(1), None).unwrap(), Some(vec![]));
    let event = |seq, kind: &str, data| RunEvent { seq, kind: kind.to_owned(), data };
    let told = vec![
        event(1, "started", json!({})),
        event(2, "stdout", json!({"text": "a\u{0}\u{1b}[31m\n"})),
        event(7, "settled", json!(null)),
    ];
    store.settle(&id(1), Settlement { events: told.clone(), ..settlement(&id(1)) }).wait().unwrap();
    let events = |after| store.reader().events(&local(), &id(1), after).unwrap().unwrap();
    assert_eq!(events(None), told);
    assert_eq!(events(Some(1)), told[1..]);
    assert_eq!(events(Some(6)), told[2..]);
    assert_eq!(events(Some(u64::MAX)), []);

    store.admit(new_run(2)).wait().unwrap();
    let twice = Settlement { events: vec![told[0].clone(), told[0].clone()], ..settlement(&id(2)) };
    assert!(matches!(store.settle(&id(2), twice).wait(), Err(StoreError::Invalid { .. })));
}

#[test]
fn filters_find_what_they_say() {
    let (_directory, store) = store();
    for number in 1..=6 {
        let mut run = new_run(number);
        run.created_at_ms = NOW + number as i64;
        run.session = (number == 5).then(|| "ses_1".to_owned());
        run.language = if number == 4 { Language::Bash } else { Language::Python };
        run.metadata = [("parity".to_owned(), (number % 2).to_string())].into();
        run.metadata.insert("n".to_owned(), number.to_string());
        store.admit(run).wait().unwrap();
    }
    let mut failed = settlement(&id(2));
    failed.result.outcome = Some(Outcome::Failed);
    store.settle(&id(2), failed).wait().unwrap();
    let mut broken = settlement(&id(3));
    (broken.result.outcome, broken.result.fault) =
        (None, Some(Fault::new(FaultCode::ImageUnavailable, "gone")));
    store.settle(&id(3), broken).wait().unwrap();
    store.started(&id(4), NOW).wait().unwrap();

    let all = Filter::default();
    let labels = |pairs: &[(&str, &str)]| Filter {
        metadata: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..Filter::default()
    };
    let fate = |fate| Filter { fate: Some(fate), ..Filter::default() };
    let state = |state| Filter { state: Some(state), ..Filter::default() };
    let text = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
    for (filter, numbers) in [
        (all.clone(), vec![6, 5, 4, 3, 2, 1]),
        (state(RunState::Queued), vec![6, 5, 1]),
        (state(RunState::Running), vec![4]),
        (state(RunState::Settled), vec![3, 2]),
        (fate(FateFilter::Outcome(Outcome::Failed)), vec![2]),
        (fate(FateFilter::Fault(FaultCode::ImageUnavailable)), vec![3]),
        (fate(FateFilter::Fault(FaultCode::Internal)), vec![]),
        (fate(FateFilter::AnyFault), vec![3]),
        (Filter { language: Some(Language::Bash), ..all.clone() }, vec![4]),
        (Filter { session: Some("ses_1".to_owned()), ..all.clone() }, vec![5]),
        (Filter { since_ms: Some(NOW + 3), until_ms: Some(NOW + 5), ..all.clone() }, vec![4, 3]),
        (labels(&[("parity", "1")]), vec![5, 3, 1]),
        (labels(&[("parity", "1"), ("n", "3")]), vec![3]),
        (labels(&[("parity", "0"), ("n", "3")]), vec![]),
        (text("PRINT(4)"), vec![4]),
        (text("hello\n"), vec![3, 2]),
        (text("{\"code\""), vec![]),
        (Filter { language: Some(Language::Bash), ..text("print(5)") }, vec![]),
    ] {
        assert_eq!(found(&store, &filter), numbers, "{filter:?}");
    }
    assert_eq!(store.reader().run(&local(), &id(6)).unwrap().unwrap().row.metadata["n"], "6");
}

#[test]
fn long_labels_are_kept_but_not_found() {
    let (_directory, store) = store();
    let long = "x".repeat(store::limits::LABEL_BYTES_MAX + 1);
    let mut run = new_run(1);
    run.metadata = [("k".to_owned(), long.clone())].into();
    store.admit(run.clone()).wait().unwrap();
    assert_eq!(found(&store, &Filter { metadata: run.metadata.clone(), ..Filter::default() }), [0u64; 0]);
    assert_eq!(store.reader().run(&local(), &id(1)).unwrap().unwrap().row.metadata, run.metadata);
}

#[test]
fn a_label_that_many_have_is_found_as_well_as_a_rare_one() {
    let (_directory, store) = store();
    let many = store::limits::LABELS_FEW as u64 + 100;
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let store = &store;
            scope.spawn(move || {
                for number in (thread..many).step_by(16) {
                    let mut run = new_run(number);
                    run.metadata = [("env".to_owned(), "prod".to_owned())].into();
                    if number % 5000 == 7 {
                        run.metadata.insert("rare".to_owned(), "yes".to_owned());
                    }
                    store.admit(run).wait().unwrap();
                }
            });
        }
    });
    let count = |pairs: &[(&str, &str)]| {
        let metadata = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let filter = Filter { metadata, ..Filter::default() };
        store.reader().runs(&local(), &filter, &Page { limit: 7, cursor: None }).unwrap().items.len()
    };
    assert_eq!(count(&[("env", "prod")]), 7);
    assert_eq!(count(&[("env", "prod"), ("rare", "yes")]), 3);
    assert_eq!(count(&[("env", "test")]), 0);
}

#[test]
fn too_much_is_refused_before_it_is_queued() {
    let (_directory, store) = store();
    let mut run = new_run(1);
    run.session = Some("s".repeat(store::limits::NAME_BYTES_MAX + 1));
    assert!(matches!(store.admit(run).wait(), Err(StoreError::TooLong { what: "session", .. })));
    let filter = Filter {
        metadata: (0..9).map(|number| (number.to_string(), String::new())).collect(),
        ..Filter::default()
    };
    let listed = store.reader().runs(&local(), &filter, &Page::default());
    assert!(matches!(listed, Err(StoreError::TooLong { .. })));
}
