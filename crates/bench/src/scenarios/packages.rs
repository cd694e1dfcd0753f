//! Packages that runs ask for: how soon a run starts whose environment is there, and how long one takes that has to be installed, beside plain uv.

use super::in_turns;
use super::warm::{request, smallest};
use crate::interpreters::PYTHON;
use crate::report::{Row, Table, ratio};
use crate::service::Service;
use crate::times::Times;
use crate::{Bench, Scenario, machine, say};
use anyhow::{Context, ensure};
use serde_json::json;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Most rounds: before each request the service comes to rest.
const ROUNDS_MAX: usize = 40;
/// Rounds until each environment was used often enough.
const SKIPPED: usize = 3;
/// How often something is installed: each takes seconds and tens of megabytes.
const COLD_ROUNDS: usize = 3;
/// What is installed.
const PANDAS: &str = "pandas==2.2.3";
/// Where it comes from.
const HOSTS: [&str; 2] = ["pypi.org", "files.pythonhosted.org"];

/// Environments that are there, and one that is not.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let columns = ["fireclay p50 ms", "without p50 ms", "x"];
    let title = format!("runs in environments that are there, beside a run without; {}", machine());
    let mut there = Table::new(Scenario::Packages, title, &columns);
    let title = format!("an environment that is not there, beside `uv pip install`; {}", machine());
    let mut cold = Table::new(Scenario::Packages, title, &["fireclay p50 s", "uv p50 s", "x"]);
    let Some(opened) = opened().filter(|_| bench.options.service.is_none()) else {
        let why = "needs pypi.org, and a service of its own: leave out --url";
        there.rows.push(Row::absent("packages", why));
        return Ok(vec![there]);
    };
    // The first brings uv if the machine has none.
    let service = bench.own_service("packages", &[&opened])?;
    ready(bench, &service, &mut there)?;
    service.end()?;
    cold.rows.extend(installed(bench, &opened)?);
    Ok(vec![there, cold])
}

/// The setting that opens the addresses of the index, which may be at an address of this network; `None` if it has none.
fn opened() -> Option<String> {
    let mut ranges = Vec::new();
    for host in HOSTS {
        let addresses = (host, 443).to_socket_addrs().ok()?;
        ranges.extend(addresses.filter(|at| at.is_ipv4()).map(|at| format!("\"{}/32\"", at.ip())));
    }
    Some(format!("egress.private=[{}]", ranges.join(",")))
}

fn ready(bench: &Bench, service: &Service, table: &mut Table) -> anyhow::Result<()> {
    let rounds = bench.options.rounds.min(ROUNDS_MAX);
    let rows = [
        ("six, imported", json!({"language": "python", "code": "import six; print(1)", "packages": ["six"]})),
        ("six, not imported", json!({"language": "python", "code": "print(1)", "packages": ["six"]})),
        (
            "pandas, imported",
            json!({"language": "python", "code": "import pandas; print(1)", "packages": [PANDAS]}),
        ),
    ];
    for (name, body) in rows {
        say(name);
        // A connection for each: one that waits while packages are installed is closed.
        let plain = smallest(PYTHON);
        let mut with = || {
            service.wait_for_rest()?;
            request(&mut service.connect()?, &body, "1")
        };
        let mut without = || {
            service.wait_for_rest()?;
            request(&mut service.connect()?, &plain, "1")
        };
        let mut times = in_turns(rounds, SKIPPED, &mut [&mut with, &mut without])?;
        let without = times.pop().unwrap_or_default().p50();
        let with = times.pop().unwrap_or_default().p50();
        table.rows.push(Row::of(name, vec![with, without, ratio(with, without)]));
    }
    table.notes.push(format!(
        "{rounds} rounds in turns, after {SKIPPED} that are not counted; the service at rest before each"
    ));
    Ok(())
}

/// A service that has nothing, and uv without its cache, in turns: as it is when nobody says more, and with bytecode, which ours has.
fn installed(bench: &Bench, opened: &str) -> anyhow::Result<Vec<Row>> {
    let name = format!("{PANDAS}, installed");
    let absent = |why: &str| Ok(vec![Row::absent(name.clone(), why)]);
    let Some(uv) = uv(bench) else { return absent("no uv on PATH, nor brought by a service") };
    let Some(python) = PYTHON.interpreter(bench)? else { return absent("no interpreter of it on PATH") };
    say(&name);
    let (mut ours, mut plain, mut compiled) = (Times::default(), Times::default(), Times::default());
    for round in 0..COLD_ROUNDS {
        let data = format!("installed-{round}");
        // Not to be measured: uv itself.
        let tools = bench.data(&data)?.join("tools");
        if !tools.exists() {
            std::os::unix::fs::symlink(bench.data("packages")?.join("tools"), tools)?;
        }
        let service = bench.own_service(&data, &[opened])?;
        service.wait_for_rest()?;
        let body = json!({"language": "python", "code": "print(1)", "packages": [PANDAS]});
        ours.push(request(&mut service.connect()?, &body, "1")?);
        service.end()?;
        plain.push(by_uv(&uv, &python, &bench.data(&data)?.join("uv"), false)?);
        compiled.push(by_uv(&uv, &python, &bench.data(&data)?.join("uv-compiled"), true)?);
    }
    let seconds = |times: &Times| times.p50().map(|ms| ms / 1000.0);
    let ours = seconds(&ours);
    let row = |name: String, theirs: &Times| {
        let theirs = seconds(theirs);
        Row::of(name, vec![ours, theirs, ratio(ours, theirs)]).noted(format!("{COLD_ROUNDS} rounds"))
    };
    Ok(vec![
        row(format!("{name}; uv compiles nothing"), &plain),
        row(format!("{name}; uv compiles too"), &compiled),
    ])
}

/// What `uv pip install` takes for the same; compiled as ours is, if it is to be.
fn by_uv(uv: &Path, python: &Path, target: &Path, compiles: bool) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let done = Command::new(uv)
        .args([
            "pip",
            "install",
            "--quiet",
            "--no-config",
            "--no-cache",
            if compiles { "--compile-bytecode" } else { "--no-compile-bytecode" },
            "--only-binary",
            ":all:",
        ])
        .arg("--python")
        .arg(python)
        .arg("--target")
        .arg(target)
        .arg(PANDAS)
        .env("UV_SYSTEM_CERTS", "true")
        .env("UV_NATIVE_TLS", "true")
        .stdin(Stdio::null())
        .status()
        .context("start uv")?;
    ensure!(done.success(), "uv ended with {done}");
    Ok(began.elapsed())
}

fn uv(bench: &Bench) -> Option<PathBuf> {
    let tools = bench.data("packages").ok()?.join("tools");
    let brought = std::fs::read_dir(tools).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut brought =
        brought.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("uv-")));
    bench.find("uv").or_else(|| brought.next())
}
