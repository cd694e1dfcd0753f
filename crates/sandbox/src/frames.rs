//! What the guest says on the result channel: `[u8 kind][u32 length, little-endian][payload]`, see guest/PROTOCOL.md.
//!
//! The only place where guest bytes are parsed. The peer is the user's code as much as our runner: every length is bounded,
//! nonsense ends the conversation, and nothing here is believed beyond being shown.

use model::limits::{DISPLAYS_MAX, FRAME_BYTES_MAX, FRAME_VALUES_MAX, FRAMES_BYTES_MAX};
use model::result::{GuestError, MimeBundle};

/// Bytes before the payload.
const HEADER_BYTES: usize = 5;
const KIND_RESULT: u8 = 1;
const KIND_DISPLAY: u8 = 2;
const KIND_ERROR: u8 = 3;
const KIND_DONE: u8 = 4;
const KIND_READY: u8 = 5;
/// Largest payload of what is no value: a few words.
const WORD_BYTES_MAX: usize = 1024;

/// Collects frames from pieces of any size.
#[derive(Debug, Default)]
pub struct Frames {
    pending: Vec<u8>,
    total_bytes: usize,
    /// Set at the first nonsense or excess: the rest is drained and dropped.
    closed: bool,
    values: usize,
    said: Said,
}

/// All that the guest said.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Said {
    /// The value of the code; the last one wins.
    pub result: Option<MimeBundle>,
    /// Rich output, in order, at most [`DISPLAYS_MAX`].
    pub displays: Vec<MimeBundle>,
    /// The uncaught exception; the last one wins.
    pub error: Option<GuestError>,
}

impl Frames {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        self.total_bytes = self.total_bytes.saturating_add(bytes.len());
        if self.total_bytes > FRAMES_BYTES_MAX {
            return self.close();
        }
        self.pending.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(header) = self.pending.get(taken..taken + HEADER_BYTES) {
            let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
            if length > FRAME_BYTES_MAX {
                return self.close();
            }
            let start = taken + HEADER_BYTES;
            let Some(payload) = self.pending.get(start..start + length) else { break };
            self.values = self.values.saturating_add(values_in(payload));
            if self.values > FRAME_VALUES_MAX || !self.said.take(header[0], payload) {
                return self.close();
            }
            taken = start + length;
        }
        self.pending.drain(..taken);
    }

    /// What was said in whole frames. A frame cut short by the end of the run is dropped.
    pub fn finish(self) -> Said {
        self.said
    }

    fn close(&mut self) {
        self.closed = true;
        self.pending = Vec::new();
    }
}

/// How many values a JSON text has at most: one more than it has commas, brackets and braces outside of strings. What is parsed
/// takes memory by its values, not by its bytes: `[0,0,0…` grows fiftyfold.
fn values_in(json: &[u8]) -> usize {
    let (mut values, mut in_string, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

impl Said {
    /// Takes one frame; false if it makes no sense.
    fn take(&mut self, kind: u8, payload: &[u8]) -> bool {
        match kind {
            KIND_RESULT => serde_json::from_slice(payload).map(|bundle| self.result = Some(bundle)).is_ok(),
            KIND_DISPLAY => serde_json::from_slice(payload)
                .map(|bundle| {
                    if self.displays.len() < DISPLAYS_MAX {
                        self.displays.push(bundle);
                    }
                })
                .is_ok(),
            KIND_ERROR => serde_json::from_slice(payload).map(|error| self.error = Some(error)).is_ok(),
            _ => false,
        }
    }
}

/// How an interpreter that stays says that a run of it is over. Its word, like all that it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct Done {
    /// How the code ended.
    pub status: Status,
    /// The exit code that it asked for; 0 if it asked for none.
    #[serde(default)]
    pub code: i32,
}

/// How the code of a run in an interpreter that stays ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It came to its end.
    Ok,
    /// It raised something that it did not catch.
    Error,
    /// It was interrupted.
    Interrupted,
    /// It asked to end.
    Exit,
}

/// One thing that an interpreter that stays says.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// It waits for its first order.
    Ready,
    /// The run is over, and this is what it said.
    Done(Done, Said),
}

