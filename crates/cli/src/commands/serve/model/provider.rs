//! A provider's model as the service asks it.

mod task;

use crate::commands::secret;
use crate::env;
use agent::{Failed, Mark, ModelError, Provider, Redactor, Row, Secret, Watch, rows};
use model::{Rejection, RunResult, RunSpec};
use serde_json::{Map, Value, json};
use server::models::{Asking, Model, ReviewUse, Reviewed, Unanswered};
use server::settings::ModelSettings;
use server::tasks::{Hands, Question, Worked};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How long those are told to wait who ask too much, where the provider does not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A provider's model, and the one that reviews.
pub struct Provided {
    provider: Provider,
    reviewer: Option<Provider>,
    /// Knows every key that is here.
    redactor: Redactor,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.provider.name())
    }
}

impl Provided {
    /// The models that the settings name, with keys of the environment or of the data directory.
    pub fn of(settings: &ModelSettings, data: &Path) -> anyhow::Result<Self> {
        let kept = secret::read(data)?;
        let (row, model) = of_words("model.name", &settings.name)?;
        let base_url = Some(settings.base_url.as_str()).filter(|url| !url.is_empty());
        let provider = provider_of("model.name", row, model, base_url, &kept)?;
        let reviewer = match settings.reviewer.as_str() {
            "" => None,
            words => {
                let (other, model) = of_words("model.reviewer", words)?;
                // One base URL is one provider's.
                let base_url = base_url.filter(|_| std::ptr::eq(other, row));
                Some(provider_of("model.reviewer", other, model, base_url, &kept)?)
            }
        };
        let redactor = Redactor::new(keys(&kept).into_iter().map(Secret::new));
        Ok(Self { provider, reviewer, redactor })
    }
}

/// Every key of the environment, and those that are kept.
pub fn keys(kept: &BTreeMap<String, String>) -> Vec<String> {
    let variables = rows().iter().flat_map(|row| row.key_variables).filter_map(|name| env::key_in(name));
    variables.chain(kept.values().cloned()).collect()
}

fn of_words(setting: &str, words: &str) -> Result<(&'static Row, Option<String>), Rejection> {
    Row::of_words(words).map_err(|wrong| Rejection::new(setting, wrong.message, wrong.hint))
}

fn provider_of(
    setting: &str,
    row: &'static Row,
    model: Option<String>,
    base_url: Option<&str>,
    kept: &BTreeMap<String, String>,
) -> anyhow::Result<Provider> {
    let base_url = base_url.map(str::to_owned).or_else(|| env::key_in(row.base_url_variable));
    let mut names = row.key_variables.iter();
    let key = names.find_map(|name| env::key_in(name).or_else(|| kept.get(*name).cloned()));
    // A place of one's own may want none.
    if key.is_none() && base_url.is_none() && !row.key_variables.is_empty() {
        let hint =
            format!("set {name}, or keep it with `fireclay secret set {name}`", name = row.key_variables[0]);
        return Err(Rejection::new(setting, format!("there is no key for {}", row.name), hint).into());
    }
    let proxy = env::proxy();
    Ok(Provider::new(row, model, base_url.as_deref(), key.map(Secret::new), proxy.as_deref())
        .map_err(|wrong| Rejection::new("model.base_url", wrong.message, wrong.hint))?)
}

impl Model for Provided {
    fn name(&self) -> String {
        self.provider.name()
    }

    fn review(&self, run: &RunSpec, asking: &Asking) -> Result<Reviewed, Unanswered> {
        let reviewer = self.reviewer.as_ref().unwrap_or(&self.provider);
        let said = watched(asking, |watch| agent::review(reviewer, run, watch)).map_err(unanswered)?;
        Ok(Reviewed { used: Some(used_for(&said)), reasons: said.reasons })
    }

    fn complete(
        &self,
        body: Map<String, Value>,
        asking: &Asking,
        take: &mut dyn FnMut(Value) -> bool,
    ) -> Result<(), Unanswered> {
        watched(asking, |watch| self.provider.pass(body, watch, take)).map_err(refused)
    }

    fn work(&self, question: &Question, hands: &dyn Hands) -> Worked {
        task::work(question, hands, &self.provider, self.reviewer.as_ref(), &self.redactor)
    }

    fn shown(&self, run: &RunResult) -> String {
        agent::of_run(run, &self.redactor, Some(&Mark::new()))
    }

    fn summed_up(&self, run: &RunResult) -> String {
        agent::of_run(run, &self.redactor, None)
    }
}

/// What a review used, as the service records it.
fn used_for(said: &agent::Reviewed) -> ReviewUse {
    ReviewUse {
        model: said.model.clone(),
        input_tokens: said.tokens.input,
        cached_tokens: said.tokens.cached,
        output_tokens: said.tokens.output,
        dollars: said.dollars,
    }
}

fn watched<T>(asking: &Asking, ask: impl FnOnce(&mut Watch<'_>) -> T) -> T {
    let stop = || asking.stop.is_cancelled();
    ask(&mut Watch { stop: &stop, until: asking.until, waits: &mut |_, _| {} })
}

/// What is the asker's to mend is told in the provider's words.
fn refused(failed: Failed) -> Unanswered {
    let (message, code) = match &failed.error {
        ModelError::ContextLength(message) => (message, Some("context_length_exceeded")),
        ModelError::Rejected(message) => (message, None),
        _ => return unanswered(failed.error),
    };
    let (status, body) = failed.answer.map(|answer| *answer).unwrap_or_default();
    let error = match &body["error"] {
        error @ Value::Object(_) => error.clone(),
        _ => json!({"message": message, "type": "invalid_request_error", "code": code}),
    };
    Unanswered::Refused { status, error }
}

fn unanswered(error: ModelError) -> Unanswered {
    match error {
        ModelError::Stopped => Unanswered::Stopped,
        ModelError::RateLimited { message, retry_after, passes: true } => {
            let wait = retry_after.unwrap_or(RETRY_AFTER);
            Unanswered::TooMany { message, retry_after_s: wait.as_secs().max(1) }
        }
        ModelError::KeyRefused(_) | ModelError::RateLimited { .. } => Unanswered::Account(error.to_string()),
        other => Unanswered::Failed(other.to_string()),
    }
}
