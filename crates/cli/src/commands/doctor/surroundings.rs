//! Where this program finds itself: what fixes depend on. Reads only.

use std::fs;
use std::path::{Path, PathBuf};

/// What kind of container this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Docker, or what behaves like it.
    Docker,
    /// Podman.
    Podman,
    /// A pod of Kubernetes.
    Kubernetes,
    /// Some other.
    Other,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// User id 0, here.
    pub root: bool,
    /// Not the machine's first user namespace.
    pub in_user_namespace: bool,
    /// A container, by its marks.
    pub container: Option<Container>,
    /// A system-call filter was put on this program by whoever started it.
    pub filtered: bool,
    /// Ubuntu's restriction of user namespaces to programs with a profile.
    pub apparmor_restricts: bool,
    /// Debian's switch for user namespaces is off.
    pub userns_clone_off: bool,
    /// `user.max_user_namespaces`, if it can be read.
    pub max_user_namespaces: Option<u64>,
    /// Parts of `/proc` are covered, so that no new one may be mounted.
    pub proc_covered: bool,
    /// systemd runs this machine.
    pub systemd: bool,
    /// The version of control groups that limits memory here: 1, 2, or none mounted.
    pub cgroup_version: Option<u8>,
    /// This program.
    pub program: PathBuf,
}

impl Surroundings {
    /// Looks around.
    pub fn look() -> Self {
        let status = read("/proc/self/status");
        let mounts = read("/proc/self/mountinfo");
        Self {
            root: rustix::process::geteuid().is_root(),
            in_user_namespace: !is_whole(&read("/proc/self/uid_map")),
            container: container(),
            filtered: status
                .lines()
                .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")),
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns").as_deref()
                == Some("1"),
            userns_clone_off: sysctl("kernel/unprivileged_userns_clone").as_deref() == Some("0"),
            max_user_namespaces: sysctl("user/max_user_namespaces").and_then(|text| text.parse().ok()),
            proc_covered: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .any(|place| place.starts_with("/proc/")),
            systemd: Path::new("/run/systemd/system").exists(),
            cgroup_version: cgroup_version(&mounts),
            program: fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/usr/local/bin/fireclay".into()),
        }
    }
}

/// Reads a file; nothing if it cannot be.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of a kernel setting, if it is there.
pub fn sysctl(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok().map(|text| text.trim().to_owned())
}

/// Whether a map of ids is that of the machine's first user namespace.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// By the mounts of mountinfo (proc(5)): a hybrid machine has both, and memory then belongs to version 1.
fn cgroup_version(mounts: &str) -> Option<u8> {
    let kinds = || mounts.lines().filter_map(|line| line.split_once(" - ")).map(|(_, right)| right);
    let memory_of_1 =
        |right: &str| right.starts_with("cgroup ") && right.split([' ', ',']).any(|word| word == "memory");
    if kinds().any(memory_of_1) {
        return Some(1);
    }
    kinds().any(|right| right.starts_with("cgroup2 ")).then_some(2)
}

fn container() -> Option<Container> {
    let there = |path: &str| Path::new(path).exists();
    if there("/var/run/secrets/kubernetes.io") || read("/proc/1/cgroup").contains("kubepods") {
        return Some(Container::Kubernetes);
    }
    if there("/run/.containerenv") {
        return Some(Container::Podman);
    }
    if there("/.dockerenv") {
        return Some(Container::Docker);
    }
    there("/run/systemd/container").then_some(Container::Other)
}
