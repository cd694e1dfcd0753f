//! Control groups, version 1 or 2: one leaf per sandbox, made before its processes and removed after them.
//!
//! Version 1: one directory per controller below the caller's own; a process joins by writing `0` to a `tasks` file that the
//! supervisor opened (no lock, works after the fork). Version 2: one directory, joined atomically by `clone3`.

use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

mod detect;
mod ice;
mod job;

pub use ice::Ice;

/// Where leaves can be made.
#[derive(Debug, Clone)]
pub enum Tree {
    /// A directory for each of the three controllers.
    V1 {
        /// Controller `memory`.
        memory: PathBuf,
        /// Controller `pids`.
        pids: PathBuf,
        /// Controller `cpu`.
        cpu: PathBuf,
    },
    /// One directory whose children have all three.
    V2 {
        /// The directory.
        parent: PathBuf,
    },
}

/// What a leaf holds its processes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CgroupLimits {
    /// The kernel's wall: memory and files on tmpfs together.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Processor time as a rate.
    pub cpus: f64,
}

/// The period over which processor time is shared out: long enough that an interpreter's start is one burst.
const CPU_PERIOD_US: u64 = 100_000;

/// Weight against everything else on the machine, of which 100 is usual: a sandbox gives way to its supervisor.
const CPU_WEIGHT: u64 = 50;
/// The weight of one whose run takes long, against those that begin.
const LONG_CPU_WEIGHT: u64 = CPU_WEIGHT / 10;

impl Tree {
    /// Finds where the caller may make control groups with memory, process and processor limits.
    pub fn detect() -> Result<Tree, String> {
        let mounts = sys::fs::read_kernel_file(c"/proc/self/mountinfo")
            .map_err(|error| format!("mountinfo: {error}"))?;
        let own =
            sys::fs::read_kernel_file(c"/proc/self/cgroup").map_err(|error| format!("cgroup: {error}"))?;
        detect::v1(&mounts, &own)
            .or_else(|v1| detect::v2(&mounts, &own).map_err(|v2| format!("version 1: {v1}; version 2: {v2}")))
    }

    /// Makes a leaf named `name` with its limits set.
    pub fn leaf(&self, name: &str, limits: &CgroupLimits) -> io::Result<Leaf> {
        let directories = match self {
            Self::V1 { memory, pids, cpu } => vec![memory.join(name), pids.join(name), cpu.join(name)],
            Self::V2 { parent } => vec![parent.join(name)],
        };
        Leaf::make(directories, self.version(), limits)
    }

    /// 1 or 2.
    pub fn version(&self) -> u8 {
        match self {
            Self::V1 { .. } => 1,
            Self::V2 { .. } => 2,
        }
    }

    /// Removes leaves whose maker was killed before it could: their names say who made them. Returns how many were removed.
    ///
    /// One that still has processes is left; those die with their maker, and the next sweep finds it empty.
    pub fn sweep(&self) -> usize {
        let parents = match self {
            Self::V1 { memory, pids, cpu } => vec![memory, pids, cpu],
            Self::V2 { parent } => vec![parent],
        };
        let entries = parents.into_iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
        let orphaned = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_orphaned));
        orphaned.filter(|entry| remove_with_children(&entry.path()).is_ok()).count() + Ice::sweep()
    }
}

/// What every leaf's name begins with.
const LEAF_PREFIX: &str = "fireclay-";

/// A name for a leaf that no other on this machine has: who makes it, since when that process runs, and which of its leaves it is.
pub fn leaf_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static MAKER: Mutex<(u32, u64)> = Mutex::new((0, 0));
    let pid = std::process::id();
    let mut maker = MAKER.lock().unwrap_or_else(PoisonError::into_inner);
    // A clone of the maker is another one.
    if maker.0 != pid {
        *maker = (pid, start_time(pid).unwrap_or(0));
    }
    let start = maker.1;
    format!("{LEAF_PREFIX}{pid}-{start}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether this is a leaf of a process that is no more.
fn is_orphaned(name: &str) -> bool {
    let mut numbers =
        name.strip_prefix(LEAF_PREFIX).into_iter().flat_map(|rest| rest.split('-')).map(str::parse::<u64>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(pid)), Some(Ok(start)), Some(Ok(_))) => {
            u32::try_from(pid).ok().and_then(start_time) != Some(start)
        }
        _ => false,
    }
}

