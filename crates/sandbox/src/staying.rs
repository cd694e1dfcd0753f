//! The init of a sandbox that stays: starts one job after the other, signals them, reaps, and reports each end. It ends with its
//! supervisor, and all that is left ends with it.
//!
//! It is confined before its first job (`policy/seccomp/stay.toml`): while it starts one, others run. Each job restricts itself as the
//! job of a single run does, by the same steps of the plan.

use crate::control::{self, Message};
use crate::errand::Errand;
use crate::init::{self, Birth};
use rustix::event::{PollFd, PollFlags};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use sys::{Error, Result};

/// The jobs that have not ended: their process ids, which are their groups' too, by number.
type Jobs = BTreeMap<u32, i32>;

/// Serves the supervisor from this first message on; returns init's exit code.
pub(crate) fn serve(birth: &Birth<'_>, first: Message, descriptors: Vec<OwnedFd>) -> i32 {
    let mut jobs = Jobs::new();
    let Ok(children) = sys::signal::as_descriptor(&[libc::SIGCHLD]) else { return 1 };
    let mut served = obey(birth, first, descriptors, &mut jobs);
    loop {
        // Also after each launch: what ended before may have been told by the same signal.
        served = served.and_then(|()| reap(birth, &mut jobs));
        if served.is_err() {
            return 1;
        }
        let mut polls = [PollFd::new(&birth.control, PollFlags::IN), PollFd::new(&children, PollFlags::IN)];
        match rustix::event::poll(&mut polls, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 1,
        }
        let [spoken, ended] = polls.map(|poll| !poll.revents().is_empty());
        served = match ended {
            true => take_all(&children),
            false => Ok(()),
        };
        if served.is_ok() && spoken {
            served = match control::receive(birth.control.as_fd()) {
                Ok(Some((message, descriptors))) => obey(birth, message, descriptors, &mut jobs),
                Ok(None) => return 0,
                Err(error) => Err(error),
            };
        }
    }
}

fn take_all(signals: &OwnedFd) -> Result<()> {
    while sys::signal::take(signals.as_fd())?.is_some() {}
    Ok(())
}

/// Does what the supervisor says. Only what makes it useless to go on is an error.
fn obey(birth: &Birth<'_>, message: Message, descriptors: Vec<OwnedFd>, jobs: &mut Jobs) -> Result<()> {
    match message {
        Message::Launch { job, streams } => {
            match launch(birth, descriptors, streams) {
                Ok(pid) => drop(jobs.insert(job, pid)),
                Err(error) => {
                    control::send(birth.control.as_fd(), Message::failed(usize::MAX, error), &[])?;
                    let status = libc::SIGKILL;
                    control::send(birth.control.as_fd(), Message::JobEnded { job, status, cpu_us: 0 }, &[])?;
                }
            }
            // One that was killed on the way has said nothing: what the next one says must not be taken for its word.
            control::send(birth.control.as_fd(), Message::Launched { job }, &[])
        }
        Message::AdoptAs { job, pid } => {
            jobs.insert(job, pid);
            // One that ended before it was known was reaped as nobody's.
            if sys::process::is_gone(pid) {
                jobs.remove(&job);
                let ended = Message::JobEnded { job, status: libc::SIGKILL, cpu_us: 0 };
                return control::send(birth.control.as_fd(), ended, &[]);
            }
            Ok(())
        }
        Message::Signal { job, signal } => {
            jobs.get(&job).map_or(Ok(()), |group| signal_group(*group, signal))?;
            control::send(birth.control.as_fd(), Message::Signalled { job }, &[])
        }
        Message::Socket { number, version_6 } => {
            let made = sys::net::stream_socket(version_6);
            let errno = made.as_ref().map_or_else(|error| error.errno, |_| 0);
            let socket: Vec<_> = made.iter().map(AsFd::as_fd).collect();
            control::send(birth.control.as_fd(), Message::SocketMade { number, errno }, &socket)
        }
        _ => Err(Error { call: "message", errno: libc::EBADMSG }),
    }
}

/// Starts one job and returns its process id. What its own steps say of a failure, it says itself.
fn launch(birth: &Birth<'_>, mut descriptors: Vec<OwnedFd>, streams: u64) -> Result<i32> {
    let streams = usize::try_from(streams).unwrap_or(usize::MAX);
    if descriptors.len() <= streams {
        return Err(Error { call: "streams", errno: libc::EBADMSG });
    }
    let tasks = descriptors.split_off(1 + streams);
    let streams = descriptors.split_off(1);
    let errand = Errand::read(descriptors[0].as_fd())?;
    // The child shares our memory until it is the program: it borrows what is ours and changes none of it.
    sys::process::start_sharing(&mut || {
        init::report(birth, init::become_program(birth, &errand.command, &streams, &tasks))
    })
}

fn signal_group(group: i32, signal: i32) -> Result<()> {
    match sys::process::kill_group(group, signal) {
        // It ended, or is not yet the leader of its own group.
        Err(error) if error.errno == libc::ESRCH => Ok(()),
        other => other,
    }
}

/// Reaps all that has ended and reports the jobs among them.
fn reap(birth: &Birth<'_>, jobs: &mut Jobs) -> Result<()> {
    loop {
        let reaped = match sys::process::wait(-1, false) {
            Ok(Some(reaped)) => reaped,
            Ok(None) => return Ok(()),
            Err(error) if error.errno == libc::ECHILD => return Ok(()),
            Err(error) => return Err(error),
        };
        let ended = jobs.iter().find(|(_, pid)| **pid == reaped.pid).map(|(job, _)| *job);
        if let Some(job) = ended {
            jobs.remove(&job);
            let ended = Message::JobEnded { job, status: reaped.status, cpu_us: reaped.cpu_us };
            control::send(birth.control.as_fd(), ended, &[])?;
        }
    }
}
