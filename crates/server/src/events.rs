//! The events of one run while it is on its way: in order, coalesced, and within a bound whatever its program writes.
//!
//! The supervisor forwards the first `output_bytes` of each stream and no more (`sandbox::output::Captured`). That is the tenant's
//! bound and may be 16 MiB of each, so the service has its own beside it: beyond [`TEXT_BYTES_MAX`] or [`EVENTS_MAX`] output is no longer
//! told. Either way one `omitted` event for each stream says that the events lack something of it, and the result has its head and tail.

use crate::problem::Problem;
use model::{Policy, RunResult, base64};
use serde_json::{Value, json};
use std::sync::Arc;
use store::RunEvent;
use worker::pool::Stream;

/// Most text of output, both streams together, that is kept to be told.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Most events with output, however little is in each: one takes about half a kilobyte beside its text.
pub const EVENTS_MAX: usize = 16_384;
/// Output that nobody has read yet grows to this much before a new event begins: a drip of bytes is one event, not thousands.
const COALESCED_BYTES: usize = 8 << 10;
/// What one listener is handed at once: the event that goes beyond this is the last. Who reads slowly holds no more than that.
const PAGE_BYTES: usize = 64 << 10;

// At the default limit nothing is omitted but what the limit omits, on either stream, in base64 too.
const _: () = assert!(2 * 2 * Policy::DEFAULT.limits.output_bytes <= TEXT_BYTES_MAX as u64);

/// Names of the streams, which are also the kinds of their events.
const NAMES: [&str; 2] = ["stdout", "stderr"];

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Vec<RunEvent>,
    /// Events before this one were handed out and stay as they are.
    read: usize,
    /// Bytes of each stream that do not yet make a character.
    partial: [Vec<u8>; 2],
    /// Streams of which no more is told.
    omitted: [bool; 2],
    text_bytes: usize,
    /// How it ended.
    pub result: Option<Arc<RunResult>>,
    /// Why nobody may be told how it ended.
    pub failure: Option<Problem>,
    /// Whether it was taken back.
    pub cancelled: bool,
}

impl Log {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// A copy of all events.
    pub fn all(&self) -> Vec<RunEvent> {
        self.events.clone()
    }

    /// Adds an event.
    pub fn push(&mut self, kind: &str, data: Value) {
        let seq = self.events.len() as u64 + 1;
        self.events.push(RunEvent { seq, kind: kind.to_owned(), data });
    }

    /// Adds output. A character is never split between two events; a piece that is not UTF-8 is told in base64.
    pub fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.tell(stream, bytes, false);
    }

    /// Adds what is left of both streams, and says of which the result left something out.
    pub fn settle(&mut self, result: Arc<RunResult>) {
        self.tell(Stream::Stdout, &[], true);
        self.tell(Stream::Stderr, &[], true);
        for (index, truncated) in [result.stdout_truncated, result.stderr_truncated].into_iter().enumerate() {
            if truncated {
                self.omit(index);
            }
        }
        self.result = Some(result);
    }

    /// The next events from `from` on, of about [`PAGE_BYTES`]; they stay as they are from now on.
    pub fn page(&mut self, from: usize) -> Vec<RunEvent> {
        let mut bytes = 0;
        let fits = |event: &&RunEvent| {
            let room = bytes < PAGE_BYTES;
            bytes += text_of(event).len();
            room
        };
        let page: Vec<RunEvent> =
            self.events.get(from..).unwrap_or_default().iter().take_while(fits).cloned().collect();
        self.read = self.read.max(from.saturating_add(page.len()).min(self.events.len()));
        page
    }

    fn tell(&mut self, stream: Stream, bytes: &[u8], last: bool) {
        let index = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        if self.omitted[index] {
            return;
        }
        let partial = &mut self.partial[index];
        partial.extend_from_slice(bytes);
        let whole = if last { partial.len() } else { whole_characters(partial) };
        if whole == 0 {
            return;
        }
        let piece: Vec<u8> = partial.drain(..whole).collect();
        let (key, text) = match String::from_utf8(piece) {
            Ok(text) => ("text", text),
            Err(error) => ("base64", base64::encode(error.as_bytes())),
        };
        let bytes = text.len();
        if self.text_bytes + bytes > TEXT_BYTES_MAX {
            return self.omit(index);
        }
        if key == "text"
            && let Some(before) = self.unread(NAMES[index], bytes)
        {
            before.push_str(&text);
        } else if self.events.len() < EVENTS_MAX {
            self.push(NAMES[index], json!({ key: text }));
        } else {
            return self.omit(index);
        }
        self.text_bytes += bytes;
    }

    /// The text of the last event, if it is of this kind, nobody has it yet, and `bytes` more have room in it.
    fn unread(&mut self, kind: &str, bytes: usize) -> Option<&mut String> {
        let unread = self.events.len() > self.read;
        let last = self.events.last_mut().filter(|event| unread && event.kind == kind)?;
        match last.data.get_mut("text")? {
            Value::String(text) if text.len() + bytes <= COALESCED_BYTES => Some(text),
            _ => None,
        }
    }

    /// Tells no more of a stream, and says so the first time.
    fn omit(&mut self, index: usize) {
        if !self.omitted[index] {
            self.omitted[index] = true;
            self.partial[index] = Vec::new();
            self.push("omitted", json!({ "stream": NAMES[index] }));
        }
    }
}

