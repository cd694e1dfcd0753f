//! Watches one run from its start to the end of everything inside: one loop over its streams, its limits and its caller.
//!
//! Nothing here waits on the guest: every stream is read as it comes and bounded, forwarded output is written only where there
//! is room, and the deadline holds whatever the code or the reader of its output does.

use crate::control::{self, Message};
use crate::forward::{Forward, Live};
use crate::frames::{Frames, Said};
use crate::inputs;
use crate::judge::{Seen, Stop};
use crate::output::Captured;
use crate::place::{Sandbox, failure};
use crate::plan::Plan;
use crate::run::Refused;
use crate::streams::{Streams, capacity, read_piece};
use model::limits::OUTPUT_HARD_FACTOR;
use model::{Fault, FaultCode, Limits, RunSpec};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::process::Ended;

/// Most bytes moved in one step: a pipe's usual capacity.
const PIECE_BYTES: usize = 65_536;
/// A smaller piece is a drop. A stream that drips is left alone for [`PAUSE`], so that code which writes byte by byte does not have
/// its supervisor work for each of them; the pipe holds what comes meanwhile.
const DROP_BYTES: usize = 4_096;
/// How long, and so how late a drop may be shown.
const PAUSE: Duration = Duration::from_millis(1);
/// Shortest and longest time between two looks at memory and disk.
const SAMPLE: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);
/// The fastest that code can fill memory: what two cores reach here by touching new pages, doubled.
const FILL_BYTES_PER_MS: u64 = 8 << 20;
/// Free space below which the scratch file system counts as full: a write of one page no longer fits, or nearly so.
const DISK_SLACK_BYTES: u64 = 16 << 10;

/// Where standard input comes from.
pub enum Stdin<'a> {
    /// These bytes, then the end.
    Bytes(&'a [u8]),
    /// A descriptor of the caller, copied as it becomes readable, never handed in.
    Descriptor(BorrowedFd<'a>),
}

/// The caller's side of a run.
pub struct Io<'a> {
    /// Standard input.
    pub stdin: Stdin<'a>,
    /// Standard output as it comes, up to the part that is kept as head.
    pub stdout: Option<Live<'a>>,
    /// Standard error, likewise.
    pub stderr: Option<Live<'a>>,
    /// Readable when the caller takes the run back.
    pub cancel: Option<BorrowedFd<'a>>,
    /// After what time it gives way to those that begin.
    pub gives_way: Option<Duration>,
}

/// All that was seen of a run.
#[derive(Debug)]
pub struct Watched {
    /// Facts for the judge.
    pub seen: Seen,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// What the guest said.
    pub said: Said,
    /// From start to end.
    pub wall: Duration,
    /// Most memory at once.
    pub memory_peak_bytes: u64,
    /// Processor time of everything inside in microseconds, if nothing outlived the job: else it is known when init has ended.
    pub cpu_us: Option<u64>,
}

/// Watches a started sandbox until everything in it has ended but init, which may still be on its way out.
pub fn watch(
    sandbox: &mut Sandbox,
    plan: &Plan,
    spec: &RunSpec,
    streams: Streams,
    io: Io<'_>,
) -> Result<Watched, Refused> {
    let mut watch = Watch::new(&spec.limits, streams, io);
    // One who watches does little and must be in time, whatever else the machine does. Only root may; others hope.
    let usual = sys::process::nice().unwrap_or(0);
    let raised = sys::process::set_nice(WATCHING_NICE).is_ok();
    let watched = watch_to_the_end(&mut watch, sandbox, plan, spec);
    if raised {
        sys::process::set_nice(usual).map_err(|error| Fault::new(FaultCode::Internal, error.to_string()))?;
    }
    let (wall, alone) = watched?;
    Ok(settle(watch, sandbox, wall, alone)?)
}

/// The nice value while watching.
const WATCHING_NICE: i32 = -15;

/// Watches until the run is over, then until everything inside is dead but init. Returns the time it ran, and whether nothing
/// outlived the job.
fn watch_to_the_end(
    watch: &mut Watch<'_>,
    sandbox: &mut Sandbox,
    plan: &Plan,
    spec: &RunSpec,
) -> Result<(Duration, bool), Refused> {
    while watch.ended.is_none() && watch.stop.is_none() {
        watch.step(sandbox, plan, spec)?;
    }
    let wall = watch.started.elapsed();
    watch.look_at_disk(sandbox);
    if watch.stop.is_some() {
        sandbox.lift_processor_limit()?;
    }
    // Init takes long to end, since its mounts end with it: where the kernel says that nothing else is left, there is no waiting
    // for that before the streams and files are read.
    let down_to_init = |leaf: &crate::cgroup::Leaf| leaf.processes().is_ok_and(|processes| processes == 1);
    let alone = watch.stop.is_none() && sandbox.cgroup().is_some_and(down_to_init);
    if !alone {
        sandbox.kill()?;
    }
    Ok((wall, alone))
}

