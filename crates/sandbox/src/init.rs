//! Init, PID 1 of a sandbox, and the job it forks: performs their steps of the plan, then reaps and reports.
//!
//! Runs in a child of the supervisor, which had one thread when it cloned: allocation and locks are safe here. It returns never.
//! The job is never PID 1, and init is undumpable and without rights before the job exists.

use crate::command::Command;
use crate::control::{self, Message};
use crate::errand::Errand;
use crate::plan::{Action, Actor, DEVICES, DIRECTORIES, INSIDE_UID, INSIDE_USER, PROXY_PORT, Plan};
use crate::{joining, mounts, procfs, seccomp, staying, verify};
use rustix::fs::{Mode, OFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use sys::landlock::Rights;
use sys::{Error, Result};

/// What init is born with.
pub struct Birth<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Init's end of the control socket.
    pub control: OwnedFd,
    /// The supervisor's end, of which init is born with a copy.
    pub supervisors_end: RawFd,
    /// The directories of the image, the uppermost first.
    pub layers: Vec<CString>,
    /// The null device, for standard streams.
    pub null: OwnedFd,
    /// The covers of entries of `/proc` that tell of this sandbox.
    pub facts: [(&'static CStr, String); 2],
    /// Fail at this step instead of performing it: fault injection for tests.
    pub fail_at: Option<usize>,
}

/// Descriptors gathered while building.
#[derive(Default)]
struct Built {
    /// The directories of the image, as overlays name them: highest first.
    layers: Option<Vec<OwnedFd>>,
    /// The new root, detached or attached.
    root: Option<OwnedFd>,
    /// The root of the scratch file system.
    scratch: Option<OwnedFd>,
    /// The host's process file system, let go at the pivot.
    host_proc: Option<OwnedFd>,
    /// What covers entries of `/proc`.
    covered: Vec<String>,
    /// Where programs find their proxy.
    listener: Option<OwnedFd>,
    /// What a zygote's fork enters by: the namespaces, then the rules.
    offer: Vec<OwnedFd>,
}

/// Lives as PID 1: builds, runs one job, reports, ends.
pub fn live(birth: Birth<'_>) -> ! {
    // As long as init holds that end itself, it would wait for ever for a supervisor that dies now.
    let alone = sys::process::close_inherited(birth.supervisors_end);
    let code = match alone.ok().and_then(|()| wait_for(&birth, Message::Mapped)) {
        None => 1,
        Some(_) => match build(&birth) {
            Ok(made) => serve(&birth, made),
            Err(failed) => report(&birth, failed),
        },
    };
    sys::process::exit_now(code)
}

/// Says that a step failed. If even that cannot be said, the supervisor sees the end of the socket.
pub(crate) fn report(birth: &Birth<'_>, failed: Message) -> i32 {
    match control::send(birth.control.as_fd(), failed, &[]) {
        Ok(()) => 1,
        Err(_) => 2,
    }
}

/// Waits for one certain message; `None` means the supervisor is gone or says something else, and init must end.
fn wait_for(birth: &Birth<'_>, wanted: Message) -> Option<Vec<OwnedFd>> {
    match control::receive(birth.control.as_fd()) {
        Ok(Some((message, descriptors))) if message == wanted => Some(descriptors),
        _ => None,
    }
}

/// Performs init's steps up to the fork; returns the root of the scratch file system, then the proxy's listener if there is one, then
/// what is offered.
fn build(birth: &Birth<'_>) -> std::result::Result<Vec<OwnedFd>, Message> {
    let mut built = Built::default();
    for (index, step) in birth.plan.of(Actor::Init) {
        if step.action == Action::ForkJob {
            break;
        }
        if birth.fail_at == Some(index) {
            return Err(Message::failed(index, Error { call: "injected", errno: libc::EIO }));
        }
        perform(&step.action, birth, &mut built).map_err(|error| Message::failed(index, error))?;
    }
    let scratch = built.scratch.ok_or_else(|| Message::failed(birth.plan.steps.len(), missing("scratch")))?;
    Ok(std::iter::once(scratch).chain(built.listener).chain(built.offer).collect())
}

fn missing(what: &'static str) -> Error {
    Error { call: what, errno: libc::ENOENT }
}

/// One step of init.
fn perform(action: &Action, birth: &Birth<'_>, built: &mut Built) -> Result<()> {
    match action {
        Action::DieWithParent => die_with_parent(birth),
        Action::CloseDescriptors => close_descriptors(birth),
        Action::PreferAsOomVictim => sys::limits::prefer_as_oom_victim(),
        Action::JoinCgroup => join_cgroups(birth),
        Action::UnshareCgroup => sys::process::unshare(libc::CLONE_NEWCGROUP),
        Action::OpenImage => mounts::open_layers(&birth.layers).map(|layers| built.layers = Some(layers)),
        Action::NewKeyring => sys::identity::new_session_keyring(),
        Action::BecomeUser => sys::identity::become_user(INSIDE_UID, INSIDE_UID),
        Action::BecomeUndumpable => sys::identity::set_dumpable(false),
        Action::PrivatizeMounts => {
            built.host_proc = Some(sys::fs::open_directory(c"/proc")?);
            sys::mount::make_all_private()
        }
        Action::MountRoot => {
            let layers = built.layers.take().ok_or(missing("image"))?;
            mounts::root(&layers).map(|root| built.root = Some(root))
        }
        Action::MountScratch { bytes, inodes } => {
            mounts::scratch(root(built)?, *bytes, *inodes).map(|scratch| built.scratch = Some(scratch))
        }
        Action::MountDirectories => mounts::directories(root(built)?),
        Action::MountDevices => mounts::devices(root(built)?),
        Action::MountProc => mounts::processes(root(built)?),
        Action::MaskProc => mask_proc(birth, built),
        Action::LoopbackUp => sys::net::loopback_up(),
        Action::ListenForProxy => {
            sys::net::listen_on_loopback(PROXY_PORT).map(|listener| built.listener = Some(listener))
        }
        Action::SetHostName => sys::net::set_host_name(INSIDE_USER),
        Action::ForbidNamespaces => forbid_namespaces(built),
        Action::PivotRoot => {
            built.host_proc = None;
            sys::mount::pivot_into(root(built)?)
        }
        Action::VerifyMounts => verify::mounts(&built.covered),
        Action::DropCapabilities => sys::identity::drop_capabilities(),
        Action::NoNewPrivileges => sys::identity::set_no_new_privileges(),
        Action::OfferNamespaces => offer_namespaces(built),
        Action::OfferLandlock => sys::landlock::ruleset(&rules()?).map(|rules| built.offer.push(rules)),
        Action::FilterInit => sys::seccomp::install(seccomp::init()),
        Action::FilterStayingInit => sys::seccomp::install(seccomp::stay()),
        other => Err(Error { call: other.name(), errno: libc::ENOSYS }),
    }
}

fn die_with_parent(birth: &Birth<'_>) -> Result<()> {
    sys::process::die_with_parent()?;
    // A parent that died before the call sends no signal; its end of the socket then reads as closed.
    let mut poll = [rustix::event::PollFd::new(&birth.control, rustix::event::PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).map_err(Error::of("poll"))?;
    let gone = poll[0].revents().contains(rustix::event::PollFlags::HUP);
    if gone { Err(Error { call: "parent", errno: libc::ESRCH }) } else { Ok(()) }
}

fn close_descriptors(birth: &Birth<'_>) -> Result<()> {
    for stream in 0..3 {
        sys::process::place_descriptor(birth.null.as_fd(), stream)?;
    }
    let mut keep: Vec<RawFd> = [&birth.control, &birth.null].into_iter().map(AsRawFd::as_raw_fd).collect();
    keep.sort_unstable();
    sys::process::close_others(3, &keep)
}

/// Joins each control group by writing `0` to its `tasks` file: the right to do so is that of the supervisor, who opened it.
fn join_cgroups(birth: &Birth<'_>) -> Result<()> {
    join(&wait_for(birth, Message::Joinable).ok_or(missing("control groups"))?)
}

fn join(tasks: &[OwnedFd]) -> Result<()> {
    tasks
        .iter()
        .try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop).map_err(Error::of("write tasks")))
}

fn root(built: &Built) -> Result<BorrowedFd<'_>> {
    built.root.as_ref().map(AsFd::as_fd).ok_or(missing("root"))
}

