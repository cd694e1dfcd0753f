//! What a thousand sessions take in which nothing runs, and whether each answers right when it is asked again.

use super::Session;
use crate::report::{Row, Table};
use crate::scenarios::memory::{look, wait_until_freed};
use crate::times::Times;
use crate::{Bench, Scenario, machine, say};
use anyhow::ensure;
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Sessions for each round: a thousand at the usual 200.
const PER_ROUND: usize = 5;
/// How long their processor time is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Clock ticks of a second (sysconf(3), the same on every Linux that matters).
const TICKS_PER_S: f64 = 100.0;

/// One row.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let count = bench.options.rounds * PER_ROUND;
    let title = format!("{count} idle Python sessions that have run something, per session; {}", machine());
    let columns = [
        "PSS KiB",
        "of the keeper KiB",
        "of init KiB",
        "of Python KiB",
        "kernel KiB",
        "MemAvailable KiB",
        "all: processor ms in 10 s",
        "asked again p50 ms",
        "p99 ms",
        "wrong",
    ];
    let mut table = Table::new(Scenario::Sessions, title, &columns);
    let settings = [
        format!("session.max={count}"),
        format!("tenant.sessions={count}"),
        // As a service that has little else to do: what waits ahead would be counted, too.
        "pool.min=0".to_owned(),
        "pool.max=0".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    wait_until_freed()?;
    let service = bench.own_service("idle", &settings)?;
    // So that all that is there once is there before.
    Session::open(&service, &json!({}))?.close(&service).map(drop)?;
    service.wait_for_rest()?;
    let before = look(&service)?;
    say(&format!("sessions, {count} to be opened"));
    let mut paths = Vec::new();
    let mut client = service.connect()?;
    for number in 0..count {
        let mut session = Session::open_over(client, &json!({}))?;
        session.run(&format!("n = {number}\nprint(n)"), &number.to_string())?;
        paths.push(session.path);
        client = session.client;
    }
    service.wait_for_rest()?;
    let after = look(&service)?;
    let used = || service.processes().iter().map(|process| process.ticks).sum::<u64>();
    let (ticks, since) = (used(), Instant::now());
    sleep(WATCHED);
    let ticks = used().saturating_sub(ticks) as f64;
    let processor_ms = ticks / TICKS_PER_S * 1e3 * WATCHED.as_secs_f64() / since.elapsed().as_secs_f64();
    say("sessions, each asked again");
    let (mut times, mut wrong) = (Times::default(), 0_u32);
    // The one before was idle for too long.
    client = service.connect()?;
    for (number, path) in paths.into_iter().enumerate() {
        let mut session = Session { client, path };
        match session.run("print(n)", &number.to_string()) {
            Ok(took) => times.push(took),
            Err(error) => {
                say(&format!("sessions: {number}: {error:#}"));
                wrong += 1;
            }
        }
        client = session.client;
    }
    service.end()?;
    let each = |many: u64, few: u64| Some((many as f64 - few as f64) / count as f64 / 1024.0);
    let own = |sample: &crate::scenarios::memory::Sample| sample.keepers + sample.inits + sample.jobs;
    table.rows.push(Row::of(
        "python",
        vec![
            each(own(&after), own(&before)),
            each(after.keepers, before.keepers),
            each(after.inits, before.inits),
            each(after.jobs, before.jobs),
            each(after.kernel, before.kernel),
            each(before.available, after.available),
            Some(processor_ms),
            times.p50(),
            times.p99(),
            Some(f64::from(wrong)),
        ],
    ));
    table
        .notes
        .push("processor time is that of every process of the service, the service itself included".into());
    ensure!(wrong == 0, "sessions answer wrong:\n{table}");
    Ok(table)
}