/// Reads what is left and tells what was seen.
fn settle(mut watch: Watch<'_>, sandbox: &Sandbox, wall: Duration, alone: bool) -> Result<Watched, Fault> {
    watch.drain();
    let counters = sandbox.cgroup().map(crate::cgroup::Leaf::counters).transpose();
    let counters = counters
        .map_err(|error| Fault::new(FaultCode::Internal, format!("read counters: {error}")))?
        .unwrap_or_default();
    let [stdout, stderr] = watch.captured;
    let seen = Seen {
        ended: watch.ended,
        stop: watch.stop,
        oom_kills: counters.oom_kills,
        process_refusals: counters.process_refusals,
        disk_full: watch.disk_full,
        output_truncated: stdout.dropped_bytes() > 0 || stderr.dropped_bytes() > 0,
    };
    let memory_peak_bytes = counters.memory_peak_bytes.max(watch.memory_peak_bytes);
    let cpu_us = watch.cpu_us.filter(|_| alone);
    Ok(Watched { seen, stdout, stderr, said: watch.frames.finish(), wall, memory_peak_bytes, cpu_us })
}

/// The result channel's place among the streams from the guest, after the two outputs.
const RESULT: usize = 2;

/// The state of one watch.
struct Watch<'a> {
    limits: Limits,
    started: Instant,
    next_sample: Instant,
    streams: Streams,
    /// When the outputs and the result channel are looked at again.
    next_look: [Instant; 3],
    stdin: Feed<'a>,
    captured: [Captured; 2],
    live: [Option<Forward<'a>>; 2],
    frames: Frames,
    cancel: Option<BorrowedFd<'a>>,
    gives_way: Option<Instant>,
    ended: Option<Ended>,
    cpu_us: Option<u64>,
    stop: Option<Stop>,
    disk_full: bool,
    memory_peak_bytes: u64,
    buffer: Vec<u8>,
}

/// Input on its way in.
struct Feed<'a> {
    source: Option<BorrowedFd<'a>>,
    pending: VecDeque<u8>,
}

impl<'a> Watch<'a> {
    fn new(limits: &Limits, streams: Streams, io: Io<'a>) -> Self {
        let stdin = match io.stdin {
            Stdin::Bytes(bytes) => Feed { source: None, pending: bytes.iter().copied().collect() },
            Stdin::Descriptor(fd) => Feed { source: Some(fd), pending: VecDeque::new() },
        };
        let forward = |live: Option<Live<'a>>| live.map(|live| Forward { live, queue: VecDeque::new() });
        let started = Instant::now();
        let mut watch = Self {
            limits: *limits,
            started,
            next_sample: started + *SAMPLE.start(),
            streams,
            next_look: [started; 3],
            stdin,
            captured: [Captured::new(limits.output_bytes), Captured::new(limits.output_bytes)],
            live: [forward(io.stdout), forward(io.stderr)],
            frames: Frames::default(),
            cancel: io.cancel,
            gives_way: io.gives_way.map(|after| started + after),
            ended: None,
            cpu_us: None,
            stop: None,
            disk_full: false,
            memory_peak_bytes: 0,
            buffer: Vec::with_capacity(PIECE_BYTES),
        };
        watch.close_finished_stdin();
        watch
    }

    fn deadline(&self) -> Instant {
        self.started + Duration::from_millis(self.limits.timeout_ms)
    }

    /// Waits for one thing to happen, and handles all that did.
    fn step(&mut self, sandbox: &mut Sandbox, plan: &Plan, spec: &RunSpec) -> Result<(), Refused> {
        let ready = self.wait(sandbox)?;
        if Instant::now() >= self.deadline() {
            self.stop = Some(Stop::TimedOut);
            return Ok(());
        }
        if ready.contains(&Source::Cancel) {
            self.stop = Some(Stop::Cancelled);
            return Ok(());
        }
        for source in ready {
            match source {
                Source::Output(index) => {
                    let length = self.read_output(index);
                    self.pause(index, length);
                }
                Source::Result => {
                    let length = self.read_result();
                    self.pause(RESULT, length);
                }
                Source::StdinRoom => self.feed(),
                Source::StdinMore => self.read_stdin(),
                Source::LiveRoom(index) => self.forward(index),
                Source::Control => self.hear(sandbox, plan, spec)?,
                Source::Cancel => {}
            }
        }
        if Instant::now() >= self.next_sample {
            self.sample(sandbox);
            if self.gives_way.take_if(|at| *at <= Instant::now()).is_some() {
                sandbox.give_way()?;
            }
        }
        Ok(())
    }

