//! Making processes, becoming another program, waiting, ending.

use crate::error::{Error, Result, check};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `clone3(2)`, Linux 5.7; the constant of the libc crate does not fit its own type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a clone one is on.
pub enum Cloned {
    /// The new process.
    Child,
    /// The caller, with the child's id and a descriptor that names it for ever.
    Parent {
        /// In the caller's PID namespace.
        pid: i32,
        /// `pidfd_open(2)`: readable when the child is dead.
        pidfd: OwnedFd,
    },
}

/// Clones the calling process as `fork(2)` would, into the new namespaces of `flags` and, if given, the cgroup v2 directory.
///
/// The caller must be single-threaded: the child has only the calling thread, and a lock held by another would never open.
/// That is checked, so that safe code cannot get it wrong; the answer is then EINVAL.
pub fn clone_process(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    if !is_single_threaded() {
        return Err(Error { call: "clone3", errno: libc::EINVAL });
    }
    let mut pidfd: RawFd = -1;
    // The child keeps the C library's idea of its own thread id true (nsjail shipped the bug that this avoids).
    let tid_address = rustix::thread::get_clear_child_tid_address().ok().flatten();
    let tid_address = tid_address.map_or(0, |address| address.as_ptr() as u64);
    let tid_flags = if tid_address == 0 { 0 } else { libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID };
    let into_cgroup = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let mut arguments = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | tid_flags as u64 | into_cgroup,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: tid_address,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let size = size_of::<libc::clone_args>();
    // SAFETY: without a stack or CLONE_VM the child runs on a copy of this one, as after fork; the process has one thread (checked
    // above), so no lock is held by a thread that the child lacks; the kernel reads the arguments before it returns.
    let pid = check("clone3", unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: CLONE_PIDFD made the kernel store a descriptor that is ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}

/// Stack of a child of [`start_sharing`]: several times what its steps need.
const STACK_BYTES: usize = 256 << 10;

/// Starts a child that shares the caller's memory, and waits until it has executed a program or ended: `vfork(2)` with a stack of
/// its own. Saves copying page tables for a child that soon throws them away. `work` runs in the child; what it returns is the
/// child's exit code. Descriptors are the child's own copies: what `work` closes stays open in the caller.
pub fn start_sharing(mut work: &mut dyn FnMut() -> i32) -> Result<i32> {
    extern "C" fn enter(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the caller passed the address of its own `work` and is stopped, so nobody else uses it.
        let work = unsafe { &mut *work.cast::<&mut dyn FnMut() -> i32>() };
        work()
    }
    let mut stack = vec![0u8; STACK_BYTES];
    let end = stack.as_mut_ptr_range().end;
    // The ABI wants it aligned to 16 bytes.
    let top = end.wrapping_sub(end.addr() & 15);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument = (&raw mut work).cast::<libc::c_void>();
    // SAFETY: CLONE_VFORK stops the caller until the child has executed or ended, so memory has one user at a time; the stack
    // outlives the child's use of it, since it is dropped after this call returns.
    let pid = unsafe { libc::clone(enter, top.cast(), flags, argument) };
    check("clone", libc::c_long::from(pid)).map(|pid| pid as i32)
}

/// Whether the calling process has exactly one thread, as the kernel counts them.
fn is_single_threaded() -> bool {
    threads_in("/proc/self/task") == Some(1)
}

/// How many threads a process has; `None` if there is no such process, or it is dead.
pub fn threads_of(pid: i32) -> Option<u64> {
    threads_in(&format!("/proc/{pid}/task"))
}

/// The link count of a directory is its subdirectories and two: one `stat` instead of a listing.
fn threads_in(directory: &str) -> Option<u64> {
    let meta = std::fs::metadata(directory).ok()?;
    std::os::unix::fs::MetadataExt::nlink(&meta).checked_sub(2)
}

/// Replaces the program. Returns only if that failed.
pub fn execute(path: &CStr, args: &[&CStr], env: &[&CStr]) -> Error {
    let pointers = |words: &[&CStr]| -> Vec<*const libc::c_char> {
        words.iter().map(|word| word.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer and every string in them with a NUL; all outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Error::last("execve")
}

/// Ends the process at once: no destructors, no flushing, so that a child never does its parent's work twice.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// How a process ended, as `wait(2)` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
}

impl Ended {
    /// Reads a status of `wait(2)`.
    pub fn from_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signalled(libc::WTERMSIG(status))
        } else {
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// One reaped child and what it and all it had waited for used.
#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    /// Its id.
    pub pid: i32,
    /// The status word of `wait(2)`.
    pub status: i32,
    /// User and system time together.
    pub cpu_us: u64,
}

/// Reaps a child: `pid` as in `wait4(2)`. Without `block`, answers `None` if none is dead yet.
pub fn wait(pid: i32, block: bool) -> Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    // SAFETY: both pointers are to live, writable places of the right type.
    let pid = check(
        "wait4",
        libc::c_long::from(unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) }),
    )?;
    let cpu_us = time_us(usage.ru_utime) + time_us(usage.ru_stime);
    let reaped = Reaped { pid: pid as i32, status, cpu_us };
    Ok((pid != 0).then_some(reaped))
}

