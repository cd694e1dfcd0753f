//! One run from its spec to what became of it: plan, build, execute, judge, settle.

use crate::command::Command;
use crate::errand;
use crate::files::{self, Collected};
use crate::host::Host;
use crate::image::Image;
use crate::inputs;
use crate::judge::{Judgement, judge};
use crate::place::{Sandbox, Site};
use crate::plan::{Needs, Plan, plan};
use crate::streams::{self, GuestEnds};
use crate::supervise::{self, Io, Watched};
use model::{Fault, FaultCode, Isolation, Layer, Rejection, RunSpec};
use std::collections::BTreeSet;
use std::os::fd::AsFd;

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
}

/// Plans the isolation of a run.
pub fn plan_of(spec: &RunSpec, host: &Host, allow_missing: &BTreeSet<Layer>) -> Result<(Needs, Plan), Fault> {
    let needs = Needs { limits: spec.limits, allow_missing: allow_missing.clone() };
    let plan = plan(&needs, host).map_err(|lack| {
        let without = match lack.layer {
            Layer::Cgroup | Layer::Landlock => format!("; `--allow-missing {}` runs without it", lack.layer),
            _ => String::new(),
        };
        Fault::new(FaultCode::IsolationFailed, format!("{lack}; `fireclay doctor` says more{without}"))
    })?;
    Ok((needs, plan))
}

/// Runs one spec in a sandbox of its own. The caller must have a single thread. Nothing is left behind, whatever happens.
pub fn run(spec: &RunSpec, setting: &Setting<'_>, io: Io<'_>) -> Result<Settled, Refused> {
    let (needs, plan) = plan_of(spec, setting.host, &setting.allow_missing)?;
    let plan = (setting.amend)(plan);
    let command = Command::of(spec, setting.image)?;
    let site = Site {
        image: setting.image,
        host: setting.host,
        needs: &needs,
        name: &setting.name,
        fail_at: setting.fail_at,
    };
    let mut sandbox = Sandbox::build(&plan, &site)?;
    let settled = execute(spec, &plan, &command, &mut sandbox, setting.meanwhile, io);
    // Destroyed before the answer, also on the way of an error.
    let destroyed = sandbox.destroy();
    let settled = settled?;
    destroyed?;
    Ok(settled)
}

fn execute(
    spec: &RunSpec,
    plan: &Plan,
    command: &Command,
    sandbox: &mut Sandbox,
    meanwhile: &dyn Fn(),
    io: Io<'_>,
) -> Result<Settled, Refused> {
    let exhausted = |error: sys::Error| Fault::new(FaultCode::ResourcesExhausted, error.to_string());
    let inputs = inputs::of(spec);
    let (streams, GuestEnds { streams: ends }) = streams::make(spec.merge_output).map_err(exhausted)?;
    let errand = errand::write(command, &inputs).map_err(exhausted)?;
    let started =
        sandbox.start(errand.as_fd(), [ends[0].as_fd(), ends[1].as_fd(), ends[2].as_fd(), ends[3].as_fd()]);
    // Ours are copies: as long as one is open, a stream of the guest's does not end.
    drop((ends, errand));
    // All this while init builds.
    let digests = inputs::digests(&inputs);
    meanwhile();
    // If init is gone, it said why before it went.
    sandbox.await_built(plan)?;
    started?;
    let watched = supervise::watch(sandbox, plan, spec, streams, io)?;
    let judgement = judge(&watched.seen)
        .ok_or_else(|| Fault::new(FaultCode::Interrupted, "the sandbox died under the run"))?;
    let collected = files::collect(sandbox.scratch(), sandbox.ids(), &digests, spec.limits.disk_bytes)?;
    let missing = plan.missing.iter().copied().collect();
    let isolation = Isolation { level: "default".into(), layers: plan.layers(), missing };
    Ok(Settled { judgement, watched, cpu_us: sandbox.kill()?, collected, isolation })
}
