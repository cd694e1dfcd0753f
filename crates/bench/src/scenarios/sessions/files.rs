//! Files into a session and out of it, beside `cp`.

use super::{Session, per_second};
use crate::report::{Row, Table, ratio};
use crate::scenarios::in_turns;
use crate::service::Service;
use crate::{Bench, Scenario, machine, say};
use anyhow::{Context, ensure};
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Largest file: so many MiB, or as many as there are rounds.
const MIB_MAX: usize = 256;
/// How often each way.
const TURNS: usize = 5;

/// One row for each way.
pub fn measure(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    let mib = bench.options.rounds.clamp(1, MIB_MAX);
    let bytes = (mib as u64) << 20;
    say(&format!("sessions, files of {mib} MiB"));
    let title = format!("one file of {mib} MiB, {TURNS} turns; {}", machine());
    let mut table = Table::new(Scenario::Sessions, title, &["MB per s", "cp MB per s", "x"]);
    let asked = json!({"limits": {"disk_bytes": 2 * bytes + (16 << 20)}});
    let session = Session::open(service, &asked)?;
    let [from, copy, back] = ["from", "copy", "back"].map(|name| bench.scratch.path().join(name));
    std::fs::write(&from, (0..=255u8).cycle().take(bytes as usize).collect::<Vec<u8>>())?;
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let url = format!("http://{}{}", service.address().host, session.path);
    let mut up = || up(&agent, &format!("{url}/files/file"), &from);
    let mut down = || down(&agent, &format!("{url}/files/file"), &back);
    let mut packed = || down_archive(&agent, &format!("{url}/archive"), &back);
    let mut cp = || cp(&from, &copy);
    let times = in_turns(TURNS, 1, &mut [&mut up, &mut down, &mut packed, &mut cp])?;
    ensure!(same(&from, &copy)?, "cp copies something else");
    let theirs = per_second(bytes, times[3].p50());
    for (name, times) in ["in", "out", "out, as tar"].iter().zip(&times) {
        let ours = per_second(bytes, times.p50());
        table.rows.push(Row::of(*name, vec![ours, theirs, ratio(ours, theirs)]));
    }
    [from, copy, back].iter().try_for_each(std::fs::remove_file)?;
    drop(session.close(service)?);
    table.notes.push(
        "over HTTP on the loopback interface, into memory and out of it; cp from disk cache to disk cache"
            .into(),
    );
    Ok(table)
}

fn up(agent: &ureq::Agent, url: &str, from: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let sent = agent.put(url).header("content-type", "application/octet-stream").send(File::open(from)?);
    sent.context("send a file")?;
    Ok(began.elapsed())
}

fn down(agent: &ureq::Agent, url: &str, to: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let answer = agent.get(url).call().context("fetch a file")?;
    let mut content = answer.into_body().into_with_config().limit(u64::MAX).reader();
    std::io::copy(&mut content, &mut File::create(to)?)?;
    Ok(began.elapsed())
}

fn down_archive(agent: &ureq::Agent, url: &str, to: &Path) -> anyhow::Result<Duration> {
    let took = down(agent, url, to)?;
    let length = std::fs::metadata(to)?.len();
    ensure!(length > 0 && length % 512 == 0, "{length} bytes are no archive");
    Ok(took)
}

fn cp(from: &Path, to: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let status = Command::new("cp").args([from, to]).status().context("start cp")?;
    ensure!(status.success(), "cp: {status}");
    Ok(began.elapsed())
}

fn same(one: &Path, other: &Path) -> anyhow::Result<bool> {
    Ok(std::fs::read(one)? == std::fs::read(other)?)
}
