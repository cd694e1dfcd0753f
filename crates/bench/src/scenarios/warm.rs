//! Requests to a service, end to end: over a kept connection, the result stored. Beside them bare interpreters, spawned by the same
//! program.

use super::{BESIDE, beside, in_turns};
use crate::client::Client;
use crate::interpreters::{LANGUAGES, Language, PYTHON, Spawn, about_python};
use crate::python_data::PythonData;
use crate::report::{Row, Table, ratio};
use crate::service::Service;
use crate::times::{Times, median};
use crate::{Bench, Scenario, machine, say};
use anyhow::{bail, ensure};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many clients at once, and bare interpreters, where there is more than one.
const WIDTH: usize = 16;
/// Requests of a burst.
const BURST: usize = 256;
/// How many bursts, but no more than there are rounds.
const BURSTS: usize = 3;
/// Rounds that only fill caches and the pool.
const SKIPPED: usize = 20;
/// Into how many parts, in turns, the time of many clients is divided.
const PARTS: u32 = 4;
/// How long one turn is where many short ones are compared.
const TURN: Duration = Duration::from_millis(250);

/// One client, many, and all at once.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let service = bench.service()?;
    let mut tables =
        vec![one_client(bench, &service)?, many_clients(bench, &service)?, burst(bench, &service)?];
    if bench.options.service.is_none() {
        tables.push(untraced(bench, &service)?);
    }
    service.end()?;
    Ok(tables)
}

/// A run that prints `printed` and a line feed; how long it took until the whole answer was here.
pub(crate) fn request(
    client: &mut Client,
    body: &serde_json::Value,
    printed: &str,
) -> anyhow::Result<Duration> {
    let body = body.to_string();
    let answer = client.post("/v1/runs", &body)?;
    let wanted = format!("\"stdout\":\"{printed}\\n\"");
    // A search for two words: to understand the answer would cost what is to be measured.
    ensure!(answer.status == 200 && contains(answer.body, wanted.as_bytes()), "{}", answer.text());
    Ok(answer.took)
}

pub(crate) fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// What a request of the smallest program says.
pub(crate) fn smallest(language: &Language) -> serde_json::Value {
    json!({"language": language.name, "code": language.code})
}

fn one_client(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    let rounds = bench.options.rounds;
    let title = format!("requests of one client, {rounds} rounds in turns; {}", machine());
    let mut table = Table::new(Scenario::Warm, title, &BESIDE);
    for language in &LANGUAGES {
        say(&format!("warm, {}", language.name));
        let name = format!("{}, one client", language.name);
        let row = match language.bare(bench)? {
            Some(bare) => turns(service, &smallest(language), &bare, rounds)?.named(&name),
            None => Row::absent(name, "no interpreter of it on PATH"),
        };
        table.rows.push(row);
    }
    table.rows.push(python_data(bench, service)?);
    table.rows.push(drained(bench)?);
    table.notes.extend(about_python(bench)?);
    Ok(table)
}

/// What came of turns.
struct Turns {
    ours: Times,
    theirs: Times,
}

impl Turns {
    fn named(&self, name: &str) -> Row {
        Row::of(name, beside(&self.ours, &self.theirs))
    }
}

/// A request and a spawn in turns.
fn turns(service: &Service, body: &serde_json::Value, bare: &Spawn, rounds: usize) -> anyhow::Result<Turns> {
    let mut client = service.connect()?;
    let mut ours = || request(&mut client, body, "1");
    let mut times = in_turns(rounds, SKIPPED.min(rounds), &mut [&mut ours, &mut || bare.time()])?;
    let theirs = times.pop().unwrap_or_default();
    Ok(Turns { ours: times.pop().unwrap_or_default(), theirs })
}

/// The template with numpy and pandas warm, beside an interpreter that imports them.
fn python_data(bench: &Bench, service: &Service) -> anyhow::Result<Row> {
    const NAME: &str = "python-data, one client";
    let PythonData { body, bare } = match PythonData::find(bench, service)? {
        Ok(found) => found,
        Err(why) => return Ok(Row::absent(NAME, why)),
    };
    say(NAME);
    // The bare one takes hundreds of milliseconds.
    let rounds = bench.options.rounds.div_ceil(10);
    Ok(turns(service, &body, &bare, rounds)?.named(NAME).noted(format!("{rounds} rounds")))
}

