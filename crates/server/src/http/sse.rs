//! Server-sent events of runs (HTML standard, §9.2): `id` is the event's number, `event` its kind, `data` JSON.

use crate::live::LiveRun;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use store::RunEvent;
use utoipa::ToSchema;

/// One event of a stream, as its fields.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the schema; axum writes the fields")]
pub struct StreamEvent {
    /// Its number in the run, from 1 on: what `Last-Event-ID` takes.
    id: String,
    /// `started`, `stdout`, `stderr`, `omitted`, `settled`, or `problem` when the end could not be recorded. `omitted` says, once for a
    /// stream, that the events lack something of it: what is beyond `output_bytes`, or beyond 8 MiB or 16,384 events of the run.
    /// `reopened` comes first, of the first run after its session was reopened on another node.
    event: String,
    /// JSON: `{}`; `{"text": …}`, or `{"base64": …}` for output that is not UTF-8; `{"stream": …}`; when the
    /// session was reopened, as its `durable.last`; or the settled run.
    data: String,
}

/// How often a comment is sent when nothing happens, so that no proxy gives the connection up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events of a run on its way, after the one numbered `after`, to its end.
pub fn live(run: Arc<LiveRun>, after: u64) -> Response {
    struct Following {
        run: Arc<LiveRun>,
        at: usize,
        ready: VecDeque<Event>,
        ended: bool,
    }
    let at = usize::try_from(after).unwrap_or(usize::MAX);
    let start = Following { run, at, ready: VecDeque::new(), ended: false };
    let events = stream::unfold(start, |mut following| async move {
        loop {
            if let Some(event) = following.ready.pop_front() {
                return Some((Ok::<_, Infallible>(event), following));
            }
            if following.ended {
                return None;
            }
            match following.run.after(following.at).await {
                Some(events) => {
                    following.at += events.len();
                    following.ready.extend(events.iter().map(event_of));
                }
                None => {
                    following.ended = true;
                    let number = following.run.events() as u64 + 1;
                    let last = match following.run.finished().await {
                        Ok(result) => serde_json::to_string(&*result).map(|text| ("settled", text)),
                        Err(problem) => serde_json::to_string(&problem).map(|text| ("problem", text)),
                    };
                    // One who has seen it all is told nothing twice.
                    if let Ok((kind, text)) = last
                        && following.at < usize::try_from(number).unwrap_or(usize::MAX)
                    {
                        following
                            .ready
                            .push_back(Event::default().id(number.to_string()).event(kind).data(text));
                    }
                }
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Events of a settled run, told again after the one numbered `after`.
pub fn replay(events: Vec<RunEvent>, result: Option<String>, after: u64) -> Response {
    let last = events.last().map_or(1, |event| event.seq + 1);
    let result = result.filter(|_| last > after);
    let end = result.map(|result| Event::default().id(last.to_string()).event("settled").data(result));
    // Each is spelled when its turn comes: a listener that does not read has one of them in memory, not all.
    let told = events.into_iter().filter(move |event| event.seq > after).map(|event| event_of(&event));
    Sse::new(stream::iter(told.chain(end).map(Ok::<_, Infallible>))).into_response()
}

fn event_of(event: &RunEvent) -> Event {
    Event::default().id(event.seq.to_string()).event(&event.kind).data(event.data.to_string())
}
