//! A span as the API tells it, and how a tree of them is dressed: ids, offsets, times as text.

use super::{Redactor, preview_of};
use model::SpanId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use store::TraceContent;
use utoipa::ToSchema;

/// The most of a message, or of a traceback, in bytes.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// Attributes that code, a model or a caller wrote.
const TEXTS: [&str; 2] = ["exception.stacktrace", "fireclay.stdin"];

/// One thing that happened, and all that happened within it. Names and attributes are those of OpenTelemetry where it has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TraceSpan)]
#[serde(default)]
pub struct Span {
    /// This span: 16 hexadecimal digits.
    pub id: String,
    /// The span that it was done for; that of a root is of whoever asked.
    pub parent: Option<String>,
    /// What was done: `admission`, `check`, `queue`, `execution`, `chat gpt-5`, `execute_tool run`, …
    pub name: String,
    /// On which side of a request it is.
    pub kind: SpanKind,
    /// When it began, RFC 3339 in UTC with microseconds.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// From the beginning of the trace to its own, in milliseconds.
    pub offset_ms: f64,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Whether it went well.
    pub status: SpanStatus,
    /// What went wrong.
    pub message: Option<String>,
    /// More, by OpenTelemetry's names, or `fireclay.…`.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub attributes: Map<String, Value>,
    /// What went in.
    pub input: Option<Payload>,
    /// What came out.
    pub output: Option<Payload>,
    /// Moments within it.
    pub events: Vec<SpanEvent>,
    /// What was done for it.
    #[schema(no_recursion)]
    pub children: Vec<Span>,
    /// Whether it is told on its own when it ends, and not with what it was done for.
    #[serde(skip)]
    pub apart: bool,
    /// When it began, microseconds since 1970.
    #[serde(skip)]
    pub start_us: i64,
    /// When it ended.
    #[serde(skip)]
    pub end_us: Option<i64>,
}

/// On which side of a request a span is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TraceSpanKind)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// On none.
    #[default]
    Internal,
    /// It answers one.
    Server,
    /// It sent one.
    Client,
}

/// Whether a span went well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TraceSpanStatus)]
#[serde(rename_all = "snake_case")]
pub enum SpanStatus {
    /// Nobody says.
    #[default]
    Unset,
    /// It did.
    Ok,
    /// It did not.
    Error,
}

/// What went into a span or came out of it: untrusted display data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TracePayload)]
#[serde(default)]
pub struct Payload {
    /// Its type, such as `text/x-python`.
    pub media_type: String,
    /// The text, as much as is shown; absent if content is not.
    pub text: Option<String>,
    /// Whether some of it is left out.
    pub truncated: bool,
    /// How long all of it is.
    pub bytes: u64,
}

/// A moment within a span.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TraceSpanEvent)]
#[serde(default)]
pub struct SpanEvent {
    /// What happened.
    pub name: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// More.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub attributes: Map<String, Value>,
}

/// A time as traces spell it: RFC 3339 in UTC with microseconds.
pub fn time(us: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(us).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The time that [`time`] spells; 1970 if it is none.
fn us_of(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, |at| at.as_microsecond())
}

/// How much of texts is shown: each, and of all of a trace together.
#[derive(Debug)]
pub struct Showing<'a> {
    /// Whether at all.
    pub content: TraceContent,
    /// Bytes of each.
    pub bytes_max: usize,
    /// Bytes of all that are left.
    pub left: usize,
    /// Takes secrets out.
    pub redactor: &'a Redactor,
}

