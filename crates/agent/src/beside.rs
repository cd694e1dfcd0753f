//! What stands beside a task: texts that belong to its questions, and tools that others have.

use crate::conversation::Tool;
use crate::workbench::BenchError;
use std::cell::Cell;
use std::time::{Duration, Instant};

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
    until: Instant,
    stop: &'a dyn Fn() -> bool,
    excused: Cell<Duration>,
}

impl<'a> Patience<'a> {
    /// Until then, or until it is stopped.
    pub fn new(until: Instant, stop: &'a dyn Fn() -> bool) -> Self {
        Self { until, stop, excused: Cell::default() }
    }

    /// When the time of the task is up.
    pub fn until(&self) -> Instant {
        self.until + self.excused.get()
    }

    /// Whether to stop.
    pub fn is_stopped(&self) -> bool {
        (self.stop)()
    }

    /// A person took so long: that is not the task's time.
    pub fn excuse(&self, took: Duration) {
        self.excused.set(self.excused.get() + took);
    }

    /// All that was excused.
    pub(crate) fn excused(&self) -> Duration {
        self.excused.get()
    }

    /// Whether a call should be given up.
    pub fn is_over(&self) -> bool {
        self.is_stopped() || Instant::now() >= self.until()
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
