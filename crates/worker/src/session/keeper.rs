//! A session's keeper: one process and one thread that waits for everything at once and for nobody in particular.

use super::desk::Desk;
use super::interpreter::{CHANNEL, Ending, Interpreter};
use super::outbox::Outbox;
use super::process::Process;
use super::run::{Phase, Place, Run};
use super::{
    BUILT, CANCEL, FAILED, INTERRUPT, LEFT, LISTENS, NO_MORE, PROCESS, RESIZE, RESTART, RUN, SIGNAL,
    SessionJob, SessionShape, TYPED, VISIT, number_of,
};
use crate::json;
use model::{Background, Fault, FaultCode, Language};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use sandbox::host::Host;
use sandbox::judge::Stop;
use sandbox::plan::Needs;
use sandbox::run::Setting;
use sandbox::stay::{Heard, Staying};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Shortest and longest time between two looks at memory and disk while a run is on: the less room is left, the shorter.
const TICK: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(20);
/// The fastest that code can fill memory or disk: what two cores reach here by touching new pages, doubled.
const FILL_BYTES_PER_MS: u64 = 8 << 20;
/// The fastest that it can fill a file system with files, likewise.
const FILL_INODES_PER_MS: u64 = 500;
/// After so long without a run what runs on in the background is given little time or none, until the next run.
const CALM: Duration = Duration::from_millis(100);
/// How long a zygote is kept for a first interpreter that nobody asks for: it holds memory of its own.
const ZYGOTE: Duration = Duration::from_secs(60);
/// How often what is being killed is looked at.
const DYING_TICK: Duration = Duration::from_millis(1);
/// How long the kernel may take to end what was killed before the session is given up. After a tenth of it the sandbox has no processor
/// limit: many that die share it with all that lives.
const DEATH: Duration = Duration::from_secs(10);
/// How long an interpreter may take to start.
pub(super) const START: Duration = Duration::from_secs(30);
/// The nice value of a keeper: it does little and must be in time.
const NICE: i32 = -15;
/// Below this much free space a scratch file system counts as full.
const DISK_SLACK_BYTES: u64 = 16 << 10;

/// Keeps a session of the shape in the memory file `shape` for the service on `socket`; returns the exit code of the process.
pub fn live(socket: OwnedFd, shape: &OwnedFd, zygote: Option<OwnedFd>, host: &Host) -> i32 {
    let kept = json::read_memory(shape).and_then(|shape| keep(socket, shape, zygote, host));
    match kept {
        Ok(()) => 0,
        Err(error) => {
            crate::log::warn(format_args!("session keeper: {error}"));
            1
        }
    }
}

fn keep(socket: OwnedFd, shape: SessionShape, zygote: Option<OwnedFd>, host: &Host) -> std::io::Result<()> {
    let mut outbox = Outbox::new(socket)?;
    let mut stay = match make(&shape, zygote.is_some(), host) {
        Ok(stay) => stay,
        Err(fault) => {
            let (packet, file) = json::packet([FAILED, 0], &fault)?;
            outbox.push(packet, file);
            return Ok(outbox.flush()?);
        }
    };
    let desk = Desk::of(&stay)?;
    if let Some(listener) = stay.take_listener() {
        outbox.push(vec![LISTENS], Some(listener));
    }
    outbox.push(vec![BUILT], Some(sys::process::duplicate_above(stay.scratch(), 0)?));
    // What is in the sandbox keeps the usual value: it was cloned before. Only root may; others hope.
    if rustix::process::geteuid().is_root() {
        sys::process::set_nice(NICE)?;
    }
    let mut keeper = Keeper {
        shape,
        zygote,
        stay,
        outbox,
        desk,
        runs: BTreeMap::new(),
        processes: BTreeMap::new(),
        visits: BTreeSet::new(),
        interpreters: BTreeMap::new(),
        dying: BTreeMap::new(),
        hurried: false,
        next_look: Instant::now(),
        calm_at: None,
        since: Instant::now(),
        buffer: Vec::new(),
    };
    let served = keeper.serve();
    let destroyed = keeper.stay.destroy().map_err(std::io::Error::other);
    served.and(destroyed)
}

fn make(shape: &SessionShape, joinable: bool, host: &Host) -> Result<Staying, Fault> {
    let setting = Setting {
        host,
        image: &shape.shape.image,
        allow_missing: shape.shape.allow_missing.clone(),
        name: sandbox::cgroup::leaf_name(),
        amend: &std::convert::identity,
        serve: &drop,
        meanwhile: &|| {},
        fail_at: None,
    };
    let needs = Needs {
        limits: shape.shape.limits,
        allow_missing: shape.shape.allow_missing.clone(),
        joinable,
        stays: true,
        egress: shape.shape.egress,
    };
    Staying::make(&needs, &setting)
}

