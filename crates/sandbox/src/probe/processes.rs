//! Processes: named by descriptor, refused, killed.

use super::{Failure, Found, Trial};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use sys::process::{Cloned, Ended};

/// How long a killed process of a probe may take to be gone.
const DEATH_MS: u64 = 2_000;

/// A process that does nothing until it is killed, by the caller or by the caller's end.
fn idle() -> sys::Result<(i32, OwnedFd)> {
    match sys::process::clone_process(0, None)? {
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Cloned::Child => {
            if sys::process::die_with_parent().is_err() {
                sys::process::exit_now(1);
            }
            loop {
                rustix::event::pause();
            }
        }
    }
}

/// Makes up to `most` processes at once, kills them again, and tells how many there were.
pub fn fork_until_refused(most: u64) -> Result<u64, Failure> {
    let mut made = Vec::new();
    let refused = loop {
        if made.len() as u64 >= most {
            break None;
        }
        match idle() {
            Ok(process) => made.push(process),
            Err(error) => break Some(error),
        }
    };
    for (pid, pidfd) in &made {
        sys::process::kill(pidfd.as_fd(), libc::SIGKILL)?;
        super::trial::reap(*pid, pidfd, DEATH_MS)?;
    }
    match refused {
        // EAGAIN is the limit's answer; all else is not about limits.
        Some(error) if error.errno != libc::EAGAIN => Err(error.into()),
        _ => Ok(made.len() as u64),
    }
}

/// A process is killed and awaited by its descriptor.
pub fn pidfd() -> Found {
    Trial::default().perform(|| {
        let (pid, pidfd) = idle()?;
        sys::process::kill(pidfd.as_fd(), libc::SIGKILL)?;
        match super::trial::reap(pid, &pidfd, DEATH_MS)? {
            Some(Ended::Signalled(libc::SIGKILL)) => Ok("kills and awaits the right process".to_owned()),
            other => Err(Failure::of(format!("a killed process ended in {other:?}"))),
        }
    })
}

/// A descriptor in the range is closed.
pub fn close_range() -> Found {
    Trial::default().perform(|| {
        let null = std::fs::File::open("/dev/null")?;
        let number = sys::process::duplicate_above(null.as_fd(), 100)?.into_raw_fd();
        sys::process::close_others(number, &[])?;
        match std::fs::symlink_metadata(format!("/proc/self/fd/{number}")) {
            Err(_) => Ok("works".to_owned()),
            Ok(_) => Err(Failure::of("a descriptor in the range stayed open")),
        }
    })
}
