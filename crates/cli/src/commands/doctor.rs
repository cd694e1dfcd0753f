//! `fireclay doctor`: performs every act that a sandbox needs, in throw-away children, and says what is there, what is needed,
//! what follows and what to do.
//!
//! The acts are the engine's ([`sandbox::probe`]); here is what they mean to a person. The verdict foretells `fireclay run`:
//! `refused` when it will refuse, `degraded` when a layer or a language will be missing, `ready` otherwise. Advice about the
//! machine never changes the verdict.

mod acts;
mod advice;
#[cfg(feature = "cluster")]
mod bus;
mod check;
mod fixes;
mod storage;
mod surroundings;
mod table;

use crate::args::DoctorArguments;
use crate::commands::run::usually_missing;
use crate::env::Settings;
use check::{Check, Group, Severity};
use model::{Language, Layer, LimitsPatch, Policy, RunRequest, RunSpec};
use sandbox::host::Host;
use sandbox::probe::{Failure, Found, Trial};
use sandbox::run::Setting;
use sandbox::supervise::{Io, Stdin};
use serde::Serialize;
use std::io::IsTerminal;
use surroundings::Surroundings;
use worker::image::Image;

/// `fireclay run` will refuse. Ready and degraded are both 0: code runs.
const REFUSED: u8 = 1;

/// What `fireclay run` will do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Run, behind every layer.
    Ready,
    /// Run, with something missing.
    Degraded,
    /// Refuse.
    Refused,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    level: &'static str,
    verdict: Verdict,
    checks: Vec<Check>,
}

/// Examines the machine; answers the exit code.
pub fn doctor(arguments: &DoctorArguments, settings: &Settings) -> anyhow::Result<u8> {
    let report = examine(settings);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let color = settings.color && std::io::stdout().is_terminal();
        print!("{}", table::text(&report.checks, color));
        println!("{}", table::verdict(report.level, report.verdict, color));
    }
    Ok(if report.verdict == Verdict::Refused { REFUSED } else { 0 })
}

fn examine(settings: &Settings) -> Report {
    let host = Host::detect();
    let surroundings = Surroundings::look();
    let mut checks = acts::checks(&host, &surroundings);
    // A machine that will refuse every run gets no image built for it.
    let may_build = verdict(&checks) != Verdict::Refused;
    let (of_storage, image) = storage::checks(settings, may_build);
    checks.extend(of_storage);
    checks.push(real_run(&host, image.as_ref(), may_build));
    checks.extend(advice::checks());
    #[cfg(feature = "cluster")]
    checks.extend(bus::checks());
    Report { level: "default", verdict: verdict(&checks), checks }
}

fn verdict(checks: &[Check]) -> Verdict {
    let open = |severity| checks.iter().any(|check| !check.ok && check.severity == severity);
    match (open(Severity::Required), open(Severity::Degrading)) {
        (true, _) => Verdict::Refused,
        (false, true) => Verdict::Degraded,
        (false, false) => Verdict::Ready,
    }
}

/// The last act: a whole sandbox, built by the engine, with a program in it.
fn real_run(host: &Host, image: Option<&Image>, may_run: bool) -> Check {
    let check = Check::new(Group::Run, "run", "a real run")
        .needs("the engine builds a sandbox and runs `true` in it")
        .matters(Severity::Required, "fireclay run refuses every program");
    match image {
        Some(image) if may_run => check.found(run_true(host, image), |_| REPORT.to_owned()),
        Some(_) => check.not_tried("an act above failed"),
        None => check.not_tried("no image"),
    }
}

/// What to do when all acts work one by one, and not together.
const REPORT: &str =
    "what fails above, if anything does; else report this with the output of `fireclay doctor --json`";

/// Most time for the run as a whole; the code itself gets a third of it.
const RUN_MS: u64 = 15_000;

fn run_true(host: &Host, image: &Image) -> Found {
    let request = RunRequest {
        language: Some(Language::Bash),
        code: "true".to_owned(),
        limits: LimitsPatch { timeout_ms: Some(RUN_MS / 3), ..LimitsPatch::default() },
        ..RunRequest::default()
    };
    let spec =
        RunSpec::admit(request, &Policy::DEFAULT).map_err(|rejection| Failure::of(rejection.to_string()))?;
    let root = worker::run::root_of(image);
    let setting = Setting {
        host,
        image: &root,
        allow_missing: usually_missing(),
        name: sandbox::cgroup::leaf_name(),
        amend: &std::convert::identity,
        serve: &drop,
        meanwhile: &|| {},
        fail_at: None,
    };
    // In a child like every other act, so that an engine that is stuck does not keep the doctor.
    Trial { patience_ms: RUN_MS, ..Trial::default() }.perform(|| {
        let io = Io { stdin: Stdin::Bytes(&[]), stdout: None, stderr: None, cancel: None, gives_way: None };
        let settled =
            sandbox::run::run(&spec, &setting, io).map_err(|refused| Failure::of(refused.to_string()))?;
        let judgement = &settled.judgement;
        if judgement.outcome != model::Outcome::Completed {
            let code = judgement.exit_code.map_or(String::new(), |code| format!(" with code {code}"));
            return Err(Failure::of(format!("`true` ended as {}{code}", judgement.outcome)));
        }
        let layers = settled.isolation.layers.len();
        Ok(format!(
            "`true` completed in {} ms behind {layers} of {} layers",
            settled.watched.wall.as_millis(),
            Layer::ALL.len()
        ))
    })
}

#[cfg(test)]
mod tests;
