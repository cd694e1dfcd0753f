//! Processes of a session as the service sees them: what each is, the end of what it wrote, and how it ended.

use super::{Session, failed, input::UNREAD_BYTES_MAX};
use crate::json;
use crate::pool::Stream;
use crate::session::ring::{Piece, Ring};
use crate::session::{
    NO_MORE, NUMBERED, NewProcess, PROCESS, ProcessEnd, ProcessJob, RESIZE, SIGNAL, TYPED, numbered,
};
use model::Fault;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::sync::watch;

/// Most processes that have ended and are still shown; the one that was started first goes first.
const ENDED_MAX: usize = 32;
/// Most bytes that go to a keeper in one packet.
const PIECE_BYTES: usize = 8 << 10;

/// One process of a session.
#[derive(Debug)]
pub struct Process {
    /// Its number in the session.
    pub number: u32,
    /// What it was started as.
    pub what: NewProcess,
    /// When, in milliseconds since 1970.
    pub started_at_ms: i64,
    seen: Mutex<Seen>,
    /// Told when something was written, or it ended: how much came, and whether it did.
    changed: watch::Sender<(u64, bool)>,
}

#[derive(Debug, Default)]
struct Seen {
    ring: Ring,
    end: Option<ProcessEnd>,
    /// Bytes that were typed and that it was not given yet.
    unread: usize,
}

/// Something for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToProcess {
    /// Bytes for its standard input, or its terminal.
    Bytes(Vec<u8>),
    /// The end of that.
    End,
    /// A signal, to its process group; SIGKILL goes to all that it started.
    Signal(u8),
    /// How many rows and columns its terminal has.
    Resize(u16, u16),
}

/// Why a process did not get it.
#[derive(Debug)]
pub enum NotDone {
    /// It has ended.
    Ended,
    /// So much waits that it does not read. Nothing of this was taken.
    Full,
    /// So many are on that there may be no more.
    TooMany,
    /// The keeper is gone.
    Fault(Fault),
}

impl Process {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<ProcessEnd> {
        self.seen().end.clone()
    }

    /// How many bytes it wrote, of which the last are kept.
    pub fn written(&self) -> u64 {
        self.seen().ring.end()
    }

    /// What it wrote from `offset` on and is still kept, a page of it; waits for something if there is nothing yet. `None` at the end.
    pub async fn after(&self, offset: u64) -> Option<Vec<Piece>> {
        let mut changed = self.changed.subscribe();
        drop(changed.wait_for(|(end, over)| *end > offset || *over).await);
        let page = self.seen().ring.page(offset);
        (!page.is_empty()).then_some(page)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen();
        change(&mut seen);
        let now = (seen.ring.end(), seen.end.is_some());
        drop(seen);
        self.changed.send_replace(now);
    }
}

impl Session {
    /// Starts a process, if fewer than `most` are on.
    pub async fn start_process(
        &self,
        what: NewProcess,
        most: usize,
        started_at_ms: i64,
    ) -> Result<Arc<Process>, NotDone> {
        let (process, number) = {
            let mut state = self.state();
            let ended: Vec<u32> =
                state.processes.values().filter(|one| one.end().is_some()).map(|one| one.number).collect();
            if state.processes.len() - ended.len() >= most {
                return Err(NotDone::TooMany);
            }
            for old in ended.iter().take((ended.len() + 1).saturating_sub(ENDED_MAX)) {
                state.processes.remove(old);
            }
            state.last = state.last.wrapping_add(1);
            let number = state.last;
            let (changed, _) = watch::channel((0, false));
            let process = Arc::new(Process {
                number,
                what: what.clone(),
                started_at_ms,
                seen: Mutex::default(),
                changed,
            });
            state.processes.insert(number, process.clone());
            (process, number)
        };
        let job = ProcessJob { number, process: what };
        if let Err(fault) = self.send_process(&job).await {
            self.state().processes.remove(&number);
            return Err(NotDone::Fault(fault));
        }
        Ok(process)
    }

    async fn send_process(&self, job: &ProcessJob) -> Result<(), Fault> {
        let (packet, file) = json::packet([PROCESS, 0], job).map_err(|error| failed(&error))?;
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        let socket = &self.inner.socket;
        let send = || Ok(sys::socket::send(socket.as_fd(), &packet, &files)?);
        socket.async_io(Interest::WRITABLE, send).await.map_err(|error| failed(&error))
    }

    /// All processes that are on, and the last that ended, by number.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        self.state().processes.values().cloned().collect()
    }

    /// One of them.
    pub fn process(&self, number: u32) -> Option<Arc<Process>> {
        self.state().processes.get(&number).cloned()
    }

    /// Forgets one: it is killed if it is on.
    pub async fn remove_process(&self, process: &Process) -> Result<(), NotDone> {
        match self.tell_process(process, ToProcess::Signal(libc::SIGKILL as u8)).await {
            Ok(()) | Err(NotDone::Ended) => {}
            Err(other) => return Err(other),
        }
        // Its place is free when it has ended.
        drop(process.changed.subscribe().wait_for(|(_, over)| *over).await);
        self.state().processes.remove(&process.number);
        Ok(())
    }

    /// Gives something to a process.
    pub async fn tell_process(&self, process: &Process, what: ToProcess) -> Result<(), NotDone> {
        {
            let mut seen = process.seen();
            if seen.end.is_some() {
                return Err(NotDone::Ended);
            }
            if let ToProcess::Bytes(bytes) = &what {
                if seen.unread.saturating_add(bytes.len()) > UNREAD_BYTES_MAX {
                    return Err(NotDone::Full);
                }
                seen.unread += bytes.len();
            }
        }
        let begin = |tag: u8| numbered(tag, process.number);
        let packets = match what {
            ToProcess::Bytes(bytes) => {
                bytes.chunks(PIECE_BYTES).map(|piece| [&begin(TYPED)[..], piece].concat()).collect()
            }
            ToProcess::End => vec![begin(NO_MORE)],
            ToProcess::Signal(signal) => vec![[begin(SIGNAL), vec![signal]].concat()],
            ToProcess::Resize(rows, columns) => {
                vec![[&begin(RESIZE)[..], &rows.to_le_bytes(), &columns.to_le_bytes()].concat()]
            }
        };
        for packet in packets {
            self.send(&packet).await.map_err(NotDone::Fault)?;
        }
        Ok(())
    }

    /// A process wrote something; false if there is none of this number.
    pub(super) fn process_wrote(&self, packet: &[u8], stream: Stream) -> bool {
        let process = crate::session::number_of(packet).and_then(|number| self.process(number));
        let bytes = packet.get(NUMBERED..).unwrap_or_default();
        process.map(|process| process.change(|seen| seen.ring.push(stream, bytes))).is_some()
    }

    /// A process was given so much.
    pub(super) fn process_took(&self, number: u32, count: usize) {
        if let Some(process) = self.process(number) {
            process.change(|seen| seen.unread = seen.unread.saturating_sub(count));
        }
    }

    /// A process ended.
    pub(super) fn process_ended(&self, number: u32, end: ProcessEnd) {
        if let Some(process) = self.process(number) {
            process.change(|seen| seen.end = seen.end.take().or(Some(end)));
        }
    }

    /// The session ended, and with it all that ran in it.
    pub(super) fn processes_end(&self) {
        for process in self.processes() {
            self.process_ended(process.number, ProcessEnd::with_the_session());
        }
    }
}
