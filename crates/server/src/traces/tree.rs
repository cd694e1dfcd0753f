//! The tree of a trace, made when somebody asks: from the records of its parts, and the spans that came with it.

use super::span::{Showing, Span, SpanKind, SpanStatus};
use super::task::{self, told};
use super::{Times, Traces, aigne, run};
use crate::live::Live;
use crate::tasks::EVENTS_MAX;
use model::{RunId, SessionId, TaskId};
use serde_json::json;
use std::collections::BTreeMap;
use store::{
    Filter, Page, Reader, Scope, StoreError, TraceContent, TraceKind, TracePart, TraceRow, WholeTrace,
};

/// Most text of one trace that is shown.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Most runs of a session that its trace names.
const SESSION_RUNS: usize = 100;

/// The spans of a trace, roots first. Blocks.
pub fn spans_of(
    traces: &Traces,
    (reader, live): (&Reader, &Live),
    (row, parts, foreign): WholeTrace,
) -> Result<Vec<Span>, StoreError> {
    let content: TraceContent = row.content.min(traces.content);
    let mut showing =
        Showing { content, bytes_max: traces.bytes_max, left: TEXT_BYTES_MAX, redactor: &traces.redactor };
    let scope = Scope::Tenant(row.tenant.clone());
    let mut roots: Vec<Span> = foreign.map_or(Ok(Vec::new()), |text| foreign_of(&text, content))?;
    let told = reader.told_spans(&row.tenant, row.id)?;
    roots.extend(aigne::tree_of(&told, row.started_us, &mut showing));
    let mut within: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    // Those within others last: their wholes are read first, and go without them when the room for text is used up.
    let (own, inner): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.within.is_none());
    let mut wholes = Vec::new();
    for part in own {
        let span = span_of((reader, live, &scope), &row, &part, &mut showing)?;
        wholes.push((part.object, Span { apart: true, ..span }));
    }
    for part in inner {
        // Nobody is told of its end but with the whole.
        let span = span_of((reader, live, &scope), &row, &part, &mut showing)?;
        within.entry(part.within.unwrap_or_default()).or_default().push(span);
    }
    for (object, mut span) in wholes {
        for inner in within.remove(&object).unwrap_or_default() {
            adopt(&mut span, inner);
        }
        span.dress(row.started_us);
        let asked = span.parent.clone();
        match asked.and_then(|asked| roots.iter_mut().find_map(|root| below(root, &asked))) {
            Some(asker) => asker.children.push(span),
            None => roots.push(span),
        }
    }
    Ok(roots)
}

/// The span of this id, within a span or itself.
fn below<'a>(span: &'a mut Span, id: &str) -> Option<&'a mut Span> {
    if span.id == id {
        return Some(span);
    }
    span.children.iter_mut().find_map(|child| below(child, id))
}

/// Puts a run where it was asked for: below the tool that ran it, or below the whole.
fn adopt(whole: &mut Span, inner: Span) {
    let id = inner.attributes.get("fireclay.run.id").cloned();
    let tool = whole
        .children
        .iter_mut()
        .find(|child| id.is_some() && child.attributes.get("fireclay.run.id") == id.as_ref());
    match tool {
        Some(tool) => tool.children.push(inner),
        None => whole.children.push(inner),
    }
}

/// Spans that came from elsewhere, as they came; without their texts if those are not to be shown any more.
fn foreign_of(text: &str, content: TraceContent) -> Result<Vec<Span>, StoreError> {
    let damaged = |_| StoreError::Damaged { what: "the spans of a trace".to_owned() };
    let mut spans: Vec<Span> = serde_json::from_str(text).map_err(damaged)?;
    spans.iter_mut().for_each(|span| span.keep(content));
    spans.iter_mut().for_each(Span::stamp);
    Ok(spans)
}

