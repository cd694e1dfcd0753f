//! `fireclay batch`: lines of a file → the service that runs, or one in this process → lines of answers.

mod embedded;
mod out;
mod progress;

use crate::args::BatchArguments;
use crate::client::Client;
use crate::env::{self, Settings};
use crate::exit::REJECTED;
use anyhow::Context;
use embedded::Embedded;
use model::Rejection;
use model::request::usual_of;
use out::Out;
use progress::Bar;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// The code when some items failed by a fault of ours.
const FAULTS: u8 = 1;

/// Runs the batch; answers the exit code.
pub fn batch(arguments: &BatchArguments, settings: &Settings) -> anyhow::Result<u8> {
    // A process with one thread: before anything else is started.
    let key = env::key_in(&arguments.api_key_env);
    let url = arguments.url.as_ref().or(settings.url.as_ref());
    let client = match url {
        Some(url) => Some(Client::at(url, key)?),
        None => Client::answering(&settings.data, key),
    };
    let mut out = Out::open(arguments.out.as_deref())?;
    let total = count_of(&arguments.file)?;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let usual = arguments.usual.fields()?;
    let lines = Lines::open((&arguments.file, usual), out.take_done(), sent.clone())?;
    let bar = Bar::new(total, out.done(), settings.color);
    let path = path_of(arguments);
    let mut tally = Tally { answered: out.done(), ..Tally::default() };
    let answers: Box<dyn BufRead> = match client {
        Some(client) => client.lines(&path, lines)?,
        None => Embedded::start(settings)?.lines(&path, lines)?,
    };
    for line in answers.lines() {
        let line = line.context("read the answers")?;
        let answer: Value = serde_json::from_str(&line).context("understand the answers")?;
        tally.take(answer, &sent, &mut out, &bar)?;
    }
    bar.finish();
    tally.say();
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    Ok(tally.code(out.done() + sent))
}

fn path_of(arguments: &BatchArguments) -> String {
    let concurrency = arguments.concurrency.map(|count| format!("&concurrency={count}")).unwrap_or_default();
    format!("/v1/batches?dedupe={}{concurrency}", arguments.dedupe)
}

fn open(file: &str) -> anyhow::Result<Box<dyn Read + Send>> {
    if file == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = File::open(file).map_err(|error| {
        Rejection::new(
            "FILE",
            format!("cannot read {file}: {error}"),
            "name a file that exists and is readable",
        )
    });
    Ok(Box::new(opened?))
}

/// How many items a file has; nobody knows of standard input.
fn count_of(file: &str) -> anyhow::Result<Option<u64>> {
    if file == "-" {
        return Ok(None);
    }
    let mut count = 0;
    for line in BufReader::new(open(file)?).split(b'\n') {
        count += u64::from(!line.with_context(|| format!("read {file}"))?.trim_ascii().is_empty());
    }
    Ok(Some(count))
}

/// The lines that are left to be done, and under `sent` which they are: the service numbers what it gets from 0.
struct Lines {
    from: BufReader<Box<dyn Read + Send>>,
    done: BTreeSet<u64>,
    sent: Arc<Mutex<Vec<u64>>>,
    index: u64,
    line: Vec<u8>,
    at: usize,
    /// Fields of items that do not say them.
    usual: Map<String, Value>,
}

impl Lines {
    fn open(
        (file, usual): (&str, Map<String, Value>),
        done: BTreeSet<u64>,
        sent: Arc<Mutex<Vec<u64>>>,
    ) -> anyhow::Result<Self> {
        Ok(Self { from: BufReader::new(open(file)?), done, sent, index: 0, line: Vec::new(), at: 0, usual })
    }

    /// Adds to an item what it does not say. A line that is none is the service's to refuse.
    fn complete(&mut self) {
        if self.usual.is_empty() {
            return;
        }
        let Ok(Value::Object(mut item)) = serde_json::from_slice(&self.line) else { return };
        let language = item.get("language").and_then(Value::as_str).map(str::to_owned);
        for (name, value) in usual_of(language.as_deref(), &self.usual) {
            item.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
        self.line = format!("{}\n", Value::Object(item)).into_bytes();
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.line.len() {
            self.line.clear();
            self.at = 0;
            if self.from.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(0);
            }
            // Empty lines are no items, here as there.
            if self.line.trim_ascii().is_empty() {
                self.line.clear();
                continue;
            }
            if self.done.contains(&self.index) {
                self.line.clear();
            } else {
                self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
                self.complete();
            }
            self.index += 1;
        }
        let count = (&self.line[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// What came back.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    faults: u64,
    rejected: u64,
    problem: Option<String>,
    summary: Option<Value>,
}

impl Tally {
    /// Takes a line of the answer: an item's goes to `out`, under its place in the file.
    fn take(
        &mut self,
        mut answer: Value,
        sent: &Mutex<Vec<u64>>,
        out: &mut Out,
        bar: &Bar,
    ) -> anyhow::Result<()> {
        if let Some(summary) = answer.get_mut("summary") {
            self.summary = Some(summary.take());
            return Ok(());
        }
        if answer.get("index").is_none() {
            self.problem = answer["problem"]["detail"].as_str().map(str::to_owned).or(self.problem.take());
            return Ok(());
        }
        let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        for name in ["index", "same_as"] {
            if let Some(place) = answer.get_mut(name) {
                let index = place.as_u64().and_then(|place| sent.get(usize::try_from(place).ok()?));
                *place = index.copied().context("the service numbers items that it did not get")?.into();
            }
        }
        drop(sent);
        self.answered += 1;
        self.faults += u64::from(out::is_fault(&answer));
        self.rejected += u64::from(answer["verdict"] == "rejected");
        out.write(&answer)?;
        bar.show(self.answered, self.faults + self.rejected);
        Ok(())
    }

    fn say(&self) {
        if let Some(problem) = &self.problem {
            eprintln!("fireclay: {problem}");
        }
        if let Some(summary) = &self.summary {
            let verdicts = summary["verdicts"].as_object().into_iter().flatten();
            let verdicts: Vec<String> =
                verdicts.map(|(verdict, count)| format!("{count} {verdict}")).collect();
            let seconds = summary["wall_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
            eprintln!("fireclay: {} in {seconds:.1} s", verdicts.join(", "));
        }
    }

    fn code(&self, wanted: u64) -> u8 {
        if self.faults > 0 || self.answered < wanted {
            FAULTS
        } else if self.rejected > 0 || self.problem.is_some() {
            REJECTED
        } else {
            0
        }
    }
}
