//! One run of a session on its way, as the keeper sees it.

use super::SessionJob;
use super::desk::Program;
use super::streams::{Output, Source};
use super::typing::Typing;
use sandbox::frames::Frames;
use sandbox::judge::Stop;
use std::time::{Duration, Instant};
use sys::process::Ended;

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    pub session: Box<SessionJob>,
    pub place: Place,
    pub phase: Phase,
    pub output: Output,
    /// What goes to its standard input, if that is no file.
    pub typing: Typing,
    /// When the code began; before that, when the run came.
    pub began: Instant,
    /// How long the code ran: until its program ended, or was killed. What follows is ours.
    pub wall: Option<Duration>,
    /// Why the keeper ends it, if it does.
    pub stop: Option<Stop>,
    /// When its interpreter is reminded of an interruption, and how long after the last time that is.
    pub reminder: Option<(Instant, Duration)>,
    /// Whether the scratch file system was found full.
    pub disk_full: bool,
    /// What the job had used and met before this run.
    pub before: Before,
}

/// What is counted from where it stood.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    pub cpu_us: u64,
    pub oom_kills: u64,
    pub process_refusals: u64,
}

/// Where a run is done.
#[derive(Debug)]
pub(super) enum Place {
    /// In its language's interpreter, by this order once that has it.
    State(Option<u32>),
    /// In a process of its own.
    Fresh(Box<Fresh>),
}

/// A program of its own.
#[derive(Debug)]
pub(super) struct Fresh {
    pub job: u32,
    /// Standard output, standard error, result channel.
    pub sources: [Source; 3],
    pub frames: Frames,
    pub program: Program,
    /// How its first process ended, with its processor time in microseconds.
    pub ended: Option<(Ended, u64)>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its interpreter is not ready.
    Waiting,
    /// The code runs.
    Running,
    /// It was interrupted.
    Interrupted {
        /// When it is interrupted again: the first may have come before the code began.
        again: Instant,
        /// When it is killed.
        until: Instant,
    },
    /// It was killed.
    Killed,
}

impl Run {
    pub fn new(session: Box<SessionJob>, place: Place) -> Self {
        let output = Output::new(session.job.spec.limits.output_bytes);
        let (phase, began) = (Phase::Waiting, Instant::now());
        let (typing, before) = (Typing::default(), Before::default());
        Self {
            session,
            place,
            phase,
            output,
            typing,
            began,
            wall: None,
            stop: None,
            reminder: None,
            disk_full: false,
            before,
        }
    }

    /// The code begins now.
    pub fn begin(&mut self, before: Before) {
        self.phase = Phase::Running;
        self.began = Instant::now();
        self.before = before;
    }

    /// The code is at its end, or was killed now.
    pub fn is_over(&mut self) {
        self.wall.get_or_insert(self.began.elapsed());
    }

    /// When something is to be done about it, if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => {
                let end = self.began + Duration::from_millis(self.session.job.spec.limits.timeout_ms);
                Some(self.reminder.map_or(end, |(at, _)| at.min(end)))
            }
            Phase::Interrupted { again, until } => Some(again.min(until)),
            Phase::Waiting | Phase::Killed => None,
        }
    }
}
