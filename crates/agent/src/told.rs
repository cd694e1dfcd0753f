//! What happens in a task, told as it does.

use crate::budget::Spent;
use crate::chat::Chat;
use crate::review::Reviewed;
use crate::workbench::Program;
use model::RunResult;
use std::time::Duration;

/// Something that happened. Texts of models and programs are as they came: whoever shows them makes them harmless first.
#[derive(Debug)]
pub enum Told<'a> {
    /// A pass of `--solution` begins.
    Pass(u32),
    /// The model said this on its way.
    Thought(&'a str),
    /// Code is about to run.
    Code(&'a Program),
    /// It ran.
    Ran(&'a RunResult),
    /// It, or a file, was read by a model before; what that used is in what was used so far, too.
    Reviewed(&'a Reviewed),
    /// It was refused, for these reasons.
    Denied(&'a [String]),
    /// A file was read or written: its path, and how many bytes.
    File(&'a str, &'a str, usize),
    /// A tool of others was called: its name, its arguments in JSON, and what came of it.
    Called(&'a str, &'a str, &'a str),
    /// A request is sent again after a while.
    Waiting(&'a str, Duration),
    /// Something that a person should know.
    Warning(&'a str),
    /// The conversation came to a point that it can go on from, [`Chat::saved`] now or later.
    Said(&'a Chat),
    /// A request was answered; all that was used so far.
    Spent(&'a Spent),
}
