//! What a process may: shed, limited, filtered, and then tried.

use super::{Ending, Failure, Found, Trial, processes};
use crate::host::{Host, Outside};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketType};
use std::fs;
use std::os::fd::OwnedFd;
use sys::landlock::Rights;
use sys::process::Ended;

/// The value of a field of the caller's own status (proc(5)).
fn status(field: &str) -> Result<String, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| Failure::of(format!("no {field} in /proc/self/status")))
}

/// Without capabilities even the owner of a host name cannot change it.
pub fn capabilities(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWUTS).perform(|| {
        sys::identity::drop_capabilities()?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let bits = status(set)?;
            if bits.bytes().any(|digit| digit != b'0') {
                return Err(Failure::of(format!("{set} is {bits} after all were dropped")));
            }
        }
        match sys::net::set_host_name("probe") {
            Err(error) if error.errno == libc::EPERM => Ok("all five sets are empty".to_owned()),
            _ => Err(Failure::of("a right of root is left")),
        }
    })
}

/// The mark is set and reads back.
pub fn no_new_privileges() -> Found {
    Trial::default().perform(|| {
        sys::identity::set_no_new_privileges()?;
        match status("NoNewPrivs")?.as_str() {
            "1" => Ok("set".to_owned()),
            other => Err(Failure::of(format!("NoNewPrivs is {other}"))),
        }
    })
}

/// A process of the same user, with all rights in the same user namespace, cannot open the memory.
pub fn undumpable(outside: Outside) -> Found {
    Trial::inside(outside, 0).perform(|| {
        sys::identity::set_dumpable(false)?;
        // As /proc of the host numbers the caller: its own `self` link.
        let own = fs::read_link("/proc/self")?;
        let memory = std::path::Path::new("/proc").join(own).join("mem");
        Trial::default().perform(|| match fs::File::open(&memory) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
                Ok("memory is closed to the same user".to_owned())
            }
            Err(error) => Err(error.into()),
            Ok(_) => Err(Failure::of("a process of the same user opened the memory")),
        })
    })
}

/// An empty keyring in place of the session's.
pub fn keyring() -> Found {
    Trial::default().perform(|| Ok(sys::identity::new_session_keyring().map(|()| "left behind".to_owned())?))
}

/// Limits can be lowered, and the one on processes holds for a mapped user.
pub fn limits(outside: Outside) -> Found {
    const PROCESSES: u64 = 4;
    Trial::inside(outside, 0).perform(|| {
        sys::limits::lower(libc::RLIMIT_CORE, 1)?;
        sys::limits::lower(libc::RLIMIT_NPROC, PROCESSES)?;
        let made = processes::fork_until_refused(2 * PROCESSES)?;
        if made >= 2 * PROCESSES {
            return Err(Failure::of(format!("{made} processes were made against a limit of {PROCESSES}")));
        }
        sys::limits::lower(libc::RLIMIT_NOFILE, 0)?;
        match rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::MFILE) => Ok("processes and descriptors are held to them".to_owned()),
            _ => Err(Failure::of("a descriptor was opened against a limit of 0")),
        }
    })
}

/// The very filter of user code: what it refuses is refused with its errno, what it allows works.
pub fn seccomp() -> Found {
    for (name, action) in
        [("ERRNO", libc::SECCOMP_RET_ERRNO), ("KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS)]
    {
        if !sys::seccomp::has_action(action) {
            return Err(Failure::of(format!("the kernel's filters lack the action {name}")));
        }
    }
    /// A family whose sockets were the way in of Copy Fail.
    const AF_ALG: u16 = 38;
    Trial::default().perform(|| {
        sys::identity::set_no_new_privileges()?;
        sys::seccomp::install(crate::seccomp::job())?;
        let namespace = sys::process::unshare(libc::CLONE_NEWUTS).map_err(|error| error.errno);
        let socket =
            rustix::net::socket(AddressFamily::from_raw(AF_ALG), SocketType::SEQPACKET, None).map(drop);
        let socket = socket.map_err(|errno| errno.raw_os_error());
        match (namespace, socket) {
            (Err(libc::EPERM), Err(libc::EAFNOSUPPORT)) => {
                let length = crate::seccomp::job().len();
                Ok(format!("{length} instructions, refusals as written"))
            }
            other => {
                Err(Failure::of(format!("unshare and socket(AF_ALG) under the filter answered {other:?}")))
            }
        }
    })
}

/// A call by the 32-bit door ends the process.
pub fn seccomp_architecture() -> Found {
    let ending = Trial::default().observe(|| {
        sys::identity::set_no_new_privileges()?;
        sys::seccomp::install(crate::seccomp::job())?;
        let answer = sys::seccomp::call_by_32_bit_door();
        Err(Failure::of(format!("a 32-bit call passed the filter and answered {answer}")))
    })?;
    match ending {
        Ending::Silent(Ended::Signalled(libc::SIGSYS)) => Ok("a 32-bit call kills its process".to_owned()),
        Ending::Silent(Ended::Signalled(libc::SIGSEGV)) => Ok("the kernel has no 32-bit calls".to_owned()),
        Ending::Said(found) => found,
        other => Err(Failure::of(format!("a 32-bit call ended in {other:?}"))),
    }
}

fn landlocked(allowed: &'static std::ffi::CStr) -> Result<(), Failure> {
    let directory: OwnedFd = sys::fs::open_directory(allowed)?;
    sys::identity::set_no_new_privileges()?;
    Ok(sys::landlock::restrict(&[(directory, Rights::Read)])?)
}

/// An open outside the rules is denied, one inside works.
pub fn landlock(host: &Host) -> Found {
    if host.landlock == 0 {
        return Err(Failure {
            reason: "none: not built in, or not in the kernel's list `lsm=`".to_owned(),
            errno: libc::EOPNOTSUPP,
        });
    }
    Trial::default().perform(|| {
        landlocked(c"/dev")?;
        let open = |path: &std::ffi::CStr| {
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop)
        };
        match (open(c"/dev"), open(c"/")) {
            (Ok(()), Err(rustix::io::Errno::ACCESS)) => Ok(format!(
                "version {}, errata {:#x}, an open is denied",
                sys::landlock::version(),
                sys::landlock::errata()
            )),
            other => Err(Failure::of(format!("an open inside and one outside the rules answered {other:?}"))),
        }
    })
}

/// The first version of Landlock that knows scopes (Linux 6.12).
const SCOPES_VERSION: i32 = 6;

/// A signal to a process outside is refused.
pub fn landlock_scopes(host: &Host) -> Found {
    if host.landlock < SCOPES_VERSION {
        return Err(Failure::of(format!("version {}, scopes came with {SCOPES_VERSION}", host.landlock)));
    }
    let parent = rustix::process::getpid();
    Trial::default().perform(|| {
        landlocked(c"/dev")?;
        match rustix::process::test_kill_process(parent) {
            Err(rustix::io::Errno::PERM) => Ok("a signal to the outside is refused".to_owned()),
            other => Err(Failure::of(format!("a signal to the outside answered {other:?}"))),
        }
    })
}