fn mask_proc(birth: &Birth<'_>, built: &mut Built) -> Result<()> {
    let scratch = built.scratch.as_ref().ok_or(missing("scratch"))?;
    rustix::process::fchdir(root(built)?).map_err(Error::of("fchdir"))?;
    built.covered = procfs::mask(scratch.as_fd(), &birth.facts)?;
    Ok(())
}

/// The limit on further user namespaces (namespaces(7)). Without one of those no other kind can be made: each needs
/// CAP_SYS_ADMIN over the user namespace, and the sandbox's own gives none.
const NAMESPACE_LIMIT: &CStr = c"sys/user/max_user_namespaces";

fn forbid_namespaces(built: &Built) -> Result<()> {
    let proc = built.host_proc.as_ref().ok_or(missing("proc"))?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, NAMESPACE_LIMIT, flags, Mode::empty())
        .map_err(Error::of("open max_user_namespaces"))?;
    rustix::io::write(&file, b"0").map(drop).map_err(Error::of("write max_user_namespaces"))
}

/// Opens init's own namespaces through the host's process file system: inside, init is not to be looked at.
fn offer_namespaces(built: &mut Built) -> Result<()> {
    let proc = built.host_proc.as_ref().ok_or(missing("proc"))?;
    for name in joining::NAMESPACES {
        let path = CString::new([b"self/ns/", name.to_bytes()].concat()).map_err(|_| missing("name"))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        built.offer.push(
            rustix::fs::openat(proc, &*path, flags, Mode::empty()).map_err(Error::of("open namespace"))?,
        );
    }
    Ok(())
}

