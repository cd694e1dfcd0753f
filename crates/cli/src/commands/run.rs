//! `fireclay run`: arguments → request → spec → sandbox → output and exit code; or the service that runs, if there is one.

mod served;
mod way_out;

use crate::args::RunArguments;
use crate::commands::image::ensure;
use crate::commands::record::{Over, record};
use crate::env::Settings;
use crate::exit::{FAULT, code_of_outcome, fault};
use crate::terminal::Inert;
use anyhow::Context;
use check::verdicts::Verdicts;
use model::request::FileContent;
use model::{
    CheckMode, Finding, InputFile, Language, Layer, Limits, LimitsPatch, Outcome, Policy, Rejection, RunId,
    RunRequest, RunResult, RunSpec, TenantId, units,
};
use sandbox::forward::Live;
use sandbox::host::Host;
use sandbox::plan::Needs;
use sandbox::run::{Refused, Setting, Settled, plan_of};
use sandbox::supervise::{Io, Stdin};
use served::Served;
use server::needs::conditions;
use server::traces::Timeline;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use way_out::WayOut;
use worker::image::environment::EnvironmentStore;
use worker::image::pythons::{PythonSettings, Pythons};
use worker::phases::Measured;
use worker::template::{NotReady, Template, TemplateStore};

/// Runs the code; answers the exit code.
pub fn run(arguments: &RunArguments, settings: &Settings) -> anyhow::Result<u8> {
    let mut timeline = Timeline::alone();
    let mut mark = |name: &str| timeline.iter_mut().for_each(|timeline| timeline.mark(name));
    let templates = TemplateStore::open(&settings.data, &settings.path);
    let request = templates.fill(TenantId::local().as_str(), request_of(arguments)?);
    let mut spec = RunSpec::admit(request.clone(), &Policy::DEFAULT)?;
    let verdicts = Verdicts::of(&[], &arguments.reading.patch(), "--check-rule")?;
    sys::signal::ignore_broken_pipes()?;
    let cancel = sys::signal::as_descriptor(&ENDING)?;
    let served = match wants_packages(&request, spec.language.is_declared())? {
        true => Some(Served::with_packages(arguments, settings)?),
        false => Served::possible(arguments, settings),
    };
    if let Some(served) = served
        && let Some(code) = served.run(request.clone(), &cancel)?
    {
        return Ok(code);
    }
    if arguments.reading.review {
        let hint = "start `fireclay serve` on this data directory, with `model.name` set; or leave it out";
        return Err(Rejection::new("--review", "no service with a model runs it", hint).into());
    }
    let request_text = serde_json::to_string(&request)?;
    let keep = |over| {
        if !arguments.no_record {
            record(settings, over);
        }
    };
    let host = Host::detect();
    let allow_missing = allowed_missing(arguments);
    if arguments.show_plan {
        let needs = Needs {
            limits: spec.limits,
            allow_missing,
            joinable: false,
            stays: false,
            egress: spec.egress.is_some(),
        };
        let plan = plan_of(&needs, &host).map_err(fault)?;
        print!("{plan}");
        return Ok(0);
    }
    mark("admission");
    let report = check::check_by(&spec.code, spec.language, &verdicts);
    mark("check");
    let artifacts = arguments.artifacts.as_deref().map(open_artifacts).transpose()?;
    let (image, _hold) = ensure(&arguments.image, settings)?;
    let others = PythonSettings { detect: true, ..PythonSettings::default() };
    let pythons = Pythons::new(image, &settings.data, settings.path.clone(), others);
    let template = Template::of(&spec, &templates).map_err(Refused::from)?;
    let chosen = pythons.have(template.image(), &conditions(&spec)?);
    spec.python = chosen.map_err(NotReady::from).map_err(Refused::from)?;
    let image = pythons.chosen(template.image(), spec.python.as_deref());
    let image = image.map_err(NotReady::from).map_err(Refused::from)?;
    let template = template.prepare(&image, &EnvironmentStore::open(&settings.data), &templates);
    let template = template.map_err(Refused::from)?;
    let image = &template.image;
    let (id, created_at) = (RunId::from_random(sys::fs::random()?), worker::run::now());
    if report.refused {
        let result = worker::run::result_of_denied(id, created_at, &spec, image, report.findings);
        tell_denial(arguments, &result)?;
        keep(Over { request: request_text, result, left: &[], timeline });
        return Ok(code_of_outcome(Outcome::Denied, None, None));
    }
    let stdin = Input::open(arguments)?;
    let way_out = WayOut::of(&spec)?;
    let setting = Setting {
        host: &host,
        image,
        allow_missing,
        name: sandbox::cgroup::leaf_name(),
        amend: &std::convert::identity,
        serve: &|listener| way_out.serve(listener),
        // What a killed predecessor could not remove.
        meanwhile: &|| {
            if let Ok(tree) = &host.cgroups {
                tree.sweep();
            }
        },
        fail_at: None,
    };
    let io = Io {
        stdin: stdin.as_stdin(),
        stdout: (!arguments.json)
            .then(|| live(std::io::stdout().is_terminal(), rustix::stdio::stdout(), arguments.raw)),
        stderr: (!arguments.json)
            .then(|| live(std::io::stderr().is_terminal(), rustix::stdio::stderr(), arguments.raw)),
        cancel: Some(cancel.as_fd()),
        gives_way: None,
    };
    mark("image");
    let ran = sandbox::run::run(&spec, &setting, io);
    match ran {
        Ok(settled) => {
            timeline.iter_mut().for_each(|timeline| timeline.ran(phases_of(&settled)));
            if let Some(directory) = &artifacts {
                copy_artifacts(directory, &settled)?;
            }
            let mut result = worker::run::result_of(id, created_at, &spec, image, &settled);
            result.findings = report.findings;
            result.egress = way_out.close()?;
            if arguments.json {
                print_json(&result)?;
            } else {
                print_rest(&settled, arguments.raw)?;
                explain(&settled, &spec, artifacts.is_some());
            }
            keep(Over { request: request_text, result, left: &settled.collected.files, timeline });
            let judgement = &settled.judgement;
            Ok(code_of_outcome(judgement.outcome, judgement.exit_code, judgement.signal))
        }
        Err(Refused::Fault(error)) => {
            let result = worker::run::result_of_fault(id, created_at, &spec, image, error.clone());
            if arguments.json {
                print_json(&result)?;
            }
            keep(Over { request: request_text, result, left: &[], timeline });
            if arguments.json { Ok(FAULT) } else { Err(Refused::Fault(error).into()) }
        }
        Err(refused) => Err(refused.into()),
    }
}

