//! The four streams between a supervisor and a job: input, two outputs, and the channel on which the guest says its result.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The guest's ends of the streams, given to the job and then closed here.
#[derive(Debug)]
pub struct GuestEnds {
    /// In the order of their numbers: 0, 1, 2, 3.
    pub streams: [OwnedFd; 4],
}

/// Our ends of the streams; none of them ever makes us wait.
#[derive(Debug)]
pub struct Streams {
    /// To standard input, until it has its end.
    pub stdin: Option<OwnedFd>,
    /// From standard output and standard error, until each has ended.
    pub outputs: [Option<OwnedFd>; 2],
    /// From the result channel, likewise.
    pub result: Option<OwnedFd>,
}

/// Makes the four streams of a run; with `merge_output`, standard error is a copy of standard output.
pub fn make(merge_output: bool) -> sys::Result<(Streams, GuestEnds)> {
    let (stdin_read, stdin_write) = sys::fs::pipe_to_read()?;
    // The guest's end must wait for input as any program expects; ours must not wait for the guest.
    clear_nonblocking(stdin_read.as_fd())?;
    sys::fs::set_nonblocking(stdin_write.as_fd())?;
    let (stdout, guest_stdout) = sys::fs::pipe_to_read()?;
    let (stderr, guest_stderr) = if merge_output {
        (None, sys::process::duplicate_above(guest_stdout.as_fd(), 0)?)
    } else {
        let (stderr, guest_stderr) = sys::fs::pipe_to_read()?;
        (Some(stderr), guest_stderr)
    };
    let (result, guest_result) = sys::fs::pipe_to_read()?;
    let ours = Streams { stdin: Some(stdin_write), outputs: [Some(stdout), stderr], result: Some(result) };
    Ok((ours, GuestEnds { streams: [stdin_read, guest_stdout, guest_stderr, guest_result] }))
}

/// Has reads and writes wait, as any program expects.
pub(crate) fn clear_nonblocking(fd: BorrowedFd<'_>) -> sys::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(sys::Error::of("fcntl(F_GETFL)"))?;
    let flags = flags.difference(rustix::fs::OFlags::NONBLOCK);
    rustix::fs::fcntl_setfl(fd, flags).map_err(sys::Error::of("fcntl(F_SETFL)"))
}

/// How many bytes a stream's pipe can hold, 0 when it has ended.
pub(crate) fn capacity(stream: &Option<OwnedFd>) -> usize {
    stream.as_ref().and_then(|pipe| rustix::pipe::fcntl_getpipe_size(pipe).ok()).unwrap_or(0)
}

/// Reads one piece into a buffer with room for it. Memory that nothing came into is never touched.
pub(crate) fn read_piece(fd: impl AsFd, buffer: &mut Vec<u8>) -> rustix::io::Result<usize> {
    buffer.clear();
    rustix::io::read(fd, rustix::buffer::spare_capacity(buffer))
}
