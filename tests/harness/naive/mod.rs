//! A naive supervisor, as toy engines have one: the same sandbox, image and plan, but watched, judged and collected from by
//! somebody who believes too much. Each [`Weakness`] replaces one part of ours, the rest stays; without any it is ours.
//!
//! For positive controls only: an attack on the supervisor must succeed against the weakness that it is about. Whatever it
//! believes, it waits and keeps no longer than its backstops say, so that the machine is never hurt.

mod collect;
mod guest;
mod judge;
mod watch;

use model::{Fault, FaultCode, InputFile, RunSpec, request::FileContent};
use sandbox::command::Command;
use sandbox::files::{self, Collected};
use sandbox::place::{Sandbox, Site};
use sandbox::plan::{Needs, Plan};
use sandbox::run::{Refused, Setting, Settled, plan_of};
use sandbox::supervise::{self, Io, Stdin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

/// What a naive supervisor says first when the code made it stumble.
pub const VOICE: &str = "naive: ";

/// One thing that a supervisor should not do, by the name that the heads of attacks give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weakness {
    /// Passes its own environment on.
    PassesItsEnvironment,
    /// Never ends standard input.
    LeavesInputOpen,
    /// Runs the program by a runner of a few lines, which keeps a secret and imports after the program.
    RunsItsOwnRunner,
    /// Has that runner send its value as a pickle, and reads it.
    UnpicklesResults,
    /// Gives the next run the workspace of the last.
    ReusesTheWorkspace,
    /// Takes the end of the streams for the end of the run.
    WaitsForStreams,
    /// Leaves the deadline to a timer in the program's own process.
    AsksTheGuestToEnd,
    /// Counts the deadline from the last sign of life.
    WaitsForSilence,
    /// Counts the deadline in processor time.
    CountsProcessorTime,
    /// Watches at the lowest priority, and counts the deadline in naps of its own.
    CountsItsNaps,
    /// Reads byte by byte.
    ReadsByteByByte,
    /// Keeps all output.
    KeepsAllOutput,
    /// Makes room for frames as long as they say they are, and keeps all that is in them.
    TrustsFrames,
    /// Takes outcome and exit code from the frames.
    BelievesFrames,
    /// Takes result and outcome from what is printed.
    BelievesOutput,
    /// Tells from a shell's exit code how a run ended: 124 for the deadline, 137 for memory.
    GuessesByExitCode,
    /// Follows links where files are collected.
    FollowsLinks,
    /// Collects while the program runs.
    CollectsBeforeTheEnd,
    /// Collects whatever is there, however much.
    CollectsEverything,
    /// Takes a file that cannot be collected for a failure of the run.
    FailsWithFiles,
    /// Lists files by lines.
    SplitsNamesAtLines,
}

use Weakness::*;

impl Weakness {
    /// All of them.
    pub const ALL: [Weakness; 21] = [
        PassesItsEnvironment,
        LeavesInputOpen,
        RunsItsOwnRunner,
        UnpicklesResults,
        ReusesTheWorkspace,
        WaitsForStreams,
        AsksTheGuestToEnd,
        WaitsForSilence,
        CountsProcessorTime,
        CountsItsNaps,
        ReadsByteByByte,
        KeepsAllOutput,
        TrustsFrames,
        BelievesFrames,
        BelievesOutput,
        GuessesByExitCode,
        FollowsLinks,
        CollectsBeforeTheEnd,
        CollectsEverything,
        FailsWithFiles,
        SplitsNamesAtLines,
    ];

    /// The weakness of this name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// The parts of a supervisor in which a weakness needs another way of watching, or of collecting.
const WATCHING: [Weakness; 10] = [
    LeavesInputOpen,
    UnpicklesResults,
    WaitsForStreams,
    AsksTheGuestToEnd,
    WaitsForSilence,
    CountsProcessorTime,
    CountsItsNaps,
    ReadsByteByByte,
    KeepsAllOutput,
    TrustsFrames,
];
const COLLECTING: [Weakness; 4] = [FollowsLinks, CollectsEverything, FailsWithFiles, SplitsNamesAtLines];

/// What is weak about a supervisor.
#[derive(Debug, Clone, Default)]
pub struct Weaknesses(BTreeSet<Weakness>);

impl Weaknesses {
    /// Those of a list.
    pub fn of(list: &[Weakness]) -> Self {
        Self(list.iter().copied().collect())
    }