impl Showing<'_> {
    /// A few words that code or a model may have written, such as an error: as they may be shown, if at all.
    pub fn words(&mut self, text: &str) -> Option<String> {
        let shown = match self.content {
            TraceContent::Off => return None,
            TraceContent::Preview => preview_of(&self.redactor.redact(head(text, WORDS_BYTES_MAX))),
            TraceContent::Full => self.redactor.redact(head(text, WORDS_BYTES_MAX.min(self.left))),
        };
        self.left = self.left.saturating_sub(shown.len());
        Some(shown)
    }

    /// A text as it may be shown; nothing for an empty one.
    pub fn payload(&mut self, media_type: &str, text: &str) -> Option<Payload> {
        if text.is_empty() {
            return None;
        }
        let bytes = text.len() as u64;
        let media_type = media_type.to_owned();
        if self.content == TraceContent::Off || self.left == 0 {
            return Some(Payload { media_type, text: None, truncated: true, bytes });
        }
        let most = self.bytes_max.min(self.left);
        let clean = self.redactor.redact(text);
        let shown = match self.content {
            TraceContent::Preview => clean.chars().take(super::PREVIEW_CHARS).collect(),
            _ => head(&clean, most).to_owned(),
        };
        self.left = self.left.saturating_sub(shown.len());
        Some(Payload { media_type, truncated: shown.len() < clean.len(), text: Some(shown), bytes })
    }
}

/// The beginning of a text, whole characters.
fn head(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

impl Span {
    /// A span between two times, microseconds since 1970.
    pub fn between(name: impl Into<String>, start_us: i64, end_us: Option<i64>) -> Self {
        Self { name: name.into(), start_us, end_us, ..Self::default() }
    }

    /// Adds an attribute, unless it is absent.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.attributes.insert(name.to_owned(), value);
        }
        self
    }

    /// Says that it went wrong.
    pub fn failed(mut self, message: impl Into<String>) -> Self {
        self.status = SpanStatus::Error;
        self.message = Some(message.into());
        self
    }

    /// Says that it went wrong, and in what words if they may be shown.
    pub fn failed_as(mut self, words: Option<String>) -> Self {
        self.status = SpanStatus::Error;
        self.message = words;
        self
    }

    /// Without what is told on its own.
    pub fn alone(mut self) -> Self {
        self.children.retain(|child| !child.apart);
        self.children = std::mem::take(&mut self.children).into_iter().map(Span::alone).collect();
        self
    }

    /// Leaves out of it, and of all within, what may not be shown of texts of others.
    pub fn keep(&mut self, content: TraceContent) {
        for payload in [&mut self.input, &mut self.output].into_iter().flatten() {
            let Some(text) = &payload.text else { continue };
            let shown = match content {
                TraceContent::Full => continue,
                TraceContent::Preview => Some(preview_of(text)),
                TraceContent::Off => None,
            };
            payload.truncated |= shown.as_deref() != Some(text);
            payload.text = shown;
        }
        let words = |text: &str| (content == TraceContent::Preview).then(|| preview_of(text));
        if content != TraceContent::Full {
            self.message = self.message.as_deref().and_then(words);
            for name in TEXTS {
                let text = self.attributes.remove(name);
                if let Some(text) = text.as_ref().and_then(Value::as_str).and_then(words) {
                    self.attributes.insert(name.to_owned(), text.into());
                }
            }
        }
        self.children.iter_mut().for_each(|child| child.keep(content));
    }

    /// Reads its times, and those of all within, from their text; those that are none are 1970.
    pub fn stamp(&mut self) {
        self.start_us = us_of(&self.started_at);
        self.end_us = self.ended_at.as_deref().map(us_of);
        self.children.iter_mut().for_each(Span::stamp);
    }

    /// How many spans there are, itself among them.
    pub fn count(&self) -> u64 {
        1 + self.children.iter().map(Span::count).sum::<u64>()
    }

    /// Completes it and all within: times as text, offsets from the beginning of the trace, ids that are the same each time.
    pub fn dress(&mut self, origin_us: i64) {
        self.started_at = time(self.start_us);
        self.ended_at = self.end_us.map(time);
        self.offset_ms = (self.start_us - origin_us) as f64 / 1000.0;
        self.duration_ms = self.end_us.map(|end| (end - self.start_us).max(0) as f64 / 1000.0);
        for (place, child) in self.children.iter_mut().enumerate() {
            if child.id.is_empty() {
                child.id = derived(&self.id, place).to_string();
            }
            child.parent = Some(self.id.clone());
            child.dress(origin_us);
        }
    }
}

/// The id of the child at a place: nobody gave it one.
fn derived(parent: &str, place: usize) -> SpanId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(parent)
        .chain_update([0])
        .chain_update(place.to_be_bytes())
        .finalize()
        .into();
    SpanId::from_random(digest.first_chunk().copied().unwrap_or([1; 8]))
}
