//! What a sandbox may ask for: the name of a host, in one spelling, and a port. Whatever else a host can be written as is refused here,
//! so that what is compared with the rules, asked of DNS and compared with the SNI are the same bytes.

use std::fmt;
use thiserror::Error;

/// Longest name without its last dot (RFC 1035 §2.3.4, RFC 9499 "host name").
const NAME_BYTES_MAX: usize = 253;

/// Longest label (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// The name of a host: letters, digits and hyphens in labels (RFC 952, RFC 1123 §2.1), lower case, A-labels for what is not ASCII
/// (RFC 5890 §2.3.2.1), without a last dot, and never the spelling of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why something is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    /// No byte at all, or a label without one.
    #[error("has an empty label")]
    Empty,
    /// Longer than a name or a label may be.
    #[error("is longer than a name may be (253 bytes, 63 in a label)")]
    TooLong,
    /// An IP address, in any spelling that some client takes for one.
    #[error("is an IP address, and only names are allowed")]
    Address,
    /// A dot at the end.
    #[error("ends with a dot; write it without")]
    LastDot,
    /// Not ASCII: what looks like a letter may be another one.
    #[error("is not ASCII; write it as DNS has it, in A-labels (`xn--…`)")]
    NotAscii,
    /// Any other byte that no host name has, or a hyphen where none may be.
    #[error("has a character that no host name has")]
    Character,
}

impl Name {
    /// Returns the one spelling of a name. Upper case is folded; nothing else is mended.
    ///
    /// # Errors
    /// [`BadName`] says what is wrong. A name whose last label is a number is an address: `127.1`, `0x7f.1`, `2130706433`, `0`
    /// (WHATWG URL §3.5 "ends in a number", which covers what inet_aton(3) reads).
    pub fn parse(text: &[u8]) -> Result<Self, BadName> {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if !text.is_ascii() {
            return Err(BadName::NotAscii);
        }
        if text.starts_with(b"[") || text.contains(&b':') {
            return Err(BadName::Address);
        }
        let name = String::from_utf8_lossy(text).to_ascii_lowercase();
        if name.len() > 1 && name.ends_with('.') {
            return Err(BadName::LastDot);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(BadName::TooLong);
        }
        name.split('.').try_for_each(label)?;
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(BadName::Address);
        }
        Ok(Self(name))
    }

    /// Returns the name as it is compared, resolved and shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name has at least one label more than `parent`, and ends with all of its labels.
    #[must_use]
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn label(label: &str) -> Result<(), BadName> {
    if label.is_empty() {
        return Err(BadName::Empty);
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(BadName::TooLong);
    }
    let is_ldh = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_ldh && !label.starts_with('-') && !label.ends_with('-') { Ok(()) } else { Err(BadName::Character) }
}

fn is_number(label: &str) -> bool {
    let hexadecimal =
        label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub name: Name,
    /// The port, never 0.
    pub port: u16,
}

/// Why an authority is not a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadTarget {
    /// The host is not a name.
    #[error("{0}")]
    Name(#[from] BadName),
    /// `user@` or `user:password@`.
    #[error("has an `@`: what stands before the host is refused")]
    Userinfo,
    /// A percent sign: two readers of one host may read two hosts.
    #[error("has a `%`: a host is not percent-encoded")]
    Percent,
    /// No port, where one must be.
    #[error("has no port")]
    NoPort,
    /// Not a decimal number from 1 to 65535 without leading zeros.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
}