/// Says that all is ready, runs one job, reaps until it ends, says how.
fn serve(birth: &Birth<'_>, mut made: Vec<OwnedFd>) -> i32 {
    let sent: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
    if control::send(birth.control.as_fd(), Message::Ready, &sent).is_err() {
        return 1;
    }
    // Of the rest only the supervisor needs a copy.
    made.truncate(1);
    let Some(scratch) = made.pop() else { return 1 };
    match control::receive(birth.control.as_fd()) {
        Ok(Some((Message::Start, descriptors))) => execute(birth, descriptors, scratch, false),
        Ok(Some((Message::StartAhead, descriptors))) => execute(birth, descriptors, scratch, true),
        Ok(Some((Message::Furnish, descriptors))) => adopt(birth, descriptors, scratch),
        Ok(Some((first @ (Message::Launch { .. } | Message::AdoptAs { .. }), descriptors))) => {
            // Its jobs share our memory while they start: what they do not need is not there.
            drop(scratch);
            staying::serve(birth, first, descriptors)
        }
        _ => 1,
    }
}

/// Runs the job as a program of its own. One that is started `ahead` waits for inputs, and so does what confines init: the code of
/// somebody else comes after both.
fn execute(birth: &Birth<'_>, descriptors: Vec<OwnedFd>, scratch: OwnedFd, ahead: bool) -> i32 {
    let (errand, streams) = match prepare(descriptors, &scratch) {
        Ok(prepared) => prepared,
        Err(message) => return report(birth, message),
    };
    let Some(fork) = place_of_fork(birth) else { return 1 };
    if birth.fail_at == Some(fork) {
        return report(birth, Message::failed(fork, Error { call: "injected", errno: libc::EIO }));
    }
    // The child shares our memory until it is the program: it borrows what is ours and changes none of it.
    match sys::process::start_sharing(&mut || {
        report(birth, become_program(birth, &errand.command, &streams, &[]))
    }) {
        Err(error) => report(birth, Message::failed(fork, error)),
        Ok(pid) => {
            drop(streams);
            if ahead {
                return match wait_for(birth, Message::Furnish) {
                    Some(descriptors) => {
                        furnish(birth, descriptors, &scratch).map_or_else(|code| code, |()| reap(birth, pid))
                    }
                    None => 1,
                };
            }
            match confine(birth, fork) {
                Ok(()) => reap(birth, pid),
                Err(message) => report(birth, message),
            }
        }
    }
}

