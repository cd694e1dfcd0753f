//! What a session's keeper does with runs: begins, stops, hears and settles them.

use super::desk::Desk;
use super::interpreter::{CHANNEL, Ending, Interpreter};
use super::keeper::Keeper;
use super::run::{Before, Fresh, Phase, Place, Run};
use super::settle::{self, Over};
use super::streams::Source;
use super::typing::Typing;
use super::{How, SETTLED, STARTED, SessionJob, SessionTold, numbered};
use crate::json;
use crate::phases::Measured;
use model::{Fault, FaultCode, Language, Limits};
use sandbox::command::Command;
use sandbox::files::Collected;
use sandbox::frames::{Done, Frames, Said, Word};
use sandbox::judge::Stop;
use sandbox::stay::{Start, Staying};
use sandbox::streams;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an interpreter may go on after it was interrupted.
const GRACE: Duration = Duration::from_secs(2);
/// After how long it is interrupted again. An interpreter passes over an interruption that comes before it has read its order.
const AGAIN: Duration = Duration::from_millis(500);
/// Descriptors of an interpreter: four streams, and its orders.
const STREAMS: usize = 5;

/// Has a zygote fork an interpreter, and tells it what it is to be; returns the job, and where it hears its orders.
fn fork(
    stay: &mut Staying,
    zygote: &OwnedFd,
    command: &Command,
    streams: [BorrowedFd<'_>; 4],
    limits: &Limits,
) -> Result<(u32, OwnedFd), Fault> {
    let failed = |error: sys::Error| Fault::new(FaultCode::ResourcesExhausted, error.to_string());
    let (orders, theirs) = sys::socket::pair().map_err(failed)?;
    sys::fs::set_nonblocking(orders.as_fd()).map_err(failed)?;
    let [stdin, stdout, stderr, channel] = streams;
    let streams: [_; STREAMS] = [stdin, stdout, stderr, channel, theirs.as_fd()];
    let job = stay.start(&Start::Fork(zygote.as_fd()), &streams, limits)?;
    // As one that was made ahead hears it: its command, then that its inputs are there, of which it has none.
    for word in [command.encode().as_slice(), b"1"] {
        sys::socket::send(orders.as_fd(), word, &[]).map_err(failed)?;
    }
    Ok((job, orders))
}

/// Why a run did not begin.
pub(super) enum NotBegun {
    Fault(Fault),
    /// There was no room for it.
    DiskFull,
    /// What lies in the session is in its way.
    InTheWay(sys::Error),
    /// As many processes are there as may be.
    Crowded,
}

impl From<Fault> for NotBegun {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<sys::Error> for NotBegun {
    fn from(error: sys::Error) -> Self {
        match error.errno {
            libc::ENOSPC | libc::EDQUOT => Self::DiskFull,
            libc::EISDIR
            | libc::ENOTDIR
            | libc::ELOOP
            | libc::EXDEV
            | libc::EACCES
            | libc::EPERM
            | libc::ENOTEMPTY
            | libc::EEXIST
            | libc::ENOENT => Self::InTheWay(error),
            _ => Self::Fault(Fault::new(FaultCode::ResourcesExhausted, error.to_string())),
        }
    }
}

impl Keeper {
    /// Takes a run in. The service sends one at a time to each interpreter.
    pub fn take_in(&mut self, session: Box<SessionJob>) {
        let (number, language) = (session.number, session.job.spec.language);
        match session.how {
            How::State { .. } => {
                self.runs.insert(number, Run::new(session, Place::State(None)));
                if let Err(not) = self.give(number, language) {
                    self.drop_run(language, number, not);
                }
            }
            How::Fresh { private, .. } => match self.execute(&session, private) {
                Ok((fresh, typing)) => {
                    let run = Run::new(session, Place::Fresh(Box::new(fresh)));
                    self.runs.insert(number, Run { typing, ..run });
                    self.feed(number);
                }
                Err(not) => self.refuse(Run::new(session, Place::State(None)), not),
            },
        }
    }

    /// Gives a run to the interpreter of its language, which is started first if there is none.
    pub fn give(&mut self, number: u32, language: Language) -> Result<(), NotBegun> {
        match self.interpreters.get_mut(&language) {
            // Its end is near; then the next one is started.
            Some(interpreter) if interpreter.ending.is_some() => Ok(()),
            Some(interpreter) if interpreter.run.is_some() => {
                Err(Fault::new(FaultCode::Internal, "two runs for one interpreter").into())
            }
            Some(interpreter) => {
                interpreter.run = Some(number);
                if interpreter.ready { self.order(number, language) } else { Ok(()) }
            }
            None => {
                let mut interpreter = self.start(language)?;
                interpreter.run = Some(number);
                self.interpreters.insert(language, interpreter);
                Ok(())
            }
        }
    }

    /// Starts an interpreter.
    fn start(&mut self, language: Language) -> Result<Interpreter, NotBegun> {
        let image = &self.shape.shape.image;
        let command = Command::staying(language, image, &self.shape.env).ok_or_else(|| {
            Fault::new(FaultCode::Internal, format!("the image has no interpreter for {language}"))
        })?;
        let null: OwnedFd = std::fs::File::open("/dev/null").map_err(sys::Error::of_io("open"))?.into();
        let (stdout, their_stdout) = sys::fs::pipe_to_read()?;
        let (stderr, their_stderr) = sys::fs::pipe_to_read()?;
        let (channel, their_channel) = sys::fs::pipe_to_read()?;
        let pipes = [stdout, stderr, channel];
        let limits = self.shape.shape.limits;
        let theirs = [&null, &their_stdout, &their_stderr, &their_channel].map(AsFd::as_fd);
        self.wake()?;
        // Asked once: it is not kept as long as the session, which may outlive what it was made of.
        let zygote = if language == Language::Python { self.zygote.take() } else { None };
        if let Some(zygote) = zygote {
            // One that has no room for it, or is gone, is done without: the interpreter is executed.
            if let Ok((job, orders)) = fork(&mut self.stay, &zygote, &command, theirs, &limits) {
                return Ok(Interpreter::new(job, pipes, orders));
            }
        }
        let (their_orders, orders) = sys::fs::pipe_to_write()?;
        let [stdin, stdout, stderr, channel] = theirs;
        let streams: [_; STREAMS] = [stdin, stdout, stderr, channel, their_orders.as_fd()];
        let job = self.stay.start(&Start::Execute(&command), &streams, &limits)?;
        Ok(Interpreter::new(job, pipes, orders))
    }

    /// Tells a ready interpreter what to do.
    fn order(&mut self, number: u32, language: Language) -> Result<(), NotBegun> {
        if self.interpreters.get(&language).is_some_and(|one| one.interruptions > 0 || one.ending.is_some()) {
            return Ok(());
        }
        // What was said while no run was on is nobody's, and not this one's.
        let capacity = self.interpreters.get(&language).map_or(0, |one| one.sources[CHANNEL].capacity());
        self.drain(capacity, |keeper| keeper.listen(language));
        self.wake()?;
        let (Some(run), Some(interpreter)) =
            (self.runs.get_mut(&number), self.interpreters.get_mut(&language))
        else {
            return Ok(());
        };
        interpreter.sources[CHANNEL].expect();
        let (order, typing) = self.desk.order(&run.session)?;
        run.typing = typing;
        run.place = Place::State(Some(order));
        let job = interpreter.job;
        self.stay.forget_peak(job)?;
        let counters = self.stay.counters(job);
        run.begin(Before {
            cpu_us: self.stay.cpu_us(job),
            oom_kills: counters.oom_kills,
            process_refusals: counters.process_refusals,
        });
        // One that is gone: its end is told by init, and settles the run.
        if interpreter.tell(&Desk::line(order)).is_ok() {
            self.outbox.push(numbered(STARTED, number), None);
        }
        self.feed(number);
        Ok(())
    }

    /// Starts a program of its own.
    fn execute(&mut self, session: &SessionJob, private: bool) -> Result<(Fresh, Typing), NotBegun> {
        let spec = &session.job.spec;
        let named = spec.file_name != spec.language.default_file();
        self.wake()?;
        let program = self.desk.program(spec, named, private)?;
        let started = self.start_program(spec, &program);
        match started {
            Ok((job, ours)) => {
                let [stdout, stderr] = ours.outputs;
                let sources = [stdout, stderr, ours.result].map(Source::new);
                let typing = Typing::new(ours.stdin, &spec.stdin, session.how.is_interactive());
                Ok((Fresh { job, sources, frames: Frames::default(), program, ended: None }, typing))
            }
            Err(not) => {
                self.desk.clear_program(&program);
                Err(not)
            }
        }
    }

    fn start_program(
        &mut self,
        spec: &model::RunSpec,
        program: &super::desk::Program,
    ) -> Result<(u32, streams::Streams), NotBegun> {
        let mut own = spec.clone();
        // The run's own variables win.
        let inherited = self.shape.env.iter().filter(|(name, _)| !spec.env.contains_key(*name));
        own.env.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
        let command = Command::at(&own, &self.shape.shape.image, &program.path, &program.cwd);
        let command = command.map_err(|rejection| Fault::new(FaultCode::Internal, rejection.to_string()))?;
        let (ours, theirs) = streams::make(spec.merge_output)?;
        let ends = theirs.streams.each_ref().map(AsFd::as_fd);
        let job = self.stay.start(&Start::Execute(&command), &ends, &spec.limits)?;
        Ok((job, ours))
    }

    /// A job became its program.
    pub fn began(&mut self, job: u32) {
        let fresh = self.numbers(|run| matches!(&run.place, Place::Fresh(fresh) if fresh.job == job));
        for number in fresh {
            if let Some(run) = self.runs.get_mut(&number).filter(|run| run.phase == Phase::Waiting) {
                run.begin(Before::default());
                self.outbox.push(numbered(STARTED, number), None);
            }
        }
    }

    /// A job did not become its program; its end follows.
    pub fn failed(&mut self, job: u32, fault: &Fault) {
        let interpreter = self.interpreters.values_mut().find(|one| one.job == job);
        let of_interpreter = interpreter.and_then(|one| one.run.take());
        let fresh = self.numbers(|run| matches!(&run.place, Place::Fresh(fresh) if fresh.job == job));
        for number in of_interpreter.into_iter().chain(fresh) {
            if let Some(Run { place: Place::Fresh(fresh), .. }) = self.runs.get(&number) {
                self.desk.clear_program(&fresh.program);
            }
            let crowded = self.stay.is_crowded(self.shape.shape.limits.processes);
            self.refuse_numbered(number, if crowded { NotBegun::Crowded } else { fault.clone().into() });
        }
    }

    /// Ends a run for this reason: an interpreter is interrupted first.
    pub fn stop(&mut self, number: u32, why: Stop) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        if run.stop.is_some() {
            return;
        }
        run.stop = Some(why);
        match (run.phase, &run.place) {
            (Phase::Waiting, Place::State(_)) => {
                for interpreter in self.interpreters.values_mut().filter(|one| one.run == Some(number)) {
                    interpreter.run = None;
                }
                if let Some(run) = self.runs.remove(&number) {
                    self.take_back(run);
                }
            }
            (_, Place::State(_)) => {
                let until = Instant::now() + GRACE;
                run.phase = Phase::Interrupted { again: until, until };
                self.interrupt(number);
            }
            (_, Place::Fresh(_)) => self.kill_run(number),
        }
    }

    /// Interrupts the interpreter that does a run, and will once more.
    pub fn interrupt(&mut self, number: u32) {
        let interpreter = self.interpreters.values_mut().find(|one| one.run == Some(number));
        let sent = interpreter.is_some_and(|one| {
            one.interruptions += 1;
            self.stay.signal(one.job, libc::SIGINT).is_ok()
        });
        if !sent {
            return self.kill_run(number);
        }
        if let Some(Phase::Interrupted { again, .. }) = self.runs.get_mut(&number).map(|run| &mut run.phase) {
            *again = Instant::now() + AGAIN;
        }
    }

    /// An interruption was sent: what waits for the last one goes on.
    pub fn signalled(&mut self, job: u32) {
        let interpreter = self.interpreters.iter_mut().find(|(_, one)| one.job == job);
        let Some((language, interpreter)) = interpreter else { return };
        interpreter.interruptions = interpreter.interruptions.saturating_sub(1);
        let (language, waiting) = (*language, interpreter.run.filter(|_| interpreter.ready));
        let Some(number) = waiting.filter(|number| {
            self.runs.get(number).is_some_and(|run| matches!(run.place, Place::State(None)))
        }) else {
            return;
        };
        if let Err(not) = self.order(number, language) {
            self.drop_run(language, number, not);
        }
    }

    /// Kills what does a run. Its end is heard from init.
    pub fn kill_run(&mut self, number: u32) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        run.phase = Phase::Killed;
        run.is_over();
        let job = match &run.place {
            Place::Fresh(fresh) => Some(fresh.job),
            Place::State(_) => {
                let interpreter = self.interpreters.values_mut().find(|one| one.run == Some(number));
                interpreter.map(|one| {
                    one.ending.get_or_insert(Ending::Broken);
                    one.job
                })
            }
        };
        if let Some(job) = job {
            self.kill(job);
        }
    }

    /// Ends every interpreter; runs of theirs are cancelled.
    pub fn restart(&mut self) {
        let interpreters: Vec<_> = self
            .interpreters
            .values_mut()
            .map(|one| {
                one.ending = Some(Ending::Wanted);
                (one.job, one.run)
            })
            .collect();
        for (job, run) in interpreters {
            if let Some(run) = run.and_then(|run| self.runs.get_mut(&run)) {
                run.stop.get_or_insert(Stop::Cancelled);
                run.phase = Phase::Killed;
                run.is_over();
            }
            self.kill(job);
        }
    }

    /// Kills all of a job that is there now. One that was on its way in is not: again with [`Keeper::kill_again`].
    pub fn kill(&mut self, job: u32) {
        if let Err(fault) = self.stay.kill(job) {
            crate::log::warn(format_args!("session keeper: {fault}"));
        }
    }

    /// Kills again what was killed and has not ended: a job that had not joined its group yet was not found there.
    pub fn kill_again(&mut self) {
        let interpreters = self.interpreters.values().filter(|one| one.ending.is_some()).map(|one| one.job);
        let runs = self.runs.values().filter(|run| run.phase == Phase::Killed);
        let fresh = runs.filter_map(|run| match &run.place {
            Place::Fresh(fresh) => Some(fresh.job),
            // Its interpreter is one of the above.
            Place::State(_) => None,
        });
        let jobs: Vec<u32> = interpreters.chain(fresh).collect();
        jobs.into_iter().for_each(|job| self.kill(job));
    }

    /// Whether an interpreter is being ended.
    pub fn is_ending(&self) -> bool {
        self.interpreters.values().any(|one| one.ending.is_some())
    }

    /// Hears what an interpreter says; returns how many bytes that was.
    pub fn listen(&mut self, language: Language) -> usize {
        let Some(interpreter) = self.interpreters.get_mut(&language) else { return 0 };
        let piece = interpreter.sources[CHANNEL].read(&mut self.buffer);
        let length = piece.len();
        let words = interpreter.talk.push(piece);
        interpreter.sources[CHANNEL].rest_after_many(length);
        let Ok(words) = words else {
            // It cannot be talked to any more.
            interpreter.ending.get_or_insert(Ending::Broken);
            let job = interpreter.job;
            self.kill(job);
            return length;
        };
        for word in words {
            match word {
                Word::Ready => self.ready(language),
                Word::Done(done, said) => self.done(language, done, said),
            }
        }
        length
    }

    fn ready(&mut self, language: Language) {
        let Some(interpreter) = self.interpreters.get_mut(&language) else { return };
        if interpreter.ending.is_some() || std::mem::replace(&mut interpreter.ready, true) {
            return;
        }
        let Some(number) = interpreter.run else { return };
        if let Err(not) = self.order(number, language) {
            self.drop_run(language, number, not);
        }
    }

    /// Refuses a run that was to be done by an interpreter, which is free for the next.
    pub fn drop_run(&mut self, language: Language, number: u32, not: NotBegun) {
        let interpreter = self.interpreters.get_mut(&language);
        if let Some(interpreter) = interpreter.filter(|one| one.run == Some(number)) {
            interpreter.run = None;
        }
        self.refuse_numbered(number, not);
    }

    fn refuse_numbered(&mut self, number: u32, not: NotBegun) {
        if let Some(run) = self.runs.remove(&number) {
            self.refuse(run, not);
        }
    }

    /// An interpreter says that its run is over: all that it wrote is in the pipes.
    fn done(&mut self, language: Language, done: Done, said: Said) {
        self.drain_interpreter(language);
        let Some(interpreter) = self.interpreters.get_mut(&language) else { return };
        let job = interpreter.job;
        // It may say so when there is none; nobody believes it.
        let number = interpreter.run.filter(|number| {
            self.runs.get(number).is_some_and(|run| matches!(run.place, Place::State(Some(_))))
        });
        let Some(number) = number else { return };
        interpreter.run = None;
        let Some(run) = self.runs.remove(&number) else { return };
        if run.phase == Phase::Killed {
            // Too late: its end is on the way.
            interpreter.run = Some(number);
            self.runs.insert(number, run);
            return;
        }
        let over = Over {
            ended: Some(settle::ended_of(done)),
            said,
            cpu_us: self.stay.cpu_us(job),
            counters: self.stay.counters(job),
            collected: Collected::default(),
            isolation: self.stay.isolation(),
            state_lost: false,
        };
        self.settle(run, over);
    }

    pub fn settle(&mut self, mut run: Run, over: Over) {
        self.calm_later();
        run.disk_full |= self.disk_is_full();
        if let Place::State(Some(order)) = run.place {
            self.desk.clear(order);
        }
        let told = settle::settle(run, over, &self.shape.shape.image);
        self.tell(told);
    }

    /// Answers a run that was stopped before it began.
    pub fn take_back(&mut self, run: Run) {
        let why = run.stop;
        self.tell(settle::taken_back(run, why, self.stay.isolation(), &self.shape.shape.image));
    }

    /// Answers a run that could not be done.
    pub fn refuse(&mut self, run: Run, not: NotBegun) {
        let told = match not {
            NotBegun::DiskFull => settle::disk_full(run, self.stay.isolation(), &self.shape.shape.image),
            NotBegun::InTheWay(error) => {
                settle::in_the_way(run, &error, self.stay.isolation(), &self.shape.shape.image)
            }
            NotBegun::Crowded => settle::crowded(run, self.stay.isolation(), &self.shape.shape.image),
            NotBegun::Fault(fault) => SessionTold {
                number: run.session.number,
                result: settle::fault(&run.session, &self.shape.shape.image, fault),
                measured: Measured::default(),
            },
        };
        self.tell(told);
    }

    fn tell(&mut self, told: SessionTold) {
        match json::packet([SETTLED, 0], &told) {
            Ok((packet, file)) => self.outbox.push(packet, file),
            Err(error) => crate::log::warn(format_args!("session keeper: tell a result: {error}")),
        }
    }
}
