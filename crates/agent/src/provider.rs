//! Who can be asked, and how: one table; and asking, with patience and another attempt where that may help.

use crate::conversation::{Reply, Request, Sampling, Tokens};
use crate::error::ModelError;
use crate::http::{Exchange, Failed, Waited};
use crate::prices::{self, Price};
use crate::secret::{Redactor, Secret};
use crate::wire::anthropic::Messages;
use crate::wire::chat::ChatCompletions;
use crate::wire::gemini::GenerateContent;
use crate::wire::responses::Responses;
use crate::wire::{Draft, Wire};
use model::Rejection;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// What a service makes of a shape that an answer is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// It holds the model to a JSON Schema.
    Schema,
    /// It holds the model to some JSON object; which, the model is told in words.
    Object,
}

/// One provider.
pub struct Row {
    /// As `--model` says it.
    pub name: &'static str,
    /// What it speaks.
    pub(crate) wire: &'static dyn Wire,
    /// Where it is.
    pub base_url: &'static str,
    /// The variable that says another place.
    pub base_url_variable: &'static str,
    /// Variables that may hold its key, the first that is set; none if it wants no key.
    pub key_variables: &'static [&'static str],
    /// The model that is asked if none is said.
    pub default_model: &'static str,
    pub(crate) shapes: Shapes,
    /// Where it takes chat completions as others wrote them: Anthropic and Gemini do so beside their own formats
    /// (docs.anthropic.com/en/api/openai-sdk, ai.google.dev/gemini-api/docs/openai), with the key as OpenAI has it.
    chat_path: &'static str,
    /// Whether it must be asked to tell the tokens of a stream; others tell them unasked, or refuse a field that they do not know.
    pub(crate) tells_tokens_when_asked: bool,
}

const fn chat(
    name: &'static str,
    base_url: &'static str,
    base_url_variable: &'static str,
    key_variables: &'static [&'static str],
    default_model: &'static str,
) -> Row {
    let (shapes, tells_tokens_when_asked) = (Shapes::Schema, true);
    Row {
        name,
        wire: &ChatCompletions,
        base_url,
        base_url_variable,
        key_variables,
        default_model,
        shapes,
        chat_path: "/chat/completions",
        tells_tokens_when_asked,
    }
}

const OPENAI_KEY: &[&str] = &["OPENAI_API_KEY"];

static ROWS: [Row; 10] = [
    chat("openai", "https://api.openai.com/v1", "OPENAI_BASE_URL", OPENAI_KEY, "gpt-5-mini"),
    Row {
        wire: &Responses,
        ..chat("openai-responses", "https://api.openai.com/v1", "OPENAI_BASE_URL", OPENAI_KEY, "gpt-5-mini")
    },
    Row {
        wire: &Messages,
        chat_path: "/v1/chat/completions",
        ..chat(
            "anthropic",
            "https://api.anthropic.com",
            "ANTHROPIC_BASE_URL",
            &["ANTHROPIC_API_KEY"],
            "claude-sonnet-4-5",
        )
    },
    Row {
        wire: &GenerateContent,
        chat_path: "/v1beta/openai/chat/completions",
        ..chat(
            "gemini",
            "https://generativelanguage.googleapis.com",
            "GEMINI_BASE_URL",
            &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            "gemini-2.5-flash",
        )
    },
    Row {
        shapes: Shapes::Object,
        ..chat(
            "deepseek",
            "https://api.deepseek.com/v1",
            "DEEPSEEK_BASE_URL",
            &["DEEPSEEK_API_KEY"],
            "deepseek-v4-flash",
        )
    },
    Row {
        shapes: Shapes::Object,
        ..chat(
            "groq",
            "https://api.groq.com/openai/v1",
            "GROQ_BASE_URL",
            &["GROQ_API_KEY"],
            "openai/gpt-oss-120b",
        )
    },
    Row {
        tells_tokens_when_asked: false,
        ..chat(
            "mistral",
            "https://api.mistral.ai/v1",
            "MISTRAL_BASE_URL",
            &["MISTRAL_API_KEY"],
            "mistral-medium-latest",
        )
    },
    chat("xai", "https://api.x.ai/v1", "XAI_BASE_URL", &["XAI_API_KEY"], "grok-4"),
    chat(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_BASE_URL",
        &["OPENROUTER_API_KEY", "OPEN_ROUTER_API_KEY"],
        "openai/gpt-5-mini",
    ),
    chat("ollama", "http://127.0.0.1:11434/v1", "OLLAMA_BASE_URL", &[], "qwen3"),
];

