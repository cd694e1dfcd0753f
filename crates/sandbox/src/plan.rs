//! Turns what a sandbox needs into the ordered steps that isolate it. Pure: touches no kernel object.
//!
//! Three actors perform a plan. The *supervisor* makes the control group and clones *init*, PID 1 of the new namespaces; init
//! builds the file system, sheds its rights and, when told what to run, forks the *job*; the job restricts itself and becomes
//! the user's program. The last three steps are always no_new_privs → Landlock → seccomp.
//!
//! Or the job is a fork of a warm interpreter, a zygote's, which enters the finished sandbox from outside: then [`Plan::joining`]
//! takes the place of the job's steps. They end alike.

use crate::cgroup::CgroupLimits;
use crate::host::{Host, Outside};
use model::{Layer, Limits};
use std::collections::BTreeSet;
use std::fmt;

/// User and group id of the code inside its sandbox.
pub const INSIDE_UID: u32 = 1000;
/// The user's name inside.
pub const INSIDE_USER: &str = "sandbox";
/// Where the code runs and leaves files.
pub const WORKSPACE: &str = "/workspace";
/// The user's home inside.
pub const HOME: &str = "/home/sandbox";

/// Bytes of tmpfs for each inode it may hold: a workspace of many tiny files is stopped by count before kernel memory suffers.
const BYTES_PER_INODE: u64 = 4096;
/// Fewest and most inodes of a scratch file system.
const INODES: std::ops::RangeInclusive<u64> = 1_024..=1_000_000;

/// Processor time that no sandbox can have, as a rate: what a supervisor needs to see a deadline while everything else spins.
const SUPERVISOR_CPUS: f64 = 0.1;
/// By how many the kernel's count per user lies above the control group's.
const PROCESS_SLACK: u64 = 16;

/// Where programs find their proxy, on loopback; what proxies usually listen on.
pub const PROXY_PORT: u16 = 3128;

/// The directories of the scratch file system: name there, place inside, permission bits.
pub const DIRECTORIES: [(&str, &str, u32); 4] = [
    ("workspace", WORKSPACE, 0o755),
    ("home", HOME, 0o755),
    ("shm", "/dev/shm", 0o1777),
    ("tmp", "/tmp", 0o1777),
];

/// The only device nodes there are.
pub const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Who performs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The process outside that makes and judges the sandbox.
    Supervisor,
    /// PID 1 inside: builds, forks, reaps, dies last.
    Init,
    /// The process that becomes the user's program.
    Job,
    /// A zygote's fork, which becomes the user's program where it stands.
    Fork,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes a control group with these limits.
    CreateCgroup(CgroupLimits),
    /// Clones init into new namespaces.
    CloneInit {
        /// User, PID, mount, network, IPC and UTS always; cgroup when that can be joined at once (version 2).
        namespaces: Vec<Layer>,
    },
    /// Maps [`INSIDE_UID`] to an id outside that is never root's.
    MapIds(Outside),
    /// Closes every descriptor but those a sandbox is made with; standard streams become the null device.
    CloseDescriptors,
    /// Has the kernel take this process first when memory runs out.
    PreferAsOomVictim,
    /// Has the kernel kill this process when its parent dies.
    DieWithParent,
    /// Joins the control group (version 1).
    JoinCgroup,
    /// Hides the host's control-group paths (version 1).
    UnshareCgroup,
    /// Opens the image while the id is still the maker's.
    OpenImage,
    /// Leaves the host's keys behind.
    NewKeyring,
    /// Takes the mapped id.
    BecomeUser,
    /// Closes this process's memory and descriptors to others of the same id.
    BecomeUndumpable,
    /// Cuts mounts off from the host's.
    PrivatizeMounts,
    /// Mounts a read-only overlay of the image as the new root.
    MountRoot,
    /// Makes one tmpfs for all that the code may write.
    MountScratch {
        /// Most bytes of content.
        bytes: u64,
        /// Most files and directories.
        inodes: u64,
    },
    /// Mounts the directories of the scratch file system in their places.
    MountDirectories,
    /// Mounts the five harmless devices.
    MountDevices,
    /// Mounts a process file system that shows the user's own processes.
    MountProc,
    /// Hides every entry of it that is not on a short list.
    MaskProc,
    /// Brings loopback up, and nothing else.
    LoopbackUp,
    /// Listens where programs find their proxy, and hands the socket out: whoever serves it is outside.
    ListenForProxy,
    /// Sets a neutral host name.
    SetHostName,
    /// Sets the number of further namespaces that may be made to zero.
    ForbidNamespaces,
    /// Makes the new root the root and lets the host's go.
    PivotRoot,
    /// Reads the mounts back and compares them with the plan.
    VerifyMounts,
    /// Empties all capability sets and the bounding set, and locks securebits.
    DropCapabilities,
    /// No program gains rights by being executed.
    NoNewPrivileges,
    /// Opens the sandbox's namespaces for a fork to enter.
    OfferNamespaces,
    /// Makes the job's rules for files and signals, for a fork to restrict itself by.
    OfferLandlock,
    /// Waits for a command and forks the job.
    ForkJob,
    /// Restricts init to what reaping and reporting need.
    FilterInit,
    /// Restricts an init that goes on starting jobs to what they may do, and to restricting them.
    FilterStayingInit,
    /// Leaves every namespace it is in but the PID namespace, into which it was born, for the sandbox's.
    EnterNamespaces,
    /// Waits until init has written the inputs.
    AwaitInputs,
    /// Opens this process to others of its id again: they are its own.
    BecomeDumpable,
    /// A session without a terminal.
    NewSession,
    /// Standard streams, the result channel, and nothing else.
    PlaceDescriptors,
    /// Lowers the per-process limits.
    LowerLimits {
        /// Largest file.
        file_bytes: u64,
        /// Most processes, for the kernel's count per user.
        processes: u64,
        /// Most writable private memory; only where no control group counts it.
        data_bytes: Option<u64>,
    },
    /// Default actions for all signals, none blocked.
    ResetSignals,
    /// Restricts files, signals and abstract sockets.
    Landlock,
    /// Restricts system calls to the allow-list; always last.
    Seccomp,
}

