//! What this machine can give: the facts a plan is made from. Cheap, since every one-shot run asks.

use crate::cgroup::Tree;
use model::Layer;
use std::fmt;

/// First user id given to sandboxes made by root; far above what distributions, NSS and container runtimes hand out.
const SANDBOX_UID_BASE: u32 = 1_900_000_000;
/// How many ids from there on may be used: process ids are below this (`/proc/sys/kernel/pid_max` cannot exceed it).
const SANDBOX_UID_SPAN: u32 = 1 << 22;

/// The ids that sandboxes have outside their user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// One of a reserved range, chosen by the init's process id: no two live sandboxes share one.
    Reserved {
        /// First id.
        base: u32,
        /// How many.
        span: u32,
    },
    /// The caller's own, all that an ordinary user can map.
    Own {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl Outside {
    /// User and group for the sandbox whose init is `pid`.
    pub fn ids(self, pid: i32) -> (u32, u32) {
        match self {
            Self::Reserved { base, span } => {
                let id = base + pid.unsigned_abs() % span;
                (id, id)
            }
            Self::Own { uid, gid } => (uid, gid),
        }
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved { base, span } => write!(f, "one of {base}..{}", base + span),
            Self::Own { .. } => f.write_str("the caller's own"),
        }
    }
}

/// What the machine can give.
#[derive(Debug, Clone)]
pub struct Host {
    /// Ids for sandboxes, or why there are none.
    pub outside: Result<Outside, &'static str>,
    /// Where control groups can be made, or why they cannot.
    pub cgroups: Result<Tree, String>,
    /// The version of Landlock, 0 for none.
    pub landlock: i32,
    /// How many processors the caller may use.
    pub processors: usize,
}

impl Host {
    /// Looks at the machine.
    pub fn detect() -> Self {
        let uid_map = sys::fs::read_kernel_file(c"/proc/self/uid_map").unwrap_or_default();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self {
            outside: if uid == 0 { reserved_range(&uid_map) } else { Ok(Outside::Own { uid, gid }) },
            cgroups: Tree::detect(),
            landlock: sys::landlock::version(),
            processors: processors(),
        }
    }
}

/// The processors that the caller may use. (The standard library would also read control groups, which costs more than it says.)
fn processors() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize).max(1)
}

/// The ids that root may hand out: the reserved range if it is mapped, else the top half of the largest mapped range
/// (root in a container with user namespaces). Never id 0 of the machine.
fn reserved_range(uid_map: &str) -> Result<Outside, &'static str> {
    let ranges = uid_map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    });
    let (inside, outside, count) = ranges.max_by_key(|range| range.2).ok_or("the user id map is empty")?;
    if count == 1 && outside != 0 {
        // Root of a namespace that an ordinary user made: outside it is that user.
        return Ok(Outside::Own { uid: inside, gid: inside });
    }
    let end = inside.saturating_add(count);
    if inside <= SANDBOX_UID_BASE && end >= SANDBOX_UID_BASE + SANDBOX_UID_SPAN {
        return Ok(Outside::Reserved { base: SANDBOX_UID_BASE, span: SANDBOX_UID_SPAN });
    }
    let span = (count / 2).min(SANDBOX_UID_SPAN);
    if span == 0 || (outside == 0 && end - span == 0) {
        return Err("only one user id is mapped here, and it is root's");
    }
    Ok(Outside::Reserved { base: end - span, span })
}

/// The namespace of a layer (`namespaces(7)`).
pub fn clone_flag(layer: Layer) -> u64 {
    let flag = match layer {
        Layer::Userns => libc::CLONE_NEWUSER,
        Layer::Pidns => libc::CLONE_NEWPID,
        Layer::Mountns => libc::CLONE_NEWNS,
        Layer::Netns => libc::CLONE_NEWNET,
        Layer::Ipcns => libc::CLONE_NEWIPC,
        Layer::Utsns => libc::CLONE_NEWUTS,
        Layer::Cgroupns => libc::CLONE_NEWCGROUP,
        _ => 0,
    };
    flag as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_hands_out_ids_that_are_mapped_and_never_its_own() {
        let reserved = Outside::Reserved { base: SANDBOX_UID_BASE, span: SANDBOX_UID_SPAN };
        assert_eq!(reserved_range("0 0 4294967295"), Ok(reserved));
        assert_eq!(reserved_range("0 100000 65536"), Ok(Outside::Reserved { base: 32768, span: 32768 }));
        assert_eq!(reserved_range("0 1000 1"), Ok(Outside::Own { uid: 0, gid: 0 }));
        assert!(reserved_range("0 0 1").is_err());
        assert!(reserved_range("").is_err());
    }
}
