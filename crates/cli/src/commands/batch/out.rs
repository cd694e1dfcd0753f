//! The file of answers: one line for each item, appended; what is in it already is not done again.

use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// Where answers go.
pub struct Out {
    /// Standard output without one.
    file: Option<File>,
    done: BTreeSet<u64>,
    count: u64,
}

impl Out {
    /// Opens the file, keeps the lines that are final, and drops the others: a cut one, and those that are to be done again.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, done: BTreeSet::new(), count: 0 }) };
        let done = keep_final(path).with_context(|| format!("read {}", path.display()))?;
        let file = File::options().append(true).create(true).open(path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        let count = done.len() as u64;
        Ok(Self { file: Some(file), done, count })
    }

    /// Places of items that have a final answer; to be taken once.
    pub fn take_done(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.done)
    }

    /// How many items had a final answer before.
    pub fn done(&self) -> u64 {
        self.count
    }

    /// Appends an answer, in one write.
    pub fn write(&mut self, answer: &Value) -> anyhow::Result<()> {
        let line = format!("{answer}\n");
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()).context("append an answer"),
            None => std::io::stdout().lock().write_all(line.as_bytes()).context("print an answer"),
        }
    }
}

/// Whether an answer says that we failed, in a part of it or in all.
pub fn is_fault(answer: &Value) -> bool {
    answer["verdict"] == "fault" || !answer["retry_safe"].is_null()
}

/// Whether an answer stays. Those of items that were not tried, or failed by a fault that may pass, do not.
fn is_final(answer: &Value) -> bool {
    answer["retry_safe"] != true && answer["verdict"] != "cancelled"
}

fn keep_final(path: &Path) -> std::io::Result<BTreeSet<u64>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        opened => opened?,
    };
    let mut done = BTreeSet::new();
    let mut kept = File::create(beside(path))?;
    let mut dropped = false;
    for line in BufReader::new(file).split(b'\n') {
        let mut line = line?;
        let answer: Option<Value> = serde_json::from_slice(&line).ok();
        let place = answer.filter(is_final).and_then(|answer| answer["index"].as_u64());
        match place {
            Some(index) if done.insert(index) => {
                line.push(b'\n');
                kept.write_all(&line)?;
            }
            _ => dropped = true,
        }
    }
    // A last line that is whole but for its end is written anew too: whoever appends begins a line.
    let ends_well = std::fs::metadata(path)?.len() == std::fs::metadata(beside(path))?.len();
    if dropped || !ends_well {
        kept.sync_all()?;
        std::fs::rename(beside(path), path)?;
    } else {
        std::fs::remove_file(beside(path))?;
    }
    Ok(done)
}

/// A name for what takes the file's place.
fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".kept");
    path.with_file_name(name)
}
