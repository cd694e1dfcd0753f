//! A zygote from the outside: an interpreter that imports what is to be warm, then waits to be forked into sandboxes.
//!
//! It runs our code only and parses nothing of a tenant's, but its memory is what every fork begins with: so it is confined for
//! itself. A root and a network of its own with nothing in it, an unprivileged id, one capability (CAP_SYS_ADMIN, without which no
//! namespace can be entered), `policy/seccomp/zygote.toml`. Its forks shed the rest (`joining.rs`).

use crate::host::{Host, Outside};
use crate::image::Image;
use crate::plan::INSIDE_USER;
use crate::{command, mounts, seccomp};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use sys::{Error, Result};

/// The program that an interpreter becomes a zygote by.
const PROGRAM: &str = "/opt/fireclay/python/zygote.pyc";
/// Where it finds its socket.
const SOCKET: i32 = 3;
/// The lowest number of what it receives: those that a fork places things at are taken before.
const FIRST_FREE: i32 = 16;
/// What it may write, for libraries that want a place for their caches.
const SCRATCH_BYTES: u64 = 64 << 20;
const SCRATCH_INODES: u64 = 4096;

/// What a zygote does before it is forked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Modules that it imports.
    pub modules: Vec<String>,
    /// Programs that it runs then.
    pub rehearsals: Vec<String>,
}

/// Whether this machine can have zygotes: they need a user that is nobody else's.
pub fn possible(host: &Host) -> bool {
    matches!(host.outside, Ok(Outside::Reserved { .. }))
}

/// Becomes a zygote of the image's Python that has done this work, which serves `socket` until its other end is gone; what it
/// complains of goes to `complaints`. The caller is a process made for this, with one thread. Returns only the failure.
pub fn live(image: &Image, host: &Host, work: &Work, socket: &OwnedFd, complaints: &OwnedFd) -> Error {
    match confine(image, host, socket, complaints) {
        Err(error) => error,
        Ok(()) => {
            let word = |text: &str| CString::new(text).unwrap_or_default();
            let python = word(image.python.as_deref().unwrap_or_default());
            let Work { modules, rehearsals } = work;
            let count = modules.len().to_string();
            let args: Vec<CString> = ["-S", PROGRAM, &count]
                .into_iter()
                .chain(modules.iter().chain(rehearsals).map(String::as_str))
                .map(word)
                .collect();
            let args: Vec<&CStr> = std::iter::once(&python).chain(&args).map(CString::as_c_str).collect();
            let env: Vec<CString> = command::own_environment(image)
                .into_iter()
                .map(|(name, value)| word(&format!("{name}={value}")))
                .collect();
            let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
            sys::process::execute(&python, &args, &env)
        }
    }
}

fn confine(image: &Image, host: &Host, socket: &OwnedFd, complaints: &OwnedFd) -> Result<()> {
    let Ok(Outside::Reserved { base, .. }) = host.outside else {
        return Err(Error { call: "zygote", errno: libc::ENOTSUP });
    };
    sys::signal::reset()?;
    sys::process::new_session()?;
    sys::limits::prefer_as_oom_victim()?;
    sys::limits::lower(libc::RLIMIT_CORE, 1)?;
    sys::identity::new_session_keyring()?;
    sys::process::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)?;
    sys::net::set_host_name(INSIDE_USER)?;
    // The id below those of sandboxes: nobody's.
    let own = base - 1;
    file_system(image, own)?;
    descriptors(socket, complaints)?;
    sys::identity::become_user_with_sys_admin(own, own)?;
    // After the change of id, which clears it. If the parent died before, the end of the socket says so.
    sys::process::die_with_parent()?;
    sys::identity::set_no_new_privileges()?;
    sys::seccomp::install(seccomp::zygote())
}

/// The file system of a sandbox, in which the home is `own`'s: modules look for it when they are imported.
fn file_system(image: &Image, own: u32) -> Result<()> {
    let directories = image.directories().map_err(|_| Error { call: "open image", errno: libc::EINVAL })?;
    sys::mount::make_all_private()?;
    let layers = mounts::open_layers(&directories)?;
    let root = mounts::root(&layers)?;
    drop(layers);
    let scratch = mounts::scratch(root.as_fd(), SCRATCH_BYTES, SCRATCH_INODES)?;
    let (user, group) = (Uid::from_raw(own), Gid::from_raw(own));
    rustix::fs::chownat(&scratch, c"home", Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Error::of("fchownat"))?;
    drop(scratch);
    mounts::directories(root.as_fd())?;
    mounts::devices(root.as_fd())?;
    sys::mount::pivot_into(root.as_fd())
}

/// Pipes at 0 to 2, as every fork will have: the interpreter remembers what kind of file it started with.
fn descriptors(socket: &OwnedFd, complaints: &OwnedFd) -> Result<()> {
    let (input, _) = sys::fs::pipe_to_read()?;
    let (_, output) = sys::fs::pipe_to_read()?;
    let copies = [
        sys::process::duplicate_above(input.as_fd(), 64)?,
        sys::process::duplicate_above(output.as_fd(), 64)?,
        sys::process::duplicate_above(complaints.as_fd(), 64)?,
        sys::process::duplicate_above(socket.as_fd(), 64)?,
    ];
    // Their numbers may be among those that are taken now.
    drop((input, output));
    let null =
        rustix::fs::open(c"/dev/null", OFlags::RDONLY, Mode::empty()).map_err(Error::of("open null"))?;
    let high_null = sys::process::duplicate_above(null.as_fd(), 64)?;
    drop(null);
    for (copy, target) in copies.iter().zip(0..) {
        sys::process::place_descriptor(copy.as_fd(), target)?;
    }
    debug_assert_eq!(copies.len() as i32, SOCKET + 1);
    for taken in SOCKET + 1..FIRST_FREE {
        sys::process::place_descriptor(high_null.as_fd(), taken)?;
    }
    sys::process::close_from_on_exec(FIRST_FREE as u32)
}
