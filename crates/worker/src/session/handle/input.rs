//! What is typed to a run of a session while it goes on: sent to its keeper, so much at a time as may wait for the program.

use super::Session;
use crate::session::{INTERRUPT, NO_MORE, NUMBERED, TYPED, number_of, numbered};
use model::{Fault, RunId};

/// Most bytes that wait for one program to read them, besides what its pipe holds.
pub const UNREAD_BYTES_MAX: usize = 256 << 10;
/// Most bytes that go to a keeper in one packet.
const PIECE_BYTES: usize = 8 << 10;

const _: () = assert!(NUMBERED + PIECE_BYTES <= crate::json::PACKET_BYTES_MAX);

/// Something for a run that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its standard input.
    Bytes(Vec<u8>),
    /// The end of its standard input.
    End,
    /// An interruption, as Ctrl-C at a prompt: code that handles it goes on.
    Interrupt,
}

/// Why a run did not get it.
#[derive(Debug)]
pub enum NotTyped {
    /// It has not begun, is over, or reads nothing that is typed.
    NotThere,
    /// So much waits that it does not read. Nothing of this was taken.
    Full,
    /// The keeper is gone.
    Fault(Fault),
}

/// A run that somebody may type to.
#[derive(Debug)]
pub(super) struct Typed {
    number: u32,
    /// Bytes that its program has not been given.
    unread: usize,
}

impl Typed {
    /// One that comes with so many bytes.
    pub fn new(number: u32, unread: usize) -> Self {
        Self { number, unread }
    }
}

impl Session {
    /// Gives something to an interactive run that has begun.
    pub async fn say(&self, run: &RunId, input: Input) -> Result<(), NotTyped> {
        let number = {
            let mut state = self.state();
            let typed = state.typed.get_mut(run).ok_or(NotTyped::NotThere)?;
            if let Input::Bytes(bytes) = &input {
                if typed.unread.saturating_add(bytes.len()) > UNREAD_BYTES_MAX {
                    return Err(NotTyped::Full);
                }
                typed.unread += bytes.len();
            }
            typed.number
        };
        match input {
            Input::Bytes(bytes) => {
                for piece in bytes.chunks(PIECE_BYTES) {
                    let mut packet = numbered(TYPED, number);
                    packet.extend_from_slice(piece);
                    self.send(&packet).await.map_err(NotTyped::Fault)?;
                }
                Ok(())
            }
            Input::End => self.send(&numbered(NO_MORE, number)).await.map_err(NotTyped::Fault),
            Input::Interrupt => self.send(&numbered(INTERRUPT, number)).await.map_err(NotTyped::Fault),
        }
    }

    /// A keeper says how much a program was given.
    pub(super) fn took(&self, packet: &[u8]) {
        let count = packet.get(NUMBERED..).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let (Some(number), Some(count)) = (number_of(packet), count) else { return };
        if let Some(typed) = self.state().typed.values_mut().find(|typed| typed.number == number) {
            typed.unread = typed.unread.saturating_sub(count as usize);
        }
        self.process_took(number, count as usize);
    }

    /// A run is over.
    pub(super) fn forget(&self, number: u32) {
        let mut state = self.state();
        state.runs.remove(&number);
        state.typed.retain(|_, typed| typed.number != number);
    }
}
