//! What to do about an act that failed: by the act, the kernel's answer, and where we are. Commands are given whole, to be copied.

use super::surroundings::{Container, Surroundings};
use sandbox::probe::{Act, Failure};

// Numbers of errno(3) for x86-64.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const ENOSYS: i32 = 38;

/// The fix of a failed act.
pub fn fix(act: Act, failure: &Failure, around: &Surroundings) -> String {
    let errno = failure.errno;
    let denied = matches!(errno, EPERM | EACCES);
    match act {
        Act::UserNamespace => user_namespace(errno, around),
        Act::UserIdMap => id_map(around),
        Act::PidNamespace => other_namespace("pid", errno, around),
        Act::NetNamespace => other_namespace("net", errno, around),
        Act::IpcNamespace => other_namespace("ipc", errno, around),
        Act::UtsNamespace => other_namespace("uts", errno, around),
        Act::CgroupNamespace => other_namespace("cgroup", errno, around),
        Act::ForbidNamespaces if matches!(errno, EROFS | EACCES | EPERM) => uncovered_proc(around),
        Act::Proc if denied => uncovered_proc(around),
        Act::Overlay if errno == ENODEV => "modprobe overlay".to_owned(),
        Act::Overlay if denied || errno == EINVAL => format!("Linux 5.11 or later; {}", mounts(around)),
        Act::MountAttributes if errno == ENOSYS => kernel("5.12", around),
        Act::Tmpfs | Act::MountAttributes | Act::PivotRoot | Act::Proc | Act::Overlay if denied => mounts(around),
        Act::Tmpfs | Act::MountAttributes | Act::PivotRoot | Act::Proc | Act::Overlay => kernel("5.12", around),
        Act::Landlock => "Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y, and `landlock` in the boot parameter, such as \
                          lsm=landlock,lockdown,yama,apparmor,bpf; until then: fireclay run --allow-missing landlock"
            .to_owned(),
        Act::LandlockScopes => "Linux 6.12 or later".to_owned(),
        Act::Seccomp | Act::SeccompArchitecture => {
            "a kernel with CONFIG_SECCOMP_FILTER=y (Linux 4.14 or later), and no emulator between it and this program".to_owned()
        }
        Act::Pidfd => kernel("5.4", around),
        Act::CloseRange => kernel("5.9", around),
        Act::Cgroup => cgroup(around),
        Act::CgroupMemory | Act::CgroupProcesses | Act::CgroupCpu => cgroup_limit(around),
        Act::CgroupKill => kernel("5.14", around),
        Act::Capabilities | Act::NoNewPrivileges | Act::Undumpable | Act::Keyring | Act::ResourceLimits | Act::ForbidNamespaces => {
            kernel("5.12", around)
        }
    }
}

fn user_namespace(errno: i32, around: &Surroundings) -> String {
    if errno == ENOSPC || around.max_user_namespaces == Some(0) {
        let now = around.max_user_namespaces.map_or(String::new(), |now| format!(" (here it is {now})"));
        let place = if around.in_user_namespace {
            ", outside of the container or namespace this runs in"
        } else {
            ""
        };
        return format!(
            "sysctl -w user.max_user_namespaces=15000{now}{place} (a line in /etc/sysctl.d/60-fireclay.conf keeps it)"
        );
    }
    if around.userns_clone_off && !around.root {
        return "sysctl -w kernel.unprivileged_userns_clone=1 (a line in /etc/sysctl.d/60-fireclay.conf keeps it)".to_owned();
    }
    if errno == EINVAL {
        return "a kernel with CONFIG_USER_NS=y".to_owned();
    }
    mounts(around)
}

/// Mounts are refused in a user namespace that was allowed: AppArmor, or the filter of a container.
fn mounts(around: &Surroundings) -> String {
    if around.apparmor_restricts && !around.root {
        return apparmor(around);
    }
    if around.container.is_some() || around.filtered {
        return container(around);
    }
    format!(
        "a kernel of 5.12 or later, not within a chroot; what refuses may be a security module: see `dmesg | grep -i denied`{}",
        suffix(around)
    )
}

fn suffix(around: &Surroundings) -> &'static str {
    if around.in_user_namespace { "; this is a user namespace already: try outside of it" } else { "" }
}

/// Ubuntu 23.10 and later: a program needs a profile of its own to use a user namespace.
fn apparmor(around: &Surroundings) -> String {
    let program = around.program.display();
    format!(
        "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile fireclay {program} flags=(unconfined) {{ userns, }}\\n' \
         | sudo tee /etc/apparmor.d/fireclay && sudo apparmor_parser -r /etc/apparmor.d/fireclay"
    )
}

const DOCKER: &str = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
                      --security-opt systempaths=unconfined …, or run fireclay on the host; never --privileged";
const PODMAN: &str = "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL …, or run fireclay on the host; \
                      never --privileged";
const KUBERNETES: &str = "in the pod: hostUsers: false; in the container's securityContext: procMount: Unmasked and \
                          seccompProfile: {type: Unconfined} (or a Localhost profile that allows namespaces and mounts)";