/// One step: who, what, and which layer of the wall it builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Who performs it.
    pub actor: Actor,
    /// The layer that is missing without it.
    pub layer: Layer,
    /// What is done.
    pub action: Action,
}

/// Everything that isolates one sandbox, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What a zygote's fork does instead of the job's steps; empty where none can.
    pub joining: Vec<Step>,
    /// Layers that the machine lacks and the operator allowed to be absent.
    pub missing: BTreeSet<Layer>,
}

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// How much may be used.
    pub limits: Limits,
    /// Layers that may be absent if the machine lacks them.
    pub allow_missing: BTreeSet<Layer>,
    /// Whether a zygote's fork may be the job.
    pub joinable: bool,
    /// Whether it stays for many jobs, one after the other and beside each other.
    pub stays: bool,
    /// Whether what runs in it may reach hosts, by a proxy that is given a socket of it.
    pub egress: bool,
}

/// Why no plan can be made: a required layer is not to be had here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this machine cannot give the layer {layer}: {reason}")]
pub struct Unsupported {
    /// The layer.
    pub layer: Layer,
    /// What is in the way.
    pub reason: String,
}

/// Plans the isolation of one sandbox, or says which required layer the host lacks.
pub fn plan(needs: &Needs, host: &Host) -> Result<Plan, Unsupported> {
    let mut missing = BTreeSet::new();
    let mut lacks = |layer: Layer, reason: String| {
        if needs.allow_missing.contains(&layer) {
            Ok(missing.insert(layer))
        } else {
            Err(Unsupported { layer, reason })
        }
    };
    let outside =
        host.outside.map_err(|reason| Unsupported { layer: Layer::Userns, reason: reason.into() })?;
    if let Err(reason) = &host.cgroups {
        lacks(Layer::Cgroup, reason.clone())?;
    }
    if host.landlock == 0 {
        lacks(Layer::Landlock, "the kernel has no Landlock, or it is switched off".into())?;
    }
    let cgroup_version = host.cgroups.as_ref().ok().map(crate::cgroup::Tree::version);
    let mut steps = Vec::new();
    let mut add = |actor, layer, action| steps.push(Step { actor, layer, action });
    supervisor_steps(needs, host, outside, cgroup_version, &mut add);
    init_steps(needs, host.landlock, cgroup_version, &mut add);
    job_steps(needs, host, cgroup_version, &mut add);
    let mut joining = Vec::new();
    if needs.joinable {
        let mut add = |layer, action| joining.push(Step { actor: Actor::Fork, layer, action });
        joining_steps(needs, host, cgroup_version, &mut add);
    }
    Ok(Plan { steps, joining, missing })
}

