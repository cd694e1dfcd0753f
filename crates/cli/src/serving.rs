//! Who serves a data directory, as a file in it says; and the token of a service that is one person's, which lies elsewhere.

use crate::local::Place;
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Says who serves a data directory, and where; in it.
pub const SERVER_FILE: &str = "server.json";
/// How long a connection to this machine may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Who serves a data directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Serving {
    /// Its process.
    pub pid: u32,
    /// When that was started, in ticks since the machine was (proc_pid_stat(5)): with it the number is never another's.
    pub started: u64,
    /// Where it listens.
    pub address: SocketAddr,
    /// The image that its runs see.
    pub image: String,
    /// Which fireclay it is.
    #[serde(default)]
    pub version: String,
    /// Where its token lies, if it is a local server.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// What a local server writes where only its user can read.
#[derive(Debug, Serialize, Deserialize)]
pub struct Secret {
    /// As in [`Serving`].
    pub pid: u32,
    /// As in [`Serving`].
    pub started: u64,
    /// Where it listens.
    pub url: String,
    /// What its user's programs send as their key.
    pub token: String,
}

impl Serving {
    /// What this process says of itself.
    pub fn here(address: SocketAddr, image: String, token_file: Option<PathBuf>) -> Self {
        let pid = std::process::id();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { pid, started: started(pid).unwrap_or_default(), address, image, version, token_file }
    }

    /// Reads what was said in a data directory by a service that still lives. Of one that was killed the file is left, and anybody may
    /// listen where it did.
    pub fn read(data: &Path) -> Option<Self> {
        let text = std::fs::read(data.join(SERVER_FILE)).ok()?;
        let serving: Self = serde_json::from_slice(&text).ok()?;
        serving.lives().then_some(serving)
    }

    /// The one that answers at a data directory.
    pub fn answering(data: &Path) -> Option<Self> {
        let serving = Self::read(data)?;
        TcpStream::connect_timeout(&serving.address, CONNECT).ok()?;
        Some(serving)
    }

    /// Whether its process is there.
    pub fn lives(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Its address as clients name it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token of a local server, if this user owns it: what lies there must be this process's own, and nobody else's to write or read.
    pub fn token(&self) -> Option<String> {
        let path = self.token_file.as_deref()?;
        let text = Place::at(path.parent()?).and_then(|place| place.read(path.file_name()?.as_ref()).ok())?;
        let secret: Secret = serde_json::from_slice(&text).ok()?;
        (secret.pid == self.pid && secret.started == self.started).then_some(secret.token)
    }
}

/// When a process was started, if there is one of this number that has not ended.
pub fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything. After it comes the state; the 22nd field is the 19th after that.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    // A zombie waits for its parent, and does nothing else.
    let ended = matches!(fields.next()?, "Z" | "X");
    fields.nth(18).filter(|_| !ended)?.parse().ok()
}
