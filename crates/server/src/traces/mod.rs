//! Traces: what each run, session, task and batch did, when, and at what cost.
//!
//! Only what records lack is recorded: a row, and the times of a run's phases (`timeline.rs`), in the transaction that settles the run. The tree of
//! spans is made when somebody asks, from the records of what the trace is made of (`tree.rs`, `run.rs`, `task.rs`). Who follows is told by
//! `notices.rs`, and reads the store. docs/design/0023-traces.md says why.

pub mod aigne;
mod notices;
pub mod otlp;
mod record;
mod redact;
mod run;
mod span;
pub mod summary;
mod task;
mod timeline;
mod tree;

pub use aigne::AigneSpan;
pub use notices::{Change, Notice, Notices};
pub use record::{Beginning, alone, told_elsewhere};
pub use redact::Redactor;
pub use span::{Payload, Span, SpanEvent, SpanKind, SpanStatus, time};
pub use timeline::{PACKAGE_BUILD, Timeline, Times, fresh_ids};

use crate::http::aigne::Remembered;
use crate::settings::TraceSettings;
use model::TraceParent;
use otlp::{Collector, Sent, Tls};
use std::sync::{Arc, OnceLock};
use store::TraceContent;
use tokio_util::sync::CancellationToken;

/// Characters of a preview.
pub const PREVIEW_CHARS: usize = 150;

/// Where a run's trace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From whoever asks, if it said one; else it is new.
    Caller(Option<TraceParent>),
    /// It is a part of what this object is a part of: a task, a batch.
    Within(String),
}

impl Default for Origin {
    fn default() -> Self {
        Self::Caller(None)
    }
}

/// What the service does about traces.
#[derive(Debug)]
pub struct Traces {
    /// Whether there are any.
    pub enabled: bool,
    /// How much of what goes in and comes out is shown.
    pub content: TraceContent,
    /// The most of one text that is shown, in bytes.
    pub bytes_max: usize,
    /// Who is told that something changed.
    pub notices: Notices,
    /// Takes secrets out of texts.
    pub redactor: Redactor,
    /// Where ended ones are sent.
    pub collector: Option<Collector>,
    /// How many were.
    pub sent: Sent,
    /// What tokens of a model cost, read and written, in dollars, if that is known.
    pub price: fn(&str, u64, u64) -> Option<f64>,
    /// What AIGNE's clients had us remember.
    pub remembered: Remembered,
    ending: OnceLock<CancellationToken>,
}

impl Traces {
    /// As the settings say. `headers` and `tls` are for the collector, as [`Collector::new`] takes them; they and `secrets` are in no trace. Fails with words
    /// for whoever wrote the settings.
    pub fn new(
        settings: &TraceSettings,
        (headers, tls): (&str, Option<Arc<dyn Tls>>),
        mut secrets: Vec<String>,
    ) -> Result<Self, String> {
        let collector = match settings.otlp.endpoint.as_str() {
            "" => None,
            endpoint => {
                let collector = Collector::new(endpoint, headers, tls);
                Some(collector.map_err(|why| format!("traces.otlp: {why}"))?)
            }
        };
        secrets.extend(collector.iter().flat_map(Collector::secrets));
        Ok(Self {
            enabled: settings.enabled,
            content: settings.content,
            bytes_max: usize::try_from(settings.bytes_max).unwrap_or(usize::MAX),
            notices: Notices::default(),
            redactor: Redactor::new(secrets),
            collector,
            sent: Sent::default(),
            price: |_, _, _| None,
            remembered: Remembered::default(),
            ending: OnceLock::new(),
        })
    }

    /// Says what fires when those who follow are to be sent away.
    pub fn end_with(&self, ending: CancellationToken) {
        // Only here: there is one router.
        drop(self.ending.set(ending));
    }

    /// Fires when those who follow are to be sent away; never if nobody said.
    pub fn ending(&self) -> CancellationToken {
        self.ending.get().cloned().unwrap_or_default()
    }

    /// The beginning of a text, for lists; nothing if content is not to be shown.
    pub fn preview(&self, text: &str) -> String {
        if self.content == TraceContent::Off {
            return String::new();
        }
        // More than is shown, so that a secret that the cut would split is found whole.
        let head: String = text.trim_start().chars().take(8 * PREVIEW_CHARS).collect();
        preview_of(&self.redactor.redact(&head))
    }
}

/// The first characters of a text, on one line.
pub fn preview_of(text: &str) -> String {
    let flat = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    flat.take(PREVIEW_CHARS).collect::<String>().trim_end().to_owned()
}
