//! Spans as AIGNE's observability package tells them (github.com/AIGNE-io/aigne-framework, `observability-api` 0.11.14): read, joined with what was
//! told before, and shown as spans of ours.

use super::span::{Showing, Span, SpanEvent, SpanKind, SpanStatus, time};
use super::{PREVIEW_CHARS, Traces, preview_of};
use model::{SpanId, TraceId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use store::{ToldSpan, TraceContent};

/// Longest value of an attribute that is kept whole, as JSON.
const ATTRIBUTE_BYTES_MAX: usize = 1 << 20;
/// What holds the texts of a span.
const TEXTS: [&str; 4] = ["input", "output", "userContext", "memories"];

/// A span, in AIGNE's names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AigneSpan {
    /// Its name among all spans.
    pub id: String,
    /// Its trace.
    pub root_id: String,
    /// Its parent.
    pub parent_id: Option<String>,
    /// What was done.
    pub name: String,
    /// When it began, milliseconds since 1970.
    pub start_time: i64,
    /// When it ended; 0 while it has not.
    pub end_time: i64,
    /// `code` 0, 1 if it went well, 2 if not (OpenTelemetry's), and `message`.
    pub status: Map<String, Value>,
    /// What went in and came out, and more.
    pub attributes: Map<String, Value>,
    /// Other spans.
    pub links: Value,
    /// Moments within it.
    pub events: Value,
    /// Who asked.
    pub user_id: Option<String>,
    /// In which conversation.
    pub session_id: Option<String>,
    /// By which program.
    pub component_id: Option<String>,
    /// A mark of theirs: such spans are in no list.
    pub action: Option<i64>,
    /// Tokens, read and written.
    pub token: Option<u64>,
    /// Dollars.
    pub cost: Option<f64>,
    /// What a model used, kept apart from the texts: those may be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// What a span says of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Used {
    /// `output.usage`.
    pub usage: Value,
    /// `output.model`.
    pub model: Value,
    /// `output.seconds`.
    pub seconds: Value,
}

/// More of a span that was told before.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AigneUpdate {
    input: Value,
    output: Value,
    user_context: Value,
    memories: Value,
    status: Option<Map<String, Value>>,
}

