//! Runs: admitted, started, settled, found again, deleted.

pub(crate) mod read;
pub(crate) mod write;

use crate::{Cursor, Idempotency, NewArtifact, NewTrace, RunEvent, StoreError, TraceEnd};
use model::result::RunState;
use model::{BatchId, FaultCode, Language, Outcome, RunId, RunResult, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A run as it is admitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Made by the caller, of random bytes.
    pub id: RunId,
    /// Who owns it.
    pub tenant: TenantId,
    /// When it was admitted, milliseconds since 1970.
    pub created_at_ms: i64,
    /// Its language.
    pub language: Language,
    /// The request as JSON text, kept unchanged. At most [`crate::limits::REQUEST_BYTES_MAX`].
    pub request: String,
    /// The caller's labels. All are kept; a filter finds those within [`crate::limits::LABEL_BYTES_MAX`], the first
    /// [`crate::limits::LABELS_MAX`] of them.
    pub metadata: BTreeMap<String, String>,
    /// The session it runs in.
    pub session: Option<String>,
    /// The batch it belongs to, and the place there of the item that it is a run of, from 0.
    pub batch: Option<(BatchId, u32)>,
    /// What it is of a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<NewTrace>,
    /// Claims a key in the same transaction.
    #[serde(skip)]
    pub idempotency: Option<Idempotency>,
}

/// What admission answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The run is in the store.
    Admitted,
    /// The same request was admitted before, under this id; nothing was written. That run may have been deleted since.
    Replayed(RunId),
}

/// How a run ended, and what came of it.
#[derive(Debug)]
pub struct Settlement {
    /// When, milliseconds since 1970.
    pub settled_at_ms: i64,
    /// The result, with exactly one of outcome and fault.
    pub result: RunResult,
    /// What was told while it ran, in order of `seq`.
    pub events: Vec<RunEvent>,
    /// The files it left; paths differ.
    pub artifacts: Vec<NewArtifact>,
    /// A batch's judgement of it, such as `wrong_answer`.
    pub verdict: Option<String>,
    /// How its part of a trace ended, if that is known better than by the rest.
    pub trace: Option<TraceEnd>,
}

/// What ended a settled run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The code's.
    Outcome(Outcome),
    /// Ours.
    Fault(FaultCode),
}

/// A run without its request, result and events: what lists show.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// This run.
    pub id: RunId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Where it is.
    pub state: RunState,
    /// When it was admitted, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it entered a sandbox.
    pub started_at_ms: Option<i64>,
    /// When it was settled.
    pub settled_at_ms: Option<i64>,
    /// Its language.
    pub language: Language,
    /// What ended it; present exactly when it is settled.
    pub fate: Option<Fate>,
    /// The session it ran in.
    pub session: Option<String>,
    /// The batch it belongs to, and its place there.
    pub batch: Option<(BatchId, u32)>,
    /// The batch's judgement.
    pub verdict: Option<String>,
    /// The caller's labels.
    pub metadata: BTreeMap<String, String>,
    /// From the start of the code to its end; 0 until settled.
    pub wall_ms: u64,
    /// Processor time; 0 until settled.
    pub cpu_ms: u64,
    /// The most memory it had at once; 0 until settled.
    pub memory_peak_bytes: u64,
}

/// A run with its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// What lists show of it.
    pub row: RunRow,
    /// The request as it was admitted, JSON text.
    pub request: String,
    /// The result as it was settled, JSON text of [`RunResult`], byte for byte.
    pub result: Option<String>,
}

impl RunRecord {
    /// The result as a value.
    pub fn parsed(&self) -> Result<Option<RunResult>, StoreError> {
        let parse = |text: &String| {
            serde_json::from_str(text)
                .map_err(|_| StoreError::Damaged { what: format!("the result of {}", self.row.id) })
        };
        self.result.as_ref().map(parse).transpose()
    }
}

/// Which runs of a scope are listed: those that match all that is said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// In this state.
    pub state: Option<RunState>,
    /// With this end.
    pub fate: Option<FateFilter>,
    /// In this language.
    pub language: Option<Language>,
    /// With all these labels. At most [`crate::limits::FILTER_LABELS_MAX`].
    pub metadata: BTreeMap<String, String>,
    /// Admitted at this time or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Admitted before this time.
    pub until_ms: Option<i64>,
    /// Of this batch.
    pub batch: Option<BatchId>,
    /// Of this session.
    pub session: Option<String>,
    /// With this text in the request or the result's JSON, ASCII case ignored. Looks at no more than
    /// [`crate::limits::TEXT_SCAN_MAX`] runs for one page, which then may be short, even empty, and have a next one.
    pub text: Option<String>,
}

/// Which ends a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FateFilter {
    /// This outcome.
    Outcome(Outcome),
    /// This fault.
    Fault(FaultCode),
    /// Any fault.
    AnyFault,
}

impl RunRow {
    /// This run's place in lists, newest first.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { number: self.created_at_ms, word: self.id.as_str().to_owned() }
    }
}
