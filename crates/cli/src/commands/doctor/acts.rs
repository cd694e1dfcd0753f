//! The engine's acts, as checks: one table of what each is called, what it must give, and what follows without it.

use super::check::{Check, Group, Severity};
use super::fixes;
use super::surroundings::Surroundings;
use sandbox::host::Host;
use sandbox::probe::Act;

/// Performs every act.
pub fn checks(host: &Host, surroundings: &Surroundings) -> Vec<Check> {
    let mut failed: Vec<Act> = Vec::new();
    let mut checks = Vec::new();
    for act in Act::ALL {
        let row = row(act);
        let check = Check::new(row.group, row.id, row.title)
            .needs(row.need)
            .matters(severity(act, surroundings), consequence(act, &row, surroundings));
        let check = match unmet(act, &failed) {
            Some(why) => check.not_tried(why),
            None => check.found(act.perform(host), |failure| fixes::fix(act, failure, surroundings)),
        };
        if !check.ok {
            failed.push(act);
        }
        checks.push(check);
    }
    checks
}

/// Why an act is not worth trying: what it stands on has failed.
fn unmet(act: Act, failed: &[Act]) -> Option<&'static str> {
    if act.needs_user_namespace() && failed.contains(&Act::UserNamespace) {
        return Some("no user namespace");
    }
    (act.needs_cgroup() && failed.contains(&Act::Cgroup)).then_some("no control group")
}

/// What a failure means for `fireclay run`, which lets an ordinary user do without a control group.
fn severity(act: Act, surroundings: &Surroundings) -> Severity {
    match act {
        Act::Cgroup if surroundings.root => Severity::Required,
        Act::Cgroup | Act::CgroupMemory | Act::CgroupProcesses | Act::CgroupCpu => Severity::Degrading,
        Act::ResourceLimits | Act::SeccompArchitecture => Severity::Degrading,
        Act::LandlockScopes | Act::CgroupKill => Severity::Advice,
        _ => Severity::Required,
    }
}

fn consequence(act: Act, row: &Row, surroundings: &Surroundings) -> String {
    if act == Act::Cgroup && surroundings.root {
        return "fireclay run refuses for root: limits would rest on resource limits and a sampler alone"
            .to_owned();
    }
    row.without.to_owned()
}

/// What an act is to a person.
struct Row {
    group: Group,
    id: &'static str,
    title: &'static str,
    need: &'static str,
    without: &'static str,
}

const REFUSES: &str = "fireclay run refuses: this layer cannot be left out";
const UNLIMITED: &str =
    "a run can take more than its share until the supervisor, which looks every few milliseconds, ends it";

fn row(act: Act) -> Row {
    let row = |group, id, title, need| Row { group, id, title, need, without: REFUSES };
    let weaker = |row: Row, without| Row { without, ..row };
    match act {
        Act::UserNamespace => row(Group::Namespaces, "userns", "user namespace", "made, with a mount in it"),
        Act::UserIdMap => row(Group::Namespaces, "uid-map", "user id map", "one id that is not root's"),
        Act::PidNamespace => row(Group::Namespaces, "pidns", "process namespace", "made"),
        Act::NetNamespace => {
            row(Group::Namespaces, "netns", "network namespace", "made, with loopback and no way out")
        }
        Act::IpcNamespace => row(Group::Namespaces, "ipcns", "IPC namespace", "made"),
        Act::UtsNamespace => row(Group::Namespaces, "utsns", "host-name namespace", "made"),
        Act::CgroupNamespace => row(Group::Namespaces, "cgroupns", "control-group namespace", "made"),
        Act::ForbidNamespaces => {
            row(Group::Namespaces, "nested-userns", "no nested namespaces", "can be forbidden from inside")
        }
        Act::Tmpfs => row(Group::Files, "tmpfs", "tmpfs with a size", "made, and full at its size"),
        Act::Overlay => row(Group::Files, "overlay", "overlay", "made in a user namespace, with userxattr"),
        Act::Proc => row(Group::Files, "proc", "process file system", "made with hidepid=invisible"),
        Act::MountAttributes => row(
            Group::Files,
            "mount-attributes",
            "mount_setattr and devices",
            "read-only views, five devices",
        ),
        Act::PivotRoot => row(Group::Files, "pivot-root", "pivot_root", "leaves nothing of the host"),
        Act::Capabilities => row(Group::Rights, "capabilities", "dropping capabilities", "five empty sets"),
        Act::NoNewPrivileges => row(Group::Rights, "no-new-privs", "no_new_privs", "set"),
        Act::Undumpable => row(Group::Rights, "undumpable", "closed memory", "closed to the same user"),
        Act::Keyring => row(Group::Rights, "keyring", "the host's keys", "left behind"),
        Act::ResourceLimits => weaker(
            row(Group::Rights, "rlimits", "resource limits", "can be lowered, and hold"),
            "one wall fewer against too many processes and descriptors",
        ),
        Act::Pidfd => row(Group::Rights, "pidfd", "processes by descriptor", "Linux 5.4"),
        Act::CloseRange => row(Group::Rights, "close-range", "close_range", "Linux 5.9"),
        Act::Seccomp => row(Group::Filters, "seccomp", "system-call filter", "refuses as the policy says"),
        Act::SeccompArchitecture => weaker(
            row(Group::Filters, "seccomp-32-bit", "32-bit calls", "kill their process"),
            "programs in the sandbox reach system calls that the policy closes",
        ),
        Act::Landlock => row(Group::Filters, "landlock", "Landlock", "version 1 or later, and a denied open"),
        Act::LandlockScopes => weaker(
            row(Group::Filters, "landlock-scopes", "Landlock scopes", "version 6 (Linux 6.12)"),
            "signals and abstract sockets are held by namespaces alone",
        ),
        Act::Cgroup => weaker(
            row(Group::Cgroups, "cgroup", "a place for groups", "memory, pids and cpu, writable"),
            UNLIMITED,
        ),
        Act::CgroupMemory => weaker(
            row(Group::Cgroups, "cgroup-memory", "memory limit", "a process over it is killed"),
            UNLIMITED,
        ),
        Act::CgroupProcesses => weaker(
            row(Group::Cgroups, "cgroup-pids", "process limit", "a process over it is refused"),
            UNLIMITED,
        ),
        Act::CgroupCpu => {
            weaker(row(Group::Cgroups, "cgroup-cpu", "processor limit", "time is shared out"), UNLIMITED)
        }
        Act::CgroupKill => weaker(
            row(Group::Cgroups, "cgroup-kill", "clone into, cgroup.kill", "with version 2"),
            "a group is ended by its init alone, which is enough",
        ),
    }
}