    /// Leaves a stream alone for a while after a drop.
    fn pause(&mut self, stream: usize, length: usize) {
        if length < DROP_BYTES {
            self.next_look[stream] = Instant::now() + PAUSE;
        }
    }

    /// Blocks until a source is ready or the next look is due.
    fn wait(&self, sandbox: &Sandbox) -> Result<Vec<Source>, Fault> {
        let now = Instant::now();
        let looks = self.next_look.into_iter().filter(|look| *look > now);
        let until =
            looks.fold(self.deadline().min(self.next_sample), Instant::min).saturating_duration_since(now);
        let timeout = rustix::time::Timespec {
            tv_sec: until.as_secs() as i64,
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        let sources = self.sources(sandbox, now);
        let mut polls: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match rustix::event::poll(&mut polls, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Fault::new(FaultCode::ResourcesExhausted, format!("poll: {errno}"))),
        }
        let ready = sources.iter().zip(&polls).filter(|(_, poll)| !poll.revents().is_empty());
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    /// Everything that is waited for now.
    fn sources<'s>(&'s self, sandbox: &'s Sandbox, now: Instant) -> Vec<(Source, BorrowedFd<'s>, PollFlags)> {
        let mut sources = vec![(Source::Control, sandbox.control(), PollFlags::IN)];
        if let Some(cancel) = self.cancel {
            sources.push((Source::Cancel, cancel, PollFlags::IN));
        }
        let kinds = [Source::Output(0), Source::Output(1), Source::Result];
        let streams = self.streams.outputs.iter().chain([&self.streams.result]);
        for ((kind, stream), look) in kinds.into_iter().zip(streams).zip(self.next_look) {
            let stream = stream.as_ref().filter(|_| look <= now);
            sources.extend(stream.map(|fd| (kind, fd.as_fd(), PollFlags::IN)));
        }
        if let Some(stdin) = &self.streams.stdin {
            match self.stdin.source {
                Some(source) if self.stdin.pending.is_empty() => {
                    sources.push((Source::StdinMore, source, PollFlags::IN));
                }
                _ => sources.push((Source::StdinRoom, stdin.as_fd(), PollFlags::OUT)),
            }
        }
        for (index, forward) in self.live.iter().enumerate() {
            let waiting = forward.as_ref().filter(|forward| !forward.queue.is_empty());
            sources.extend(waiting.map(|forward| (Source::LiveRoom(index), forward.live.fd, PollFlags::OUT)));
        }
        sources
    }

