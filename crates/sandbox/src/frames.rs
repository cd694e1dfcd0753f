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

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_the_same_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..5, cut in 0usize..40) {
            let bytes = [frame(1, br#"{"text/plain":"1"}"#), frame(kind, &bytes), bytes].concat();
            let mut pieces = Frames::default();
            bytes.chunks(cut + 1).for_each(|piece| pieces.push(piece));
            prop_assert_eq!(pieces.finish(), said(&bytes));
        }
    }
}
