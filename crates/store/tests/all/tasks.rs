//! Tasks: asked, told step by step, settled once, found by their owners, and never lost.

use crate::harness::{NOW, local, new_run, open, store, tenant};
use model::{SessionId, TaskId, TenantId};
use serde_json::json;
use store::{
    Actor, Idempotency, NewQuestion, NewTask, Page, Retention, Scope, StoreError, TaskAdmission, TaskNews,
    TaskState, TaskStep,
};

fn id(number: u8) -> TaskId {
    TaskId::from_random([number; 16])
}

fn news(kind: &'static str) -> Vec<TaskNews> {
    vec![TaskNews { kind, data: json!({"text": "x".repeat(10_000)}) }]
}

fn new(number: u8) -> NewTask {
    NewTask {
        id: id(number),
        tenant: TenantId::local(),
        created_at_ms: NOW + i64::from(number),
        request: json!({"question": "?"}),
        session: None,
        idempotency: None,
    }
}

fn settled(state: TaskState, at_ms: i64) -> TaskStep {
    TaskStep { at_ms, state: Some(state), news: news("settled"), ..TaskStep::default() }
}

fn key(body: u8) -> Option<Idempotency> {
    Some(Idempotency { key: "k".to_owned(), body_sha256: [body; 32] })
}

#[test]
fn a_task_is_told_settled_and_asked_again() {
    let (_directory, store) = store();
    let reader = store.reader();
    assert_eq!(store.create_task(new(1), news("question")).wait().unwrap(), TaskAdmission::Admitted(1));
    assert!(matches!(store.create_task(new(1), news("question")).wait(), Err(StoreError::Exists { .. })));
    let question = |idempotency| NewQuestion { at_ms: NOW + 9, news: news("question"), idempotency };
    let ask = |idempotency| store.ask_task(&TenantId::local(), &id(1), question(idempotency)).wait();
    assert!(matches!(ask(None), Err(StoreError::NotSettled)));
    assert!(matches!(
        store.remove_task(local(), &id(1), Actor::Local, NOW).wait(),
        Err(StoreError::NotSettled)
    ));
    let session = SessionId::from_random([7; 16]);
    let said = TaskStep {
        at_ms: NOW + 5,
        state: Some(TaskState::Waiting),
        session: Some(session.clone()),
        conversation: Some("[]".repeat(9_000)),
        news: news("code"),
    };
    assert_eq!(store.tell_task(&id(1), said).wait().unwrap(), 2);
    assert_eq!(store.tell_task(&id(1), settled(TaskState::Answered, NOW + 6)).wait().unwrap(), 3);
    let late = store.tell_task(&id(1), settled(TaskState::Failed, NOW + 7)).wait();
    assert!(matches!(late, Err(StoreError::AlreadySettled)));
    let row = reader.task(&local(), &id(1)).unwrap().unwrap();
    assert_eq!(
        (row.state, row.settled_at_ms, row.session),
        (TaskState::Answered, Some(NOW + 6), Some(session))
    );
    assert_eq!(reader.task_conversation(&id(1)).unwrap(), Some("[]".repeat(9_000)));
    let events = reader.task_events(&local(), &id(1), 1, 9).unwrap().unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.number, event.kind.as_str())).collect();
    assert_eq!(told, [(2, "code"), (3, "settled")]);
    assert_eq!(ask(key(1)).unwrap(), TaskAdmission::Admitted(4));
    assert_eq!(ask(key(1)).unwrap(), TaskAdmission::Replayed(id(1)));
    assert!(matches!(ask(key(2)), Err(StoreError::IdempotencyConflict)));
    let of_key = |key: Option<Idempotency>, now| reader.task_of_key(&TenantId::local(), &key.unwrap(), now);
    assert_eq!(of_key(key(1), NOW + 9).unwrap(), Some(id(1)));
    assert!(matches!(of_key(key(2), NOW + 9), Err(StoreError::IdempotencyConflict)));
    assert_eq!(of_key(key(2), NOW + 9 + store::limits::IDEMPOTENCY_MS).unwrap(), None, "it is forgotten");
    let other = NewTask { idempotency: key(1), ..new(2) };
    assert_eq!(store.create_task(other, vec![]).wait().unwrap(), TaskAdmission::Replayed(id(1)));
    let run = store::NewRun { idempotency: key(1), ..new_run(1) };
    assert!(matches!(store.admit(run).wait(), Err(StoreError::IdempotencyConflict)));
    store.tell_task(&id(1), settled(TaskState::Cancelled, NOW + 20)).wait().unwrap();
    assert!(matches!(ask(None), Err(StoreError::AlreadySettled)));
    store.remove_task(local(), &id(1), Actor::Local, NOW + 30).wait().unwrap();
    assert_eq!(reader.task(&local(), &id(1)).unwrap(), None);
    assert_eq!(reader.task_events(&local(), &id(1), 0, 9).unwrap(), None);
}

