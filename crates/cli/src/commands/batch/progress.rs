//! The progress bar of a batch; only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Draws on standard error if that is a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar of `total` items, if that is known, of which `done` were done before.
    pub fn new(total: Option<u64>, done: u64, color: bool) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_position(done);
        bar.reset_eta();
        let shape = match (total, color) {
            (Some(_), true) => "{bar:32.cyan} {pos} of {len}, {per_sec}, {msg}, {eta} left",
            (Some(_), false) => "{bar:32} {pos} of {len}, {per_sec}, {msg}, {eta} left",
            (None, _) => "{pos} done, {per_sec}, {msg}",
        };
        bar.set_style(ProgressStyle::with_template(shape).expect("the template is a constant"));
        bar.set_message("0 failures");
        Self(bar)
    }

    /// Shows how far the batch is. Failures are ours and rejected lines, not wrong answers.
    pub fn show(&self, answered: u64, failures: u64) {
        self.0.set_position(answered);
        self.0.set_message(format!("{failures} failures"));
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.0.finish_and_clear();
    }
}