    fn has(&self, weakness: Weakness) -> bool {
        self.0.contains(&weakness)
    }

    fn any(&self, of: &[Weakness]) -> bool {
        of.iter().any(|weakness| self.has(*weakness))
    }
}

/// Runs one spec as `sandbox::run::run` does, but for these weaknesses.
pub fn run(spec: &RunSpec, setting: &Setting<'_>, weak: &Weaknesses) -> Result<Settled, Refused> {
    let mut spec = spec.clone();
    if weak.has(AsksTheGuestToEnd) {
        guest::add_timer(&mut spec);
    }
    let first = once(&spec, setting, weak)?;
    if !weak.has(ReusesTheWorkspace) {
        return Ok(first);
    }
    spec.files.extend(first.collected.files.into_iter().filter_map(|mut left| {
        let (path, mut bytes) = (left.path.to_str()?.to_owned(), Vec::new());
        left.file.read_to_end(&mut bytes).ok()?;
        Some(InputFile { path, content: FileContent::Bytes(bytes), executable: false })
    }));
    once(&spec, setting, weak)
}

fn once(spec: &RunSpec, setting: &Setting<'_>, weak: &Weaknesses) -> Result<Settled, Refused> {
    let needs = Needs {
        limits: spec.limits,
        allow_missing: setting.allow_missing.clone(),
        joinable: false,
        stays: false,
        egress: false,
    };
    let plan = (setting.amend)(plan_of(&needs, setting.host)?);
    let command = guest::command(Command::of(spec, setting.image)?, spec, weak);
    let site =
        Site { image: setting.image, host: setting.host, needs: &needs, name: &setting.name, fail_at: None };
    let mut sandbox = Sandbox::build(&plan, &site, None)?;
    let settled = execute(spec, &plan, &command, &mut sandbox, weak);
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
    weak: &Weaknesses,
) -> Result<Settled, Refused> {
    let put = sandbox::inputs::of(spec);
    let inputs = sandbox::inputs::digests(&put);
    let (streams, ends) = sandbox::streams::make(spec.merge_output).map_err(fault)?;
    let errand = sandbox::errand::write(command, &put).map_err(fault)?;
    sandbox.start(errand.as_fd(), ends.streams.each_ref().map(AsFd::as_fd))?;
    drop(ends);
    sandbox.await_built(plan)?;
    let mut early = Collected::default();
    let watched = if weak.has(CollectsBeforeTheEnd) {
        let mut look = |sandbox: &Sandbox| collect::largest(sandbox, &inputs, &mut early);
        watch::watch(sandbox, &spec.limits, streams, weak, &mut look)?
    } else if weak.any(&WATCHING) {
        watch::watch(sandbox, &spec.limits, streams, weak, &mut |_| {})?
    } else {
        let io = Io {
            stdin: Stdin::Bytes(&spec.stdin),
            stdout: None,
            stderr: None,
            cancel: None,
            gives_way: None,
        };
        supervise::watch(sandbox, plan, spec, streams, io)?
    };
    let judgement = judge::judge(&watched, weak)?;
    let collected = if weak.has(CollectsBeforeTheEnd) {
        early
    } else if weak.any(&COLLECTING) {
        collect::collect(sandbox, &inputs, weak)?
    } else {
        files::collect(sandbox.scratch(), sandbox.ids(), &inputs, spec.limits.disk_bytes)?
    };
    let isolation = model::Isolation {
        level: "naive".into(),
        layers: plan.layers(),
        missing: plan.missing.iter().copied().collect(),
    };
    Ok(Settled {
        judgement,
        watched,
        cpu_us: sandbox.kill()?,
        collected,
        isolation,
        starting: Duration::ZERO,
        collecting: Duration::ZERO,
    })
}

/// What the code made it stumble over, and what it should have got along with.
fn stumbled(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::Internal, format!("{VOICE}{error}"))
}

/// What went wrong without the code's doing: no attack has succeeded then.
fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::Internal, error.to_string())
}
