//! Processes of a session: commands of its owner that run beside everything else, on pipes or on a terminal of their own.
//!
//! A process is a job like a fresh run, with its own limits, but has no timeout and no result: it tells what it writes as it comes, at a
//! bounded rate, and how it ended.

use super::keeper::Keeper;
use super::streams::Source;
use super::typing::Typing;
use super::work::NotBegun;
use super::{ENDED_PROCESS, NUMBERED, STDERR, STDOUT, number_of, numbered};
use crate::json;
use model::{Fault, FaultCode, Limits};
use rustix::event::PollFlags;
use sandbox::command::Command;
use sandbox::stay::Start;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use sys::process::Ended;

/// How long a process that wrote a whole piece is not read: about 6 MiB/s go through the service for each, the rest waits in its pipe.
const PAUSE: Duration = Duration::from_millis(10);
/// A piece that is that large is not the last.
const LARGE_BYTES: usize = 4_096;
/// What may be left in a pipe or terminal at the end.
const REST_BYTES: usize = 256 << 10;
/// What ends the input of a program on a terminal (VEOF, termios(3)).
const END_OF_INPUT: u8 = 4;

/// A process that is to be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewProcess {
    /// The program, looked for in `PATH` if there is no slash in it, and its arguments; none holds a NUL.
    pub command: Vec<String>,
    /// Its own variables, on top of the session's.
    pub env: BTreeMap<String, String>,
    /// Where it works, below the workspace; empty is the workspace itself.
    pub cwd: String,
    /// How much it may use.
    pub limits: Limits,
    /// Rows and columns of its terminal, if it has one.
    pub terminal: Option<(u16, u16)>,
}

/// One process for a session's keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProcessJob {
    pub number: u32,
    pub process: NewProcess,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// Its exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether its memory limit did.
    pub memory_exceeded: bool,
    /// Why it never ran.
    pub failed: Option<String>,
    /// Its processor time, in microseconds.
    pub cpu_us: u64,
    /// The most memory that it had, in bytes.
    pub memory_peak_bytes: u64,
}

impl ProcessEnd {
    /// Of one that was killed with its session.
    pub(crate) fn with_the_session() -> Self {
        ended_of(Some((Ended::Signalled(libc::SIGKILL), 0)))
    }
}

/// What a keeper tells of a process that ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProcessTold {
    pub number: u32,
    pub end: ProcessEnd,
}

/// A process, as the keeper sees it.
#[derive(Debug)]
pub(super) struct Process {
    job: u32,
    /// Standard output and standard error; a terminal is the first.
    sources: [Source; 2],
    typing: Typing,
    /// Our side of its terminal.
    terminal: Option<OwnedFd>,
    ended: Option<(Ended, u64)>,
    failed: Option<String>,
    memory_bytes: u64,
    /// Whether it was killed for having more than that.
    greedy: bool,
    /// Whether it is to die: until it has, it is killed again.
    doomed: bool,
}

impl Process {
    fn new(
        job: u32,
        sources: [Source; 2],
        typing: Typing,
        terminal: Option<OwnedFd>,
        new: &NewProcess,
    ) -> Self {
        let memory_bytes = new.limits.memory_bytes;
        Self {
            job,
            sources,
            typing,
            terminal,
            ended: None,
            failed: None,
            memory_bytes,
            greedy: false,
            doomed: false,
        }
    }
}

impl Keeper {
    /// Starts a process; one that cannot be is told to have ended.
    pub fn start_process(&mut self, job: &ProcessJob) {
        let number = job.number;
        match self.process_of(&job.process) {
            Ok(process) => drop(self.processes.insert(number, process)),
            Err(not) => {
                let why = match not {
                    NotBegun::DiskFull => "the session's disk is full".to_owned(),
                    NotBegun::Crowded => "as many processes are in the session as may be".to_owned(),
                    NotBegun::InTheWay(error) => format!("its directory cannot be entered: {error}"),
                    NotBegun::Fault(fault) => fault.to_string(),
                };
                self.tell_end(number, ProcessEnd { failed: Some(why), ..ended_of(None) });
            }
        }
    }

