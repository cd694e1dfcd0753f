//! Traces as a file: one whole trace on each line, to be taken to another service.

use super::TraceQuery;
use super::view::{TraceRowView, TraceView};
use crate::http::body::{self, Query};
use crate::http::guard::Caller;
use crate::problem::Problem;
use crate::service::{Service, read};
use crate::traces::{Span, SpanKind, preview_of};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::{SpanId, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use store::{ForeignTrace, ModelUse, Page, Scope, TraceContent, TraceFilter, TraceRow};
use utoipa::{IntoParams, ToSchema};

/// Most traces of one file.
const EXPORTED_MAX: usize = 10_000;
/// Traces that are found at once.
const PAGE: usize = 50;
/// Most spans of one trace that is taken in, and how deep they may be.
const SPANS_MAX: u64 = 10_000;
const DEPTH_MAX: usize = 64;
/// Most mistakes that are told of one file.
const MISTAKES_MAX: usize = 100;

/// The type of the file.
const TYPE: &str = "application/x-ndjson";

/// Take traces along
///
/// Those that match the filters of the list, newest first, 10,000 at most: one on each line, with its spans.
#[utoipa::path(get, path = "/v1/traces/export", operation_id = "export_traces", tag = "traces", params(TraceQuery),
    responses((status = 200, description = "A trace on each line", body = TraceView, content_type = "application/x-ndjson"), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn export(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<TraceQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let left = if query.limit.is_some() { page.limit } else { EXPORTED_MAX };
    let scope = caller.scope_of(query.tenant.clone())?;
    let cursor = page.cursor;
    let start = Export {
        service,
        scope,
        filter: query.filter()?,
        cursor: Some(cursor),
        left,
        ready: VecDeque::new(),
    };
    let lines = stream::unfold(start, |mut export| async move {
        let line = export.next().await?;
        Some((Ok::<_, std::io::Error>(line), export))
    });
    let name = "attachment; filename=\"traces.ndjson\"";
    Ok(([(header::CONTENT_TYPE, TYPE), (header::CONTENT_DISPOSITION, name)], Body::from_stream(lines))
        .into_response())
}

struct Export {
    service: Arc<Service>,
    scope: Scope,
    filter: TraceFilter,
    /// Where the next page begins; `None` after the last.
    cursor: Option<Option<store::Cursor>>,
    left: usize,
    ready: VecDeque<TraceRow>,
}

impl Export {
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.left == 0 {
                return None;
            }
            if let Some(row) = self.ready.pop_front() {
                self.left -= 1;
                // Removed between the look and this.
                let scope = Scope::Tenant(row.tenant.clone());
                let Ok((row, tree)) = self.service.whole_trace(scope, row.id).await else { continue };
                let view = TraceView::of(row, tree, &self.service.traces);
                let mut line = serde_json::to_string(&view).ok()?;
                line.push('\n');
                return Some(line);
            }
            let page = Page { limit: PAGE, cursor: self.cursor.take()? };
            let (scope, filter) = (self.scope.clone(), self.filter.clone());
            let listed = read(&self.service.reader, move |reader| reader.traces(&scope, &filter, &page));
            let listed = listed.await.ok()?;
            self.cursor = listed.next.map(Some);
            self.ready.extend(listed.items);
        }
    }
}

/// Where a file comes from.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Whether a program of the caller recorded it, rather than another service
    recorded: bool,
}

/// What was taken in.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ImportedTraces {
    /// How many are new.
    added: u64,
    /// How many were there before: they stay as they are.
    skipped: u64,
    /// Lines that are no traces, 100 at most.
    failed: Vec<BadLine>,
}

/// A line that is no trace.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportMistake)]
pub struct BadLine {
    /// Which, from 1.
    line: usize,
    /// Why.
    error: String,
}

/// Take traces in
///
/// From a file as `GET /v1/traces/export` writes it. They are the caller's own from then on, and marked as imported unless `recorded` says that
/// they were recorded by its own program.
#[utoipa::path(post, path = "/v1/traces/import", operation_id = "import_traces", tag = "traces", params(ImportQuery),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, description = "What was taken in", body = ImportedTraces), (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn import(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Json<ImportedTraces>, Problem> {
    body::media_type(request.headers(), &[TYPE, "application/json"])?;
    let bytes = body::read_all(request.into_body(), &service).await?;
    let mut told = ImportedTraces::default();
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (place, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let (trace, ended) = match trace_of(&caller.tenant, line, service.traces.content) {
            Ok((mut trace, ended)) => {
                trace.row.imported = !query.recorded;
                (trace, ended)
            }
            Err(error) => {
                if told.failed.len() < MISTAKES_MAX {
                    told.failed.push(BadLine { line: place + 1, error });
                }
                continue;
            }
        };
        match service.add_trace(trace, &ended).await? {
            true => told.added += 1,
            false => told.skipped += 1,
        }
    }
    Ok(Json(told))
}

