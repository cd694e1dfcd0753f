//! Files by descriptor: nothing here follows a link that untrusted code could have placed.

use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Opens `path` below `directory`: no link is followed, no `..` leads out, no mount is crossed (`openat2(2)`).
pub fn open_beneath(directory: BorrowedFd<'_>, path: &CStr, flags: OFlags, mode: u32) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode), resolve)
        .map_err(Error::of("openat2"))
}

/// Opens a directory to look up paths from.
pub fn open_directory(path: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::of("open"))
}

/// Reads a file that the kernel makes up as it is read: in as few calls as may be, since each begins anew to make it up.
pub fn read_kernel_file(path: &CStr) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::of("open"))?;
    // Memory that nothing comes into is never touched.
    let mut bytes = Vec::with_capacity(16 << 10);
    while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)).map_err(Error::of("read"))? > 0
    {
        bytes.reserve(bytes.capacity() / 4);
    }
    String::from_utf8(bytes).map_err(|_| Error { call: "read", errno: libc::EILSEQ })
}

/// Space of a file system: what is used and what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes still free.
    pub free_bytes: u64,
    /// Inodes still free.
    pub free_inodes: u64,
}

/// The space of the file system that a descriptor is on.
pub fn space(fd: BorrowedFd<'_>) -> Result<Space> {
    let stat = rustix::fs::fstatfs(fd).map_err(Error::of("fstatfs"))?;
    let block = stat.f_bsize as u64;
    Ok(Space {
        used_bytes: (stat.f_blocks - stat.f_bfree) * block,
        free_bytes: stat.f_bfree * block,
        free_inodes: stat.f_ffree,
    })
}

/// An anonymous file in memory, closed on exec.
pub fn memory_file(name: &CStr) -> Result<OwnedFd> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).map_err(Error::of("memfd_create"))
}

/// A pipe, both ends closed on exec; the read end does not block.
pub fn pipe_to_read() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::of("pipe2"))?;
    set_nonblocking(read.as_fd())?;
    Ok((read, write))
}

/// A pipe, both ends closed on exec; the write end does not block.
pub fn pipe_to_write() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::of("pipe2"))?;
    set_nonblocking(write.as_fd())?;
    Ok((read, write))
}

/// Makes reads and writes of this descriptor answer EAGAIN instead of waiting.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(Error::of("fcntl(F_GETFL)"))?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(Error::of("fcntl(F_SETFL)"))
}

/// Random bytes of the kernel (`getrandom(2)`).
pub fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::of("getrandom"))?;
    Ok(bytes)
}
