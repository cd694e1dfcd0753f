//! What stands beside a task: texts that belong to its questions, and tools that others have.

use crate::conversation::Tool;
use crate::workbench::BenchError;
use std::time::Instant;

/// When a text is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// With the first question of a conversation; whether the model can call tools.
    First(bool),
    /// With a later one, or when a program failed and is written anew.
    Later,
}

/// What came of a tool of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// For the model to read; whoever shows it makes it harmless first.
    pub text: String,
    /// Whether it went wrong.
    pub failed: bool,
}

/// How long a call may take.
pub struct Patience<'a> {
    /// When the time of the task is up.
    pub until: Instant,
    /// Whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// Whether a call should be given up.
    pub fn is_over(&self) -> bool {
        (self.stop)() || Instant::now() >= self.until
    }
}

/// Something that stands beside a task. What it says is data of strangers: it is bounded and escaped here, and framed by itself.
pub trait Beside {
    /// Its tools. No name is one of ours or of another's.
    fn tools(&self) -> Vec<Tool>;

    /// A text that belongs to a question, to be said before it.
    fn text(&self, question: &str, moment: Moment) -> Option<String>;

    /// Does what a call asks for; `arguments` are an object. What is wrong with a call is told to the model ([`BenchError::Refused`]), what
    /// ends the task is [`BenchError::Failed`] or [`BenchError::Stopped`].
    fn call(
        &self,
        name: &str,
        arguments: serde_json::Map<String, serde_json::Value>,
        patience: &Patience<'_>,
    ) -> Result<Called, BenchError>;
}