/// What dollars so many tokens of a model cost, read and written, if that is known.
pub type PriceOf<'a> = &'a dyn Fn(&str, u64, u64) -> Option<f64>;

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn short(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        // What a message says is what people look for.
        Value::Object(map) if map.len() == 1 => map.values().next().map(short).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The id of ours for a name of theirs: the same, if it could be one.
pub fn trace_of(root: &str) -> TraceId {
    root.parse().unwrap_or_else(|_| {
        let digest: [u8; 32] = Sha256::digest(root.as_bytes()).into();
        TraceId::from_random(digest.first_chunk().copied().unwrap_or([1; 16]))
    })
}

/// The same for a span.
pub fn span_id_of(id: &str) -> SpanId {
    id.parse().unwrap_or_else(|_| {
        let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
        SpanId::from_random(digest.first_chunk().copied().unwrap_or([1; 8]))
    })
}

impl AigneSpan {
    /// With what was told of it before: what is not told again stays.
    pub fn after(mut self, before: Option<&str>) -> Self {
        let Some(before) = before.and_then(|text| serde_json::from_str::<Self>(text).ok()) else {
            return self;
        };
        let mut attributes = before.attributes;
        attributes.append(&mut self.attributes);
        Self {
            attributes,
            user_id: self.user_id.or(before.user_id),
            session_id: self.session_id.or(before.session_id),
            token: self.token.or(before.token),
            cost: self.cost.or(before.cost),
            used: self.used.or(before.used),
            ..self
        }
    }

    /// With more; it ends at this time, in milliseconds, if the status is told.
    pub fn with(mut self, update: &AigneUpdate, now_ms: i64) -> Self {
        let parts = [&update.input, &update.output, &update.user_context, &update.memories];
        for (name, value) in TEXTS.into_iter().zip(parts) {
            let is_something = match value {
                Value::Object(map) => !map.is_empty(),
                Value::Array(list) => !list.is_empty(),
                Value::String(text) => !text.is_empty(),
                Value::Null | Value::Bool(_) | Value::Number(_) => false,
            };
            if is_something {
                self.attributes.insert(name.to_owned(), value.clone());
            }
        }
        self.user_id = text(&update.user_context, "userId").map(str::to_owned).or(self.user_id);
        self.session_id = text(&update.user_context, "sessionId").map(str::to_owned).or(self.session_id);
        if let Some(status) = &update.status {
            self.status = status.clone();
            self.end_time = now_ms;
        }
        self
    }

    /// As it is kept: counted, without secrets, and with no more of its texts than traces may show.
    pub fn kept(mut self, traces: &Traces, price: PriceOf<'_>) -> Self {
        let output = self.attributes.get("output").cloned().unwrap_or_default();
        if output["usage"].is_object() || output["model"].is_string() {
            let of = |name: &str| output.get(name).cloned().unwrap_or_default();
            self.used = Some(Used { usage: of("usage"), model: of("model"), seconds: of("seconds") });
        }
        if let (Some((input, output)), Some(model)) = (self.tokens(), self.model()) {
            let cost = price(model, input, output);
            self.token = Some(input.saturating_add(output));
            self.cost = cost.or(self.cost);
        }
        for name in TEXTS {
            let Some(value) = self.attributes.get_mut(name) else { continue };
            let whole = traces.redactor.redact(&value.to_string());
            *value = match traces.content {
                TraceContent::Off => Value::Null,
                TraceContent::Preview => preview_of(&short(value)).into(),
                TraceContent::Full if whole.len() > ATTRIBUTE_BYTES_MAX => {
                    whole.chars().take(ATTRIBUTE_BYTES_MAX / 16).collect::<String>().into()
                }
                // A secret that was taken out of the text of JSON leaves JSON.
                TraceContent::Full => serde_json::from_str(&whole).unwrap_or_default(),
            };
        }
        let others = traces.redactor.redact(&Value::Object(self.attributes).to_string());
        self.attributes = serde_json::from_str(&others).unwrap_or_default();
        self
    }

    fn tokens(&self) -> Option<(u64, u64)> {
        let usage = &self.used.as_ref()?.usage;
        let number = |name: &str| usage.get(name).and_then(Value::as_u64);
        match (number("inputTokens"), number("outputTokens")) {
            (None, None) => None,
            (input, output) => Some((input.unwrap_or(0), output.unwrap_or(0))),
        }
    }

    fn model(&self) -> Option<&str> {
        self.used.as_ref()?.model.as_str()
    }

    fn tag(&self) -> &str {
        self.attributes.get("agentTag").and_then(Value::as_str).unwrap_or_default()
    }

    fn is_model(&self) -> bool {
        self.tag().contains("Model") || self.tokens().is_some()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.end_time > 0
    }

    fn is_failed(&self) -> bool {
        self.status.get("code").and_then(Value::as_i64) == Some(2)
    }

    fn preview(&self, name: &str) -> String {
        self.attributes.get(name).map(|value| preview_of(&short(value))).unwrap_or_default()
    }

    /// As the store takes it.
    pub fn told(&self, content: TraceContent, imported: bool) -> ToldSpan {
        let us = |ms: i64| ms.clamp(0, store::limits::TIME_MS_MAX).saturating_mul(1000);
        let tokens = self.tokens();
        ToldSpan {
            trace: trace_of(&self.root_id),
            id: self.id.clone(),
            parent: self.parent_id.clone().filter(|parent| !parent.is_empty()),
            name: self.name.chars().take(PREVIEW_CHARS).collect(),
            began_us: us(self.start_time),
            ended_us: Some(us(self.end_time)).filter(|us| *us > 0),
            is_failed: self.is_failed(),
            component: self.component_id.clone(),
            is_model: self.is_model(),
            model: self.model().map(str::to_owned),
            tokens_in: tokens.map(|tokens| tokens.0),
            tokens_out: tokens.map(|tokens| tokens.1),
            cost_usd: self.cost.filter(|cost| cost.is_finite() && *cost >= 0.0),
            input: self.preview("input"),
            output: self.preview("output"),
            content,
            imported,
            text: serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// As a span of ours, without children.
    fn span(&self, showing: &mut Showing<'_>) -> Span {
        let told = self.told(TraceContent::Full, false);
        let mut span = Span::between(told.name, told.began_us, told.ended_us)
            .with("aigne.id", self.id.as_str())
            .with("user.id", self.user_id.as_deref())
            .with("session.id", self.session_id.as_deref())
            .with("service.name", self.component_id.as_deref())
            .with("fireclay.cost_usd", told.cost_usd);
        span.id = span_id_of(&self.id).to_string();
        span.apart = true;
        span.parent = told.parent.as_deref().map(|parent| span_id_of(parent).to_string());
        if self.is_model() {
            span.kind = SpanKind::Client;
            span = span
                .with("gen_ai.operation.name", "chat")
                .with("gen_ai.request.model", self.model())
                .with("gen_ai.usage.input_tokens", told.tokens_in)
                .with("gen_ai.usage.output_tokens", told.tokens_out);
        } else if self.tag() == "FunctionAgent" {
            span = span
                .with("gen_ai.operation.name", "execute_tool")
                .with("gen_ai.tool.name", self.name.as_str());
        }
        for (name, value) in &self.attributes {
            match value {
                Value::Bool(_) | Value::Number(_) => {
                    span = span.with(&format!("aigne.{name}"), value.clone())
                }
                // In OpenTelemetry's own words.
                Value::String(text) if name.starts_with("gen_ai.") => {
                    span = span.with(name, showing.words(text));
                }
                Value::String(text) if !TEXTS.contains(&name.as_str()) => {
                    span = span.with(&format!("aigne.{name}"), showing.words(text));
                }
                Value::Null => {}
                other if !["input", "output"].contains(&name.as_str()) => {
                    span = span.with(&format!("aigne.{name}"), showing.words(&other.to_string()));
                }
                _ => {}
            }
        }
        span.status = match self.status.get("code").and_then(Value::as_i64) {
            Some(1) => SpanStatus::Ok,
            Some(2) => SpanStatus::Error,
            _ => SpanStatus::Unset,
        };
        span.message =
            self.status.get("message").and_then(Value::as_str).and_then(|text| showing.words(text));
        let mut payload = |name: &str| match self.attributes.get(name)? {
            Value::Null => None,
            Value::String(text) => showing.payload("text/plain", text),
            other => {
                showing.payload("application/json", &serde_json::to_string_pretty(other).unwrap_or_default())
            }
        };
        (span.input, span.output) = (payload("input"), payload("output"));
        span.events = self.events.as_array().into_iter().flatten().filter_map(event_of).collect();
        span
    }
}

/// A moment as OpenTelemetry's JavaScript has it: `time` is seconds and nanoseconds.
fn event_of(told: &Value) -> Option<SpanEvent> {
    let (seconds, nanos) = (told["time"][0].as_i64().unwrap_or(0), told["time"][1].as_i64().unwrap_or(0));
    let at = time(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000));
    let attributes = told["attributes"].as_object().cloned().unwrap_or_default();
    Some(SpanEvent { name: text(told, "name")?.to_owned(), at, attributes })
}

/// The spans that a program told of a trace, as a tree of ours: those whose parent is not among them are roots.
pub fn tree_of(texts: &[String], origin_us: i64, showing: &mut Showing<'_>) -> Vec<Span> {
    let told: Vec<AigneSpan> = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let places: HashMap<&str, usize> =
        told.iter().enumerate().map(|(at, span)| (span.id.as_str(), at)).collect();
    let mut below: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (at, span) in told.iter().enumerate() {
        let parent =
            span.parent_id.as_deref().and_then(|parent| places.get(parent)).filter(|parent| **parent != at);
        match parent {
            Some(parent) => below.entry(*parent).or_default().push(at),
            None => roots.push(at),
        }
    }
    // A ring of parents has no root, and is not shown; so this ends.
    roots.into_iter().map(|at| whole(&told, &below, (at, 0), origin_us, showing)).collect()
}

/// How deep a tree is shown.
const DEPTH_MAX: usize = 60;

fn whole(
    told: &[AigneSpan],
    below: &HashMap<usize, Vec<usize>>,
    (at, depth): (usize, usize),
    origin_us: i64,
    showing: &mut Showing<'_>,
) -> Span {
    let mut span = told[at].span(showing);
    let parent = span.parent.clone();
    if depth < DEPTH_MAX {
        let children = below.get(&at).into_iter().flatten();
        span.children =
            children.map(|child| whole(told, below, (*child, depth + 1), origin_us, showing)).collect();
    }
    if depth == 0 {
        span.dress(origin_us);
        span.parent = parent;
    }
    span
}

/// A span of ours in AIGNE's words, and those below it: their name is the trace's with the span's behind it.
pub fn in_their_words(trace: &str, parent: Option<&str>, span: &Span) -> (AigneSpan, Vec<AigneSpan>) {
    let ms = |us: i64| us / 1000;
    let id = match parent {
        None => trace.to_owned(),
        Some(_) => format!("{trace}-{}", span.id),
    };
    let read = |name: &str| span.attributes.get(name).and_then(Value::as_u64);
    let (tokens_in, tokens_out) = (read("gen_ai.usage.input_tokens"), read("gen_ai.usage.output_tokens"));
    let used = tokens_in.or(tokens_out).map(|_| Used {
        usage: json!({"inputTokens": tokens_in.unwrap_or(0), "outputTokens": tokens_out.unwrap_or(0)}),
        model: span.attributes.get("gen_ai.request.model").cloned().unwrap_or_default(),
        seconds: Value::Null,
    });
    let mut attributes = span.attributes.clone();
    let tag = match span.attributes.get("gen_ai.operation.name").and_then(Value::as_str) {
        Some("chat") => "ChatModelAgent",
        Some("execute_tool") => "FunctionAgent",
        _ => "Agent",
    };
    attributes.insert("agentTag".to_owned(), tag.into());
    for (name, payload) in [("input", &span.input), ("output", &span.output)] {
        let shown = payload.as_ref().and_then(|payload| payload.text.clone());
        attributes.insert(name.to_owned(), shown.map_or(Value::Null, Value::String));
    }
    let code = match span.status {
        SpanStatus::Unset => 0,
        SpanStatus::Ok => 1,
        SpanStatus::Error => 2,
    };
    let mut status = Map::new();
    status.insert("code".to_owned(), code.into());
    if let Some(message) = &span.message {
        status.insert("message".to_owned(), message.as_str().into());
    }
    let own = AigneSpan {
        id: id.clone(),
        root_id: trace.to_owned(),
        parent_id: parent.map(str::to_owned),
        name: span.name.clone(),
        start_time: ms(us_of(&span.started_at).unwrap_or(span.start_us)),
        end_time: span.ended_at.as_deref().and_then(us_of).map_or(0, ms),
        status,
        attributes,
        events: serde_json::to_value(&span.events).unwrap_or_default(),
        token: tokens_in.map(|input| input + tokens_out.unwrap_or(0)),
        cost: span.attributes.get("fireclay.cost_usd").and_then(Value::as_f64),
        used,
        ..AigneSpan::default()
    };
    let mut below = Vec::new();
    for child in &span.children {
        let (child, inner) = in_their_words(trace, Some(&id), child);
        below.push(child);
        below.extend(inner);
    }
    (own, below)
}

fn us_of(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_microsecond())
}

/// What is wrong with the spans of a request, in the words of Zod 3, which AIGNE's server reads them with; nothing if they will do.
pub fn issues(body: &Value) -> Vec<Value> {
    let Some(list) = body.as_array() else { return vec![issue("array", Some(body), json!([]))] };
    let mut issues = Vec::new();
    for (at, span) in list.iter().enumerate() {
        let Some(map) = span.as_object() else {
            issues.push(issue("object", Some(span), json!([at])));
            continue;
        };
        for (name, wanted, is_needed) in FIELDS {
            let value = map.get(name);
            let fits = match (value, wanted) {
                (None, _) => !is_needed,
                (Some(value), "string") => value.is_string(),
                (Some(value), "integer") => {
                    value.is_i64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
                }
                (Some(value), "number") => value.is_number(),
                (Some(value), "array") => value.is_array(),
                (Some(value), _) => value.is_object(),
            };
            if !fits {
                issues.push(issue(wanted, value, json!([at, name])));
            }
        }
    }
    issues
}

/// Each field, what it is, and whether it must be there.
const FIELDS: [(&str, &str, bool); 14] = [
    ("id", "string", true),
    ("rootId", "string", true),
    ("parentId", "string", false),
    ("name", "string", true),
    ("startTime", "integer", true),
    ("endTime", "integer", true),
    ("status", "object", true),
    ("attributes", "object", true),
    ("links", "array", false),
    ("events", "array", false),
    ("userId", "string", false),
    ("sessionId", "string", false),
    ("componentId", "string", false),
    ("action", "number", false),
];

fn issue(expected: &str, value: Option<&Value>, path: Value) -> Value {
    let received = match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    let message = if value.is_none() {
        "Required".to_owned()
    } else {
        format!("Expected {expected}, received {received}")
    };
    json!({"code": "invalid_type", "expected": expected, "received": received, "path": path, "message": message})
}
