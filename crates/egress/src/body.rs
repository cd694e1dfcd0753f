//! The body of a plain request, passed on with exactly the framing that its head says (RFC 9112 §6, §7.1). [`Chunks`] is pure: what it reads
//! is what hostile programs say.

use crate::attempt::Way;
use crate::flow::Flow;
use crate::refusal::Refusal;
use crate::request::Body;
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite};

/// Most digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 8;

/// Most bytes of fields behind the last chunk. They are read and not passed on.
const TRAILER_BYTES_MAX: usize = 4096;

/// Passes a body on, and not a byte of what the client sends behind it.
pub(crate) async fn pass(
    body: Body,
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    flow: &Flow<'_>,
) -> Result<(), Refusal> {
    match body {
        Body::Length(length) => exactly(length, from, to, flow).await,
        Body::Chunked => chunks(from, to, flow).await,
    }
}

async fn exactly(
    mut length: u64,
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    flow: &Flow<'_>,
) -> Result<(), Refusal> {
    while length > 0 {
        let most = usize::try_from(length).unwrap_or(usize::MAX);
        match flow.pass_some(from, to, Way::Up, most).await? {
            0 => return Err(Refusal::Ended),
            count => length -= count as u64,
        }
    }
    Ok(())
}

async fn chunks(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    flow: &Flow<'_>,
) -> Result<(), Refusal> {
    let mut chunks = Chunks::default();
    loop {
        let bytes = flow.wait(from.fill_buf()).await?;
        if bytes.is_empty() {
            return Err(Refusal::Ended);
        }
        let (count, write) = chunks.take(bytes).map_err(|BadChunks| Refusal::Chunks)?;
        match &write {
            Write::Nothing => {}
            Write::Line(line) => flow.send(to, Way::Up, line.as_bytes()).await?,
            Write::Same => flow.send(to, Way::Up, &bytes[..count]).await?,
            Write::End => flow.send(to, Way::Up, LAST.as_bytes()).await?,
        }
        from.consume(count);
        if write == Write::End {
            return Ok(());
        }
    }
}

/// How every chunked body ends that is passed on.
pub const LAST: &str = "0\r\n\r\n";

/// A body that comes in chunks, read in whatever pieces it comes in. Each chunk is written anew: sizes without extensions, in one spelling; fields
/// behind the last are left out.
#[derive(Debug)]
pub struct Chunks {
    expected: Expected,
    /// What came of the line that is read.
    line: Vec<u8>,
    /// How many bytes of fields may still come.
    trailer_left: usize,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Size,
    Data(u64),
    EndOfData,
    Trailer,
    Nothing,
}

/// What is to be written for bytes that were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing.
    Nothing,
    /// This, in place of them.
    Line(String),
    /// Themselves.
    Same,
    /// [`LAST`], and the body is over.
    End,
}

/// Why bytes are no chunks: a size with an extension or none, a line that does not end with CR LF or is too long, a chunk that is longer than it
/// says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the body is not chunked as it should be")]
pub struct BadChunks;

impl Default for Chunks {
    fn default() -> Self {
        Self { expected: Expected::Size, line: Vec::new(), trailer_left: TRAILER_BYTES_MAX }
    }
}

impl Chunks {
    /// Takes some of these bytes, at least one unless the body is over, and never one that stands behind it. Returns how many, and what is to
    /// be written for them.
    ///
    /// # Errors
    /// [`BadChunks`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Write), BadChunks> {
        let most = match self.expected {
            Expected::Data(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - count as u64;
                self.expected = if left == 0 { Expected::EndOfData } else { Expected::Data(left) };
                return Ok((count, Write::Same));
            }
            Expected::Nothing => return Ok((0, Write::Nothing)),
            Expected::Size => SIZE_DIGITS_MAX,
            Expected::EndOfData => 0,
            Expected::Trailer => self.trailer_left,
        };
        for (at, byte) in bytes.iter().enumerate() {
            let is_control = *byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t');
            let is_bare = self.line.ends_with(b"\r") != (*byte == b'\n');
            if is_control || is_bare || self.line.len() >= most + 2 {
                return Err(BadChunks);
            }
            self.line.push(*byte);
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                return Ok((at + 1, self.end_line(&line[..line.len() - 2])?));
            }
        }
        Ok((bytes.len(), Write::Nothing))
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Write, BadChunks> {
        let (expected, write) = match self.expected {
            Expected::Size => match size(line).ok_or(BadChunks)? {
                0 => (Expected::Trailer, Write::Nothing),
                size => (Expected::Data(size), Write::Line(format!("{size:x}\r\n"))),
            },
            Expected::EndOfData if line.is_empty() => (Expected::Size, Write::Line("\r\n".to_owned())),
            Expected::Trailer if line.is_empty() => (Expected::Nothing, Write::End),
            Expected::Trailer => {
                self.trailer_left = self.trailer_left.saturating_sub(line.len() + 2);
                (Expected::Trailer, Write::Nothing)
            }
            Expected::EndOfData | Expected::Data(_) | Expected::Nothing => return Err(BadChunks),
        };
        self.expected = expected;
        Ok(write)
    }
}

fn size(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}
