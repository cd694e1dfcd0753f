//! From a body to recorded lines: each bounded, empty ones skipped, as many at once as came together.

use super::{ITEMS_MAX, LiveBatch, PENDING_BYTES_MAX};
use crate::http::body::Pieces;
use crate::problem::{Kind, Problem};
use crate::service::Service;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;

// The longest line fits, and whatever else came with its end.
const _: () = assert!(PENDING_BYTES_MAX > 4 * store::limits::REQUEST_BYTES_MAX as u64);

/// Bytes that one permit of [`room`] stands for: permits are counted in 32 bits.
const PERMIT_BYTES: u64 = 1024;

/// Room for lines that wait: taken by the intake, given back by who answers them.
pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new((PENDING_BYTES_MAX / PERMIT_BYTES) as usize))
}

/// How many permits a line takes.
pub fn permits(bytes: usize) -> u32 {
    u32::try_from((bytes as u64).min(PENDING_BYTES_MAX).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

/// Cuts bytes that come in pieces into lines. A line longer than is taken becomes an empty one, which no item is.
#[derive(Debug)]
pub struct Lines {
    longest: usize,
    line: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Lines of at most so many bytes.
    pub fn new(longest: usize) -> Self {
        Self { longest, line: Vec::new(), too_long: false }
    }

    /// The lines that end in this piece.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            if self.line.len() + text.len() > self.longest {
                self.too_long = true;
                self.line = Vec::new();
            }
            if !self.too_long {
                self.line.extend_from_slice(text);
            }
            if text.len() < part.len() {
                lines.extend(self.end());
            }
        }
        lines
    }

    /// The last line, if the bytes did not end with its end.
    pub fn end(&mut self) -> Option<Vec<u8>> {
        let too_long = std::mem::take(&mut self.too_long);
        let line = std::mem::take(&mut self.line);
        (too_long || !line.trim_ascii().is_empty()).then_some(line)
    }
}

/// Reads the body to its end and records its lines. Returns the digest of all that came, or why it did not come whole.
pub async fn read(
    service: &Service,
    batch: &LiveBatch,
    mut pieces: Pieces,
    room: &Semaphore,
) -> Result<[u8; 32], Problem> {
    let longest = usize::try_from(service.settings.body_bytes).unwrap_or(usize::MAX);
    let mut lines = Lines::new(longest.min(store::limits::REQUEST_BYTES_MAX));
    let mut digest = Sha256::new();
    let mut first = 0u32;
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece?,
            () = batch.stopping() => return Err(Problem::new(Kind::Conflict, "the batch was taken back", "send it again")),
        };
        let (found, last) = match &piece {
            Some(bytes) => {
                digest.update(bytes);
                (lines.push(bytes), false)
            }
            None => (lines.end().into_iter().collect(), true),
        };
        let count = found.len() as u32;
        if count > ITEMS_MAX - first {
            let hint = "send the rest as another batch";
            return Err(Problem::new(Kind::TooLarge, format!("there are more than {ITEMS_MAX} items"), hint));
        }
        if count > 0 {
            let wanted = found.iter().map(|line| permits(line.len())).sum();
            tokio::select! {
                // Never closed. Given back one by one, as items are answered.
                permit = room.acquire_many(wanted) => permit.into_iter().for_each(tokio::sync::SemaphorePermit::forget),
                () = batch.stopping() => continue,
            }
            service.store.add_batch_items(&batch.id, first, found).await?;
            first += count;
            batch.record(count);
        }
        if last {
            return Ok(digest.finalize().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_are_cut(text in "[ab\n ]{0,60}", cuts in proptest::collection::vec(1usize..9, 0..40)) {
            let mut lines = Lines::new(5);
            let mut rest = text.as_bytes();
            let mut found = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                found.extend(lines.push(piece));
                rest = after;
            }
            found.extend(lines.push(rest));
            found.extend(lines.end());
            let wanted: Vec<Vec<u8>> = text
                .split('\n')
                .filter(|line| line.len() > 5 || !line.trim().is_empty())
                .map(|line| if line.len() > 5 { Vec::new() } else { line.as_bytes().to_vec() })
                .collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
