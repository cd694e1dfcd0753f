//! `cargo xtask load`: a service with twice the clients that saturate it, attacks among the runs, and after it nothing lost, crossed or
//! left. Figures of speed and memory are printed and judged by nobody; loss, crossing and residue are failures.
//!
//! The clients are the same all the time; what one in twenty of their runs is changes in turns: another ordinary run, a program that
//! keeps a processor as busy as the attacks do, or an attack. So what attacks do to their neighbours is compared with the same load
//! without them, and with as much honest work.

mod clients;
mod memory;
mod programs;
mod residue;

use anyhow::{Context, ensure};
use bench::machine;
use bench::report::ratio;
use bench::service::Service;
use clients::{Check, Clients, Tally};
use memory::Memory;
use programs::{Company, Programs};
use residue::Before;
use std::path::Path;
use std::time::Duration;
use worker::image::{BuildOptions, ImageStore};

/// Where interpreters are looked for, for the image and by the service.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How many clients are tried in the search for capacity.
const CLIENTS: [usize; 5] = [4, 8, 16, 32, 64];
/// The fewest that reach this share of the most that any do saturate the service.
const ENOUGH: f64 = 0.95;
/// Fewer may wait than clients are tried: some are told to come again, which is no loss if they do.
const SETTINGS: [&str; 1] = ["queue=40"];
/// How long a step takes.
const STEP: Duration = Duration::from_secs(3);
/// How long a turn takes, at least and at most; else a thirtieth of the whole.
const TURN: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(15);

/// Keeps a service at it for `seconds`, and prints what came of it.
pub fn load(seconds: u64, data: &Path) -> anyhow::Result<()> {
    let long = Duration::from_secs(seconds);
    ImageStore::open(data).ensure(&BuildOptions::new(PATH), &mut |_| {})?;
    let own = tempfile::TempDir::with_prefix_in("load-", data)?;
    std::os::unix::fs::symlink(std::path::absolute(data.join("images"))?, own.path().join("images"))?;
    let program = crate::tidy::root()?.join("target/x86_64-unknown-linux-gnu/release/fireclay");
    ensure!(program.exists(), "build first: cargo build --release");
    let before = Before::now()?;
    let service = Service::start(&program, own.path(), PATH.as_ref(), &SETTINGS)?;
    println!("load: {seconds} s; {}", machine());
    let programs = Programs::rehearsed(&service)?;
    println!("load: {}", programs.about());
    let check = Check::default();
    let clients = Clients { service: &service, programs: &programs, check: &check };
    let (saturating, capacity) = capacity(&clients)?;
    let count = 2 * saturating;
    println!("load: {saturating} clients saturate it at {capacity:.0} runs per s; {count} from here on");
    let mut memory = Memory::default();
    let tallies = clients.at_it(count, long, (long / 30).clamp(*TURN.start(), *TURN.end()), &mut memory)?;
    print_tallies(&tallies);
    memory.print();
    check.print();
    let stored = service.metric("fireclay_stored_runs")?;
    let settled = programs.rehearsals + check.settled();
    println!("stored: {stored} runs, {settled} were answered");
    let left = residue::after(service, own.path(), &before, &memory)?;
    left.iter().for_each(|left| println!("left: {left}"));
    ensure!(left.is_empty(), "something is left");
    println!("left: no process, mount, control group, segment, file or unsettled run");
    check.verdict()?;
    ensure!(stored == settled, "the store has {stored} runs, and {settled} were answered");
    println!("load: nothing lost, nothing crossed, nothing left");
    Ok(())
}

/// Tries more and more clients: how few saturate the service, and what it then does in a second.
fn capacity(clients: &Clients<'_>) -> anyhow::Result<(usize, f64)> {
    let mut steps = Vec::new();
    for count in CLIENTS {
        let tallies = clients.at_it(count, STEP, STEP, &mut Memory::default())?;
        // One turn, of honest runs only.
        steps.push((count, tallies.first().map_or(0.0, |tally| tally.runs as f64 / tally.seconds)));
    }
    let most = steps.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let told: Vec<String> = steps.iter().map(|(count, rate)| format!("{count}: {rate:.0}")).collect();
    println!("load: runs per s by clients: {}", told.join(", "));
    steps.into_iter().find(|(_, rate)| *rate >= ENOUGH * most).context("it does nothing at all")
}

fn print_tallies(tallies: &[Tally]) {
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "honest runs beside", "runs", "per s", "p50 ms", "p99 ms", "p99"
    );
    let alone = tallies.iter().find(|tally| tally.company == Company::Alone);
    for tally in tallies {
        let (p50, p99) = (tally.times.p50(), tally.times.p99());
        let more = ratio(p99, alone.and_then(|alone| alone.times.p99())).map(|ratio| (ratio - 1.0) * 100.0);
        let per_second = tally.runs as f64 / tally.seconds.max(f64::MIN_POSITIVE);
        println!(
            "{:<28} {:>8} {per_second:>8.0} {:>8.1} {:>8.1} {:>+7.0}%",
            tally.company.name(),
            tally.runs,
            p50.unwrap_or(f64::NAN),
            p99.unwrap_or(f64::NAN),
            more.unwrap_or(f64::NAN),
        );
    }
}