fn is_full(space: &sys::fs::Space) -> bool {
    space.free_bytes < DISK_SLACK_BYTES || space.free_inodes == 0
}

pub(super) struct Keeper {
    pub shape: SessionShape,
    pub zygote: Option<OwnedFd>,
    pub stay: Staying,
    pub outbox: Outbox,
    pub desk: Desk,
    /// By number.
    pub runs: BTreeMap<u32, Run>,
    /// Likewise; none has a number that a run has.
    pub processes: BTreeMap<u32, Process>,
    /// Who visits its ports: what listens there may be an interpreter's, which goes on for so long.
    pub visits: BTreeSet<u32>,
    pub interpreters: BTreeMap<Language, Interpreter>,
    /// Jobs whose first process has ended and of which something may be left, and until when it may be.
    pub dying: BTreeMap<u32, Instant>,
    /// Whether the sandbox has no processor limit, for what dies slowly.
    hurried: bool,
    next_look: Instant,
    /// When what runs in the background is given little time; `None` when it has been.
    calm_at: Option<Instant>,
    /// When the session began.
    since: Instant,
    pub buffer: Vec<u8>,
}

/// What a keeper waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Service,
    ServiceRoom,
    Init,
    Interpreter(Language, usize),
    Fresh(u32, usize),
    Stdin(u32),
    Process(u32, Option<usize>),
}

impl Keeper {
    /// Serves until the service is gone, or the sandbox.
    fn serve(&mut self) -> std::io::Result<()> {
        loop {
            if self.outbox.flush().is_err() {
                return Ok(());
            }
            for source in self.wait()? {
                let goes_on = match source {
                    Source::Service => self.obey()?,
                    Source::Init => self.hear().map_err(std::io::Error::other)?,
                    other => {
                        self.move_bytes(other);
                        true
                    }
                };
                if !goes_on {
                    return Ok(());
                }
            }
            self.look().map_err(std::io::Error::other)?;
        }
    }

