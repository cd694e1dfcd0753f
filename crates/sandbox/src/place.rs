//! One sandbox from the outside: made by the supervisor's steps of a plan, started once, destroyed whatever happened between.

use crate::cgroup::Leaf;
use crate::control::{self, Message};
use crate::host::{self, Host};
use crate::image::Image;
use crate::init::{self, Birth};
use crate::joining::{Belongings, NotJoined, Offer, Way};
use crate::plan::{Action, Actor, Needs, Plan};
use crate::procfs;
use model::{Fault, FaultCode, Layer};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use sys::process::Cloned;

/// Lowest number of init's end of the control socket.
const CONTROL_MIN: i32 = 8;
/// How long init may take to build: a thousand times what it does.
const BUILD_MS: i64 = 10_000;
/// How long it takes at most where nothing is in the way. After that what is killed is given all processors, to die.
const EASY_DEATH_MS: i64 = 20;
/// How long the kernel may take to end what was killed before the sandbox is reported as stuck.
const DEATH_MS: i64 = 2_000;

/// A sandbox for one errand.
#[derive(Debug)]
pub struct Sandbox {
    pid: i32,
    /// Names init for ever, whatever becomes of its number.
    init: OwnedFd,
    control: OwnedFd,
    scratch: OwnedFd,
    cgroup: Option<Leaf>,
    /// Set when init has built its part.
    built: bool,
    /// Where programs find their proxy, once it is built and if its plan has that; until somebody takes it.
    listener: Option<OwnedFd>,
    /// What a zygote's fork enters by, once it is built and if its plan has that.
    offer: Option<Offer>,
    /// Files through which a fork joins the control group.
    tasks: Vec<OwnedFd>,
    /// What a fork needs of us, once it is prepared.
    way: Option<Way>,
    /// The user and group that the code has outside.
    ids: (u32, u32),
    /// Set when init has been waited for, with the processor time that all of it used.
    cpu_us: Option<u64>,
}

/// What a sandbox is made with, besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The root.
    pub image: &'a Image,
    /// The machine.
    pub host: &'a Host,
    /// What the plan was made for.
    pub needs: &'a Needs,
    /// Name of the control group; unique on this machine.
    pub name: &'a str,
    /// Fail at this step instead of performing it: fault injection for tests.
    pub fail_at: Option<usize>,
}

/// What the supervisor's steps made so far; dropping it undoes them in reverse.
#[derive(Default)]
struct Making {
    spare: Option<Leaf>,
    cgroup: Option<Leaf>,
    tasks: Vec<OwnedFd>,
    child: Option<(i32, OwnedFd)>,
    ids: Option<(u32, u32)>,
}

impl Sandbox {
    /// Performs the supervisor's part of the plan; init then builds, until [`Sandbox::await_built`]. The caller must have a single
    /// thread.
    ///
    /// A `spare` control group is used again if it is as good as a new one.
    pub fn build(plan: &Plan, site: &Site<'_>, spare: Option<Leaf>) -> Result<Self, Fault> {
        let (control, init_control) =
            sys::socket::pair().map_err(|error| machine("control socket", &error))?;
        // Above the numbers that the job's streams get: it reports what fails after they have taken their places.
        let init_control = sys::process::duplicate_above(init_control.as_fd(), CONTROL_MIN)
            .map_err(|error| machine("control socket", &error))?;
        let mut making = Making { spare, ..Making::default() };
        let done = perform(plan, site, &control, init_control, &mut making);
        let Making { cgroup, tasks, child, ids, spare } = making;
        drop(spare);
        let Some((pid, init)) = child else {
            return Err(done.err().unwrap_or_else(|| internal("the plan clones nothing")));
        };
        // From here on dropping the sandbox kills and reaps what was cloned. Its scratch descriptor comes with `Ready`.
        let scratch = control.try_clone().map_err(|error| machine("duplicate", &error))?;
        let ids = ids.unwrap_or_default();
        let (built, listener, offer, way) = (false, None, None, None);
        let mut sandbox = Self {
            pid,
            init,
            control,
            scratch,
            cgroup,
            built,
            listener,
            offer,
            tasks,
            way,
            ids,
            cpu_us: None,
        };
        match done {
            // Init is gone: it said why before it went.
            Err(fault) if fault.code == FaultCode::Interrupted => {
                sandbox.await_built(plan).and(Err(fault))?
            }
            other => other?,
        }
        Ok(sandbox)
    }

