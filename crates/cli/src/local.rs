//! The local server: one for each user and data directory, started by whoever needs it first, gone when nobody does.
//!
//! A service that was started by hand (`fireclay serve`) is used in its place: it has the data directory. Else whoever holds the lock
//! looks again, and starts one in a session of its own, so that it outlives the terminal. It writes its token into a directory that is
//! its user's alone ([`Place`]), its address into the data directory ([`Serving`]), and takes both away as soon as it takes in nothing
//! more: from then on the next one may start, and waits until the data directory is free.

mod place;

use crate::commands::image::ensure;
use crate::env::Settings;
use crate::serving::{Secret, Serving, started};
use anyhow::Context;
pub use place::Place;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a local server writes to standard error; in the data directory, of the last one only.
pub const LOG_FILE: &str = "local.log";
/// How long a server may take to end: as long as its runs may go on, and then some.
const ENDING_S: i64 = 60;
/// What is told of the log of a server that did not start.
const LOG_BYTES_TOLD: usize = 2000;

/// The service of the data directory: the one that runs, or a local server that is started now. Waits until it answers.
pub fn start(settings: &Settings) -> anyhow::Result<Serving> {
    start_at(settings, None)
}

/// As [`start`]; one that is started now listens there, if an address is said.
pub fn start_at(settings: &Settings, address: Option<SocketAddr>) -> anyhow::Result<Serving> {
    if let Some(serving) = Serving::answering(&settings.data).filter(|serving| !is_outdated(serving)) {
        return Ok(serving);
    }
    // It may have to be made first, which people want to see.
    drop(ensure(worker::image::DEFAULT_NAME, settings)?);
    let place = Place::make(&settings.runtime)?;
    let _turn =
        place.lock(&name_of(&settings.data, "lock")?).context("wait for our turn to start a server")?;
    match Serving::answering(&settings.data) {
        Some(serving) if is_outdated(&serving) => stop(&serving).context("end an older local server")?,
        Some(serving) => return Ok(serving),
        None => {}
    }
    launch(settings, address)
}

/// Ends a local server in order: its runs go on for as long as they may.
pub fn stop(serving: &Serving) -> anyhow::Result<()> {
    let pid = i32::try_from(serving.pid).ok().and_then(Pid::from_raw).context("a process has a number")?;
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    // Only now is the number surely the process that was looked at.
    if !serving.lives() {
        return Ok(());
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("end process {pid:?}")),
    }
    let patience = Timespec { tv_sec: ENDING_S, tv_nsec: 0 };
    let mut waits = [PollFd::new(&process, PollFlags::IN)];
    let ended = retry_on_intr(|| poll(&mut waits, Some(&patience))).context("wait for its end")?;
    anyhow::ensure!(ended == 1, "process {} does not end", serving.pid);
    Ok(())
}

/// Whether it is a local server of an older fireclay than this. Another's service is never ours to end.
fn is_outdated(serving: &Serving) -> bool {
    serving.token_file.is_some() && numbers(&serving.version) < numbers(env!("CARGO_PKG_VERSION"))
}

/// The numbers of a version, which order it.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

/// Starts a server and waits until it listens, or has ended.
fn launch(settings: &Settings, address: Option<SocketAddr>) -> anyhow::Result<Serving> {
    let data = std::path::absolute(&settings.data).context("where the data directory is")?;
    let log = data.join(LOG_FILE);
    let mut options = File::options();
    let to = options.create(true).write(true).truncate(true).mode(0o600).open(&log);
    let to = to.with_context(|| format!("open {}", log.display()))?;
    let mut child = Command::new("/proc/self/exe")
        .args(["serve", "--local", "--data"])
        .arg(&data)
        .args(address.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(to)
        .spawn()
        .context("start a local server")?;
    let stdout = child.stdout.take().context("a server without output")?;
    let listens = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.contains("http://"));
    if listens {
        return Serving::read(&data).context("the local server ended as soon as it was started");
    }
    let status = child.wait().context("wait for the local server")?;
    let said = std::fs::read(&log).unwrap_or_default();
    let told = String::from_utf8_lossy(&said[said.len().saturating_sub(LOG_BYTES_TOLD)..]).into_owned();
    anyhow::bail!("the local server did not start ({status}): {}", told.trim())
}

/// The file of a data directory in the place: by what it is, whatever path leads there.
fn name_of(data: &Path, kind: &str) -> anyhow::Result<PathBuf> {
    let meta = std::fs::metadata(data).with_context(|| format!("look at {}", data.display()))?;
    Ok(PathBuf::from(format!("{:x}-{:x}.{kind}", meta.dev(), meta.ino())))
}

/// What a local server leaves for its user's programs, from when it listens until it takes in nothing more.
pub struct Registration {
    place: Place,
    name: PathBuf,
}

impl Registration {
    /// Of the server of this data directory. Nothing is written yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let name = name_of(&settings.data, "json")?;
        Ok(Self { place: Place::make(&settings.runtime)?, name })
    }

    /// Where the token lies.
    pub fn token_file(&self) -> PathBuf {
        self.place.path_of(&self.name)
    }

    /// Tells the token.
    pub fn write(&self, address: std::net::SocketAddr, token: &str) -> std::io::Result<()> {
        let pid = std::process::id();
        let (url, token) = (format!("http://{address}"), token.to_owned());
        let secret = Secret { pid, started: started(pid).unwrap_or_default(), url, token };
        self.place.write(&self.name, &serde_json::to_vec(&secret)?)
    }

    /// Takes it back.
    pub fn remove(&self) {
        if let Err(error) = self.place.remove(&self.name) {
            eprintln!("fireclay: remove {}: {error}", self.token_file().display());
        }
    }
}

/// A token that nobody guesses: 256 bits.
pub fn new_token() -> anyhow::Result<String> {
    let hex = |bytes: [u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(format!("local_{}{}", hex(sys::fs::random()?), hex(sys::fs::random()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert!(numbers("0.9.0") < numbers("0.10.0"));
        assert!(numbers("0.1.0-rc1") == numbers("0.1.0") && numbers("") < numbers("0.0.1"));
        assert!(numbers("1.0.0") > numbers("0.99.9"));
    }
}
