//! Usage: counted once for each settled run, by the hour, and never forgotten with it.

use crate::harness::{NOW, id, local, new_run, settlement, store, tenant};
use model::{Fault, FaultCode, Outcome};
use store::{Actor, Page, Scope, Settlement, Store};

const HOUR: i64 = 3_600_000;

fn settle(store: &Store, number: u64, name: &str, at: i64, outcome: Option<Outcome>) {
    let run = store::NewRun { tenant: tenant(name), ..new_run(number) };
    let mut settlement = Settlement { settled_at_ms: at, ..settlement(&id(number)) };
    settlement.result.outcome = outcome;
    if outcome.is_none() {
        settlement.result.fault = Some(Fault::new(FaultCode::Internal, "broken"));
    }
    store.record(run, None, settlement).wait().unwrap();
}

#[test]
fn hours_add_up() {
    let (_directory, store) = store();
    let start = NOW - NOW % HOUR;
    settle(&store, 1, "local", start, Some(Outcome::Completed));
    settle(&store, 2, "local", start + HOUR - 1, Some(Outcome::Completed));
    settle(&store, 3, "local", start + 1, Some(Outcome::Failed));
    settle(&store, 4, "local", start + 1, None);
    settle(&store, 5, "local", start + HOUR, Some(Outcome::TimedOut));
    settle(&store, 6, "other", start, Some(Outcome::Completed));

    let usage = |scope: &Scope, from, to| store.reader().usage(scope, from, to, &Page::default()).unwrap();
    let hours = usage(&local(), 0, i64::MAX).items;
    assert_eq!(hours.len(), 2);
    let hour = &hours[0];
    assert_eq!((hour.hour_ms, hour.runs, hour.faults), (start, 4, 1));
    assert_eq!((hour.outcomes["completed"], hour.outcomes["failed"], hour.outcomes.len()), (2, 1, 2));
    assert_eq!((hour.wall_ms, hour.cpu_ms, hour.output_bytes), (12, 8, 24));
    assert_eq!(usage(&local(), start + HOUR, i64::MAX).items, hours[1..]);
    assert_eq!(usage(&local(), start, start + HOUR).items, hours[..1]);

    // Deleting a run takes nothing back.
    store.delete_run(local(), &id(1), Actor::Local, NOW).wait().unwrap();
    assert_eq!(usage(&local(), 0, i64::MAX).items, hours);
    // An administrator sees all, a page at a time.
    let mut page = Page { limit: 1, cursor: None };
    let mut seen = Vec::new();
    loop {
        let listed = store.reader().usage(&Scope::Admin, 0, i64::MAX, &page).unwrap();
        seen.extend(listed.items.iter().map(|row| (row.hour_ms - start, row.tenant.to_string())));
        match listed.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    let expected = [(0, "local"), (0, "other"), (HOUR, "local")];
    assert_eq!(seen, expected.map(|(hour, name)| (hour, name.to_owned())));
}

#[test]
fn a_nonsensical_number_does_not_spoil_an_hour() {
    let (_directory, store) = store();
    for number in 0..3 {
        let mut settlement = settlement(&id(number));
        settlement.result.usage.cpu_ms = u64::MAX;
        store.record(new_run(number), None, settlement).wait().unwrap();
    }
    let hours = store.reader().usage(&local(), 0, i64::MAX, &Page::default()).unwrap().items;
    assert_eq!(hours[0].runs, 3);
}
