//! What a session's keeper does for those who visit its ports: has init make their sockets, and lets all go on until they have left.

use super::keeper::Keeper;
use super::{NUMBERED, SOCKET, number_of, numbered};
use model::Fault;
use std::os::fd::OwnedFd;

impl Keeper {
    /// Somebody comes: what listens may be an interpreter's own, and stand still.
    pub fn visited(&mut self, packet: &[u8]) -> Result<(), Fault> {
        let Some(number) = number_of(packet) else { return Ok(()) };
        self.visits.insert(number);
        self.wake()?;
        self.stay.ask_for_socket(number, packet.get(NUMBERED) == Some(&6))
    }

    /// He has left.
    pub fn left(&mut self, packet: &[u8]) {
        if number_of(packet).is_some_and(|number| self.visits.remove(&number)) {
            self.calm_later();
        }
    }

    /// Init made a socket, or could not.
    pub fn pass_on(&mut self, number: u32, made: Result<OwnedFd, sys::Error>) {
        let mut packet = numbered(SOCKET, number);
        let errno = made.as_ref().map_or_else(|error| error.errno, |_| 0);
        packet.extend(errno.to_le_bytes());
        self.outbox.push(packet, made.ok());
    }
}
