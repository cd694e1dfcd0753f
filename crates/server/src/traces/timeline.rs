//! When what happened to a run: the times that its record lacks, gathered on its way.

use super::{Origin, Traces};
use crate::models::ReviewUse;
use crate::service::now_ms;
use model::{Language, SpanId, TraceId, TraceParent};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use store::{NewTrace, TraceContent, TraceEnd};
use worker::phases::{Before, Measured};

/// What installing packages is called in a trace.
pub const PACKAGE_BUILD: &str = "package build";

/// Most attempts to reach a host whose times are kept.
const EGRESS_MAX: usize = 1_000;

/// What is recorded of it: offsets from its beginning, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Name, start and length of each phase.
    pub spans: Vec<(String, i64, i64)>,
    /// When each attempt to reach a host was over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<i64>,
    /// What the review used, if a model was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewUse>,
}

/// The times of one run.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Its trace, and its own span.
    pub own: TraceParent,
    parent: Option<SpanId>,
    within: Option<String>,
    began: Instant,
    began_us: i64,
    /// Up to when all is told.
    told: i64,
    started: Option<i64>,
    times: Times,
}

/// Ids that nobody had before.
pub fn fresh_ids() -> std::io::Result<(TraceId, SpanId)> {
    let span = sys::fs::random()?.first_chunk().copied().unwrap_or([1; 8]);
    Ok((TraceId::from_random(sys::fs::random()?), SpanId::from_random(span)))
}

impl Timeline {
    /// Begins now; `None` if nothing is to be recorded.
    pub fn begin(traces: &Traces, origin: Origin) -> Option<Self> {
        if !traces.enabled {
            return None;
        }
        let alone = Self::alone()?;
        Some(match origin {
            Origin::Caller(Some(said)) => {
                let own = TraceParent { trace: said.trace, ..alone.own };
                Self { own, parent: Some(said.span), ..alone }
            }
            Origin::Caller(None) => alone,
            Origin::Within(whole) => Self { within: Some(whole), ..alone },
        })
    }

    /// Begins now, for what belongs to nothing else. Without random bytes there is no trace: `None`; a run itself will say so.
    pub fn alone() -> Option<Self> {
        let (trace, span) = fresh_ids().ok()?;
        Some(Self {
            own: TraceParent { trace, span },
            parent: None,
            within: None,
            began: Instant::now(),
            began_us: now_us(),
            told: 0,
            started: None,
            times: Times::default(),
        })
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// Says what was done since the last word.
    pub fn mark(&mut self, name: &str) {
        let now = self.now();
        self.span(name, self.told, now);
        self.told = now;
    }

    /// Says that it was reviewed since the last word, and what that used.
    pub fn reviewed(&mut self, used: Option<ReviewUse>) {
        self.mark("review");
        self.times.review = used;
    }

    fn span(&mut self, name: &str, start: i64, end: i64) {
        self.times.spans.push((name.to_owned(), start, (end - start).max(0)));
    }

    /// It has a place.
    pub fn started(&mut self) {
        self.started.get_or_insert(self.began.elapsed().as_micros() as i64);
    }

    /// An attempt to reach a host is over.
    pub fn tried(&mut self) {
        if self.times.egress.len() < EGRESS_MAX {
            let now = self.now();
            self.times.egress.push(now);
        }
    }

    /// What was measured of it, here or on another node, whose clock is not ours: it ends now.
    pub fn measured(&mut self, measured: Measured) {
        let us = |part: Option<u64>| part.and_then(|us| i64::try_from(us).ok()).unwrap_or(0);
        let Measured { before, lease, fork, guest, collect, .. } = measured;
        let started = match before {
            Some(_) => self.now() - us(fork) - us(guest) - us(collect),
            None => self.started.unwrap_or_else(|| self.now()),
        };
        let Before { install, compile } = before.unwrap_or_default();
        let waited = started - us(lease) - us(compile) - us(install);
        self.span("queue", self.told, waited.max(self.told));
        self.told = waited.max(self.told);
        self.follow(&[(PACKAGE_BUILD, install), ("compile", compile), ("lease", lease)]);
        self.told = started.max(self.told);
        self.ran(measured);
    }

    /// What was measured of its sandbox, from the last word on.
    pub fn ran(&mut self, measured: Measured) {
        let Measured { fork, guest, collect, .. } = measured;
        self.follow(&[("fork", fork), ("execution", guest), ("artifacts", collect)]);
    }

    /// One after the other, from the last word on.
    fn follow(&mut self, spans: &[(&str, Option<u64>)]) {
        for (name, took) in spans {
            if let Some(took) = took {
                let until = self.told.saturating_add(i64::try_from(*took).unwrap_or(0));
                self.span(name, self.told, until);
                self.told = until;
            }
        }
    }

    /// When it began and, if it ends now, ended: microseconds since 1970.
    pub fn bounds_us(&self) -> (i64, i64) {
        (self.began_us, self.began_us.saturating_add(self.now()))
    }

    /// All times so far.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// How many spans they make, its own among them.
    pub fn spans(&self) -> u32 {
        u32::try_from(1 + self.times.spans.len() + self.times.egress.len()).unwrap_or(u32::MAX)
    }

    /// What the store records of its beginning.
    pub fn begun(&self, traces: &Traces, language: Language, code: &str) -> NewTrace {
        self.begun_with(language, traces.content, traces.preview(code))
    }

    /// Likewise, with so much of its content, and this to be seen of it in lists.
    pub fn begun_with(&self, language: Language, content: TraceContent, input: String) -> NewTrace {
        NewTrace {
            id: self.own.trace,
            span: self.own.span,
            parent: self.parent,
            began_us: self.began_us,
            name: format!("{language} run"),
            input,
            language: Some(language),
            model: None,
            content,
            within: self.within.clone(),
            measured: None,
        }
    }

    /// What the store records of its end, which is now, with this to be seen of it in lists.
    pub fn over(&self, output: String) -> TraceEnd {
        TraceEnd {
            at_us: self.bounds_us().1,
            output,
            spans: self.spans(),
            measured: serde_json::to_string(&self.times).ok(),
            used: None,
        }
    }

    /// Whether it has a row of its own in lists.
    pub fn is_listed(&self) -> bool {
        self.within.is_none()
    }
}

/// Now, in microseconds since 1970.
pub fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or_else(|_| now_ms().saturating_mul(1000))
}
