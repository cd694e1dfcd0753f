//! The language model of the service: whom it may be asked through, how many ask at once, and what was asked before.
//!
//! This crate speaks to no provider: whoever starts the service brings a [`Model`], or says why there is none. Its calls block and are made
//! in threads of their own, which the end of the process does not wait for.

use crate::problem::{Kind, Problem};
use crate::service::internal;
use crate::settings::ModelSettings;
use crate::tasks::{Hands, Question, Worked};
use model::{Rejection, RunResult, RunSpec, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// How long a review may take.
const REVIEW: Duration = Duration::from_secs(120);
/// Verdicts that are remembered.
const VERDICTS_MAX: usize = 10_000;

/// A language model that can be asked. Its calls block until it has answered, the time is over, or nobody wants the answer any more.
pub trait Model: Send + Sync + fmt::Debug {
    /// `provider:model`.
    fn name(&self) -> String;

    /// Has it read a run before it is one. What it cannot read it has something against.
    fn review(&self, run: &RunSpec, asking: &Asking) -> Result<Reviewed, Unanswered>;

    /// Sends a request of chat completions and hands on each event of the answer, until `take` says that nobody wants more.
    fn complete(
        &self,
        body: Map<String, Value>,
        asking: &Asking,
        take: &mut dyn FnMut(Value) -> bool,
    ) -> Result<(), Unanswered>;

    /// Works on a question with these hands until it has an answer, or there will be none.
    fn work(&self, question: &Question, hands: &dyn Hands) -> Worked;

    /// A run as a model may see it: bounded, escaped, without a key, and labelled with a mark that no program can know.
    fn shown(&self, run: &RunResult) -> String;

    /// The same for people: without the mark.
    fn summed_up(&self, run: &RunResult) -> String;
}

/// What a review said, and what it used.
#[derive(Debug, Clone, PartialEq)]
pub struct Reviewed {
    /// The reasons against the run, bounded; none if it is safe.
    pub reasons: Vec<String>,
    /// What was used for it; nothing if it was known.
    pub used: Option<ReviewUse>,
}

/// What a review used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewUse {
    /// Who was asked, as `provider:model`.
    pub model: String,
    /// Tokens that were read.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
    /// Dollars, if the price is known.
    pub dollars: Option<f64>,
}

/// Until when an answer is wanted.
#[derive(Debug, Clone)]
pub struct Asking {
    /// By then there must be one.
    pub until: Instant,
    /// Fires when nobody wants it any more.
    pub stop: CancellationToken,
}

/// Why there is no answer. What it says is the provider's words at most, and never a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Unanswered {
    /// The request is one that the provider does not take.
    Refused {
        /// Its status.
        status: u16,
        /// Its error, as OpenAI has them: `message`, `type`, `param`, `code`.
        error: Value,
    },
    /// Too much was asked for in too short a time.
    TooMany {
        /// What the provider says.
        message: String,
        /// How long it asks to wait, in seconds.
        retry_after_s: u64,
    },
    /// The service's own account or key is at fault: for its operator, not for those who ask.
    Account(String),
    /// It cannot be reached, failed, or answered with something that is no answer.
    Failed(String),
    /// The time is over, or nobody wants the answer any more.
    Stopped,
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Refused { error, .. } => {
                let detail =
                    format!("the provider of the service's model refuses the request: {}", error["message"]);
                Self::new(Kind::InvalidRequest, detail, "ask for something else")
            }
            Unanswered::TooMany { message, retry_after_s } => {
                Self::too_many(format!("the service's model takes no more now: {message}"), retry_after_s)
            }
            Unanswered::Account(message) => {
                worker::log::warn(format_args!("the provider of the service's model: {message}"));
                let hint = "ask whoever runs this service: its log says more";
                Self::new(
                    Kind::Unavailable,
                    "the service's model cannot be asked: its account or key is refused",
                    hint,
                )
                .retry_safe(false)
            }
            Unanswered::Failed(message) => Self::new(
                Kind::Unavailable,
                format!("the service's model does not answer: {message}"),
                "send it again",
            )
            .retry_safe(true),
            Unanswered::Stopped => {
                Self::new(Kind::Unavailable, "the service's model did not answer in time", "send it again")
                    .retry_safe(true)
            }
        }
    }
}