/// When a process started, in clock ticks since the machine did: field 22 of `stat` (proc(5)); the name before it may hold anything.
/// One that is dead and not reaped has not.
fn start_time(pid: u32) -> Option<u64> {
    let path = CString::new(format!("/proc/{pid}/stat")).ok()?;
    let text = sys::fs::read_kernel_file(&path).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// One sandbox's control group. Removed when dropped; its processes must be gone by then.
#[derive(Debug)]
pub struct Leaf {
    directories: Vec<PathBuf>,
    version: u8,
    limits: CgroupLimits,
    files: Option<Files>,
    /// What it had counted before its present sandbox.
    before: Counters,
}

/// A leaf that is charged with more than this when it is empty is not used again: what a sandbox uses must be its own. The kernel
/// charges in batches of 64 pages for each processor (`MEMCG_CHARGE_BATCH`).
const REMAINDER_BYTES: u64 = 64 * 4096 * 2;

/// The files that are read of every leaf, opened while nobody waits.
#[derive(Debug)]
struct Files {
    usage: fs::File,
    /// `memory.peak` is there from Linux 5.19 on.
    peak: Option<fs::File>,
    kills: fs::File,
    refusals: fs::File,
    processes: fs::File,
}

/// What a leaf counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Most memory at once, tmpfs included.
    pub memory_peak_bytes: u64,
    /// How many processes the kernel killed for memory.
    pub oom_kills: u64,
    /// How often a new process was refused.
    pub process_refusals: u64,
}

impl Leaf {
    fn make(directories: Vec<PathBuf>, version: u8, limits: &CgroupLimits) -> io::Result<Self> {
        let mut leaf = Leaf {
            directories: Vec::new(),
            version,
            limits: *limits,
            files: None,
            before: Counters::default(),
        };
        for directory in directories {
            fs::create_dir(&directory)?;
            // Registered as soon as it exists: a failure further on removes it by `Drop`.
            leaf.directories.push(directory);
        }
        match version {
            1 => leaf.limit_v1(limits)?,
            _ => leaf.limit_v2(limits)?,
        }
        leaf.files = Some(leaf.open_files()?);
        Ok(leaf)
    }

