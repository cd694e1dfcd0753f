//! Output on its way to whoever watches a run: shaped first, then written where there is room.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;

/// Bytes that can be written to a pipe without waiting when poll says there is room (pipe(7), PIPE_BUF).
const ROOM_BYTES: usize = 4_096;
/// Most bytes of one packet: far below what a socket's buffer holds (`/proc/sys/net/core/wmem_default`), as a packet is sent whole.
pub const PACKET_BYTES: usize = 32_768;

/// Makes of a piece of output what is shown of it.
pub type Transform<'a> = Box<dyn FnMut(&[u8]) -> Vec<u8> + 'a>;

/// A descriptor that output is forwarded to as it comes.
pub struct Live<'a> {
    /// Where to.
    pub fd: BorrowedFd<'a>,
    /// What to make of each piece first.
    pub transform: Transform<'a>,
    /// For a seqpacket socket that both streams share: each piece is one packet that begins with this byte.
    pub tag: Option<u8>,
}

/// Output on its way out.
pub(crate) struct Forward<'a> {
    pub(crate) live: Live<'a>,
    pub(crate) queue: VecDeque<u8>,
}

impl Forward<'_> {
    /// Writes one piece of the queue.
    pub(crate) fn write(&mut self) -> rustix::io::Result<()> {
        let piece = self.queue.make_contiguous();
        let written = match self.live.tag {
            None => rustix::io::write(self.live.fd, &piece[..piece.len().min(ROOM_BYTES)])?,
            Some(tag) => {
                let piece = &piece[..piece.len().min(PACKET_BYTES)];
                rustix::io::writev(self.live.fd, &[IoSlice::new(&[tag]), IoSlice::new(piece)])?;
                piece.len()
            }
        };
        self.queue.drain(..written);
        Ok(())
    }
}
