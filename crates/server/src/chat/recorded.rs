//! What a chat leaves as a trace: a span for each choice, below it the turns of the model and the calls of our tool, and below those the runs.
//!
//! They are told as a program of a caller tells its own, one by one as they end: a chat has no record of its own that they could be read from.

use super::conversation::Shared;
use super::turn::{Call, Turn};
use super::wrong::Wrong;
use crate::service::{Service, now_ms};
use crate::traces::{AigneSpan, fresh_ids};
use model::{SpanId, TraceId, TraceParent};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a request for chat stands in a trace.
#[derive(Debug)]
pub struct Place {
    own: TraceParent,
    parent: Option<SpanId>,
    /// Whether a choice has that span.
    taken: AtomicBool,
}

impl Place {
    /// That of a request which named this as its parent; `None` if nothing is recorded.
    pub fn new(service: &Service, parent: Option<TraceParent>) -> Option<Self> {
        let (trace, span) = fresh_ids().ok().filter(|_| service.traces.enabled)?;
        let own = TraceParent { trace: parent.map_or(trace, |parent| parent.trace), span };
        Some(Self { own, parent: parent.map(|parent| parent.span), taken: AtomicBool::new(false) })
    }

    /// The span of its first choice.
    pub fn own(&self) -> TraceParent {
        self.own
    }
}

/// A choice, as it is recorded.
#[derive(Debug)]
pub struct Recording {
    trace: TraceId,
    root: AigneSpan,
}

impl Recording {
    /// Begins; `None` if nothing is recorded.
    pub async fn begin(shared: &Shared) -> Option<Self> {
        let place = shared.place.as_ref()?;
        let span = match place.taken.swap(true, Ordering::Relaxed) {
            false => place.own.span,
            true => fresh_ids().ok()?.1,
        };
        let question = shared.asked.messages.last().map(|message| message["content"].clone());
        let root = AigneSpan {
            parent_id: place.parent.map(|parent| parent.to_string()),
            attributes: attributes("Agent", question.unwrap_or_default(), Value::Null),
            ..span_of(place.own.trace, &span, if shared.seen { "response" } else { "chat" })
        };
        let recording = Self { trace: place.own.trace, root };
        recording.tell(shared, recording.root.clone()).await;
        Some(recording)
    }

    /// A turn of the model, which began at this time.
    pub async fn turn(
        &self,
        shared: &Shared,
        began_ms: i64,
        messages: &[Value],
        done: Result<&Turn, &Wrong>,
    ) {
        let Ok((_, span)) = fresh_ids() else { return };
        let own = shared.model.name();
        let (provider, own) = own.split_once(':').unwrap_or(("", &own));
        let asked = shared.asked.fields.get("model").and_then(Value::as_str).unwrap_or(own);
        let mut output = json!({"model": asked});
        if let Ok(turn) = done {
            let usage = turn.usage.as_ref();
            let figure = |name: &str| usage.and_then(|usage| usage[name].as_u64());
            output["text"] = turn.text().into();
            output["toolCalls"] = turn.calls.iter().map(Call::value).collect();
            output["usage"] =
                json!({"inputTokens": figure("prompt_tokens"), "outputTokens": figure("completion_tokens")});
        }
        let mut attributes = attributes("ChatModelAgent", json!({"messages": messages}), output);
        attributes.insert("gen_ai.provider.name".to_owned(), provider.into());
        let span = AigneSpan {
            parent_id: Some(self.root.id.clone()),
            start_time: began_ms,
            attributes,
            ..span_of(self.trace, &span, &format!("chat {asked}"))
        };
        self.tell(shared, ended(span, done.err())).await;
    }

    /// Where a run stands that a call asks for.
    pub fn place_of_call(&self) -> Option<TraceParent> {
        let (_, span) = fresh_ids().ok()?;
        Some(TraceParent { trace: self.trace, span })
    }

    /// A call of our tool, which began at this time.
    pub async fn called(
        &self,
        shared: &Shared,
        (place, began_ms): (TraceParent, i64),
        call: &Call,
        done: Result<&str, &Wrong>,
    ) {
        let shown = done.map_or(Value::Null, Value::from);
        let span = AigneSpan {
            parent_id: Some(self.root.id.clone()),
            start_time: began_ms,
            attributes: attributes("FunctionAgent", call.arguments.as_str().into(), shown),
            ..span_of(self.trace, &place.span, &call.name)
        };
        self.tell(shared, ended(span, done.err())).await;
    }

    /// The end of the choice.
    pub async fn end(mut self, shared: &Shared, done: Result<&Map<String, Value>, &Wrong>) {
        if let Ok(message) = done {
            let answer = message.get("content").cloned().unwrap_or_default();
            self.root.attributes.insert("output".to_owned(), answer);
        }
        let root = ended(self.root.clone(), done.err());
        self.tell(shared, root).await;
    }

    async fn tell(&self, shared: &Shared, span: AigneSpan) {
        let (service, id) = (shared.service.clone(), span.id.clone());
        let tenant = &shared.caller.tenant;
        let told = service.keep_span(tenant, (&id, false), move |_| Some(span.clone()));
        if let Err(error) = told.await {
            worker::log::warn(format_args!("record a chat: {error}"));
        }
    }
}

fn span_of(trace: TraceId, span: &SpanId, name: &str) -> AigneSpan {
    AigneSpan {
        id: span.to_string(),
        root_id: trace.to_string(),
        name: name.to_owned(),
        start_time: now_ms(),
        component_id: Some("chat".to_owned()),
        ..AigneSpan::default()
    }
}

fn attributes(tag: &str, input: Value, output: Value) -> Map<String, Value> {
    let named = [("agentTag", tag.into()), ("input", input), ("output", output)];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn ended(mut span: AigneSpan, wrong: Option<&Wrong>) -> AigneSpan {
    span.end_time = now_ms();
    span.status.insert("code".to_owned(), if wrong.is_some() { 2 } else { 1 }.into());
    if let Some(wrong) = wrong {
        span.status.insert("message".to_owned(), wrong.message().into());
    }
    span
}
