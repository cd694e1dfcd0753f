//! The end of what a process wrote: bounded, and read from any place that is still there.

use crate::pool::Stream;
use std::collections::VecDeque;

/// Most bytes that are kept of one process.
pub const KEPT_BYTES: usize = 1 << 20;
/// Pieces of the same stream grow to this much: a drip of bytes is one piece, not thousands.
const PIECE_BYTES: usize = 8 << 10;
/// What one reader is handed at once, about.
const PAGE_BYTES: usize = 64 << 10;

/// What is kept.
#[derive(Debug, Default)]
pub struct Ring {
    pieces: VecDeque<Piece>,
    /// How many bytes came.
    end: u64,
}

/// Bytes of one stream, and where they begin among all that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes came before, of both streams.
    pub offset: u64,
    /// Which stream.
    pub stream: Stream,
    /// What was written.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// How many bytes came with it and before.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Ring {
    /// How many bytes came.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Takes what was written; lets the oldest go.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let offset = self.end;
        self.end += bytes.len() as u64;
        match self.pieces.back_mut() {
            Some(last) if last.stream == stream && last.bytes.len() + bytes.len() <= PIECE_BYTES => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.pieces.push_back(Piece { offset, stream, bytes: bytes.to_vec() }),
        }
        // Streams that take turns make small pieces, each of which takes room of its own.
        let most = KEPT_BYTES / PIECE_BYTES * 16;
        while self.pieces.front().is_some_and(|first| self.end - first.offset > KEPT_BYTES as u64)
            || self.pieces.len() > most
        {
            self.pieces.pop_front();
        }
    }

    /// What came from `offset` on and is still there: about a page of it, none if nothing is. A reader goes on at the end of the last.
    pub fn page(&self, offset: u64) -> Vec<Piece> {
        let after = |piece: &&Piece| piece.end() > offset;
        let mut bytes = 0;
        let page = self.pieces.iter().skip_while(|piece| !after(piece)).take_while(|piece| {
            let room = bytes < PAGE_BYTES;
            bytes += piece.bytes.len();
            room
        });
        let mut page: Vec<Piece> = page.cloned().collect();
        if let Some(first) = page.first_mut().filter(|first| first.offset < offset) {
            first.bytes.drain(..usize::try_from(offset - first.offset).unwrap_or(usize::MAX));
            first.offset = offset;
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ring: &Ring, offset: u64) -> String {
        ring.page(offset).iter().map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned()).collect()
    }

    #[test]
    fn it_is_read_from_any_place_and_keeps_the_end() {
        let mut ring = Ring::default();
        ring.push(Stream::Stdout, b"one ");
        ring.push(Stream::Stdout, b"two ");
        ring.push(Stream::Stderr, b"three");
        assert_eq!((ring.pieces.len(), ring.end()), (2, 13));
        assert_eq!(
            (text(&ring, 0), text(&ring, 4), text(&ring, 9)),
            ("one two three".into(), "two three".into(), "hree".into())
        );
        assert_eq!((text(&ring, 13), text(&ring, u64::MAX)), (String::new(), String::new()));
        (0..3000).for_each(|_| ring.push(Stream::Stdout, &[b'x'; 1000]));
        let first = ring.page(0).remove(0);
        assert!(ring.end() - first.offset <= KEPT_BYTES as u64 && first.offset > 0);
        // Two streams in turn, a byte at a time.
        (0..100_000).for_each(|n| ring.push(if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, b"y"));
        assert!(ring.pieces.len() <= 2048);
    }
}
