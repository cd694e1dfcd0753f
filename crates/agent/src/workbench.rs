//! The one way in which a task touches anything: a sandbox that somebody else has.

use model::{Language, RunResult};
use std::time::Duration;

/// Code to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// Its language.
    pub language: Language,
    /// Its text.
    pub code: String,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// Packages that it has, such as `pandas>=2`, besides those that its imports name.
    pub packages: Vec<String>,
}

/// Why nothing ran.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BenchError {
    /// It was asked for something that cannot be done; whoever asked can do better.
    #[error("{0}")]
    Refused(String),
    /// There is no sandbox to be had.
    #[error("{0}")]
    Failed(String),
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

/// Sandboxes: one that stays for the conversation, and fresh ones.
pub trait Workbench {
    /// Runs code in the sandbox that stays: state and files of earlier runs are there.
    /// It ends when `time_left` has passed, if its own limit does not end it before.
    fn run(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError>;

    /// Runs code in a sandbox that is gone afterwards; else as [`Workbench::run`].
    fn run_fresh(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError>;

    /// Reads a file of the sandbox that stays.
    fn read_file(&mut self, path: &str) -> Result<Vec<u8>, BenchError>;

    /// Writes a file of the sandbox that stays.
    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<(), BenchError>;
}
