//! The spawner's own process: one loop that clones keepers and reaps them. It parses nothing but one byte.

use super::{KEEP, keeper};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use sandbox::host::Host;
use std::os::fd::{AsFd, OwnedFd};
use sys::process::Cloned;

/// Serves one service over `socket` until it is gone and every keeper has ended. The caller has a single thread.
///
/// Returns the exit code of a keeper to the keeper's own process, and 0 to the spawner's.
pub fn live(socket: OwnedFd) -> sys::Result<i32> {
    sys::signal::ignore_broken_pipes()?;
    // A terminal's Ctrl-C goes to the whole group; when to end is the service's to say, by closing the socket.
    let signals = sys::signal::as_descriptor(&[libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
    let host = Host::detect();
    sweep(&host);
    let mut socket = Some(socket);
    let mut keepers = 0usize;
    while socket.is_some() || keepers > 0 {
        let mut polls = vec![PollFd::new(&signals, PollFlags::IN)];
        polls.extend(socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match rustix::event::poll(&mut polls, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(sys::Error { call: "poll", errno: errno.raw_os_error() }),
        }
        let spoken = polls.get(1).is_some_and(|poll| !poll.revents().is_empty());
        while sys::signal::take(signals.as_fd())?.is_some() {}
        keepers -= reap()?;
        if spoken && let Some(open) = &socket {
            match hear(open)? {
                Heard::Keep(theirs) => {
                    // A keeper must hold neither the service's socket nor the spawner's signals.
                    match sys::process::clone_process(0, None) {
                        Ok(Cloned::Child) => {
                            drop((socket.take(), signals));
                            return Ok(keeper::live(theirs, &host));
                        }
                        Ok(Cloned::Parent { .. }) => keepers += 1,
                        // The service sees its end of the keeper's socket close, and says that resources are exhausted.
                        Err(error) => eprintln!("fireclay: clone a keeper: {error}"),
                    }
                }
                Heard::Nothing => {}
                Heard::End => socket = None,
            }
        }
    }
    sweep(&host);
    Ok(0)
}

/// What the service said.
enum Heard {
    Keep(OwnedFd),
    Nothing,
    End,
}

fn hear(socket: &OwnedFd) -> sys::Result<Heard> {
    let mut tag = [0];
    let (length, mut descriptors) = sys::socket::receive(socket.as_fd(), &mut tag)?;
    Ok(match (length, tag[0], descriptors.pop()) {
        (0, ..) => Heard::End,
        (_, KEEP, Some(theirs)) => Heard::Keep(theirs),
        _ => Heard::Nothing,
    })
}

/// Reaps every keeper that has ended; returns how many.
fn reap() -> sys::Result<usize> {
    let mut ended = 0;
    loop {
        match sys::process::wait(-1, false) {
            Ok(Some(_)) => ended += 1,
            Ok(None) => return Ok(ended),
            Err(error) if error.errno == libc::ECHILD => return Ok(ended),
            Err(error) => return Err(error),
        }
    }
}

/// Removes control groups whose makers are gone.
fn sweep(host: &Host) {
    if let Ok(tree) = &host.cgroups {
        tree.sweep();
    }
}
