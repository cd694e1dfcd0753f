//! Sandboxes that stay: a run in one beside a notebook's kernel, many busy at once, files in and out, and what idle ones take.

mod files;
mod idle;

use super::in_turns;
use crate::client::Client;
use crate::report::{Row, Table, ratio};
use crate::rivals::{Helper, kernel};
use crate::service::Service;
use crate::times::Times;
use crate::{Bench, Scenario, machine, say};
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How many sessions are busy at once, where there is more than one.
const BUSY: usize = 64;
/// Rounds that only fill caches.
const SKIPPED: usize = 5;
/// A kernel takes half a second to start: so many times fewer rounds.
const STARTS: usize = 10;
/// What a busy session does: a fraction of a millisecond of work, and a line.
const WORK: &str = "print(sum(range(20_000)) % 7)";
const WORKED: &str = "0";

/// All that is said of sessions.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    if bench.options.service.is_some() {
        let mut table = Table::new(Scenario::Sessions, "sandboxes that stay", &[]);
        table.rows.push(Row::absent("sessions", "needs a service of its own: leave out --url"));
        return Ok(vec![table]);
    }
    // More places than sessions are busy: what is asked is how they share processors.
    let service = bench.own_service("sessions", &["concurrency=96", "tenant.sessions=100"])?;
    let mut tables =
        vec![one_client(bench, &service)?, busy(bench, &service)?, files::measure(bench, &service)?];
    service.end()?;
    tables.push(idle::measure(bench)?);
    Ok(tables)
}

/// One session, and the connection that it is asked over.
struct Session {
    client: Client,
    path: String,
}

impl Session {
    /// Opens one as `asked`.
    fn open(service: &Service, asked: &Value) -> anyhow::Result<Self> {
        Self::open_over(service.connect()?, asked)
    }

    fn open_over(mut client: Client, asked: &Value) -> anyhow::Result<Self> {
        let answer = client.post("/v1/sessions", &asked.to_string())?;
        ensure!(answer.status == 201, "{}", answer.text());
        let view: Value = serde_json::from_slice(answer.body)?;
        let path = format!("/v1/sessions/{}", view["id"].as_str().context("a session has an id")?);
        Ok(Self { client, path })
    }

    /// Runs what prints `printed` and a line feed; how long it took until the whole answer was here.
    fn run(&mut self, code: &str, printed: &str) -> anyhow::Result<Duration> {
        let (path, body) = (format!("{}/runs", self.path), json!({"code": code}).to_string());
        let answer = self.client.post(&path, &body)?;
        let wanted = format!("\"stdout\":\"{printed}\\n\"");
        ensure!(
            answer.status == 200 && super::warm::contains(answer.body, wanted.as_bytes()),
            "{}",
            answer.text()
        );
        Ok(answer.took)
    }

    /// Closes it, over a new connection: one that was idle for long is closed by the service. Gives that back.
    fn close(self, service: &Service) -> anyhow::Result<Client> {
        let mut client = service.connect()?;
        let answer = client.delete(&self.path)?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(client)
    }
}

/// A run, and a session from its opening to its first answer, beside ipykernel.
fn one_client(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    let rounds = bench.options.rounds;
    let title = format!("Python print(1) in a session, {rounds} rounds in turns; {}", machine());
    let columns =
        ["fireclay p50 ms", "ipykernel p50 ms", "p50 x", "fireclay p99 ms", "ipykernel p99 ms", "p99 x"];
    let mut table = Table::new(Scenario::Sessions, title, &columns);
    say("sessions, one client");
    let mut session = Session::open(service, &json!({}))?;
    let helper = kernel(bench, include_str!("../rivals/ipykernel.py"))?;
    let mut run = || session.run("print(1)", "1");
    table.rows.push(beside_kernel("a run", rounds, &mut run, helper)?);
    drop(session.close(service)?);
    let few = rounds.div_ceil(STARTS);
    say(&format!("sessions, {few} opened"));
    let mut connection = Some(service.connect()?);
    let mut first = || {
        let client = connection.take().context("the connection of the round before")?;
        let began = Instant::now();
        let mut session = Session::open_over(client, &json!({}))?;
        session.run("print(1)", "1")?;
        let took = began.elapsed();
        connection = Some(session.close(service)?);
        Ok(took)
    };
    let helper = kernel(bench, include_str!("../rivals/ipykernel_start.py"))?;
    let row = beside_kernel("opened, to its first answer", few, &mut first, helper)?;
    table.rows.push(match row.note {
        None => row.noted(format!("{few} rounds")),
        Some(_) => row,
    });
    Ok(table)
}