/// Why a service has no model, and what gives it one.
#[derive(Debug, Clone)]
pub struct NoModel {
    /// What is missing.
    pub why: String,
    /// What to do.
    pub hint: String,
}

/// The model of a service, and those who ask it.
#[derive(Debug)]
pub struct Models {
    model: Result<Arc<dyn Model>, NoModel>,
    places: Arc<Semaphore>,
    own_places: usize,
    tenants: Mutex<BTreeMap<TenantId, Arc<Semaphore>>>,
    verdicts: Mutex<Verdicts>,
}

/// A place among those who ask; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

/// What reviews said, the oldest forgotten first.
#[derive(Debug, Default)]
struct Verdicts {
    known: BTreeMap<[u8; 32], Vec<String>>,
    order: VecDeque<[u8; 32]>,
}

impl Models {
    /// A model that so many may ask as the settings say.
    pub fn new(model: Result<Arc<dyn Model>, NoModel>, settings: &ModelSettings) -> Self {
        Self {
            model,
            places: Arc::new(Semaphore::new(settings.concurrency)),
            own_places: settings.tenant_concurrency,
            tenants: Mutex::default(),
            verdicts: Mutex::default(),
        }
    }

    /// The model; without one a problem that says how to get it. `field` is what asks for it.
    pub fn model(&self, field: &str) -> Result<Arc<dyn Model>, Problem> {
        self.model.clone().map_err(|NoModel { why, hint }| Problem::from(Rejection::new(field, why, hint)))
    }

    /// Waits for a place among those who ask: first among the tenant's own, so that nobody takes the places of others.
    pub async fn enter(&self, tenant: &TenantId) -> Result<Place, Problem> {
        let own = self
            .tenants()
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.own_places)))
            .clone();
        let gone = |error: tokio::sync::AcquireError| internal(error.to_string());
        let own = own.acquire_owned().await.map_err(gone)?;
        let all = self.places.clone().acquire_owned().await.map_err(gone)?;
        Ok(Place { _all: all, _own: own })
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeMap<TenantId, Arc<Semaphore>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the review of a run says. `digest` stands for the run and its tenant: what was
    /// reviewed before is not again.
    pub async fn review(
        &self,
        tenant: &TenantId,
        run: &RunSpec,
        digest: [u8; 32],
    ) -> Result<Reviewed, Problem> {
        let model = self.model("review")?;
        if let Some(known) = self.verdicts().known.get(&digest) {
            return Ok(Reviewed { reasons: known.clone(), used: None });
        }
        let place = self.enter(tenant).await?;
        let stop = CancellationToken::new();
        // Whoever does not wait for the verdict any more ends the asking.
        let _leaving = stop.clone().drop_guard();
        let asking = Asking { until: Instant::now() + REVIEW, stop };
        let run = run.clone();
        let reviewed = in_thread(move || {
            let reviewed = model.review(&run, &asking);
            drop(place);
            reviewed
        });
        let reviewed = reviewed.await??;
        self.verdicts().remember(digest, reviewed.reasons.clone());
        Ok(reviewed)
    }
}

impl Verdicts {
    fn remember(&mut self, digest: [u8; 32], reasons: Vec<String>) {
        if self.known.insert(digest, reasons).is_none() {
            self.order.push_back(digest);
        }
        if self.order.len() > VERDICTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// Does something in a thread of its own: tokio's would be waited for when the service ends.
pub async fn in_thread<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let (sender, done) = oneshot::channel();
    let started = std::thread::Builder::new().name("model".to_owned()).spawn(move || {
        // Nobody may be waiting any more.
        drop(sender.send(act()));
    });
    started.map_err(|error| Problem::from(Unanswered::Failed(format!("start a thread: {error}"))))?;
    done.await.map_err(|_| internal("the thread that asks the model has ended".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_verdicts_are_forgotten() {
        let mut verdicts = Verdicts::default();
        for number in 0..=VERDICTS_MAX as u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            verdicts.remember(digest, Vec::new());
            verdicts.remember(digest, Vec::new());
        }
        assert_eq!((verdicts.known.len(), verdicts.order.len()), (VERDICTS_MAX, VERDICTS_MAX));
        assert!(!verdicts.known.contains_key(&[0; 32]));
    }
}
