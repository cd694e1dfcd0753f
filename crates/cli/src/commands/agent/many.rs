//! `fireclay agent --batch`: many questions, each for itself, some at once. What `fireclay eval` asks goes this way too.
//!
//! Each question has a desk, a conversation and sandboxes of its own, and its own budget. Answers are told as they come: who is stopped in the
//! middle has all that were there.

use super::plots::Plots;
use super::recorded::Recorder;
use super::report::Report;
use super::sandboxes::{Interrupts, Sandboxes};
use super::show::Show;
use super::{Asking, NO_ANSWER, STOPPED, write_out};
use crate::args::{AgentArguments, Level};
use crate::client::Client;
use crate::commands::run::{ENDING, read_text, unreadable};
use crate::commands::session;
use crate::env::Settings;
use agent::{Redactor, Spent, for_model};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{InputFile, Rejection};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Most questions of one command.
const QUESTIONS_MAX: usize = 100_000;
/// Most rows of the table.
const ROWS_MAX: usize = 200;
/// How much of an answer the table has, in characters.
const SHOWN: usize = 48;

/// A question with what belongs to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// By what its answer is told from others.
    #[serde(default)]
    pub id: Value,
    /// The question.
    pub input: String,
    /// What the answer is held to.
    #[serde(default)]
    pub expected: Value,
    /// What judges the answer.
    pub checker: Option<String>,
}

/// The questions of a file of JSON lines.
pub fn items(file: &str) -> anyhow::Result<Vec<Item>> {
    let text = if file == "-" {
        read_text(std::io::stdin().lock(), "standard input")?
    } else {
        read_text(File::open(file).map_err(|error| unreadable("FILE", file, &error))?, file)?
    };
    let mut items = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: String| {
            let hint = "a line is a text in JSON, or {\"id\", \"input\", \"expected\", \"checker\"}";
            Rejection::new("FILE", format!("line {}: {why}", number + 1), hint)
        };
        // An object is read as one, so that what is wrong in it is told.
        let item = if line.trim_start().starts_with('{') {
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?
        } else {
            let input = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            Item { id: Value::Null, input, expected: Value::Null, checker: None }
        };
        if item.input.trim().is_empty() {
            return Err(wrong("the question is empty".to_owned()).into());
        }
        items.push(item);
        if items.len() > QUESTIONS_MAX {
            return Err(wrong(format!("there are more than {QUESTIONS_MAX} questions")).into());
        }
    }
    if items.is_empty() {
        return Err(Rejection::new("FILE", "there is no question in it", "write one in each line").into());
    }
    Ok(items)
}

/// What questions are worked on with.
pub struct Many<'a> {
    asking: &'a Asking<'a>,
    client: Client,
    interrupts: Interrupts,
    files: Vec<InputFile>,
}

/// What became of a question.
pub struct Done {
    /// The report, with `index` and `id` first.
    pub report: Value,
    /// What it used.
    pub spent: Spent,
    /// How long it took.
    pub took: Duration,
    /// What a person should know of the files that were copied.
    pub remarks: Vec<String>,
}

impl<'a> Many<'a> {
    /// Signals mean stop from now on; the service is started if need be.
    pub fn begin(asking: &'a Asking<'a>, settings: &Settings) -> anyhow::Result<Self> {
        let files = asking.files()?;
        sys::signal::ignore_broken_pipes()?;
        let interrupts = Interrupts::catch(&ENDING)?;
        let client = session::service(asking.arguments.url.as_ref(), settings)?;
        Ok(Self { asking, client, interrupts, files })
    }