/// A service that builds nothing ahead: what a request takes that finds the pool empty.
fn drained(bench: &Bench) -> anyhow::Result<Row> {
    const NAME: &str = "python, pool empty";
    if bench.options.service.is_some() {
        return Ok(Row::absent(NAME, "needs a service of its own: leave out --url"));
    }
    let Some(bare) = PYTHON.bare(bench)? else {
        return Ok(Row::absent(NAME, "no interpreter of it on PATH"));
    };
    let service = bench.own_service("drained", &["pool.min=0", "pool.max=0"])?;
    let turns = turns(&service, &smallest(PYTHON), &bare, bench.options.rounds)?;
    service.end()?;
    Ok(turns.named(NAME))
}

/// As many as come through in a time, from many clients, and as many interpreters at the same width, in turns.
fn many_clients(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    let seconds = bench.options.seconds;
    let title = format!("{WIDTH} clients, {seconds} s of each in {PARTS} turns; {}", machine());
    let columns = ["fireclay per s", "bare per s", "x", "fireclay p50 ms", "fireclay p99 ms", "bare p99 ms"];
    let mut table = Table::new(Scenario::Warm, title, &columns);
    let part = Duration::from_secs(seconds) / PARTS;
    for language in &LANGUAGES {
        say(&format!("warm, {}, {WIDTH} clients", language.name));
        let name = format!("{}, {WIDTH} clients", language.name);
        let Some(bare) = language.bare(bench)? else {
            table.rows.push(Row::absent(name, "no interpreter of it on PATH"));
            continue;
        };
        let body = smallest(language);
        let (mut ours, mut theirs) = (Rate::default(), Rate::default());
        for _ in 0..PARTS {
            ours.add(at_once(part, || {
                let mut client = service.connect()?;
                let body = &body;
                Ok(move || request(&mut client, body, "1"))
            })?);
            theirs.add(at_once(part, || Ok(|| bare.time()))?);
        }
        let (per_second, bare_per_second) = (ours.per_second(), theirs.per_second());
        let (ours, theirs) = (ours.times, theirs.times);
        table.rows.push(Row::of(
            name,
            vec![
                per_second,
                bare_per_second,
                ratio(per_second, bare_per_second),
                ours.p50(),
                ours.p99(),
                theirs.p99(),
            ],
        ));
    }
    Ok(table)
}

/// What traces cost: the same requests to a service that records none, in many short turns. A pair of turns lies close together, so what else the
/// machine does weighs on both; who begins takes turns too. The median of the pairs' ratios is told, and between what the middle 80 of 100 lie: where
/// that is wide, the machine was too busy to say.
fn untraced(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    say("warm, without traces");
    let pairs = bench.options.seconds.max(2) * 1000 / TURN.as_millis() as u64;
    let title = format!(
        "traces recorded and not, {WIDTH} clients, {pairs} pairs of turns of {} ms; {}",
        TURN.as_millis(),
        machine()
    );
    let columns = ["traced per s", "untraced per s", "x, median of pairs", "x, 10 %", "x, 90 %"];
    let mut table = Table::new(Scenario::Warm, title, &columns);
    let other = bench.own_service("untraced", &["traces.enabled=false"])?;
    let body = smallest(PYTHON);
    let turn = |service: &Service| {
        at_once(TURN, || {
            let mut client = service.connect()?;
            let body = &body;
            Ok(move || request(&mut client, body, "1"))
        })
    };
    // Caches and pools of both are filled first.
    turn(service)?;
    turn(&other)?;
    let (mut traced, mut untraced, mut ratios) = (Rate::default(), Rate::default(), Vec::new());
    for pair in 0..pairs {
        let (with, without) = if pair % 2 == 0 {
            let with = turn(service)?;
            (with, turn(&other)?)
        } else {
            let without = turn(&other)?;
            (turn(service)?, without)
        };
        ratios.extend(ratio(with.per_second(), without.per_second()));
        traced.add(with);
        untraced.add(without);
    }
    other.end()?;
    ratios.sort_by(f64::total_cmp);
    let at =
        |part: usize| ratios.get((ratios.len() * part / 100).min(ratios.len().saturating_sub(1))).copied();
    let name = format!("{}, {WIDTH} clients", PYTHON.name);
    let row = vec![traced.per_second(), untraced.per_second(), at(50), at(10), at(90)];
    table.rows.push(Row::of(name, row));
    Ok(table)
}

