//! Who is connected to a proxy, so that it can be said when all that they tried is told.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct Guests(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    listener: Option<OwnedFd>,
    last: u64,
    here: BTreeMap<u64, OwnedFd>,
}

/// One of them, until this is dropped.
pub(crate) struct Guest<'a> {
    guests: &'a Guests,
    number: u64,
}

impl Guests {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections come from here. Of a process that has no descriptor left nobody is known: what they tried is told late.
    pub(crate) fn come_from(&self, listener: &impl AsFd) {
        self.state().listener = listener.as_fd().try_clone_to_owned().ok();
    }

    /// A connection that was accepted.
    pub(crate) fn enter(&self, stream: &impl AsFd) -> Guest<'_> {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        if let Ok(stream) = stream.as_fd().try_clone_to_owned() {
            state.here.insert(number, stream);
        }
        drop(state);
        Guest { guests: self, number }
    }

    /// Whether somebody says no more and has not been dealt with, or has not even been let in.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.state();
        let here = state.here.values().map(|stream| PollFd::new(stream, PollFlags::RDHUP));
        let listener = state.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN));
        let mut all: Vec<PollFd<'_>> = here.chain(listener).collect();
        // One that cannot be asked is not waited for.
        poll(&mut all, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.guests.state().here.remove(&self.number);
    }
}
