//! Init, PID 1 of a sandbox, and the job it forks: performs their steps of the plan, then reaps and reports.
//!
//! Runs in a child of the supervisor, which had one thread when it cloned: allocation and locks are safe here. It returns never.
//! The job is never PID 1, and init is undumpable and without rights before the job exists.

use crate::command::Command;
use crate::control::{self, Message};
use crate::errand::Errand;
use crate::plan::{Action, Actor, DEVICES, DIRECTORIES, INSIDE_UID, INSIDE_USER, Plan};
use crate::{procfs, seccomp, verify};
use rustix::fs::{Mode, OFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use sys::landlock::Rights;
use sys::mount::Attributes;
use sys::{Error, Result};

/// What init is born with.
pub struct Birth<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Init's end of the control socket.
    pub control: OwnedFd,
    /// The supervisor's end, of which init is born with a copy.
    pub supervisors_end: RawFd,
    /// The image's tree.
    pub rootfs: CString,
    /// The empty directory beside it.
    pub skeleton: CString,
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
    /// The empty directory and the image's tree, as overlays name them: highest first.
    layers: Option<[OwnedFd; 2]>,
    /// The new root, detached or attached.
    root: Option<OwnedFd>,
    /// The root of the scratch file system.
    scratch: Option<OwnedFd>,
    /// The host's process file system, let go at the pivot.
    host_proc: Option<OwnedFd>,
    /// What covers entries of `/proc`.
    covered: Vec<String>,
}

/// Lives as PID 1: builds, runs one job, reports, ends.
pub fn live(birth: Birth<'_>) -> ! {
    // As long as init holds that end itself, it would wait for ever for a supervisor that dies now.
    let alone = sys::process::close_inherited(birth.supervisors_end);
    let code = match alone.ok().and_then(|()| wait_for(&birth, Message::Mapped)) {
        None => 1,
        Some(_) => match build(&birth) {
            Ok(scratch) => serve(&birth, scratch),
            Err(failed) => report(&birth, failed),
        },
    };
    sys::process::exit_now(code)
}