    /// Sandboxes for one question.
    pub fn bench(&self) -> anyhow::Result<Sandboxes<'_>> {
        Sandboxes::new(&self.client, &self.interrupts, self.asking.arguments, None, self.files.clone())
    }

    /// Whether to stop.
    pub fn stopped(&self) -> bool {
        self.interrupts.came()
    }

    /// Has one question answered.
    pub fn answer(&self, index: usize, item: &Item, artifacts: Option<&Path>) -> anyhow::Result<Done> {
        let began = Instant::now();
        let mut bench = self.bench()?;
        let stop = || self.stopped();
        let chosen = &self.asking.chosen;
        let recorder = Recorder::new(chosen.redactor.clone());
        recorder.begin(&item.input);
        let directory = artifacts.map(|directory| directory.join(index.to_string()));
        let plots = Plots::new(directory.as_deref());
        let unsaved = RefCell::new(Vec::new());
        let mut told = |told: agent::Told<'_>| {
            recorder.tell(&told);
            if let agent::Told::Ran(result) = told
                && let Err(error) = plots.save(result)
            {
                unsaved.borrow_mut().push(format!("{error:#}"));
            }
        };
        let around = bench.surroundings();
        let (ended, solution) = {
            let mut desk = self.asking.desk(&mut bench, &mut told, &stop);
            desk.around = around;
            self.asking.answer(&mut desk, &item.input)
        };
        recorder.send(&self.client, &chosen.provider.name(), &ended);
        let mut remarks = unsaved.into_inner();
        if let Some(directory) = &directory {
            remarks.extend(bench.fetch(directory)?);
        }
        bench.close()?;
        let report = Report {
            ended: &ended,
            solution: solution.as_ref(),
            model: self.asking.chosen.provider.name(),
            redactor: &self.asking.chosen.redactor,
        };
        let mut told = json!({"index": index, "id": item.id});
        if let (Value::Object(told), Value::Object(report)) = (&mut told, report.value()) {
            told.extend(report);
        }
        Ok(Done { report: told, spent: ended.spent, took: began.elapsed(), remarks })
    }

    /// Does something for each of so many, `jobs` at once, and has `take` see what came of it in the order in which it ends. Returns whether all
    /// were done; none is begun any more when one fails, or all are to stop.
    pub fn each<T: Send>(
        &self,
        count: usize,
        jobs: u32,
        act: impl Fn(usize) -> anyhow::Result<T> + Sync,
        mut take: impl FnMut(T) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let next = AtomicUsize::new(0);
        let (sender, done) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..count.min(jobs as usize) {
                let sender = sender.clone();
                scope.spawn(|| {
                    let sender = sender;
                    while !self.stopped() {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count || sender.send(act(index)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut taken = 0;
            for result in done {
                let took = result.and_then(&mut take);
                if took.is_err() {
                    next.store(count, Ordering::Relaxed);
                    return took.map(|()| false);
                }
                taken += 1;
            }
            Ok(taken == count && !self.stopped())
        })
    }
}

/// Where lines go: a file, or standard output.
pub struct Lines(Option<File>);

impl Lines {
    /// A new file, or standard output.
    pub fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let create = |path: &Path| File::create(path).with_context(|| format!("write {}", path.display()));
        Ok(Self(path.map(create).transpose()?))
    }

    /// Writes a line at once.
    pub fn write(&mut self, value: &Value) -> anyhow::Result<()> {
        let line = format!("{value}\n");
        match &mut self.0 {
            Some(file) => file.write_all(line.as_bytes()).context("write the answers"),
            None => write_out(line.as_bytes()),
        }
    }
}

/// A progress bar for so many; only on a terminal.
pub fn bar(count: usize, settings: &Settings) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr());
    let shape = if settings.color {
        "{bar:32.cyan} {pos} of {len}, {eta} left"
    } else {
        "{bar:32} {pos} of {len}, {eta} left"
    };
    bar.set_style(ProgressStyle::with_template(shape).expect("the template is a constant"));
    bar
}

/// Figures of many questions.
pub struct Sum {
    turns: u64,
    runs: u64,
    tokens: u64,
    dollars: f64,
    unpriced: bool,
    since: Instant,
}