    /// Waits until init has built its part. What is to be done may be sent before: then nobody waits for anybody.
    pub fn await_built(&mut self, plan: &Plan) -> Result<(), Fault> {
        if self.built {
            return Ok(());
        }
        if !wait_readable(&self.control, BUILD_MS)? {
            let message = format!("init did not build the sandbox within {BUILD_MS} ms");
            return Err(Fault::new(FaultCode::ResourcesExhausted, message));
        }
        match control::receive(self.control.as_fd()).map_err(|error| machine("receive from init", &error))? {
            Some((Message::Ready, mut descriptors)) if !descriptors.is_empty() => {
                self.scratch = descriptors.remove(0);
                let listens = plan.steps.iter().any(|step| step.action == Action::ListenForProxy);
                if listens && !descriptors.is_empty() {
                    self.listener = Some(descriptors.remove(0));
                }
                self.offer = Offer::of(descriptors);
                self.built = true;
                Ok(())
            }
            Some((message, _)) => Err(failure(plan, message)),
            None => Err(Fault::new(FaultCode::Interrupted, "init died while it built the sandbox")),
        }
    }

    /// Where programs find their proxy, for who serves it: once, and if it was planned and is built.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// Starts the one errand, a file of [`crate::errand::write`], once init is ready; `streams` are stdin, stdout, stderr and the
    /// result channel.
    pub fn start(&mut self, errand: BorrowedFd<'_>, streams: [BorrowedFd<'_>; 4]) -> Result<(), Fault> {
        let [stdin, stdout, stderr, result] = streams;
        tell(&self.control, Message::Start, &[errand, stdin, stdout, stderr, result])
    }

    /// Starts a program that waits on `waits`, its descriptor 4, for what it is to do; `errand` has no inputs yet. To be called when
    /// init has built.
    pub fn start_ahead(
        &mut self,
        plan: &Plan,
        errand: BorrowedFd<'_>,
        streams: [BorrowedFd<'_>; 4],
        waits: BorrowedFd<'_>,
    ) -> Result<(), Fault> {
        let [stdin, stdout, stderr, result] = streams;
        tell(&self.control, Message::StartAhead, &[errand, stdin, stdout, stderr, result, waits])?;
        if !wait_readable(&self.control, BUILD_MS)? {
            return Err(Fault::new(FaultCode::ResourcesExhausted, "the job did not start"));
        }
        match control::receive(self.control.as_fd()).map_err(|error| machine("receive from init", &error))? {
            Some((Message::Started, _)) => Ok(()),
            Some((message, _)) => Err(failure(plan, message)),
            None => Err(Fault::new(FaultCode::Interrupted, "init died while it started the job")),
        }
    }

    /// Has init write the inputs of `errand` and say on `ready` that they are there, for a job that was started ahead.
    pub fn furnish(&mut self, errand: BorrowedFd<'_>, ready: BorrowedFd<'_>) -> Result<(), Fault> {
        tell(&self.control, Message::Furnish, &[errand, ready])
    }

    /// Prepares what a fork needs, while nobody waits for it.
    pub fn prepare_fork(&mut self, plan: &Plan) -> Result<(), Fault> {
        if let Some(offer) = &self.offer {
            self.way = Some(Way::into(plan, offer, self.tasks.len(), false)?);
        }
        Ok(())
    }

    /// Has the zygote behind `zygote` fork the one job into it, once it is built.
    pub fn fork(
        &mut self,
        zygote: BorrowedFd<'_>,
        plan: &Plan,
        errand: BorrowedFd<'_>,
        streams: [BorrowedFd<'_>; 4],
    ) -> Result<(), NotJoined> {
        let offer = self.offer.as_ref().ok_or_else(|| internal("the plan lets no fork in"));
        let offer = offer.map_err(NotJoined::NoFork)?;
        let way = match self.way.take() {
            Some(way) => way,
            None => Way::into(plan, offer, self.tasks.len(), false).map_err(NotJoined::NoFork)?,
        };
        tell(&self.control, Message::Furnish, &[errand, way.said()]).map_err(NotJoined::Failed)?;
        let belongings = Belongings { tasks: &self.tasks, streams, errand };
        let pid = way.fork(zygote, plan, offer, &belongings)?;
        tell(&self.control, Message::Adopt { pid }, &[]).map_err(NotJoined::Failed)
    }

    /// Has the zygote fork a job into it, once it is built, that waits on `waits` for what it is to do. Returns its id inside.
    pub fn fork_ahead(
        &mut self,
        zygote: BorrowedFd<'_>,
        plan: &Plan,
        streams: [BorrowedFd<'_>; 4],
        waits: BorrowedFd<'_>,
    ) -> Result<i32, NotJoined> {
        let offer = self.offer.as_ref().ok_or_else(|| internal("the plan lets no fork in"));
        let offer = offer.map_err(NotJoined::NoFork)?;
        let way = Way::into(plan, offer, self.tasks.len(), true).map_err(NotJoined::NoFork)?;
        way.fork(zygote, plan, offer, &Belongings { tasks: &self.tasks, streams, errand: waits })
    }

    /// Tells init which process is the job, when it has furnished the place for it.
    pub fn adopt(&mut self, pid: i32) -> Result<(), Fault> {
        tell(&self.control, Message::Adopt { pid }, &[])
    }

    /// Starts a job in a sandbox that stays; `streams` are its descriptors from 0 on, `tasks` the files to join its groups by.
    pub(crate) fn launch(
        &mut self,
        job: u32,
        errand: BorrowedFd<'_>,
        streams: &[BorrowedFd<'_>],
        tasks: &[OwnedFd],
    ) -> Result<(), Fault> {
        let mut descriptors = vec![errand];
        descriptors.extend(streams);
        descriptors.extend(tasks.iter().map(AsFd::as_fd));
        tell(&self.control, Message::Launch { job, streams: streams.len() as u64 }, &descriptors)
    }

    /// Has the zygote behind `zygote` fork a job into a sandbox that stays, which waits on `waits`, its descriptor 4.
    pub(crate) fn fork_as(
        &mut self,
        job: u32,
        zygote: BorrowedFd<'_>,
        plan: &Plan,
        streams: [BorrowedFd<'_>; 4],
        (waits, tasks): (BorrowedFd<'_>, &[OwnedFd]),
    ) -> Result<(), NotJoined> {
        let offer = self.offer.as_ref().ok_or_else(|| internal("the plan lets no fork in"));
        let offer = offer.map_err(NotJoined::NoFork)?;
        let tasks = tasks_of_fork(&self.tasks, tasks);
        let way = Way::into(plan, offer, tasks.len(), true).map_err(NotJoined::NoFork)?;
        let pid = way.fork(zygote, plan, offer, &Belongings { tasks, streams, errand: waits })?;
        tell(&self.control, Message::AdoptAs { job, pid }, &[]).map_err(NotJoined::Failed)
    }

    /// Has init send a signal to the process group of a job of a sandbox that stays.
    pub(crate) fn signal(&self, job: u32, signal: i32) -> Result<(), Fault> {
        tell(&self.control, Message::Signal { job, signal }, &[])
    }

    /// Which input init refused before it went, and why, if it did: in the order of [`crate::inputs::of`].
    pub fn refusal(&self) -> Option<(u32, i32)> {
        if !wait_readable(&self.control, 0).ok()? {
            return None;
        }
        match control::receive(self.control.as_fd()).ok()?? {
            (Message::Refused { index, errno }, _) => Some((index, errno)),
            _ => None,
        }
    }

    /// Init's end of the conversation: readable when init says something or is gone.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// The root of the scratch file system, which holds `workspace`, `home`, `tmp` and `shm`.
    pub fn scratch(&self) -> BorrowedFd<'_> {
        self.scratch.as_fd()
    }

    /// The user and group that own the code's files, as the host numbers them.
    pub fn ids(&self) -> (u32, u32) {
        self.ids
    }

    /// Init's process id, as the host numbers it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The control group, if there is one.
    pub fn cgroup(&self) -> Option<&Leaf> {
        self.cgroup.as_ref()
    }

    /// Lets others have the processors first.
    pub fn give_way(&mut self) -> Result<(), Fault> {
        let Some(leaf) = &mut self.cgroup else { return Ok(()) };
        leaf.give_way().map_err(|error| machine("lower the processor weight", &error))
    }

    /// Gives what is killed all processors, to die.
    pub fn lift_processor_limit(&mut self) -> Result<(), Fault> {
        let Some(leaf) = &mut self.cgroup else { return Ok(()) };
        leaf.lift_processor_limit().map_err(|error| machine("lift the processor limit", &error))
    }

    /// Kills everything inside and waits until the kernel has ended it all; returns the processor time in microseconds.
    pub fn kill(&mut self) -> Result<u64, Fault> {
        if let Some(cpu_us) = self.cpu_us {
            return Ok(cpu_us);
        }
        match sys::process::kill(self.init.as_fd(), libc::SIGKILL) {
            // Dead already, but not yet waited for.
            Err(error) if error.errno != libc::ESRCH => return Err(machine("kill init", &error)),
            _ => {}
        }
        let mut dead = wait_readable(&self.init, EASY_DEATH_MS)?;
        if let (false, Some(leaf)) = (dead, &mut self.cgroup) {
            leaf.lift_processor_limit().map_err(|error| machine("lift the processor limit", &error))?;
        }
        dead = dead || wait_readable(&self.init, DEATH_MS)?;
        if !dead {
            return Err(internal(&format!("processes did not end within {DEATH_MS} ms of being killed")));
        }
        let reaped = sys::process::wait(self.pid, true).map_err(|error| machine("wait for init", &error))?;
        let cpu_us = reaped.map_or(0, |reaped| reaped.cpu_us);
        self.cpu_us = Some(cpu_us);
        Ok(cpu_us)
    }

    /// Kills, then removes the control group. What init mounted went with its namespace.
    pub fn destroy(self) -> Result<(), Fault> {
        match self.dismantle()? {
            Some(leaf) => leaf.remove().map_err(|error| machine("remove control group", &error)),
            None => Ok(()),
        }
    }

    /// Kills, and leaves the control group, empty, for another sandbox.
    pub fn dismantle(mut self) -> Result<Option<Leaf>, Fault> {
        self.kill()?;
        Ok(self.cgroup.take())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(fault) = self.kill() {
            eprintln!("fireclay: {fault}");
        }
    }
}

/// The files by which a fork joins its control groups: those of its job, or where jobs have none of their own (version 2), those of the
/// sandbox. A fork comes from outside: without them it would be in no group at all.
fn tasks_of_fork<'a>(sandbox: &'a [OwnedFd], job: &'a [OwnedFd]) -> &'a [OwnedFd] {
    if job.is_empty() { sandbox } else { job }
}

/// Waits until a descriptor is readable; false if it is not in time.
fn wait_readable(fd: &OwnedFd, patience_ms: i64) -> Result<bool, Fault> {
    let mut poll = [PollFd::new(fd, PollFlags::IN)];
    let patience = Timespec { tv_sec: patience_ms / 1000, tv_nsec: patience_ms % 1000 * 1_000_000 };
    loop {
        match rustix::event::poll(&mut poll, Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(|ready| ready > 0).map_err(|errno| machine("poll", &errno)),
        }
    }
}

/// The supervisor's steps, in order.
fn perform(
    plan: &Plan,
    site: &Site<'_>,
    control: &OwnedFd,
    init_control: OwnedFd,
    making: &mut Making,
) -> Result<(), Fault> {
    let mut init_control = Some(init_control);
    for (index, step) in plan.of(Actor::Supervisor) {
        if site.fail_at == Some(index) {
            return Err(step_failed(index, step.action.name(), "injected"));
        }
        let failed = |error: &dyn std::fmt::Display| step_failed(index, step.action.name(), error);
        match &step.action {
            Action::CreateCgroup(limits) => {
                let tree = site.host.cgroups.as_ref().map_err(|reason| failed(reason))?;
                let leaf = match making.spare.take().and_then(|spare| spare.renewed(limits)) {
                    Some(renewed) => renewed,
                    None => tree.leaf(site.name, limits).map_err(|error| failed(&error))?,
                };
                let leaf = making.cgroup.insert(leaf);
                let joined_later = making.child.is_some();
                if joined_later || !plan.joining.is_empty() {
                    let tasks = leaf.join_descriptors().map_err(|error| failed(&error))?;
                    if joined_later {
                        let join: Vec<BorrowedFd<'_>> = tasks.iter().map(AsFd::as_fd).collect();
                        tell(control, Message::Joinable, &join)?;
                    }
                    if !plan.joining.is_empty() {
                        making.tasks = tasks;
                    }
                }
            }
            Action::CloneInit { namespaces } => {
                let theirs = init_control.take().ok_or_else(|| internal("the plan clones twice"))?;
                making.child = Some(
                    clone_init(plan, site, namespaces, (control, theirs), making.cgroup.as_ref())
                        .map_err(|error| failed(&error))?,
                );
            }
            Action::MapIds(outside) => {
                let pid = making.child.as_ref().map_or(0, |child| child.0);
                let ids = outside.ids(pid);
                let deny_groups = matches!(outside, crate::host::Outside::Own { .. });
                sys::identity::map_ids(pid, crate::plan::INSIDE_UID, ids, deny_groups)
                    .map_err(|error| failed(&error))?;
                making.ids = Some(ids);
                tell(control, Message::Mapped, &[])?;
            }
            other => return Err(internal(&format!("{} is not a step of the supervisor", other.name()))),
        }
    }
    Ok(())
}

fn tell(control: &OwnedFd, message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), Fault> {
    control::send(control.as_fd(), message, descriptors)
        .map_err(|error| Fault::new(FaultCode::Interrupted, format!("init is gone: {error}")))
}

fn clone_init(
    plan: &Plan,
    site: &Site<'_>,
    namespaces: &[Layer],
    (ours, control): (&OwnedFd, OwnedFd),
    cgroup: Option<&Leaf>,
) -> std::io::Result<(i32, OwnedFd)> {
    // Only version 2 can be joined at birth, and only there is it made before.
    let into = cgroup.map(Leaf::directory).transpose()?;
    let birth = Birth {
        plan,
        control,
        supervisors_end: ours.as_raw_fd(),
        layers: site.image.directories()?,
        null: std::fs::File::options().read(true).write(true).open("/dev/null")?.into(),
        facts: procfs::facts(site.needs, procfs::processors(site.needs, site.host), procfs::boot_time_s()),
        fail_at: site.fail_at,
    };
    let flags = namespaces.iter().map(|layer| host::clone_flag(*layer)).fold(0, |all, flag| all | flag);
    let into = into.as_ref().map(AsFd::as_fd);
    match sys::process::clone_process(flags, into)
        .map_err(|error| std::io::Error::other(error.to_string()))?
    {
        Cloned::Child => init::live(birth),
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
    }
}

/// The fault that a message of init stands for.
pub(crate) fn failure(plan: &Plan, message: Message) -> Fault {
    match message {
        Message::Failed { step, errno, call } => {
            let call = String::from_utf8_lossy(&call);
            let name = plan.steps.get(step as usize).map_or("execute", |step| step.action.name());
            let error =
                format!("{}: {}", call.trim_end_matches('\0'), std::io::Error::from_raw_os_error(errno));
            step_failed(step as usize, name, error)
        }
        other => internal(&format!("init said {other:?} out of turn")),
    }
}

fn step_failed(index: usize, name: &str, error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::IsolationFailed, format!("step {index} {name}: {error}"))
}

fn machine(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("{what}: {error}"))
}

fn internal(message: &str) -> Fault {
    Fault::new(FaultCode::Internal, message)
}
