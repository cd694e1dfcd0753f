//! Makes untrusted output harmless for a terminal: colours stay, all that moves, hides, asks or renames is dropped.
//!
//! Kept: printable text, tab, newline, carriage return, backspace, and SGR sequences (`ESC [ digits ; m`, ECMA-48 8.3.117).
//! Dropped: every other escape sequence, whole, and every other control character, C1 included (U+0080 to U+009F).

/// Filters a stream piece by piece: a sequence may be cut anywhere.
#[derive(Debug, Default)]
pub struct Inert {
    state: State,
    /// An SGR sequence so far, to be passed on if it ends as one.
    pending: Vec<u8>,
}

/// Longest SGR sequence passed on.
const SGR_BYTES_MAX: usize = 64;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, `ESC [ …`.
    Control,
    /// In a string: OSC, DCS, SOS, PM, APC. Ends with BEL or ESC \.
    String,
    /// After ESC in a string.
    StringEscape,
    /// After 0xC2, the first byte of U+0080 to U+00BF in UTF-8.
    C2,
}

impl Inert {
    /// Filters the next piece.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = self.next(byte, &mut out);
        }
        out
    }

    fn next(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            (State::String, 0x07) => State::Text,
            (State::String, 0x1b) => State::StringEscape,
            (State::String, _) => State::String,
            (State::StringEscape, b'\\') => State::Text,
            (State::StringEscape | State::Control | State::Escape | State::Text | State::C2, 0x1b) => {
                State::Escape
            }
            (State::StringEscape, _) => State::String,
            (State::Escape, b'[') => {
                self.pending = b"\x1b[".to_vec();
                State::Control
            }
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            // Intermediate bytes: the sequence goes on (ECMA-35).
            (State::Escape, 0x20..=0x2f) => State::Escape,
            (State::Escape, 0x30..=0x7e) => State::Text,
            (State::Control, b'0'..=b'9' | b';' | b':') => {
                if self.pending.len() < SGR_BYTES_MAX {
                    self.pending.push(byte);
                }
                State::Control
            }
            (State::Control, b'm') if self.pending.len() < SGR_BYTES_MAX => {
                out.append(&mut self.pending);
                out.push(b'm');
                State::Text
            }
            (State::Control, 0x40..=0x7e) => State::Text,
            (State::Control, 0x20..=0x3f) => {
                // Private parameters: not an SGR sequence, whatever its end.
                self.pending = vec![0; SGR_BYTES_MAX];
                State::Control
            }
            (State::C2, 0x80..=0x9f) => State::Text,
            (State::C2, _) => {
                out.push(0xc2);
                self.text(byte, out)
            }
            // Newlines end a broken sequence, so that text is never swallowed for long.
            (State::Text | State::Escape | State::Control, _) => self.text(byte, out),
        }
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match byte {
            0xc2 => return State::C2,
            0x20..=0x7e | 0xa0..=0xff | 0x80..=0x9f | b'\t' | b'\n' | b'\r' | 0x08 => out.push(byte),
            _ => {}
        }
        State::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inert(text: &str) -> String {
        let whole = Inert::default().push(text.as_bytes());
        let mut bytewise = Inert::default();
        let pieces: Vec<u8> = text.bytes().flat_map(|byte| bytewise.push(&[byte])).collect();
        assert_eq!(whole, pieces);
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn text_and_colours_stay() {
        for text in [
            "plain\n",
            "tab\tü漢字🔥\r\n",
            "\x1b[1;31mred\x1b[0m",
            "\x1b[38;2;1;2;3mtrue\x1b[m",
            "\u{a0}x\u{b5}",
        ] {
            assert_eq!(inert(text), text);
        }
    }

    #[test]
    fn all_else_goes() {
        for (text, left) in [
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]52;c;ZXZpbA==\x07", ""),
            ("\x1b[2J\x1b[H\x1b[?1049hx", "x"),
            ("\x1b[6n\x1b[c\x1bZ", ""),
            ("\x1b[>4;2mx", "x"),
            ("\x1bP+q544e\x1b\\x", "x"),
            ("\x1b(0x\x1bc", "x"),
            ("a\u{9b}31mb\u{85}", "a31mb"),
            ("\x00\x07\x0e\x7fx", "x"),
            ("\x1b[31", ""),
        ] {
            assert_eq!(inert(text), left, "{text:?}");
        }
    }
}
