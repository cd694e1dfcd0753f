//! One file for each thing that is measured.

mod batch;
mod cold;
mod fork;
mod layers;
mod memory;
mod packages;
mod sessions;
mod warm;

use crate::interpreters::{PYTHON, Spawn};
use crate::report::{Table, ratio};
use crate::service::Service;
use crate::times::Times;
use crate::{Bench, Scenario, rivals, say};
use std::time::Duration;

/// Measures one scenario.
pub(crate) fn measure(scenario: Scenario, bench: &Bench) -> anyhow::Result<Vec<Table>> {
    say(scenario.name());
    let one = |table: anyhow::Result<Table>| Ok(vec![table?]);
    match scenario {
        Scenario::Cold => one(cold::measure(bench)),
        Scenario::Warm => warm::measure(bench),
        Scenario::Rivals => one(rivals::measure(bench)),
        Scenario::Memory => one(memory::measure(bench)),
        Scenario::Sessions => sessions::measure(bench),
        Scenario::Layers => one(layers::measure(bench)),
        Scenario::Fork => one(fork::measure(bench)),
        Scenario::Batch => one(batch::measure(bench)),
        Scenario::Packages => packages::measure(bench),
    }
}

/// The columns of [`beside`].
pub(crate) const BESIDE: [&str; 6] =
    ["fireclay p50 ms", "bare p50 ms", "p50 x", "fireclay p99 ms", "bare p99 ms", "p99 x"];

/// Ours beside theirs.
pub(crate) fn beside(ours: &Times, theirs: &Times) -> Vec<Option<f64>> {
    let (p50, p99) = ((ours.p50(), theirs.p50()), (ours.p99(), theirs.p99()));
    vec![p50.0, p50.1, ratio(p50.0, p50.1), p99.0, p99.1, ratio(p99.0, p99.1)]
}

/// Does each of these in turns; `skipped` rounds first, which fill caches and pools and are not counted.
pub(crate) fn in_turns(
    rounds: usize,
    skipped: usize,
    things: &mut [&mut dyn FnMut() -> anyhow::Result<Duration>],
) -> anyhow::Result<Vec<Times>> {
    let mut times = vec![Times::default(); things.len()];
    for round in 0..rounds + skipped {
        for (thing, times) in things.iter_mut().zip(&mut times) {
            let took = thing()?;
            if round >= skipped {
                times.push(took);
            }
        }
    }
    Ok(times)
}

/// `fireclay run` of a language's smallest program, without a service.
pub(crate) fn one_shot(bench: &Bench, language: &str, code: &str) -> anyhow::Result<Spawn> {
    let words = ["run", "--local", "--language", language, "-c", code];
    let data = bench.data("one-shot")?;
    let mut all = vec![bench.options.program.clone().into(), "--data".into(), data.into()];
    all.extend(words.map(Into::into));
    Ok(Spawn { words: all, path: bench.options.path.clone() })
}

/// A request of the smallest Python program to this service, over a connection of its own.
pub(crate) fn warm_request(
    service: &Service,
) -> anyhow::Result<Box<dyn FnMut() -> anyhow::Result<Duration>>> {
    let (mut client, body) = (service.connect()?, warm::smallest(PYTHON));
    Ok(Box::new(move || warm::request(&mut client, &body, "1")))
}