fn span_of(
    (reader, live, scope): (&Reader, &Live, &Scope),
    row: &TraceRow,
    part: &TracePart,
    showing: &mut Showing<'_>,
) -> Result<Span, StoreError> {
    let mut root = Span::between(row.name.clone(), part.began_us, part.ended_us);
    root.id = part.span.to_string();
    root.parent = part.parent.map(|span| span.to_string());
    root.kind = SpanKind::Server;
    match part.kind {
        TraceKind::Run => {
            let record = match part.object.parse::<RunId>() {
                Ok(id) => reader.run(scope, &id)?,
                Err(_) => None,
            };
            let so_far: Option<Times> = live.get(&part.object).and_then(|run| run.times());
            Ok(record.map_or(root, |record| run::span_of(part, &record, so_far.as_ref(), showing)))
        }
        TraceKind::Task => task_of((reader, scope), part, root, showing),
        TraceKind::Session => session_of((reader, scope), part, root),
        TraceKind::Batch => {
            let id = part.object.parse().ok();
            let batch = id.map_or(Ok(None), |id| reader.batch(scope, &id))?;
            let root = root.with("fireclay.batch.id", part.object.as_str());
            Ok(match batch {
                Some(batch) => {
                    let root = root
                        .with("fireclay.batch.total", batch.total)
                        .with("fireclay.batch.answered", batch.answered);
                    Span { status: SpanStatus::Ok, ..root }
                }
                None => root,
            })
        }
    }
}

fn task_of(
    (reader, scope): (&Reader, &Scope),
    part: &TracePart,
    root: Span,
    showing: &mut Showing<'_>,
) -> Result<Span, StoreError> {
    let Ok(id) = part.object.parse::<TaskId>() else { return Ok(root) };
    let Some(row) = reader.task(scope, &id)? else { return Ok(root) };
    let most = usize::try_from(2 * EVENTS_MAX).unwrap_or(usize::MAX);
    let events = reader.task_events(scope, &id, 0, most)?.unwrap_or_default();
    let model = row.request["model"].as_str().unwrap_or_default().to_owned();
    let told = told(&model, &events, showing);
    let mut root = task::root(root.with("fireclay.task.id", part.object.as_str()), &model, &told, showing);
    root = match row.state {
        store::TaskState::Answered => Span { status: SpanStatus::Ok, ..root },
        state if state.is_settled() => root.failed_as(showing.words(&told.answer)),
        _ => root,
    };
    root.children = told.spans;
    Ok(root)
}

fn session_of((reader, scope): (&Reader, &Scope), part: &TracePart, root: Span) -> Result<Span, StoreError> {
    let Ok(id) = part.object.parse::<SessionId>() else { return Ok(root) };
    let mut root = root.with("fireclay.session.id", part.object.as_str());
    let times: Option<Times> = part.measured.as_deref().and_then(|text| serde_json::from_str(text).ok());
    root.children = times.map(|times| run::phases(part, &times)).unwrap_or_default();
    if let Some(end) = reader.session(scope, &id)?.and_then(|session| session.end) {
        root = root.with("fireclay.session.why", end.why).with("fireclay.session.detail", end.detail);
        root.status = SpanStatus::Ok;
    }
    let filter = Filter { session: Some(id.to_string()), ..Filter::default() };
    let runs = reader.runs(scope, &filter, &Page { limit: SESSION_RUNS, cursor: None })?;
    for run in runs.items.into_iter().rev() {
        let (start, end) =
            (run.created_at_ms.saturating_mul(1000), run.settled_at_ms.map(|ms| ms.saturating_mul(1000)));
        // A run of a session is a trace of its own: here it is but named.
        let link = reader.trace_of(run.id.as_str())?.map(|own| own.trace.to_string());
        let mut span = Span::between(format!("{} run", run.language), start, end)
            .with("fireclay.run.id", run.id.as_str())
            .with("fireclay.trace.id", link);
        span = match run.fate {
            Some(store::Fate::Outcome(model::Outcome::Completed)) => Span { status: SpanStatus::Ok, ..span },
            Some(store::Fate::Outcome(outcome)) => span.failed(outcome.name()),
            Some(store::Fate::Fault(code)) => span.failed(json!(code).as_str().unwrap_or("fault")),
            None => span,
        };
        root.children.push(span);
    }
    Ok(root)
}