fn container(around: &Surroundings) -> String {
    match around.container {
        Some(Container::Kubernetes) => KUBERNETES.to_owned(),
        Some(Container::Podman) => PODMAN.to_owned(),
        Some(Container::Docker | Container::Other) => DOCKER.to_owned(),
        None => format!("started without its system-call filter, or in a container: {DOCKER}"),
    }
}

/// `/proc` is partly covered or read-only, and the kernel gives no fresh one to whom parts of it are hidden.
fn uncovered_proc(around: &Surroundings) -> String {
    match around.container {
        _ if around.apparmor_restricts && !around.root && !around.proc_covered => apparmor(around),
        Some(Container::Kubernetes) => "procMount: Unmasked in the container's securityContext (needs hostUsers: false)".to_owned(),
        Some(Container::Podman) => "podman run --security-opt unmask=ALL …".to_owned(),
        Some(Container::Docker | Container::Other) => "docker run --security-opt systempaths=unconfined …".to_owned(),
        None if around.proc_covered => {
            "take away what is mounted below /proc (`grep ' /proc/' /proc/self/mountinfo`); docker run --security-opt systempaths=unconfined …".to_owned()
        }
        None => mounts(around),
    }
}

fn id_map(around: &Surroundings) -> String {
    let range = match around.container {
        Some(Container::Kubernetes) => "hostUsers: false in the pod",
        Some(Container::Podman) => "podman run --userns=auto …",
        Some(Container::Docker) => "a container with a range of ids (dockerd --userns-remap=default)",
        Some(Container::Other) | None => {
            "a range of them mapped into this namespace (unshare --map-users=auto)"
        }
    };
    if around.root {
        format!("run fireclay as an ordinary user, or give root ids to hand out: {range}")
    } else {
        format!("run fireclay as a user whose id is mapped, not root's: {range}")
    }
}

fn other_namespace(kind: &str, errno: i32, around: &Surroundings) -> String {
    let config = format!("CONFIG_{}_NS=y", kind.to_uppercase());
    match errno {
        ENOSPC => format!("sysctl -w user.max_{kind}_namespaces=15000"),
        EPERM | EACCES => mounts(around),
        EINVAL => format!("a kernel with {}", if kind == "cgroup" { "CONFIG_CGROUPS=y" } else { &config }),
        _ => kernel("5.12", around),
    }
}

fn cgroup(around: &Surroundings) -> String {
    match (around.root, around.cgroup_version) {
        (false, Some(1)) => {
            "for c in memory pids cpu; do sudo mkdir -p /sys/fs/cgroup/$c/fireclay; sudo chown -R $(id -u) /sys/fs/cgroup/$c/fireclay; \
             echo $$ | sudo tee /sys/fs/cgroup/$c/fireclay/tasks; done; then fireclay from the same shell"
                .to_owned()
        }
        (false, _) if around.systemd => {
            "systemd-run --user --scope -p Delegate=yes fireclay …; if it gives no cpu or memory: \
             sudo systemctl edit user@.service, with the lines [Service] and Delegate=cpu memory pids"
                .to_owned()
        }
        (false, _) => {
            "sudo sh -c 'cd /sys/fs/cgroup && echo +memory +pids +cpu > cgroup.subtree_control && mkdir -p fireclay/shell && \
             chown -R '$(id -u)' fireclay && echo '$$' > fireclay/shell/cgroup.procs'; then fireclay from the same shell"
                .to_owned()
        }
        (true, _) => cgroup_of_root(around),
    }
}

fn cgroup_of_root(around: &Surroundings) -> String {
    match around.container {
        Some(Container::Kubernetes) => {
            "a node with control groups of version 2, and a container that may write to /sys/fs/cgroup"
                .to_owned()
        }
        Some(Container::Docker) => {
            "docker run --cgroupns=private --mount type=bind,src=/sys/fs/cgroup,dst=/sys/fs/cgroup …"
                .to_owned()
        }
        Some(Container::Podman) => {
            "podman run --cgroupns=private --security-opt unmask=/sys/fs/cgroup …".to_owned()
        }
        _ if around.in_user_namespace => {
            "start fireclay outside of this user namespace, or have its group delegated (chown) to this root"
                .to_owned()
        }
        Some(Container::Other) | None => {
            "mount -t cgroup2 none /sys/fs/cgroup, with memory, pids and cpu in cgroup.controllers; \
                                          until then: fireclay run --allow-missing cgroup"
                .to_owned()
        }
    }
}

fn cgroup_limit(around: &Surroundings) -> String {
    let parameters = "boot without cgroup_disable=, with cgroup_enable=memory";
    match around.cgroup_version {
        Some(1) => {
            format!("{parameters}; or control groups of version 2 (systemd.unified_cgroup_hierarchy=1)")
        }
        _ => parameters.to_owned(),
    }
}

fn kernel(version: &str, around: &Surroundings) -> String {
    if around.filtered {
        return format!(
            "Linux {version} or later, without the filter this program was started with: {}",
            container(around)
        );
    }
    format!("Linux {version} or later")
}