/// The conversation with an interpreter that stays: runs one after the other on one channel. What exceeds the bounds of a run is
/// passed over; what makes no sense ends the conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    pending: Vec<u8>,
    /// Bytes of a payload that are passed over.
    skipped: usize,
    /// Of the run that is on.
    total_bytes: usize,
    values: usize,
    said: Said,
}

/// The conversation made no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonsense;

impl Conversation {
    /// Takes the next bytes; returns what was said with them, in order.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Word>, Nonsense> {
        let mut words = Vec::new();
        while !bytes.is_empty() {
            let passed = self.skipped.min(bytes.len());
            self.skipped -= passed;
            bytes = &bytes[passed..];
            // In pieces, so that what is passed over is never gathered.
            let piece = bytes.len().min(FRAME_BYTES_MAX);
            self.pending.extend_from_slice(&bytes[..piece]);
            bytes = &bytes[piece..];
            while let Some(word) = self.next()? {
                words.extend(word);
            }
        }
        Ok(words)
    }

    /// Takes one whole frame off; the inner `None` is for one that is a part of a run.
    fn next(&mut self) -> Result<Option<Option<Word>>, Nonsense> {
        let Some(header) = self.pending.get(..HEADER_BYTES) else { return Ok(None) };
        let kind = header[0];
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let is_word = matches!(kind, KIND_DONE | KIND_READY);
        if is_word && length > WORD_BYTES_MAX {
            return Err(Nonsense);
        }
        if !is_word && self.total_bytes.saturating_add(length) > FRAMES_BYTES_MAX || length > FRAME_BYTES_MAX
        {
            let here = (self.pending.len() - HEADER_BYTES).min(length);
            self.pending.drain(..HEADER_BYTES + here);
            self.skipped = length - here;
            return Ok((self.skipped == 0).then_some(None));
        }
        if self.pending.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let frame: Vec<u8> = self.pending.drain(..HEADER_BYTES + length).collect();
        let payload = &frame[HEADER_BYTES..];
        match kind {
            KIND_READY => Ok(Some(Some(Word::Ready))),
            KIND_DONE => {
                let done = serde_json::from_slice(payload).map_err(|_| Nonsense)?;
                (self.total_bytes, self.values) = (0, 0);
                Ok(Some(Some(Word::Done(done, std::mem::take(&mut self.said)))))
            }
            _ => {
                self.total_bytes += length;
                self.values = self.values.saturating_add(values_in(payload));
                if self.values <= FRAME_VALUES_MAX && !self.said.take(kind, payload) {
                    return Err(Nonsense);
                }
                Ok(Some(None))
            }
        }
    }

    /// What was said of a run that did not come to its end.
    pub fn unfinished(&mut self) -> Said {
        std::mem::take(&mut self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    fn said(bytes: &[u8]) -> Said {
        let mut frames = Frames::default();
        frames.push(bytes);
        frames.finish()
    }

    #[test]
    fn whole_frames_are_heard() {
        let bytes = [
            frame(1, br#"{"text/plain":"42"}"#),
            frame(2, br#"{"image/png":"AA=="}"#),
            frame(3, br#"{"name":"E","message":"m","traceback":"t"}"#),
            frame(1, br#"{"text/plain":"43"}"#),
        ]
        .concat();
        let all = said(&bytes);
        assert_eq!(all.result.as_ref().unwrap()["text/plain"], "43");
        assert_eq!((all.displays.len(), all.error.as_ref().unwrap().name.as_str()), (1, "E"));
    }

    #[test]
    fn nonsense_ends_the_conversation_but_not_what_was_heard() {
        let good = frame(1, br#"{"text/plain":"1"}"#);
        for bad in
            [frame(9, b""), frame(1, b"[]"), frame(1, b"{"), vec![1, 255, 255, 255, 255], frame(3, b"{}")]
        {
            let all = said(&[good.clone(), bad, frame(1, br#"{"text/plain":"2"}"#)].concat());
            assert_eq!(all.result.unwrap()["text/plain"], "1");
        }
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut frames = Frames::default();
        let display = frame(2, br#"{"text/plain":"x"}"#);
        for _ in 0..200 {
            frames.push(&display);
        }
        // A header that promises much, and a stream that never ends.
        frames.push(&[1, 0, 0, 0x7f, 0]);
        for _ in 0..5_000 {
            frames.push(&[0; 65_536]);
        }
        assert!(frames.pending.capacity() <= FRAMES_BYTES_MAX);
        assert_eq!(frames.finish().displays.len(), DISPLAYS_MAX);
    }

    #[test]
    fn many_small_values_are_refused_before_they_are_built() {
        let many =
            |count: usize| frame(1, format!("{{\"application/json\":[0{}]}}", ",0".repeat(count)).as_bytes());
        assert!(said(&many(FRAME_VALUES_MAX / 2)).result.is_some());
        assert_eq!(said(&many(FRAME_VALUES_MAX)), Said::default());
        // Over all frames, not each.
        let mut frames = Frames::default();
        (0..3).for_each(|_| frames.push(&many(FRAME_VALUES_MAX / 2)));
        assert!(frames.closed);
        // Commas in strings are no values.
        assert_eq!(values_in(br#"{"a,\",[{":1,"b":[2,3]}"#), 5);
    }

    #[test]
    fn deep_json_is_refused_without_harm() {
        let deep = [b"{\"a\":".repeat(100_000), b"1".to_vec()].concat();
        assert_eq!(said(&frame(1, &deep)), Said::default());
    }

    #[test]
    fn a_conversation_goes_from_run_to_run() {
        let mut conversation = Conversation::default();
        let done = frame(4, br#"{"status":"exit","code":3}"#);
        let bytes =
            [frame(5, b"{}"), frame(1, br#"{"text/plain":"1"}"#), done.clone(), done.clone()].concat();
        let words: Vec<Word> = bytes.iter().flat_map(|byte| conversation.push(&[*byte]).unwrap()).collect();
        let [Word::Ready, Word::Done(first, said), Word::Done(_, nothing)] = words.as_slice() else {
            panic!("{words:?}");
        };
        assert_eq!(*first, Done { status: Status::Exit, code: 3 });
        assert_eq!(said.result.as_ref().unwrap()["text/plain"], "1");
        assert_eq!(*nothing, Said::default());
        // More than is taken of one run is passed over, and its end is heard.
        let large = frame(2, &vec![b' '; FRAME_BYTES_MAX + 1]);
        assert_eq!(conversation.push(&[large, done].concat()).unwrap().len(), 1);
        assert!(conversation.pending.is_empty());
        for bad in [frame(9, b""), frame(4, b"{}"), frame(4, &[b' '; 2000]), frame(1, b"[")] {
            assert_eq!(Conversation::default().push(&bad), Err(Nonsense));
        }
    }

    #[test]
    fn a_conversation_of_one_endless_run_is_bounded() {
        let mut conversation = Conversation::default();
        let display = frame(2, br#"{"text/plain":"x"}"#);
        let long = frame(2, &[br#"{"text/plain":""#.as_slice(), &vec![b'x'; 1 << 20], br#""}"#].concat());
        for _ in 0..100 {
            assert_eq!(conversation.push(&[long.as_slice(), &display].concat()), Ok(vec![]));
        }
        assert!(conversation.pending.capacity() <= 2 * FRAME_BYTES_MAX);
        assert!(conversation.unfinished().displays.len() <= DISPLAYS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_conversation_in_any_pieces_are_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..6, cut in 0usize..40) {
            let bytes = [frame(kind, &bytes), bytes].concat();
            let (mut whole, mut pieces) = (Conversation::default(), Conversation::default());
            let once = whole.push(&bytes);
            let apart: Result<Vec<_>, _> = bytes.chunks(cut + 1).map(|piece| pieces.push(piece)).collect();
            prop_assert_eq!(once, apart.map(|words| words.concat()));
        }

        #[test]
        fn any_bytes_in_any_pieces_are_the_same_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..5, cut in 0usize..40) {
            let bytes = [frame(1, br#"{"text/plain":"1"}"#), frame(kind, &bytes), bytes].concat();
            let mut pieces = Frames::default();
            bytes.chunks(cut + 1).for_each(|piece| pieces.push(piece));
            prop_assert_eq!(pieces.finish(), said(&bytes));
        }
    }
}
