//! Reads the server-sent events of a run (HTML standard, §9.2), as the API writes them: `event` and one line of `data`.

use crate::api::Refusal;
use axum::body::Body;
use http_body_util::BodyExt;

/// Longest line that is taken: a settled run is bounded by the limits of its frames and its output.
const LINE_BYTES_MAX: usize = 96 << 20;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: String,
    /// More of it, JSON.
    pub data: String,
}

/// The events of a body, as they come.
pub struct Events {
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer holds no end of a line.
    searched: usize,
    kind: String,
}

impl Events {
    /// The events of this body.
    pub fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), searched: 0, kind: String::new() }
    }

    /// The next; `None` at the end. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Event>, Refusal> {
        loop {
            while let Some(line) = self.line() {
                if let Some(event) = self.take(&line) {
                    return Ok(Some(event));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Refusal::new(format!("the service broke off: {error}"))),
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(Refusal::new("the service says more than can be taken in"));
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.drain(..=self.searched + end).collect();
        self.searched = 0;
        Some(line)
    }

    fn take(&mut self, line: &[u8]) -> Option<Event> {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\r', '\n']);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => return Some(Event { kind: std::mem::take(&mut self.kind), data: value.to_owned() }),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use std::convert::Infallible;

    #[tokio::test]
    async fn events_are_read_wherever_the_pieces_end() {
        let text = "id: 1\nevent: stdout\ndata: {\"text\":\"ä\"}\n\n: alive\n\nevent: settled\ndata: {}\n\n";
        for size in 1..text.len() {
            let pieces: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
                .collect();
            let mut events = Events::new(Body::from_stream(futures_util::stream::iter(pieces)));
            let mut next = async || events.next().await.unwrap().map(|event| (event.kind, event.data));
            assert_eq!(next().await, Some(("stdout".into(), "{\"text\":\"ä\"}".into())));
            assert_eq!(next().await, Some(("settled".into(), "{}".into())));
            assert_eq!(next().await, None);
        }
    }
}
