//! Traces: a row for each, whatever it is made of; nobody sees another's.

use crate::harness::{NOW, id, local, new_run, record, settlement, store, tenant};
use model::{SpanId, TraceId};
use store::{
    Actor, NewRun, NewTrace, Page, Retention, Scope, Settlement, Store, TraceContent, TraceEnd, TraceFilter,
    TraceKind, TraceRow,
};

fn trace_id(number: u8) -> TraceId {
    TraceId::from_random([number; 16])
}

fn part(trace: u8) -> NewTrace {
    NewTrace {
        id: trace_id(trace),
        span: SpanId::from_random([trace; 8]),
        parent: None,
        began_us: NOW * 1000,
        name: "python run".to_owned(),
        input: "print(1)".to_owned(),
        language: None,
        model: None,
        content: TraceContent::Full,
        within: None,
        measured: None,
    }
}

fn traced(number: u64, trace: u8) -> NewRun {
    NewRun { trace: Some(part(trace)), ..new_run(number) }
}

fn settle(store: &Store, number: u64, took_us: i64) {
    let trace = TraceEnd { at_us: NOW * 1000 + took_us, output: "1".into(), spans: 5, ..TraceEnd::default() };
    store.settle(&id(number), Settlement { trace: Some(trace), ..settlement(&id(number)) }).wait().unwrap();
}

fn all(store: &Store, scope: &Scope, filter: &TraceFilter) -> Vec<TraceRow> {
    store.reader().traces(scope, filter, &Page::default()).unwrap().items
}

fn row(store: &Store, number: u8) -> Option<TraceRow> {
    store.reader().trace_row(&local(), trace_id(number)).unwrap()
}

#[test]
fn a_run_is_a_trace_from_its_admission_on() {
    let (_directory, store) = store();
    store.admit(traced(1, 1)).wait().unwrap();
    let before = row(&store, 1).unwrap();
    assert_eq!((before.outcome, before.ended_us, before.object.as_str()), (None, None, id(1).as_str()));
    settle(&store, 1, 1500);
    let after = row(&store, 1).unwrap();
    assert_eq!((after.outcome.as_deref(), after.ended_us), (Some("completed"), Some(NOW * 1000 + 1500)));
    assert_eq!((after.spans, after.output.as_str(), after.kind), (5, "1", TraceKind::Run));
    record(&store, 2);
    assert_eq!(all(&store, &local(), &TraceFilter::default()).len(), 1, "a run of no trace makes none");
}

#[test]
fn runs_that_were_asked_for_from_one_trace_are_one() {
    let (_directory, store) = store();
    store.admit(traced(1, 1)).wait().unwrap();
    settle(&store, 1, 1000);
    store.admit(traced(2, 1)).wait().unwrap();
    assert_eq!(row(&store, 1).unwrap().outcome, None, "one is on its way");
    settle(&store, 2, 9000);
    let (row, parts, tree) = store.reader().trace(&local(), trace_id(1)).unwrap().unwrap();
    assert_eq!((row.ended_us, row.spans), (Some(NOW * 1000 + 9000), 10));
    assert_eq!(
        parts.iter().map(|part| part.object.as_str()).collect::<Vec<_>>(),
        [id(1).as_str(), id(2).as_str()]
    );
    assert_eq!(tree, None);
}

#[test]
fn nobody_joins_or_sees_the_trace_of_another() {
    let (_directory, store) = store();
    let theirs = NewRun { tenant: tenant("other"), ..traced(2, 1) };
    store.admit(traced(1, 1)).wait().unwrap();
    store.admit(theirs).wait().unwrap();
    let other = Scope::Tenant(tenant("other"));
    let seen = |scope: &Scope| -> Vec<String> {
        all(&store, scope, &TraceFilter::default()).into_iter().map(|row| row.object).collect()
    };
    assert_eq!(seen(&local()), [id(1).to_string()]);
    assert_eq!(seen(&other), [id(2).to_string()]);
    assert_eq!(seen(&Scope::Admin).len(), 2);
    settle(&store, 2, 1);
    store.remove_trace(other, trace_id(1), Actor::Local, NOW).wait().unwrap();
    assert!(row(&store, 1).is_some());
}

#[test]
fn a_trace_goes_with_the_last_run_that_it_is_made_of() {
    let (_directory, store) = store();
    for number in [1, 2] {
        store.admit(traced(number, 1)).wait().unwrap();
        settle(&store, number, 1);
    }
    store.delete_run(local(), &id(1), Actor::Local, NOW).wait().unwrap();
    assert_eq!(store.reader().trace(&local(), trace_id(1)).unwrap().unwrap().1.len(), 1);
    store.delete_run(local(), &id(2), Actor::Local, NOW).wait().unwrap();
    assert_eq!(row(&store, 1), None);
}

