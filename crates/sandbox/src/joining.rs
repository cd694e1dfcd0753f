//! How a zygote's fork enters a finished sandbox: the plan's joining steps as system calls, sent to the zygote as data.
//!
//! The zygote's native half (`guest/zygote`) performs them in the fork, in order, and stops at the first that fails. So a forked job
//! is confined by what stands in the plan, and by nothing that the zygote decides.

use crate::plan::{Action, INSIDE_UID, Plan};
use crate::{init, seccomp, streams};
use model::{Fault, FaultCode, Layer};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::identity;

#[path = "../../../guest/zygote/src/request.rs"]
mod request;
use request::{
    CONFINED, Call, DATA, DESCRIPTOR, DESCRIPTORS_MAX, FAILED, FORKED, Header, KEPT, LITERAL, MAGIC,
    PID_NAMESPACE, REFUSED, REPORT, REQUEST_BYTES_MAX,
};

/// How long a zygote may take: it may still be importing what it is to have warm.
const FORK_MS: i64 = 10_000;

/// Why no fork came in.
#[derive(Debug)]
pub enum NotJoined {
    /// None was made: nothing of the run has begun, and it may be done another way.
    NoFork(Fault),
    /// One was made, and a step of its failed.
    Failed(Fault),
}

/// The namespaces that a fork enters, in this order; it is born into the first. Names of `/proc/self/ns` (namespaces(7)).
pub const NAMESPACES: [&std::ffi::CStr; 7] = [c"pid", c"user", c"mnt", c"net", c"ipc", c"uts", c"cgroup"];

/// The layers that they are.
const NAMESPACE_LAYERS: [Layer; NAMESPACES.len()] =
    [Layer::Pidns, Layer::Userns, Layer::Mountns, Layer::Netns, Layer::Ipcns, Layer::Utsns, Layer::Cgroupns];

/// What init offers a fork to enter by.
#[derive(Debug)]
pub struct Offer {
    /// In the order of [`NAMESPACES`].
    pub namespaces: Vec<OwnedFd>,
    /// The rules for files and signals, where the kernel has Landlock.
    pub ruleset: Option<OwnedFd>,
}

impl Offer {
    /// Reads what came with init's word that it is ready; `None` if that was no offer.
    pub fn of(mut descriptors: Vec<OwnedFd>) -> Option<Self> {
        let rest = descriptors.split_off(NAMESPACES.len().min(descriptors.len()));
        (descriptors.len() == NAMESPACES.len())
            .then(|| Self { namespaces: descriptors, ruleset: rest.into_iter().next() })
    }
}

/// What a fork is to have, besides the offer.
pub struct Belongings<'a> {
    /// Files through which it joins its control groups.
    pub tasks: &'a [OwnedFd],
    /// Standard input, output, error, and the result channel.
    pub streams: [BorrowedFd<'a>; 4],
    /// What to do; or the socket on which one that is forked ahead will hear it.
    pub errand: BorrowedFd<'a>,
}

/// The way into one sandbox, prepared before anybody goes it.
#[derive(Debug)]
pub struct Way {
    compiled: Compiled,
    /// What is sent to the zygote.
    request: Vec<u8>,
    /// Readable when init has written the inputs, which it says on the other end.
    ready: OwnedFd,
    said: OwnedFd,
    report: OwnedFd,
    reporting: OwnedFd,
}

impl Way {
    /// Prepares the way by this plan, with so many files to join control groups by. A fork that is made `ahead` does not wait for inputs
    /// on its way: it does so when it is confined, on its errand.
    pub fn into(plan: &Plan, offer: &Offer, tasks: usize, ahead: bool) -> Result<Self, Fault> {
        let exhausted = |error: sys::Error| Fault::new(FaultCode::ResourcesExhausted, error.to_string());
        let compiled = compile(plan, &Places::of(offer, tasks), ahead)?;
        let request = compiled.bytes();
        if request.len() > REQUEST_BYTES_MAX {
            return Err(Fault::new(
                FaultCode::Internal,
                "the way into the sandbox is too long for one request",
            ));
        }
        let (ready, said) = sys::fs::pipe_to_read().map_err(exhausted)?;
        // The fork waits for it as any program would.
        streams::clear_nonblocking(ready.as_fd()).map_err(exhausted)?;
        let (report, reporting) = sys::fs::pipe_to_read().map_err(exhausted)?;
        Ok(Self { compiled, request, ready, said, report, reporting })
    }

