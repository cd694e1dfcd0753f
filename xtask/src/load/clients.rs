//! Clients that never rest, and what they were told: every answer is held to what was sent.

use super::memory::Memory;
use super::programs::{Company, Ended, Program, Programs};
use anyhow::{Context, bail, ensure};
use bench::client::{Answer, Client};
use bench::service::Service;
use bench::times::Times;
use model::{Outcome, RunResult};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One run in so many is what the turn says.
const COMPANY_EVERY: u64 = 20;
/// At the beginning of each turn runs of the turn before are still there: so long nothing is measured.
const SETTLING: Duration = Duration::from_millis(500);
/// How often processes are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Most examples that are kept of what went wrong.
const EXAMPLES_MAX: usize = 10;

/// Sends a run.
pub fn send<'a>(client: &'a mut Client, program: &Program) -> anyhow::Result<Answer<'a>> {
    client.post("/v1/runs", &serde_json::to_string(&program.request)?)
}

/// Honest runs in one company.
pub struct Tally {
    /// Which.
    pub company: Company,
    /// Runs that were measured.
    pub runs: u64,
    /// In what time.
    pub seconds: f64,
    /// What each took, told to come again or not.
    pub times: Times,
}

impl Tally {
    fn new(company: Company) -> Self {
        Self { company, runs: 0, seconds: 0.0, times: Times::default() }
    }
}

/// What went wrong, in all threads.
#[derive(Default)]
pub struct Check {
    /// Gives each run its number.
    next: AtomicU64,
    settled: AtomicU64,
    hostile: AtomicU64,
    held: AtomicU64,
    come_again: AtomicU64,
    lost: Mutex<Vec<String>>,
    crossed: Mutex<Vec<String>>,
    breached: Mutex<Vec<String>>,
    otherwise: Mutex<Vec<String>>,
}

fn note(list: &Mutex<Vec<String>>, what: String) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

fn count(list: &Mutex<Vec<String>>) -> usize {
    list.lock().unwrap_or_else(PoisonError::into_inner).len()
}

impl Check {
    /// How many runs were answered with a result.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Prints all of it.
    pub fn print(&self) {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (lost, crossed, breached) = (count(&self.lost), count(&self.crossed), count(&self.breached));
        println!(
            "answers: {} settled, {lost} lost, {crossed} crossed; told to come again {} times",
            self.settled(),
            of(&self.come_again)
        );
        println!(
            "attacks: {}, of which {} held off, {breached} breached, {} ended otherwise",
            of(&self.hostile),
            of(&self.held),
            count(&self.otherwise)
        );
        for (name, list) in [
            ("lost", &self.lost),
            ("crossed", &self.crossed),
            ("breached", &self.breached),
            ("ended otherwise", &self.otherwise),
        ] {
            let list = list.lock().unwrap_or_else(PoisonError::into_inner);
            for example in list.iter().take(EXAMPLES_MAX) {
                println!("  {name}: {example}");
            }
        }
    }

    /// Fails if anything was lost, crossed or breached.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let (lost, crossed, breached) = (count(&self.lost), count(&self.crossed), count(&self.breached));
        ensure!(lost + crossed + breached == 0, "{lost} lost, {crossed} crossed, {breached} breached");
        Ok(())
    }

    /// Holds an answer to what was sent.
    fn answer(&self, program: &Program, answer: &Answer<'_>, programs: &Programs) {
        let Program { nonce, hostile, .. } = program;
        let text = || answer.text().chars().take(1000).collect::<String>();
        let result = match serde_json::from_slice::<RunResult>(answer.body) {
            Ok(result) if answer.status == 200 => result,
            _ => return note(&self.lost, format!("{nonce}: {} {}", answer.status, text())),
        };
        self.settled.fetch_add(1, Ordering::Relaxed);
        if result.metadata.get("nonce") != Some(&nonce.to_string()) {
            return note(&self.crossed, format!("{nonce}: {}", text()));
        }
        if let Some(fault) = &result.fault {
            return note(&self.lost, format!("{nonce}: {fault}"));
        }
        match hostile {
            None if result.outcome != Some(Outcome::Completed) => {
                note(&self.lost, format!("{nonce}: {}", text()))
            }
            None if result.stdout != format!("{nonce}\n") => {
                note(&self.crossed, format!("{nonce}: {:?}", result.stdout));
            }
            None => {}
            Some(index) => {
                self.hostile.fetch_add(1, Ordering::Relaxed);
                match programs.judge(*index, &result) {
                    Ended::Held => drop(self.held.fetch_add(1, Ordering::Relaxed)),
                    Ended::Breached(what) => note(&self.breached, what),
                    Ended::Otherwise(what) => note(&self.otherwise, what),
                }
            }
        }
    }
}