/// Reads a line, which may say anything, as much of it as is to be kept; with the roots that have ended.
fn trace_of(
    tenant: &TenantId,
    line: &[u8],
    content: TraceContent,
) -> Result<(ForeignTrace, Vec<SpanId>), String> {
    if line.len() > store::limits::TRACE_TREE_BYTES_MAX {
        return Err(format!("longer than {} bytes", store::limits::TRACE_TREE_BYTES_MAX));
    }
    let TraceView { row, mut tree } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let count = tree.iter().map(Span::count).sum::<u64>();
    if count > SPANS_MAX || tree.iter().map(depth).max().unwrap_or(0) > DEPTH_MAX {
        return Err(format!("more than {SPANS_MAX} spans, or deeper than {DEPTH_MAX}"));
    }
    let id = row.id.parse().map_err(|_| "the id is not 32 hexadecimal digits".to_owned())?;
    let started_us = us_of(&row.started_at)?;
    let ended_us = row.ended_at.as_deref().map(us_of).transpose()?;
    for span in &mut tree {
        stamp(span)?;
    }
    let used = used(&tree);
    tree.iter_mut().for_each(|span| span.keep(content));
    let ended = tree.iter().filter(|root| root.ended_at.is_some());
    let ended = ended.filter_map(|root| root.id.parse().ok()).collect();
    let text = serde_json::to_string(&tree).map_err(|error| error.to_string())?;
    let mut row = row_of(row, (tenant, id), (started_us, ended_us), count);
    row.content = content;
    if content == TraceContent::Off {
        row.input.clear();
        row.output.clear();
    }
    Ok((ForeignTrace { row, tree: text, used }, ended))
}

fn row_of(
    row: TraceRowView,
    (tenant, id): (&TenantId, model::TraceId),
    (started_us, ended_us): (i64, Option<i64>),
    spans: u64,
) -> TraceRow {
    let finite = |number: &f64| number.is_finite() && *number >= 0.0;
    TraceRow {
        id,
        tenant: tenant.clone(),
        kind: row.kind,
        object: row.of,
        name: row.name,
        outcome: row.outcome,
        language: row.language,
        model: row.model,
        started_us,
        ended_us,
        tokens_in: row.tokens_in,
        tokens_out: row.tokens_out,
        cost_usd: row.cost_usd.filter(finite),
        spans,
        input: preview_of(&row.input_preview),
        output: preview_of(&row.output_preview),
        content: TraceContent::Full,
        imported: true,
        remark: row.remark.map(|remark| preview_of(&remark)),
    }
}

fn us_of(text: &str) -> Result<i64, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("{text:?} is not a time"))?;
    Some(time.as_microsecond()).filter(|us| *us >= 0).ok_or_else(|| format!("{text:?} is before 1970"))
}

/// Requires ids and times that are such.
fn stamp(span: &mut Span) -> Result<(), String> {
    span.id
        .parse::<model::SpanId>()
        .map_err(|_| "the id of a span is not 16 hexadecimal digits".to_owned())?;
    span.start_us = us_of(&span.started_at)?;
    span.end_us = span.ended_at.as_deref().map(us_of).transpose()?;
    span.children.iter_mut().try_for_each(stamp)
}

fn depth(span: &Span) -> usize {
    1 + span.children.iter().map(depth).max().unwrap_or(0)
}

/// What models were asked for, as far as the spans say.
fn used(spans: &[Span]) -> ModelUse {
    let mut all = ModelUse::default();
    for span in spans {
        if span.kind == SpanKind::Client && span.name.starts_with("chat ") {
            all.calls += 1;
            all.failed += u32::from(span.status == crate::traces::SpanStatus::Error);
            all.took_us += span.end_us.map_or(0, |end| (end - span.start_us).max(0));
        }
        let inner = used(&span.children);
        all.calls += inner.calls;
        all.failed += inner.failed;
        all.took_us = all.took_us.saturating_add(inner.took_us);
    }
    all
}
