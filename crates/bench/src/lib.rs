//! `fireclay bench`: how fast this machine runs code in sandboxes, beside the bare interpreter and other sandboxes.
//!
//! Everything that is compared is measured in turns in one run: machines are noisy, and noise then hits all alike. So ratios say more
//! than times. Errors are for the person at the keyboard, as in `cli` and `xtask`: `anyhow`.

pub mod client;
pub mod processes;
pub mod report;
pub mod service;
pub mod times;

mod engine;
mod interpreters;
mod machine;
mod python_data;
mod rivals;
mod scenarios;

pub use machine::machine;

use crate::client::Address;
use crate::report::Table;
use crate::service::Service;
use anyhow::Context;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tempfile::TempDir;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Whole processes of `fireclay run`.
    Cold,
    /// Requests to a service.
    Warm,
    /// Other ways to run code apart from oneself.
    Rivals,
    /// What a sandbox that waits takes.
    Memory,
    /// What each layer of isolation costs.
    Layers,
    /// How far a run is above a plain fork.
    Fork,
    /// Many mixed programs at once.
    Batch,
    /// Sandboxes that stay.
    Sessions,
    /// Packages that runs ask for.
    Packages,
}

impl Scenario {
    /// All, in the order in which they are measured.
    pub const ALL: [Scenario; 9] = [
        Self::Cold,
        Self::Warm,
        Self::Rivals,
        Self::Memory,
        Self::Layers,
        Self::Fork,
        Self::Batch,
        Self::Sessions,
        Self::Packages,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Rivals => "rivals",
            Self::Memory => "memory",
            Self::Layers => "layers",
            Self::Fork => "fork",
            Self::Batch => "batch",
            Self::Sessions => "sessions",
            Self::Packages => "packages",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no scenario of this name.
#[derive(Debug)]
pub struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no scenario {:?}", self.0)
    }
}

impl std::error::Error for Unknown {}

impl FromStr for Scenario {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.ok_or_else(|| Unknown(name.to_owned()))
    }
}

/// What to measure, and with what.
#[derive(Debug)]
pub struct Options {
    /// What to measure; none means all.
    pub scenarios: Vec<Scenario>,
    /// How often each thing is done by one client.
    pub rounds: usize,
    /// How long many clients keep at it, and as long the bare interpreters.
    pub seconds: u64,
    /// A service to measure in place of one of our own.
    pub service: Option<Address>,
    /// This binary.
    pub program: PathBuf,
    /// The data directory whose default image is used, with a directory `rivals` if there are any. It is built already.
    pub data: PathBuf,
    /// Where interpreters and rivals are looked for.
    pub path: OsString,
}

/// Measures; `show` is given each table as soon as it is there.
pub fn run(options: Options, show: &mut dyn FnMut(&Table)) -> anyhow::Result<()> {
    let bench = Bench::new(options)?;
    for scenario in Scenario::ALL {
        if bench.options.scenarios.is_empty() || bench.options.scenarios.contains(&scenario) {
            let tables = scenarios::measure(scenario, &bench);
            tables.with_context(|| format!("measure {scenario}"))?.iter().for_each(&mut *show);
        }
    }
    Ok(())
}

/// What is linked from the user's data directory: what runs see and what is brought for them, and nothing that they leave.
const LINKED: [&str; 3] = ["images", "environments", "tools"];

/// What every scenario is given.
struct Bench {
    options: Options,
    /// Holds data directories of services and of one-shot runs; goes when all is measured.
    scratch: TempDir,
}

impl Bench {
    fn new(options: Options) -> anyhow::Result<Self> {
        // Beside the user's data: what is measured lies on the same file system as what is used.
        let scratch = TempDir::with_prefix_in("bench-", &options.data);
        let scratch = scratch.with_context(|| format!("make a directory in {}", options.data.display()))?;
        Ok(Self { options, scratch })
    }

    /// A data directory of its own, with the user's images.
    fn data(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.scratch.path().join(name);
        if !directory.exists() {
            std::fs::create_dir(&directory)?;
            for linked in LINKED {
                let from = self.options.data.join(linked);
                if from.exists() {
                    std::os::unix::fs::symlink(std::path::absolute(from)?, directory.join(linked))?;
                }
            }
        }
        Ok(directory)
    }

    /// The service that was named, else one of our own.
    fn service(&self) -> anyhow::Result<Service> {
        match &self.options.service {
            Some(address) => Ok(Service::at(address.clone())),
            None => self.own_service("service", &[]),
        }
    }

    /// A service of our own with these settings.
    fn own_service(&self, name: &str, settings: &[&str]) -> anyhow::Result<Service> {
        Service::start(&self.options.program, &self.data(name)?, &self.options.path, settings)
    }

    /// Where rivals that are libraries are installed.
    fn rivals(&self) -> PathBuf {
        self.options.data.join("rivals")
    }

    /// A program on the search path, or where Debian puts those of administrators.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let is_program = |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        std::env::split_paths(&self.options.path)
            .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
            .map(|place| place.join(name))
            .find(|path| path.is_file() && is_program(path))
    }
}

/// Says on standard error what is going on: some of it takes minutes.
fn say(what: &str) {
    eprintln!("bench: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_known_by_their_names() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.to_string().parse::<Scenario>().unwrap(), scenario);
        }
        assert_eq!("hot".parse::<Scenario>().unwrap_err().to_string(), "no scenario \"hot\"");
    }
}