impl Sum {
    /// Nothing, from now on.
    pub fn nothing() -> Self {
        Self { turns: 0, runs: 0, tokens: 0, dollars: 0.0, unpriced: false, since: Instant::now() }
    }

    /// Adds what a question used.
    pub fn add(&mut self, spent: &Spent) {
        self.turns += u64::from(spent.turns);
        self.runs += u64::from(spent.runs);
        self.tokens += spent.tokens.total();
        self.dollars += spent.dollars;
        self.unpriced |= spent.unpriced;
    }

    /// In words.
    pub fn words(&self) -> String {
        let Self { turns, runs, tokens, dollars, unpriced, since } = self;
        let more = if *unpriced { " and what has no known price" } else { "" };
        format!(
            "{turns} turns, {runs} runs, {tokens} tokens, ${dollars:.4}{more}, {:.1} s",
            since.elapsed().as_secs_f64()
        )
    }
}

/// Answers the questions of a file; answers the exit code.
pub fn batch(file: &str, arguments: &AgentArguments, settings: &Settings) -> anyhow::Result<u8> {
    let items = items(file)?;
    if let Some(at) = items.iter().position(|item| !item.expected.is_null() || item.checker.is_some()) {
        let message = format!("question {} has an expected answer or a checker", at + 1);
        return Err(Rejection::new("--batch", message, "`fireclay eval` judges answers").into());
    }
    let asking = Asking::of(&arguments.task, false, settings)?;
    let mut lines = Lines::create(arguments.output.as_deref())?;
    let many = Many::begin(&asking, settings)?;
    let show = Show::new(&arguments.task, settings, asking.chosen.redactor.clone());
    let bar = bar(items.len(), settings);
    let (mut table, mut sum, mut answered) = (Vec::new(), Sum::nothing(), 0_usize);
    let all = many.each(
        items.len(),
        arguments.jobs,
        |index| many.answer(index, &items[index], arguments.artifacts.as_deref()),
        |done| {
            lines.write(&done.report)?;
            for remark in &done.remarks {
                show.note(&format!("fireclay: question {}: {remark}", done.report["index"]));
            }
            answered += usize::from(done.report["outcome"] == "answered");
            sum.add(&done.spent);
            table.push(done);
            bar.inc(1);
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    table.sort_by_key(|done| done.report["index"].as_u64());
    show.note(&rows(&table, &asking.chosen.redactor));
    show.note(&format!("{answered} of {} answered; {}", items.len(), sum.words()));
    if !all {
        show.say(Level::Error, "stopped");
        return Ok(STOPPED);
    }
    Ok(if answered == items.len() { 0 } else { NO_ANSWER })
}

/// A table, a row for each question.
fn rows(done: &[Done], redactor: &Redactor) -> String {
    let mut text = format!(
        "{:>5}  {:<15} {:>5} {:>5} {:>8} {:>9} {:>7}  answer",
        "#", "outcome", "turns", "runs", "tokens", "cost", "s"
    );
    for Done { report, spent, took, .. } in done.iter().take(ROWS_MAX) {
        let cost = if spent.unpriced { "unknown".to_owned() } else { format!("${:.4}", spent.dollars) };
        let said = report["answer"]
            .as_str()
            .or(report["error"].as_str())
            .or(report["limit"].as_str())
            .unwrap_or_default();
        let said: String = for_model(&redactor.redact(said), SHOWN * 4)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(SHOWN)
            .collect();
        let (turns, runs, tokens) = (spent.turns, spent.runs, spent.tokens.total());
        write!(
            text,
            "\n{:>5}  {:<15} {turns:>5} {runs:>5} {tokens:>8} {cost:>9} {:>7.1}  {said}",
            report["index"],
            report["outcome"].as_str().unwrap_or_default(),
            took.as_secs_f64(),
        )
        .expect("memory is there");
    }
    if done.len() > ROWS_MAX {
        write!(text, "\n       and {} more", done.len() - ROWS_MAX).expect("memory is there");
    }
    text
}
