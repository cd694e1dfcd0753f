//! How the service has traces begin and end: of runs by way of their settlement, of all else by writes of its own.

use super::aigne::{AigneSpan, span_id_of};
use super::span::Showing;
use super::timeline::{fresh_ids, now_us};
use super::{Change, Redactor, Span, SpanStatus, Timeline, Traces, run, task, tree};
use crate::problem::Problem;
use crate::service::{Service, read};
use model::{RunResult, SpanId, TaskId, TenantId, TraceId, TraceParent};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{
    ForeignTrace, NewTrace, Scope, StoreError, TaskEvent, TaskState, TraceContent, TraceEnd, TraceKind,
    TraceRow,
};

/// What begins a trace, besides a run.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// Which kind.
    pub kind: TraceKind,
    /// The id of the session, task or batch.
    pub object: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// What went in.
    pub input: &'a str,
    /// Who works on it.
    pub model: Option<&'a str>,
    /// Where whoever asks stands.
    pub parent: Option<TraceParent>,
    /// What was done for it before; it begins now if absent.
    pub before: Option<&'a Timeline>,
}

impl Traces {
    /// How a run's part of a trace ends now, with this result.
    pub fn end_of(&self, timeline: &Timeline, result: &RunResult) -> TraceEnd {
        timeline.over(self.preview(&run::gist(result)))
    }
}

impl Service {
    /// Begins a trace, or goes on with it. That it could not be recorded is said in the log and holds up nothing.
    pub async fn begin_trace(&self, tenant: &TenantId, beginning: Beginning<'_>) {
        if !self.traces.enabled {
            return;
        }
        let Ok((trace, span)) = fresh_ids() else { return };
        let measured = beginning.before.and_then(|before| serde_json::to_string(before.times()).ok());
        let new = NewTrace {
            id: beginning.parent.map_or(trace, |parent| parent.trace),
            span,
            parent: beginning.parent.map(|parent| parent.span),
            began_us: beginning.before.map_or_else(now_us, |before| before.bounds_us().0),
            name: beginning.name.chars().take(super::PREVIEW_CHARS).collect(),
            input: self.traces.preview(beginning.input),
            language: None,
            model: beginning.model.map(str::to_owned),
            content: self.traces.content,
            within: None,
            measured,
        };
        let object = beginning.object;
        if let Err(error) = self.store.begin_trace(tenant, beginning.kind, object, new).await {
            worker::log::warn(format_args!("{object}: begin its trace: {error}"));
        }
        self.tell_of(tenant, object, false).await;
    }

    /// Ends the part of a trace that an object is.
    pub async fn end_trace(&self, tenant: &TenantId, object: &str, outcome: &str, end: TraceEnd) {
        if !self.traces.enabled {
            return;
        }
        if let Err(error) = self.store.end_trace(object, outcome, end).await {
            worker::log::warn(format_args!("{object}: end its trace: {error}"));
        }
        self.tell_of(tenant, object, true).await;
    }

    async fn tell_of(&self, tenant: &TenantId, object: &str, ended: bool) {
        if let Some(own) = self.trace_of(object).await {
            let change = if ended { Change::Ended(own.span) } else { Change::Told };
            self.traces.notices.tell(tenant, own.trace, change);
        }
    }

    /// Where an object stands in its trace, if it has one.
    pub async fn trace_of(&self, object: &str) -> Option<TraceParent> {
        let wanted = object.to_owned();
        read(&self.reader, move |reader| reader.trace_of(&wanted)).await.ok().flatten()
    }

    /// Ends the trace of a task whose question is settled.
    pub async fn end_task_trace(&self, tenant: &TenantId, id: &TaskId, state: TaskState) {
        if !self.traces.enabled {
            return;
        }
        let scope = Scope::Tenant(tenant.clone());
        let Ok(events) = self.task_events(scope, id, 0, store::limits::TASK_EVENTS_MAX).await else { return };
        let mut showing =
            Showing { content: TraceContent::Off, bytes_max: 0, left: 0, redactor: &self.traces.redactor };
        let told = task::told("", &events, &mut showing);
        let spans = told.spans.iter().map(Span::count).sum::<u64>();
        let end = TraceEnd {
            at_us: now_us(),
            output: self.traces.preview(&told.answer),
            spans: u32::try_from(1 + spans).unwrap_or(u32::MAX),
            measured: None,
            used: Some(told.used),
        };
        let outcome = serde_json::to_value(state).ok();
        let outcome = outcome.as_ref().and_then(|word| word.as_str()).unwrap_or("failed");
        self.end_trace(tenant, id.as_str(), outcome, end).await;
    }

    /// Ends the trace of something that has no more to tell than how it ended.
    pub async fn end_plain_trace(&self, tenant: &TenantId, object: &str, outcome: &str) {
        let end = TraceEnd { at_us: now_us(), spans: 1, ..TraceEnd::default() };
        self.end_trace(tenant, object, outcome, end).await;
    }

