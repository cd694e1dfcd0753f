//! Reads the name in the first message of TLS, the ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), strictly and before any byte of it is
//! passed on. Pure: bytes in, a name out, or nothing while more are needed.

use crate::target::{BadName, Name};
use thiserror::Error;

/// Most bytes of records that may pass before the ClientHello ends. One with keys against quantum computers has less than 2 KiB.
pub const HELLO_BYTES_MAX: usize = 32 * 1024;

/// Most records that a ClientHello may be in. Clients use one, some two to get past bad middleboxes.
const RECORDS_MAX: usize = 64;

/// Longest record (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
/// Encrypted ClientHello (RFC 9849 §5), and its draft under an older name (draft-ietf-tls-esni-02, -07).
const HIDDEN_NAMES: [u16; 2] = [0xfe0d, 0xffce];

/// Why bytes are not a ClientHello that names its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHello {
    /// Not the records of a TLS handshake.
    #[error("does not begin with a TLS ClientHello")]
    NotTls,
    /// Longer than [`HELLO_BYTES_MAX`] or in more records than a client makes.
    #[error("begins with a ClientHello that is too long")]
    TooLong,
    /// Lengths that do not agree, bytes left over, or an extension twice.
    #[error("begins with a malformed ClientHello")]
    Malformed,
    /// No name (RFC 6066 `server_name`).
    #[error("begins with a ClientHello without a server name (SNI)")]
    NoName,
    /// A name that is not one.
    #[error("begins with a ClientHello whose server name (SNI) {0}")]
    Name(BadName),
    /// Encrypted ClientHello, or what looks the same.
    #[error("begins with a ClientHello that may hide another name (ECH)")]
    Hidden,
}

/// Returns the name, or nothing if more bytes are needed. Bytes behind the records of the ClientHello are not looked at.
///
/// # Errors
/// [`BadHello`], as soon as it is certain. Encrypted ClientHello is refused also where it is only GREASE (RFC 9849 §6.2), since the two
/// are made to look alike; OpenSSL, and so curl, Python and Node, send neither.
pub fn parse(bytes: &[u8]) -> Result<Option<Name>, BadHello> {
    let mut message = Vec::new();
    let mut rest = bytes;
    for _ in 0..RECORDS_MAX {
        let Some(record) = record(rest)? else {
            return if bytes.len() >= HELLO_BYTES_MAX { Err(BadHello::TooLong) } else { Ok(None) };
        };
        message.extend_from_slice(record);
        rest = &rest[record.len() + 5..];
        if bytes.len() - rest.len() > HELLO_BYTES_MAX {
            return Err(BadHello::TooLong);
        }
        if let Some(body) = client_hello(&message)? {
            return name(body).map(Some);
        }
    }
    Err(BadHello::TooLong)
}

// Returns what is in the first record, or nothing if it is not all there. What is there already must be right.
fn record(bytes: &[u8]) -> Result<Option<&[u8]>, BadHello> {
    let is_hello =
        bytes.first().is_none_or(|kind| *kind == HANDSHAKE) && bytes.get(1).is_none_or(|major| *major == 3);
    if !is_hello {
        return Err(BadHello::NotTls);
    }
    let Some(length) = bytes.get(3..5).map(|two| usize::from(two[0]) << 8 | usize::from(two[1])) else {
        return Ok(None);
    };
    if length == 0 || length > RECORD_BYTES_MAX {
        return Err(BadHello::Malformed);
    }
    Ok(bytes.get(5..5 + length))
}

// Returns the body of the message, or nothing if it goes on in the next record.
fn client_hello(message: &[u8]) -> Result<Option<&[u8]>, BadHello> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(BadHello::NotTls);
    }
    let Some(length) = message.get(1..4) else { return Ok(None) };
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > HELLO_BYTES_MAX {
        return Err(BadHello::TooLong);
    }
    match message.len() - 4 {
        have if have < length => Ok(None),
        // Another message behind it, in the same record: a client waits for an answer first.
        have if have > length => Err(BadHello::Malformed),
        _ => Ok(Some(&message[4..])),
    }
}

fn name(body: &[u8]) -> Result<Name, BadHello> {
    let mut hello = Bytes(body);
    if hello.take(2)?[0] != 3 {
        return Err(BadHello::Malformed);
    }
    hello.take(32)?;
    let session = hello.vector(1)?;
    let suites = hello.vector(2)?;
    let compressions = hello.vector(1)?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
        return Err(BadHello::Malformed);
    }
    if hello.0.is_empty() {
        return Err(BadHello::NoName);
    }
    let mut extensions = Bytes(hello.vector(2)?);
    hello.end()?;
    let (mut seen, mut found, mut hidden) = (Vec::new(), None, false);
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let data = extensions.vector(2)?;
        let kind = u16::try_from(kind).map_err(|_| BadHello::Malformed)?;
        if seen.contains(&kind) {
            return Err(BadHello::Malformed);
        }
        seen.push(kind);
        hidden |= HIDDEN_NAMES.contains(&kind);
        if kind == SERVER_NAME {
            found = Some(server_name(data)?);
        }
    }
    if hidden { Err(BadHello::Hidden) } else { found.ok_or(BadHello::NoName) }
}

