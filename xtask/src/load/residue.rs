//! What a service could have left on the machine, looked for when it is over.

use super::memory::Memory;
use crate::soak::{files, segments};
use anyhow::{Context, ensure};
use bench::service::Service;
use sandbox::cgroup::Tree;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a service may take to be at rest after its last answer, and the machine to be rid of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Where anyone may write.
const PLACES: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// The machine before the service.
pub struct Before {
    mounts: String,
    segments: usize,
    files: usize,
}

impl Before {
    /// Looks.
    pub fn now() -> anyhow::Result<Self> {
        Ok(Self {
            mounts: fs::read_to_string("/proc/self/mountinfo")?,
            segments: segments()?,
            files: PLACES.iter().map(|place| files(Path::new(place))).sum(),
        })
    }
}

/// Ends the service, and names all that is left of it.
pub fn after(service: Service, data: &Path, before: &Before, memory: &Memory) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    let until = Instant::now() + PATIENCE;
    while service.sandboxes_in_use()? > 0 && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    let sandboxes = service.sandboxes_in_use()?;
    left.extend((sandboxes > 0).then(|| format!("{sandboxes} sandboxes with their programs")));
    for state in ["queued", "running"] {
        let mut client = service.connect()?;
        let answer = client.get(&format!("/v1/runs?state={state}"))?;
        let page: serde_json::Value = serde_json::from_slice(answer.body)?;
        let items = page["items"].as_array().context("a page of runs")?;
        left.extend((!items.is_empty()).then(|| format!("{} runs that are {state}", items.len())));
    }
    let mut keepers = memory.keepers.clone();
    keepers.extend(service.processes().iter().map(|process| process.pid));
    // Fails if a process of it is left.
    service.end()?;
    let incoming = fs::read_dir(data.join("incoming"))?.count();
    left.extend((incoming > 0).then(|| format!("artifacts of {incoming} runs on their way to the store")));
    let groups = groups()?;
    let ours = groups.iter().filter(|group| maker_of(group).is_some_and(|maker| keepers.contains(&maker)));
    left.extend(ours.map(|group| format!("control group {}", group.display())));
    let now = Before::now()?;
    left.extend((now.mounts != before.mounts).then(|| "mounts".to_owned()));
    left.extend((now.segments > before.segments).then(|| "System V segments".to_owned()));
    left.extend((now.files > before.files).then(|| format!("files of sandboxes' users in {PLACES:?}")));
    ensure!(!keepers.is_empty(), "no keeper was ever seen, so nothing is known of control groups");
    Ok(left)
}

/// Every control group of a sandbox on this machine.
fn groups() -> anyhow::Result<Vec<PathBuf>> {
    let parents = match Tree::detect() {
        Ok(Tree::V1 { memory, pids, cpu }) => vec![memory, pids, cpu],
        Ok(Tree::V2 { parent }) => vec![parent],
        Err(_) => Vec::new(),
    };
    let mut found = Vec::new();
    for parent in parents {
        let entries = fs::read_dir(&parent).with_context(|| format!("list {}", parent.display()))?;
        found.extend(entries.flatten().map(|entry| entry.path()));
    }
    Ok(found)
}

/// The process that made a group, by its name: `fireclay-PID-START-NUMBER`.
fn maker_of(group: &Path) -> Option<u32> {
    group.file_name()?.to_str()?.strip_prefix("fireclay-")?.split('-').next()?.parse().ok()
}
