//! The way of a run from here to its end: this machine's queue, or other nodes.

use crate::cluster::{There, Withdrawal};
use worker::machine::{Canceller, Event, Ticket};

/// A run that was handed over.
#[derive(Debug)]
pub enum Way {
    /// To this machine.
    Here(Ticket),
    /// To other nodes.
    There(There),
}

/// Takes a run back.
#[derive(Debug, Clone)]
pub enum TakeBack {
    /// From this machine.
    Here(Canceller),
    /// From other nodes.
    There(Withdrawal),
}

impl Way {
    /// Waits for the next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Here(ticket) => ticket.next().await,
            Self::There(there) => there.next().await,
        }
    }

    /// What takes the run back.
    pub fn canceller(&self) -> TakeBack {
        match self {
            Self::Here(ticket) => TakeBack::Here(ticket.canceller()),
            Self::There(there) => TakeBack::There(there.canceller()),
        }
    }

    /// Says that its end is in the store.
    pub async fn recorded(&self) {
        if let Self::There(there) = self {
            there.recorded().await;
        }
    }
}

impl TakeBack {
    /// Takes the run back: queued, it settles at once; running, as soon as it is dead; settled, nothing happens.
    pub fn cancel(&self) {
        match self {
            Self::Here(canceller) => canceller.cancel(),
            Self::There(withdrawal) => withdrawal.cancel(),
        }
    }
}