    fn process_of(&mut self, new: &NewProcess) -> Result<Process, NotBegun> {
        let cwd = self.desk.enter(&new.cwd)?;
        let mut env = self.shape.env.clone();
        if new.terminal.is_some() {
            env.entry("TERM".to_owned()).or_insert_with(|| "xterm-256color".to_owned());
        }
        env.extend(new.env.clone());
        let command = Command::by_name(&new.command, &env, &self.shape.shape.image, &cwd);
        let command = command
            .ok_or_else(|| Fault::new(FaultCode::Internal, "the image has no shell that starts programs"))?;
        self.wake()?;
        let null: OwnedFd = std::fs::File::open("/dev/null").map_err(sys::Error::of_io("open"))?.into();
        let Some((rows, columns)) = new.terminal else {
            let (their_stdin, stdin) = sys::fs::pipe_to_write()?;
            let (stdout, their_stdout) = sys::fs::pipe_to_read()?;
            let (stderr, their_stderr) = sys::fs::pipe_to_read()?;
            let streams = [&their_stdin, &their_stdout, &their_stderr, &null].map(AsFd::as_fd);
            let job = self.stay.start(&Start::Execute(&command), &streams, &new.limits)?;
            self.stay.do_not_calm(job);
            let sources = [stdout, stderr].map(|pipe| Source::new(Some(pipe)));
            return Ok(Process::new(job, sources, Typing::new(Some(stdin), b"", true), None, new));
        };
        let (ours, theirs) = sys::terminal::open()?;
        sys::terminal::resize(ours.as_fd(), rows, columns)?;
        let copy = || sys::process::duplicate_above(ours.as_fd(), 0);
        let sources = [Source::new(Some(copy()?)), Source::new(None)];
        let typing = Typing::new(Some(copy()?), b"", true);
        let streams = [&theirs, &theirs, &theirs, &null].map(AsFd::as_fd);
        let job = self.stay.start(&Start::Execute(&command), &streams, &new.limits)?;
        self.stay.do_not_calm(job);
        Ok(Process::new(job, sources, typing, Some(ours), new))
    }

    /// What is to be read and written of processes.
    pub fn process_sources(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = ((u32, Option<usize>), BorrowedFd<'_>, PollFlags)> {
        self.processes.iter().flat_map(move |(number, process)| {
            let typing = process.typing.thirsty().map(|fd| ((*number, None), fd, PollFlags::OUT));
            let read = process.sources.iter().enumerate().filter_map(move |(stream, source)| {
                source.due(now).map(|fd| ((*number, Some(stream)), fd, PollFlags::IN))
            });
            read.chain(typing)
        })
    }

    /// When a process is to be read again.
    pub fn process_looks(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let sources = self.processes.values().flat_map(|process| &process.sources);
        sources.filter_map(move |source| source.next_look(now))
    }

    /// Moves bytes of a process: from a stream, or to its input.
    pub fn move_process(&mut self, number: u32, stream: Option<usize>) {
        let Some(stream) = stream else {
            let took = self.processes.get_mut(&number).map_or(0, |process| process.typing.feed());
            return self.took(number, took);
        };
        let length = self.read_process(number, stream);
        if let Some(process) = self.processes.get_mut(&number) {
            match length {
                LARGE_BYTES.. => process.sources[stream].leave_alone(PAUSE),
                length => process.sources[stream].rest(length),
            }
        }
    }

    fn read_process(&mut self, number: u32, stream: usize) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let length = self
            .processes
            .get_mut(&number)
            .map_or(0, |process| process.sources[stream].read(&mut buffer).len());
        let tag = if stream == 0 { STDOUT } else { STDERR };
        for piece in buffer[..length].chunks(sandbox::forward::PACKET_BYTES) {
            let mut packet = numbered(tag, number);
            packet.extend_from_slice(piece);
            self.outbox.push(packet, None);
        }
        self.buffer = buffer;
        length
    }

    /// Bytes for a process, if that is what is meant; says so.
    pub fn type_to_process(&mut self, packet: &[u8]) -> bool {
        let Some(number) = number_of(packet) else { return false };
        let Some(process) = self.processes.get_mut(&number) else { return false };
        let gone = process.typing.take(packet.get(NUMBERED..).unwrap_or_default());
        let took = gone + process.typing.feed();
        self.took(number, took);
        true
    }

    /// Nothing more comes for a process.
    pub fn no_more_to_process(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        if process.terminal.is_some() {
            // A terminal has no end: its line discipline tells the reader of one.
            process.typing.take(&[END_OF_INPUT]);
        } else {
            process.typing.end();
        }
        process.typing.feed();
    }

