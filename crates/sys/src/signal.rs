//! Signals as readable descriptors, and as a program finds them at its start.

use crate::error::{Error, Result, check};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

/// Blocks `signals` for the calling thread and returns a descriptor that becomes readable when one arrives (`signalfd(2)`).
pub fn as_descriptor(signals: &[i32]) -> Result<OwnedFd> {
    let set = set_of(signals)?;
    // SAFETY: the set is initialised; a null old set is allowed.
    let blocked = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    check("sigprocmask", libc::c_long::from(blocked))?;
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    let fd = check("signalfd", libc::c_long::from(fd))?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Takes one signal off the descriptor; `None` when there is none.
pub fn take(descriptor: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut info) {
        // The signal's number is the first field, 32 bits.
        Ok(_) => Ok(Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(errno) => Err(Error { call: "read(signalfd)", errno: errno.raw_os_error() }),
    }
}

/// Gives every signal its default action and blocks none, as a program expects at its start.
pub fn reset() -> Result<()> {
    for signal in 1..=64 {
        // SAFETY: the default action runs no code of ours. EINVAL for the numbers that cannot be set is the expected answer.
        let answer = unsafe { libc::signal(signal, libc::SIG_DFL) };
        // 32 and 33 belong to the C library, 9 and 19 to the kernel.
        if answer == libc::SIG_ERR && !matches!(signal, 9 | 19 | 32 | 33) {
            return Err(Error::last("signal"));
        }
    }
    unblock()
}

/// Blocks no signal in the calling thread: whoever started us may have left some blocked (`signal(7)`: the mask outlives an exec).
pub fn unblock() -> Result<()> {
    let none = set_of(&[])?;
    // SAFETY: the set is initialised; a null old set is allowed.
    let answer = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    check("sigprocmask", libc::c_long::from(answer)).map(drop)
}

/// Has writes to a closed pipe answer EPIPE instead of ending the process.
pub fn ignore_broken_pipes() -> Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    let answer = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    if answer == libc::SIG_ERR { Err(Error::last("signal")) } else { Ok(()) }
}

/// The signals below the real-time ones, by number.
const NAMES: [&str; 32] = [
    "0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The name of a signal: `SIGSEGV`.
pub fn name(signal: i32) -> String {
    match usize::try_from(signal).ok().and_then(|index| NAMES.get(index)) {
        Some(name) => format!("SIG{name}"),
        None => format!("SIGRTMIN+{}", signal - 34),
    }
}

/// The signal that [`name`] calls so.
pub fn number(name: &str) -> Option<i32> {
    if let Some(above) = name.strip_prefix("SIGRTMIN+") {
        return above.parse::<i32>().ok()?.checked_add(34);
    }
    let name = name.strip_prefix("SIG")?;
    NAMES.iter().position(|known| *known == name).and_then(|index| i32::try_from(index).ok())
}

fn set_of(signals: &[i32]) -> Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are a valid set on Linux; `sigemptyset` initialises it properly next.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, writable set.
    check("sigemptyset", libc::c_long::from(unsafe { libc::sigemptyset(&raw mut set) }))?;
    for signal in signals {
        // SAFETY: the pointer is to a live, initialised set.
        check("sigaddset", libc::c_long::from(unsafe { libc::sigaddset(&raw mut set, *signal) }))?;
    }
    Ok(set)
}