/// Ours and a kernel's in turns; ours alone where there is no kernel.
fn beside_kernel(
    name: &str,
    rounds: usize,
    ours: &mut dyn FnMut() -> anyhow::Result<Duration>,
    helper: Result<Helper, String>,
) -> anyhow::Result<Row> {
    let (times, theirs, note) = match helper {
        Ok(mut helper) => {
            let mut times = in_turns(rounds, SKIPPED.min(rounds), &mut [ours, &mut || helper.time()])?;
            let theirs = times.pop().unwrap_or_default();
            (times.pop().unwrap_or_default(), theirs, None)
        }
        Err(why) => {
            let mut times = in_turns(rounds, SKIPPED.min(rounds), &mut [ours])?;
            (times.pop().unwrap_or_default(), Times::default(), Some(why))
        }
    };
    let row = Row::of(name, super::beside(&times, &theirs));
    Ok(match note {
        Some(note) => row.noted(note),
        None => row,
    })
}

/// One busy session, many at once, and one beside many that do nothing but compute.
fn busy(bench: &Bench, service: &Service) -> anyhow::Result<Table> {
    let long = Duration::from_secs(bench.options.seconds);
    let title = format!("busy sessions, {} s each; {}", long.as_secs(), machine());
    let columns = ["runs per s", "p50 ms", "p99 ms", "fewest runs of one", "most runs of one"];
    let mut table = Table::new(Scenario::Sessions, title, &columns);
    say("sessions, busy");
    let asked = json!({"limits": {"memory_bytes": 64 << 20, "disk_bytes": 16 << 20}});
    let open = |_| Session::open(service, &asked);
    let mut all: Vec<Session> = (0..BUSY).map(open).collect::<anyhow::Result<_>>()?;
    // Each has its interpreter.
    all.iter_mut().try_for_each(|session| session.run(WORK, WORKED).map(drop))?;
    table.rows.push(row_of("one", &keep_busy(service, &mut all[..1], long)?, long));
    table.rows.push(row_of(&format!("{BUSY} at once"), &keep_busy(service, &mut all, long)?, long));
    let (one, others) = all.split_at_mut(1);
    // They wait for nobody: each is submitted, and ends by its own time.
    let spin = json!({"code": "while True: pass", "wait": false, "limits": {"timeout_ms": long.as_millis() as u64 + 2_000}});
    for session in others.iter_mut() {
        let answer = session.client.post(&format!("{}/runs", session.path), &spin.to_string())?;
        ensure!(answer.status == 202, "{}", answer.text());
    }
    let name = format!("one beside {} that compute", BUSY - 1);
    table.rows.push(row_of(&name, &keep_busy(service, one, long)?, long));
    all.into_iter().try_for_each(|session| session.close(service).map(drop))?;
    Ok(table)
}

fn row_of(name: &str, times: &[Times], long: Duration) -> Row {
    let counts = || times.iter().map(Times::count);
    let mut all = Times::default();
    times.iter().for_each(|times| all.append(times.clone()));
    let (fewest, most) = (counts().min(), counts().max());
    let figure = |count: Option<usize>| count.map(|count| count as f64);
    let rate = all.count() as f64 / long.as_secs_f64();
    Row::of(name, vec![Some(rate), all.p50(), all.p99(), figure(fewest), figure(most)])
}

/// Has each of these run one thing after the other, all at once.
fn keep_busy(service: &Service, sessions: &mut [Session], long: Duration) -> anyhow::Result<Vec<Times>> {
    for session in sessions.iter_mut() {
        session.client = service.connect()?;
    }
    let started = Instant::now();
    std::thread::scope(|scope| {
        let one = |session: &mut Session| {
            let mut times = Times::default();
            while started.elapsed() < long {
                times.push(session.run(WORK, WORKED)?);
            }
            anyhow::Ok(times)
        };
        let threads: Vec<_> = sessions.iter_mut().map(|session| scope.spawn(move || one(session))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<Times>>| match thread.join() {
            Ok(times) => times,
            Err(_) => bail!("a client panicked"),
        };
        threads.into_iter().map(join).collect()
    })
}

/// So many of one for a second of another, where both are known.
fn per_second(bytes: u64, ms: Option<f64>) -> Option<f64> {
    ratio(Some(bytes as f64 / 1e3), ms)
}