#[test]
fn filters_leave_out_what_does_not_match() {
    let (_directory, store) = store();
    for number in 1..=3 {
        let trace = NewTrace { began_us: NOW * 1000 + i64::from(number), ..part(number) };
        store.admit(NewRun { trace: Some(trace), ..new_run(number.into()) }).wait().unwrap();
    }
    settle(&store, 1, 100_000);
    settle(&store, 2, 5);
    store.remark_trace(local(), trace_id(2), Some("Look HERE".to_owned())).wait().unwrap();
    let found = |filter: TraceFilter| -> Vec<u8> {
        all(&store, &local(), &filter).iter().map(|row| row.id.as_bytes()[0]).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let any = TraceFilter::default;
    assert_eq!(found(any()), [3, 2, 1]);
    assert_eq!(found(TraceFilter { outcome: text("running"), ..any() }), [3]);
    assert_eq!(found(TraceFilter { outcome: text("completed"), ..any() }), [2, 1]);
    assert_eq!(found(TraceFilter { min_us: Some(50_000), ..any() }), [1]);
    assert_eq!(found(TraceFilter { max_us: Some(50_000), ..any() }), [2]);
    assert_eq!(found(TraceFilter { text: text("here"), ..any() }), [2]);
    assert_eq!(found(TraceFilter { text: text("PRINT(1)"), ..any() }), [3, 2, 1]);
    assert_eq!(found(TraceFilter { text: text("%"), ..any() }), [0; 0]);
    assert_eq!(found(TraceFilter { since_us: Some(NOW * 1000 + 2), ..any() }), [3, 2]);
    assert_eq!(found(TraceFilter { kind: Some(TraceKind::Task), ..any() }), [0; 0]);
    assert_eq!(found(TraceFilter { min_cost: Some(0.0), ..any() }), [0; 0], "its cost is not known");
}

#[test]
fn what_belongs_to_a_task_is_in_its_trace_and_not_beside_it() {
    let (_directory, store) = store();
    let local = model::TenantId::local();
    store.begin_trace(&local, TraceKind::Task, "tsk_1", part(1)).wait().unwrap();
    let within = NewTrace { within: Some("tsk_1".to_owned()), ..part(9) };
    store.admit(NewRun { trace: Some(within), ..new_run(1) }).wait().unwrap();
    settle(&store, 1, 10);
    let rows = all(&store, &Scope::Admin, &TraceFilter::default());
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].outcome.as_deref(), rows[0].spans), (None, 6));
    let end = TraceEnd { at_us: NOW * 1000 + 20, spans: 1, ..TraceEnd::default() };
    store.end_trace("tsk_1", "answered", end.clone()).wait().unwrap();
    assert_eq!(row(&store, 1).unwrap().outcome.as_deref(), Some("answered"));
    // Asked again.
    store.begin_trace(&local, TraceKind::Task, "tsk_1", part(1)).wait().unwrap();
    assert_eq!(row(&store, 1).unwrap().outcome, None);
    store.end_trace("tsk_1", "failed", end).wait().unwrap();
    assert_eq!(row(&store, 1).unwrap().outcome.as_deref(), Some("failed"));
}

