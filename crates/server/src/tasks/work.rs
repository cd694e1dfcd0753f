//! What a model and the service do for each other in a task: the model has the loop, the service the sandboxes, the person and the record.

use crate::models::ReviewUse;
use model::{Language, RunResult};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// A question, and what it is to be worked on with.
#[derive(Debug, Clone)]
pub struct Question {
    /// The question.
    pub text: String,
    /// What was said before it, as [`Happened::Said`] had it last.
    pub conversation: Option<String>,
    /// The caller's own instructions, for the whole conversation.
    pub instructions: Option<String>,
    /// The language of code that names none.
    pub language: Language,
    /// Whether a model reads code before it runs.
    pub review: bool,
    /// Whether a person approves each run.
    pub ask: bool,
    /// Whether a whole program is wanted for an answer, and how it is found.
    pub solution: Option<Solving>,
    /// Hosts that code may reach; empty if it has no network.
    pub hosts: Vec<String>,
    /// The files that the session gets before anything runs.
    pub files: Vec<String>,
    /// How much it may use.
    pub budget: Budget,
}

/// How a program is found: the model writes it whole, its imports are tried first, then all of it, each in a fresh sandbox; what failed goes
/// back to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TaskSolving)]
pub struct Solving {
    /// How often it is written at most, 3 if nothing is said.
    #[schema(minimum = 1, maximum = 25)]
    pub max_iterations: u32,
    /// Whether the model writes tests too, which it must pass.
    pub tests: bool,
}

impl Default for Solving {
    fn default() -> Self {
        Self { max_iterations: 3, tests: false }
    }
}

/// A program that was found, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TaskSolution)]
pub struct Solution {
    /// What it does, in words.
    pub prefix: String,
    /// Its imports.
    pub imports: String,
    /// All of it but its imports.
    pub code: String,
    /// Tests that it passes, if they were asked for.
    #[serde(default)]
    pub tests: String,
    /// What it printed.
    pub output: String,
}

/// How much one question may use. Kept outside of the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TaskBudget)]
pub struct Budget {
    /// Answers of the model.
    pub turns: u32,
    /// Tokens, read and written; the turn that goes beyond is the last.
    pub tokens: u64,
    /// Dollars, as far as the price of the model is known.
    pub dollars: f64,
    /// From the question to the answer, in milliseconds, without what a person took to approve runs.
    pub time_ms: u64,
    /// Runs of code.
    pub runs: u32,
}

/// What a question used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TaskUsage)]
pub struct Spent {
    /// Answers of the model.
    pub turns: u32,
    /// Runs of code.
    pub runs: u32,
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens that models wrote.
    pub output_tokens: u64,
    /// Dollars; absent if the price of some request is not known.
    pub dollars: Option<f64>,
}

/// Code that a model wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Its language.
    pub language: Language,
    /// Its text.
    pub code: String,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// Packages that it has besides those of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// What a person says to code that is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Run it.
    Run,
    /// Run this instead.
    Edited(String),
    /// Do not run it, for this reason.
    Refused(String),
}

/// Something that happened. Texts have no key in them.
#[derive(Debug)]
pub enum Happened<'a> {
    /// The model said this on its way.
    Thought(String),
    /// Code is about to run.
    Code(Code),
    /// It, or a file, was read by a model, which used this and has these reasons against it.
    Reviewed(ReviewUse, Vec<String>),
    /// It was refused, for these reasons.
    Denied(Vec<String>),
    /// A file was read or written: what was done, its path, and how many bytes.
    File(&'a str, &'a str, usize),
    /// A request to the provider is sent again after a while, for this reason.
    Waiting(String, Duration),
    /// Something that a person should know.
    Warning(&'a str),
    /// All that was used so far.
    Spent(Spent),
    /// The program is written for this time.
    Pass(u32),
    /// All that was said so far, to go on from: JSON that only the model reads.
    Said(String),
}

/// Why nothing was done.
#[derive(Debug, Clone)]
pub enum NotDone {
    /// It cannot be; the model can do better.
    Refused(String),
    /// There is no sandbox to be had.
    Failed(String),
    /// The task was stopped.
    Stopped,
}

/// What the service does for a model that works. All of it blocks.
pub trait Hands {
    /// Runs code in the task's session.
    fn run(&self, code: &Code, time_left: Duration) -> Result<RunResult, NotDone>;

    /// Runs code in a sandbox that is gone afterwards, with the task's files.
    fn run_fresh(&self, code: &Code, time_left: Duration) -> Result<RunResult, NotDone>;

    /// Reads a file of the task's session.
    fn read_file(&self, path: &str) -> Result<Vec<u8>, NotDone>;

    /// Writes a file of the task's session.
    fn write_file(&self, path: &str, content: &[u8]) -> Result<(), NotDone>;

    /// Has a person say whether code runs; the answer comes when there is one, or nobody wants it any more.
    fn approve(&self, code: &Code) -> Approval;

    /// Records what happened.
    fn happened(&self, what: Happened<'_>);

    /// Waits for a place among those who ask the model, until then at most; it is held as long as what it returns.
    fn enter(&self, until: Instant) -> Box<dyn Any>;

    /// Whether to stop.
    fn stopped(&self) -> bool;
}

/// How work on a question ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// With an answer.
    Answered(String),
    /// A part of the budget was used up first: `turns`, `tokens`, `dollars`, `time` or `runs`.
    Exceeded(&'static str),
    /// There is no answer, and this is why.
    Failed(String),
    /// It was stopped.
    Stopped,
}

/// How work on a question ended, and what it left.
#[derive(Debug, Clone, PartialEq)]
pub struct Worked {
    /// How.
    pub end: End,
    /// The last code that ran or was to run, and what the model was told of it.
    pub last: Option<(Code, String)>,
    /// The program that was found, if one was wanted.
    pub solution: Option<Solution>,
    /// What it used.
    pub spent: Spent,
}
