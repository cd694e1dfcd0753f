//! Where something stands in a distributed trace: ids as W3C Trace Context has them, and the header that carries them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Length of a `traceparent` of version 00 (W3C Trace Context, §3.2.2).
const TRACEPARENT_CHARS: usize = 55;
/// The flag that says that the trace is recorded (§3.2.2.5).
const SAMPLED: u8 = 1;

/// Text that is no id of a trace or a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of a trace or a span")]
pub struct NotAnId;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The id of these bytes; the id of all zeros, which the standard forbids, becomes another.
            pub fn from_random(bytes: [u8; $bytes]) -> Self {
                if bytes == [0; $bytes] { Self([1; $bytes]) } else { Self(bytes) }
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Accepts lower-case hexadecimal digits of the right number, not all zero.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                if text.len() != 2 * $bytes {
                    return Err(NotAnId);
                }
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    *byte = hex(pair[0])? << 4 | hex(pair[1])?;
                }
                if bytes == [0; $bytes] { Err(NotAnId) } else { Ok(Self(bytes)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

hex_id!(
    /// Names a trace: 32 lower-case hexadecimal digits.
    TraceId, 16
);
hex_id!(
    /// Names a span within a trace: 16 lower-case hexadecimal digits.
    SpanId, 8
);

fn hex(digit: u8) -> Result<u8, NotAnId> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(NotAnId),
    }
}

/// The header `traceparent`: a trace, and the span that a request was sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

impl FromStr for TraceParent {
    type Err = NotAnId;

    /// Reads the header's value (W3C Trace Context, §3.2 and §4.3): of a later version as much as this one knows, `ff` never.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let text = text.trim_matches([' ', '\t']);
        let head = text.get(..TRACEPARENT_CHARS).ok_or(NotAnId)?;
        let rest = &text[TRACEPARENT_CHARS..];
        let mut parts = head.split('-');
        let mut next = || parts.next().ok_or(NotAnId);
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let is_byte = |text: &str| text.len() == 2 && text.bytes().all(|digit| hex(digit).is_ok());
        let known = version == "00" && rest.is_empty();
        let later = version != "00" && version != "ff" && (rest.is_empty() || rest.starts_with('-'));
        if parts.next().is_some() || !is_byte(version) || !is_byte(flags) || !(known || later) {
            return Err(NotAnId);
        }
        Ok(Self { trace: trace.parse()?, span: span.parse()? })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{SAMPLED:02x}", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_standard_allows_is_read() {
        let parent: TraceParent = GOOD.parse().unwrap();
        assert_eq!(parent.to_string(), GOOD);
        for later in [GOOD.replacen("00", "01", 1), format!("cc{}-what-ever", &GOOD[2..])] {
            assert_eq!(later.parse::<TraceParent>(), Ok(parent), "{later}");
        }
    }

    #[test]
    fn what_it_forbids_is_not() {
        for bad in [
            "",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NotAnId), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            if let Ok(parent) = text.parse::<TraceParent>() {
                prop_assert_eq!(parent.to_string().parse::<TraceParent>(), Ok(parent));
            }
        }
    }
}