/// Furnishes the place for a job that is a zygote's fork, and reaps it: it becomes init's child when the process between them ends.
fn adopt(birth: &Birth<'_>, descriptors: Vec<OwnedFd>, scratch: OwnedFd) -> i32 {
    if let Err(code) = furnish(birth, descriptors, &scratch) {
        return code;
    }
    match control::receive(birth.control.as_fd()) {
        Ok(Some((Message::Adopt { pid }, _))) => reap(birth, pid),
        _ => 1,
    }
}

/// Writes the inputs for a job that waits for them, confines init, and has the job go on. Fails with init's exit code.
fn furnish(
    birth: &Birth<'_>,
    mut descriptors: Vec<OwnedFd>,
    scratch: &OwnedFd,
) -> std::result::Result<(), i32> {
    let ready = descriptors.pop().ok_or(1)?;
    prepare(descriptors, scratch).map_err(|message| report(birth, message))?;
    let fork = place_of_fork(birth).ok_or(1)?;
    confine(birth, fork).map_err(|message| report(birth, message))?;
    // Only now: the first instruction of somebody else's code comes after init is confined.
    match rustix::io::write(&ready, b"1") {
        Ok(1) => Ok(()),
        _ => Err(1),
    }
}

fn place_of_fork(birth: &Birth<'_>) -> Option<usize> {
    birth.plan.of(Actor::Init).find(|(_, step)| step.action == Action::ForkJob).map(|(index, _)| index)
}

/// Performs init's steps after the fork.
fn confine(birth: &Birth<'_>, fork: usize) -> std::result::Result<(), Message> {
    for (index, step) in birth.plan.of(Actor::Init).skip_while(|(index, _)| *index <= fork) {
        let injected = Error { call: "injected", errno: libc::EIO };
        let done = if birth.fail_at == Some(index) {
            Err(injected)
        } else {
            perform(&step.action, birth, &mut Built::default())
        };
        done.map_err(|error| Message::failed(index, error))?;
    }
    Ok(())
}

/// Takes the errand and does the first part of it: the inputs. Returns it with the streams.
fn prepare(
    mut descriptors: Vec<OwnedFd>,
    scratch: &OwnedFd,
) -> std::result::Result<(Errand, Vec<OwnedFd>), Message> {
    // Not a step of the plan: past its end.
    let failed = |error| Message::failed(usize::MAX, error);
    if descriptors.is_empty() {
        return Err(failed(missing("errand")));
    }
    let file = descriptors.remove(0);
    let errand = Errand::read(file.as_fd()).map_err(failed)?;
    errand
        .write_inputs(file.as_fd(), scratch.as_fd())
        .map_err(|(index, error)| Message::Refused { index, errno: error.errno })?;
    Ok((errand, descriptors))
}

/// Reaps every orphan until the job itself ends. All others die with init.
fn reap(birth: &Birth<'_>, job: i32) -> i32 {
    loop {
        match sys::process::wait(-1, true) {
            Ok(Some(reaped)) if reaped.pid == job => {
                // Without the time the end is told all the same.
                let cpu_us = sys::process::cpu_us().unwrap_or(reaped.cpu_us);
                return report(birth, Message::Ended { status: reaped.status, cpu_us });
            }
            Ok(_) => {}
            Err(error) if error.errno == libc::EINTR => {}
            Err(_) => return 1,
        }
    }
}

/// Performs the job's steps and becomes the user's program; `tasks` are files to join control groups by. Returns only the failure.
pub(crate) fn become_program(
    birth: &Birth<'_>,
    command: &Command,
    streams: &[OwnedFd],
    tasks: &[OwnedFd],
) -> Message {
    let steps = birth.plan.steps.len();
    // All is prepared here: after the last step only exec is left to call.
    let args: Vec<&CStr> = command.args.iter().map(CString::as_c_str).collect();
    let env: Vec<&CStr> = command.env.iter().map(CString::as_c_str).collect();
    if let Err(error) = rustix::process::chdir(&*command.cwd).map_err(Error::of("chdir")) {
        return Message::failed(steps, error);
    }
    for (index, step) in birth.plan.of(Actor::Job) {
        if birth.fail_at == Some(index) {
            return Message::failed(index, Error { call: "injected", errno: libc::EIO });
        }
        if let Err(error) = restrict(&step.action, birth, streams, tasks) {
            return Message::failed(index, error);
        }
    }
    Message::failed(steps, sys::process::execute(args[0], &args, &env))
}