/// Whether packages are to be installed for it, or it is to be compiled, which takes a service.
fn wants_packages(request: &RunRequest, compiles: bool) -> anyhow::Result<bool> {
    if compiles || request.auto_packages || !request.packages.is_empty() {
        return Ok(true);
    }
    let block = packages::script::parse(&request.code).map_err(|wrong| wrong.rejection("code"))?;
    let listed = ["requirements.txt", "pyproject.toml"];
    let in_files = request.files.iter().any(|file| listed.contains(&file.path.as_str()));
    Ok(in_files || block.is_some_and(|project| !project.dependencies.is_empty()))
}

/// SIGINT, as `signal(7)` numbers it on every architecture of Linux.
pub const INTERRUPT: i32 = 2;
/// SIGINT, SIGTERM and SIGHUP, likewise.
pub const ENDING: [i32; 3] = [INTERRUPT, 15, 1];

/// Tells a run that the static check refused.
fn tell_denial(arguments: &RunArguments, result: &RunResult) -> anyhow::Result<()> {
    if arguments.json {
        print_json(result)
    } else {
        tell_denied(&result.findings);
        Ok(())
    }
}

/// What its one process measured of a run.
fn phases_of(settled: &Settled) -> Measured {
    let us = |time: Duration| u64::try_from(time.as_micros()).ok();
    Measured {
        fork: us(settled.starting),
        guest: us(settled.watched.wall),
        collect: us(settled.collecting),
        ..Measured::default()
    }
}

/// Says why a run was denied: what its findings with the verdict `deny` are, or all of a service that tells no verdicts.
pub(super) fn tell_denied(findings: &[Finding]) {
    let says_verdicts = findings.iter().any(|finding| finding.verdict == CheckMode::Deny);
    let told = findings.iter().filter(|finding| !says_verdicts || finding.verdict == CheckMode::Deny);
    told.for_each(|finding| eprintln!("fireclay: denied: {finding}"));
}

/// What may be missing: what the caller says, and for an ordinary user, who rarely has one, the control group.
fn allowed_missing(arguments: &RunArguments) -> BTreeSet<Layer> {
    usually_missing().into_iter().chain(arguments.allow_missing.iter().copied()).collect()
}

