//! One run from its spec to what became of it: plan, build, execute, judge, settle.

use crate::cgroup::Leaf;
use crate::command::Command;
use crate::errand;
use crate::files::{self, Collected};
use crate::host::Host;
use crate::image::Image;
use crate::inputs::{self, Input};
use crate::joining::NotJoined;
use crate::judge::{Judgement, judge};
use crate::place::{Sandbox, Site};
use crate::plan::{Needs, Plan, plan};
use crate::streams::{self, GuestEnds, Streams};
use crate::supervise::{self, Io, Watched};
use model::{Fault, FaultCode, Isolation, Layer, Rejection, RunSpec};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A run that cannot be carried out: the caller's mistake or ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The caller's mistake.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What is needed to run, besides the spec.
pub struct Setting<'a> {
    /// The machine.
    pub host: &'a Host,
    /// The root.
    pub image: &'a Image,
    /// Layers that may be absent if the machine lacks them.
    pub allow_missing: BTreeSet<Layer>,
    /// A name that no other sandbox of this machine has now.
    pub name: String,
    /// Changes the plan before it is performed; for positive controls in tests.
    pub amend: &'a dyn Fn(Plan) -> Plan,
    /// Given the socket where the program finds its proxy, if it may reach hosts.
    pub serve: &'a dyn Fn(OwnedFd),
    /// Done while the sandbox is built: nobody waits for it.
    pub meanwhile: &'a dyn Fn(),
    /// Fails this step of the plan; for tests.
    pub fail_at: Option<usize>,
}

/// A settled run.
#[derive(Debug)]
pub struct Settled {
    /// What became of it.
    pub judgement: Judgement,
    /// What was seen.
    pub watched: Watched,
    /// Processor time of everything inside, in microseconds.
    pub cpu_us: u64,
    /// What it left behind.
    pub collected: Collected,
    /// What stood around it.
    pub isolation: Isolation,
    /// How long it took until the program began.
    pub starting: Duration,
    /// How long it took, when the program was over, to see what it left.
    pub collecting: Duration,
}

/// What a waiting interpreter is told before the names of modules, in place of its command (guest/python/zygote.py).
const IMPORT: &[u8] = b"import ";

/// Plans the isolation of a run, or of a sandbox for several shapes of job.
pub fn plan_of(needs: &Needs, host: &Host) -> Result<Plan, Fault> {
    plan(needs, host).map_err(|lack| {
        let without = match lack.layer {
            Layer::Cgroup | Layer::Landlock => format!("; `--allow-missing {}` runs without it", lack.layer),
            _ => String::new(),
        };
        Fault::new(FaultCode::IsolationFailed, format!("{lack}; `fireclay doctor` says more{without}"))
    })
}

/// Runs one spec in a sandbox of its own. The caller must have a single thread. Nothing is left behind, whatever happens.
pub fn run(spec: &RunSpec, setting: &Setting<'_>, io: Io<'_>) -> Result<Settled, Refused> {
    let needs = Needs {
        limits: spec.limits,
        allow_missing: setting.allow_missing.clone(),
        joinable: false,
        stays: false,
        egress: spec.egress.is_some(),
    };
    // Before anything is made.
    let command = Command::of(spec, setting.image)?;
    let mut place = Place::make(&needs, setting, None)?;
    if needs.egress {
        (setting.serve)(place.listener()?);
    }
    let settled = place.execute(spec, &command, None, setting.meanwhile, io);
    // Destroyed before the answer, also on the way of an error.
    let destroyed = place.destroy();
    let settled = settled?;
    destroyed?;
    Ok(settled)
}

/// A sandbox that waits for its one run.
#[derive(Debug)]
pub struct Place {
    plan: Plan,
    sandbox: Sandbox,
    /// Made ahead, for a run whose outputs are apart.
    streams: Option<(Streams, GuestEnds)>,
    /// The interpreter that was started in it and waits for its program.
    waiting: Option<Waiting>,
    /// Set when a zygote made no fork, or what waited is gone: then nothing of the run has begun.
    untouched: bool,
}

impl Place {
    /// Makes one; init may still be building when this returns. The caller must have a single thread. A `spare` control group of an
    /// earlier one is used again if it is as good as new.
    pub fn make(needs: &Needs, setting: &Setting<'_>, spare: Option<Leaf>) -> Result<Self, Fault> {
        let plan = (setting.amend)(plan_of(needs, setting.host)?);
        let site = Site {
            image: setting.image,
            host: setting.host,
            needs,
            name: &setting.name,
            fail_at: setting.fail_at,
        };
        let sandbox = Sandbox::build(&plan, &site, spare)?;
        Ok(Self { plan, sandbox, streams: None, waiting: None, untouched: false })
    }