type Add<'a> = dyn FnMut(Actor, Layer, Action) + 'a;

fn supervisor_steps(needs: &Needs, host: &Host, outside: Outside, cgroup: Option<u8>, add: &mut Add<'_>) {
    let limits = &needs.limits;
    let create = Action::CreateCgroup(CgroupLimits {
        // Files on tmpfs are charged here too. The supervisor holds the rest to `memory_bytes`; this is the wall behind it.
        memory_bytes: limits.memory_bytes.saturating_add(limits.disk_bytes),
        // Init is one of them.
        processes: limits.processes.saturating_add(1),
        cpus: limits.cpus.min(host.processors as f64 - SUPERVISOR_CPUS),
    });
    if cgroup == Some(2) {
        add(Actor::Supervisor, Layer::Cgroup, create.clone());
    }
    let mut namespaces =
        vec![Layer::Userns, Layer::Pidns, Layer::Mountns, Layer::Netns, Layer::Ipcns, Layer::Utsns];
    if cgroup != Some(1) {
        namespaces.push(Layer::Cgroupns);
    }
    add(Actor::Supervisor, Layer::Pidns, Action::CloneInit { namespaces });
    add(Actor::Supervisor, Layer::Userns, Action::MapIds(outside));
    if cgroup == Some(1) {
        // While init builds: it joins them when it has.
        add(Actor::Supervisor, Layer::Cgroup, create);
    }
}

fn init_steps(needs: &Needs, landlock: i32, cgroup: Option<u8>, add: &mut Add<'_>) {
    let bytes = needs.limits.disk_bytes;
    let inodes = (bytes / BYTES_PER_INODE).clamp(*INODES.start(), *INODES.end());
    let mut init = |layer, action| add(Actor::Init, layer, action);
    init(Layer::Pidns, Action::DieWithParent);
    init(Layer::Mountns, Action::CloseDescriptors);
    init(Layer::Cgroup, Action::PreferAsOomVictim);
    init(Layer::Mountns, Action::OpenImage);
    init(Layer::Userns, Action::NewKeyring);
    init(Layer::Userns, Action::BecomeUser);
    init(Layer::Pidns, Action::BecomeUndumpable);
    // Again: a change of id clears it (prctl(2)).
    init(Layer::Pidns, Action::DieWithParent);
    init(Layer::Mountns, Action::PrivatizeMounts);
    init(Layer::Mountns, Action::MountRoot);
    init(Layer::Mountns, Action::MountScratch { bytes, inodes });
    init(Layer::Mountns, Action::MountProc);
    init(Layer::Mountns, Action::MaskProc);
    // Its `/tmp` covers the root of the scratch file system.
    init(Layer::Mountns, Action::MountDirectories);
    init(Layer::Mountns, Action::MountDevices);
    init(Layer::Netns, Action::LoopbackUp);
    if needs.egress {
        init(Layer::Netns, Action::ListenForProxy);
    }
    init(Layer::Utsns, Action::SetHostName);
    if cgroup == Some(1) {
        init(Layer::Cgroup, Action::JoinCgroup);
        init(Layer::Cgroupns, Action::UnshareCgroup);
    }
    // After the mounts, which need anonymous namespaces, and before the pivot, through the host's process file system.
    init(Layer::Userns, Action::ForbidNamespaces);
    if needs.joinable {
        init(Layer::Mountns, Action::OfferNamespaces);
    }
    init(Layer::Mountns, Action::PivotRoot);
    init(Layer::Mountns, Action::VerifyMounts);
    init(Layer::Capabilities, Action::DropCapabilities);
    init(Layer::NoNewPrivs, Action::NoNewPrivileges);
    if needs.joinable && landlock > 0 {
        init(Layer::Landlock, Action::OfferLandlock);
    }
    if needs.stays {
        // Before its first job: others will run when it starts the next.
        init(Layer::Seccomp, Action::FilterStayingInit);
        return init(Layer::Pidns, Action::ForkJob);
    }
    init(Layer::Pidns, Action::ForkJob);
    init(Layer::Seccomp, Action::FilterInit);
}

