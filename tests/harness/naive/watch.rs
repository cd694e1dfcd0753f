//! Watches a run as one does who has not been attacked yet. Ends it at the latest when its backstop is reached: well past the
//! deadline or the bound that it should have kept, so that both show.

use super::{Weakness, Weaknesses, fault, stumbled};
use crate::census;
use model::{Fault, Limits};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sandbox::control::{self, Message};
use sandbox::frames::{Frames, Said};
use sandbox::judge::{Seen, Stop};
use sandbox::output::Captured;
use sandbox::place::Sandbox;
use sandbox::streams::Streams;
use sandbox::supervise::Watched;
use serde_json::Value;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use sys::process::Ended;

/// How long past its deadline a run is let go on.
const BACKSTOP: Duration = Duration::from_millis(500);
/// How much output is kept before the run is ended for it.
const BACKSTOP_BYTES: u64 = 256 << 20;
/// How much memory there is for one who makes room for whatever a frame says.
const MEMORY_BYTES: u64 = 1 << 30;
/// The time between two looks at a running program's files.
const LOOK: Duration = Duration::from_millis(1);

/// The most that a pipe of a user's may hold (`/proc/sys/fs/pipe-max-size`, by default).
const PIPE_BYTES_MAX: usize = 1 << 20;
/// How long who waits for streams waits for the program then.
const FAREWELL: Duration = Duration::from_millis(100);
/// The lowest priority.
const LAST: i32 = 19;
/// How long a nap is meant to be: five hundred of them are the deadline of the attack, so that a fifth of a millisecond that each takes longer
/// shows. Without an attack it is a third of that.
const NAP: Duration = Duration::from_millis(3);

/// Watches to the end, and calls `look` again and again meanwhile.
pub(super) fn watch(
    sandbox: &mut Sandbox,
    limits: &Limits,
    streams: Streams,
    weak: &Weaknesses,
    look: &mut dyn FnMut(&Sandbox),
) -> Result<Watched, Fault> {
    let usual = sys::process::nice().map_err(fault)?;
    if weak.has(Weakness::CountsItsNaps) {
        sys::process::set_nice(LAST).map_err(fault)?;
    }
    let mut watch = Watch::new(limits, streams, weak)?;
    let watched = watch.until_over(sandbox, look);
    let wall = watch.started.elapsed();
    sandbox.kill()?;
    if weak.has(Weakness::CountsItsNaps) {
        sys::process::set_nice(usual).map_err(fault)?;
    }
    watched?;
    watch.settle(limits, wall)
}

struct Watch<'a> {
    weak: &'a Weaknesses,
    started: Instant,
    last_sign: Instant,
    timeout: Duration,
    /// Standard output, standard error, result channel.
    sources: [Option<OwnedFd>; 3],
    /// Held where input is left open.
    _stdin: Option<OwnedFd>,
    captured: [Captured; 2],
    frames: Frames,
    /// All that came on the result channel, where it is trusted or is a pickle.
    raw: Vec<u8>,
    trusted: Vec<Value>,
    ended: Option<Ended>,
    stop: Option<Stop>,
    buffer: Vec<u8>,
    naps: u32,
}

impl<'a> Watch<'a> {
    fn new(limits: &Limits, streams: Streams, weak: &'a Weaknesses) -> Result<Self, Fault> {
        let keeps = if weak.has(Weakness::KeepsAllOutput) { u64::MAX } else { limits.output_bytes };
        let [stdout, stderr] = streams.outputs;
        if weak.has(Weakness::TrustsFrames) {
            let limit = getrlimit(Resource::As);
            setrlimit(Resource::As, Rlimit { current: Some(MEMORY_BYTES), ..limit }).map_err(fault)?;
        }
        let now = Instant::now();
        Ok(Self {
            weak,
            started: now,
            last_sign: now,
            timeout: Duration::from_millis(limits.timeout_ms),
            sources: [stdout, stderr, streams.result],
            _stdin: streams.stdin.filter(|_| weak.has(Weakness::LeavesInputOpen)),
            captured: [Captured::new(keeps), Captured::new(keeps)],
            frames: Frames::default(),
            raw: Vec::new(),
            trusted: Vec::new(),
            ended: None,
            stop: None,
            buffer: vec![0; if weak.has(Weakness::ReadsByteByByte) { 1 } else { 65_536 }],
            naps: 0,
        })
    }

