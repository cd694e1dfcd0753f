//! Server-sent events of tasks (HTML standard, §9.2): `id` is the event's number, `event` its kind, `data` JSON. They are read from the store.

use crate::http::guard::Caller;
use crate::problem::Problem;
use crate::service::Service;
use crate::tasks::LiveTask;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::TaskId;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use store::{Scope, TaskEvent};
use utoipa::ToSchema;

/// How often a comment is sent when nothing happens, so that no proxy gives the connection up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that one listener has in memory.
const PAGE: usize = 16;

/// One event of a task's stream, as its fields.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the schema; axum writes the fields")]
pub struct TaskStreamEvent {
    /// Its number in the task, from 1 on: what `Last-Event-ID` takes.
    id: String,
    /// `question`, `thought`, `code`, `approval`, `decided`, `running`, `ran`, `refused`, `reviewed`, `denied`, `file`, `retrying`, `warning`, `pass`, `spent`,
    /// `settled`; or `problem` when events could not be read.
    event: String,
    /// JSON, with `at`, when it happened, RFC 3339 in UTC. docs/tasks.md has the fields of each.
    data: String,
}

/// A listener.
struct Following {
    service: Arc<Service>,
    scope: Scope,
    id: TaskId,
    /// The task, if it was on its way when the listener came.
    live: Option<Arc<LiveTask>>,
    /// The last event that was told.
    at: u64,
    ready: VecDeque<Event>,
    ended: bool,
}

/// Events of a task after the one numbered `after`: those that there are, and those that happen until its question is settled.
pub async fn follow(
    service: Arc<Service>,
    caller: &Caller,
    id: TaskId,
    after: u64,
) -> Result<Response, Problem> {
    // First: what is settled after this look is in the store.
    let live = service.tasks.get(&caller.tenant, &id);
    service.task_row(caller.scope(), &id).await?;
    let scope = caller.scope();
    let start = Following { service, scope, id, live, at: after, ready: VecDeque::new(), ended: false };
    let events = stream::unfold(start, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            // Before the store is read: an event that comes between is in it.
            let settled = self.live.as_ref().is_none_or(|live| live.is_settled());
            match self.service.task_events(self.scope.clone(), &self.id, self.at, PAGE).await {
                Ok(events) if events.is_empty() => match &self.live {
                    Some(live) if !settled => live.more_than(self.at).await,
                    _ => self.ended = true,
                },
                Ok(events) => {
                    self.at = events.last().map_or(self.at, |event| event.number);
                    self.ready.extend(events.into_iter().map(event_of));
                }
                Err(problem) => {
                    self.ended = true;
                    let text = serde_json::to_string(&problem).unwrap_or_default();
                    self.ready.push_back(Event::default().event("problem").data(text));
                }
            }
        }
    }
}

fn event_of(TaskEvent { number, at_ms, kind, mut data }: TaskEvent) -> Event {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("at".to_owned(), worker::run::time(at_ms).into());
    }
    Event::default().id(number.to_string()).event(kind).data(data.to_string())
}
