//! Tasks: a question that the service's model works on with programs, until it has an answer or a budget ends.
//!
//! The loop is the one of `fireclay agent`, behind [`crate::models::Model::work`]; here are its hands (`hands.rs`), how far each task is
//! (`live.rs`), and its life from question to record (`perform.rs`). Everything that happens is in the store before anybody is told: what a
//! task has come to is read from its events (`attempts.rs`), after a crash too.

mod attempts;
mod hands;
mod live;
mod perform;
mod work;

pub use attempts::{Attempt, Exchange, Story};
pub use live::{Decision, LiveTask, Tasks, Undecided};
pub use perform::{Asked, Beginning};
pub use work::{
    Approval, Budget, Code, End, Hands, Happened, NotDone, Question, Solution, Solving, Spent, Worked,
};

/// Longest question, in bytes.
pub const QUESTION_BYTES_MAX: usize = 256 << 10;
/// Longest instructions, in bytes.
pub const INSTRUCTIONS_BYTES_MAX: usize = 64 << 10;
/// Questions of one task.
pub const QUESTIONS_MAX: u32 = 100;
/// Events of one task: one that has more is ended.
pub const EVENTS_MAX: u64 = 10_000;

// All of them are read at once, with those that end it.
const _: () = assert!(2 * EVENTS_MAX <= store::limits::TASK_EVENTS_MAX as u64);
