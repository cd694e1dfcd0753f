//! `/v1/sessions/{id}/watch`: what changes in a session's workspace, as server-sent events.
//!
//! By looking again and again, not by inotify: of that the kernel gives a user 128 instances for all tenants together, a tree wants one
//! watch for each directory, and what is made in a new directory before it has one is missed. A look costs what a list costs; it is
//! repeated four times a second, and seldom enough that looking takes no more than a hundredth of the time.

use crate::http::body::Query;
use crate::http::guard::Caller;
use crate::http::session_files::{FileView, with_files};
use crate::http::sessions::{open_one, session_id};
use crate::problem::Problem;
use crate::service::Service;
use crate::sessions::OpenSession;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::spec::check_path;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use worker::session::{Entry, Kind as FileKind};

/// Most things that are looked at.
const LOOK_MAX: usize = 10_000;
/// How often, at most.
const PAUSE: Duration = Duration::from_millis(250);
/// So many times as long as a look took is rested after it.
const REST: u32 = 100;
/// How often a comment is sent when nothing happens, so that no proxy gives the connection up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What an upload is called until it is whole, at both ends.
const PART: (&str, &str) = (".fireclay-", ".part");

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(watch))
}

/// What to watch.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct WatchQuery {
    /// The directory, relative to the workspace; absent is the workspace
    path: String,
    /// Whether to watch what is below, too
    recursive: bool,
}

/// One event of a watch, as its fields.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the schema; axum writes the fields")]
struct WatchEvent {
    /// `watching` first: what changes from then on is told. `created`, `changed`, `removed` and `moved` with the thing, which has
    /// `from` too when it was moved. `truncated` when there are more than 10,000 things, of which the rest is not watched. `ended`
    /// last, with `why`, when the session or the service ends.
    event: String,
    /// JSON: a thing as lists have it.
    data: String,
}

/// Watch a directory of a session
///
/// Server-sent events. What came and went between two looks, a quarter of a second apart, is not told, and what changed twice is told
/// once; what a directory that moved holds has moved with it and is not told. At most eight watch one session at once.
#[utoipa::path(get, path = "/v1/sessions/{id}/watch", operation_id = "watch_session_files", tag = "sessions", params(WatchQuery, ("id" = String, Path, description = "The session")),
    responses((status = 200, description = "Events", body = WatchEvent, content_type = "text/event-stream"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
async fn watch(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(WatchQuery { path, recursive }): Query<WatchQuery>,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    if !path.is_empty() {
        check_path("path", &path)?;
    }
    let open = open_one(&service, &caller, &id).await?;
    let permit = open.watching.clone().try_acquire_owned().map_err(|_| {
        let detail = "as many watch this session as may at once";
        Problem::too_many(detail.to_owned(), 60)
    })?;
    let mut watch = Watch {
        service,
        caller,
        open,
        path,
        recursive,
        seen: BTreeMap::new(),
        whole: true,
        rest: PAUSE,
        _permit: permit,
    };
    let (seen, whole) = watch.look().await?;
    let mut ready = VecDeque::from([event("watching", json!({"entries": seen.len()}))]);
    if !whole {
        ready.push_back(event("truncated", json!({})));
    }
    (watch.seen, watch.whole) = (seen, whole);
    let events = stream::unfold((Some(watch), ready), |(mut watch, mut ready)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((Ok::<_, Infallible>(event), (watch, ready)));
            }
            let (events, goes_on) = watch.as_mut()?.next().await;
            ready.extend(events);
            if !goes_on {
                watch = None;
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// What was seen, by path.
type Seen = BTreeMap<PathBuf, Entry>;

/// One who watches.
struct Watch {
    service: Arc<Service>,
    caller: Caller,
    open: Arc<OpenSession>,
    path: String,
    recursive: bool,
    seen: Seen,
    /// Whether that was all.
    whole: bool,
    rest: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    async fn look(&mut self) -> Result<(Seen, bool), Problem> {
        let recursive = self.recursive;
        let id = self.open.session.id().clone();
        let looked = with_files(&self.service, &self.caller, &id, &self.path, move |files, path| {
            let began = Instant::now();
            let (entries, whole) = files.list(path, recursive, LOOK_MAX)?;
            Ok((entries, whole, began.elapsed()))
        });
        let (entries, whole, took) = looked.await?;
        self.rest = PAUSE.max(took * REST);
        let seen =
            entries.into_iter().filter(|entry| !is_part(entry)).map(|entry| (entry.path.clone(), entry));
        Ok((seen.collect(), whole))
    }

    /// Waits for the next look; what it showed, and whether there will be more.
    async fn next(&mut self) -> (Vec<Event>, bool) {
        let ended = tokio::select! {
            ended = self.open.session.ended() => Some(ended.why.name().to_owned()),
            () = tokio::time::sleep(self.rest) => self.service.is_draining().then(|| "service_restarted".to_owned()),
        };
        if let Some(why) = ended {
            return (vec![event("ended", json!({"why": why}))], false);
        }
        match self.look().await {
            Ok((seen, whole)) => {
                let mut events: Vec<Event> =
                    changes(&self.seen, &seen).into_iter().map(Change::event).collect();
                if self.whole && !whole {
                    events.push(event("truncated", json!({})));
                }
                (self.seen, self.whole) = (seen, whole);
                (events, true)
            }
            // The directory itself is gone: as all that was in it.
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
                let seen = std::mem::take(&mut self.seen);
                (changes(&seen, &Seen::new()).into_iter().map(Change::event).collect(), true)
            }
            Err(_) => (vec![event("ended", json!({"why": "unreadable"}))], false),
        }
    }
}

fn is_part(entry: &Entry) -> bool {
    let name = entry.path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PART.0) && name.ends_with(PART.1))
}

fn event(kind: &str, data: Value) -> Event {
    Event::default().event(kind).data(data.to_string())
}

/// One thing that changed.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Created(Entry),
    Changed(Entry),
    Removed(Entry),
    Moved(PathBuf, Entry),
}