#[test]
fn tasks_are_their_owners_and_listed_newest_first() {
    let (_directory, store) = store();
    for number in [1, 2, 3] {
        store.create_task(new(number), news("question")).wait().unwrap();
    }
    store.create_task(NewTask { tenant: tenant("other"), ..new(4) }, news("question")).wait().unwrap();
    store.tell_task(&id(2), settled(TaskState::Failed, NOW + 9)).wait().unwrap();
    let reader = store.reader();
    let listed = |scope: &Scope, state| {
        let page = reader.tasks(scope, state, &Page::default()).unwrap();
        page.items.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&local(), None), [id(3), id(2), id(1)]);
    assert_eq!(listed(&local(), Some(TaskState::Failed)), [id(2)]);
    let first = reader.tasks(&local(), None, &Page { limit: 2, cursor: None }).unwrap();
    let rest = reader.tasks(&local(), None, &Page { limit: 2, cursor: first.next }).unwrap();
    assert_eq!((rest.items[0].id.clone(), rest.next), (id(1), None));
    let stranger = Scope::Tenant(tenant("other"));
    assert_eq!(listed(&stranger, None), [id(4)]);
    assert_eq!(reader.task(&stranger, &id(1)).unwrap(), None);
    assert_eq!(reader.task_events(&stranger, &id(1), 0, 9).unwrap(), None);
    let removed = store.remove_task(stranger, &id(2), Actor::Local, NOW).wait();
    assert!(matches!(removed, Err(StoreError::NotFound)));
}

#[test]
fn what_a_predecessor_left_is_interrupted_and_whole() {
    let (directory, store) = store();
    store.create_task(new(1), news("question")).wait().unwrap();
    store.create_task(new(2), news("question")).wait().unwrap();
    store.tell_task(&id(2), settled(TaskState::Answered, NOW + 9)).wait().unwrap();
    drop(store);
    let store = open(directory.path());
    store.create_task(new(3), news("question")).wait().unwrap();
    store.interrupt_unfinished(NOW + 50).wait().unwrap();
    let reader = store.reader();
    let state = |number| reader.task(&local(), &id(number)).unwrap().unwrap().state;
    assert_eq!([1, 2, 3].map(state), [TaskState::Interrupted, TaskState::Answered, TaskState::Running]);
    let events = reader.task_events(&local(), &id(1), 0, 9).unwrap().unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.number, last.kind.as_str(), &last.data["state"]), (2, "settled", &json!("interrupted")));
}

#[test]
fn old_tasks_go_when_the_runs_of_their_sessions_have_gone() {
    let (_directory, store) = store();
    let session = SessionId::from_random([7; 16]);
    for number in [1, 2, 3] {
        let session = (number == 2).then(|| session.clone());
        store.create_task(NewTask { session, ..new(number) }, news("question")).wait().unwrap();
    }
    for number in [1, 2] {
        store.tell_task(&id(number), settled(TaskState::Answered, NOW + 9)).wait().unwrap();
    }
    store.admit(store::NewRun { session: Some(session.to_string()), ..new_run(1) }).wait().unwrap();
    let keep = Retention { max_age_ms: Some(100), ..Retention::default() };
    assert_eq!(store.retain(keep.clone(), NOW + 50).wait().unwrap().tasks, 0, "none is old");
    assert_eq!(store.retain(keep, NOW + 500).wait().unwrap().tasks, 1);
    let left = store.reader().tasks(&local(), None, &Page::default()).unwrap().items;
    let left: Vec<_> = left.into_iter().map(|row| row.id).collect();
    assert_eq!(left, [id(3), id(2)], "one is on its way, one has a run");
}