    /// Waits until it is built, and prepares what can be before the run is known.
    pub fn await_built(&mut self) -> Result<(), Fault> {
        self.sandbox.await_built(&self.plan)?;
        self.sandbox.prepare_fork(&self.plan)?;
        self.streams = Some(streams::make(false).map_err(exhausted)?);
        Ok(())
    }

    /// Where its program finds its proxy, for who serves it: once, of a sandbox that was made for that. Waits until it is built.
    pub fn listener(&mut self) -> Result<OwnedFd, Fault> {
        self.sandbox.await_built(&self.plan)?;
        let none = || Fault::new(FaultCode::Internal, "the sandbox has no listener for a proxy");
        self.sandbox.take_listener().ok_or_else(none)
    }

    /// Has an interpreter in it, once it is built, which then waits for its program.
    pub fn have_waiting(&mut self, ahead: &Ahead<'_>) -> Result<(), Fault> {
        self.sandbox.await_built(&self.plan)?;
        let (socket, theirs) = sys::socket::pair().map_err(exhausted)?;
        let (streams, GuestEnds { streams: ends }) = match self.streams.take() {
            Some(made) => made,
            None => streams::make(false).map_err(exhausted)?,
        };
        let Self { plan, sandbox, .. } = self;
        let pid = match ahead {
            Ahead::Start(command) => {
                let errand = errand::write(command, &[]).map_err(exhausted)?;
                sandbox.start_ahead(plan, errand.as_fd(), borrowed(&ends), theirs.as_fd())?;
                None
            }
            Ahead::Fork(zygote, _) => {
                let forked = sandbox.fork_ahead(*zygote, plan, borrowed(&ends), theirs.as_fd());
                Some(forked.map_err(|(NotJoined::NoFork(fault) | NotJoined::Failed(fault))| fault)?)
            }
        };
        let modules = match ahead {
            Ahead::Fork(_, modules) if !modules.is_empty() => Some(modules.join(" ")),
            _ => None,
        };
        self.waiting = Some(Waiting { socket, streams: Some(streams), pid, modules });
        Ok(())
    }

