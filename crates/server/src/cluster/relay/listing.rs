//! Lists of sessions that all nodes have a part of.

use super::{Asked, LIST_BYTES_MAX, Relay, again};
use crate::problem::Problem;
use crate::service::{internal, now_ms};
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cluster::Standing;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use store::Cursor;

impl Relay<'_> {
    /// The caller's sessions on all nodes, newest first.
    pub(super) async fn list(&self, request: Request, next: Next) -> Result<Response, Problem> {
        let asked = Asked::of(request.uri().query().unwrap_or_default());
        let (head, _) = request.into_parts();
        let here = next.run(again(&head, &Bytes::new())).await;
        if here.status() != StatusCode::OK {
            return Ok(here);
        }
        let (mut items, mut more) = read_list(here).await?;
        for node in self.nodes() {
            let there = self.ask(&node, again(&head, &Bytes::new())).await;
            // A node that went this moment is told of below, when that is known.
            let Ok(there) = there else { continue };
            if there.status() == StatusCode::OK {
                let (theirs, has_more) = read_list(there).await?;
                items.extend(theirs);
                more |= has_more;
            }
        }
        // The node that a session has left says that it ended.
        let all = self.elsewhere.directory.all_of(&self.caller.tenant).into_iter();
        let away = all.filter(|(_, placed, end)| self.is_away(placed, end.as_ref()));
        let away: BTreeSet<String> = away.map(|(id, _, _)| id.to_string()).collect();
        items.retain(|item| item["id"].as_str().is_none_or(|id| !away.contains(id)));
        items.extend(self.unreachable(&asked));
        let key = |item: &Value| {
            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            (text("created_at"), text("id"))
        };
        items.sort_by_key(|item| std::cmp::Reverse(key(item)));
        items.dedup_by_key(|item| key(item));
        more |= items.len() > asked.limit;
        items.truncate(asked.limit);
        let next = items.last().filter(|_| more).map(|last| {
            let (created_at, id) = key(last);
            Cursor::at(time_of(&created_at), id).to_string()
        });
        Ok(axum::Json(json!({ "items": items, "next": next })).into_response())
    }

    /// Sessions of a page whose node cannot be asked.
    fn unreachable(&self, asked: &Asked) -> Vec<Value> {
        let directory = &self.elsewhere.directory;
        let mut items = Vec::new();
        for (id, placed, end) in directory.all_of(&self.caller.tenant) {
            let end = match directory.standing(&placed) {
                // It goes on, at the next request.
                _ if self.is_away(&placed, end.as_ref()) => None,
                Standing::There => continue,
                Standing::Lost(lost) => Some(end.unwrap_or(lost)),
                Standing::Silent => end,
            };
            let is_own =
                placed.node == *self.elsewhere.gateway.name() && !self.is_away(&placed, end.as_ref());
            let place = (placed.created_at_ms, id.as_str().to_owned());
            let is_on_it = asked.cursor.as_ref().is_none_or(|cursor| place < *cursor);
            let state = if end.is_some() { "ended" } else { "open" };
            if !is_own && is_on_it && asked.state.as_ref().is_none_or(|wanted| wanted == state) {
                items.push(self.shown(&id, &placed, end.as_ref()));
            }
        }
        items
    }
}

/// Milliseconds since 1970 of a time as this API writes it.
pub(super) fn time_of(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or_else(|_| now_ms(), |at| at.as_millisecond())
}

async fn read_list(response: Response) -> Result<(Vec<Value>, bool), Problem> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Value>,
        next: Option<String>,
    }
    let body = to_bytes(response.into_body(), LIST_BYTES_MAX).await;
    let body = body.map_err(|error| internal(format!("read a list: {error}")))?;
    let list: List =
        serde_json::from_slice(&body).map_err(|error| internal(format!("read a list: {error}")))?;
    Ok((list.items, list.next.is_some()))
}