impl Target {
    /// Returns what `HOST:PORT` names; without a port it is `default_port`.
    ///
    /// # Errors
    /// [`BadTarget`], for userinfo, percent-encoding, addresses in any spelling, and all that [`Name::parse`] refuses.
    pub fn parse(authority: &[u8], default_port: Option<u16>) -> Result<Self, BadTarget> {
        if authority.contains(&b'@') {
            return Err(BadTarget::Userinfo);
        }
        if authority.starts_with(b"[") || authority.iter().filter(|byte| **byte == b':').count() > 1 {
            return Err(BadName::Address.into());
        }
        if authority.contains(&b'%') {
            return Err(BadTarget::Percent);
        }
        let (host, port) = match authority.iter().position(|byte| *byte == b':') {
            Some(colon) => (&authority[..colon], port(&authority[colon + 1..]).ok_or(BadTarget::Port)?),
            None => (authority, default_port.ok_or(BadTarget::NoPort)?),
        };
        Ok(Self { name: Name::parse(host)?, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.name, self.port)
    }
}

/// Returns a port that is written as a decimal number without sign or leading zeros, from 1 to 65535.
pub(crate) fn port(digits: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(text: &str) -> BadTarget {
        Target::parse(text.as_bytes(), Some(80)).expect_err(text)
    }

    #[test]
    fn one_spelling() {
        for text in ["pypi.org", "PyPI.ORG", "pypi.org:80"] {
            assert_eq!(Target::parse(text.as_bytes(), Some(80)).unwrap().to_string(), "pypi.org:80");
        }
        for text in [
            "localhost",
            "host",
            "a-b.c",
            "1password.com",
            "r3---sn-4g5e.example.org",
            "xn--p1ai.example",
            "0x7g",
            "3com.0xyz",
        ] {
            assert_eq!(Name::parse(text.as_bytes()).unwrap().as_str(), text);
        }
    }

    #[test]
    fn addresses_in_every_spelling() {
        let spellings = [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0X7F.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "00",
            "0x",
            "1.2.3.4.5",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[fe80::1%25lo]",
            "[::]",
            "::1",
            "fe80::1",
            "example.127",
            "[::1]:80",
            "127.0.0.1:80",
            "127.0.0.0x1",
            "[v1.x]",
            "4294967297",
            "99999999999999999999",
        ];
        for text in spellings {
            assert_eq!(bad(text), BadTarget::Name(BadName::Address), "{text}");
        }
    }

    #[test]
    fn nothing_is_mended() {
        for (text, why) in [
            ("", BadName::Empty),
            (".", BadName::Empty),
            ("a..b", BadName::Empty),
            (".a", BadName::Empty),
            ("pypi.org.", BadName::LastDot),
            ("localhost.", BadName::LastDot),
            ("127.0.0.1.", BadName::LastDot),
            ("рypi.org", BadName::NotAscii),
            ("pypi。org", BadName::NotAscii),
            ("①②⑦.0.0.1", BadName::NotAscii),
            ("pypi.org\0.evil.test", BadName::Character),
            ("pypi.org ", BadName::Character),
            ("py_pi.org", BadName::Character),
            ("-a.org", BadName::Character),
            ("a-.org", BadName::Character),
            ("a/b", BadName::Character),
            ("*.org", BadName::Character),
            ("a\\b", BadName::Character),
            ("a\tb", BadName::Character),
            ("a#b", BadName::Character),
            ("a?b", BadName::Character),
        ] {
            assert_eq!(bad(text), BadTarget::Name(why), "{text:?}");
        }
        assert_eq!(bad(&"a".repeat(64)), BadTarget::Name(BadName::TooLong));
        assert_eq!(bad(&["a"; 128].join(".")), BadTarget::Name(BadName::TooLong));
        assert!(Name::parse(["a"; 127].join(".").as_bytes()).is_ok());
        assert_eq!(bad("user@pypi.org@evil.test"), BadTarget::Userinfo);
        assert_eq!(bad("pypi.org%00.evil.test"), BadTarget::Percent);
        for text in ["a:", "a:0", "a:65536", "a:+1", "a:01", "a:8o", "a: 1", "a:-1"] {
            assert_eq!(bad(text), BadTarget::Port, "{text}");
        }
        assert_eq!(Target::parse(b"a", None), Err(BadTarget::NoPort));
    }

    #[test]
    fn below_is_by_labels() {
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        let parent = name("example.org");
        assert!(name("a.example.org").is_below(&parent) && name("a.b.example.org").is_below(&parent));
        for other in ["example.org", "evilexample.org", "example.org.evil.com", "org", "a.example.com"] {
            assert!(!name(other).is_below(&parent), "{other}");
        }
    }
}
