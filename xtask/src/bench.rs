//! Scenario `cold`: whole-process times of `fireclay run`, the bare interpreter and bubblewrap running the same, interleaved in
//! one run. Ratios of medians are what counts: machines are noisy, and noise hits all of them alike.

use crate::tidy::root;
use anyhow::{Context, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What is compared for one language.
struct Row {
    language: &'static str,
    code: &'static str,
    /// Program and the option that takes code.
    bare: (PathBuf, &'static str),
}

/// Measures all rows and prints them.
pub fn bench(rounds: usize, data: &Path, json: bool) -> anyhow::Result<()> {
    let binary = root()?.join("target/x86_64-unknown-linux-gnu/release/fireclay");
    ensure!(binary.exists(), "build first: cargo build --release");
    let data = std::path::absolute(data)?;
    let rows = [
        Row {
            language: "python",
            code: "print(1)",
            bare: (real("python3", "import sys; print(sys.executable)", "-c")?, "-c"),
        },
        Row {
            language: "javascript",
            code: "console.log(1)",
            bare: (real("node", "process.execPath", "-p")?, "-e"),
        },
        Row { language: "bash", code: "echo 1", bare: ("/bin/bash".into(), "-c") },
    ];
    let mut table = Vec::new();
    for row in &rows {
        table.push(measure(row, &binary, &data, rounds)?);
    }
    if json {
        println!(
            "{}",
            serde_json::json!({"scenario": "cold", "rounds": rounds, "machine": machine(), "rows": table})
        );
        return Ok(());
    }
    println!("cold, {rounds} interleaved rounds, medians in ms; {}", machine());
    println!(
        "{:<12} {:>8} {:>10} {:>12} {:>8} {:>14}",
        "language", "bare", "fireclay", "bubblewrap", "x bare", "x bubblewrap"
    );
    for row in table {
        let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:<12} {:>8.2} {:>10.2} {:>12.2} {:>8.2} {:>14.2}",
            row["language"].as_str().unwrap_or_default(),
            number("bare_ms"),
            number("fireclay_ms"),
            number("bubblewrap_ms"),
            number("fireclay_ms") / number("bare_ms"),
            number("fireclay_ms") / number("bubblewrap_ms"),
        );
    }
    Ok(())
}

/// The real interpreter, not a shim: what it says of itself.
pub fn real(name: &str, question: &str, option: &str) -> anyhow::Result<PathBuf> {
    let output =
        Command::new(name).args([option, question]).output().with_context(|| format!("start {name}"))?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn measure(row: &Row, binary: &Path, data: &Path, rounds: usize) -> anyhow::Result<serde_json::Value> {
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut ours = vec![binary.into(), "--data".into(), data.into()];
    ours.extend(words(&["run", "--local", "--language", row.language, "-c", row.code]));
    let bare = vec![row.bare.0.clone().into(), row.bare.1.into(), row.code.into()];
    let mut wrapped = words(&[
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
    ]);
    wrapped.extend(bare.iter().cloned());
    let commands = [bare, ours, wrapped];
    let mut times = [const { Vec::new() }; 3];
    // One round unmeasured: it builds the image and warms every cache.
    for round in 0..=rounds {
        for (command, times) in commands.iter().zip(&mut times) {
            let ms = time(command)?;
            if round > 0 {
                times.push(ms);
            }
        }
    }
    let [bare_ms, fireclay_ms, bubblewrap_ms] = times.map(median);
    Ok(
        serde_json::json!({"language": row.language, "bare_ms": bare_ms, "fireclay_ms": fireclay_ms, "bubblewrap_ms": bubblewrap_ms,
        "ratio_to_bare": fireclay_ms / bare_ms, "ratio_to_bubblewrap": fireclay_ms / bubblewrap_ms}),
    )
}

/// Runs a command with a clean environment and nothing to read; returns milliseconds.
pub fn time(command: &[OsString]) -> anyhow::Result<f64> {
    let path = "/usr/local/bin:/usr/bin:/bin";
    let started = Instant::now();
    let output = Command::new(&command[0])
        .args(&command[1..])
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("start {:?}", command[0]))?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    ensure!(
        output.status.success() && output.stdout == b"1\n",
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(ms)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The machine, in one line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches(['\t', ' ', ':'])
        .to_owned();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("Linux {}, {cores} x {model}", read("/proc/sys/kernel/osrelease").trim())
}
