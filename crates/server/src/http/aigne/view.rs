//! Traces as AIGNE's pages read them: a list, numbers, a tree, one span.

use super::{Wrong, mistake, not_found};
use crate::http::body::Query;
use crate::http::guard::Caller;
use crate::service::{Service, read};
use crate::traces::aigne::{AigneSpan, in_their_words};
use crate::traces::summary::WELL;
use crate::traces::{Span, Traces};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::TraceId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use store::{Page, Scope, TraceContent, TraceFilter, TraceRow};

/// Most rows of a page.
const PAGE_MAX: u64 = 200;
/// Numbers that JavaScript can count with (ECMAScript, `Number.MAX_SAFE_INTEGER`).
const SAFE_MAX: u64 = (1 << 53) - 1;

/// What a list is asked for. Values that are no numbers count as none, as there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListQuery {
    page: Option<String>,
    page_size: Option<String>,
    search_text: String,
    component_id: String,
    start_date: String,
    end_date: String,
    show_imported_only: String,
}

/// A day of the calendar, or a moment: the beginning and the end of the day that it is on, microseconds since 1970.
fn day_of(text: &str) -> Option<(i64, i64)> {
    let date = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment.to_zoned(jiff::tz::TimeZone::UTC).date(),
        Err(_) => text.get(..10)?.parse::<jiff::civil::Date>().ok()?,
    };
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    Some((start, start.saturating_add(86_400_000_000)))
}