fn job_steps(needs: &Needs, host: &Host, cgroup: Option<u8>, add: &mut Add<'_>) {
    let mut job = |layer, action| add(Actor::Job, layer, action);
    job(Layer::Pidns, Action::DieWithParent);
    job(Layer::Pidns, Action::NewSession);
    if needs.stays && cgroup == Some(1) {
        // A group of its own below the sandbox's, by descriptors whose paths it does not see.
        job(Layer::Cgroup, Action::JoinCgroup);
    }
    job(Layer::Mountns, Action::PlaceDescriptors);
    job(Layer::Cgroup, lower_limits(&needs.limits, cgroup));
    job(Layer::Pidns, Action::ResetSignals);
    job(Layer::NoNewPrivs, Action::NoNewPrivileges);
    if host.landlock > 0 {
        job(Layer::Landlock, Action::Landlock);
    }
    job(Layer::Seccomp, Action::Seccomp);
}

fn lower_limits(limits: &Limits, cgroup: Option<u8>) -> Action {
    Action::LowerLimits {
        file_bytes: limits.disk_bytes,
        // Init is one of them. Where a control group counts too, it must be the first to refuse: it also says that it did.
        processes: limits.processes.saturating_add(if cgroup.is_some() { PROCESS_SLACK } else { 1 }),
        data_bytes: cgroup.is_none().then_some(limits.memory_bytes),
    }
}

/// What init did for an executed job before it was one, then what such a job does itself.
fn joining_steps(needs: &Needs, host: &Host, cgroup: Option<u8>, fork: &mut dyn FnMut(Layer, Action)) {
    // Before it is inside, where others of its id may be.
    fork(Layer::Pidns, Action::BecomeUndumpable);
    if cgroup.is_some() {
        // By descriptors whose paths it will not see any more.
        fork(Layer::Cgroup, Action::JoinCgroup);
    }
    fork(Layer::Userns, Action::EnterNamespaces);
    fork(Layer::Pidns, Action::NewSession);
    fork(Layer::Cgroup, lower_limits(&needs.limits, cgroup));
    fork(Layer::Userns, Action::BecomeUser);
    fork(Layer::Userns, Action::NewKeyring);
    fork(Layer::Capabilities, Action::DropCapabilities);
    fork(Layer::Mountns, Action::AwaitInputs);
    fork(Layer::Mountns, Action::PlaceDescriptors);
    fork(Layer::Pidns, Action::BecomeDumpable);
    fork(Layer::NoNewPrivs, Action::NoNewPrivileges);
    if host.landlock > 0 {
        fork(Layer::Landlock, Action::Landlock);
    }
    fork(Layer::Seccomp, Action::Seccomp);
}

impl Plan {
    /// This plan without the steps of these names, for positive controls: an attack must succeed when its walls are gone.
    pub fn without(mut self, names: &[&str]) -> Plan {
        self.steps.retain(|step| !names.contains(&step.action.name()));
        self.joining.retain(|step| !names.contains(&step.action.name()));
        self
    }

    /// The steps of one actor with their places in the whole.
    pub fn of(&self, actor: Actor) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate().filter(move |(_, step)| step.actor == actor)
    }

    /// The layers that stand when every step is done.
    pub fn layers(&self) -> Vec<Layer> {
        let of_clone = self.steps.iter().flat_map(|step| match &step.action {
            Action::CloneInit { namespaces } => namespaces.clone(),
            _ => vec![step.layer],
        });
        let built: BTreeSet<Layer> = of_clone.collect();
        Layer::ALL
            .into_iter()
            .filter(|layer| built.contains(layer) && !self.missing.contains(layer))
            .collect()
    }
}

