//! A service to measure: one of our own, started for it and ended after it, or somebody's.

use crate::client::{Address, Client};
use crate::processes::{self, Process, Role};
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take until a service does what it must: nothing that works takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// A tree of processes that used no processor for this long is at rest.
const REST: Duration = Duration::from_millis(300);

/// A running service.
#[derive(Debug)]
pub struct Service {
    address: Address,
    own: Option<Own>,
}

/// One of our own.
#[derive(Debug)]
struct Own {
    process: Child,
    /// Kept open, so that what it prints has somewhere to go.
    _output: BufReader<ChildStdout>,
}

impl Service {
    /// Somebody's.
    pub fn at(address: Address) -> Self {
        Self { address, own: None }
    }

    /// Starts one on this data directory with settings as `NAME=VALUE`. Of our environment it has only the search path.
    pub fn start(program: &Path, data: &Path, path: &OsStr, settings: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg("--data").arg(data).args(["serve", "--listen", "127.0.0.1:0"]);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        command.env_clear().env("PATH", path).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().context("start a service")?;
        let mut output = BufReader::new(process.stdout.take().context("the service's output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Some(host) = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()) else {
            bail!("the service did not say where it listens, and ended with {}", process.wait()?);
        };
        let address = Address { host: host.to_owned(), key: None };
        Ok(Self { address, own: Some(Own { process, _output: output }) })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A new connection to it.
    pub fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(&self.address)
    }

    /// Its process; `None` if it is not ours.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref().map(|own| own.process.id())
    }

    /// Its processes; empty if it is not ours.
    pub fn processes(&self) -> Vec<Process> {
        self.pid().map(processes::tree).unwrap_or_default()
    }

    /// Waits until nothing runs and nothing is built: no process of its tree uses a processor.
    pub fn wait_for_rest(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let used = || self.processes().iter().map(|process| (process.pid, process.ticks)).collect::<Vec<_>>();
        let mut before = used();
        let mut since = Instant::now();
        while since.elapsed() < REST {
            ensure!(Instant::now() < until, "the service does not come to rest: {:?}", self.processes());
            sleep(LOOK);
            let now = used();
            // One tick is what looking after a pool takes now and then.
            let is_at_rest = now.len() == before.len()
                && now.iter().zip(&before).all(|(now, before)| now.0 == before.0 && now.1 <= before.1 + 1);
            if !is_at_rest {
                since = Instant::now();
                before = now;
            }
        }
        Ok(())
    }

    /// Waits until so many sandboxes wait for runs.
    pub fn wait_for_sandboxes(&self, count: usize) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let inits = self.processes().iter().filter(|process| process.role() == Role::Init).count();
            if inits >= count {
                return self.wait_for_rest();
            }
            ensure!(Instant::now() < until, "{inits} sandboxes wait, not {count}");
            sleep(LOOK);
        }
    }

    /// A figure of `/metrics` without labels.
    pub fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let mut client = self.connect()?;
        let answer = client.get("/metrics")?;
        let text = String::from_utf8_lossy(answer.body);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).with_context(|| format!("no {name} in /metrics"))
    }

    /// Sandboxes of one of our own that are there and wait for no run. Of a service at rest that is what runs left.
    pub fn sandboxes_in_use(&self) -> anyhow::Result<usize> {
        let inits = self.processes().iter().filter(|process| process.role() == Role::Init).count();
        Ok(inits.saturating_sub(usize::try_from(self.metric("fireclay_pool_idle")?)?))
    }

    /// Sends a signal to one of our own.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let own = self.own.as_ref().context("the service is not ours")?;
        Ok(kill_process(Pid::from_child(&own.process), signal)?)
    }

    /// Ends one of our own, which lets its runs end, and makes sure that nothing of it is left. Leaves another as it is.
    pub fn end(mut self) -> anyhow::Result<()> {
        let Some(mut own) = self.own.take() else { return Ok(()) };
        let tree = processes::tree(own.process.id());
        kill_process(Pid::from_child(&own.process), Signal::TERM)?;
        let status = own.process.wait()?;
        ensure!(status.success(), "the service ended with {status}");
        let until = Instant::now() + PATIENCE;
        while let Some(left) = tree.iter().find(|process| process.lives()) {
            ensure!(Instant::now() < until, "a process of the service is left: {left:?}");
            sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Service {
    /// Only after a failure; else it was ended.
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        let ended = own.process.kill().and_then(|()| own.process.wait());
        if let Err(error) = ended {
            eprintln!("bench: end the service: {error}");
        }
    }
}
