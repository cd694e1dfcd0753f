//! What a process writes, as server-sent events.

use super::ProcessView;
use crate::service::Service;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::base64;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use worker::pool::Stream;
use worker::session::{Piece, Process};

/// How often a comment is sent when nothing happens, so that no proxy gives the connection up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells what a process wrote from `at` on, to its end or the service's.
pub fn follow(service: Arc<Service>, process: Arc<Process>, at: u64) -> Response {
    let start = Reading { service, process, at, ready: VecDeque::new(), ended: false };
    let events = stream::unfold(start, |mut reading| async move {
        let event = reading.next().await?;
        Some((Ok::<_, Infallible>(event), reading))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One who reads what a process writes.
struct Reading {
    service: Arc<Service>,
    process: Arc<Process>,
    at: u64,
    ready: VecDeque<Piece>,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                self.at = piece.end();
                let event = Event::default().id(self.at.to_string()).event("output");
                return Some(event.data(told(&piece).to_string()));
            }
            if self.ended {
                return None;
            }
            let page = tokio::select! {
                page = self.process.after(self.at) => page,
                // It would go on as long as the process.
                () = self.service.attachments.ending() => return None,
            };
            match page {
                Some(page) => self.ready.extend(page),
                None => {
                    self.ended = true;
                    let view = serde_json::to_string(&ProcessView::from(&*self.process)).ok()?;
                    return Some(Event::default().id(self.at.to_string()).event("ended").data(view));
                }
            }
        }
    }
}

/// A piece of output, as clients are told it.
pub fn told(piece: &Piece) -> Value {
    let stream = match piece.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    match std::str::from_utf8(&piece.bytes) {
        Ok(text) => json!({"stream": stream, "offset": piece.offset, "text": text}),
        Err(_) => json!({"stream": stream, "offset": piece.offset, "base64": base64::encode(&piece.bytes)}),
    }
}