impl Change {
    fn event(self) -> Event {
        /// A thing, and where it was.
        #[derive(Serialize)]
        struct Moved {
            from: String,
            #[serde(flatten)]
            thing: FileView,
        }
        let told = |kind, data: serde_json::Result<Value>| event(kind, data.unwrap_or_default());
        match self {
            Self::Created(entry) => told("created", serde_json::to_value(FileView::from(entry))),
            Self::Changed(entry) => told("changed", serde_json::to_value(FileView::from(entry))),
            Self::Removed(entry) => told("removed", serde_json::to_value(FileView::from(entry))),
            Self::Moved(from, entry) => {
                let from = from.to_string_lossy().into_owned();
                told("moved", serde_json::to_value(Moved { from, thing: entry.into() }))
            }
        }
    }
}

/// What was done between two looks. What is gone comes last.
fn changes(before: &Seen, after: &Seen) -> Vec<Change> {
    // By the thing itself, whatever it is called.
    let mut gone: BTreeMap<u64, &Entry> = before
        .values()
        .filter(|entry| !after.contains_key(&entry.path))
        .map(|entry| (entry.identity, entry))
        .collect();
    let mut moved: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in after.values() {
        let Some(was) = before.get(&entry.path) else {
            let Some(old) = gone.get(&entry.identity).filter(|old| old.kind == entry.kind) else {
                found.push(Change::Created(entry.clone()));
                continue;
            };
            let with_parent = entry.path.file_name() == old.path.file_name()
                && entry.path.parent().and_then(|parent| moved.get(parent)).map(PathBuf::as_path)
                    == old.path.parent();
            moved.insert(entry.path.clone(), old.path.clone());
            if !with_parent {
                found.push(Change::Moved(old.path.clone(), entry.clone()));
            }
            if differs(old, entry) {
                found.push(Change::Changed(entry.clone()));
            }
            gone.remove(&entry.identity);
            continue;
        };
        if was.identity != entry.identity || differs(was, entry) {
            found.push(Change::Changed(entry.clone()));
        }
    }
    // By path.
    let gone: BTreeMap<&PathBuf, &Entry> = gone.values().map(|entry| (&entry.path, *entry)).collect();
    found.extend(gone.into_values().cloned().map(Change::Removed));
    found
}

/// Whether a thing is another than it was. The time of a directory is that of its entries, which speak for themselves.
fn differs(was: &Entry, is: &Entry) -> bool {
    let content = |entry: &Entry| (entry.bytes, entry.modified_ns, entry.executable);
    was.kind != is.kind || (is.kind == FileKind::File && content(was) != content(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, identity: u64, modified_ns: i128) -> Entry {
        let kind = if path.ends_with('d') { FileKind::Directory } else { FileKind::File };
        Entry { path: path.into(), kind, bytes: 1, modified_ns, executable: false, identity }
    }

    fn seen(entries: &[(&str, u64, i128)]) -> Seen {
        entries
            .iter()
            .map(|(path, identity, time)| (PathBuf::from(path), entry(path, *identity, *time)))
            .collect()
    }

    #[test]
    fn what_was_done_is_told_once() {
        let before = seen(&[
            ("a", 1, 0),
            ("b", 2, 0),
            ("c", 3, 0),
            ("d", 4, 0),
            ("d/x", 5, 0),
            ("d/y", 6, 0),
            ("r", 7, 0),
        ]);
        let after = seen(&[
            ("a", 1, 0),
            ("b", 2, 9),
            ("e/d", 4, 9),
            ("e/d/x", 5, 0),
            ("e/d/z", 6, 0),
            ("n", 8, 0),
            ("r", 9, 0),
        ]);
        let moved = |from: &str, to| {
            Change::Moved(
                from.into(),
                entry(to, if to == "e/d" { 4 } else { 6 }, if to == "e/d" { 9 } else { 0 }),
            )
        };
        let wanted = vec![
            Change::Changed(entry("b", 2, 9)),
            moved("d", "e/d"),
            moved("d/y", "e/d/z"),
            Change::Created(entry("n", 8, 0)),
            Change::Changed(entry("r", 9, 0)),
            Change::Removed(entry("c", 3, 0)),
        ];
        assert_eq!(changes(&before, &after), wanted);
        assert_eq!(changes(&after, &after), []);
    }
}
