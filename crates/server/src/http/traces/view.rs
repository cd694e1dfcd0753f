//! Traces as the API tells them.

use crate::traces::summary::{Bucket, Durations, ModelNumbers, Numbers};
use crate::traces::{PREVIEW_CHARS, Span, Traces, time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{TraceContent, TraceKind, TraceRow};
use utoipa::ToSchema;

/// A trace as lists show it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = TraceSummary)]
pub struct TraceRowView {
    /// The trace: 32 hexadecimal digits (W3C Trace Context).
    pub id: String,
    /// What it is of: `run`, `session`, `task` or `batch`.
    #[schema(value_type = String)]
    pub kind: TraceKind,
    /// The id of that; of several the first.
    pub of: String,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// How it ended; of several parts the first that did not complete. Absent while it has not.
    pub outcome: Option<String>,
    /// Its language, if it has one.
    pub language: Option<String>,
    /// The model that worked on it, as `provider:model`.
    pub model: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Tokens that models read.
    pub tokens_in: Option<u64>,
    /// Tokens that models wrote.
    pub tokens_out: Option<u64>,
    /// Dollars, if all prices are known.
    pub cost_usd: Option<f64>,
    /// How many spans it has.
    pub spans: u64,
    /// The beginning of what went in.
    pub input_preview: String,
    /// The beginning of what came out.
    pub output_preview: String,
    /// What a person noted.
    pub remark: Option<String>,
    /// Whether it came from elsewhere.
    pub imported: bool,
}

impl TraceRowView {
    /// As it may be shown.
    pub fn of(row: TraceRow, traces: &Traces) -> Self {
        let shown = row.content.min(traces.content) != TraceContent::Off;
        let preview =
            |text: String| if shown { text.chars().take(PREVIEW_CHARS).collect() } else { String::new() };
        Self {
            id: row.id.to_string(),
            kind: row.kind,
            of: row.object,
            name: row.name,
            tenant: row.tenant.to_string(),
            outcome: row.outcome,
            language: row.language,
            model: row.model,
            started_at: time(row.started_us),
            ended_at: row.ended_us.map(time),
            duration_ms: row.ended_us.map(|end| (end - row.started_us).max(0) as f64 / 1000.0),
            tokens_in: row.tokens_in,
            tokens_out: row.tokens_out,
            cost_usd: row.cost_usd,
            spans: row.spans,
            input_preview: preview(row.input),
            output_preview: preview(row.output),
            remark: row.remark,
            imported: row.imported,
        }
    }
}

/// A trace with its spans.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Trace)]
pub struct TraceView {
    /// What lists show of it.
    #[serde(flatten)]
    pub row: TraceRowView,
    /// Its spans: the roots, each with all that was done for it.
    pub tree: Vec<Span>,
}

impl TraceView {
    /// As it may be shown. One that has ended has as many spans as are here.
    pub fn of(row: TraceRow, tree: Vec<Span>, traces: &Traces) -> Self {
        let mut row = TraceRowView::of(row, traces);
        if !tree.is_empty() {
            row.spans = tree.iter().map(Span::count).sum();
        }
        Self { row, tree }
    }
}

/// A page of traces.
#[derive(Debug, Serialize, ToSchema)]
pub struct TraceList {
    /// Newest first.
    pub items: Vec<TraceRowView>,
    /// Where the next page begins; absent when this is the last.
    pub next: Option<String>,
}

/// How many were removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedTraces {
    /// That many.
    pub removed: u64,
}

/// Traces in numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TraceStatistics)]
pub struct TraceNumbers {
    /// All that began in the time.
    total: u64,
    /// Of these, on their way; sessions that are open are not among them.
    running: u64,
    /// Of these, ended well: completed, answered, closed, idle, expired, settled, cancelled, or without a word about it.
    well: u64,
    /// Of these, by how they ended.
    by_outcome: BTreeMap<String, u64>,
    /// How long those took that ended, sessions left out: they last as long as somebody lets them.
    duration_ms: Durations,
    /// Tokens that models read.
    tokens_in: u64,
    /// Tokens that models wrote.
    tokens_out: u64,
    /// Dollars, as far as prices are known.
    cost_usd: f64,
    /// By model, those that were asked most first.
    models: Vec<ModelNumbers>,
    /// Over time, oldest first.
    buckets: Vec<Bucket>,
    /// The latest that did not end well, ten at most.
    failed_lately: Vec<TraceRowView>,
}

impl TraceNumbers {
    /// With the latest failures.
    pub fn of(numbers: Numbers, failed: Vec<TraceRow>, traces: &Traces) -> Self {
        Self {
            total: numbers.total,
            running: numbers.running,
            well: numbers.well,
            by_outcome: numbers.by_outcome,
            duration_ms: numbers.durations,
            tokens_in: numbers.tokens_in,
            tokens_out: numbers.tokens_out,
            cost_usd: numbers.cost_usd,
            models: numbers.models,
            buckets: numbers.buckets,
            failed_lately: failed.into_iter().map(|row| TraceRowView::of(row, traces)).collect(),
        }
    }
}