/// All providers, in the order in which they are looked for.
pub fn rows() -> &'static [Row] {
    &ROWS
}

impl Row {
    /// Reads `provider`, `provider:model` or `provider/model`.
    pub fn of_words(words: &str) -> Result<(&'static Row, Option<String>), Rejection> {
        let (name, model) = match words.split_once([':', '/']) {
            Some((name, model)) => (name, Some(model.to_owned()).filter(|model| !model.is_empty())),
            None => (words, None),
        };
        let found = ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name));
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        found.map(|row| (row, model)).ok_or_else(|| {
            let hint = format!("use provider[:model] with one of: {}", names.join(", "));
            Rejection::new("--model", format!("there is no provider {name:?}"), hint)
        })
    }
}

/// How often a request is sent at most.
const ATTEMPTS: u32 = 5;
/// The same of a client's own, who may have patience too.
const PASS_ATTEMPTS: u32 = 2;
/// The longest wait that a provider may ask for; it is asked again by whoever wants to wait longer.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The first wait where the provider names none; each one after it is twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(500);

/// A model that can be asked.
#[derive(Clone)]
pub struct Provider {
    row: &'static Row,
    model: String,
    exchange: Exchange,
    key: Option<Secret>,
    redactor: Redactor,
    price: Option<Price>,
}

/// Whom an asking reports to, and who may end it.
pub struct Watch<'a> {
    /// Whether to stop now.
    pub stop: &'a dyn Fn() -> bool,
    /// By when there must be an answer.
    pub until: Instant,
    /// Told of each wait before another attempt.
    pub waits: &'a mut dyn FnMut(&ModelError, Duration),
}

impl Provider {
    /// A model of this provider. `base_url` and `proxy` are where it is and how to get there, if that is not as usual.
    pub fn new(
        row: &'static Row,
        model: Option<String>,
        base_url: Option<&str>,
        key: Option<Secret>,
        proxy: Option<&str>,
    ) -> Result<Self, Rejection> {
        let model = model.unwrap_or_else(|| row.default_model.to_owned());
        let exchange = Exchange::new(base_url.unwrap_or(row.base_url), proxy)?;
        let price = if row.name == "ollama" { Some(Price::NOTHING) } else { prices::of(&model) };
        Ok(Self { row, model, exchange, redactor: Redactor::new(key.clone()), key, price })
    }