    /// A whole trace of the scope.
    pub async fn whole_trace(
        self: &Arc<Self>,
        scope: Scope,
        id: TraceId,
    ) -> Result<(TraceRow, Vec<Span>), Problem> {
        let service = self.clone();
        read(&self.reader, move |reader| {
            let Some(whole) = reader.trace(&scope, id)? else { return Ok(None) };
            let row = whole.0.clone();
            let spans = tree::spans_of(&service.traces, (reader, &service.live), whole)?;
            Ok(Some((row, spans)))
        })
        .await?
        .ok_or_else(|| Problem::not_found("trace", &id.to_string()))
    }

    /// Keeps a span that a program tells, or more of one: `change` makes it of what was told before. Returns whether there was anything to keep.
    pub async fn keep_span(
        self: &Arc<Self>,
        tenant: &TenantId,
        (id, imported): (&str, bool),
        change: impl Fn(Option<&str>) -> Option<AigneSpan> + Send + 'static,
    ) -> Result<bool, StoreError> {
        let (service, ended) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let is_news = ended.clone();
        let told = self.store.tell_span(tenant, id, move |before| {
            let traces = &service.traces;
            let price = traces.price;
            let span = change(before)?.kept(traces, &price);
            let known = before.and_then(|text| serde_json::from_str::<AigneSpan>(text).ok());
            is_news.store(span.is_over() && known.as_ref() != Some(&span), Ordering::Relaxed);
            Some(span.told(traces.content, imported))
        });
        let Some(trace) = told.await? else { return Ok(false) };
        let is_sent = ended.load(Ordering::Relaxed) && !imported;
        let change = if is_sent { Change::Ended(span_id_of(id)) } else { Change::Told };
        self.traces.notices.tell(tenant, trace, change);
        Ok(true)
    }

    /// Takes in a trace that came from elsewhere, with the roots of it that have ended. Returns whether it is new. One that a program of the caller
    /// recorded is told of as what ended here is.
    pub async fn add_trace(&self, trace: ForeignTrace, roots: &[SpanId]) -> Result<bool, Problem> {
        let (tenant, id, imported) = (trace.row.tenant.clone(), trace.row.id, trace.row.imported);
        let added = self.store.add_trace(trace).await?;
        if added && (imported || roots.is_empty()) {
            self.traces.notices.tell(&tenant, id, Change::Told);
        } else if added {
            roots.iter().for_each(|root| self.traces.notices.tell(&tenant, id, Change::Ended(*root)));
        }
        Ok(added)
    }
}

/// What a run leaves that no service ran: its part of a trace, and how that ended, which is now, with so much of its content.
pub fn alone(
    code: &str,
    result: &RunResult,
    timeline: &Timeline,
    content: TraceContent,
) -> (NewTrace, TraceEnd) {
    let redactor = Redactor::default();
    let preview = |text: &str| {
        if content == TraceContent::Off {
            return String::new();
        }
        let head: String = text.trim_start().chars().take(8 * super::PREVIEW_CHARS).collect();
        super::preview_of(&redactor.redact(&head))
    };
    let new = timeline.begun_with(result.language, content, preview(code));
    (new, timeline.over(preview(&run::gist(result))))
}

/// A task that no service worked on, as one line of a file of traces, with so much of its content; `None` without events or random bytes.
pub fn told_elsewhere(
    model: &str,
    events: &[TaskEvent],
    outcome: &str,
    content: TraceContent,
) -> Option<Value> {
    let (id, span) = fresh_ids().ok()?;
    let redactor = Redactor::default();
    let (bytes_max, left) = (64 << 10, 4 << 20);
    let mut showing = Showing { content, bytes_max, left, redactor: &redactor };
    let preview =
        |text: &str| if content == TraceContent::Off { String::new() } else { super::preview_of(text) };
    let told = task::told(model, events, &mut showing);
    let start_us = events.first()?.at_ms.saturating_mul(1000);
    let end_us = events.last()?.at_ms.saturating_mul(1000);
    let root = Span::between("agent task", start_us, Some(end_us));
    let mut root = task::root(root, model, &told, &mut showing);
    root.id = span.to_string();
    root.status = if outcome == "answered" { SpanStatus::Ok } else { SpanStatus::Error };
    root.children = told.spans;
    root.dress(start_us);
    Some(json!({
        "id": id, "kind": "task", "of": "agent", "name": "agent task", "tenant": TenantId::local(), "outcome": outcome,
        "language": null, "model": model, "started_at": root.started_at, "ended_at": root.ended_at,
        "duration_ms": root.duration_ms, "tokens_in": told.used.tokens_in, "tokens_out": told.used.tokens_out,
        "cost_usd": told.used.cost_usd, "spans": root.count(), "input_preview": preview(&told.questions),
        "output_preview": preview(&told.answer), "remark": null, "imported": false, "tree": [root],
    }))
}