impl Action {
    /// The step's name, as plans are printed and tests name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateCgroup(_) => "create-cgroup",
            Self::CloneInit { .. } => "clone-init",
            Self::MapIds(_) => "map-ids",
            Self::CloseDescriptors => "close-descriptors",
            Self::PreferAsOomVictim => "prefer-as-oom-victim",
            Self::DieWithParent => "die-with-parent",
            Self::JoinCgroup => "join-cgroup",
            Self::UnshareCgroup => "unshare-cgroup",
            Self::OpenImage => "open-image",
            Self::NewKeyring => "new-keyring",
            Self::BecomeUser => "become-user",
            Self::BecomeUndumpable => "become-undumpable",
            Self::PrivatizeMounts => "privatize-mounts",
            Self::MountRoot => "mount-root",
            Self::MountScratch { .. } => "mount-scratch",
            Self::MountDirectories => "mount-directories",
            Self::MountDevices => "mount-devices",
            Self::MountProc => "mount-proc",
            Self::MaskProc => "mask-proc",
            Self::LoopbackUp => "loopback-up",
            Self::ListenForProxy => "listen-for-proxy",
            Self::SetHostName => "set-host-name",
            Self::ForbidNamespaces => "forbid-namespaces",
            Self::PivotRoot => "pivot-root",
            Self::VerifyMounts => "verify-mounts",
            Self::DropCapabilities => "drop-capabilities",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::ForkJob => "fork-job",
            Self::FilterInit => "filter-init",
            Self::FilterStayingInit => "filter-staying-init",
            Self::OfferNamespaces => "offer-namespaces",
            Self::OfferLandlock => "offer-landlock",
            Self::EnterNamespaces => "enter-namespaces",
            Self::AwaitInputs => "await-inputs",
            Self::BecomeDumpable => "become-dumpable",
            Self::NewSession => "new-session",
            Self::PlaceDescriptors => "place-descriptors",
            Self::LowerLimits { .. } => "lower-limits",
            Self::ResetSignals => "reset-signals",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// What the step does here, for people.
    fn details(&self) -> String {
        use model::units::format_bytes as bytes_text;
        let names = |layers: &[Layer]| layers.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(" ");
        match self {
            Self::CreateCgroup(limits) => {
                format!("memory {} (with tmpfs), processes {}, cpus {}", bytes_text(limits.memory_bytes), limits.processes, limits.cpus)
            }
            Self::CloneInit { namespaces } => names(namespaces),
            Self::MapIds(outside) => format!("{INSIDE_UID} inside is {outside}"),
            Self::MountRoot => "/ from the image: overlay, read-only, nosuid, nodev".into(),
            Self::MountScratch { bytes, inodes } => format!("tmpfs {}, {inodes} inodes, nosuid, nodev", bytes_text(*bytes)),
            Self::MountDirectories => DIRECTORIES.map(|(_, place, _)| place).join(" "),
            Self::MountDevices => DEVICES.join(" "),
            Self::MountProc => "/proc: own processes only".into(),
            Self::MaskProc => format!("all but {}", crate::procfs::VISIBLE.join(" ")),
            Self::ForbidNamespaces => "no further user namespaces, hence none of any kind".into(),
            Self::ListenForProxy => format!("127.0.0.1:{PROXY_PORT}, served from outside"),
            Self::SetHostName => INSIDE_USER.into(),
            Self::PlaceDescriptors => "0 stdin, 1 stdout, 2 stderr, 3 result".into(),
            Self::LowerLimits { file_bytes, processes, data_bytes } => {
                let data = data_bytes.map_or(String::new(), |bytes| format!(", data {}", bytes_text(bytes)));
                format!("file {}, processes {processes}, no core dumps, no locked memory{data}", bytes_text(*file_bytes))
            }
            Self::Landlock => "read and execute everywhere, write in the scratch directories; scopes: signals, abstract sockets".into(),
            Self::Seccomp => "allow-list policy/seccomp/job.toml, all else ENOSYS".into(),
            Self::FilterInit => "allow-list policy/seccomp/init.toml".into(),
            Self::FilterStayingInit => "allow-list policy/seccomp/stay.toml".into(),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().chain(&self.joining).enumerate() {
            let actor = format!("{:?}", step.actor).to_lowercase();
            let line =
                format!("{index:>2}  {actor:<10}  {:<20}  {}", step.action.name(), step.action.details());
            writeln!(f, "{}", line.trim_end())?;
        }
        for layer in &self.missing {
            writeln!(f, "    missing     {layer}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