    /// Waits until something is ready or due.
    fn wait(&self) -> std::io::Result<Vec<Source>> {
        let now = Instant::now();
        let sources = self.sources(now);
        let mut polls: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = self.due(now).map(|due| {
            let wait = due.saturating_duration_since(now);
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) }
        });
        match rustix::event::poll(&mut polls, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = sources.iter().zip(&polls).filter(|(_, poll)| !poll.revents().is_empty());
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    fn sources(&self, now: Instant) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut sources = vec![
            (Source::Service, self.outbox.socket(), PollFlags::IN),
            (Source::Init, self.stay.control(), PollFlags::IN),
        ];
        if !self.outbox.is_empty() {
            sources.push((Source::ServiceRoom, self.outbox.socket(), PollFlags::OUT));
        }
        if self.outbox.is_full() {
            return sources;
        }
        for (language, interpreter) in &self.interpreters {
            // What is written while no run is on waits for the next: it would wake us for ever.
            let running = interpreter.run.is_some_and(|run| self.is_on(run));
            for (index, pipe) in interpreter.sources.iter().enumerate() {
                let due = pipe.due(now).filter(|_| running || !interpreter.ready);
                let source = Source::Interpreter(*language, index);
                sources.extend(due.map(|fd| (source, fd, PollFlags::IN)));
            }
        }
        for (number, run) in &self.runs {
            sources.extend(run.typing.thirsty().map(|fd| (Source::Stdin(*number), fd, PollFlags::OUT)));
            let Place::Fresh(fresh) = &run.place else { continue };
            for (index, pipe) in fresh.sources.iter().enumerate() {
                sources.extend(pipe.due(now).map(|fd| (Source::Fresh(*number, index), fd, PollFlags::IN)));
            }
        }
        let processes = self.process_sources(now);
        sources.extend(
            processes.map(|((number, stream), fd, flags)| (Source::Process(number, stream), fd, flags)),
        );
        sources
    }

    fn is_on(&self, run: u32) -> bool {
        self.runs.get(&run).is_some_and(|run| run.phase != Phase::Waiting)
    }

    /// When something is to be done if nothing happens; `None` in a session that is idle.
    fn due(&self, now: Instant) -> Option<Instant> {
        let runs = self.runs.values().filter_map(Run::due);
        let look = self.is_watching().then_some(self.next_look);
        let dying = (!self.dying.is_empty()).then_some(now + DYING_TICK);
        let fresh = self.runs.values().filter_map(|run| match &run.place {
            Place::Fresh(fresh) => Some(&fresh.sources),
            Place::State(_) => None,
        });
        let busy = self.interpreters.values().filter(|one| one.run.is_some() || !one.ready);
        let pipes = busy.map(|one| &one.sources).chain(fresh).flatten();
        let looks = pipes.filter_map(|pipe| pipe.next_look(now)).chain(self.process_looks(now));
        let starting = self.interpreters.values().filter(|one| !one.ready && one.ending.is_none());
        let starts = starting.map(|one| one.since + START);
        let zygote = self.zygote.as_ref().map(|_| self.since + ZYGOTE);
        let calm = self.calm_at.filter(|_| self.is_quiet());
        runs.chain(look).chain(dying).chain(looks).chain(starts).chain(zygote).chain(calm).min()
    }

    /// Takes one message of the service; false at its end.
    fn obey(&mut self) -> std::io::Result<bool> {
        let mut packet = vec![0; json::PACKET_BYTES_MAX];
        let received = sys::socket::receive(self.outbox.socket(), &mut packet);
        let (length, files) = match received {
            Err(error) if error.errno == libc::EAGAIN => return Ok(true),
            other => other?,
        };
        let packet = &packet[..length];
        match packet.first() {
            None => return Ok(false),
            Some(&RUN) => {
                let session: SessionJob = json::read(packet, files.first())?;
                self.take_in(Box::new(session));
            }
            Some(&CANCEL) => {
                if let Some(number) = number_of(packet) {
                    self.stop(number, Stop::Cancelled);
                }
            }
            Some(&RESTART) => self.restart(),
            Some(&PROCESS) => self.start_process(&json::read(packet, files.first())?),
            Some(&SIGNAL) => self.signal_process(packet),
            Some(&RESIZE) => self.resize_process(packet),
            Some(&TYPED) => self.typed(packet),
            Some(&VISIT) => self.visited(packet).map_err(std::io::Error::other)?,
            Some(&LEFT) => self.left(packet),
            Some(tag @ (&NO_MORE | &INTERRUPT)) => match number_of(packet) {
                Some(number) if *tag == NO_MORE => self.no_more(number),
                Some(number) => self.nudge(number),
                None => {}
            },
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        }
        Ok(true)
    }

    /// Hears one thing of init; false when the sandbox is gone.
    fn hear(&mut self) -> Result<bool, Fault> {
        match self.stay.hear()? {
            Heard::Began(job) => self.began(job),
            Heard::Failed(job, fault) => {
                self.failed(job, &fault);
                self.process_failed(job, &fault);
            }
            Heard::Ended { job, how, cpu_us } => {
                self.dying.insert(job, Instant::now() + DEATH);
                self.stay.kill(job)?;
                self.ended(job, how, cpu_us);
                self.process_ended(job, how, cpu_us);
            }
            Heard::Launched => {}
            Heard::Signalled(job) => self.signalled(job),
            Heard::Socket(number, made) => self.pass_on(number, made),
            Heard::Gone => return Ok(false),
        }
        Ok(true)
    }

    fn move_bytes(&mut self, source: Source) {
        match source {
            Source::Interpreter(language, CHANNEL) => drop(self.listen(language)),
            Source::Interpreter(language, stream) => self.read_interpreter(language, stream),
            Source::Fresh(number, CHANNEL) => self.read_frames(number),
            Source::Fresh(number, stream) => self.read_fresh(number, stream),
            Source::Stdin(number) => self.feed(number),
            Source::Process(number, stream) => self.move_process(number, stream),
            Source::Service | Source::ServiceRoom | Source::Init => {}
        }
    }

    /// Does what is due.
    fn look(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        for number in self.numbers(|run| run.due().is_some_and(|due| due <= now)) {
            match self.runs.get(&number).map(|run| run.phase) {
                Some(Phase::Interrupted { until, .. }) if until <= now => self.kill_run(number),
                Some(Phase::Interrupted { .. }) => self.interrupt(number),
                Some(Phase::Running) if self.remind(number, now) => {}
                Some(Phase::Running) => self.stop(number, Stop::TimedOut),
                _ => {}
            }
        }
        self.runs.values_mut().for_each(|run| run.typing.close());
        for interpreter in self.interpreters.values_mut() {
            if !interpreter.ready && interpreter.since + START <= now {
                interpreter.ending.get_or_insert(Ending::Broken);
            }
        }
        if self.is_watching() && now >= self.next_look {
            self.next_look = now + self.measure();
            self.kill_again();
            self.hold_processes();
            self.desk.tidy();
        }
        if self.since + ZYGOTE <= now {
            self.zygote = None;
        }
        if self.is_quiet() && self.calm_at.is_some_and(|at| at <= now) {
            self.calm_at = None;
            self.calm()?;
        }
        self.bury(now)
    }

    /// Nobody waits for anything: what goes on is given as much as the session asked for.
    fn calm(&mut self) -> Result<(), Fault> {
        if self.shape.background != Background::Running {
            self.stay.calm()?;
        }
        if self.shape.background == Background::Frozen {
            // One that is not ready yet would never be.
            for interpreter in self.interpreters.values().filter(|one| one.ready && one.ending.is_none()) {
                if let Err(error) = self.stay.still(interpreter.job) {
                    crate::log::warn(format_args!(
                        "session keeper: what is idle cannot be made to stand still: {error}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A run begins: all may use what the session may.
    pub fn wake(&mut self) -> Result<(), Fault> {
        match self.calm_at.replace(Instant::now() + CALM) {
            Some(_) => Ok(()),
            None => self.stay.wake(),
        }
    }

    /// A run is over: what it left may go on for a while as it did.
    pub fn calm_later(&mut self) {
        self.calm_at = Some(Instant::now() + CALM);
    }

    /// Whether nobody waits for anything that is done here.
    fn is_quiet(&self) -> bool {
        self.runs.is_empty() && self.visits.is_empty()
    }

    /// Whether there is something to be looked at now and then.
    fn is_watching(&self) -> bool {
        !self.runs.is_empty() || !self.processes.is_empty() || self.is_ending() || self.desk.is_untidy()
    }

    /// The runs of which this holds.
    pub fn numbers(&self, holds: impl Fn(&Run) -> bool) -> Vec<u32> {
        self.runs.iter().filter(|(_, run)| holds(run)).map(|(number, _)| *number).collect()
    }

    /// Whether the scratch file system has no room.
    pub fn disk_is_full(&self) -> bool {
        sys::fs::space(self.stay.scratch()).is_ok_and(|space| is_full(&space))
    }

    /// Looks at memory and disk of what runs; says how long that may be left alone.
    fn measure(&mut self) -> Duration {
        let space = sys::fs::space(self.stay.scratch()).ok();
        let full = space.is_some_and(|space| is_full(&space));
        let mut room_ms = space.map_or(0, |space| {
            (space.free_bytes / FILL_BYTES_PER_MS).min(space.free_inodes / FILL_INODES_PER_MS)
        });
        let mut greedy = Vec::new();
        for (number, run) in &mut self.runs {
            run.disk_full |= full && run.phase != Phase::Waiting;
            let (job, limit) = match &run.place {
                Place::Fresh(fresh) => (Some(fresh.job), run.session.job.spec.limits.memory_bytes),
                Place::State(_) => {
                    let interpreter = self.interpreters.values().find(|one| one.run == Some(*number));
                    (interpreter.map(|one| one.job), self.shape.shape.limits.memory_bytes)
                }
            };
            let used = job.map_or(0, |job| self.stay.memory_bytes(job, limit));
            if used > limit {
                greedy.push(*number);
            }
            room_ms = room_ms.min(limit.saturating_sub(used) / FILL_BYTES_PER_MS);
        }
        for number in greedy {
            // To interrupt is to let it go on for a while: there is no memory for that.
            if let Some(run) = self.runs.get_mut(&number) {
                run.stop.get_or_insert(Stop::MemoryExceeded);
            }
            self.kill_run(number);
        }
        Duration::from_millis(room_ms).clamp(*TICK.start(), *TICK.end())
    }

    /// Kills again what is left of jobs that ended, and settles those of which nothing is.
    fn bury(&mut self, now: Instant) -> Result<(), Fault> {
        let jobs: Vec<(u32, Instant)> = self.dying.iter().map(|(job, until)| (*job, *until)).collect();
        let slow = jobs.iter().any(|(_, until)| *until - DEATH * 9 / 10 <= now);
        if slow != self.hurried {
            self.hurried = slow;
            self.stay.hurry(slow)?;
        }
        for (job, until) in jobs {
            if self.stay.is_empty(job) {
                self.dying.remove(&job);
                self.buried(job);
                self.process_buried(job);
                self.stay.let_go(job)?;
            } else if now > until {
                let message = "processes of a session did not end after they were killed";
                return Err(Fault::new(FaultCode::Internal, message));
            } else {
                self.stay.kill(job)?;
            }
        }
        Ok(())
    }
}
