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
pub const CAPABILITY_MAX: libc::c_ulong = 63;

/// All bits and all locks of capabilities(7) but KEEP_CAPS, which cannot be locked on: noroot, no setuid fixup, no ambient raise.
pub const SECUREBITS: libc::c_ulong = 0b1110_1111;
/// Operation of `prctl(2)` on the ambient set.
pub const PR_CAP_AMBIENT: libc::c_int = 47;
/// Empties the ambient set.
pub const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;
const PR_CAP_AMBIENT_RAISE: libc::c_ulong = 2;

/// The highest capability that this kernel has; 40 where it does not say (Linux 5.9, CAP_CHECKPOINT_RESTORE).
pub fn last_capability() -> libc::c_ulong {
    let text = crate::fs::read_kernel_file(c"/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    text.trim().parse().unwrap_or(40)
}

/// Empties every capability set of the calling thread and locks securebits, so that nothing brings one back.
pub fn drop_capabilities() -> Result<()> {
    drop_bounding_set(None)?;
    prctl("prctl(PR_CAP_AMBIENT)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    prctl("prctl(PR_SET_SECUREBITS)", libc::PR_SET_SECUREBITS, SECUREBITS, 0)?;
    set_capabilities(&CAPSET_NONE)
}

/// Becomes another user and keeps one capability, also through the next exec: what a zygote needs to enter sandboxes.
pub fn become_user_with_sys_admin(uid: u32, gid: u32) -> Result<()> {
    const CAP_SYS_ADMIN: libc::c_ulong = 21;
    drop_bounding_set(Some(CAP_SYS_ADMIN))?;
    prctl("prctl(PR_SET_KEEPCAPS)", libc::PR_SET_KEEPCAPS, 1, 0)?;
    become_user(uid, gid)?;
    let one = 1u32 << CAP_SYS_ADMIN;
    set_capabilities(&[one, one, one, 0, 0, 0])?;
    prctl("prctl(PR_CAP_AMBIENT)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN)
}

/// Becomes another user without any capability, and with none to be had by executing a program. The caller is root.
pub fn become_powerless_user(uid: u32, gid: u32) -> Result<()> {
    // While there is the right to: it goes with the id.
    drop_bounding_set(None)?;
    become_user(uid, gid)?;
    set_capabilities(&CAPSET_NONE)
}

fn drop_bounding_set(but: Option<libc::c_ulong>) -> Result<()> {
    for capability in (0..=CAPABILITY_MAX).filter(|capability| Some(*capability) != but) {
        match prctl("prctl(PR_CAPBSET_DROP)", libc::PR_CAPBSET_DROP, capability, 0) {
            Err(error) if error.errno == libc::EINVAL => break,
            other => other?,
        }
    }
    Ok(())
}

fn prctl(call: &'static str, option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> Result<()> {
    // SAFETY: plain numbers; none of the options used here takes an address.
    check(call, libc::c_long::from(unsafe { libc::prctl(option, first, second, 0, 0) })).map(drop)
}

/// The header of `capset(2)` for the calling thread: _LINUX_CAPABILITY_VERSION_3, which takes two words of each set.
pub const CAPSET_HEADER: [u32; 2] = [0x2008_0522, 0];
/// Effective, permitted and inheritable sets, low words, then high words: all empty.
pub const CAPSET_NONE: [u32; 6] = [0; 6];

fn set_capabilities(sets: &[u32; 6]) -> Result<()> {
    // SAFETY: the header names version 3, for which the kernel reads exactly these six words.
    check("capset", unsafe { libc::syscall(libc::SYS_capset, CAPSET_HEADER.as_ptr(), sets.as_ptr()) })
        .map(drop)
}