    /// Where init says that the inputs are written.
    pub fn said(&self) -> BorrowedFd<'_> {
        self.said.as_fd()
    }

    /// Has the zygote behind `zygote` fork into the sandbox. Returns the fork's process id inside, when every step succeeded.
    pub fn fork(
        self,
        zygote: BorrowedFd<'_>,
        plan: &Plan,
        offer: &Offer,
        belongings: &Belongings<'_>,
    ) -> Result<i32, NotJoined> {
        let Self { compiled, request, ready, said, report, reporting } = self;
        // If init goes without a word, its end is the last.
        drop(said);
        let Offer { namespaces, ruleset } = offer;
        let mut descriptors = vec![namespaces[0].as_fd(), reporting.as_fd()];
        descriptors.extend(namespaces[1..].iter().map(AsFd::as_fd));
        descriptors.extend(belongings.streams);
        descriptors.extend([belongings.errand, ready.as_fd()]);
        descriptors.extend(ruleset.iter().map(AsFd::as_fd));
        descriptors.extend(belongings.tasks.iter().map(AsFd::as_fd));
        debug_assert!(descriptors.len() <= DESCRIPTORS_MAX);
        sys::socket::send(zygote, &request, &descriptors).map_err(|error| no_fork(&error))?;
        drop(reporting);
        hear(report, plan, &compiled)
    }
}