/// The layers that one run of one person may do without, unasked.
pub fn usually_missing() -> BTreeSet<Layer> {
    if rustix::process::geteuid().is_root() { BTreeSet::new() } else { BTreeSet::from([Layer::Cgroup]) }
}

fn request_of(arguments: &RunArguments) -> anyhow::Result<RunRequest> {
    // With `-c`, what would be the file is the first argument.
    let (code, file_name, first) = match (&arguments.code, arguments.file.as_deref()) {
        (Some(code), first) => (code.clone(), None, first),
        (None, Some("-")) => (read_text(std::io::stdin().lock(), "standard input")?, None, None),
        (None, Some(file)) => {
            let path = Path::new(file);
            let open = File::open(path).map_err(|error| unreadable("FILE", file, &error))?;
            (read_text(open, file)?, path.file_name().map(|name| name.to_string_lossy().into_owned()), None)
        }
        (None, None) => unreachable!("clap requires one of them"),
    };
    let by_default =
        arguments.code.as_ref().map(|_| Language::Python).filter(|_| Language::of_shebang(&code).is_none());
    let language = arguments.language.or(by_default);
    let by_name = file_name.as_deref().and_then(Language::of_file_name);
    Ok(arguments.reading.on(RunRequest {
        packages: arguments.packages.all(language.or(by_name).or_else(|| Language::of_shebang(&code)))?,
        language,
        template: arguments.template.clone(),
        file_name,
        args: first
            .into_iter()
            .chain(arguments.trailing.iter().map(String::as_str))
            .chain(arguments.args.iter().map(String::as_str))
            .map(str::to_owned)
            .collect(),
        env: arguments.env.iter().cloned().collect(),
        cwd: arguments.cwd.clone(),
        files: arguments.files.iter().map(|file| input_file(file)).collect::<Result<_, _>>()?,
        limits: LimitsPatch {
            timeout_ms: arguments.timeout,
            memory_bytes: arguments.memory,
            cpus: arguments.cpus,
            processes: arguments.processes,
            disk_bytes: arguments.disk,
            output_bytes: arguments.output_limit,
        },
        auto_packages: arguments.auto_packages,
        offline: arguments.packages.offline,
        python: arguments.packages.python.clone(),
        egress: arguments.egress.of(),
        code,
        ..RunRequest::default()
    }))
}

pub(super) fn read_text(mut from: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).with_context(|| format!("read {name}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("{name} is not UTF-8 at byte {}", error.utf8_error().valid_up_to());
        Rejection::new("code", message, "convert it, or send it with --file and run it from code").into()
    })
}

pub(super) fn unreadable(field: &str, path: &str, error: &std::io::Error) -> anyhow::Error {
    Rejection::new(field, format!("cannot read {path}: {error}"), "name a file that exists and is readable")
        .into()
}

/// Reads `LOCAL[:NAME]`. A local name with a colon is taken whole when such a file exists.
pub(super) fn input_file(argument: &str) -> anyhow::Result<InputFile> {
    let whole = Path::new(argument).exists();
    let (local, name) = match argument.rsplit_once(':') {
        Some((local, name)) if !whole && !name.is_empty() => (local, name.to_owned()),
        _ => (argument, String::new()),
    };
    let path = Path::new(local);
    let name = if name.is_empty() {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    } else {
        name
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable("--file", local, &error))?;
    let mode =
        std::fs::metadata(path).map(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()));
    Ok(InputFile {
        path: name,
        content: FileContent::Bytes(bytes),
        executable: mode.is_ok_and(|mode| mode & 0o111 != 0),
    })
}

/// Where the program's standard input comes from.
enum Input {
    Nothing,
    Ours,
    File(File),
}

impl Input {
    fn open(arguments: &RunArguments) -> anyhow::Result<Self> {
        match arguments.stdin.as_deref() {
            None => Ok(Self::Nothing),
            Some("-") if arguments.file.as_deref() == Some("-") && arguments.code.is_none() => {
                Err(Rejection::new(
                    "--stdin",
                    "standard input already holds the code",
                    "give the code as a file or with -c",
                )
                .into())
            }
            Some("-") => Ok(Self::Ours),
            Some(path) => {
                Ok(Self::File(File::open(path).map_err(|error| unreadable("--stdin", path, &error))?))
            }
        }
    }

