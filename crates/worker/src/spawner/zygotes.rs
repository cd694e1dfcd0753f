//! The spawner's zygotes: started, replaced when they have served long enough, started again when they die.
//!
//! Everything that forks share by nature (hash seed, address layout, stack canary) is shared by the forks of one zygote only, and no
//! zygote serves for long.

use super::{Warm, ZYGOTES_MAX};
use crate::json::read_memory;
use rustix::event::{PollFd, PollFlags};
use sandbox::host::Host;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::process::Cloned;

/// A zygote is replaced after this many sandboxes,
const FORKS_MAX: u32 = 1_000;
/// or after this time.
const AGE_MAX: Duration = Duration::from_secs(600);
/// One that dies is started again, but not sooner than this after the last start.
const RESTART: Duration = Duration::from_secs(1);

/// All zygotes, by number.
#[derive(Default)]
pub struct Zygotes {
    slots: [Slot; ZYGOTES_MAX],
    /// Every process that lives, also those that serve no more; with what it may say before it dies.
    processes: BTreeMap<i32, OwnedFd>,
}

/// One kind of zygote.
#[derive(Default)]
struct Slot {
    /// What it has warm, as the service said it.
    warm: Option<OwnedFd>,
    serving: Option<Zygote>,
    /// It will serve when it is ready.
    next: Option<Zygote>,
    started: Option<Instant>,
}

/// One process.
struct Zygote {
    pid: i32,
    socket: OwnedFd,
    since: Instant,
    forks: u32,
}

/// What [`Zygotes::start`] returned in: the spawner, or a process that must become the zygote.
pub enum Started {
    /// The spawner goes on.
    Spawner,
    /// This process is to become one.
    Child(Newborn),
}

/// A process that is to become a zygote.
pub struct Newborn {
    warm: OwnedFd,
    socket: OwnedFd,
    complaints: OwnedFd,
}

impl Newborn {
    /// Becomes the zygote; returns the exit code of one that could not.
    pub fn live(self, host: &Host) -> i32 {
        let Self { warm, socket, complaints } = self;
        let error = match read_memory::<Warm>(&warm) {
            Ok(warm) => {
                let Warm { image, modules, rehearsals } = warm;
                let work = sandbox::zygote::Work { modules, rehearsals };
                sandbox::zygote::live(&image, host, &work, &socket, &complaints).to_string()
            }
            Err(error) => error.to_string(),
        };
        match rustix::io::write(&complaints, format!("{error}\n").as_bytes()) {
            Ok(_) => 1,
            Err(_) => 2,
        }
    }
}

impl Zygotes {
    /// Takes note of what a zygote is to have warm, and starts it.
    pub fn define(&mut self, number: u8, warm: OwnedFd, host: &Host) -> Started {
        if !sandbox::zygote::possible(host) {
            return Started::Spawner;
        }
        match self.slots.get_mut(usize::from(number)) {
            Some(slot) => {
                *slot = Slot { warm: Some(warm), ..Slot::default() };
                slot.start(&mut self.processes)
            }
            None => Started::Spawner,
        }
    }

    /// The zygote for one more sandbox, if there is one, to be given to its keeper; and perhaps the process that is to replace it.
    pub fn of(&mut self, number: u8) -> (Option<OwnedFd>, Started) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return (None, Started::Spawner) };
        slot.promote();
        let mut started = Started::Spawner;
        if slot.next.is_none() && slot.serving.as_ref().is_none_or(Zygote::is_old) {
            started = slot.start(&mut self.processes);
        }
        // Not one that has threads: a fork of it would hold locks that nobody opens.
        let serving = slot.serving.as_mut().filter(|zygote| sys::process::threads_of(zygote.pid) == Some(1));
        let socket = serving.and_then(|zygote| {
            zygote.forks += 1;
            zygote.socket.try_clone().ok()
        });
        (socket, started)
    }

    /// Forgets a process that ended; false if it was none of them.
    pub fn forget(&mut self, pid: i32) -> bool {
        let Some(complaints) = self.processes.remove(&pid) else { return false };
        pass_on(complaints);
        for slot in &mut self.slots {
            for place in [&mut slot.serving, &mut slot.next] {
                drop(place.take_if(|zygote| zygote.pid == pid));
            }
        }
        true
    }

    /// How many processes there are.
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// Lets all go: each ends when its last keeper has.
    pub fn release(&mut self) {
        self.slots = Default::default();
    }
}

/// Passes on what a zygote said before it died.
fn pass_on(complaints: OwnedFd) {
    let mut text = Vec::new();
    // The pipe never makes us wait: what is in it was said by one that is dead.
    let read = std::fs::File::from(complaints).read_to_end(&mut text);
    if let (Ok(1..), said) = (read, String::from_utf8_lossy(&text)) {
        crate::log::warn(format_args!("a zygote ended: {}", said.trim()));
    }
}

impl Slot {
    fn start(&mut self, processes: &mut BTreeMap<i32, OwnedFd>) -> Started {
        if self.started.is_some_and(|started| started.elapsed() < RESTART) {
            return Started::Spawner;
        }
        let Some(warm) = &self.warm else { return Started::Spawner };
        let made = || -> std::io::Result<_> {
            let (ours, theirs) = sys::socket::pair()?;
            let (complaints, their_complaints) = sys::fs::pipe_to_read()?;
            let newborn = Newborn { warm: warm.try_clone()?, socket: theirs, complaints: their_complaints };
            Ok((sys::process::clone_process(0, None)?, ours, complaints, newborn))
        };
        match made() {
            Ok((Cloned::Child, ours, complaints, newborn)) => {
                drop((ours, complaints));
                Started::Child(newborn)
            }
            Ok((Cloned::Parent { pid, .. }, socket, complaints, _)) => {
                let since = Instant::now();
                self.started = Some(since);
                processes.insert(pid, complaints);
                let zygote = Zygote { pid, socket, since, forks: 0 };
                // The first serves at once: what it is asked waits until it has imported. Later ones first become ready.
                if self.serving.is_none() {
                    self.serving = Some(zygote);
                } else {
                    self.next = Some(zygote);
                }
                Started::Spawner
            }
            Err(error) => {
                crate::log::warn(format_args!("start a zygote: {error}"));
                Started::Spawner
            }
        }
    }

    /// Has the next one serve if it is ready or if there is no other.
    fn promote(&mut self) {
        if let Some(next) = self.next.take_if(|next| self.serving.is_none() || next.is_ready()) {
            self.serving = Some(next);
        }
    }
}

impl Zygote {
    fn is_old(&self) -> bool {
        self.forks >= FORKS_MAX || self.since.elapsed() >= AGE_MAX
    }

    /// It says so on its socket, once.
    fn is_ready(&self) -> bool {
        let mut poll = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(1))
    }
}