    /// Readable when an interpreter that was started ahead says that it waits, and when it is gone.
    pub fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.waiting.as_ref().map(|waiting| waiting.socket.as_fd())
    }

    /// Hears what it said: true if it is ready, false if it is told only now what to import, and will say so again. Fails if it is gone.
    pub fn hear_waiting(&mut self) -> Result<bool, Fault> {
        let gone = || Fault::new(FaultCode::Interrupted, "the interpreter ended before its program came");
        let waiting = self.waiting.as_mut().ok_or_else(gone)?;
        match sys::socket::receive(waiting.socket.as_fd(), &mut [0; 16]) {
            Ok((1.., _)) => match waiting.modules.take() {
                None => Ok(true),
                Some(modules) => {
                    let order = [IMPORT, modules.as_bytes()].concat();
                    sys::socket::send(waiting.socket.as_fd(), &order, &[]).map_err(exhausted)?;
                    Ok(false)
                }
            },
            _ => Err(gone()),
        }
    }

    /// Whether a run failed because its zygote made no fork, or what waited for it is gone. It may be run elsewhere; this sandbox has
    /// no use any more.
    pub fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// Readable when init says something or is gone: after it is built, only the latter.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.sandbox.control()
    }

    /// Sets the nice value of all that is in it, which is that of its maker while it was made. Its user must be nobody else's.
    pub fn set_nice(&self, nice: i32) -> Result<(), Fault> {
        sys::process::set_nice_of(self.sandbox.pid(), nice).map_err(exhausted)?;
        match &self.waiting {
            // What init started has its value, and so has each of its threads.
            Some(Waiting { pid: None, .. }) => {
                sys::process::set_nice_of_user(self.sandbox.ids().0, nice).map_err(exhausted)
            }
            _ => Ok(()),
        }
    }

    /// Kills what is in it and removes what it was made of.
    pub fn destroy(self) -> Result<(), Fault> {
        self.sandbox.destroy()
    }

    /// Kills what is in it and leaves its control group for another.
    pub fn dismantle(self) -> Result<Option<Leaf>, Fault> {
        self.sandbox.dismantle()
    }

    /// Runs a command in it; or has what waits in it do what it would; or a fork of the zygote behind `zygote`. Everything inside is
    /// dead when this returns, but init, which may be on its way out.
    pub fn execute(
        &mut self,
        spec: &RunSpec,
        command: &Command,
        zygote: Option<BorrowedFd<'_>>,
        meanwhile: &dyn Fn(),
        io: Io<'_>,
    ) -> Result<Settled, Refused> {
        let began = Instant::now();
        let inputs = inputs::of(spec);
        let (streams, begun) = self.begin(spec, command, zygote, &inputs)?;
        let Self { plan, sandbox, .. } = self;
        // All this while init builds, or the code begins.
        let digests = inputs::digests(&inputs);
        meanwhile();
        // If init is gone, it said why before it went.
        sandbox.await_built(plan)?;
        if let Err(fault) = begun {
            // A fork whose inputs were refused does not know why.
            let refused = zygote.and_then(|_| sandbox.refusal());
            return Err(refused.map_or(fault.into(), |(index, errno)| inputs::refused(spec, index, errno)));
        }
        let starting = began.elapsed();
        let watched = supervise::watch(sandbox, plan, spec, streams, io)?;
        let judgement = judge(&watched.seen)
            .ok_or_else(|| Fault::new(FaultCode::Interrupted, "the sandbox died under the run"))?;
        let collected = files::collect(sandbox.scratch(), sandbox.ids(), &digests, spec.limits.disk_bytes)?;
        let missing = plan.missing.iter().copied().collect();
        let isolation = Isolation { level: "default".into(), layers: plan.layers(), missing };
        let cpu_us = match watched.cpu_us {
            Some(cpu_us) => cpu_us,
            None => sandbox.kill()?,
        };
        let collecting = began.elapsed().saturating_sub(starting + watched.wall);
        Ok(Settled { judgement, watched, cpu_us, collected, isolation, starting, collecting })
    }

    /// Has the job begin; returns our ends of its streams, and whether it did.
    fn begin(
        &mut self,
        spec: &RunSpec,
        command: &Command,
        zygote: Option<BorrowedFd<'_>>,
        inputs: &[Input<'_>],
    ) -> Result<(Streams, Result<(), Fault>), Fault> {
        let Self { plan, sandbox, streams, waiting, untouched } = self;
        let errand = errand::write(command, inputs).map_err(exhausted)?;
        if let Some(Waiting { socket, streams, pid, .. }) = waiting
            && let Some(streams) = streams.take()
        {
            // It reads what it is to be while init writes the files.
            let told = sys::socket::send(socket.as_fd(), &command.encode(), &[]).map_err(exhausted);
            *untouched = told.is_err();
            let begun = told.and_then(|()| sandbox.furnish(errand.as_fd(), socket.as_fd()));
            return Ok((streams, begun.and_then(|()| pid.map_or(Ok(()), |pid| sandbox.adopt(pid)))));
        }
        let made = match streams.take().filter(|_| !spec.merge_output) {
            Some(made) => made,
            None => streams::make(spec.merge_output).map_err(exhausted)?,
        };
        // The guest's ends are let go with this function: as long as one is open here, a stream of the guest's does not end.
        let (streams, GuestEnds { streams: ends }) = made;
        let begun = match zygote {
            Some(zygote) => {
                sandbox.await_built(plan)?;
                sandbox.fork(zygote, plan, errand.as_fd(), borrowed(&ends)).map_err(|not| match not {
                    NotJoined::NoFork(fault) => {
                        *untouched = true;
                        fault
                    }
                    NotJoined::Failed(fault) => fault,
                })
            }
            None => sandbox.start(errand.as_fd(), borrowed(&ends)),
        };
        Ok((streams, begun))
    }
}

fn borrowed(ends: &[OwnedFd; 4]) -> [BorrowedFd<'_>; 4] {
    ends.each_ref().map(AsFd::as_fd)
}

fn exhausted(error: sys::Error) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, error.to_string())
}

/// How an interpreter comes into a sandbox before its program is known.
#[derive(Debug)]
pub enum Ahead<'a> {
    /// By this command of [`Command::ahead`].
    Start(Command),
    /// As a fork of the zygote behind this socket, which imports these modules while it waits.
    Fork(BorrowedFd<'a>, &'a [String]),
}

/// An interpreter that was started before its program is known.
#[derive(Debug)]
struct Waiting {
    /// It hears here what it is to do. Kept to the end: what it said here may still be unread, and then an end would be an error to it.
    socket: OwnedFd,
    /// Until it has its program.
    streams: Option<Streams>,
    /// Of one that was forked: init learns then that it is its job.
    pid: Option<i32>,
    /// What it is to import, between blanks, until it is told.
    modules: Option<String>,
}
