//! The progress bar of an image being built; only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use worker::image::{Phase, Progress};

/// Draws on standard error if that is a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that appears with the first progress.
    pub fn new(color: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let shape = if color {
            "{msg:<28} {bar:32.cyan} {bytes:>10} / {total_bytes}"
        } else {
            "{msg:<28} {bar:32} {bytes:>10} / {total_bytes}"
        };
        bar.set_style(ProgressStyle::with_template(shape).expect("the template is a constant"));
        Self(bar)
    }

    /// Shows how far the build is.
    pub fn show(&self, progress: Progress) {
        let phase = match progress.phase {
            Phase::Wait => "image: waiting for another",
            Phase::Inspect => "image: looking at this machine",
            Phase::Copy => "image: copying",
            Phase::Compile => "image: compiling",
            Phase::Check => "image: checking",
            Phase::Store => "image: storing",
        };
        self.0.set_message(phase);
        self.0.set_length(progress.total_bytes);
        self.0.set_position(progress.done_bytes);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.0.finish_and_clear();
    }
}