    fn until_over(&mut self, sandbox: &Sandbox, look: &mut dyn FnMut(&Sandbox)) -> Result<(), Fault> {
        while !self.is_over() {
            if self.weak.has(Weakness::CountsItsNaps) {
                std::thread::sleep(NAP);
                self.naps += 1;
            }
            let ready = self.wait(sandbox)?;
            if ready[3] {
                self.hear(sandbox)?;
            }
            for (index, _) in ready[..3].iter().enumerate().filter(|(_, ready)| **ready) {
                self.read(index)?;
            }
            look(sandbox);
        }
        Ok(())
    }

    fn is_over(&mut self) -> bool {
        let waits = self.weak.has(Weakness::WaitsForStreams);
        let streams_ended = self.sources.iter().all(Option::is_none);
        let gave_up = waits && streams_ended && self.last_sign.elapsed() >= FAREWELL;
        let ended = self.ended.is_some() && (streams_ended || !waits);
        if ended || gave_up || self.stop.is_some() {
            return true;
        }
        let patience = match self.weak {
            weak if weak.has(Weakness::AsksTheGuestToEnd) => None,
            weak if weak.has(Weakness::CountsProcessorTime) => None,
            weak if weak.has(Weakness::WaitsForSilence) => Some(self.last_sign.elapsed()),
            weak if weak.has(Weakness::CountsItsNaps) => Some(NAP * self.naps),
            _ => Some(self.started.elapsed()),
        };
        let late = self.started.elapsed() >= self.timeout + BACKSTOP;
        if late || patience.is_some_and(|passed| passed >= self.timeout) {
            self.stop = Some(Stop::TimedOut);
        }
        self.stop.is_some()
    }

