//! What a session's keeper does with runs while somebody types to them.

use super::keeper::Keeper;
use super::run::{Phase, Place};
use super::{NUMBERED, TOOK, number_of, numbered};

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
        let Some(run) = self.runs.get(&number).filter(|run| run.phase == Phase::Running) else { return };
        let job = match &run.place {
            Place::Fresh(fresh) => Some(fresh.job),
            Place::State(_) => {
                let interpreter = self.interpreters.values_mut().find(|one| one.run == Some(number));
                interpreter.map(|one| {
                    // The next order waits until this was sent: it is for no other run.
                    one.interruptions += 1;
                    one.job
                })
            }
        };
        if let Some(Err(fault)) = job.map(|job| self.stay.signal(job, libc::SIGINT)) {
            crate::log::warn(format_args!("session keeper: {fault}"));
        }
    }
}