#[test]
fn what_is_within_another_is_found_by_its_id() {
    let (_directory, store) = store();
    let local_id = model::TenantId::local();
    let began = NewTrace { measured: Some("[1]".to_owned()), ..part(1) };
    store.begin_trace(&local_id, TraceKind::Task, "tsk_1", began).wait().unwrap();
    let within = NewTrace { within: Some("tsk_1".to_owned()), ..part(9) };
    store.admit(NewRun { trace: Some(within), ..new_run(1) }).wait().unwrap();
    let run = id(1).to_string();
    let of = || TraceFilter { of: Some(run.clone()), ..TraceFilter::default() };
    let q = || TraceFilter { text: Some(run.clone()), ..TraceFilter::default() };
    for filter in [of(), q()] {
        let ids: Vec<TraceId> = all(&store, &local(), &filter).iter().map(|row| row.id).collect();
        assert_eq!(ids, [trace_id(1)], "{filter:?}");
        assert_eq!(all(&store, &Scope::Tenant(tenant("other")), &filter), []);
        let both = TraceFilter { kind: Some(TraceKind::Batch), ..filter };
        assert_eq!(all(&store, &local(), &both), []);
    }
    assert_eq!(all(&store, &local(), &TraceFilter { of: Some("run_2".to_owned()), ..of() }), []);
    // What was measured before it was recorded stays, unless more is known at the end.
    let measured = |store: &Store| {
        let (_, parts, _) = store.reader().trace(&local(), trace_id(1)).unwrap().unwrap();
        parts.into_iter().find(|part| part.object == "tsk_1").unwrap().measured
    };
    assert_eq!(measured(&store).as_deref(), Some("[1]"));
    let end = |measured: Option<&str>| TraceEnd {
        at_us: NOW * 1000,
        measured: measured.map(str::to_owned),
        ..TraceEnd::default()
    };
    store.end_trace("tsk_1", "answered", end(None)).wait().unwrap();
    assert_eq!(measured(&store).as_deref(), Some("[1]"));
    store.begin_trace(&local_id, TraceKind::Task, "tsk_1", part(1)).wait().unwrap();
    store.end_trace("tsk_1", "answered", end(Some("[2]"))).wait().unwrap();
    assert_eq!(measured(&store).as_deref(), Some("[2]"));
}

#[test]
fn what_a_predecessor_left_open_is_ended_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Store::open(directory.path(), store::Options::default()).unwrap();
    let first = open();
    first.admit(traced(1, 1)).wait().unwrap();
    first.begin_trace(&model::TenantId::local(), TraceKind::Session, "ses_1", part(2)).wait().unwrap();
    drop(first);
    let second = open();
    second.admit(traced(3, 3)).wait().unwrap();
    second.interrupt_unfinished(NOW + 5).wait().unwrap();
    assert_eq!(row(&second, 1).unwrap().outcome.as_deref(), Some("fault"));
    assert_eq!(row(&second, 2).unwrap().outcome.as_deref(), Some("interrupted"));
    assert_eq!(row(&second, 3).unwrap().outcome, None);
}

#[test]
fn the_oldest_go_beyond_the_bounds() {
    let (_directory, store) = store();
    for number in 1..=5 {
        let trace = NewTrace { began_us: (NOW + i64::from(number)) * 1000, ..part(number) };
        store.admit(NewRun { trace: Some(trace), ..new_run(number.into()) }).wait().unwrap();
        settle(&store, number.into(), 1_000_000);
    }
    let left = || all(&store, &local(), &TraceFilter::default()).len();
    let few = Retention { traces_max: Some(3), ..Retention::default() };
    assert_eq!(store.retain(few, NOW).wait().unwrap().traces, 2);
    assert_eq!(left(), 3);
    let young = Retention { traces_max_age_ms: Some(10), ..Retention::default() };
    assert_eq!(store.retain(young, NOW + 15).wait().unwrap().traces, 2);
    assert_eq!(left(), 1);
}

#[test]
fn a_run_that_is_recorded_at_once_leaves_the_same_trace() {
    let (_directory, store) = store();
    store.admit(traced(1, 1)).wait().unwrap();
    settle(&store, 1, 1500);
    let record = |number: u64, trace: u8| {
        let end = TraceEnd { at_us: NOW * 1000 + 1500, output: "1".into(), spans: 5, ..TraceEnd::default() };
        let settlement = Settlement { trace: Some(end), ..settlement(&id(number)) };
        store.record(traced(number, trace), None, settlement).wait().unwrap();
    };
    record(2, 2);
    let same = |row: TraceRow| TraceRow { id: trace_id(9), object: String::new(), ..row };
    assert_eq!(same(row(&store, 1).unwrap()), same(row(&store, 2).unwrap()));
    // One of a trace that there is joins it, as any does.
    record(3, 1);
    let (joined, parts, _) = store.reader().trace(&local(), trace_id(1)).unwrap().unwrap();
    assert_eq!((joined.spans, parts.len(), joined.outcome.as_deref()), (10, 2, Some("completed")));
    let task = NewTrace { within: Some("tsk_1".to_owned()), ..part(7) };
    store.begin_trace(&model::TenantId::local(), TraceKind::Task, "tsk_1", part(4)).wait().unwrap();
    store.record(NewRun { trace: Some(task), ..new_run(4) }, None, settlement(&id(4))).wait().unwrap();
    assert_eq!(store.reader().trace(&local(), trace_id(4)).unwrap().unwrap().1.len(), 2);
    assert_eq!(row(&store, 7), None);
}
