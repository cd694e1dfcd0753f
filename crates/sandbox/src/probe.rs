//! Acts of isolation, each performed for real in a throw-away child and bounded in time: the facts that `fireclay doctor` tells.
//!
//! Says what happened, never what to do about it, and changes nothing that outlives its children. The caller must have a
//! single thread, as for every clone.

mod cgroups;
mod files;
mod namespaces;
mod processes;
mod rights;
mod trial;

use crate::host::{Host, Outside};
pub use cgroups::version_2_mechanics;
use std::fmt;
pub use trial::{Ending, Trial};

/// Why an act failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, for people.
    pub reason: String,
    /// The kernel's answer, 0 when it gave none.
    pub errno: i32,
}

/// What an act found: a few words on what works, or why it does not.
pub type Found = Result<String, Failure>;

impl Failure {
    /// A failure that is not an answer of the kernel's.
    pub fn of(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), errno: 0 }
    }

    /// This failure with what was being done put before it.
    fn during(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        Self { reason: error.to_string(), errno: error.errno }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { reason: error.to_string(), errno: error.raw_os_error().unwrap_or(0) }
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// One thing that a sandbox is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A user namespace in which mounts work: some systems let it be made and take its rights away.
    UserNamespace,
    /// The map of user ids, and whom it makes of the code outside.
    UserIdMap,
    /// Process ids of its own.
    PidNamespace,
    /// A network of its own, with loopback and nothing else.
    NetNamespace,
    /// Message queues and shared memory of its own.
    IpcNamespace,
    /// A host name of its own.
    UtsNamespace,
    /// A view of control groups of its own.
    CgroupNamespace,
    /// No further namespaces inside.
    ForbidNamespaces,
    /// A file system in memory that is full when it should be.
    Tmpfs,
    /// A read-only overlay, made by an ordinary user.
    Overlay,
    /// A process file system that shows own processes only.
    Proc,
    /// Restrictions on single mounts, and the five devices.
    MountAttributes,
    /// A root of its own.
    PivotRoot,
    /// All capabilities gone.
    Capabilities,
    /// No gain by executing programs.
    NoNewPrivileges,
    /// Memory closed to others of the same user.
    Undumpable,
    /// The host's keys left behind.
    Keyring,
    /// Limits of processes and descriptors that hold.
    ResourceLimits,
    /// The filter of user code.
    Seccomp,
    /// The same filter against 32-bit calls.
    SeccompArchitecture,
    /// Landlock, by a denied open.
    Landlock,
    /// Landlock's walls around signals.
    LandlockScopes,
    /// Processes by descriptor.
    Pidfd,
    /// Descriptors closed by range.
    CloseRange,
    /// A place for control groups.
    Cgroup,
    /// A process that takes too much memory is killed.
    CgroupMemory,
    /// A process too many is refused.
    CgroupProcesses,
    /// Processor time is shared out.
    CgroupCpu,
    /// Version 2: joined by clone, killed as a whole.
    CgroupKill,
}

impl Act {
    /// Every act, in the order a sandbox needs them.
    pub const ALL: [Act; 29] = [
        Self::UserNamespace,
        Self::UserIdMap,
        Self::PidNamespace,
        Self::NetNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::ForbidNamespaces,
        Self::Tmpfs,
        Self::Overlay,
        Self::Proc,
        Self::MountAttributes,
        Self::PivotRoot,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Undumpable,
        Self::Keyring,
        Self::ResourceLimits,
        Self::Pidfd,
        Self::CloseRange,
        Self::Seccomp,
        Self::SeccompArchitecture,
        Self::Landlock,
        Self::LandlockScopes,
        Self::Cgroup,
        Self::CgroupMemory,
        Self::CgroupProcesses,
        Self::CgroupCpu,
        Self::CgroupKill,
    ];

    /// Performs the act in a throw-away child.
    pub fn perform(self, host: &Host) -> Found {
        // Without ids to hand out the others can still be tried, with the one id there is.
        let outside = host.outside.unwrap_or(Outside::Own {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        });
        match self {
            Self::UserNamespace => namespaces::user(outside),
            Self::UserIdMap => namespaces::id_map(host),
            Self::PidNamespace => namespaces::pid(outside),
            Self::NetNamespace => namespaces::net(outside),
            Self::IpcNamespace => namespaces::ipc(outside),
            Self::UtsNamespace => namespaces::uts(outside),
            Self::CgroupNamespace => namespaces::cgroup(outside),
            Self::ForbidNamespaces => namespaces::forbid(outside),
            Self::Tmpfs => files::tmpfs(outside),
            Self::Overlay => files::overlay(outside),
            Self::Proc => files::proc(outside),
            Self::MountAttributes => files::attributes(outside),
            Self::PivotRoot => files::pivot(outside),
            Self::Capabilities => rights::capabilities(outside),
            Self::NoNewPrivileges => rights::no_new_privileges(),
            Self::Undumpable => rights::undumpable(outside),
            Self::Keyring => rights::keyring(),
            Self::ResourceLimits => rights::limits(outside),
            Self::Seccomp => rights::seccomp(),
            Self::SeccompArchitecture => rights::seccomp_architecture(),
            Self::Landlock => rights::landlock(host),
            Self::LandlockScopes => rights::landlock_scopes(host),
            Self::Pidfd => processes::pidfd(),
            Self::CloseRange => processes::close_range(),
            Self::Cgroup => cgroups::place(host),
            Self::CgroupMemory => cgroups::memory(host),
            Self::CgroupProcesses => cgroups::processes(host),
            Self::CgroupCpu => cgroups::cpu(host),
            Self::CgroupKill => cgroups::kill(host),
        }
    }

    /// Whether the act is one inside a user namespace, and pointless where none can be made.
    pub fn needs_user_namespace(self) -> bool {
        use Act as A;
        matches!(
            self,
            A::PidNamespace
                | A::NetNamespace
                | A::IpcNamespace
                | A::UtsNamespace
                | A::CgroupNamespace
                | A::ForbidNamespaces
                | A::Tmpfs
                | A::Overlay
                | A::Proc
                | A::MountAttributes
                | A::PivotRoot
                | A::Capabilities
                | A::Undumpable
                | A::ResourceLimits
        )
    }

    /// Whether the act is one inside a control group, and pointless where none can be made.
    pub fn needs_cgroup(self) -> bool {
        matches!(self, Self::CgroupMemory | Self::CgroupProcesses | Self::CgroupCpu | Self::CgroupKill)
    }
}

#[cfg(test)]
mod tests;