/// Hears the report to its end.
fn hear(report: OwnedFd, plan: &Plan, compiled: &Compiled) -> Result<i32, NotJoined> {
    let mut heard = Vec::new();
    loop {
        let mut poll = [PollFd::new(&report, PollFlags::IN)];
        let patience = Timespec { tv_sec: FORK_MS / 1000, tv_nsec: 0 };
        match rustix::event::poll(&mut poll, Some(&patience)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(1..) => {}
            _ => break,
        }
        let mut records = [0; 16];
        match rustix::io::read(&report, &mut records) {
            Ok(0) => break,
            Ok(length) => heard.extend(&records[..length]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
    let words: Vec<u32> =
        heard.chunks_exact(4).map(|word| word.try_into().map_or(0, u32::from_ne_bytes)).collect();
    let records: Vec<(u32, i32)> =
        words.chunks_exact(2).map(|record| (record[0], record[1] as i32)).collect();
    let said = |wanted: u32| records.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    if let Some((tag, errno)) = records.iter().find(|(tag, _)| *tag >= FAILED) {
        let step = compiled.steps.get((tag - FAILED) as usize).copied().unwrap_or(usize::MAX);
        let name = plan.joining.get(step).map_or("unknown", |step| step.action.name());
        let error = std::io::Error::from_raw_os_error(*errno);
        let index = plan.steps.len().saturating_add(step);
        let fault = Fault::new(FaultCode::IsolationFailed, format!("step {index} {name}: {error}"));
        return Err(NotJoined::Failed(fault));
    }
    match (said(FORKED), said(CONFINED), said(REFUSED)) {
        (Some(pid), Some(_), _) => Ok(pid),
        (None, None, Some(errno)) => Err(no_fork(&std::io::Error::from_raw_os_error(errno))),
        (None, None, None) => Err(no_fork(&"the zygote is gone")),
        _ => {
            let message = "a fork ended before it was confined";
            Err(NotJoined::Failed(Fault::new(FaultCode::Interrupted, message)))
        }
    }
}

fn no_fork(error: &dyn std::fmt::Display) -> NotJoined {
    let message = format!("fork a warm interpreter: {error}");
    NotJoined::NoFork(Fault::new(FaultCode::ResourcesExhausted, message))
}

/// Where what is sent lies among the descriptors.
#[derive(Debug)]
struct Places {
    namespaces: Vec<u64>,
    /// What the fork keeps, in the order of its numbers from 0 on.
    kept: Vec<u64>,
    ready: u64,
    ruleset: Option<u64>,
    tasks: Vec<u64>,
}

impl Places {
    /// In the order that [`Way::fork`] sends.
    fn of(offer: &Offer, tasks: usize) -> Self {
        let mut next = 0..;
        let mut take = || next.next().unwrap_or(u64::MAX);
        let pid = take();
        let report = take();
        debug_assert_eq!((pid, report), (PID_NAMESPACE as u64, REPORT as u64));
        Self {
            namespaces: std::iter::once(pid).chain((1..NAMESPACES.len()).map(|_| take())).collect(),
            kept: (0..KEPT).map(|_| take()).collect(),
            ready: take(),
            ruleset: offer.ruleset.is_some().then(&mut take),
            tasks: (0..tasks).map(|_| take()).collect(),
        }
    }
}

/// A request in the making.
#[derive(Debug, Default)]
struct Compiled {
    calls: Vec<Call>,
    /// For each call the joining step that it is part of.
    steps: Vec<usize>,
    relocations: Vec<u32>,
    data: Vec<u8>,
}

/// An argument of a call.
#[derive(Clone, Copy)]
enum Argument {
    Number(u64),
    Data(u64),
    Descriptor(u64),
}
use Argument::{Data, Descriptor, Number};

impl Compiled {
    /// Adds a call that must not fail.
    fn call(&mut self, step: usize, number: libc::c_long, arguments: &[Argument]) -> &mut Call {
        let mut call =
            Call { number: number as u32, kinds: 0, tolerated: 0, expected: -1, arguments: [0; 6] };
        for (place, argument) in arguments.iter().enumerate() {
            let (kind, value) = match argument {
                Number(value) => (LITERAL, value),
                Data(value) => (DATA, value),
                Descriptor(value) => (DESCRIPTOR, value),
            };
            call.kinds |= kind << (2 * place);
            call.arguments[place] = *value;
        }
        self.calls.push(call);
        self.steps.push(step);
        let last = self.calls.len() - 1;
        &mut self.calls[last]
    }

    /// Adds data, aligned to eight bytes.
    fn data(&mut self, bytes: impl IntoIterator<Item = u8>) -> Argument {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = self.data.len();
        self.data.extend(bytes);
        Data(at as u64)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(REQUEST_BYTES_MAX);
        let header: Header =
            [MAGIC, self.calls.len() as u32, self.relocations.len() as u32, self.data.len() as u32];
        bytes.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        for call in &self.calls {
            let Call { number, kinds, tolerated, expected, arguments } = call;
            for word in [*number, *kinds, *tolerated, *expected as u32] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
        }
        bytes.extend(self.relocations.iter().flat_map(|offset| offset.to_ne_bytes()));
        bytes.extend(&self.data);
        bytes
    }
}

/// The joining steps as calls.
fn compile(plan: &Plan, places: &Places, ahead: bool) -> Result<Compiled, Fault> {
    let mut compiled = Compiled::default();
    let on_the_way = |action: &Action| !(ahead && *action == Action::AwaitInputs);
    for (index, step) in plan.joining.iter().enumerate().filter(|(_, step)| on_the_way(&step.action)) {
        compile_step(&step.action, index, plan, places, &mut compiled)
            .map_err(|error| Fault::new(FaultCode::Internal, format!("{}: {error}", step.action.name())))?;
    }
    Ok(compiled)
}

fn compile_step(
    action: &Action,
    step: usize,
    plan: &Plan,
    places: &Places,
    compiled: &mut Compiled,
) -> sys::Result<()> {
    let prctl =
        |option: libc::c_int, value: u64| [Number(option as u64), Number(value), Number(0), Number(0)];
    match action {
        Action::BecomeUndumpable => {
            compiled.call(step, libc::SYS_prctl, &prctl(libc::PR_SET_DUMPABLE, 0));
        }
        Action::BecomeDumpable => {
            compiled.call(step, libc::SYS_prctl, &prctl(libc::PR_SET_DUMPABLE, 1));
        }
        Action::JoinCgroup => {
            // What joins nothing would be held by nothing.
            if places.tasks.is_empty() {
                return Err(sys::Error { call: "tasks", errno: libc::ENOENT });
            }
            let zero = compiled.data(*b"0");
            for tasks in &places.tasks {
                compiled.call(step, libc::SYS_write, &[Descriptor(*tasks), zero, Number(1)]).expected = 1;
            }
        }
        Action::EnterNamespaces => {
            // All of them, but for a plan that was weakened to measure or to show what a layer does: what init did not leave is the
            // host's, and a fork that is in the sandbox's user namespace may not enter that.
            let made = plan.layers();
            let is_made = |layer: Layer| made.contains(&layer);
            let namespaces = NAMESPACE_LAYERS.into_iter().zip(&places.namespaces).skip(1);
            for (_, namespace) in namespaces.filter(|(layer, _)| is_made(*layer)) {
                compiled.call(step, libc::SYS_setns, &[Descriptor(*namespace), Number(0)]);
            }
        }
        Action::NewSession => {
            compiled.call(step, libc::SYS_setsid, &[]);
        }
        Action::LowerLimits { file_bytes, processes, data_bytes } => {
            for (resource, value) in init::limits(*file_bytes, *processes, *data_bytes) {
                let value = sys::limits::lowered(resource, value)?.to_ne_bytes();
                let limit = compiled.data(value.into_iter().chain(value));
                let arguments = [Number(0), Number(u64::from(resource)), limit, Number(0)];
                compiled.call(step, libc::SYS_prlimit64, &arguments);
            }
        }
        Action::BecomeUser => {
            let id = Number(u64::from(INSIDE_UID));
            // Denied where an ordinary user made the namespace (user_namespaces(7)).
            compiled.call(step, libc::SYS_setgroups, &[Number(0), Number(0)]).tolerated = libc::EPERM as u32;
            compiled.call(step, libc::SYS_setresgid, &[id, id, id]);
            compiled.call(step, libc::SYS_setresuid, &[id, id, id]);
        }
        Action::NewKeyring => {
            const JOIN_SESSION_KEYRING: u64 = 1;
            let arguments = [Number(JOIN_SESSION_KEYRING), Number(0)];
            compiled.call(step, libc::SYS_keyctl, &arguments).tolerated = libc::ENOSYS as u32;
        }
        Action::DropCapabilities => drop_capabilities(step, compiled),
        Action::AwaitInputs => {
            let place = compiled.data([0; 8]);
            compiled.call(step, libc::SYS_read, &[Descriptor(places.ready), place, Number(1)]).expected = 1;
        }
        Action::PlaceDescriptors => {
            debug_assert_eq!(places.kept.len() as u64, KEPT);
            for (target, kept) in places.kept.iter().enumerate() {
                compiled.call(step, libc::SYS_dup2, &[Descriptor(*kept), Number(target as u64)]);
            }
        }
        Action::NoNewPrivileges => {
            compiled.call(step, libc::SYS_prctl, &prctl(libc::PR_SET_NO_NEW_PRIVS, 1));
        }
        Action::Landlock => {
            let ruleset = places.ruleset.ok_or(sys::Error { call: "ruleset", errno: libc::ENOENT })?;
            compiled.call(step, libc::SYS_landlock_restrict_self, &[Descriptor(ruleset), Number(0)]);
        }
        Action::Seccomp => filter(step, compiled),
        other => return Err(sys::Error { call: other.name(), errno: libc::ENOSYS }),
    }
    Ok(())
}

/// As `sys::identity::drop_capabilities` does it.
fn drop_capabilities(step: usize, compiled: &mut Compiled) {
    let prctl = |option: libc::c_int, first: u64, second: u64| {
        [Number(option as u64), Number(first), Number(second), Number(0), Number(0)]
    };
    for capability in 0..=identity::last_capability() {
        compiled.call(step, libc::SYS_prctl, &prctl(libc::PR_CAPBSET_DROP, capability, 0));
    }
    let clear = prctl(identity::PR_CAP_AMBIENT, identity::PR_CAP_AMBIENT_CLEAR_ALL, 0);
    compiled.call(step, libc::SYS_prctl, &clear);
    compiled.call(step, libc::SYS_prctl, &prctl(libc::PR_SET_SECUREBITS, identity::SECUREBITS, 0));
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let header = compiled.data(words(&identity::CAPSET_HEADER));
    let none = compiled.data(words(&identity::CAPSET_NONE));
    compiled.call(step, libc::SYS_capset, &[header, none]);
}

/// `struct sock_fprog`: a count, then the address of the instructions.
fn filter(step: usize, compiled: &mut Compiled) {
    let program = seccomp::job();
    let instructions = program.iter().flat_map(|one| {
        let [low, high] = one.code.to_ne_bytes();
        [low, high, one.jt, one.jf].into_iter().chain(one.k.to_ne_bytes())
    });
    let instructions: Vec<u8> = instructions.collect();
    let Data(at) = compiled.data(instructions) else { return };
    let head = (program.len() as u64).to_ne_bytes();
    let head = compiled.data(head.into_iter().chain(at.to_ne_bytes()));
    let Data(head_at) = head else { return };
    compiled.relocations.push(head_at as u32 + 8);
    let mode = Number(u64::from(libc::SECCOMP_SET_MODE_FILTER));
    compiled.call(step, libc::SYS_seccomp, &[mode, Number(0), head]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Tree;
    use crate::host::{Host, Outside};
    use crate::plan::{Needs, plan};
    use model::Policy;

    fn places(tasks: Vec<u64>) -> Places {
        let namespaces = (0..NAMESPACES.len() as u64).collect();
        Places { namespaces, kept: (0..KEPT).collect(), ready: 0, ruleset: Some(0), tasks }
    }

    /// The calls of this plan, by number.
    fn numbers(plan: &Plan, ahead: bool) -> Vec<i64> {
        let compiled = compile(plan, &places(vec![0]), ahead).unwrap();
        compiled.calls.iter().map(|call| i64::from(call.number)).collect()
    }

    fn host(cgroups: Result<Tree, String>) -> Host {
        let outside = Ok(Outside::Reserved { base: 1_900_000_000, span: 1 << 22 });
        Host { outside, cgroups, landlock: 6, processors: 2 }
    }

    fn needs(stays: bool) -> Needs {
        let limits = Policy::DEFAULT.limits;
        Needs { limits, allow_missing: [Layer::Cgroup].into(), joinable: true, stays, egress: false }
    }

    #[test]
    fn no_fork_comes_in_without_a_control_group_where_there_are_any() {
        let paths = || "/nowhere".into();
        for tree in [Tree::V1 { memory: paths(), pids: paths(), cpu: paths() }, Tree::V2 { parent: paths() }]
        {
            let tasks = if tree.version() == 1 { vec![0, 1, 2] } else { vec![0] };
            for stays in [false, true] {
                let plan = plan(&needs(stays), &host(Ok(tree.clone()))).unwrap();
                let refused = compile(&plan, &places(Vec::new()), true).unwrap_err();
                assert!(refused.message.contains("join-cgroup"), "{refused}");
                let joins = numbers(&plan, true).iter().filter(|one| **one == libc::SYS_write).count();
                assert_eq!(joins, 1, "{plan}");
                let compiled = compile(&plan, &places(tasks.clone()), true).unwrap();
                let joins = compiled.calls.iter().filter(|one| i64::from(one.number) == libc::SYS_write);
                assert_eq!(joins.count(), tasks.len());
            }
        }
    }

    /// How many namespaces a fork enters by this plan, besides the one that it is born into.
    fn entered(plan: &Plan) -> usize {
        numbers(plan, false).iter().filter(|number| **number == libc::SYS_setns).count()
    }

    #[test]
    fn a_fork_enters_every_namespace_that_the_plan_makes() {
        let paths = || "/nowhere".into();
        let trees = [Tree::V1 { memory: paths(), pids: paths(), cpu: paths() }, Tree::V2 { parent: paths() }];
        for tree in trees.map(Ok).into_iter().chain([Err("none".to_owned())]) {
            let mut plan = plan(&needs(false), &host(tree)).unwrap();
            assert_eq!(entered(&plan), NAMESPACES.len() - 1, "{plan}");
            // One that is made ahead leaves out the one wait, and nothing else.
            let mut waits_not = numbers(&plan, false);
            waits_not.retain(|number| *number != libc::SYS_read);
            assert_eq!(numbers(&plan, true), waits_not);
            assert_eq!(waits_not.len() + 1, numbers(&plan, false).len());
            plan = plan.without(&["loopback-up"]);
            for step in &mut plan.steps {
                if let Action::CloneInit { namespaces } = &mut step.action {
                    namespaces.retain(|layer| *layer != Layer::Netns);
                }
            }
            assert_eq!(entered(&plan), NAMESPACES.len() - 2, "{plan}");
        }
    }
}
