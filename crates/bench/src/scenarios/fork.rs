//! How far a run is above a plain `fork()` of the same warm interpreter, which is the floor.

use super::warm::{request, smallest};
use crate::engine::Engine;
use crate::interpreters::PYTHON;
use crate::report::{Row, Table, ratio};
use crate::rivals::Helper;
use crate::times::Times;
use crate::{Bench, Scenario, machine, say};
use std::time::Duration;

/// Forks an interpreter that has the zygote's modules warm, runs the program there, and waits for its end.
const FORKER: &str = include_str!("forker.py");
/// Rounds that only fill caches and the pool.
const SKIPPED: usize = 20;

/// The floor, the engine without a service, and a request.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let rounds = bench.options.rounds;
    let title = format!("Python print(1) above a plain fork, {rounds} rounds in turns; {}", machine());
    let mut table = Table::new(Scenario::Fork, title, &["p50 ms", "p99 ms", "x fork", "above it ms"]);
    let Some(python) = PYTHON.interpreter(bench)? else {
        table.rows.push(Row::absent("fork()", "no python3 on PATH"));
        return Ok(table);
    };
    let engine = match Engine::start(&bench.options.data)? {
        Ok(engine) => engine,
        Err(why) => {
            table.rows.push(Row::absent("engine", why));
            return Ok(table);
        }
    };
    say("fork");
    let mut forker = Helper::start(&python, &["-S", "-c", FORKER], &bench.options.path)?;
    let service = bench.service()?;
    let mut client = service.connect()?;
    let body = smallest(PYTHON);
    let mut spare = None;
    let [mut floor, mut whole, mut served] = [const { Vec::<Duration>::new() }; 3];
    for round in 0..rounds + SKIPPED {
        let forked = forker.time()?;
        let phases = engine.run(&|plan| plan, &mut spare)?;
        let asked = request(&mut client, &body, "1")?;
        if round >= SKIPPED {
            floor.push(forked);
            whole.push(phases.run);
            served.push(asked);
        }
    }
    service.end()?;
    let times = |all: Vec<Duration>| {
        let mut times = Times::default();
        all.into_iter().for_each(|time| times.push(time));
        times
    };
    let floor = times(floor);
    let mut row = |name: &str, times: &Times| {
        let above = times.p50().zip(floor.p50()).map(|(time, floor)| time - floor);
        let figures = vec![times.p50(), times.p99(), ratio(times.p50(), floor.p50()), above];
        table.rows.push(Row::of(name, figures));
    };
    row("fork(), run, wait: no isolation", &floor);
    row("sandbox built ahead, every layer, no service", &times(whole));
    row("request to the service, result stored", &times(served));
    Ok(table)
}
