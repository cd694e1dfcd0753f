//! What the code sees of the machine through `/proc`: its own processes, and a few files that programs cannot do without.
//!
//! `subset=pid` would be shorter, but `free`, `ps`, psutil and Node then misreport or fail; so the whole is mounted and every
//! entry that is not on [`VISIBLE`] is covered, whatever names this kernel or its modules add: files that tell of the whole
//! machine by ones that tell of the sandbox, all others by nothing.

use crate::host::Host;
use crate::plan::Needs;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::mount::Attributes;
use sys::{Error, Result};

/// Entries of `/proc` that stay as the kernel makes them; process directories stay as well.
pub const VISIBLE: [&str; 9] = [
    "self",
    "thread-self",
    "mounts",
    "net",
    "cpuinfo",
    "filesystems",
    "uptime",
    "version",
    "sys/kernel/random/uuid",
];

/// Where the image keeps the covers that are the same for every sandbox.
pub const COVERS: &str = "/opt/fireclay/proc";
/// What covers a hidden file, and a hidden directory; both in [`COVERS`].
const EMPTY: &str = "empty";
const NOTHING: &str = "nothing";
/// The one file of `/proc/sys` that cannot be a constant.
const UUID: &str = "sys/kernel/random/uuid";

/// The covers that are the same for every sandbox, as an image must hold them: path below [`COVERS`], and content; `None` is an
/// empty directory. Loads are zero; below `sys` are the constants that programs look up.
pub const CONSTANTS: [(&str, Option<&str>); 15] = [
    (EMPTY, Some("")),
    (NOTHING, None),
    ("loadavg", Some("0.00 0.00 0.00 1/1 2\n")),
    ("swaps", Some("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")),
    ("sys/fs/file-max", Some("9223372036854775807\n")),
    ("sys/fs/nr_open", Some("1048576\n")),
    ("sys/fs/pipe-max-size", Some("1048576\n")),
    ("sys/kernel/cap_last_cap", Some("40\n")),
    ("sys/kernel/ngroups_max", Some("65536\n")),
    ("sys/kernel/ostype", Some("Linux\n")),
    ("sys/kernel/pid_max", Some("4194304\n")),
    // Only there to be mounted on.
    (UUID, Some("")),
    ("sys/net/core/somaxconn", Some("4096\n")),
    ("sys/vm/max_map_count", Some("65530\n")),
    ("sys/vm/overcommit_memory", Some("0\n")),
];

