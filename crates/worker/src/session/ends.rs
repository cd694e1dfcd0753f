//! How a session's keeper settles runs whose processes ended.

use super::interpreter::{CHANNEL, Ending};
use super::keeper::Keeper;
use super::run::{Fresh, Place, Run};
use super::settle::Over;
use super::work::NotBegun;
use super::{LOST, Lost};
use crate::json;
use model::{Fault, FaultCode, Language};
use sandbox::files::{self, Collected};
use sandbox::frames::Frames;
use sandbox::inputs;
use sys::process::Ended;

/// How much of what an interpreter wrote is told when it did not start.
const STDERR_CHARS: usize = 1_024;

impl Keeper {
    /// A job's first process ended.
    pub fn ended(&mut self, job: u32, how: Ended, cpu_us: u64) {
        let language =
            self.interpreters.iter().find(|(_, one)| one.job == job).map(|(language, _)| *language);
        if let Some(language) = language {
            return self.interpreter_ended(language, how, cpu_us);
        }
        for run in self.runs.values_mut() {
            match &mut run.place {
                Place::Fresh(fresh) if fresh.job == job => fresh.ended = Some((how, cpu_us)),
                _ => continue,
            }
            run.is_over();
        }
    }

    fn interpreter_ended(&mut self, language: Language, how: Ended, cpu_us: u64) {
        // What it said before its end counts.
        self.listen(language);
        self.drain_interpreter(language);
        let Some(mut interpreter) = self.interpreters.remove(&language) else { return };
        let run = interpreter.run.and_then(|number| self.runs.remove(&number));
        match run {
            Some(run) if !interpreter.ready && run.stop.is_some() => self.take_back(run),
            // Of one that did not start because of what the session asked for, its own words are the outcome, too.
            Some(run)
                if interpreter.ready || (how != Ended::Exited(0) && self.is_theirs(interpreter.job)) =>
            {
                let over = Over {
                    ended: Some(how),
                    said: interpreter.talk.unfinished(),
                    cpu_us,
                    counters: self.stay.counters(interpreter.job),
                    collected: Collected::default(),
                    isolation: self.stay.isolation(),
                    state_lost: true,
                };
                self.settle(run, over);
            }
            Some(run) => {
                let stderr: String = run.output.kept[1].text().chars().take(STDERR_CHARS).collect();
                let message = format!("the interpreter for {language} did not start ({how:?}): {stderr}");
                self.refuse(run, NotBegun::Fault(Fault::new(FaultCode::Internal, message)));
            }
            None if interpreter.ending == Some(Ending::Wanted) => {}
            None => {
                let lost = Lost { language, why: format!("{how:?}") };
                match json::packet([LOST, 0], &lost) {
                    Ok((packet, file)) => self.outbox.push(packet, file),
                    Err(error) => crate::log::warn(format_args!("session keeper: tell of a loss: {error}")),
                }
            }
        }
        // A run that came while it was on its way out.
        let waiting = self.numbers(|run| {
            matches!(run.place, Place::State(None)) && run.session.job.spec.language == language
        });
        for number in waiting {
            if let Err(not) = self.give(number, language) {
                self.drop_run(language, number, not);
            }
        }
    }

    /// Whether an interpreter that did not start had variables of the session's, or met its limits.
    fn is_theirs(&self, job: u32) -> bool {
        let counters = self.stay.counters(job);
        !self.shape.env.is_empty() || counters.oom_kills > 0 || counters.process_refusals > 0
    }

    /// Nothing is left of a job.
    pub fn buried(&mut self, job: u32) {
        let numbers = self.numbers(|run| matches!(&run.place, Place::Fresh(fresh) if fresh.job == job));
        for number in numbers {
            for stream in 0..CHANNEL {
                let capacity = self.fresh(number).map_or(0, |fresh| fresh.sources[stream].capacity());
                self.drain(capacity, |keeper| keeper.read_fresh_now(number, stream));
            }
            let capacity = self.fresh(number).map_or(0, |fresh| fresh.sources[CHANNEL].capacity());
            self.drain(capacity, |keeper| keeper.read_frames_now(number));
            let Some(run) = self.runs.remove(&number) else { continue };
            self.settle_fresh(run);
        }
    }

    fn settle_fresh(&mut self, mut run: Run) {
        // Before what was needed for it is cleared away.
        run.disk_full |= self.disk_is_full();
        let limits = run.session.job.spec.limits;
        let Place::Fresh(fresh) = std::mem::replace(&mut run.place, Place::State(None)) else { return };
        let collected = match &fresh.program.private {
            Some(directory) => {
                let digests = inputs::digests(&inputs::of(&run.session.job.spec));
                files::collect_beside(
                    self.stay.scratch(),
                    directory,
                    self.stay.ids(),
                    &digests,
                    limits.disk_bytes,
                )
            }
            None => Ok(Collected::default()),
        };
        let collected = collected.and_then(|collected| {
            crate::artifacts::keep_beside(&run.session.job.artifacts, collected).map_err(|error| {
                Fault::new(FaultCode::ResourcesExhausted, format!("keep artifacts: {error}"))
            })
        });
        let counters = self.stay.counters(fresh.job);
        self.desk.clear_program(&fresh.program);
        let Fresh { job, sources, frames, program, ended } = *fresh;
        let over = match collected {
            Ok(collected) => Over {
                ended: ended.map(|(how, _)| how),
                said: frames.finish(),
                cpu_us: ended.map_or(0, |(_, cpu_us)| cpu_us),
                counters,
                collected,
                isolation: self.stay.isolation(),
                state_lost: false,
            },
            Err(fault) => return self.refuse(run, NotBegun::Fault(fault)),
        };
        run.place = Place::Fresh(Box::new(Fresh { job, sources, frames: Frames::default(), program, ended }));
        self.settle(run, over);
    }
}
