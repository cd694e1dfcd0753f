//! Values between our own processes: JSON, in a packet where it fits into one, else in a memory file that goes with it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Longest value that travels in a packet.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// Longest packet with such a value: a tag of two bytes before it.
pub(crate) const PACKET_BYTES_MAX: usize = 2 + INLINE_BYTES_MAX;

/// Sends a value under a tag.
pub(crate) fn send(socket: BorrowedFd<'_>, tag: [u8; 2], value: &impl Serialize) -> sys::Result<()> {
    let (packet, file) = packet(tag, value)?;
    let files: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
    sys::socket::send(socket, &packet, &files)
}

/// A value under a tag, to be sent: the packet, and the file that goes with it where the value does not fit.
pub(crate) fn packet(tag: [u8; 2], value: &impl Serialize) -> sys::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut packet = Vec::with_capacity(4096);
    packet.extend(tag);
    let invalid = sys::Error { call: "encode", errno: libc::EINVAL };
    serde_json::to_writer(&mut packet, value).map_err(|_| invalid)?;
    if packet.len() <= PACKET_BYTES_MAX {
        return Ok((packet, None));
    }
    let file = std::fs::File::from(sys::fs::memory_file(c"value")?);
    file.write_all_at(&packet[tag.len()..], 0).map_err(sys::Error::of_io("write"))?;
    Ok((tag.to_vec(), Some(file.into())))
}

/// Reads the value of a packet that [`send`] sent: its tag, the rest and what came with it.
pub(crate) fn read<T: DeserializeOwned>(packet: &[u8], file: Option<&OwnedFd>) -> io::Result<T> {
    match file {
        Some(file) => read_memory(file),
        None => Ok(serde_json::from_slice(packet.get(2..).unwrap_or_default())?),
    }
}

/// Writes a value to a new memory file.
pub(crate) fn memory(name: &CStr, value: &impl Serialize) -> io::Result<OwnedFd> {
    let file = std::fs::File::from(sys::fs::memory_file(name)?);
    file.write_all_at(&serde_json::to_vec(value)?, 0)?;
    Ok(file.into())
}

/// Reads it, wherever others that share the open file have got to.
pub(crate) fn read_memory<T: DeserializeOwned>(file: &impl AsFd) -> io::Result<T> {
    let size = rustix::fs::fstat(file)?.st_size;
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut done = 0;
    while done < text.len() {
        match rustix::io::pread(file, &mut text[done..], done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => done += length,
        }
    }
    Ok(serde_json::from_slice(&text)?)
}