/// How many were done in what time.
#[derive(Default)]
struct Rate {
    times: Times,
    seconds: f64,
}

impl Rate {
    fn add(&mut self, more: Rate) {
        self.times.append(more.times);
        self.seconds += more.seconds;
    }

    fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.times.count() as f64 / self.seconds)
    }
}

fn at_once<Do: FnMut() -> anyhow::Result<Duration>>(
    long: Duration,
    make: impl Fn() -> anyhow::Result<Do> + Sync,
) -> anyhow::Result<Rate> {
    let started = Instant::now();
    let times = wide(|_| {
        let mut act = make()?;
        let mut times = Times::default();
        while started.elapsed() < long {
            times.push(act()?);
        }
        Ok(times)
    })?;
    Ok(Rate { times, seconds: started.elapsed().as_secs_f64() })
}

/// Does something in as many threads as there are clients.
fn wide(act: impl Fn(usize) -> anyhow::Result<Times> + Sync) -> anyhow::Result<Times> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = (0..WIDTH).map(|number| scope.spawn(move || act(number))).collect();
        let mut all = Times::default();
        for thread in threads {
            match thread.join() {
                Ok(times) => all.append(times?),
                Err(_) => bail!("a client panicked"),
            }
        }
        Ok(all)
    })
}

/// All at once on a service at rest, each with its own answer; then as many interpreters, at the usual width.
fn burst(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    let bursts = BURSTS.min(bench.options.rounds);
    let title =
        format!("{BURST} requests at once until the last answer, {bursts} bursts in turns; {}", machine());
    let mut table = Table::new(Scenario::Warm, title, &["fireclay ms", "bare ms", "x"]);
    let name = format!("python, burst of {BURST}");
    let Some(bare) = PYTHON.bare(bench)? else {
        table.rows.push(Row::absent(name, "no interpreter of it on PATH"));
        return Ok(table);
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bursts {
        say(&name);
        service.wait_for_rest()?;
        ours.push(burst_of_requests(service)?);
        theirs.push(burst_of_spawns(&bare)?);
    }
    let all = |figures: &[f64]| figures.iter().map(|ms| format!("{ms:.0}")).collect::<Vec<_>>().join(", ");
    let note = format!("all: fireclay {}; bare, {WIDTH} at once, {}", all(&ours), all(&theirs));
    let (ours, theirs) = (median(&ours), median(&theirs));
    table.rows.push(Row::of(name, vec![ours, theirs, ratio(ours, theirs)]));
    table.notes.push(note);
    Ok(table)
}

fn burst_of_requests(service: &Service) -> anyhow::Result<f64> {
    let clients = (0..BURST).map(|_| service.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let started = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let ask = |number: usize, mut client: Client| {
            let body = json!({"language": "python", "code": format!("print({number})")});
            request(&mut client, &body, &number.to_string()).map(drop)
        };
        let clients = clients.into_iter().enumerate();
        let threads: Vec<_> =
            clients.map(|(number, client)| scope.spawn(move || ask(number, client))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a client panicked"),
        })
    })?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

fn burst_of_spawns(bare: &Spawn) -> anyhow::Result<f64> {
    let left = AtomicUsize::new(BURST);
    let started = Instant::now();
    wide(|_| {
        let mut times = Times::default();
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            times.push(bare.time()?);
        }
        Ok(times)
    })?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