// RFC 6066 §3: a list, which may hold one name of each kind, and there is one kind.
fn server_name(data: &[u8]) -> Result<Name, BadHello> {
    let mut outer = Bytes(data);
    let mut list = Bytes(outer.vector(2)?);
    outer.end()?;
    if list.number(1)? != 0 {
        return Err(BadHello::Malformed);
    }
    let name = list.vector(2)?;
    list.end()?;
    Name::parse(name).map_err(BadHello::Name)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadHello> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadHello::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, BadHello> {
        Ok(self.take(bytes)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    // A vector whose length is written in as many bytes (RFC 8446 §3.4).
    fn vector(&mut self, length_bytes: usize) -> Result<&'a [u8], BadHello> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }

    fn end(&self) -> Result<(), BadHello> {
        if self.0.is_empty() { Ok(()) } else { Err(BadHello::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(length_bytes: usize, data: &[u8]) -> Vec<u8> {
        [&data.len().to_be_bytes()[8 - length_bytes..], data].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, data)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(0, &vector(2, &[&[0][..], &vector(2, name)].concat()))
    }

    fn message(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[1; 32]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, extensions),
        ];
        [&[1][..], &vector(3, &body.concat())].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect()
    }

    fn read(extensions: &[u8]) -> Result<Option<String>, BadHello> {
        parse(&records(&message(extensions), RECORD_BYTES_MAX)).map(|name| name.map(|name| name.to_string()))
    }

    #[test]
    fn a_name() {
        assert_eq!(read(&sni(b"PyPI.org")).unwrap().unwrap(), "pypi.org");
        assert_eq!(read(&[extension(43, &[2, 3, 4]), sni(b"a.b")].concat()).unwrap().unwrap(), "a.b");
    }

    #[test]
    fn in_any_pieces_and_records() {
        let hello = message(&[sni(b"pypi.org"), extension(21, &[0; 50])].concat());
        for size in [5, 40, 1000] {
            let mut bytes = records(&hello, size);
            let end = bytes.len();
            for cut in 0..end {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{size} {cut}");
            }
            assert!(parse(&bytes).unwrap().is_some());
            bytes.extend([23, 3, 3, 0, 1]);
            assert!(parse(&bytes).unwrap().is_some());
        }
        assert_eq!(parse(&records(&hello, 1)), Err(BadHello::TooLong));
    }

    #[test]
    fn no_name_or_another() {
        assert_eq!(read(&extension(43, &[2, 3, 4])), Err(BadHello::NoName));
        assert_eq!(read(&[]), Err(BadHello::NoName));
        for (name, why) in [
            (&b"pypi.org\0.evil.test"[..], BadName::Character),
            (b"pypi.org.", BadName::LastDot),
            (b"127.0.0.1", BadName::Address),
            (b"", BadName::Empty),
            ("рypi.org".as_bytes(), BadName::NotAscii),
            (b"::1", BadName::Address),
        ] {
            assert_eq!(read(&sni(name)), Err(BadHello::Name(why)));
        }
    }

    #[test]
    fn a_hidden_name() {
        for kind in HIDDEN_NAMES {
            assert_eq!(read(&[sni(b"pypi.org"), extension(kind, &[0; 9])].concat()), Err(BadHello::Hidden));
        }
    }

    #[test]
    fn malformed() {
        let two = [&[0][..], &vector(2, b"a.b"), &[0], &vector(2, b"c.d")].concat();
        for extensions in [
            [sni(b"a.b"), sni(b"c.d")].concat(),
            [sni(b"a.b"), extension(9, &[]), extension(9, &[])].concat(),
            extension(0, &vector(2, &two)),
            extension(0, &[vector(2, &[&[0][..], &vector(2, b"a.b")].concat()), vec![0]].concat()),
            extension(0, &vector(2, &[&[1][..], &vector(2, b"a.b")].concat())),
            extension(0, &[]),
            vec![0],
            vec![0, 0, 0, 9, 1],
        ] {
            assert_eq!(read(&extensions), Err(BadHello::Malformed), "{extensions:?}");
        }
        let mut longer = message(&sni(b"a.b"));
        longer.push(0);
        assert_eq!(parse(&records(&longer, RECORD_BYTES_MAX)), Err(BadHello::Malformed));
        assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(BadHello::Malformed));
        assert_eq!(parse(&[22, 3, 1, 0x40, 1]), Err(BadHello::Malformed));
    }

    #[test]
    fn not_tls() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0",
            &[0x80, 0x2e, 1],
            &[22, 2],
            &[21, 3, 1, 0, 2],
            &[22, 3, 1, 0, 1, 2],
        ] {
            assert_eq!(parse(bytes), Err(BadHello::NotTls), "{bytes:?}");
        }
    }

    #[test]
    fn too_long() {
        let huge = [&[22, 3, 1, 0, 4, 1][..], &[0xff, 0xff, 0xff]].concat();
        assert_eq!(parse(&huge), Err(BadHello::TooLong));
        let many = extension(21, &[0; 20_000]);
        let wide = records(&message(&[sni(b"a.b"), many].concat()), RECORD_BYTES_MAX);
        assert!(parse(&wide).is_ok());
        let rest = records(&[&[1, 0, 0x7f, 0xff][..], &[0; 20_000]].concat(), 700);
        assert_eq!(parse(&[rest.clone(), rest].concat()[..HELLO_BYTES_MAX]), Err(BadHello::TooLong));
    }
}