    /// 1 or 2.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Descriptors through which a process joins by writing `0`: one per controller in version 1, one in version 2. The right to do
    /// so is that of the opener (for version 2 since Linux 5.16).
    pub fn join_descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let file = if self.version == 1 { "tasks" } else { "cgroup.procs" };
        self.directories
            .iter()
            .map(|directory| Ok(fs::File::options().write(true).open(directory.join(file))?.into()))
            .collect()
    }

    /// Version 2: the directory, for `clone3`.
    pub fn directory(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.directories[0], flags, Mode::empty())?)
    }

    /// Memory in use now, tmpfs and file cache included.
    pub fn memory_bytes(&self) -> io::Result<u64> {
        parse_number(&read_small(&self.files()?.usage)?)
    }

    /// Processes and threads in it now, those included that are dead and not waited for.
    pub fn processes(&self) -> io::Result<u64> {
        parse_number(&read_small(&self.files()?.processes)?)
    }

    /// File cache in use now: what the kernel could take back without asking.
    pub fn file_cache_bytes(&self) -> io::Result<u64> {
        let prefix = if self.version == 1 { "total_" } else { "" };
        // Asked up to a thousand times a second where code lives on file cache.
        let path = CString::new(self.memory("memory.stat").into_os_string().into_vec())?;
        let text =
            sys::fs::read_kernel_file(&path).map_err(|error| io::Error::from_raw_os_error(error.errno))?;
        let field = |name: &str| keyed(&text, &format!("{prefix}{name}"));
        Ok(field("inactive_file") + field("active_file"))
    }

    /// What was counted so far.
    pub fn counters(&self) -> io::Result<Counters> {
        let files = self.files()?;
        let text = |file| read_small(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Counters {
            // Where the kernel does not keep the peak, what is in use now is the best that can be said.
            memory_peak_bytes: parse_number(&read_small(files.peak.as_ref().unwrap_or(&files.usage))?)?,
            oom_kills: keyed(&text(&files.kills)?, "oom_kill").saturating_sub(self.before.oom_kills),
            process_refusals: keyed(&text(&files.refusals)?, "max")
                .saturating_sub(self.before.process_refusals),
        })
    }

    /// Makes it ready for another sandbox with the same limits, where it is as good as a new one: empty, nothing charged to it, no
    /// limit lifted, its peak forgotten. Else `None`, and it is removed.
    pub fn renewed(mut self, limits: &CgroupLimits) -> Option<Self> {
        match self.renew(limits) {
            Ok(true) => Some(self),
            _ => None,
        }
    }

    fn renew(&mut self, limits: &CgroupLimits) -> io::Result<bool> {
        // Version 2 forgets a peak only for one reader (cgroup-v2.rst, memory.peak).
        if self.version != 1 || self.limits != *limits || self.processes()? > 0 {
            return Ok(false);
        }
        write(&self.memory("memory.max_usage_in_bytes"), 0)?;
        let counters = self.counters()?;
        self.before.oom_kills += counters.oom_kills;
        self.before.process_refusals += counters.process_refusals;
        Ok(self.memory_bytes()? <= REMAINDER_BYTES)
    }

    fn files(&self) -> io::Result<&Files> {
        self.files.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_files(&self) -> io::Result<Files> {
        let (usage, peak, kills) = if self.version == 1 {
            ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")
        } else {
            ("memory.current", "memory.peak", "memory.events")
        };
        let pids = &self.directories[usize::from(self.version == 1)];
        Ok(Files {
            usage: fs::File::open(self.memory(usage))?,
            peak: fs::File::open(self.memory(peak)).ok(),
            kills: fs::File::open(self.memory(kills))?,
            refusals: fs::File::open(pids.join("pids.events"))?,
            processes: fs::File::open(pids.join("pids.current"))?,
        })
    }

    /// Gives the group a tenth of its weight: where the processors are not enough for all, others have them first.
    pub fn give_way(&mut self) -> io::Result<()> {
        // As below: nothing gives it back.
        self.limits.cpus = f64::INFINITY;
        match self.directories.as_slice() {
            [_, _, cpu] => write(&cpu.join("cpu.shares"), shares(LONG_CPU_WEIGHT)),
            [leaf] => write(&leaf.join("cpu.weight"), LONG_CPU_WEIGHT),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Takes the processor limit away, and gives the group the most weight there is: processes that are killed need time to die,
    /// which a throttled group cannot give them, nor one of little weight where the machine has other work.
    pub fn lift_processor_limit(&mut self) -> io::Result<()> {
        // It is not what it was made as any more.
        self.limits.cpus = f64::INFINITY;
        match self.directories.as_slice() {
            [_, _, cpu] => {
                fs::write(cpu.join("cpu.cfs_quota_us"), "-1")?;
                fs::write(cpu.join("cpu.shares"), "262144")
            }
            [leaf] => {
                fs::write(leaf.join("cpu.max"), "max")?;
                fs::write(leaf.join("cpu.weight"), "10000")
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Removes the leaf. Fails while a process is in it.
    pub fn remove(mut self) -> io::Result<()> {
        while let Some(directory) = self.directories.last() {
            fs::remove_dir(directory)?;
            self.directories.pop();
        }
        Ok(())
    }

    fn memory(&self, file: &str) -> PathBuf {
        self.directories[0].join(file)
    }

    fn limit_v1(&self, limits: &CgroupLimits) -> io::Result<()> {
        let [memory, pids, cpu] = self.directories.as_slice() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        write(&memory.join("memory.limit_in_bytes"), limits.memory_bytes)?;
        // Absent when the kernel does not account swap; then there is none to be had either.
        match write(&memory.join("memory.memsw.limit_in_bytes"), limits.memory_bytes) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write(&pids.join("pids.max"), limits.processes)?;
        write(&cpu.join("cpu.shares"), shares(CPU_WEIGHT))?;
        write(&cpu.join("cpu.cfs_period_us"), CPU_PERIOD_US)?;
        write(&cpu.join("cpu.cfs_quota_us"), cpu_quota_us(limits.cpus))
    }

    fn limit_v2(&self, limits: &CgroupLimits) -> io::Result<()> {
        let leaf = &self.directories[0];
        write(&leaf.join("memory.max"), limits.memory_bytes)?;
        match write(&leaf.join("memory.swap.max"), 0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write(&leaf.join("memory.oom.group"), 0)?;
        write(&leaf.join("pids.max"), limits.processes)?;
        write(&leaf.join("cpu.weight"), CPU_WEIGHT)?;
        fs::write(leaf.join("cpu.max"), format!("{} {CPU_PERIOD_US}", cpu_quota_us(limits.cpus)))
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        for directory in self.directories.drain(..).rev() {
            if let Err(error) = fs::remove_dir(&directory) {
                // Last resort: the owner did not call `remove`. The sweep at the next start finds it by its name.
                drop(writeln!(
                    io::stderr(),
                    "fireclay: remove control group {}: {error}",
                    directory.display()
                ));
            }
        }
    }
}

/// A weight as version 1 says it, where 1024 is usual.
fn shares(weight: u64) -> u64 {
    weight * 1024 / 100
}

fn cpu_quota_us(cpus: f64) -> u64 {
    // 1 ms is the least the kernel takes (sched-bwc).
    ((cpus * CPU_PERIOD_US as f64) as u64).max(1_000)
}

fn write(path: &Path, value: u64) -> io::Result<()> {
    // No creation: a control file that is not there must be an error, not a new file.
    fs::File::options().write(true).open(path)?.write_all(value.to_string().as_bytes())
}

/// Reads a control file that is far below a kilobyte, from its start.
fn read_small(file: &fs::File) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 1024];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(buffer[..length].to_vec())
}

fn parse_number(text: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(text).unwrap_or_default().trim();
    text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Removes a group and the groups of jobs below it.
fn remove_with_children(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir(entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// The value of a line `key value`; 0 when there is none.
fn keyed(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leaves_of_the_dead_are_orphans() {
        assert!(!is_orphaned(&leaf_name()));
        assert!(
            is_orphaned(&format!("fireclay-{}-1-0", std::process::id())),
            "another process with our number"
        );
        assert!(is_orphaned("fireclay-4194304-77-3"), "no process has this number");
        for other in ["fireclay", "fireclay-", "fireclay-x-1-2", "user.slice"] {
            assert!(!is_orphaned(other), "{other}");
        }
    }

    #[test]
    fn keyed_files_are_read_by_the_whole_key() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
        assert_eq!(keyed(text, "oom_kill"), 7);
        assert_eq!(keyed(text, "absent"), 0);
    }
}