    /// `provider:model`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.row.name, self.model)
    }

    /// What its tokens cost, if that is known.
    pub(crate) fn price(&self) -> Option<Price> {
        self.price
    }

    /// Refuses sampling that the provider's format has no word for.
    pub fn takes(&self, sampling: &Sampling) -> Result<(), Rejection> {
        match self.row.wire.lacks(sampling) {
            None => Ok(()),
            Some(name) => {
                let message = format!("{} has no {name}", self.row.name);
                Err(Rejection::new(format!("--{}", name.replace('_', "-")), message, "leave it out"))
            }
        }
    }

    /// Asks, and again where that may help and time is left.
    pub(crate) fn ask(&self, request: &Request<'_>, watch: &mut Watch<'_>) -> Result<Reply, ModelError> {
        patiently(ATTEMPTS, watch, |watch| self.ask_once(request, watch).map_err(Failed::from))
            .map_err(|failed| failed.error)
    }

    /// Sends a request of chat completions as somebody else wrote it, and hands on each event of the answer. A model that it names is this
    /// provider's; else it is this one. Once an event was handed on, nothing is asked again.
    pub fn pass(
        &self,
        mut body: Map<String, Value>,
        watch: &mut Watch<'_>,
        read: &mut dyn FnMut(Value) -> bool,
    ) -> Result<(), Failed> {
        body.entry("model").or_insert_with(|| self.model.as_str().into());
        body.insert("stream".to_owned(), true.into());
        if self.row.tells_tokens_when_asked {
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        let body = Value::Object(body).to_string();
        let headers = ChatCompletions.headers(self.key.as_ref(), &Sampling::default());
        let mut begun = false;
        let passed = patiently(PASS_ATTEMPTS, watch, |watch| {
            let passed = self.exchange.post(self.row.chat_path, &headers, body.clone(), watch, |event| {
                if !event["error"].is_null() {
                    let error = ModelError::of_answer(0, None, &event.to_string());
                    return Err(Failed { error, answer: Some(Box::new((0, event.clone()))), begun });
                }
                begun = true;
                if read(event.clone()) { Ok(()) } else { Err(ModelError::Stopped.into()) }
            });
            passed.map_err(|failed| Failed { begun, ..failed })
        });
        passed.map_err(|failed| {
            let answer = failed.answer.and_then(|answer| {
                let (status, body) = *answer;
                let body = serde_json::from_str(&self.redactor.redact(&body.to_string())).ok()?;
                Some(Box::new((status, body)))
            });
            Failed { error: self.redacted(failed.error), answer, begun }
        })
    }

    fn ask_once(&self, request: &Request<'_>, watch: &Watch<'_>) -> Result<Reply, ModelError> {
        let wire = self.row.wire;
        let body = wire.body(self.row, &self.model, request).to_string();
        let (sent, mut draft) = (body.len(), Draft::default());
        let told = self.exchange.post(
            &wire.path(&self.model),
            &wire.headers(self.key.as_ref(), &request.sampling),
            body,
            watch,
            |event| wire.read(event, &mut draft).map_err(Failed::from),
        );
        told.map_err(|failed| self.redacted(failed.error))?;
        let mut reply = draft.finish()?;
        if reply.tokens.total() == 0 {
            // Who does not count is reckoned with: about four bytes are a token.
            let written =
                reply.text.len() + reply.calls.iter().map(|call| call.arguments.len()).sum::<usize>();
            reply.tokens = Tokens { input: sent as u64 / 4, cached: 0, output: written as u64 / 4 };
        }
        // Where a shape is the call of a tool, the call is the answer.
        if let Some(shape) = request.shape
            && let Some(at) = reply.calls.iter().position(|call| call.name == shape.name)
        {
            reply.text = reply.calls.swap_remove(at).arguments;
            reply.calls.clear();
        }
        Ok(reply)
    }

    /// The error without the key: some services repeat what they were sent.
    fn redacted(&self, error: ModelError) -> ModelError {
        let redact = |text: String| self.redactor.redact(&text);
        match error {
            ModelError::KeyRefused(text) => ModelError::KeyRefused(redact(text)),
            ModelError::ContextLength(text) => ModelError::ContextLength(redact(text)),
            ModelError::Rejected(text) => ModelError::Rejected(redact(text)),
            ModelError::Malformed(text) => ModelError::Malformed(redact(text)),
            ModelError::RateLimited { message, retry_after, passes } => {
                ModelError::RateLimited { message: redact(message), retry_after, passes }
            }
            ModelError::Unavailable { message, retry_after } => {
                ModelError::Unavailable { message: redact(message), retry_after }
            }
            ModelError::Stopped => ModelError::Stopped,
        }
    }
}

/// Asks, and again where that may help and time is left, so often at most.
fn patiently<T>(
    attempts: u32,
    watch: &mut Watch<'_>,
    mut once: impl FnMut(&Watch<'_>) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let mut pause = WAIT_FIRST;
    for attempt in 1.. {
        let failed = match once(watch) {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        let asked = failed
            .error
            .worth_waiting()
            .filter(|wait| attempt < attempts && *wait <= WAIT_MAX && !failed.begun);
        let Some(asked) = asked else { return Err(failed) };
        let wait = asked.max(pause);
        pause = (pause * 2).min(WAIT_MAX);
        if Instant::now() + wait >= watch.until {
            return Err(failed);
        }
        (watch.waits)(&failed.error, wait);
        if !Waited::until(Instant::now() + wait, watch.stop).in_peace() {
            return Err(ModelError::Stopped.into());
        }
    }
    unreachable!("the last attempt returns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_its_provider() {
        let of = |words| Row::of_words(words).map(|(row, model)| (row.name, model));
        assert_eq!(of("openai").unwrap(), ("openai", None));
        assert_eq!(
            of("Anthropic:claude-haiku-4-5").unwrap(),
            ("anthropic", Some("claude-haiku-4-5".to_owned()))
        );
        assert_eq!(of("openrouter/meta/llama-4").unwrap(), ("openrouter", Some("meta/llama-4".to_owned())));
        assert_eq!(of("ollama:qwen3:8b").unwrap(), ("ollama", Some("qwen3:8b".to_owned())));
        assert!(of("gpt-5").unwrap_err().to_string().contains("openai, openai-responses, anthropic"));
    }

    #[test]
    fn default_models_have_a_price_or_cost_nothing() {
        for row in rows().iter().filter(|row| row.name != "ollama") {
            assert!(prices::of(row.default_model).is_some(), "{}", row.default_model);
        }
    }
}
