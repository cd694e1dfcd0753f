//! Who a process is and what it may: user ids, capabilities, securebits, keyrings, dumpability.

use crate::error::{Error, Result, check};
use std::fs::File;
use std::io::Write;

/// Sets real, effective and saved group and user ids, supplementary groups cleared first where the namespace allows it.
///
/// For the calling thread alone, by raw system calls: the C library's wrappers signal other threads, and there are none.
pub fn become_user(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: a count of 0 makes the kernel ignore the pointer.
    let cleared =
        check("setgroups", unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) });
    match cleared {
        // EPERM: `setgroups` is denied in namespaces made by an ordinary user (user_namespaces(7)); the groups then stay
        // and mean nothing, since no file of the host is in sight.
        Err(error) if error.errno != libc::EPERM => return Err(error),
        _ => {}
    }
    // SAFETY: plain numbers.
    check("setresgid", unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain numbers.
    check("setresuid", unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Runs `work` with the file-system identity of another user: files are made as that user's, and only that user's rights count.
pub fn as_file_user<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> Result<T> {
    let own_uid = rustix::process::geteuid().as_raw();
    let own_gid = rustix::process::getegid().as_raw();
    set_file_user(uid, gid)?;
    let value = work();
    set_file_user(own_uid, own_gid)?;
    Ok(value)
}

/// `setfsuid(2)` returns the old id whether or not it worked, so a second call reads it back.
fn set_file_user(uid: u32, gid: u32) -> Result<()> {
    let set = |number: libc::c_long, id: u32, call: &'static str| -> Result<()> {
        // SAFETY: plain numbers; the call cannot fail in a way that touches memory.
        unsafe { libc::syscall(number, id) };
        // SAFETY: as above; -1 is never valid and only reads.
        let now = unsafe { libc::syscall(number, -1i32) };
        if now as u32 == id { Ok(()) } else { Err(Error { call, errno: libc::EPERM }) }
    };
    // The group first: without uid 0 there is no right to change it.
    if uid == rustix::process::geteuid().as_raw() {
        set(libc::SYS_setfsuid, uid, "setfsuid")?;
        return set(libc::SYS_setfsgid, gid, "setfsgid");
    }
    set(libc::SYS_setfsgid, gid, "setfsgid")?;
    set(libc::SYS_setfsuid, uid, "setfsuid")
}

/// Writes the user and group map of process `pid`: `inside` in its namespace is `outside` in ours, one id each (user_namespaces(7)).
///
/// `deny_groups` is demanded by the kernel of an ordinary user, and it takes the right to clear groups away.
pub fn map_ids(pid: i32, inside: u32, outside: (u32, u32), deny_groups: bool) -> Result<()> {
    let write = |name: &str, call: &'static str, text: String| -> Result<()> {
        let mut file =
            File::options().write(true).open(format!("/proc/{pid}/{name}")).map_err(Error::of_io(call))?;
        file.write_all(text.as_bytes()).map_err(Error::of_io(call))
    };
    if deny_groups {
        write("setgroups", "write setgroups", "deny".to_owned())?;
    }
    write("gid_map", "write gid_map", format!("{inside} {} 1", outside.1))?;
    write("uid_map", "write uid_map", format!("{inside} {} 1", outside.0))
}

/// Whether other processes of the same user may read memory and descriptors of the caller (`prctl(2)`, PR_SET_DUMPABLE).
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    use rustix::process::DumpableBehavior;
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    rustix::process::set_dumpable_behavior(behavior).map_err(Error::of("prctl(PR_SET_DUMPABLE)"))
}

/// Forbids the caller and all its descendants to gain rights by executing a program.
pub fn set_no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(Error::of("prctl(PR_SET_NO_NEW_PRIVS)"))
}

/// Joins a new, empty, anonymous session keyring, so that the host's keys are not possessed (session-keyring(7)).
/// A kernel without keyrings has nothing to leave behind.
pub fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let answer = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    match check("keyctl", answer) {
        Err(error) if error.errno == libc::ENOSYS => Ok(()),
        other => other.map(drop),
    }
}

/// The newest capability number any kernel may know; the first unknown one ends the loop (capabilities(7)).
const CAPABILITY_MAX: libc::c_ulong = 63;

/// Empties every capability set of the calling thread and locks securebits, so that nothing brings one back.
pub fn drop_capabilities() -> Result<()> {
    const PR_CAP_AMBIENT: libc::c_int = 47;
    const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;
    // All bits and all locks of capabilities(7) but KEEP_CAPS, which cannot be locked on: noroot, no setuid fixup, no ambient raise.
    const SECUREBITS: libc::c_ulong = 0b1110_1111;
    for capability in 0..=CAPABILITY_MAX {
        // SAFETY: plain numbers.
        let answer = check("prctl(PR_CAPBSET_DROP)", unsafe {
            libc::c_long::from(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0))
        });
        match answer {
            Err(error) if error.errno == libc::EINVAL => break,
            other => other?,
        };
    }
    // SAFETY: plain numbers.
    check("prctl(PR_CAP_AMBIENT)", unsafe {
        libc::c_long::from(libc::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    })?;
    // SAFETY: plain numbers.
    check("prctl(PR_SET_SECUREBITS)", unsafe {
        libc::c_long::from(libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0))
    })?;
    set_capabilities_to_none()
}

fn set_capabilities_to_none() -> Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // _LINUX_CAPABILITY_VERSION_3 of capget(2), which takes two words of each set.
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: the header names version 3, for which the kernel reads exactly these six words.
    check("capset", unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) }).map(drop)
}
