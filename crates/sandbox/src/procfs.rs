//! What the code sees of the machine through `/proc`: its own processes, and a few files that programs cannot do without.
//!
//! `subset=pid` would be shorter, but `free`, `ps`, psutil and Node then misreport or fail; so the whole is mounted and every
//! entry that is not on [`VISIBLE`] is hidden, whatever names this kernel or its modules add. Files that tell of the whole
//! machine are replaced by ones that tell of the sandbox.

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

/// Entries that are replaced by what [`facts`] writes.
const REPLACED: [&str; 5] = ["loadavg", "meminfo", "stat", "swaps", "sys"];

/// What `/proc/sys` holds instead of the kernel's own: constants that programs look up.
const SYSCTLS: [(&str, &str); 11] = [
    ("sys/fs/file-max", "9223372036854775807\n"),
    ("sys/fs/nr_open", "1048576\n"),
    ("sys/fs/pipe-max-size", "1048576\n"),
    ("sys/kernel/cap_last_cap", "40\n"),
    ("sys/kernel/hostname", "sandbox\n"),
    ("sys/kernel/ngroups_max", "65536\n"),
    ("sys/kernel/ostype", "Linux\n"),
    ("sys/kernel/pid_max", "4194304\n"),
    ("sys/net/core/somaxconn", "4096\n"),
    ("sys/vm/max_map_count", "65530\n"),
    ("sys/vm/overcommit_memory", "0\n"),
];

/// The files that replace the kernel's: path below `/proc`, content. Times and loads are zero, memory and processors are the limits.
pub fn facts(needs: &Needs, processors: usize, boot_time_s: u64) -> Vec<(String, String)> {
    let total = needs.limits.memory_bytes / 1024;
    let mut meminfo = String::new();
    for (name, kib) in [("MemTotal", total), ("MemFree", total), ("MemAvailable", total)].into_iter().chain(
        [
            "Buffers",
            "Cached",
            "SwapCached",
            "Active",
            "Inactive",
            "SwapTotal",
            "SwapFree",
            "Shmem",
            "SReclaimable",
        ]
        .map(|name| (name, 0)),
    ) {
        writeln!(meminfo, "{:<15} {kib:>8} kB", format!("{name}:")).expect("a String takes all");
    }
    let zero = "0 0 0 0 0 0 0 0 0 0";
    let mut stat = format!("cpu  {zero}\n");
    for index in 0..processors {
        writeln!(stat, "cpu{index} {zero}").expect("a String takes all");
    }
    writeln!(stat, "intr 0\nctxt 0\nbtime {boot_time_s}\nprocesses 1\nprocs_running 1\nprocs_blocked 0")
        .expect("a String takes all");
    let mut files = vec![
        ("loadavg".to_owned(), "0.00 0.00 0.00 1/1 2\n".to_owned()),
        ("meminfo".to_owned(), meminfo),
        ("stat".to_owned(), stat),
        ("swaps".to_owned(), "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned()),
        // Files that are hidden show this one; the uuid file only has to be there to be mounted on.
        (EMPTY.to_owned(), String::new()),
        (UUID.to_owned(), String::new()),
    ];
    files.extend(SYSCTLS.map(|(path, text)| (path.to_owned(), text.to_owned())));
    files
}

const EMPTY: &str = "empty";
const EMPTY_DIRECTORY: &str = "nothing";
const UUID: &str = "sys/kernel/random/uuid";

/// Writes `files` below a directory that only init knows yet.
pub fn write_facts(directory: BorrowedFd<'_>, files: &[(String, String)]) -> Result<()> {
    let make = |path: &CStr| match rustix::fs::mkdirat(directory, path, Mode::from_raw_mode(0o555)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.map_err(Error::of("mkdirat")),
    };
    make(&c_path(EMPTY_DIRECTORY)?)?;
    for (path, text) in files {
        for (at, _) in path.match_indices('/') {
            make(&c_path(&path[..at])?)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, &*c_path(path)?, flags, Mode::from_raw_mode(0o444))
            .map_err(Error::of("openat"))?;
        if rustix::io::write(&file, text.as_bytes()).map_err(Error::of("write"))? != text.len() {
            return Err(Error { call: "write", errno: libc::ENOSPC });
        }
    }
    Ok(())
}

/// Hides or replaces entries of the process file system at `proc`; `facts` is where [`write_facts`] wrote, on a mount that is
/// read-only. Both are paths from the working directory. Returns what is covered now, as `/proc/self/mountinfo` will name it.
pub fn mask(proc: &str, facts: &str) -> Result<Vec<String>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(rustix::fs::CWD, &*c_path(proc)?, flags, Mode::empty()).map_err(Error::of("openat"))?;
    let hidden = Attributes { read_only: true, no_devices: true, no_execution: true };
    let uuid = sys::mount::copy(directory.as_fd(), c"sys/kernel/random/uuid", hidden)?;
    let mut covered = Vec::new();
    for (name, is_directory) in entries(directory.as_fd())? {
        if VISIBLE.contains(&name.as_str()) {
            continue;
        }
        let replacement = match name.as_str() {
            name if REPLACED.contains(&name) => name,
            _ if is_directory => EMPTY_DIRECTORY,
            _ => EMPTY,
        };
        sys::mount::bind(&c_path(&format!("{facts}/{replacement}"))?, &c_path(&format!("{proc}/{name}"))?)?;
        covered.push(format!("/proc/{name}"));
    }
    sys::mount::attach(uuid.as_fd(), directory.as_fd(), c"sys/kernel/random/uuid")?;
    covered.push(format!("/proc/{UUID}"));
    Ok(covered)
}

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

fn c_path(path: &str) -> Result<CString> {
    CString::new(path).map_err(|_| Error { call: "path", errno: libc::EINVAL })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processors_are_the_limits() {
        let needs = Needs { limits: model::Policy::DEFAULT.limits, allow_missing: Default::default() };
        let files = facts(&needs, 2, 7);
        let text =
            |name: &str| files.iter().find(|(path, _)| path == name).map(|(_, text)| text.clone()).unwrap();
        assert!(text("meminfo").starts_with("MemTotal:         524288 kB\n"), "{}", text("meminfo"));
        assert_eq!(text("stat").lines().filter(|line| line.starts_with("cpu")).count(), 3);
        assert!(text("stat").contains("\nbtime 7\n"));
        assert!(
            REPLACED.iter().all(|name| files.iter().any(|(path, _)| path.split('/').next() == Some(name)))
        );
    }
}