/// What clients need.
pub struct Clients<'a> {
    /// Whom they ask.
    pub service: &'a Service,
    /// What they send.
    pub programs: &'a Programs,
    /// What they find.
    pub check: &'a Check,
}

/// What is going on, for all threads: the number of the turn.
struct Turns {
    number: AtomicUsize,
    /// When it began.
    began: Mutex<Instant>,
    ends: Instant,
}

impl Turns {
    fn now(&self) -> (usize, Instant) {
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        (self.number.load(Ordering::Relaxed), *began)
    }

    fn company(number: usize) -> Company {
        Company::ALL[number % Company::ALL.len()]
    }
}

impl Clients<'_> {
    /// So many of them keep at it for so long, in turns of so long each. A time of one turn has only honest runs.
    pub fn at_it(
        &self,
        count: usize,
        long: Duration,
        turn: Duration,
        memory: &mut Memory,
    ) -> anyhow::Result<Vec<Tally>> {
        let began = Instant::now();
        let turns = Turns { number: AtomicUsize::new(0), began: Mutex::new(began), ends: began + long };
        let mut tallies: Vec<Tally> = Company::ALL.into_iter().map(Tally::new).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| self.client(&turns))).collect();
            let mut next = began + turn;
            while Instant::now() < turns.ends {
                let now = Instant::now();
                if now >= next {
                    next += turn;
                    let mut began = turns.began.lock().unwrap_or_else(PoisonError::into_inner);
                    *began = now;
                    turns.number.fetch_add(1, Ordering::Relaxed);
                }
                memory.look(self.service);
                std::thread::sleep(LOOK.min(next.min(turns.ends).saturating_duration_since(Instant::now())));
            }
            for thread in threads {
                let times = match thread.join() {
                    Ok(times) => times?,
                    Err(_) => bail!("a client panicked"),
                };
                for (tally, times) in tallies.iter_mut().zip(times) {
                    tally.runs += times.count() as u64;
                    tally.times.append(times);
                }
            }
            anyhow::Ok(())
        })?;
        let last = turns.number.load(Ordering::Relaxed);
        for (place, tally) in tallies.iter_mut().enumerate() {
            let turns = (0..=last).filter(|number| number % Company::ALL.len() == place).count();
            tally.seconds = (turn.min(long) - SETTLING).as_secs_f64() * turns as f64;
        }
        Ok(tallies)
    }

    /// One client, until the end; the times of its honest runs in each company.
    fn client(&self, turns: &Turns) -> anyhow::Result<[Times; Company::ALL.len()]> {
        let mut times = [const { Vec::new() }; Company::ALL.len()];
        let mut client = self.service.connect()?;
        while Instant::now() < turns.ends {
            let nonce = self.check.next.fetch_add(1, Ordering::Relaxed) + 1;
            let (turn, began) = turns.now();
            let company = Turns::company(turn);
            let is_company = nonce.is_multiple_of(COMPANY_EVERY);
            let program = match company {
                Company::Attacks if is_company => self.programs.hostile(nonce, nonce / COMPANY_EVERY)?,
                Company::Busy if is_company => self.programs.busy(nonce),
                _ => self.programs.ordinary(nonce),
            };
            let started = Instant::now();
            self.settle(&mut client, &program)?;
            let is_measured = started >= began + SETTLING && !is_company;
            if is_measured {
                times[turn % Company::ALL.len()].push(started.elapsed());
            }
        }
        Ok(times.map(|all| {
            let mut times = Times::default();
            all.into_iter().for_each(|time| times.push(time));
            times
        }))
    }

    /// Sends a run until it is not told to come again. A connection that ends under it is a loss.
    fn settle(&self, client: &mut Client, program: &Program) -> anyhow::Result<()> {
        loop {
            let answer = match send(client, program) {
                Ok(answer) => answer,
                Err(error) => {
                    note(&self.check.lost, format!("{}: {error:#}", program.nonce));
                    *client = self.service.connect().context("connect again")?;
                    return Ok(());
                }
            };
            match (answer.status, answer.retry_after) {
                (429, Some(later)) => {
                    self.check.come_again.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(later);
                }
                _ => {
                    self.check.answer(program, &answer, self.programs);
                    return Ok(());
                }
            }
        }
    }
}