/// One step of the job.
fn restrict(action: &Action, birth: &Birth<'_>, streams: &[OwnedFd], tasks: &[OwnedFd]) -> Result<()> {
    match action {
        Action::JoinCgroup => join(tasks),
        Action::DieWithParent => sys::process::die_with_parent(),
        Action::NewSession => sys::process::new_session(),
        Action::PlaceDescriptors => place_descriptors(birth, streams),
        Action::LowerLimits { file_bytes, processes, data_bytes } => {
            limits(*file_bytes, *processes, *data_bytes)
                .try_for_each(|(resource, value)| sys::limits::lower(resource, value))
        }
        Action::ResetSignals => sys::signal::reset(),
        Action::NoNewPrivileges => sys::identity::set_no_new_privileges(),
        Action::Landlock => sys::landlock::restrict(&rules()?),
        Action::Seccomp => {
            // The last word before the filter: what follows is the user's.
            control::send(birth.control.as_fd(), Message::Started, &[])?;
            sys::seccomp::install(seccomp::job())
        }
        other => Err(Error { call: other.name(), errno: libc::ENOSYS }),
    }
}

/// Puts the streams in their places; all else is closed by exec, and by nothing before: the control socket still reports.
fn place_descriptors(birth: &Birth<'_>, streams: &[OwnedFd]) -> Result<()> {
    // The fifth is one on which a job that was started ahead hears of its errand.
    if !(4..=5).contains(&streams.len()) {
        return Err(missing("streams"));
    }
    debug_assert!(birth.control.as_raw_fd() > 4);
    let copies: Vec<OwnedFd> = streams
        .iter()
        .map(|stream| sys::process::duplicate_above(stream.as_fd(), 16))
        .collect::<Result<_>>()?;
    for (copy, target) in copies.iter().zip(0..) {
        sys::process::place_descriptor(copy.as_fd(), target)?;
    }
    // A terminal is there only when the supervisor made one for this job. It becomes its own: nobody else's is within reach.
    if rustix::termios::isatty(&streams[0]) {
        sys::terminal::control(streams[0].as_fd())?;
    }
    sys::process::close_from_on_exec(streams.len() as u32)
}

/// The limits of a job, as resources and values. Whoever applies them leaves lower ones as they are.
pub(crate) fn limits(
    file_bytes: u64,
    processes: u64,
    data_bytes: Option<u64>,
) -> impl Iterator<Item = (sys::limits::Resource, u64)> {
    let limits = [
        // 1, not 0: with 0 a core_pattern that is a pipe still starts its program (core(5)).
        (libc::RLIMIT_CORE, 1),
        (libc::RLIMIT_FSIZE, file_bytes),
        (libc::RLIMIT_NPROC, processes),
        (libc::RLIMIT_NOFILE, 4096),
        (libc::RLIMIT_MEMLOCK, 0),
        (libc::RLIMIT_MSGQUEUE, 0),
        (libc::RLIMIT_SIGPENDING, 4096),
        (libc::RLIMIT_NICE, 0),
        (libc::RLIMIT_RTPRIO, 0),
    ];
    limits.into_iter().chain(data_bytes.map(|bytes| (libc::RLIMIT_DATA, bytes)))
}

/// What the job may do with files.
fn rules() -> Result<Vec<(OwnedFd, Rights)>> {
    let open = |path: &str, rights: Rights| -> Result<(OwnedFd, Rights)> {
        let path = CString::new(path).map_err(|_| missing("path"))?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok((rustix::fs::open(&*path, flags, Mode::empty()).map_err(Error::of("open"))?, rights))
    };
    let mut rules = vec![open("/", Rights::ReadExecute)?];
    for (_, place, _) in DIRECTORIES {
        rules.push(open(place, Rights::Write)?);
    }
    for device in DEVICES {
        rules.push(open(&format!("/dev/{device}"), Rights::Device)?);
    }
    Ok(rules)
}
