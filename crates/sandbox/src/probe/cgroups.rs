//! Control groups: each limit set on a leaf as for a sandbox, and then run into.

use super::{Ending, Failure, Found, Trial};
use crate::cgroup::{CgroupLimits, Leaf, Tree, leaf_name};
use crate::host::Host;
use rustix::fs::{Mode, OFlags};
use rustix::time::ClockId;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::process::{Cloned, Ended};

const MIB: u64 = 1 << 20;
/// The wall of the memory test, and how far a child goes that no wall stops.
const MEMORY_BYTES: u64 = 32 * MIB;
const MEMORY_BYTES_TAKEN: u64 = 4 * MEMORY_BYTES;
/// The wall of the test of processes.
const PROCESSES: u64 = 4;
/// The rate of the processor test, how long it spins, and the most processor time that it may get.
const CPUS: f64 = 0.1;
const SPIN_MS: u64 = 400;
const SPIN_CPU_MS_MAX: u128 = 200;

fn tree(host: &Host) -> Result<&Tree, Failure> {
    host.cgroups.as_ref().map_err(Failure::of)
}

/// Makes a leaf, lets `use_it` have it, removes it.
fn with_leaf(host: &Host, limits: &CgroupLimits, use_it: impl FnOnce(&Leaf) -> Found) -> Found {
    let leaf = tree(host)?
        .leaf(&leaf_name(), limits)
        .map_err(|error| Failure::from(error).during("make a control group"))?;
    let found = use_it(&leaf);
    leaf.remove().map_err(|error| Failure::from(error).during("remove the control group"))?;
    found
}

const UNLIMITED: CgroupLimits = CgroupLimits { memory_bytes: 256 * MIB, processes: 64, cpus: 1024.0 };

/// A leaf can be made, joined and removed.
pub fn place(host: &Host) -> Found {
    let tree = tree(host)?;
    with_leaf(host, &UNLIMITED, |leaf| Trial::in_cgroup(leaf).perform(|| Ok(String::new())))?;
    Ok(match tree {
        Tree::V1 { memory, .. } => format!("version 1, below {}", memory.display()),
        Tree::V2 { parent } => format!("version 2, below {}", parent.display()),
    })
}

/// A process that takes more memory than its group may have is killed, and counted.
pub fn memory(host: &Host) -> Found {
    let limits = CgroupLimits { memory_bytes: MEMORY_BYTES, ..UNLIMITED };
    with_leaf(host, &limits, |leaf| {
        let ending = Trial::in_cgroup(leaf).observe(|| {
            // Ones, not zeros: zeros would be the kernel's one page until written to.
            let taken: Vec<Vec<u8>> = (0..MEMORY_BYTES_TAKEN / MIB).map(|_| vec![1; MIB as usize]).collect();
            Err(Failure::of(format!(
                "a process took {} MiB against a limit of {} MiB",
                taken.len(),
                MEMORY_BYTES / MIB
            )))
        })?;
        match ending {
            Ending::Silent(Ended::Signalled(libc::SIGKILL)) => match leaf.counters()?.oom_kills {
                0 => Err(Failure::of("the process was killed, but the group did not count it")),
                _ => Ok(format!("a process was killed at {} MiB", MEMORY_BYTES / MIB)),
            },
            Ending::Said(found) => found,
            other => Err(Failure::of(format!("a process that took too much memory ended in {other:?}"))),
        }
    })
}

/// A process too many is refused, and counted.
pub fn processes(host: &Host) -> Found {
    let limits = CgroupLimits { processes: PROCESSES, ..UNLIMITED };
    with_leaf(host, &limits, |leaf| {
        let found = Trial::in_cgroup(leaf).perform(|| {
            let made = super::processes::fork_until_refused(4 * PROCESSES)?;
            // The child itself is one of them.
            if made < PROCESSES {
                Ok(format!("number {} was refused", made + 2))
            } else {
                Err(Failure::of(format!("{made} processes were made against a limit of {PROCESSES}")))
            }
        })?;
        match leaf.counters()?.process_refusals {
            0 => Err(Failure::of("a process was refused, but the group did not count it")),
            _ => Ok(found),
        }
    })
}

/// A process that spins gets its share of time and no more.
pub fn cpu(host: &Host) -> Found {
    let limits = CgroupLimits { cpus: CPUS, ..UNLIMITED };
    with_leaf(host, &limits, |leaf| {
        Trial::in_cgroup(leaf).perform(|| {
            let (start, begun) = (Instant::now(), processor_time());
            while start.elapsed() < Duration::from_millis(SPIN_MS) {
                std::hint::spin_loop();
            }
            let used_ms = (processor_time() - begun).as_millis();
            if used_ms <= SPIN_CPU_MS_MAX {
                Ok(format!("{used_ms} ms of processor time in {SPIN_MS} ms at a rate of {CPUS}"))
            } else {
                Err(Failure::of(format!(
                    "{used_ms} ms of processor time in {SPIN_MS} ms at a rate of {CPUS}"
                )))
            }
        })
    })
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Version 2 only: what version 1 does in other ways.
pub fn kill(host: &Host) -> Found {
    match tree(host)? {
        Tree::V1 { .. } => Ok("not needed with version 1".to_owned()),
        Tree::V2 { parent } => version_2_mechanics(parent),
    }
}

/// Clones a process into a new group below `parent`, and kills the group as a whole (`CLONE_INTO_CGROUP`, `cgroup.kill`).
pub fn version_2_mechanics(parent: &Path) -> Found {
    let directory = parent.join(leaf_name());
    fs::create_dir(&directory).map_err(|error| Failure::from(error).during("make a control group"))?;
    let found = clone_and_kill(&directory);
    fs::remove_dir(&directory).map_err(|error| Failure::from(error).during("remove the control group"))?;
    found
}

fn clone_and_kill(directory: &Path) -> Found {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let into = rustix::fs::open(directory, flags, Mode::empty())?;
    let (pid, pidfd) = match sys::process::clone_process(0, Some(into.as_fd()))
        .map_err(|error| Failure::from(error).during("clone into the group"))?
    {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => loop {
            if sys::process::die_with_parent().is_err() {
                sys::process::exit_now(1);
            }
            rustix::event::pause();
        },
    };
    let members = fs::read_to_string(directory.join("cgroup.procs"));
    let killed = fs::write(directory.join("cgroup.kill"), "1");
    let ended = match &killed {
        Ok(()) => super::trial::reap(pid, &pidfd, 2_000)?,
        // Nothing else will end it.
        Err(_) => super::trial::reap(pid, &pidfd, 0)?,
    };
    killed.map_err(|error| Failure::from(error).during("write cgroup.kill"))?;
    match (members?.trim() == pid.to_string(), ended) {
        (true, Some(Ended::Signalled(libc::SIGKILL))) => Ok("joined by clone, killed as a whole".to_owned()),
        (joined, ended) => Err(Failure::of(format!("joined {joined}, ended in {ended:?}"))),
    }
}
