//! Server-sent events of traces (HTML standard, §9.2): `id` is the number of the change, `event` is `trace` or `removed`, `data` JSON.
//!
//! A change is told as the row is when it is told: of several changes of one trace, one who is slow sees the last.

use super::view::TraceRowView;
use crate::http::body::Query;
use crate::http::guard::Caller;
use crate::problem::Problem;
use crate::service::{Service, read};
use crate::traces::{Change, Notice};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::TenantId;
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use store::Scope;
use utoipa::{IntoParams, ToSchema};

/// How often a comment is sent when nothing happens, so that no proxy gives the connection up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Changes that one listener has in memory.
const PAGE: usize = 64;

/// One event of the stream, as its fields.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the schema; axum writes the fields")]
pub struct TraceStreamEvent {
    /// The number of the change: what `Last-Event-ID` takes.
    id: String,
    /// `trace` or `removed`.
    event: String,
    /// JSON: the trace as lists show it; or `{"id": …}`.
    data: String,
}

/// Whose traces to follow.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct FollowQuery {
    /// Of this tenant; only administrators may name another than their own
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
}

/// Follow traces
///
/// As they begin, end, and change, from now on; with `Last-Event-ID` from after that change on, as far as it is still known.
#[utoipa::path(get, path = "/v1/traces/events", operation_id = "follow_traces", tag = "traces", params(FollowQuery, ("last-event-id" = Option<String>, Header, description = "The last change that was heard of")),
    responses((status = 200, description = "The stream", content((TraceStreamEvent = "text/event-stream"))), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
pub async fn events(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<FollowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let scope = caller.scope_of(query.tenant)?;
    let said = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let last = service.traces.notices.last();
    // A number of before a restart is ahead of ours.
    let at = said.filter(|said| *said <= last).unwrap_or(last);
    let ending = service.traces.ending();
    let start = Following { service, scope, at, ready: VecDeque::new() };
    let events = stream::unfold(start, move |mut following| {
        let ending = ending.clone();
        async move {
            tokio::select! {
                event = following.next() => Some((Ok::<_, Infallible>(event), following)),
                () = ending.cancelled() => None,
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// A listener.
struct Following {
    service: Arc<Service>,
    scope: Scope,
    at: u64,
    ready: VecDeque<Event>,
}

impl Following {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let notices = self.service.traces.notices.after(self.at, PAGE).await;
            self.at = notices.last().map_or(self.at, |notice| notice.number);
            let own = |notice: &Notice| match &self.scope {
                Scope::Tenant(tenant) => notice.tenant == *tenant,
                Scope::Admin => true,
            };
            let notices: Vec<Notice> = notices.into_iter().filter(own).collect();
            for (place, notice) in notices.iter().enumerate() {
                let later = &notices[place + 1..];
                if later.iter().any(|other| other.id == notice.id && other.tenant == notice.tenant) {
                    continue;
                }
                self.ready.extend(event_of(&self.service, notice).await);
            }
        }
    }
}

async fn event_of(service: &Service, notice: &Notice) -> Option<Event> {
    let event = Event::default().id(notice.number.to_string());
    let (scope, id) = (Scope::Tenant(notice.tenant.clone()), notice.id);
    let row = match notice.change {
        Change::Removed => None,
        Change::Told | Change::Ended(_) => {
            read(&service.reader, move |reader| reader.trace_row(&scope, id)).await.ok()?
        }
    };
    match row {
        Some(row) => {
            let text = serde_json::to_string(&TraceRowView::of(row, &service.traces)).ok()?;
            Some(event.event("trace").data(text))
        }
        None => Some(event.event("removed").data(json!({ "id": id }).to_string())),
    }
}
