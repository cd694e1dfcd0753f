//! What a session's keeper does with runs while somebody types to them.

use super::keeper::Keeper;
use super::run::{Phase, Place};
use super::{NUMBERED, TOOK, number_of, numbered};
use model::Fault;
use std::time::{Duration, Instant};

/// After how long an interpreter is reminded of an interruption; each time after twice as long.
const REMIND: Duration = Duration::from_millis(20);
/// When it has been long enough.
const REMIND_MAX: Duration = Duration::from_secs(10);

impl Keeper {
    /// Bytes for a run's standard input. What nobody will read any more is let go, and counts as taken.
    pub fn typed(&mut self, packet: &[u8]) {
        if self.type_to_process(packet) {
            return;
        }
        let Some(number) = number_of(packet) else { return };
        let bytes = packet.get(NUMBERED..).unwrap_or_default();
        if let Some(run) = self.runs.get_mut(&number) {
            let gone = run.typing.take(bytes);
            let took = gone + run.typing.feed();
            self.took(number, took);
        }
    }

    /// Nothing more comes for a run's standard input.
    pub fn no_more(&mut self, number: u32) {
        self.no_more_to_process(number);
        if let Some(run) = self.runs.get_mut(&number) {
            run.typing.end();
            run.typing.close();
        }
    }

    /// There is room in a run's standard input.
    pub fn feed(&mut self, number: u32) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        let took = run.typing.feed();
        // Who cannot type does not wait for room.
        if run.session.how.is_interactive() {
            self.took(number, took);
        }
    }

    /// Tells that so much was given to a run or a process.
    pub fn took(&mut self, number: u32, bytes: usize) {
        if bytes > 0 {
            let mut packet = numbered(TOOK, number);
            packet.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
            self.outbox.push(packet, None);
        }
    }

    /// Interrupts a run as a person at its prompt would: it may go on.
    pub fn nudge(&mut self, number: u32) {
        let Some(run) = self.runs.get_mut(&number).filter(|run| run.phase == Phase::Running) else { return };
        match &run.place {
            Place::Fresh(fresh) => {
                let job = fresh.job;
                Self::warn_of(self.stay.signal(job, libc::SIGINT));
            }
            Place::State(_) => {
                run.reminder = Some((Instant::now() + REMIND, REMIND));
                self.signal_interpreter(number, libc::SIGINT);
            }
        }
    }

    /// Reminds the interpreter of an interruption, if it is time to; false if it is not. An interpreter looks for signals before and
    /// after a call that waits: of one that comes between its look and the call it knows nothing until that ends, which `SIGURG` makes
    /// it do (guest/python/session.py; others ignore it by default, signal(7)).
    pub fn remind(&mut self, number: u32, now: Instant) -> bool {
        let Some(run) = self.runs.get_mut(&number) else { return false };
        let Some((_, pause)) = run.reminder.filter(|(at, _)| *at <= now) else { return false };
        let next = pause * 2;
        run.reminder = (next <= REMIND_MAX).then_some((now + next, next));
        self.signal_interpreter(number, libc::SIGURG);
        true
    }

    fn signal_interpreter(&mut self, number: u32, signal: i32) {
        let Some(one) = self.interpreters.values_mut().find(|one| one.run == Some(number)) else { return };
        // The next order waits until this was sent: it is for no other run.
        one.interruptions += 1;
        let job = one.job;
        Self::warn_of(self.stay.signal(job, signal));
    }

    fn warn_of(sent: Result<(), Fault>) {
        if let Err(fault) = sent {
            crate::log::warn(format_args!("session keeper: {fault}"));
        }
    }
}
