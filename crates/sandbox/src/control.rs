//! What the supervisor and init say to each other, over one seqpacket socket. Both ends are ours; the job never holds it.
//!
//! ```text
//! supervisor                         init
//!     ── mapped ──────────────────────►   ids are mapped: begin to build
//!     ── joinable + [tasks …] ────────►   version 1 control groups, made while init builds: join them
//!     ── start + [errand, 0, 1, 2, 3] ►   what to do, in a memory file, and the streams; may be sent before init is ready
//!     ── furnish + [errand, ready] ───►   instead: write the inputs, say on `ready` that they are written
//!     ── adopt(pid) ──────────────────►   then: the job is this process, forked into the sandbox from outside
//!     ── start ahead + [errand, 0 … 4] ►   or: a job that waits on 4 for what it is to do
//!     ── furnish + [errand, ready] ───►   then, when that is known
//!     ◄───────── ready + [scratch …] ──   built: the root of the scratch file system, then what a fork enters by
//!     ◄───────── started ───────────────  the job became its program
//!     ◄───────── ended(status, time) ──   the job ended; init ends with all that is left
//!     ◄───────── refused(index, errno) ─   instead of both: an input could not be written; init ends
//!     ◄───────── failed(step, errno) ──   at any time: a step failed; init ends
//!
//! And with the init of a sandbox that stays, any number of times, in any order:
//!
//!     ── launch(job) + [errand, 0 …, tasks …] ►   another job, by this number; streams, then files to join its control groups by
//!     ── adopt as(job, pid) ──────────►   or: another job is this process, forked into the sandbox from outside
//!     ── signal(job, signal) ─────────►   to the job's process group
//!     ◄───────── signalled(job) ────────  it was sent
//!     ◄───────── started ───────────────  the job of the oldest launch that is not over became its program
//!     ◄───────── failed(step, errno) ──   or did not: then its end follows
//!     ◄───────── launched(job) ─────────  that launch is over: who was killed in it said neither
//!     ◄───────── job ended(job, status, time)
//!     ── socket(number, family) ──────►   make a TCP socket, which stays in the sandbox's network whoever connects it
//!     ◄───────── socket made(number, errno) + [socket]
//! ```

use std::os::fd::{BorrowedFd, OwnedFd};
use sys::{Error, Result};

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Ids are mapped.
    Mapped,
    /// The control groups are made; their `tasks` files come with it.
    Joinable,
    /// The sandbox is built.
    Ready,
    /// Run the command.
    Start,
    /// The kernel refused an input.
    Refused {
        /// Which, in the order of [`crate::inputs::of`].
        index: u32,
        /// The kernel's answer.
        errno: i32,
    },
    /// The job is about to become its program.
    Started,
    /// Run the command, a program that waits for what it is to do.
    StartAhead,
    /// Write the inputs for a job that comes from outside, or that waits.
    Furnish,
    /// The job that came.
    Adopt {
        /// Its id inside.
        pid: i32,
    },
    /// Run another job, in a sandbox that stays.
    Launch {
        /// Its number.
        job: u32,
        /// How many of the descriptors after the errand are its streams, from 0 on.
        streams: u64,
    },
    /// A launch is over: all that is said of its beginning was said before.
    Launched {
        /// The job's number.
        job: u32,
    },
    /// A signal was sent, or there was nobody to send it to.
    Signalled {
        /// The job's number.
        job: u32,
    },
    /// Another job came, into a sandbox that stays.
    AdoptAs {
        /// Its number.
        job: u32,
        /// Its id inside.
        pid: i32,
    },
    /// Send a signal to a job's process group. One that is gone gets none.
    Signal {
        /// Its number.
        job: u32,
        /// Which signal.
        signal: i32,
    },
    /// A job of a sandbox that stays ended.
    JobEnded {
        /// Its number.
        job: u32,
        /// The status word of `wait(2)`.
        status: i32,
        /// Processor time of it and of all that it reaped, in microseconds.
        cpu_us: u64,
    },
    /// Make a TCP socket.
    Socket {
        /// What the answer is known by.
        number: u32,
        /// Whether it is one of IPv6.
        version_6: bool,
    },
    /// A TCP socket comes with this, or was refused.
    SocketMade {
        /// As in the order.
        number: u32,
        /// The kernel's answer; 0 if there is a socket.
        errno: i32,
    },
    /// The job ended with this status of `wait(2)`.
    Ended {
        /// The status word.
        status: i32,
        /// Processor time of init and of all that it reaped, in microseconds; what is left may have used more.
        cpu_us: u64,
    },
    /// A step failed.
    Failed {
        /// Its place in the plan.
        step: u32,
        /// The kernel's answer.
        errno: i32,
        /// The call, for people; cut to what fits.
        call: [u8; CALL_BYTES],
    },
}

/// Longest name of a call that a failure carries.
pub const CALL_BYTES: usize = 48;
const MESSAGE_BYTES: usize = HEAD_BYTES + CALL_BYTES;
/// Kind and two numbers.
const HEAD_BYTES: usize = 1 + 4 + 8;

impl Message {
    /// A failure of step `step`.
    pub fn failed(step: usize, error: Error) -> Self {
        let mut call = [0; CALL_BYTES];
        let name = error.call.as_bytes();
        let length = name.len().min(CALL_BYTES);
        call[..length].copy_from_slice(&name[..length]);
        Self::Failed { step: step as u32, errno: error.errno, call }
    }

