//! Other ways to run code apart from oneself, as far as they are installed here. They give different things: the notes say what.

mod libraries;
mod programs;

pub use libraries::{Helper, kernel};
pub use programs::bubblewrap;

use crate::interpreters::{PYTHON, about_python};
use crate::report::{Row, Table, ratio};
use crate::scenarios::{one_shot, warm_request};
use crate::times::Times;
use crate::{Bench, Scenario, machine, say};
use anyhow::Context;
use std::time::Duration;

/// Rivals are measured once for so many rounds: some take half a second.
const ROUNDS_EACH: usize = 4;

/// Does what a rival does, once.
type Act = Box<dyn FnMut() -> anyhow::Result<Duration>>;

/// A rival, or ours, to be measured.
struct Contender {
    name: &'static str,
    /// What it gives and does not, or why it cannot be measured.
    note: String,
    act: Option<Act>,
}

impl Contender {
    fn ready(name: &'static str, note: &str, act: Act) -> Self {
        Self { name, note: note.to_owned(), act: Some(act) }
    }

    fn missing(name: &'static str, install: &str) -> Self {
        Self { name, note: format!("not found: {name}; install by: {install}"), act: None }
    }

    /// The contender as it is if it does its work once, else one that says why it cannot.
    fn tried(mut self) -> Self {
        if let Some(act) = &mut self.act
            && let Err(error) = act()
        {
            let text = format!("{error:#}");
            let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            self.note = format!("does not run here: {last}");
            self.act = None;
        }
        self
    }
}

/// One row for ours, the bare interpreter, and each rival.
pub fn measure(bench: &Bench) -> anyhow::Result<Table> {
    let rounds = bench.options.rounds.div_ceil(ROUNDS_EACH);
    let title = format!("Python print(1), {rounds} rounds in turns; {}", machine());
    let mut table =
        Table::new(Scenario::Rivals, title, &["p50 ms", "p99 ms", "x bare", "x fireclay, served"]);
    let bare = PYTHON.bare(bench)?.context("no python3 on PATH")?;
    let service = bench.service()?;
    let alone = one_shot(bench, PYTHON.name, PYTHON.code)?;
    let spawn = bare.clone();
    let mut all = vec![
        Contender::ready("fireclay, served", "a new sandbox for each run", warm_request(&service)?),
        Contender::ready("bare python3", "no isolation", Box::new(move || spawn.time())),
        Contender::ready(
            "fireclay run",
            "a new sandbox and interpreter for each run",
            Box::new(move || alone.time()),
        ),
    ];
    all.extend(programs::all(bench, &bare)?);
    all.extend(libraries::all(bench)?);
    let mut all: Vec<Contender> = all.into_iter().map(Contender::tried).collect();
    let names: Vec<&str> =
        all.iter().filter(|contender| contender.act.is_some()).map(|contender| contender.name).collect();
    say(&format!("rivals: {}", names.join(", ")));
    let mut times = vec![Times::default(); all.len()];
    for _ in 0..rounds {
        for (contender, times) in all.iter_mut().zip(&mut times) {
            if let Some(act) = &mut contender.act {
                times.push(act().with_context(|| contender.name)?);
            }
        }
    }
    let (served, bare) = (times[0].p50(), times[1].p50());
    for (contender, times) in all.iter().zip(&times) {
        let p50 = times.p50();
        table.rows.push(match &contender.act {
            Some(_) => Row::of(contender.name, vec![p50, times.p99(), ratio(p50, bare), ratio(p50, served)])
                .noted(contender.note.clone()),
            None => Row::absent(contender.name, contender.note.clone()),
        });
    }
    table.notes.extend(about_python(bench)?);
    // They hold a connection each, and processes.
    drop(all);
    service.end()?;
    Ok(table)
}
