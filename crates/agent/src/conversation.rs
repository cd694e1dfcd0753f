//! What is said to a model and what it answers, in no provider's words.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// One message. What a conversation must not say of itself (instructions) is apart from it: [`Request::system`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Of the person, or of us.
    User(String),
    /// Of the model.
    Assistant {
        /// What it said.
        text: String,
        /// What it asked for.
        calls: Vec<Call>,
    },
    /// What came of the blocks of code of the message before, for a model that calls no tools.
    Printed(String),
    /// What came of the calls of the message before, in their order.
    Results(Vec<CallResult>),
}

/// A tool that the model asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// By which its result is found; made up where the provider gives none.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// JSON, as the model wrote it: it may be broken.
    pub arguments: String,
    /// What the provider wants back with the call, whatever it means.
    pub token: Option<Value>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    /// The call's.
    pub id: String,
    /// The tool's.
    pub name: String,
    /// For the model to read.
    pub text: String,
    /// Whether it went wrong.
    pub failed: bool,
}

/// A tool that a model may ask for.
#[derive(Debug, Clone)]
pub struct Tool {
    /// What it is called: at most 64 letters, digits, `_` and `-`, which every provider takes.
    pub name: Cow<'static, str>,
    /// What it does.
    pub description: Cow<'static, str>,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// What an answer must look like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// JSON Schema: an object whose properties are all required.
    pub schema: Value,
}

/// How the model chooses its words; what is left out is the provider's own.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
}

/// All that a model is asked with.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Instructions.
    pub system: &'a str,
    /// The conversation so far.
    pub messages: &'a [Message],
    /// Tools that it may ask for.
    pub tools: &'a [Tool],
    /// What the answer must look like, if it matters.
    pub shape: Option<&'a Shape>,
    /// How words are chosen.
    pub sampling: Sampling,
}

/// Tokens of a request, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read by the model, those that it had cached too.
    pub input: u64,
    /// Of these, read from the provider's cache.
    pub cached: u64,
    /// Written by the model.
    pub output: u64,
}

impl Tokens {
    /// All that count.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It had said all, or asks for tools.
    Done,
    /// The provider's limit of an answer cut it off.
    Length,
    /// The provider keeps the answer back.
    Refused,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What it said.
    pub text: String,
    /// What it asks for.
    pub calls: Vec<Call>,
    /// What it cost; zero if the provider does not say.
    pub tokens: Tokens,
    /// Why it stopped.
    pub stop: Stop,
}
