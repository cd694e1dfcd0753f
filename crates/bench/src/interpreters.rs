//! Bare interpreters: what everything is compared with.

use crate::Bench;
use crate::scenarios::in_turns;
use anyhow::{Context, ensure};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A language, and the smallest program that prints a line.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// As requests name it.
    pub name: &'static str,
    /// Prints 1.
    pub code: &'static str,
    /// The interpreter, a question that has it print its own path, and the options that question and code are given with.
    interpreter: &'static str,
    question: Option<(&'static str, &'static str)>,
    option: &'static str,
}

/// All that are measured.
pub const LANGUAGES: [Language; 3] = [
    Language {
        name: "python",
        code: "print(1)",
        interpreter: "python3",
        question: Some(("-c", "import sys; print(sys.executable)")),
        option: "-c",
    },
    Language { name: "bash", code: "echo 1", interpreter: "bash", question: None, option: "-c" },
    Language {
        name: "javascript",
        code: "console.log(1)",
        interpreter: "node",
        question: Some(("-p", "process.execPath")),
        option: "-e",
    },
];

/// The first of them.
pub const PYTHON: &Language = &LANGUAGES[0];

impl Language {
    /// The interpreter itself, not a shim; `None` if there is none on this machine.
    pub fn interpreter(&self, bench: &Bench) -> anyhow::Result<Option<PathBuf>> {
        let Some(path) = bench.find(self.interpreter) else { return Ok(None) };
        let Some((option, question)) = self.question else { return Ok(Some(path)) };
        let asked = Command::new(&path).args([option, question]).env("PATH", &bench.options.path).output();
        let answer = asked.with_context(|| format!("start {}", path.display()))?;
        let said = String::from_utf8(answer.stdout)?;
        ensure!(answer.status.success() && !said.trim().is_empty(), "{} does not run", path.display());
        Ok(Some(PathBuf::from(said.trim())))
    }

    /// The command line of the bare interpreter.
    pub fn bare(&self, bench: &Bench) -> anyhow::Result<Option<Spawn>> {
        let words = |path: PathBuf| vec![path.into(), self.option.into(), self.code.into()];
        Ok(self
            .interpreter(bench)?
            .map(|path| Spawn { words: words(path), path: bench.options.path.clone() }))
    }
}

/// A bare Python whose site packages take longer than this at each start is no fair one: Debian's takes two or three milliseconds.
const SITE_MS_USUAL: f64 = 6.0;
/// How often each is started; the least of these counts.
const ASKED: usize = 7;

/// Which Python the bare one is, and whether packages of this machine make each of its starts slow, which would flatter us.
pub fn about_python(bench: &Bench) -> anyhow::Result<Option<String>> {
    let Some(python) = PYTHON.interpreter(bench)? else { return Ok(None) };
    let spawn = |options: &[&str]| {
        let words = std::iter::once(python.clone().into()).chain(options.iter().map(Into::into)).collect();
        Spawn { words, path: bench.options.path.clone() }
    };
    let (whole, bare) = (spawn(&["-c", PYTHON.code]), spawn(&["-S", "-c", PYTHON.code]));
    let times = in_turns(ASKED, 1, &mut [&mut || whole.time(), &mut || bare.time()])?;
    let site = times[0].least().zip(times[1].least()).map(|(whole, bare)| whole - bare);
    let name = format!("bare python3 is {}", python.display());
    Ok(Some(match site {
        Some(site) if site > SITE_MS_USUAL => format!(
            "{name}: NOT A FAIR ONE, its site packages take {site:.1} ms of each start, and no sandbox has them; put another first on PATH"
        ),
        _ => name,
    }))
}

/// A program to be started and waited for.
#[derive(Debug, Clone)]
pub struct Spawn {
    /// Program and arguments.
    pub words: Vec<OsString>,
    /// The search path, and all of its environment.
    pub path: OsString,
}

impl Spawn {
    /// Starts it with nothing to read, waits for its end, and makes sure that it printed 1; how long that took.
    pub fn time(&self) -> anyhow::Result<Duration> {
        let (program, arguments) = self.words.split_first().context("a program")?;
        let started = Instant::now();
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {}", program.display()))?;
        let took = started.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && output.stdout == b"1\n",
            "{}: {}: {}",
            program.display(),
            output.status,
            said.trim()
        );
        Ok(took)
    }

    /// The same with these words before it.
    pub fn behind(&self, words: &[&OsStr]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).chain(self.words.iter().cloned()).collect();
        Self { words, path: self.path.clone() }
    }
}
