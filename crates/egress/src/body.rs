//! The body of a plain request, passed on with exactly the framing that its head says (RFC 9112 §6, §7.1).

use crate::attempt::Way;
use crate::flow::Flow;
use crate::refusal::Refusal;
use crate::request::Body;
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

// Each chunk is written anew: sizes without extensions, in one spelling.
async fn chunks(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    flow: &Flow<'_>,
) -> Result<(), Refusal> {
    loop {
        let size = size(&line(from, flow, SIZE_DIGITS_MAX).await?).ok_or(Refusal::Chunks)?;
        if size == 0 {
            break;
        }
        flow.send(to, Way::Up, format!("{size:x}\r\n").as_bytes()).await?;
        exactly(size, from, to, flow).await?;
        if !line(from, flow, 0).await?.is_empty() {
            return Err(Refusal::Chunks);
        }
        flow.send(to, Way::Up, b"\r\n").await?;
    }
    let mut left = TRAILER_BYTES_MAX;
    loop {
        let trailer = line(from, flow, left).await?;
        if trailer.is_empty() {
            return flow.send(to, Way::Up, b"0\r\n\r\n").await;
        }
        left = left.saturating_sub(trailer.len() + 2);
    }
}

fn size(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}

// Reads a line of at most `most` bytes without its CR LF.
async fn line(
    from: &mut (impl AsyncBufRead + Unpin),
    flow: &Flow<'_>,
    most: usize,
) -> Result<Vec<u8>, Refusal> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let bytes = flow.wait(from.fill_buf()).await?;
        let Some(byte) = bytes.first().copied() else { return Err(Refusal::Ended) };
        let is_control = byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t');
        let is_bare = line.ends_with(b"\r") != (byte == b'\n');
        if is_control || is_bare || line.len() >= most + 2 {
            return Err(Refusal::Chunks);
        }
        from.consume(1);
        line.push(byte);
    }
    line.truncate(line.len() - 2);
    Ok(line)
}
