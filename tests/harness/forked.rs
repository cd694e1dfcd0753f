//! Runs one spec in a fork of a zygote, as a keeper does, with a plan that tests may change.

use model::{Fault, FaultCode, RunSpec};
use sandbox::command::Command;
use sandbox::plan::Needs;
use sandbox::run::{Place, Refused, Setting, Settled};
use sandbox::supervise::Io;
use sandbox::zygote::{self, Work};
use std::os::fd::AsFd;
use sys::process::Cloned;

/// Starts a zygote, has it fork into a sandbox that was built before, and ends both. The caller has one thread.
pub fn run(spec: &RunSpec, setting: &Setting<'_>, io: Io<'_>) -> Result<Settled, Refused> {
    let failed = |error: sys::Error| Fault::new(FaultCode::Internal, error.to_string());
    let (socket, theirs) = sys::socket::pair().map_err(failed)?;
    let complaints = sys::process::duplicate_above(rustix::stdio::stderr(), 3).map_err(failed)?;
    let pid = match sys::process::clone_process(0, None).map_err(failed)? {
        Cloned::Child => {
            drop(socket);
            let work = Work::default();
            let error = zygote::live(setting.image, setting.host, &work, &theirs, &complaints);
            eprintln!("driver: become a zygote: {error}");
            sys::process::exit_now(1)
        }
        Cloned::Parent { pid, .. } => pid,
    };
    drop((theirs, complaints));
    let settled = fork_into(spec, setting, socket.as_fd(), io);
    // It ends when nobody can ask it any more.
    drop(socket);
    sys::process::wait(pid, true).map_err(failed)?;
    settled
}

fn fork_into(
    spec: &RunSpec,
    setting: &Setting<'_>,
    zygote: std::os::fd::BorrowedFd<'_>,
    io: Io<'_>,
) -> Result<Settled, Refused> {
    let needs = Needs {
        limits: spec.limits,
        allow_missing: setting.allow_missing.clone(),
        joinable: true,
        stays: false,
        egress: false,
    };
    let command = Command::of(spec, setting.image)?;
    let mut place = Place::make(&needs, setting, None)?;
    let settled = match place.await_built() {
        Ok(()) => place.execute(spec, &command, Some(zygote), &|| {}, io),
        Err(fault) => Err(fault.into()),
    };
    let destroyed = place.destroy();
    let settled = settled?;
    destroyed?;
    Ok(settled)
}