/// Says that a step failed. If even that cannot be said, the supervisor sees the end of the socket.
fn report(birth: &Birth<'_>, failed: Message) -> i32 {
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

/// Performs init's steps up to the fork; returns the root of the scratch file system.
fn build(birth: &Birth<'_>) -> std::result::Result<OwnedFd, Message> {
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
    built.scratch.ok_or_else(|| Message::failed(birth.plan.steps.len(), missing("scratch")))
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
        Action::OpenImage => open_image(birth).map(|layers| built.layers = Some(layers)),
        Action::NewKeyring => sys::identity::new_session_keyring(),
        Action::BecomeUser => sys::identity::become_user(INSIDE_UID, INSIDE_UID),
        Action::BecomeUndumpable => sys::identity::set_dumpable(false),
        Action::PrivatizeMounts => {
            built.host_proc = Some(sys::fs::open_directory(c"/proc")?);
            sys::mount::make_all_private()
        }
        Action::MountRoot => mount_root(built).map(|root| built.root = Some(root)),
        Action::MountScratch { bytes, inodes } => mount_scratch(*bytes, *inodes, built),
        Action::MountDirectories => mount_directories(built),
        Action::MountDevices => mount_devices(built),
        Action::MountProc => mount_proc(built),
        Action::MaskProc => mask_proc(birth, built),
        Action::LoopbackUp => sys::net::loopback_up(),
        Action::SetHostName => sys::net::set_host_name(INSIDE_USER),
        Action::ForbidNamespaces => forbid_namespaces(built),
        Action::PivotRoot => {
            built.host_proc = None;
            sys::mount::pivot_into(root(built)?)
        }
        Action::VerifyMounts => verify::mounts(&built.covered),
        Action::DropCapabilities => sys::identity::drop_capabilities(),
        Action::NoNewPrivileges => sys::identity::set_no_new_privileges(),
        Action::FilterInit => sys::seccomp::install(seccomp::init()),
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
    for tasks in wait_for(birth, Message::Joinable).ok_or(missing("control groups"))? {
        rustix::io::write(tasks, b"0").map_err(Error::of("write tasks"))?;
    }
    Ok(())
}

/// The mount point for the new root until the pivot. Any directory of the host serves; nothing is changed in it.
pub(crate) const STAGES: [&CStr; 3] = [c"/tmp", c"/mnt", c"/dev"];

/// Opens the image in init's own mount namespace, which an overlay demands, and while its id still passes private directories.
fn open_image(birth: &Birth<'_>) -> Result<[OwnedFd; 2]> {
    Ok([sys::fs::open_directory(&birth.skeleton)?, sys::fs::open_directory(&birth.rootfs)?])
}

fn mount_root(built: &mut Built) -> Result<OwnedFd> {
    let [skeleton, rootfs] = built.layers.take().ok_or(missing("image"))?;
    let lower = format!("/proc/self/fd/{}:/proc/self/fd/{}", skeleton.as_raw_fd(), rootfs.as_raw_fd());
    let lower = CString::new(lower).map_err(|_| missing("lowerdir"))?;
    let sealed = Attributes { read_only: true, no_devices: true, no_execution: false };
    let root = sys::mount::make(c"overlay", &[(c"lowerdir", &lower), (c"userxattr", c"")], sealed)?;
    let mut failed = missing("stage");
    for stage in STAGES {
        match sys::mount::attach(root.as_fd(), rustix::fs::CWD, stage) {
            Ok(()) => return Ok(root),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn root(built: &Built) -> Result<BorrowedFd<'_>> {
    built.root.as_ref().map(AsFd::as_fd).ok_or(missing("root"))
}

/// Attaches the scratch file system at `/tmp`, where its own `tmp` will cover it: from then on only init and the supervisor
/// can reach its root.
fn mount_scratch(bytes: u64, inodes: u64, built: &mut Built) -> Result<()> {
    let (bytes, inodes) = (number(bytes), number(inodes));
    let options = [(c"size", bytes.as_c_str()), (c"nr_inodes", inodes.as_c_str()), (c"mode", c"755")];
    let scratch = sys::mount::make(c"tmpfs", &options, WRITABLE)?;
    sys::mount::attach(scratch.as_fd(), root(built)?, c"tmp")?;
    for (name, _, mode) in DIRECTORIES {
        let name = CString::new(name).map_err(|_| missing("name"))?;
        rustix::fs::mkdirat(&scratch, &*name, Mode::from_raw_mode(0o755)).map_err(Error::of("mkdirat"))?;
        // The creation mask of the caller is not ours.
        rustix::fs::chmodat(&scratch, &*name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            .map_err(Error::of("fchmodat"))?;
    }
    built.scratch = Some(scratch);
    Ok(())
}

const WRITABLE: Attributes = Attributes { read_only: false, no_devices: true, no_execution: false };

fn number(value: u64) -> CString {
    CString::new(value.to_string()).expect("digits have no NUL")
}

fn mount_directories(built: &Built) -> Result<()> {
    rustix::process::fchdir(root(built)?).map_err(Error::of("fchdir"))?;
    for (name, place, _) in DIRECTORIES {
        // The scratch file system is at `tmp`, until its own `tmp` covers it: the last of them.
        sys::mount::bind(&relative(&format!("tmp/{name}")), &relative(place))?;
    }
    Ok(())
}

fn relative(path: &str) -> CString {
    CString::new(path.trim_start_matches('/')).expect("constants have no NUL")
}

fn mount_devices(built: &Built) -> Result<()> {
    let harmless = Attributes { read_only: true, no_devices: false, no_execution: true };
    for name in DEVICES {
        let path = CString::new(format!("/dev/{name}")).map_err(|_| missing("device"))?;
        let device = sys::mount::copy(rustix::fs::CWD, &path, harmless)?;
        sys::mount::attach(device.as_fd(), root(built)?, &relative(&format!("dev/{name}")))?;
    }
    Ok(())
}

fn mount_proc(built: &Built) -> Result<()> {
    let sealed = Attributes { read_only: false, no_devices: true, no_execution: true };
    let proc = sys::mount::make(c"proc", &[(c"hidepid", c"invisible")], sealed)?;
    sys::mount::attach(proc.as_fd(), root(built)?, c"proc")
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

/// Says that all is ready, runs one command, reaps until the job ends, says how.
fn serve(birth: &Birth<'_>, scratch: OwnedFd) -> i32 {
    if control::send(birth.control.as_fd(), Message::Ready, &[scratch.as_fd()]).is_err() {
        return 1;
    }
    let Some(descriptors) = wait_for(birth, Message::Start) else { return 1 };
    let (errand, streams) = match prepare(descriptors, scratch) {
        Ok(prepared) => prepared,
        Err(message) => return report(birth, message),
    };
    let fork = birth.plan.of(Actor::Init).find(|(_, step)| step.action == Action::ForkJob);
    let Some((fork, _)) = fork else { return 1 };
    if birth.fail_at == Some(fork) {
        return report(birth, Message::failed(fork, Error { call: "injected", errno: libc::EIO }));
    }
    // The child shares our memory until it is the program: it borrows what is ours and changes none of it.
    match sys::process::start_sharing(&mut || report(birth, become_program(birth, &errand.command, &streams)))
    {
        Err(error) => report(birth, Message::failed(fork, error)),
        Ok(pid) => {
            drop(streams);
            let after = birth.plan.of(Actor::Init).skip_while(|(index, _)| *index <= fork);
            for (index, step) in after {
                let injected = Error { call: "injected", errno: libc::EIO };
                let done = if birth.fail_at == Some(index) {
                    Err(injected)
                } else {
                    perform(&step.action, birth, &mut Built::default())
                };
                if let Err(error) = done {
                    return report(birth, Message::failed(index, error));
                }
            }
            reap(birth, pid)
        }
    }
}

/// Takes the errand and does the first part of it: the inputs. Returns it with the streams.
fn prepare(
    mut descriptors: Vec<OwnedFd>,
    scratch: OwnedFd,
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
                return report(birth, Message::Ended { status: reaped.status });
            }
            Ok(_) => {}
            Err(error) if error.errno == libc::EINTR => {}
            Err(_) => return 1,
        }
    }
}

/// Performs the job's steps and becomes the user's program. Returns only the failure.
fn become_program(birth: &Birth<'_>, command: &Command, streams: &[OwnedFd]) -> Message {
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
        if let Err(error) = restrict(&step.action, birth, streams) {
            return Message::failed(index, error);
        }
    }
    Message::failed(steps, sys::process::execute(args[0], &args, &env))
}

/// One step of the job.
fn restrict(action: &Action, birth: &Birth<'_>, streams: &[OwnedFd]) -> Result<()> {
    match action {
        Action::DieWithParent => sys::process::die_with_parent(),
        Action::NewSession => sys::process::new_session(),
        Action::PlaceDescriptors => place_descriptors(birth, streams),
        Action::LowerLimits { file_bytes, processes, data_bytes } => {
            lower_limits(*file_bytes, *processes, *data_bytes)
        }
        Action::ResetSignals => sys::signal::reset(),
        Action::NoNewPrivileges => sys::identity::set_no_new_privileges(),
        Action::Landlock => landlock(),
        Action::Seccomp => {
            // The last word before the filter: what follows is the user's.
            control::send(birth.control.as_fd(), Message::Started, &[])?;
            sys::seccomp::install(seccomp::job())
        }
        other => Err(Error { call: other.name(), errno: libc::ENOSYS }),
    }
}

/// Puts the four streams in their places; all else is closed by exec, and by nothing before: the control socket still reports.
fn place_descriptors(birth: &Birth<'_>, streams: &[OwnedFd]) -> Result<()> {
    if streams.len() != 4 {
        return Err(missing("streams"));
    }
    debug_assert!(birth.control.as_raw_fd() > 3);
    let copies: Vec<OwnedFd> = streams
        .iter()
        .map(|stream| sys::process::duplicate_above(stream.as_fd(), 16))
        .collect::<Result<_>>()?;
    for (copy, target) in copies.iter().zip(0..) {
        sys::process::place_descriptor(copy.as_fd(), target)?;
    }
    sys::process::close_from_on_exec(4)
}

fn lower_limits(file_bytes: u64, processes: u64, data_bytes: Option<u64>) -> Result<()> {
    use sys::limits::lower;
    // 1, not 0: with 0 a core_pattern that is a pipe still starts its program (core(5)).
    lower(libc::RLIMIT_CORE, 1)?;
    lower(libc::RLIMIT_FSIZE, file_bytes)?;
    lower(libc::RLIMIT_NPROC, processes)?;
    lower(libc::RLIMIT_NOFILE, 4096)?;
    lower(libc::RLIMIT_MEMLOCK, 0)?;
    lower(libc::RLIMIT_MSGQUEUE, 0)?;
    lower(libc::RLIMIT_SIGPENDING, 4096)?;
    lower(libc::RLIMIT_NICE, 0)?;
    lower(libc::RLIMIT_RTPRIO, 0)?;
    match data_bytes {
        Some(bytes) => lower(libc::RLIMIT_DATA, bytes),
        None => Ok(()),
    }
}

fn landlock() -> Result<()> {
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
    sys::landlock::restrict(&rules)
}
