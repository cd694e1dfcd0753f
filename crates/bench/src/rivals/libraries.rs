//! Rivals that are Python libraries: a helper process has them ready, and says how long each run took.

use super::Contender;
use crate::Bench;
use crate::interpreters::PYTHON;
use anyhow::{Context, ensure};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A library, what it gives, and the helper's program.
struct Library {
    name: &'static str,
    /// What it is imported as.
    module: &'static str,
    packages: &'static str,
    note: &'static str,
    helper: &'static str,
}

const LIBRARIES: [Library; 3] = [
    Library {
        name: "ipykernel execute",
        module: "ipykernel, jupyter_client",
        packages: "ipykernel jupyter_client",
        note: "one process for all runs, no isolation",
        helper: include_str!("ipykernel.py"),
    },
    Library {
        name: "pydantic-monty",
        module: "pydantic_monty",
        packages: "pydantic-monty",
        note: "an interpreter of a part of Python, in a process that is used again",
        helper: include_str!("monty.py"),
    },
    Library {
        name: "sandlock",
        module: "sandlock",
        packages: "sandlock",
        note: "Landlock and seccomp, no namespaces; starts python3 for each run",
        helper: include_str!("sandlock.py"),
    },
];

/// Every one of them, with what it would be installed by.
pub fn all(bench: &Bench) -> anyhow::Result<Vec<Contender>> {
    let pythons = pythons(bench)?;
    let bare = PYTHON.interpreter(bench)?.context("no python3 on PATH")?;
    let contender = |library: &Library| {
        let Some(python) = pythons.iter().find(|python| has(python, library)) else {
            return Contender::missing(library.name, &install(bench, library));
        };
        let arguments = ["-c", library.helper, bare.to_str().unwrap_or_default()];
        match Helper::start(python, &arguments, &bench.options.path) {
            Ok(mut helper) => Contender::ready(library.name, library.note, Box::new(move || helper.time())),
            Err(error) => Contender::ready(library.name, "", Box::new(move || anyhow::bail!("{error:#}"))),
        }
    };
    Ok(LIBRARIES.iter().map(contender).collect())
}

/// A helper with this program that has notebook kernels; or why there is none.
pub fn kernel(bench: &Bench, program: &str) -> anyhow::Result<Result<Helper, String>> {
    let library = &LIBRARIES[0];
    let Some(python) = pythons(bench)?.into_iter().find(|python| has(python, library)) else {
        return Ok(Err(format!("not found: ipykernel; install by: {}", install(bench, library))));
    };
    Helper::start(&python, &["-c", program], &bench.options.path).map(Ok)
}

/// Where libraries are looked for.
fn pythons(bench: &Bench) -> anyhow::Result<Vec<PathBuf>> {
    let installed = bench.rivals().join("bin/python");
    let known = installed.exists().then_some(installed);
    Ok(known.into_iter().chain(PYTHON.interpreter(bench)?).collect())
}

fn has(python: &Path, library: &Library) -> bool {
    let import = format!("import {}", library.module);
    let asked = Command::new(python).args(["-c", &import]).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn install(bench: &Bench, library: &Library) -> String {
    let place = bench.rivals();
    let place = place.display();
    format!("python3 -m venv {place} && {place}/bin/pip install {}", library.packages)
}

/// A process that does something once for each line that it reads, and answers with the nanoseconds that it took.
pub struct Helper {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts one, and waits until it is ready.
    pub fn start(program: &Path, arguments: &[&str], path: &OsStr) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", path).env("HOME", "/nonexistent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().context("the helper's output")?);
        let mut helper = Self { process, input, output };
        let line = helper.line()?;
        ensure!(line == "ready", "the helper says {line:?}{}", helper.complaint());
        Ok(helper)
    }

    /// Has it done once.
    pub fn time(&mut self) -> anyhow::Result<Duration> {
        self.input.as_mut().context("the helper's input")?.write_all(b"\n")?;
        let line = self.line()?;
        let nanoseconds = line.parse::<u64>();
        let nanoseconds =
            nanoseconds.with_context(|| format!("the helper says {line:?}{}", self.complaint()))?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// What a helper that is done for wrote to standard error.
    fn complaint(&mut self) -> String {
        self.input = None;
        let mut said = String::new();
        let read = self.process.stderr.as_mut().map(|stderr| stderr.read_to_string(&mut said));
        match read {
            Some(Ok(1..)) => format!(": {}", said.trim().lines().last().unwrap_or_default()),
            _ => String::new(),
        }
    }
}

impl Drop for Helper {
    /// The end of its input is its end.
    fn drop(&mut self) {
        self.input = None;
        if let Err(error) = self.process.wait() {
            eprintln!("bench: wait for a helper: {error}");
        }
    }
}
