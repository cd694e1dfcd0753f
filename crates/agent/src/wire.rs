//! The formats that providers speak: how a request is written and an answer read. Pure: no network here.
//!
//! Every request asks for a stream. What comes is read the same whether it is a stream's event or a whole answer, since some services
//! answer whole although asked for a stream.

pub mod anthropic;
pub mod chat;
pub mod gemini;
pub mod responses;

use crate::conversation::{Call, Message, Reply, Request, Sampling, Stop, Tokens};
use crate::error::ModelError;
use crate::provider::Row;
use crate::secret::Secret;
use serde_json::Value;

/// Most bytes of text, and of each call's arguments, of one answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Most calls of one answer.
const CALLS_MAX: usize = 64;

/// One format.
pub trait Wire: Sync {
    /// Where a request goes, below the base URL.
    fn path(&self, model: &str) -> String;

    /// The headers that prove who asks, and say which version of the format it is.
    fn headers(&self, key: Option<&Secret>, sampling: &Sampling) -> Vec<(&'static str, String)>;

    /// The body of a request.
    fn body(&self, row: &Row, model: &str, request: &Request<'_>) -> Value;

    /// Takes in one event of a stream, or the whole answer.
    fn read(&self, event: &Value, draft: &mut Draft) -> Result<(), ModelError>;

    /// What of this sampling the format has no word for.
    fn lacks(&self, sampling: &Sampling) -> Option<&'static str>;
}

/// An answer that is on its way.
#[derive(Debug, Default)]
pub struct Draft {
    text: String,
    calls: Vec<Call>,
    /// By which number the stream calls each of `calls`.
    numbers: Vec<u64>,
    /// What it cost so far.
    pub tokens: Tokens,
    /// Why it ended, once it has.
    pub stop: Option<Stop>,
}

impl Draft {
    /// More text.
    pub fn say(&mut self, text: &str) -> Result<(), ModelError> {
        self.text.push_str(text);
        bound(self.text.len(), ANSWER_BYTES_MAX)
    }

    /// The call of this number of the stream, which is a new one if there is none.
    pub fn call(&mut self, number: u64) -> Result<&mut Call, ModelError> {
        let at = self.numbers.iter().position(|known| *known == number);
        let at = match at {
            Some(at) => at,
            None => {
                bound(self.calls.len(), CALLS_MAX - 1)?;
                self.calls.push(Call::default());
                self.numbers.push(number);
                self.calls.len() - 1
            }
        };
        bound(self.calls[at].arguments.len(), ANSWER_BYTES_MAX)?;
        Ok(&mut self.calls[at])
    }

    /// The number after the last call's.
    pub fn next_number(&self) -> u64 {
        self.numbers.iter().max().map_or(0, |last| last + 1)
    }

    /// The answer, if it came to its end.
    pub fn finish(self) -> Result<Reply, ModelError> {
        let stop =
            self.stop.ok_or_else(|| ModelError::Malformed("it broke off before its end".to_owned()))?;
        let mut calls = self.calls;
        for (number, call) in calls.iter_mut().enumerate() {
            if call.id.is_empty() {
                call.id = format!("call_{number}");
            }
            if call.arguments.trim().is_empty() {
                call.arguments = "{}".to_owned();
            }
        }
        if calls.iter().any(|call| call.name.is_empty()) {
            return Err(ModelError::Malformed("a call names no tool".to_owned()));
        }
        Ok(Reply { text: self.text, calls, tokens: self.tokens, stop })
    }
}

fn bound(bytes: usize, most: usize) -> Result<(), ModelError> {
    if bytes > most { Err(ModelError::Malformed(format!("it is longer than {most}"))) } else { Ok(()) }
}

/// An error that comes within a stream, after a status that said all is well.
fn in_stream(event: &Value) -> Result<(), ModelError> {
    if event["error"].is_null() { Ok(()) } else { Err(ModelError::of_answer(0, None, &event.to_string())) }
}

/// A count; zero if it is none.
fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// What a call was made with, as a value: what the model wrote, if that is an object.
fn arguments_of(call: &Call) -> Value {
    serde_json::from_str(&call.arguments)
        .ok()
        .filter(Value::is_object)
        .unwrap_or_else(|| Value::Object(Default::default()))
}

/// Puts what was said into a body; nothing for what was not.
fn put_sampling(body: &mut Value, names: [&str; 4], sampling: &Sampling) {
    let said = [sampling.temperature, sampling.top_p, sampling.presence_penalty, sampling.frequency_penalty];
    for (name, value) in names.into_iter().zip(said) {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
}

/// The instructions, and where the format cannot hold an answer to a shape, that in words.
fn system_of(request: &Request<'_>, in_words: bool) -> String {
    match request.shape.filter(|_| in_words) {
        Some(shape) => format!(
            "{}\n\nAnswer with one JSON object and nothing else, of this JSON Schema:\n{}",
            request.system, shape.schema
        ),
        None => request.system.to_owned(),
    }
}

/// Whether a message says nothing, which no format takes.
fn is_empty(message: &Message) -> bool {
    matches!(message, Message::Assistant { text, calls } if text.is_empty() && calls.is_empty())
}

#[cfg(test)]
mod tests;