/// The covers that tell of one sandbox: path below `/proc`, content. Memory and processors are the limits, times are zero.
pub fn facts(needs: &Needs, processors: usize, boot_time_s: u64) -> [(&'static CStr, String); 2] {
    let total = needs.limits.memory_bytes / 1024;
    let full = ["MemTotal", "MemFree", "MemAvailable"].map(|name| (name, total));
    let none = [
        "Buffers",
        "Cached",
        "SwapCached",
        "Active",
        "Inactive",
        "SwapTotal",
        "SwapFree",
        "Shmem",
        "SReclaimable",
    ];
    let mut meminfo = String::new();
    for (name, kib) in full.into_iter().chain(none.map(|name| (name, 0))) {
        writeln!(meminfo, "{:<15} {kib:>8} kB", format!("{name}:")).expect("a String takes all");
    }
    let zero = "0 0 0 0 0 0 0 0 0 0";
    let mut stat = format!("cpu  {zero}\n");
    for index in 0..processors {
        writeln!(stat, "cpu{index} {zero}").expect("a String takes all");
    }
    writeln!(stat, "intr 0\nctxt 0\nbtime {boot_time_s}\nprocesses 1\nprocs_running 1\nprocs_blocked 0")
        .expect("a String takes all");
    [(c"meminfo", meminfo), (c"stat", stat)]
}

const HIDDEN: Attributes = Attributes { read_only: true, no_devices: true, no_execution: true };

/// Hides or replaces entries of the process file system at `proc` below the new root, which is the working directory. `scratch`
/// is a place for `facts` that the code will not reach. Returns what is covered now, as `/proc/self/mountinfo` will name it.
pub fn mask(scratch: BorrowedFd<'_>, facts: &[(&CStr, String)]) -> Result<Vec<String>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc =
        rustix::fs::openat(rustix::fs::CWD, c"proc", flags, Mode::empty()).map_err(Error::of("openat"))?;
    let uuid = sys::mount::copy(proc.as_fd(), c"sys/kernel/random/uuid", HIDDEN)?;
    let mut covered = Vec::new();
    for (name, is_directory) in entries(proc.as_fd())? {
        let is = |constant: &str| constant.split('/').next() == Some(&name);
        if VISIBLE.iter().any(|visible| *visible == name) {
            continue;
        }
        if let Some((path, text)) = facts.iter().find(|(path, _)| path.to_bytes() == name.as_bytes()) {
            cover_with_fact(scratch, proc.as_fd(), path, text)?;
        } else {
            let constant = CONSTANTS.iter().any(|(path, _)| is(path));
            let cover = if constant {
                &name
            } else if is_directory {
                NOTHING
            } else {
                EMPTY
            };
            let covers = COVERS.trim_start_matches('/');
            sys::mount::bind(&c_path(&format!("{covers}/{cover}"))?, &c_path(&format!("proc/{name}"))?)?;
        }
        covered.push(format!("/proc/{name}"));
    }
    sys::mount::attach(uuid.as_fd(), proc.as_fd(), c"sys/kernel/random/uuid")?;
    covered.push(format!("/proc/{UUID}"));
    Ok(covered)
}

fn cover_with_fact(scratch: BorrowedFd<'_>, proc: BorrowedFd<'_>, path: &CStr, text: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(scratch, path, flags, Mode::from_raw_mode(0o444)).map_err(Error::of("openat"))?;
    if rustix::io::write(&file, text.as_bytes()).map_err(Error::of("write"))? != text.len() {
        return Err(Error { call: "write", errno: libc::ENOSPC });
    }
    sys::mount::attach(sys::mount::copy(scratch, path, HIDDEN)?.as_fd(), proc, path)
}

/// Files that usually only their owner may use. The others are covered without a look: a file of a new process file system costs
/// more to look at than a list to keep, and a cover too many hides nothing that could be seen.
const OWNERS_ONLY: [&str; 10] = [
    "kcore",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "slabinfo",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
];

/// Entries of the root that are neither processes nor links, and whether each is a directory.
///
/// Files that only their owner may use are left: that is the host's root, whom no one in a sandbox can be.
fn entries(proc: BorrowedFd<'_>) -> Result<Vec<(String, bool)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing: OwnedFd =
        rustix::fs::openat(proc, c".", flags, Mode::empty()).map_err(Error::of("openat"))?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(listing).map_err(Error::of("getdents"))? {
        let entry = entry.map_err(Error::of("getdents"))?;
        let name = entry.file_name().to_str().map_err(|_| Error { call: "getdents", errno: libc::EILSEQ })?;
        if name.starts_with('.') || name.as_bytes()[0].is_ascii_digit() {
            continue;
        }
        match entry.file_type() {
            FileType::Symlink => {}
            FileType::Directory => found.push((name.to_owned(), true)),
            _ if !OWNERS_ONLY.contains(&name) => found.push((name.to_owned(), false)),
            _ => {
                let stat = rustix::fs::statat(proc, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Error::of("fstatat"))?;
                if stat.st_mode & 0o007 != 0 {
                    found.push((name.to_owned(), false));
                }
            }
        }
    }
    Ok(found)
}

/// How many processors the code is told of: what it may use, rounded up, but not more than there are.
pub fn processors(needs: &Needs, host: &Host) -> usize {
    (needs.limits.cpus.ceil() as usize).clamp(1, host.processors)
}

/// When the machine started, in seconds of the epoch, to the minute: enough for process times, little for fingerprints.
pub fn boot_time_s() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
    now.saturating_sub(up).unsigned_abs()
}

fn c_path(path: &str) -> Result<CString> {
    CString::new(path).map_err(|_| Error { call: "path", errno: libc::EINVAL })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processors_are_the_limits() {
        let needs = Needs {
            limits: model::Policy::DEFAULT.limits,
            allow_missing: Default::default(),
            joinable: false,
            stays: false,
            egress: false,
        };
        let [(_, meminfo), (_, stat)] = facts(&needs, 2, 7);
        assert!(meminfo.starts_with("MemTotal:         524288 kB\n"), "{meminfo}");
        assert_eq!(stat.lines().filter(|line| line.starts_with("cpu")).count(), 3);
        assert!(stat.contains("\nbtime 7\n"));
    }

    #[test]
    fn nothing_is_both_visible_and_covered() {
        for (path, _) in CONSTANTS {
            assert!(path == UUID || !VISIBLE.contains(&path), "{path}");
        }
    }
}
