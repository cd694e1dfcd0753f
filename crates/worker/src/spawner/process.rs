//! The spawner's own process: one loop that clones keepers and zygotes and reaps them. It parses nothing but two bytes.

use super::zygotes::{Started, Zygotes};
use super::{KEEP, STAY, ZYGOTE, keeper};
use crate::session;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use sandbox::host::Host;
use std::os::fd::{AsFd, OwnedFd};
use sys::process::Cloned;

/// Serves one service over `socket` until it is gone and every keeper has ended. The caller has a single thread.
///
/// Returns the exit code of a keeper or of a zygote that could not start to that process, and 0 to the spawner's.
pub fn live(socket: OwnedFd) -> sys::Result<i32> {
    sys::signal::ignore_broken_pipes()?;
    // A terminal's Ctrl-C goes to the whole group; when to end is the service's to say, by closing the socket.
    let signals = sys::signal::as_descriptor(&[libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
    let host = Host::detect();
    sweep(&host);
    let mut socket = Some(socket);
    let mut keepers = 0usize;
    let mut zygotes = Zygotes::default();
    while socket.is_some() || keepers > 0 || zygotes.count() > 0 {
        let mut polls = vec![PollFd::new(&signals, PollFlags::IN)];
        polls.extend(socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match rustix::event::poll(&mut polls, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(sys::Error { call: "poll", errno: errno.raw_os_error() }),
        }
        let spoken = polls.get(1).is_some_and(|poll| !poll.revents().is_empty());
        while sys::signal::take(signals.as_fd())?.is_some() {}
        for pid in reap()? {
            keepers -= usize::from(!zygotes.forget(pid));
        }
        let heard = match &socket {
            Some(open) if spoken => hear(open)?,
            _ => Heard::Nothing,
        };
        let mut started = Started::Spawner;
        match heard {
            Heard::Keep { theirs, shape, number, stays } => {
                let zygote;
                (zygote, started) = zygotes.of(number);
                if matches!(started, Started::Spawner) {
                    // A keeper must hold neither the service's socket nor the spawner's signals nor another's zygote.
                    match sys::process::clone_process(0, None) {
                        Ok(Cloned::Child) => {
                            zygotes.release();
                            drop((socket.take(), signals));
                            return Ok(if stays {
                                session::live(theirs, &shape, zygote, &host)
                            } else {
                                keeper::live(theirs, &shape, zygote, &host)
                            });
                        }
                        Ok(Cloned::Parent { .. }) => keepers += 1,
                        // The service sees its end of the keeper's socket close, and says that resources are exhausted.
                        Err(error) => crate::log::warn(format_args!("clone a keeper: {error}")),
                    }
                }
            }
            Heard::Zygote { warm, number } => started = zygotes.define(number, warm, &host),
            Heard::Nothing => {}
            Heard::End => {
                socket = None;
                zygotes.release();
            }
        }
        if let Started::Child(newborn) = started {
            zygotes.release();
            drop((socket.take(), signals));
            return Ok(newborn.live(&host));
        }
    }
    sweep(&host);
    Ok(0)
}

/// What the service said.
enum Heard {
    Keep { theirs: OwnedFd, shape: OwnedFd, number: u8, stays: bool },
    Zygote { warm: OwnedFd, number: u8 },
    Nothing,
    End,
}

fn hear(socket: &OwnedFd) -> sys::Result<Heard> {
    let mut packet = [0; 2];
    let (length, descriptors) = sys::socket::receive(socket.as_fd(), &mut packet)?;
    let mut descriptors = descriptors.into_iter();
    Ok(match (length, packet, descriptors.next(), descriptors.next()) {
        (0, ..) => Heard::End,
        (_, [tag @ (KEEP | STAY), number], Some(theirs), Some(shape)) => {
            Heard::Keep { theirs, shape, number, stays: tag == STAY }
        }
        (_, [ZYGOTE, number], Some(warm), None) => Heard::Zygote { warm, number },
        _ => Heard::Nothing,
    })
}

/// Reaps every child that has ended.
fn reap() -> sys::Result<Vec<i32>> {
    let mut ended = Vec::new();
    loop {
        match sys::process::wait(-1, false) {
            Ok(Some(reaped)) => ended.push(reaped.pid),
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
