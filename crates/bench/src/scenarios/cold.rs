//! Whole processes: `fireclay run`, the bare interpreter and bubblewrap running the same.

use super::{in_turns, one_shot};
use crate::interpreters::{LANGUAGES, about_python};
use crate::report::{Row, Table, ratio};
use crate::{Bench, Scenario, machine, rivals};

const COLUMNS: [&str; 8] = [
    "fireclay p50 ms",
    "bare p50 ms",
    "bubblewrap p50 ms",
    "x bare",
    "x bubblewrap",
    "fireclay p99 ms",
    "bare p99 ms",
    "bubblewrap p99 ms",
];

/// One row for each language.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let rounds = bench.options.rounds;
    let title = format!("whole processes, {rounds} rounds in turns; {}", machine());
    let mut table = Table::new(Scenario::Cold, title, &COLUMNS);
    for language in &LANGUAGES {
        let Some(bare) = language.bare(bench)? else {
            table.rows.push(Row::absent(language.name, "no interpreter of it on PATH"));
            continue;
        };
        let ours = one_shot(bench, language.name, language.code)?;
        let wrapped = rivals::bubblewrap(bench, &bare);
        let (mut time_ours, mut time_bare) = (|| ours.time(), || bare.time());
        let mut time_wrapped =
            || wrapped.as_ref().map_or_else(|| Ok(Default::default()), |spawn| spawn.time());
        // One round builds what is built once and warms every cache.
        let times = in_turns(rounds, 1, &mut [&mut time_ours, &mut time_bare, &mut time_wrapped])?;
        let [ours, bare, wrapped_times] = &times[..] else { continue };
        let of_wrapped = |figure: Option<f64>| figure.filter(|_| wrapped.is_some());
        let (p50, p99) = (of_wrapped(wrapped_times.p50()), of_wrapped(wrapped_times.p99()));
        table.rows.push(Row::of(
            language.name,
            vec![
                ours.p50(),
                bare.p50(),
                p50,
                ratio(ours.p50(), bare.p50()),
                ratio(ours.p50(), p50),
                ours.p99(),
                bare.p99(),
                p99,
            ],
        ));
    }
    if bench.find("bwrap").is_none() {
        table.notes.push("not found: bubblewrap; install by: apt install bubblewrap".into());
    }
    table.notes.extend(about_python(bench)?);
    Ok(table)
}