pub async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Response, Wrong> {
    let number = |said: &Option<String>, least: u64, usual: u64| {
        let said = said.as_deref().and_then(|text| text.parse::<u64>().ok());
        said.filter(|number| *number >= least).unwrap_or(usual)
    };
    let (page, size) = (number(&query.page, 0, 0), number(&query.page_size, 1, 10));
    let skip = page.checked_mul(size).filter(|skip| *skip <= SAFE_MAX);
    let Some(skip) = skip else {
        return Err(mistake(StatusCode::BAD_REQUEST, "Page number too large, would cause overflow"));
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let days = day_of(&query.start_date).zip(day_of(&query.end_date));
    let filter = TraceFilter {
        text: some(query.search_text),
        since_us: days.map(|days| days.0.0),
        until_us: days.map(|days| days.1.1),
        imported: (query.show_imported_only == "true").then_some(true),
        ..TraceFilter::default()
    };
    let (component, scope) = (some(query.component_id), caller.scope());
    let limit = usize::try_from(size.min(PAGE_MAX)).unwrap_or(usize::MAX);
    let found = read(&service.reader, move |reader| {
        reader.traces_by_number(&scope, (&filter, component.as_deref()), (skip, limit))
    });
    let (total, rows) = found.await?;
    let data: Vec<Value> = rows.into_iter().map(|(row, root)| row_of(row, root, &service.traces)).collect();
    Ok(axum::Json(json!({"total": total, "page": page, "pageSize": size, "data": data})).into_response())
}

/// A row of a list. `root` is what a program told of it.
fn row_of(row: TraceRow, root: Option<String>, traces: &Traces) -> Value {
    let root = root.and_then(|text| serde_json::from_str::<AigneSpan>(&text).ok());
    let shown = row.content.min(traces.content) != TraceContent::Off;
    let preview = |text: &str| if shown { text.to_owned() } else { String::new() };
    let own = TraceId::to_string(&row.id);
    let status = match row.outcome.as_deref() {
        None => json!({"code": 0}),
        Some(outcome) if WELL.contains(&outcome) => json!({"code": 1}),
        Some(outcome) => json!({"code": 2, "message": outcome}),
    };
    let metadata = match &root {
        Some(root) => root.attributes.get("metadata").cloned().unwrap_or_default(),
        None => {
            json!({"kind": row.kind, "of": row.object, "outcome": row.outcome, "language": row.language, "model": row.model})
        }
    };
    let text = |part: fn(&AigneSpan) -> &Option<String>| root.as_ref().and_then(|root| part(root).clone());
    json!({
        "id": root.as_ref().map_or(own.clone(), |root| root.id.clone()),
        "rootId": root.as_ref().map_or(own, |root| root.root_id.clone()),
        "parentId": text(|root| &root.parent_id),
        "name": row.name,
        "startTime": row.started_us / 1000,
        "endTime": row.ended_us.map_or(0, |us| us / 1000),
        "status": root.as_ref().filter(|root| !root.status.is_empty()).map_or(status, |root| Value::Object(root.status.clone())),
        "attributes": {"input": preview(&row.input), "output": preview(&row.output), "metadata": metadata},
        "userId": text(|root| &root.user_id),
        "componentId": text(|root| &root.component_id),
        "token": row.tokens_in.unwrap_or(0) + row.tokens_out.unwrap_or(0),
        "cost": row.cost_usd.unwrap_or(0.0),
        "remark": row.remark,
    })
}

pub async fn summary(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Wrong> {
    let scope = caller.scope();
    let digests =
        read(&service.reader, move |reader| reader.trace_digests(&scope, &TraceFilter::default())).await?;
    let took: Vec<i64> = digests.iter().filter_map(|digest| digest.took_us).map(|us| us / 1000).collect();
    let well = |outcome: &Option<String>| outcome.as_deref().is_some_and(|outcome| WELL.contains(&outcome));
    let success = digests.iter().filter(|digest| well(&digest.outcome)).count();
    let ended = || digests.iter().filter(|digest| digest.took_us.is_some());
    let total: i64 = took.iter().sum();
    let calls = |part: fn(&store::TraceDigest) -> u64| digests.iter().map(part).sum::<u64>();
    Ok(axum::Json(json!({
        "totalCount": digests.len(), "successCount": success, "failCount": digests.len() - success,
        "totalToken": ended().map(|digest| digest.tokens_in + digest.tokens_out).sum::<u64>(),
        "totalCost": ended().map(|digest| digest.cost_usd).sum::<f64>(),
        "maxLatency": took.iter().max().unwrap_or(&0), "minLatency": took.iter().min().unwrap_or(&0),
        "avgLatency": if took.is_empty() { 0.0 } else { total as f64 / took.len() as f64 },
        "totalDuration": total,
        "llmSuccessCount": calls(|digest| digest.calls) - calls(|digest| digest.calls_failed),
        "llmTotalCount": calls(|digest| digest.calls), "llmTotalDuration": calls(|digest| digest.calls_us) / 1000,
    }))
    .into_response())
}

pub async fn components(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Wrong> {
    let scope = caller.scope();
    let found = read(&service.reader, move |reader| reader.told_components(&scope)).await?;
    Ok(axum::Json(json!({"total": found.len(), "data": found})).into_response())
}

/// Whether the newest trace is another than when this was asked before.
pub async fn stats(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Wrong> {
    let scope = caller.scope();
    let newest = read(&service.reader, move |reader| {
        reader.traces(&scope, &TraceFilter::default(), &Page { limit: 1, cursor: None })
    });
    let newest = newest.await?.items.into_iter().next().map(|row| (row.id, row.ended_us));
    let mut all = service.traces.remembered.all();
    let before = &mut all.entry(caller.tenant).or_default().1;
    let changed = newest.is_some() && *before != newest;
    *before = newest;
    drop(all);
    Ok(axum::Json(json!({"code": 0, "data": {"lastTraceChanged": changed}})).into_response())
}

/// All spans of the trace that a name is of, the root first; and the place of the one that is named.
pub async fn spans_of(
    service: &Arc<Service>,
    scope: Scope,
    id: &str,
) -> Result<(Vec<AigneSpan>, usize, TraceRow), Wrong> {
    let (wanted, own) = (id.to_owned(), scope.clone());
    let told = read(&service.reader, move |reader| reader.told_span(&own, &wanted)).await?;
    let trace = match &told {
        Some((trace, _)) => *trace,
        None => id.split('-').next().and_then(|id| id.parse().ok()).ok_or_else(|| not_found(id))?,
    };
    let (row, tree) = service.whole_trace(scope, trace).await.map_err(|_| not_found(id))?;
    let spans = match told {
        Some(_) => {
            let (tenant, trace) = (row.tenant.clone(), row.id);
            let texts = read(&service.reader, move |reader| reader.told_spans(&tenant, trace)).await?;
            texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
        }
        None => ours(&row, tree),
    };
    let place = spans.iter().position(|span: &AigneSpan| span.id == id).ok_or_else(|| not_found(id))?;
    Ok((spans, place, row))
}

/// A trace of ours in their words. Several roots get one.
fn ours(row: &TraceRow, mut tree: Vec<Span>) -> Vec<AigneSpan> {
    let root = match tree.len() {
        1 => tree.remove(0),
        _ => {
            let mut root = Span::between(row.name.clone(), row.started_us, row.ended_us);
            root.dress(row.started_us);
            root.children = tree;
            root
        }
    };
    let (root, below) = in_their_words(&row.id.to_string(), None, &root);
    std::iter::once(root).chain(below).collect()
}

/// A span as a tree has it: without its texts.
fn slim(span: &AigneSpan) -> Map<String, Value> {
    let used = span.used.clone().unwrap_or_default();
    let attribute = |name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    let slim = json!({
        "id": span.id, "rootId": span.root_id, "parentId": span.parent_id, "name": span.name,
        "startTime": span.start_time, "endTime": span.end_time, "status": span.status,
        "userId": span.user_id, "sessionId": span.session_id, "componentId": span.component_id,
        "token": span.token.unwrap_or(0), "cost": span.cost.unwrap_or(0.0), "children": [],
        "attributes": {
            "output": {"usage": used.usage, "model": used.model, "seconds": used.seconds},
            "agentTag": attribute("agentTag"), "metadata": attribute("metadata"), "taskTitle": attribute("taskTitle"),
        },
    });
    slim.as_object().cloned().unwrap_or_default()
}

/// Tokens and dollars of a span: its own, or those of all below it.
type Sum = (u64, f64);

fn nested(
    spans: &[AigneSpan],
    below: &HashMap<&str, Vec<usize>>,
    (at, depth): (usize, usize),
) -> (Value, Sum) {
    let mut own = slim(&spans[at]);
    let (mut children, mut sum) = (Vec::new(), (0, 0.0));
    if depth < 100 {
        for child in below.get(spans[at].id.as_str()).into_iter().flatten() {
            let (child, inner) = nested(spans, below, (*child, depth + 1));
            sum = (sum.0 + inner.0, sum.1 + inner.1);
            children.push(child);
        }
    }
    let sum = match (spans[at].token, spans[at].cost) {
        (None, None) => sum,
        (token, cost) => (token.unwrap_or(0), cost.unwrap_or(0.0)),
    };
    own.insert("token".to_owned(), sum.0.into());
    own.insert("cost".to_owned(), sum.1.into());
    own.insert("children".to_owned(), children.into());
    (Value::Object(own), sum)
}

pub async fn tree(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let (spans, place, _) = spans_of(&service, caller.scope(), &id).await?;
    let mut below: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        if let Some(parent) = span.parent_id.as_deref().filter(|parent| *parent != span.id) {
            below.entry(parent).or_default().push(at);
        }
    }
    let (tree, _) = nested(&spans, &below, (place, 0));
    Ok(axum::Json(json!({ "data": tree })).into_response())
}

/// A span with all that is known of it, as a row of AIGNE's table.
pub fn full(span: &AigneSpan, row: &TraceRow) -> Value {
    let mut span = span.clone();
    span.used = None;
    span.token.get_or_insert(0);
    span.cost.get_or_insert(0.0);
    let mut full = serde_json::to_value(&span).unwrap_or_default();
    full["remark"] = if span.parent_id.is_none() { json!(row.remark) } else { Value::Null };
    full["isImport"] = i32::from(row.imported).into();
    full
}

pub async fn child(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let (spans, place, row) = spans_of(&service, caller.scope(), &id).await?;
    let mut span = spans[place].clone();
    if row.content.min(service.traces.content) == TraceContent::Off {
        for name in ["input", "output", "userContext", "memories"] {
            span.attributes.remove(name);
        }
    }
    Ok(axum::Json(json!({ "data": full(&span, &row) })).into_response())
}
