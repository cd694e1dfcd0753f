//! How a session's keeper reads what its jobs write.

use super::interpreter::CHANNEL;
use super::keeper::Keeper;
use super::run::{Fresh, Phase, Place, Run};
use super::{STDERR, STDOUT, numbered};
use model::Language;
use model::limits::OUTPUT_HARD_FACTOR;
use sandbox::judge::Stop;

impl Keeper {
    pub fn fresh(&mut self, number: u32) -> Option<&mut Fresh> {
        match self.runs.get_mut(&number) {
            Some(Run { place: Place::Fresh(fresh), .. }) => Some(fresh),
            _ => None,
        }
    }

    /// Reads until nothing is left, at most as much as a pipe can hold.
    pub fn drain(&mut self, capacity: usize, mut read: impl FnMut(&mut Self) -> usize) {
        let mut left = capacity;
        while let length @ 1.. = read(self).min(left) {
            left -= length;
        }
    }

    pub fn drain_interpreter(&mut self, language: Language) {
        for stream in 0..CHANNEL {
            let capacity = self.interpreters.get(&language).map_or(0, |one| one.sources[stream].capacity());
            self.drain(capacity, |keeper| keeper.read_interpreter_now(language, stream));
        }
    }

    /// Reads a piece of what an interpreter writes, and leaves it alone for a moment if that was little.
    pub fn read_interpreter(&mut self, language: Language, stream: usize) {
        let length = self.read_interpreter_now(language, stream);
        if let Some(interpreter) = self.interpreters.get_mut(&language) {
            interpreter.sources[stream].rest(length);
        }
    }

    fn read_interpreter_now(&mut self, language: Language, stream: usize) -> usize {
        let Some(interpreter) = self.interpreters.get_mut(&language) else { return 0 };
        let number = interpreter.run;
        let mut buffer = std::mem::take(&mut self.buffer);
        let length = interpreter.sources[stream].read(&mut buffer).len();
        if let Some(number) = number {
            self.take_output(number, stream, &buffer);
        }
        self.buffer = buffer;
        length
    }

    /// Reads a piece of what a program writes, likewise.
    pub fn read_fresh(&mut self, number: u32, stream: usize) {
        let length = self.read_fresh_now(number, stream);
        if let Some(fresh) = self.fresh(number) {
            fresh.sources[stream].rest(length);
        }
    }

    pub fn read_fresh_now(&mut self, number: u32, stream: usize) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let length = self.fresh(number).map_or(0, |fresh| fresh.sources[stream].read(&mut buffer).len());
        if length > 0 {
            self.take_output(number, stream, &buffer);
        }
        self.buffer = buffer;
        length
    }

    /// Reads a piece of a program's result channel, likewise.
    pub fn read_frames(&mut self, number: u32) {
        let length = self.read_frames_now(number);
        if let Some(fresh) = self.fresh(number) {
            fresh.sources[CHANNEL].rest(length);
        }
    }

    pub fn read_frames_now(&mut self, number: u32) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let length = self.fresh(number).map_or(0, |fresh| {
            let piece = fresh.sources[CHANNEL].read(&mut buffer);
            fresh.frames.push(piece);
            piece.len()
        });
        self.buffer = buffer;
        length
    }

    /// Keeps and passes on what a run wrote.
    fn take_output(&mut self, number: u32, stream: usize, bytes: &[u8]) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        let shown = run.output.push(stream, bytes);
        if shown > 0 && run.phase != Phase::Waiting {
            let tag = if stream == 0 { STDOUT } else { STDERR };
            for piece in bytes[..shown].chunks(sandbox::forward::PACKET_BYTES) {
                let mut packet = numbered(tag, number);
                packet.extend_from_slice(piece);
                self.outbox.push(packet, None);
            }
        }
        let hard = run.session.job.spec.limits.output_bytes.max(1).saturating_mul(OUTPUT_HARD_FACTOR);
        if run.output.exceeds(hard) {
            self.stop(number, Stop::OutputExceeded);
        }
    }
}
