//! What a session's keeper has to say, until the service takes it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// While more than this waits, output of the runs is left in its pipes.
const FULL_BYTES: usize = 1 << 20;

/// Packets on their way to the service.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: OwnedFd,
    packets: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    bytes: usize,
}

impl Outbox {
    /// An empty one for this socket, on which nothing waits from now on.
    pub fn new(socket: OwnedFd) -> sys::Result<Self> {
        sys::fs::set_nonblocking(socket.as_fd())?;
        Ok(Self { socket, packets: VecDeque::new(), bytes: 0 })
    }

    /// The service's end of the conversation.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Adds a packet.
    pub fn push(&mut self, packet: Vec<u8>, file: Option<OwnedFd>) {
        self.bytes += packet.len();
        self.packets.push_back((packet, file));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether so much waits that no more is to be made.
    pub fn is_full(&self) -> bool {
        self.bytes > FULL_BYTES
    }

    /// Sends as much as there is room for. A service that is gone is an error.
    pub fn flush(&mut self) -> sys::Result<()> {
        while let Some((packet, file)) = self.packets.front() {
            let files: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
            match sys::socket::send(self.socket.as_fd(), packet, &files) {
                Err(error) if error.errno == libc::EAGAIN => return Ok(()),
                other => other?,
            }
            self.bytes -= packet.len();
            self.packets.pop_front();
        }
        Ok(())
    }
}
