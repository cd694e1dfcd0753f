//! What there is on the machine that could have been left behind. Each half is exact where it looks: the driver counts its own,
//! the test looks for what carries the marks of a sandbox.

use sandbox::cgroup::Tree;
use sandbox::host::Host;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// First user id that sandboxes made by root have (`Outside` in the engine).
const SANDBOX_UID_BASE: u32 = 1_900_000_000;

/// What one process holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Open descriptors, by number and what they are.
    pub descriptors: BTreeSet<String>,
    /// Children, living and unreaped.
    pub children: BTreeSet<String>,
    /// Mounts in its namespace.
    pub mounts: BTreeSet<String>,
}

impl Own {
    /// Counts the calling process. It must have one thread.
    pub fn take() -> Self {
        let lines =
            |path: &str| fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect();
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        Self {
            descriptors: descriptors(),
            children: children.split_whitespace().map(str::to_owned).collect(),
            mounts: lines("/proc/self/mountinfo"),
        }
    }

    /// What is here and was not there.
    pub fn since(&self, before: &Own) -> Vec<String> {
        let new = |what: &str, now: &BTreeSet<String>, then: &BTreeSet<String>| -> Vec<String> {
            now.difference(then).map(|thing| format!("{what} {thing}")).collect()
        };
        [
            new("descriptor", &self.descriptors, &before.descriptors),
            new("child", &self.children, &before.children),
            new("mount", &self.mounts, &before.mounts),
        ]
        .concat()
    }
}

fn descriptors() -> BTreeSet<String> {
    let entries =
        fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    // The listing's own descriptor is closed by the time its link is read.
    entries
        .filter_map(|path| {
            Some(format!("{} {}", path.file_name()?.display(), fs::read_link(&path).ok()?.display()))
        })
        .collect()
}

/// The most memory the caller ever had resident.
pub fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// How often the calling thread has read anything, and how many bytes (proc(5)). Its process's count would have that of its children
/// in it.
pub fn reads() -> (u64, u64) {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap_or_default();
    let count = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0);
    (count("syscr: "), count("rchar: "))
}

/// What the driver saw of itself around a run; the last line of its standard error.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// What the run left in the driver.
    pub left: Vec<String>,
    /// Its peak memory.
    pub peak_bytes: u64,
    /// How often it read anything.
    pub reads: u64,
    /// How many bytes that were: what the program wrote and said, kept or not.
    pub read_bytes: u64,
    /// The whole run with building and settling, in milliseconds.
    pub whole_ms: u64,
}

/// Has processes that outlive a sandbox become children of the caller, so that [`Own`] counts them.
pub fn adopt_orphans() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("anyone may be a subreaper");
}

/// Ends and reaps all children, and theirs, which become ours when their parents end.
pub fn bury_children() {
    loop {
        let children = Own::take().children;
        if children.is_empty() {
            return;
        }
        let users: BTreeSet<u32> = children.iter().filter_map(|pid| user_of(pid)).collect();
        users.into_iter().filter(|uid| *uid >= SANDBOX_UID_BASE).for_each(end_all_of);
        for pid in children.iter().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is our child");
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
                .expect("it is our child");
        }
    }
}

fn user_of(pid: &str) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid())
}

/// Ends every process of a sandbox's user at once, which is what ends those that are never there when they are killed one by one.
fn end_all_of(uid: u32) {
    let mut command = std::process::Command::new("sh");
    // `kill(2)` with -1: all but the caller.
    let status = command.args(["-c", "kill -9 -1"]).uid(uid).gid(uid).status().expect("there is a shell");
    assert!(status.success(), "kill all of {uid}: {status}");
}

/// Control groups of this name that still exist.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    trees().into_iter().map(|parent| parent.join(name)).filter(|path| path.exists()).collect()
}

/// Control groups that this process made for its sandboxes, in each hierarchy.
pub fn cgroups_of(process: u32) -> Vec<PathBuf> {
    let prefix = format!("fireclay-{process}-");
    let own =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    trees().iter().flat_map(|tree| list(tree)).filter(own).collect()
}

/// Where control groups of sandboxes are made, a directory for each controller.
fn trees() -> Vec<PathBuf> {
    match Host::detect().cgroups {
        Ok(Tree::V1 { memory, pids, cpu }) => vec![memory, pids, cpu],
        Ok(Tree::V2 { parent }) => vec![parent],
        Err(_) => Vec::new(),
    }
}

/// A control group of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Where it is.
    pub path: PathBuf,
    /// The process that made it, living or dead.
    pub maker: rustix::process::Pid,
}

impl Leaf {
    /// Whether nobody is left to remove it.
    pub fn is_orphaned(&self) -> bool {
        let text =
            fs::read_to_string(format!("/proc/{}/stat", self.maker.as_raw_nonzero())).unwrap_or_default();
        // After the name in brackets comes the state (proc(5)).
        let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        matches!(state, None | Some('Z' | 'X'))
    }
}

/// The control groups that nobody uses and nobody is left to remove. A test beside this one may have killed a service whose
/// processes still end, and theirs cannot be removed yet: those are not among them.
pub fn abandoned() -> Vec<Leaf> {
    leaves().into_iter().filter(|leaf| leaf.is_orphaned() && is_empty(&leaf.path)).collect()
}

/// Whether no process is in a control group or in one below it; false of one that is gone.
fn is_empty(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
        && list(group).iter().filter(|entry| entry.is_dir()).all(|child| is_empty(child))
}

/// Every control group of a sandbox on this machine.
pub fn leaves() -> Vec<Leaf> {
    let leaf = |path: PathBuf| {
        let maker = path.file_name()?.to_str()?.strip_prefix("fireclay-")?.split('-').next()?.parse().ok()?;
        Some(Leaf { maker: rustix::process::Pid::from_raw(maker)?, path })
    };
    trees().iter().flat_map(|tree| list(tree)).filter_map(leaf).collect()
}

/// Files in places that anyone may write to which belong to a sandbox's user or have a name that attacks give theirs, and what lies
/// in the data directory.
pub fn files(data: &Path) -> BTreeSet<PathBuf> {
    let places = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/"].map(PathBuf::from);
    let marked = places.iter().flat_map(|place| list(place)).filter(|path| {
        let foreign = fs::symlink_metadata(path).is_ok_and(|meta| meta.uid() >= SANDBOX_UID_BASE);
        foreign || path.file_name().is_some_and(|name| name.to_string_lossy().contains("PWNED"))
    });
    marked.chain(list(data)).chain(list(&data.join("images"))).collect()
}

fn list(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}