    /// Waits a moment; says which of the three streams and of init's words are there.
    fn wait(&self, sandbox: &Sandbox) -> Result<[bool; 4], Fault> {
        let sources = self.sources.iter().map(|source| source.as_ref().map(AsFd::as_fd));
        // An end that was heard is heard again and again.
        let control = self.ended.is_none().then(|| sandbox.control());
        let sources: Vec<_> = sources.chain([control]).enumerate().collect();
        let open: Vec<_> = sources.iter().filter_map(|(index, fd)| Some((*index, (*fd)?))).collect();
        let mut polls: Vec<PollFd<'_>> =
            open.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let naps = self.weak.has(Weakness::CountsItsNaps);
        let moment = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: if naps { 0 } else { i64::from(LOOK.subsec_nanos()) },
        };
        match rustix::event::poll(&mut polls, Some(&moment)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(fault(errno)),
        }
        let mut ready = [false; 4];
        for ((index, _), poll) in open.iter().zip(&polls) {
            ready[*index] = !poll.revents().is_empty();
        }
        Ok(ready)
    }

    fn hear(&mut self, sandbox: &Sandbox) -> Result<(), Fault> {
        match control::receive(sandbox.control()).map_err(fault)? {
            Some((Message::Ended { status, .. }, _)) => self.ended = Some(Ended::from_status(status)),
            Some((Message::Started, _)) => {}
            other => return Err(fault(format!("init said {:?}", other.map(|heard| heard.0)))),
        }
        Ok(())
    }

    /// Reads one piece; answers how many bytes came.
    fn read(&mut self, index: usize) -> Result<usize, Fault> {
        let Some(fd) = &self.sources[index] else { return Ok(0) };
        let length = match rustix::io::read(fd, &mut self.buffer[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN) => return Ok(0),
            Err(errno) => return Err(fault(errno)),
        };
        self.last_sign = Instant::now();
        if length == 0 {
            self.sources[index] = None;
            return Ok(0);
        }
        match (index, self.weak) {
            (0 | 1, _) => {
                self.captured[index].push(&self.buffer[..length]);
                if self.captured[index].total_bytes() > BACKSTOP_BYTES
                    && self.weak.has(Weakness::KeepsAllOutput)
                {
                    self.stop = Some(Stop::OutputExceeded);
                }
            }
            (_, weak) if weak.has(Weakness::TrustsFrames) => {
                self.raw.extend_from_slice(&self.buffer[..length]);
                self.trust()?;
            }
            (_, weak) if weak.has(Weakness::UnpicklesResults) => {
                self.raw.extend_from_slice(&self.buffer[..length])
            }
            _ => self.frames.push(&self.buffer[..length]),
        }
        Ok(length)
    }

    /// Takes whole frames at their word, and makes room for the next.
    fn trust(&mut self) -> Result<(), Fault> {
        while self.raw.len() >= 5 {
            let length = u32::from_le_bytes([self.raw[1], self.raw[2], self.raw[3], self.raw[4]]) as usize;
            let more = (length + 5).saturating_sub(self.raw.len());
            self.raw
                .try_reserve_exact(more)
                .map_err(|error| stumbled(format!("a frame of {length} bytes: {error}")))?;
            let Some(payload) = self.raw.get(5..5 + length) else { break };
            self.trusted.extend(serde_json::from_slice::<Value>(payload));
            self.raw.drain(..5 + length);
            let grown = census::peak_bytes();
            if grown > BACKSTOP_BYTES {
                return Err(stumbled(format!("a frame of {length} bytes has grown to {} MiB", grown >> 20)));
            }
        }
        Ok(())
    }

    /// Reads what is left and tells what was seen.
    fn settle(mut self, limits: &Limits, wall: Duration) -> Result<Watched, Fault> {
        for index in 0..3 {
            // No pipe holds more.
            let mut left = PIPE_BYTES_MAX;
            while let (None, length @ 1..) = (self.stop, self.read(index)?.min(left)) {
                left -= length;
            }
        }
        let mut said =
            if self.weak.has(Weakness::TrustsFrames) { trusted(self.trusted) } else { self.frames.finish() };
        let [mut stdout, stderr] = self.captured;
        if self.weak.has(Weakness::UnpicklesResults) {
            let (text, ran) = unpickle(&self.raw)?;
            if ran {
                stdout.push(b"\nBREACH the supervisor ran what it read\n");
            }
            said.result = Some([("text/plain".to_owned(), text.into())].into_iter().collect());
        }
        let seen = Seen {
            // Who gave up after the streams does not know, and takes it for good.
            ended: self.ended.or(self.weak.has(Weakness::WaitsForStreams).then_some(Ended::Exited(0))),
            stop: self.stop,
            output_truncated: stdout.dropped_bytes() > 0 || stderr.dropped_bytes() > 0,
            ..Seen::default()
        };
        // It had them all; to tell so much of them is not worth a test's time.
        let told = |kept: Captured| {
            if kept.total_bytes() > BACKSTOP_BYTES / 4 { Captured::new(limits.output_bytes) } else { kept }
        };
        Ok(Watched {
            seen,
            stdout: told(stdout),
            stderr: told(stderr),
            said,
            wall,
            memory_peak_bytes: 0,
            cpu_us: None,
        })
    }
}

fn trusted(values: Vec<Value>) -> Said {
    let bundle = |value| if let Value::Object(bundle) = value { Some(bundle) } else { None };
    Said { result: values.into_iter().rev().find_map(bundle), ..Said::default() }
}

/// Reads a pickle with Python, in a mount namespace in which `/tmp` is nobody's. Says what it was, and whether that ran code.
fn unpickle(bytes: &[u8]) -> Result<(String, bool), Fault> {
    const READER: &str = "import os, pickle, sys\ntext = sys.stdin.buffer.read()\nif text:\n    print(repr(pickle.loads(text)))\n\
                          sys.exit(3 if os.path.exists('/tmp/PWNED') else 0)";
    let mut child = Command::new("unshare")
        .current_dir("/")
        .args(["--mount", "sh", "-c", "mount -t tmpfs none /tmp && exec python3 -c \"$0\"", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(fault)?;
    child.stdin.take().map(|mut stdin| stdin.write_all(bytes)).transpose().map_err(fault)?;
    let output = child.wait_with_output().map_err(fault)?;
    match output.status.code() {
        Some(code @ (0 | 3)) => Ok((String::from_utf8_lossy(&output.stdout).into_owned(), code == 3)),
        _ => Err(fault(format!("the reader of results died: {}", output.status))),
    }
}
