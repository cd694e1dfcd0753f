//! Traces: what ran, for how long, at what cost. A row for each trace, and its parts: the runs, sessions, tasks and batches that it is made of.
//!
//! What a part did is told by its own record; here is only what that lacks. So a trace costs a run two short rows in the transaction that
//! settles it, and nothing is kept twice.

mod read;
mod summary;
mod told;
pub(crate) mod write;

use crate::StoreError;
use model::{Language, SpanId, TenantId, TraceId};
use serde::{Deserialize, Serialize};

pub use read::WholeTrace;
pub use summary::TraceDigest;
pub use told::{ToldPage, ToldSpan};

/// What a trace is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceKind {
    /// One run.
    Run,
    /// A session.
    Session,
    /// A question that a model works on.
    Task,
    /// Many runs.
    Batch,
}

/// How much of what went in and came out may be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceContent {
    /// Nothing.
    Off,
    /// The beginnings.
    Preview,
    /// All, within a bound.
    #[default]
    Full,
}

/// The part that an object is of a trace; the first begins the trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTrace {
    /// The trace.
    pub id: TraceId,
    /// The object's own span.
    pub span: SpanId,
    /// The span that it was asked for from.
    pub parent: Option<SpanId>,
    /// When it began, microseconds since 1970.
    pub began_us: i64,
    /// What lists call it. Cut at [`crate::limits::TRACE_TEXT_BYTES_MAX`], as [`Self::input`] is.
    pub name: String,
    /// The beginning of what went in.
    pub input: String,
    /// Its language.
    pub language: Option<Language>,
    /// The model that works on it.
    pub model: Option<String>,
    /// How much may be shown.
    pub content: TraceContent,
    /// The object that it is a part of: it joins that one's trace, whatever [`Self::id`] says, and none if that has none.
    pub within: Option<String>,
    /// Times of what was done before it was recorded, as [`TraceEnd::measured`], which takes their place.
    #[serde(default)]
    pub measured: Option<String>,
}

/// How a part ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceEnd {
    /// When, microseconds since 1970.
    pub at_us: i64,
    /// The beginning of what came out.
    pub output: String,
    /// How many spans it has.
    pub spans: u32,
    /// Times that its record lacks, JSON text of at most [`crate::limits::TRACE_MEASURED_BYTES_MAX`].
    pub measured: Option<String>,
    /// What models used for it.
    pub used: Option<ModelUse>,
}

/// What models used for a part of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelUse {
    /// Requests.
    pub calls: u32,
    /// Of these, failed.
    pub failed: u32,
    /// How long they took together, microseconds.
    pub took_us: i64,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Dollars, if all prices are known.
    pub cost_usd: Option<f64>,
}

/// A trace as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceRow {
    /// The trace.
    pub id: TraceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What began it.
    pub kind: TraceKind,
    /// The id of that.
    pub object: String,
    /// What it is called.
    pub name: String,
    /// How it ended: of several parts the first that did not complete. `None` while one is on its way.
    pub outcome: Option<String>,
    /// Its language.
    pub language: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// When it began, microseconds since 1970.
    pub started_us: i64,
    /// When it ended.
    pub ended_us: Option<i64>,
    /// Tokens read.
    pub tokens_in: Option<u64>,
    /// Tokens written.
    pub tokens_out: Option<u64>,
    /// Dollars.
    pub cost_usd: Option<f64>,
    /// How many spans it has.
    pub spans: u64,
    /// The beginning of what went in.
    pub input: String,
    /// The beginning of what came out.
    pub output: String,
    /// How much may be shown.
    pub content: TraceContent,
    /// Whether it came from elsewhere.
    pub imported: bool,
    /// What a person noted.
    pub remark: Option<String>,
}

/// One part of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TracePart {
    /// What it is: the id of a run, a session, a task or a batch.
    pub object: String,
    /// Which of these.
    pub kind: TraceKind,
    /// Its span.
    pub span: SpanId,
    /// The span that it was asked for from.
    pub parent: Option<SpanId>,
    /// The object that it belongs to.
    pub within: Option<String>,
    /// When it began, microseconds since 1970.
    pub began_us: i64,
    /// When it ended.
    pub ended_us: Option<i64>,
    /// As [`TraceEnd::measured`].
    pub measured: Option<String>,
}

/// A trace that came from elsewhere, or was not made of records.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignTrace {
    /// What lists show of it.
    pub row: TraceRow,
    /// Its spans, JSON text of at most [`crate::limits::TRACE_TREE_BYTES_MAX`].
    pub tree: String,
    /// What models used for it.
    pub used: ModelUse,
}

/// Which traces of a scope are meant: those that match all that is said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TraceFilter {
    /// That this run, session, task or batch is a part of.
    pub of: Option<String>,
    /// The trace that an object of this id is a part of, if there is one in the scope; else those
    /// with this text in name, ids, remark or previews, ASCII case ignored. Looks at no more than [`crate::limits::TEXT_SCAN_MAX`] for one
    /// page, which then may be short, even empty, and have a next one.
    pub text: Option<String>,
    /// Ended so; `running` for those that have not.
    pub outcome: Option<String>,
    /// In this language.
    pub language: Option<String>,
    /// By this model.
    pub model: Option<String>,
    /// Of this kind.
    pub kind: Option<TraceKind>,
    /// Begun at this time or later, microseconds since 1970.
    pub since_us: Option<i64>,
    /// Begun before this time.
    pub until_us: Option<i64>,
    /// That took at least so long, microseconds.
    pub min_us: Option<i64>,
    /// That took at most so long.
    pub max_us: Option<i64>,
    /// That cost at least so many dollars.
    pub min_cost: Option<f64>,
    /// That cost at most so many.
    pub max_cost: Option<f64>,
    /// From elsewhere, or not.
    pub imported: Option<bool>,
}

impl TraceFilter {
    /// Whether it leaves nothing out.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Fails unless the text is a word of [`TraceKind`] or [`TraceContent`] that we wrote.
fn known<T: serde::de::DeserializeOwned>(word: String) -> Result<T, StoreError> {
    crate::columns::from_word(word, "a trace")
}
