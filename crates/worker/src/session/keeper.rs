//! A session's keeper: one process and one thread that waits for everything at once and for nobody in particular.

use super::desk::Desk;
use super::interpreter::{CHANNEL, Interpreter};
use super::outbox::Outbox;
use super::run::{Phase, Place, Run};
use super::{BUILT, CANCEL, FAILED, RESTART, RUN, SessionJob, SessionShape, number_of};
use crate::json;
use model::{Fault, FaultCode, Language};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use sandbox::host::Host;
use sandbox::judge::Stop;
use sandbox::plan::Needs;
use sandbox::run::Setting;
use sandbox::stay::{Heard, Staying};
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often memory and disk are looked at while a run is on.
const TICK: Duration = Duration::from_millis(20);
/// How often what is being killed is looked at.
const DYING_TICK: Duration = Duration::from_millis(1);
/// How long the kernel may take to end what was killed before the session is given up.
const DEATH: Duration = Duration::from_secs(2);
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
            eprintln!("fireclay: session keeper: {error}");
            1
        }
    }
}

fn keep(socket: OwnedFd, shape: SessionShape, zygote: Option<OwnedFd>, host: &Host) -> std::io::Result<()> {
    let mut outbox = Outbox::new(socket)?;
    let stay = match make(&shape, zygote.is_some(), host) {
        Ok(stay) => stay,
        Err(fault) => {
            let (packet, file) = json::packet([FAILED, 0], &fault)?;
            outbox.push(packet, file);
            return Ok(outbox.flush()?);
        }
    };
    let desk = Desk::of(&stay)?;
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
        interpreters: BTreeMap::new(),
        dying: BTreeMap::new(),
        next_look: Instant::now(),
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
        meanwhile: &|| {},
        fail_at: None,
    };
    let needs = Needs {
        limits: shape.shape.limits,
        allow_missing: shape.shape.allow_missing.clone(),
        joinable,
        stays: true,
    };
    Staying::make(&needs, &setting)
}

pub(super) struct Keeper {
    pub shape: SessionShape,
    pub zygote: Option<OwnedFd>,
    pub stay: Staying,
    pub outbox: Outbox,
    pub desk: Desk,
    /// By number.
    pub runs: BTreeMap<u32, Run>,
    pub interpreters: BTreeMap<Language, Interpreter>,
    /// Jobs whose first process has ended and of which something may be left, and until when it may be.
    pub dying: BTreeMap<u32, Instant>,
    next_look: Instant,
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
            // What is written while no run is on waits for the next.
            let running = interpreter.run.is_some_and(|run| self.is_on(run));
            for (index, pipe) in interpreter.sources.iter().enumerate() {
                let wanted = index == CHANNEL || running || !interpreter.ready;
                let due = pipe.due(now).filter(|_| wanted);
                let source = Source::Interpreter(*language, index);
                sources.extend(due.map(|fd| (source, fd, PollFlags::IN)));
            }
        }
        for (number, run) in &self.runs {
            let Place::Fresh(fresh) = &run.place else { continue };
            for (index, pipe) in fresh.sources.iter().enumerate() {
                sources.extend(pipe.due(now).map(|fd| (Source::Fresh(*number, index), fd, PollFlags::IN)));
            }
            sources.extend(fresh.thirsty().map(|fd| (Source::Stdin(*number), fd, PollFlags::OUT)));
        }
        sources
    }

    fn is_on(&self, run: u32) -> bool {
        self.runs.get(&run).is_some_and(|run| run.phase != Phase::Waiting)
    }

    /// When something is to be done if nothing happens; `None` in a session that is idle.
    fn due(&self, now: Instant) -> Option<Instant> {
        let runs = self.runs.values().filter_map(Run::due);
        let look = (!self.runs.is_empty()).then_some(self.next_look);
        let dying = (!self.dying.is_empty()).then_some(now + DYING_TICK);
        let fresh = self.runs.values().filter_map(|run| match &run.place {
            Place::Fresh(fresh) => Some(&fresh.sources),
            Place::State(_) => None,
        });
        let pipes = self.interpreters.values().map(|one| &one.sources).chain(fresh).flatten();
        let looks = pipes.filter_map(|pipe| pipe.next_look(now));
        let starts = self.interpreters.values().filter(|one| !one.ready).map(|one| one.since + START);
        runs.chain(look).chain(dying).chain(looks).chain(starts).min()
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
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        }
        Ok(true)
    }

    /// Hears one thing of init; false when the sandbox is gone.
    fn hear(&mut self) -> Result<bool, Fault> {
        match self.stay.hear()? {
            Heard::Began(job) => self.began(job),
            Heard::Failed(job, fault) => self.failed(job, &fault),
            Heard::Ended { job, how, cpu_us } => {
                self.dying.insert(job, Instant::now() + DEATH);
                self.stay.kill(job)?;
                self.ended(job, how, cpu_us);
            }
            Heard::Gone => return Ok(false),
        }
        Ok(true)
    }

    fn move_bytes(&mut self, source: Source) {
        match source {
            Source::Interpreter(language, CHANNEL) => self.listen(language),
            Source::Interpreter(language, stream) => self.read_interpreter(language, stream),
            Source::Fresh(number, CHANNEL) => self.read_frames(number),
            Source::Fresh(number, stream) => self.read_fresh(number, stream),
            Source::Stdin(number) => {
                if let Some(Run { place: Place::Fresh(fresh), .. }) = self.runs.get_mut(&number) {
                    fresh.feed();
                }
            }
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
                Some(Phase::Running) => self.stop(number, Stop::TimedOut),
                _ => {}
            }
        }
        let late: Vec<u32> = (self.interpreters.values())
            .filter(|one| !one.ready && !one.ending && one.since + START <= now)
            .map(|one| one.job)
            .collect();
        for job in late {
            self.stay.kill(job)?;
        }
        if !self.runs.is_empty() && now >= self.next_look {
            self.next_look = now + TICK;
            self.measure();
        }
        self.bury(now)
    }

    /// The runs of which this holds.
    pub fn numbers(&self, holds: impl Fn(&Run) -> bool) -> Vec<u32> {
        self.runs.iter().filter(|(_, run)| holds(run)).map(|(number, _)| *number).collect()
    }

    /// Whether the scratch file system has no room.
    pub fn disk_is_full(&self) -> bool {
        sys::fs::space(self.stay.scratch())
            .is_ok_and(|space| space.free_bytes < DISK_SLACK_BYTES || space.free_inodes == 0)
    }

    /// Looks at memory and disk of what runs.
    fn measure(&mut self) {
        let full = self.disk_is_full();
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
            if job.is_some_and(|job| self.stay.exceeds(job, limit)) {
                greedy.push(*number);
            }
        }
        for number in greedy {
            // To interrupt is to let it go on for a while: there is no memory for that.
            if let Some(run) = self.runs.get_mut(&number) {
                run.stop.get_or_insert(Stop::MemoryExceeded);
            }
            self.kill_run(number);
        }
    }

    /// Kills again what is left of jobs that ended, and settles those of which nothing is.
    fn bury(&mut self, now: Instant) -> Result<(), Fault> {
        let jobs: Vec<(u32, Instant)> = self.dying.iter().map(|(job, until)| (*job, *until)).collect();
        for (job, until) in jobs {
            if self.stay.is_empty(job) {
                self.dying.remove(&job);
                self.buried(job);
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
