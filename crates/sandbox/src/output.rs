//! One stream of output, kept within a bound: its head, its tail, and a count of what lay between.

use std::collections::VecDeque;

/// What is kept of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_max: usize,
    tail_max: usize,
    total_bytes: u64,
}

impl Captured {
    /// Keeps at most `limit_bytes`: the first half as head, the second as tail.
    pub fn new(limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self { head_max: limit - limit / 2, tail_max: limit / 2, ..Self::default() }
    }

    /// Takes the next bytes; returns how many of them may be shown at once: those of the first `limit_bytes` of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let room = (self.head_max + self.tail_max)
            .saturating_sub(usize::try_from(self.total_bytes).unwrap_or(usize::MAX));
        self.total_bytes += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_max - self.head.len()));
        self.head.extend_from_slice(head);
        // Only the end of a long piece can survive in the tail.
        let rest = &rest[rest.len() - rest.len().min(self.tail_max)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.tail_max);
        self.tail.drain(..excess);
        self.tail.extend(rest);
        bytes.len().min(room)
    }

    /// All bytes that came, kept or not.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// How many bytes between head and tail were dropped.
    pub fn dropped_bytes(&self) -> u64 {
        self.total_bytes - (self.head.len() + self.tail.len()) as u64
    }

    /// What is left to show to one who saw what [`Captured::push`] allowed: the end of the tail, after a note of what is omitted.
    pub fn rest(&self) -> Vec<u8> {
        let unseen = self.total_bytes.saturating_sub((self.head_max + self.tail_max) as u64);
        let kept = self.tail.len().min(usize::try_from(unseen).unwrap_or(usize::MAX));
        let mut rest = note(unseen - kept as u64);
        rest.extend(self.tail.iter().skip(self.tail.len() - kept));
        rest
    }

    /// Head, note and tail as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        let mut bytes = self.head.clone();
        bytes.extend(note(self.dropped_bytes()));
        let (first, second) = self.tail.as_slices();
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        // The common case moves the bytes instead of copying them.
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// What is left to show of a text that [`Captured::text`] made, to one who saw the first `shown_bytes` of the stream; `None` if that
/// cannot be told from it.
pub fn rest_of(text: &str, shown_bytes: usize) -> Option<String> {
    let (head, rest) = text.rsplit_once(NOTE[0])?;
    let (omitted, tail) = rest.split_once(NOTE[1])?;
    let total = head.len() as u64 + omitted.parse::<u64>().ok()? + tail.len() as u64;
    let unseen = total.saturating_sub(shown_bytes as u64);
    let kept = tail.len().min(usize::try_from(unseen).unwrap_or(usize::MAX));
    // Not from the middle of a character.
    let from = (tail.len() - kept..=tail.len()).find(|at| tail.is_char_boundary(*at))?;
    let note = String::from_utf8(note(unseen - kept as u64)).ok()?;
    Some(format!("{note}{}", &tail[from..]))
}

/// Before and after the number in [`note`].
const NOTE: [&str; 2] = ["\n[fireclay: ", " bytes omitted]\n"];

/// A line of its own that says how much is not shown.
fn note(omitted_bytes: u64) -> Vec<u8> {
    if omitted_bytes == 0 {
        Vec::new()
    } else {
        format!("{}{omitted_bytes}{}", NOTE[0], NOTE[1]).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn head_and_tail_are_kept_and_the_rest_is_counted() {
        let mut captured = Captured::new(6);
        assert_eq!(captured.push(b"abcdef"), 6);
        assert_eq!((captured.text().as_str(), captured.dropped_bytes()), ("abcdef", 0));
        assert_eq!(captured.push(b"ghij"), 0);
        assert_eq!(captured.text(), "abc\n[fireclay: 4 bytes omitted]\nhij");
        assert_eq!(captured.rest(), b"\n[fireclay: 1 bytes omitted]\nhij");
    }

    #[test]
    fn nothing_is_kept_of_a_stream_without_room() {
        let mut captured = Captured::new(0);
        assert_eq!(captured.push(b"abc"), 0);
        assert_eq!((captured.dropped_bytes(), captured.total_bytes()), (3, 3));
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_as_one(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20), limit in 0u64..64) {
            let mut apart = Captured::new(limit);
            let shown: usize = pieces.iter().map(|piece| apart.push(piece)).sum();
            let whole = pieces.concat();
            let mut once = Captured::new(limit);
            prop_assert_eq!(shown, once.push(&whole));
            prop_assert_eq!(shown as u64, limit.min(whole.len() as u64));
            prop_assert!(whole.ends_with(&once.rest()[note((whole.len() as u64).saturating_sub(limit + limit / 2)).len()..]));
            prop_assert_eq!(apart.text(), once.text());
            prop_assert!((apart.head.len() + apart.tail.len()) as u64 <= limit);
            if whole.len() as u64 <= limit {
                prop_assert_eq!(apart.text(), String::from_utf8_lossy(&whole));
            }
        }

        #[test]
        fn the_rest_is_told_from_the_text(whole in "[a-z]{0,200}", limit in 0u64..64) {
            let mut captured = Captured::new(limit);
            let shown = captured.push(whole.as_bytes());
            let rest = (captured.dropped_bytes() > 0).then(|| captured.rest());
            prop_assert_eq!(rest_of(&captured.text(), shown).map(String::into_bytes), rest);
        }
    }
}