fn text_of(event: &RunEvent) -> &str {
    let text = event.data.get("text").or_else(|| event.data.get("base64"));
    text.and_then(Value::as_str).unwrap_or_default()
}

/// How many of these bytes are surely whole characters: all but the beginning of one at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let needed = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // The middle of a character: look further back.
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if needed > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &Log) -> Vec<(&str, &str)> {
        log.events.iter().map(|event| (event.kind.as_str(), text_of(event))).collect()
    }

    #[test]
    fn characters_are_never_split_and_drips_are_joined() {
        let mut log = Log::default();
        for byte in "aé€😀z".bytes() {
            log.output(Stream::Stdout, &[byte]);
        }
        log.output(Stream::Stderr, b"\xff\xe2\x82");
        log.tell(Stream::Stderr, b"", true);
        assert_eq!(told(&log), [("stdout", "aé€😀z"), ("stderr", "/w=="), ("stderr", "4oI=")]);
    }

    #[test]
    fn what_was_read_is_not_changed() {
        let mut log = Log::default();
        log.output(Stream::Stdout, b"a");
        assert_eq!(log.page(0).len(), 1);
        log.output(Stream::Stdout, b"b");
        assert_eq!(log.len(), 2);
    }

    /// A listener that reads each byte at once makes each an event.
    #[test]
    fn a_drip_that_somebody_hears_is_bounded_in_events() {
        let mut log = Log::default();
        for _ in 0..2 * EVENTS_MAX {
            log.output(Stream::Stdout, b"x");
            log.page(log.len() - 1);
        }
        log.output(Stream::Stderr, b"e");
        assert_eq!(log.len(), EVENTS_MAX + 2);
        let ends: Vec<_> = log.events[EVENTS_MAX..].iter().map(|event| event.data.to_string()).collect();
        assert_eq!(ends, [r#"{"stream":"stdout"}"#, r#"{"stream":"stderr"}"#]);
    }

    /// Two streams that take turns are never coalesced.
    #[test]
    fn streams_that_take_turns_are_bounded_in_events() {
        let mut log = Log::default();
        for _ in 0..EVENTS_MAX {
            log.output(Stream::Stdout, b"x");
            log.output(Stream::Stderr, b"y");
        }
        assert_eq!(log.len(), EVENTS_MAX + 2);
    }

    #[test]
    fn a_flood_is_bounded_in_text_and_said_to_be() {
        let mut log = Log::default();
        let piece = [b'x'; 32 << 10];
        for _ in 0..1000 {
            log.output(Stream::Stdout, &piece);
        }
        log.output(Stream::Stderr, &[b'y'; 100]);
        let kept: usize = log.events.iter().map(|event| text_of(event).len()).sum();
        assert_eq!(kept, TEXT_BYTES_MAX);
        let after = log.len() - TEXT_BYTES_MAX / piece.len();
        assert_eq!(after, 2, "one event says it for each stream");
        assert!(log.partial.iter().all(Vec::is_empty));
    }

    #[test]
    fn a_listener_is_handed_a_page_at_a_time_and_misses_nothing() {
        let mut log = Log::default();
        for number in 0..100u8 {
            log.output(Stream::Stdout, &[number % 26 + b'a'; 32 << 10]);
        }
        let mut heard = Vec::new();
        loop {
            let page = log.page(heard.len());
            if page.is_empty() {
                break;
            }
            let bytes: usize = page.iter().map(|event| text_of(event).len()).sum();
            assert!(bytes <= PAGE_BYTES + (32 << 10), "{bytes}");
            heard.extend(page);
        }
        assert_eq!(heard, log.events);
        assert_eq!(log.page(usize::MAX), []);
    }
}