    fn as_stdin(&self) -> Stdin<'_> {
        match self {
            Self::Nothing => Stdin::Bytes(&[]),
            Self::Ours => Stdin::Descriptor(rustix::stdio::stdin()),
            Self::File(file) => Stdin::Descriptor(file.as_fd()),
        }
    }
}

/// Forwards a stream; control sequences are taken out on their way to a terminal, and nowhere else.
fn live(terminal: bool, fd: BorrowedFd<'static>, raw: bool) -> Live<'static> {
    let mut inert = Inert::default();
    let filter = terminal && !raw;
    let transform = Box::new(move |bytes: &[u8]| if filter { inert.push(bytes) } else { bytes.to_vec() });
    Live { fd, transform, tag: None }
}

pub(super) fn print_json(result: &model::RunResult) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, result)?;
    stdout.write_all(b"\n").context("write the result")
}

/// Prints what was not forwarded: the end of a stream whose middle was dropped.
fn print_rest(settled: &Settled, raw: bool) -> anyhow::Result<()> {
    let watched = &settled.watched;
    let rests: [(Box<dyn Write>, bool, Vec<u8>); 2] = [
        (Box::new(std::io::stdout()), std::io::stdout().is_terminal(), watched.stdout.rest()),
        (Box::new(std::io::stderr()), std::io::stderr().is_terminal(), watched.stderr.rest()),
    ];
    for (mut to, terminal, bytes) in rests {
        let bytes = if terminal && !raw { Inert::default().push(&bytes) } else { bytes };
        match print(&mut *to, &bytes) {
            // The reader has gone, as `head` does; it was told all it wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other.context("write output")?,
        }
    }
    Ok(())
}

pub(super) fn print(to: &mut dyn Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).and_then(|()| to.flush())
}

/// Says on standard error what the output alone does not tell.
fn explain(settled: &Settled, spec: &RunSpec, copied: bool) {
    let signal = settled.judgement.signal.map(sys::signal::name);
    explain_end(settled.judgement.outcome, signal.as_deref(), &spec.limits, &settled.isolation.missing);
    if copied && settled.collected.skipped > 0 {
        eprintln!(
            "fireclay: {} entries of the workspace are not regular files within bounds, and were left out",
            settled.collected.skipped
        );
    }
}

/// Says how a run ended, if its exit code does not, and which layers did not stand around it.
pub(super) fn explain_end(outcome: Outcome, signal: Option<&str>, limits: &Limits, missing: &[Layer]) {
    match outcome {
        Outcome::Completed | Outcome::Failed => {}
        Outcome::TimedOut => eprintln!(
            "fireclay: timed_out after {} (--timeout)",
            units::format_duration_ms(limits.timeout_ms)
        ),
        Outcome::MemoryExceeded => eprintln!(
            "fireclay: memory_exceeded: more than {} (--memory)",
            units::format_bytes(limits.memory_bytes)
        ),
        Outcome::DiskExceeded => eprintln!(
            "fireclay: disk_exceeded: more than {} (--disk)",
            units::format_bytes(limits.disk_bytes)
        ),
        Outcome::OutputExceeded => {
            let hard = limits.output_bytes.max(1).saturating_mul(model::limits::OUTPUT_HARD_FACTOR);
            eprintln!(
                "fireclay: output_exceeded: more than {} (64 times --output-limit)",
                units::format_bytes(hard)
            );
        }
        Outcome::Signalled => {
            eprintln!("fireclay: signalled: {} ended the program", signal.unwrap_or("a signal"));
        }
        other => eprintln!("fireclay: {other}"),
    }
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|layer| layer.name()).collect();
        eprintln!("fireclay: this machine did not give: {} (fireclay doctor says why)", names.join(", "));
    }
}

/// The directory for artifacts, made if need be.
fn open_artifacts(directory: &Path) -> anyhow::Result<OwnedFd> {
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    Ok(File::open(directory).with_context(|| format!("open {}", directory.display()))?.into())
}

/// Copies what the run left into the caller's directory: through no link there either, and replacing files, never writing into them.
fn copy_artifacts(directory: &OwnedFd, settled: &Settled) -> anyhow::Result<()> {
    for left in &settled.collected.files {
        let mut content = &left.file;
        content.rewind()?;
        worker::artifacts::export(directory.as_fd(), &left.path, content)
            .with_context(|| format!("copy {}", left.path.display()))?;
    }
    Ok(())
}