/// Processor time of the caller and of all children that it has waited for, in microseconds.
pub fn cpu_us() -> Result<u64> {
    let of = |who: libc::c_int| {
        // SAFETY: all-zero bytes are a valid rusage.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live, writable rusage.
        check("getrusage", libc::c_long::from(unsafe { libc::getrusage(who, &raw mut usage) }))?;
        Ok(time_us(usage.ru_utime) + time_us(usage.ru_stime))
    };
    Ok(of(libc::RUSAGE_SELF)? + of(libc::RUSAGE_CHILDREN)?)
}

fn time_us(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}

/// Sends a signal to the process that `pidfd` names: never to another that got its number.
pub fn kill(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the kernel takes plain numbers and a null siginfo.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check("pidfd_send_signal", answer).map(drop)
}

/// Sends a signal to every process of a group (`kill(2)` with a negative number).
pub fn kill_group(group: i32, signal: i32) -> Result<()> {
    if group <= 1 {
        // 0 is the caller's own group, 1 would be everybody.
        return Err(Error { call: "kill", errno: libc::ESRCH });
    }
    // SAFETY: the kernel takes plain numbers.
    check("kill", libc::c_long::from(unsafe { libc::kill(-group, signal) })).map(drop)
}

/// Whether there is no process with this id. One that is dead and not waited for is there.
pub fn is_gone(pid: i32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid);
    pid.is_none_or(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// A descriptor that names a process for ever (`pidfd_open(2)`); ESRCH if it is gone.
pub fn open_process(pid: i32) -> Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Error { call: "pidfd_open", errno: libc::ESRCH })?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(Error::of("pidfd_open"))
}

/// Has the kernel kill the calling process when its parent ends. Lost at every change of user id: call it again after one.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(Error::of("prctl(PR_SET_PDEATHSIG)"))
}

/// The parent's id, 0 if it is in another PID namespace.
pub fn parent_id() -> i32 {
    // SAFETY: `getppid` has no preconditions.
    unsafe { libc::getppid() }
}

/// Moves the caller into new namespaces: CLONE_NEW* bits.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: namespace flags do not touch memory or descriptors that Rust relies on.
    check("unshare", libc::c_long::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// The calling thread's nice value.
pub fn nice() -> Result<i32> {
    rustix::process::getpriority_process(None).map_err(Error::of("getpriority"))
}

/// Sets the calling thread's nice value, -20 to 19 (`setpriority(2)`); lowering it takes CAP_SYS_NICE.
pub fn set_nice(nice: i32) -> Result<()> {
    rustix::process::setpriority_process(None, nice).map_err(Error::of("setpriority"))
}

/// Sets the nice value of a process's first thread, likewise.
pub fn set_nice_of(pid: i32, nice: i32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Error { call: "setpriority", errno: libc::ESRCH })?;
    rustix::process::setpriority_process(Some(pid), nice).map_err(Error::of("setpriority"))
}

/// Sets the nice value of every thread of a user, who may have none, likewise. Looks at all threads of the machine.
pub fn set_nice_of_user(user: u32, nice: i32) -> Result<()> {
    match rustix::process::setpriority_user(rustix::process::Uid::from_raw(user), nice) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error { call: "setpriority", errno: errno.raw_os_error() }),
    }
}

/// Makes the caller the leader of a new session without a terminal.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().map(drop).map_err(Error::of("setsid"))
}

/// Closes every descriptor from `first` on but those of `keep`, which is sorted.
pub fn close_others(first: RawFd, keep: &[RawFd]) -> Result<()> {
    let mut start = first;
    for &kept in keep.iter().filter(|kept| **kept >= first) {
        if kept > start {
            close_range(start, kept - 1)?;
        }
        start = kept + 1;
    }
    close_range(start, RawFd::MAX)
}

/// Closes one descriptor that a clone has and nothing in it owns.
pub fn close_inherited(fd: RawFd) -> Result<()> {
    close_range(fd, fd)
}

fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: called in a child that will never run the owners of those descriptors.
    check("close_range", unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub fn close_from_on_exec(first: u32) -> Result<()> {
    // SAFETY: the close-on-exec mark changes nothing for code that runs before the exec.
    check("close_range", unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// Puts `fd` at the number `target`, without close-on-exec.
pub fn place_descriptor(fd: BorrowedFd<'_>, target: RawFd) -> Result<()> {
    // SAFETY: the caller is about to exec; what stood at `target` is replaced by the kernel in one step.
    check("dup2", libc::c_long::from(unsafe { libc::dup2(fd.as_raw_fd(), target) })).map(drop)
}

/// A copy of `fd` with a number of at least `minimum`, closed on exec.
pub fn duplicate_above(fd: BorrowedFd<'_>, minimum: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, minimum).map_err(Error::of("fcntl(F_DUPFD_CLOEXEC)"))
}
