//! Pseudoterminals (pty(7), ioctl_tty(2)).

use crate::error::{Error, Result, check};
use rustix::fs::{Mode, OFlags};
use rustix::termios::Winsize;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes a pseudoterminal: our side, which does not make us wait, and the side of a program. Neither is anybody's controlling terminal yet.
/// The program's side is had without a path, so that none can be put in its place (TIOCGPTPEER, Linux 4.13).
pub fn open() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let ours = rustix::fs::open(c"/dev/ptmx", flags, Mode::empty()).map_err(Error::of("open /dev/ptmx"))?;
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    let answer = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    check("ioctl(TIOCSPTLCK)", libc::c_long::from(answer))?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags by value.
    let theirs = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let theirs = check("ioctl(TIOCGPTPEER)", libc::c_long::from(theirs))? as libc::c_int;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok((ours, unsafe { OwnedFd::from_raw_fd(theirs) }))
}

/// Says how many rows and columns a terminal shows; what runs on it hears of it by SIGWINCH.
pub fn resize(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).map_err(Error::of("tcsetwinsize"))
}

/// Makes a terminal the controlling one of the caller's session, whose leader the caller must be.
pub fn control(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a number: 0 never steals a terminal from another session.
    let answer = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check("ioctl(TIOCSCTTY)", libc::c_long::from(answer)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_typed_on_one_side_is_read_on_the_other() {
        let (ours, theirs) = open().unwrap();
        resize(ours.as_fd(), 7, 9).unwrap();
        let size = rustix::termios::tcgetwinsize(&theirs).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (7, 9));
        rustix::io::write(&ours, b"line\n").unwrap();
        let mut bytes = [0; 16];
        let length = rustix::io::read(&theirs, &mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"line\n");
    }
}
