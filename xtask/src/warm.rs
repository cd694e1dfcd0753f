//! Scenario `warm`: requests to a running service beside the bare interpreter spawned in the same run. End to end: HTTP over a
//! kept connection, the result stored. The client is this program: a socket and a search for two words, so that it takes nothing of
//! the machine that it measures.

use crate::bench::{machine, real, time};
use crate::tidy::root;
use anyhow::{Context, bail, ensure};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many clients at once, and bare interpreters, in the scenarios with more than one.
const WIDTH: usize = 16;
/// Requests of the burst.
const BURST: usize = 256;

/// One language: a request, and the same done bare.
struct Row {
    language: &'static str,
    code: &'static str,
    bare: (PathBuf, &'static str),
}

/// Measures and prints, as a table or as JSON.
pub fn bench(rounds: usize, seconds: u64, json: bool) -> anyhow::Result<()> {
    let binary = root()?.join("target/x86_64-unknown-linux-gnu/release/fireclay");
    ensure!(binary.exists(), "build first: cargo build --release");
    let data = root()?.join("target/bench-warm-data");
    let service = Service::start(&binary, &data)?;
    let rows = [
        Row {
            language: "python",
            code: "print(1)",
            bare: (real("python3", "import sys; print(sys.executable)", "-c")?, "-c"),
        },
        Row { language: "bash", code: "echo 1", bare: ("/bin/bash".into(), "-c") },
        Row {
            language: "javascript",
            code: "console.log(1)",
            bare: (real("node", "process.execPath", "-p")?, "-e"),
        },
    ];
    let mut table = Vec::new();
    for row in &rows {
        table.push(one_client(row, &service, rounds)?);
    }
    table.push(many_clients(&rows[0], &service, Duration::from_secs(seconds))?);
    table.push(burst(&rows[0], &service)?);
    if json {
        println!(
            "{}",
            serde_json::json!({"scenario": "warm", "rounds": rounds, "machine": machine(), "rows": table})
        );
        return Ok(());
    }
    println!("warm, {rounds} interleaved rounds; {}", machine());
    println!("{:<34} {:>12} {:>12} {:>8}", "scenario", "fireclay", "bare", "ratio");
    for row in table {
        for (name, unit) in [("p50", "ms"), ("p99", "ms"), ("per_second", "/s"), ("total", "ms")] {
            let number = |who: &str| row[name][who].as_f64();
            if let (Some(ours), Some(bare)) = (number("fireclay"), number("bare")) {
                let scenario = format!("{} {name}", row["scenario"].as_str().unwrap_or_default());
                println!("{scenario:<34} {ours:>10.2} {unit} {bare:>9.2} {unit} {:>7.2}x", ours / bare);
            }
        }
    }
    Ok(())
}

/// A service of its own, ended when dropped.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(binary: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(binary)
            .arg("--data")
            .arg(data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .context("start the service")?;
        let output = process.stdout.take().context("the service's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.context("the service did not say where it listens")?.to_owned();
        Ok(Self { process, address })
    }

    fn connect(&self) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, host: self.address.clone(), buffer: vec![0; 64 << 10] })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let ended = rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(std::io::Error::from)
            .and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("xtask: end the service: {error}");
        }
    }
}

/// One kept connection.
struct Client {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Client {
    /// Runs code that prints `printed` and a line feed; returns milliseconds until the whole answer was here.
    fn run(&mut self, language: &str, code: &str, printed: &str) -> anyhow::Result<f64> {
        let body = serde_json::json!({"language": language, "code": code}).to_string();
        let request = format!(
            "POST /v1/runs HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        let started = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[length..])?;
            ensure!(read > 0, "the service closed the connection");
            length += read;
            if is_whole(&self.buffer[..length]) {
                break;
            }
        }
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let answer = String::from_utf8_lossy(&self.buffer[..length]);
        let wanted = format!("\"stdout\":\"{printed}\\n\"");
        ensure!(answer.starts_with("HTTP/1.1 200") && answer.contains(&wanted), "{answer}");
        Ok(ms)
    }
}

/// Whether an answer has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

fn bare(row: &Row) -> Vec<OsString> {
    vec![row.bare.0.clone().into(), row.bare.1.into(), row.code.into()]
}

/// A request and a spawn in turns.
fn one_client(row: &Row, service: &Service, rounds: usize) -> anyhow::Result<serde_json::Value> {
    let mut client = service.connect()?;
    let bare = bare(row);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds + 20 {
        let (request, spawn) = (client.run(row.language, row.code, "1")?, time(&bare)?);
        // The first fill caches and the pool.
        if round >= 20 {
            ours.push(request);
            theirs.push(spawn);
        }
    }
    ours.sort_by(f64::total_cmp);
    theirs.sort_by(f64::total_cmp);
    let at = |times: &[f64], share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(serde_json::json!({"scenario": format!("{}, one client", row.language),
        "p50": {"fireclay": at(&ours, 0.5), "bare": at(&theirs, 0.5)}, "p99": {"fireclay": at(&ours, 0.99), "bare": at(&theirs, 0.99)}}))
}

/// As many as come through in a time, from many clients; then as many interpreters, at the same width.
fn many_clients(row: &Row, service: &Service, time_for_each: Duration) -> anyhow::Result<serde_json::Value> {
    let ours = at_once(time_for_each, || {
        let mut client = service.connect()?;
        Ok(move || client.run(row.language, row.code, "1").map(drop))
    })?;
    let theirs = at_once(time_for_each, || {
        let bare = bare(row);
        Ok(move || time(&bare).map(drop))
    })?;
    Ok(
        serde_json::json!({"scenario": format!("{}, {WIDTH} clients", row.language), "per_second": {"fireclay": ours, "bare": theirs}}),
    )
}

fn at_once<Do: FnMut() -> anyhow::Result<()>>(
    long: Duration,
    make: impl Fn() -> anyhow::Result<Do> + Sync,
) -> anyhow::Result<f64> {
    let done = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = (0..WIDTH)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let mut act = make()?;
                    while started.elapsed() < long {
                        act()?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a client panicked"),
        })
    })?;
    Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

/// All at once on a service at rest, each with its own answer; then as many interpreters, at the usual width.
fn burst(row: &Row, service: &Service) -> anyhow::Result<serde_json::Value> {
    let clients = (0..BURST).map(|_| service.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let started = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, mut client)| {
                scope.spawn(move || {
                    client.run("python", &format!("print({number})"), &number.to_string()).map(drop)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a client panicked"),
        })
    })?;
    let ours = started.elapsed().as_secs_f64() * 1e3;
    let left = AtomicU64::new(BURST as u64);
    let started = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let spawn = || -> anyhow::Result<()> {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                time(&bare(row))?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..WIDTH).map(|_| scope.spawn(spawn)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a spawning thread panicked"),
        })
    })?;
    let theirs = started.elapsed().as_secs_f64() * 1e3;
    Ok(
        serde_json::json!({"scenario": format!("burst of {BURST}"), "total": {"fireclay": ours, "bare": theirs}}),
    )
}
