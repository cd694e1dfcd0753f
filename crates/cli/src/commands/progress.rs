//! The progress bar of an image or of packages being built; only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use worker::image::{Phase, Progress};

/// Draws on standard error if that is a terminal.
pub struct Bar {
    bar: ProgressBar,
    what: &'static str,
}

impl Bar {
    /// A bar for `what` is being built, which appears with the first progress.
    pub fn new(what: &'static str, color: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let shape = if color {
            "{msg:<28} {bar:32.cyan} {bytes:>10} / {total_bytes}"
        } else {
            "{msg:<28} {bar:32} {bytes:>10} / {total_bytes}"
        };
        bar.set_style(ProgressStyle::with_template(shape).expect("the template is a constant"));
        Self { bar, what }
    }

    /// Shows how far the build is.
    pub fn show(&self, progress: Progress) {
        let phase = match progress.phase {
            Phase::Wait => "waiting for another",
            Phase::Inspect => "looking at this machine",
            Phase::Copy => "copying",
            Phase::Fetch => "fetching",
            Phase::Compile => "compiling",
            Phase::Check => "checking",
            Phase::Store => "storing",
        };
        self.bar.set_message(format!("{}: {phase}", self.what));
        self.bar.set_length(progress.total_bytes);
        self.bar.set_position(progress.done_bytes);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