    /// Reads one piece of stdout or stderr; answers how many bytes came.
    fn read_output(&mut self, index: usize) -> usize {
        let Some(fd) = &self.streams.outputs[index] else { return 0 };
        match read_piece(fd, &mut self.buffer) {
            Ok(length) if length > 0 => {
                let shown = self.captured[index].push(&self.buffer[..length]);
                if let Some(forward) = &mut self.live[index] {
                    forward.queue.extend((forward.live.transform)(&self.buffer[..shown]));
                }
                self.forward(index);
                let hard = self.limits.output_bytes.max(1).saturating_mul(OUTPUT_HARD_FACTOR);
                if self.captured[index].total_bytes() > hard && self.stop.is_none() {
                    self.stop = Some(Stop::OutputExceeded);
                }
                return length;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.streams.outputs[index] = None,
        }
        0
    }

    /// Writes forwarded output as far as there is room.
    fn forward(&mut self, index: usize) {
        let Some(forward) = &mut self.live[index] else { return };
        while !forward.queue.is_empty() {
            let mut poll = [PollFd::from_borrowed_fd(forward.live.fd, PollFlags::OUT)];
            let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            if rustix::event::poll(&mut poll, Some(&now)) != Ok(1) {
                return;
            }
            match forward.write() {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => {
                    // The reader went away: so does the guest's reader, and it is told as a program in a pipeline would be.
                    self.live[index] = None;
                    self.streams.outputs[index] = None;
                    return;
                }
            }
        }
    }

    fn read_result(&mut self) -> usize {
        let Some(fd) = &self.streams.result else { return 0 };
        match read_piece(fd, &mut self.buffer) {
            Ok(length) if length > 0 => {
                self.frames.push(&self.buffer[..length]);
                return length;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.streams.result = None,
        }
        0
    }

    fn read_stdin(&mut self) {
        let Some(source) = self.stdin.source else { return };
        match read_piece(source, &mut self.buffer) {
            Ok(length) if length > 0 => self.stdin.pending.extend(&self.buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.stdin.source = None,
        }
        self.feed();
    }

    /// Writes input as far as there is room; closes it at its end, or when the guest has closed its side.
    fn feed(&mut self) {
        while let Some(fd) = self.streams.stdin.as_ref().filter(|_| !self.stdin.pending.is_empty()) {
            match rustix::io::write(fd, self.stdin.pending.as_slices().0) {
                Ok(length) => drop(self.stdin.pending.drain(..length)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => self.streams.stdin = None,
            }
        }
        self.close_finished_stdin();
    }

    fn close_finished_stdin(&mut self) {
        if self.stdin.source.is_none() && self.stdin.pending.is_empty() {
            self.streams.stdin = None;
        }
    }

    /// Hears what init says.
    fn hear(&mut self, sandbox: &Sandbox, plan: &Plan, spec: &RunSpec) -> Result<(), Refused> {
        let heard = control::receive(sandbox.control());
        match heard
            .map_err(|error| Fault::new(FaultCode::Interrupted, format!("receive from init: {error}")))?
        {
            Some((Message::Started, _)) => Ok(()),
            Some((Message::Ended { status, cpu_us }, _)) => {
                self.ended = Some(Ended::from_status(status));
                self.cpu_us = Some(cpu_us);
                Ok(())
            }
            Some((Message::Refused { index, errno }, _)) => Err(inputs::refused(spec, index, errno)),
            Some((message, _)) => Err(failure(plan, message).into()),
            // Init has no other reason to be gone than the kernel's memory killer or somebody's kill.
            None if self.out_of_memory(sandbox) => {
                self.stop = Some(Stop::MemoryExceeded);
                Ok(())
            }
            None => Err(Fault::new(FaultCode::Interrupted, "init died under the run").into()),
        }
    }

    fn out_of_memory(&self, sandbox: &Sandbox) -> bool {
        let counters = sandbox.cgroup().map(crate::cgroup::Leaf::counters);
        counters.is_some_and(|counters| counters.is_ok_and(|counters| counters.oom_kills > 0))
    }

    /// Looks at memory and disk, and decides when to look again: the less room is left, the sooner.
    fn sample(&mut self, sandbox: &Sandbox) {
        self.look_at_disk(sandbox);
        let used = self.memory_bytes(sandbox);
        self.memory_peak_bytes = self.memory_peak_bytes.max(used);
        if used > self.limits.memory_bytes {
            self.stop = Some(Stop::MemoryExceeded);
        }
        let room_ms = self.limits.memory_bytes.saturating_sub(used) / FILL_BYTES_PER_MS;
        self.next_sample =
            Instant::now() + Duration::from_millis(room_ms).clamp(*SAMPLE.start(), *SAMPLE.end());
    }

    /// Memory of the code: what its group is charged with, less files on tmpfs (the disk limit's) and file cache (the kernel's to
    /// take back). The finer figures are read only when the plain one is over the limit. Without a group: what processes hold.
    fn memory_bytes(&self, sandbox: &Sandbox) -> u64 {
        let Some(leaf) = sandbox.cgroup() else { return crate::census::resident_bytes(sandbox.pid()) };
        let charged = leaf.memory_bytes().unwrap_or(0);
        if charged <= self.limits.memory_bytes {
            return charged;
        }
        let files = sys::fs::space(sandbox.scratch()).map_or(0, |space| space.used_bytes);
        let cache = leaf.file_cache_bytes().unwrap_or(0);
        charged.saturating_sub(files).saturating_sub(cache)
    }

    fn look_at_disk(&mut self, sandbox: &Sandbox) {
        if let Ok(space) = sys::fs::space(sandbox.scratch()) {
            self.disk_full |= space.free_bytes < DISK_SLACK_BYTES || space.free_inodes == 0;
        }
    }

    /// Reads what is left in the pipes: at most what each can hold, since all inside are dead. Where somebody else still holds the
    /// writing end (a descriptor in flight, or what outlived a sandbox without a PID namespace), the stream has no end: it is let go.
    fn drain(&mut self) {
        for index in 0..2 {
            let mut left = capacity(&self.streams.outputs[index]);
            while let length @ 1.. = self.read_output(index).min(left) {
                left -= length;
            }
            self.streams.outputs[index] = None;
        }
        let mut left = capacity(&self.streams.result);
        while let length @ 1.. = self.read_result().min(left) {
            left -= length;
        }
        self.streams.result = None;
        self.flush();
    }

    /// Gives the reader of forwarded output what is left; now nothing else waits.
    fn flush(&mut self) {
        for forward in self.live.iter_mut().flatten() {
            while !forward.queue.is_empty() {
                match forward.write() {
                    Ok(()) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        let mut poll = [PollFd::from_borrowed_fd(forward.live.fd, PollFlags::OUT)];
                        if !matches!(rustix::event::poll(&mut poll, None), Ok(_) | Err(Errno::INTR)) {
                            break;
                        }
                    }
                    Err(_) => break,
                }
            }
        }
    }
}

/// What a watch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Control,
    Cancel,
    Output(usize),
    Result,
    StdinRoom,
    StdinMore,
    LiveRoom(usize),
}