    fn encode(self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        let (kind, first, second) = match self {
            Self::Mapped => (1, 0, 0),
            Self::Joinable => (7, 0, 0),
            Self::Ready => (2, 0, 0),
            Self::Start => (3, 0, 0),
            Self::Started => (4, 0, 0),
            Self::StartAhead => (11, 0, 0),
            Self::Furnish => (9, 0, 0),
            Self::Adopt { pid } => (10, pid, 0),
            Self::Ended { status, cpu_us } => (5, status, cpu_us),
            Self::Launch { job, streams } => (12, job as i32, streams),
            Self::Launched { job } => (16, job as i32, 0),
            Self::Signalled { job } => (17, job as i32, 0),
            Self::AdoptAs { job, pid } => (13, job as i32, u64::from(pid.unsigned_abs())),
            Self::Signal { job, signal } => (14, job as i32, u64::from(signal.unsigned_abs())),
            Self::JobEnded { job, status, cpu_us } => {
                bytes[HEAD_BYTES..HEAD_BYTES + 4].copy_from_slice(&status.to_le_bytes());
                (15, job as i32, cpu_us)
            }
            Self::Socket { number, version_6 } => (18, number as i32, u64::from(version_6)),
            Self::SocketMade { number, errno } => (19, number as i32, u64::from(errno.unsigned_abs())),
            Self::Refused { index, errno } => (8, index as i32, errno as u64),
            Self::Failed { step, errno, call } => {
                bytes[HEAD_BYTES..].copy_from_slice(&call);
                (6, step as i32, errno as u64)
            }
        };
        bytes[0] = kind;
        bytes[1..5].copy_from_slice(&first.to_le_bytes());
        bytes[5..HEAD_BYTES].copy_from_slice(&second.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let first = || Some(i32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?));
        let second = || Some(u64::from_le_bytes(bytes.get(5..HEAD_BYTES)?.try_into().ok()?));
        Some(match bytes.first()? {
            1 => Self::Mapped,
            7 => Self::Joinable,
            2 => Self::Ready,
            3 => Self::Start,
            4 => Self::Started,
            11 => Self::StartAhead,
            9 => Self::Furnish,
            10 => Self::Adopt { pid: first()? },
            5 => Self::Ended { status: first()?, cpu_us: second()? },
            12 => Self::Launch { job: first()? as u32, streams: second()? },
            16 => Self::Launched { job: first()? as u32 },
            17 => Self::Signalled { job: first()? as u32 },
            13 => Self::AdoptAs { job: first()? as u32, pid: i32::try_from(second()?).ok()? },
            14 => Self::Signal { job: first()? as u32, signal: i32::try_from(second()?).ok()? },
            15 => {
                let status = bytes.get(HEAD_BYTES..HEAD_BYTES + 4)?.try_into().ok()?;
                Self::JobEnded { job: first()? as u32, status: i32::from_le_bytes(status), cpu_us: second()? }
            }
            18 => Self::Socket { number: first()? as u32, version_6: second()? == 1 },
            19 => Self::SocketMade { number: first()? as u32, errno: i32::try_from(second()?).ok()? },
            8 => Self::Refused { index: first()? as u32, errno: second()? as i32 },
            6 => Self::Failed {
                step: first()? as u32,
                errno: second()? as i32,
                call: bytes.get(HEAD_BYTES..)?.try_into().ok()?,
            },
            _ => return None,
        })
    }
}

/// Sends one message with descriptors.
pub fn send(socket: BorrowedFd<'_>, message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    sys::socket::send(socket, &message.encode(), descriptors)
}

/// Receives one message; `None` when the other end is gone.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut buffer = [0; MESSAGE_BYTES];
    let (length, descriptors) = sys::socket::receive(socket, &mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    let message =
        Message::decode(&buffer[..length]).ok_or(Error { call: "decode message", errno: libc::EBADMSG })?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_peer_are_heard_though_it_read_nothing() {
        let (ours, theirs) = sys::socket::pair().unwrap();
        use std::os::fd::AsFd;
        send(ours.as_fd(), Message::Start, &[]).unwrap();
        send(theirs.as_fd(), Message::Ended { status: 9, cpu_us: 7 }, &[]).unwrap();
        drop(theirs);
        assert_eq!(
            receive(ours.as_fd()).unwrap().map(|heard| heard.0),
            Some(Message::Ended { status: 9, cpu_us: 7 })
        );
        assert!(receive(ours.as_fd()).unwrap().is_none());
    }

    #[test]
    fn messages_survive_the_way() {
        let failed = Message::failed(7, Error { call: "move_mount", errno: 13 });
        for message in [
            Message::Mapped,
            Message::Joinable,
            Message::Ready,
            Message::Start,
            Message::Started,
            Message::Ended { status: 0x8b, cpu_us: u64::MAX },
            Message::StartAhead,
            Message::Furnish,
            Message::Adopt { pid: 3 },
            Message::Launch { job: u32::MAX, streams: 5 },
            Message::Socket { number: 7, version_6: true },
            Message::SocketMade { number: u32::MAX, errno: 97 },
            Message::Launched { job: u32::MAX },
            Message::Signalled { job: 7 },
            Message::AdoptAs { job: 7, pid: 3 },
            Message::Signal { job: 7, signal: 2 },
            Message::JobEnded { job: 7, status: 0x8b, cpu_us: u64::MAX },
            Message::Refused { index: 3, errno: 28 },
            failed,
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[77]), None);
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[5, 0]), None);
        assert_eq!(Message::decode(&[15; HEAD_BYTES]), None);
    }
}