    /// Sends a signal, a number behind the process's, to its process group; SIGKILL to all that it started.
    pub fn signal_process(&mut self, packet: &[u8]) {
        let signal = packet.get(NUMBERED).copied().unwrap_or_default();
        let Some(process) = number_of(packet).and_then(|number| self.processes.get_mut(&number)) else {
            return;
        };
        let signal = i32::from(signal);
        process.doomed |= signal == libc::SIGKILL;
        let (job, doomed) = (process.job, process.doomed);
        if doomed {
            self.kill(job);
        } else if let Err(fault) = self.stay.signal(job, signal) {
            crate::log::warn(format_args!("session keeper: {fault}"));
        }
    }

    /// Says how large the terminal of a process is: rows and columns behind its number, 16 bits each.
    pub fn resize_process(&mut self, packet: &[u8]) {
        let at = |at: usize| packet.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
        let (Some(rows), Some(columns)) = (at(NUMBERED), at(NUMBERED + 2)) else { return };
        let process = number_of(packet).and_then(|number| self.processes.get(&number));
        let terminal = process.and_then(|process| process.terminal.as_ref());
        if let Some(Err(error)) =
            terminal.map(|terminal| sys::terminal::resize(terminal.as_fd(), rows, columns))
        {
            crate::log::warn(format_args!("session keeper: {error}"));
        }
    }

    fn process_of_job(&mut self, job: u32) -> Option<(u32, &mut Process)> {
        self.processes
            .iter_mut()
            .find(|(_, process)| process.job == job)
            .map(|(number, process)| (*number, process))
    }

    /// A job did not become its program; its end follows.
    pub fn process_failed(&mut self, job: u32, fault: &Fault) {
        if let Some((_, process)) = self.process_of_job(job) {
            process.failed = Some(fault.to_string());
        }
    }

    /// A job's first process ended; what it started is being killed.
    pub fn process_ended(&mut self, job: u32, how: Ended, cpu_us: u64) {
        if let Some((_, process)) = self.process_of_job(job) {
            process.ended = Some((how, cpu_us));
        }
    }

    /// Nothing is left of a job.
    pub fn process_buried(&mut self, job: u32) {
        let Some((number, _)) = self.process_of_job(job) else { return };
        for stream in 0..2 {
            self.drain(REST_BYTES, |keeper| keeper.read_process(number, stream));
        }
        let counters = self.stay.counters(job);
        let Some(process) = self.processes.remove(&number) else { return };
        let end = ProcessEnd {
            memory_exceeded: process.greedy || counters.oom_kills > 0,
            failed: process.failed,
            memory_peak_bytes: counters.memory_peak_bytes,
            ..ended_of(process.ended)
        };
        self.tell_end(number, end);
    }

    fn tell_end(&mut self, number: u32, mut end: ProcessEnd) {
        if end.failed.is_some() {
            (end.exit_code, end.signal) = (None, None);
        }
        match json::packet([ENDED_PROCESS, 0], &ProcessTold { number, end }) {
            Ok((packet, file)) => self.outbox.push(packet, file),
            Err(error) => crate::log::warn(format_args!("session keeper: tell of a process: {error}")),
        }
    }

    /// Kills processes that have more memory than they may, and again those that were killed. What they write to the disk is bounded by the sandbox's.
    pub fn hold_processes(&mut self) {
        let mut jobs = Vec::new();
        for process in self.processes.values_mut().filter(|process| process.ended.is_none()) {
            process.greedy |=
                self.stay.memory_bytes(process.job, process.memory_bytes) > process.memory_bytes;
            // Also one that had not joined its group when it was killed first: it was not found there.
            if process.greedy || process.doomed {
                jobs.push(process.job);
            }
        }
        jobs.into_iter().for_each(|job| self.kill(job));
    }
}

fn ended_of(ended: Option<(Ended, u64)>) -> ProcessEnd {
    let (exit_code, signal) = match ended.map(|(how, _)| how) {
        Some(Ended::Exited(code)) => (Some(code), None),
        Some(Ended::Signalled(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    ProcessEnd {
        exit_code,
        signal,
        memory_exceeded: false,
        failed: None,
        cpu_us: ended.map_or(0, |(_, cpu_us)| cpu_us),
        memory_peak_bytes: 0,
    }
}
