//! The file system of a sandbox, and of a zygote: an image without a way to write it, one tmpfs for all that may be written, five
//! devices.

use crate::plan::{DEVICES, DIRECTORIES};
use rustix::fs::Mode;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use sys::mount::Attributes;
use sys::{Error, Result};

/// The mount point for a new root until the pivot. Any directory of the host serves; nothing is changed in it.
pub const STAGES: [&CStr; 3] = [c"/tmp", c"/mnt", c"/dev"];

const WRITABLE: Attributes = Attributes { read_only: false, no_devices: true, no_execution: false };

/// Opens the directories of the image, the uppermost first, in the caller's own mount namespace, which an overlay demands, and while
/// its id still passes private directories.
pub fn open_layers(directories: &[CString]) -> Result<Vec<OwnedFd>> {
    directories.iter().map(|directory| sys::fs::open_directory(directory)).collect()
}

/// Mounts a read-only overlay of the layers on a stage.
pub fn root(layers: &[OwnedFd]) -> Result<OwnedFd> {
    let places: Vec<String> =
        layers.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let lower =
        CString::new(places.join(":")).map_err(|_| Error { call: "lowerdir", errno: libc::EINVAL })?;
    let sealed = Attributes { read_only: true, no_devices: true, no_execution: false };
    let root = sys::mount::make(c"overlay", &[(c"lowerdir", &lower), (c"userxattr", c"")], sealed)?;
    let mut failed = Error { call: "stage", errno: libc::ENOENT };
    for stage in STAGES {
        match sys::mount::attach(root.as_fd(), rustix::fs::CWD, stage) {
            Ok(()) => return Ok(root),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Attaches a scratch file system at `/tmp`, where its own `tmp` will cover it: from then on only who holds the descriptor can reach
/// its root.
pub fn scratch(root: BorrowedFd<'_>, bytes: u64, inodes: u64) -> Result<OwnedFd> {
    let (bytes, inodes) = (number(bytes), number(inodes));
    let options = [(c"size", bytes.as_c_str()), (c"nr_inodes", inodes.as_c_str()), (c"mode", c"755")];
    let scratch = sys::mount::make(c"tmpfs", &options, WRITABLE)?;
    sys::mount::attach(scratch.as_fd(), root, c"tmp")?;
    for (name, _, mode) in DIRECTORIES {
        let name = relative(name);
        rustix::fs::mkdirat(&scratch, &*name, Mode::from_raw_mode(0o755)).map_err(Error::of("mkdirat"))?;
        // The creation mask of the caller is not ours.
        rustix::fs::chmodat(&scratch, &*name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            .map_err(Error::of("fchmodat"))?;
    }
    Ok(scratch)
}

/// Mounts the directories of the scratch file system in their places. The caller's working directory becomes the root.
pub fn directories(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).map_err(Error::of("fchdir"))?;
    for (name, place, _) in DIRECTORIES {
        // The scratch file system is at `tmp`, until its own `tmp` covers it: the last of them.
        sys::mount::bind(&relative(&format!("tmp/{name}")), &relative(place))?;
    }
    Ok(())
}

/// Mounts the five harmless devices.
pub fn devices(root: BorrowedFd<'_>) -> Result<()> {
    let harmless = Attributes { read_only: true, no_devices: false, no_execution: true };
    for name in DEVICES {
        let path = CString::new(format!("/dev/{name}"))
            .map_err(|_| Error { call: "device", errno: libc::EINVAL })?;
        let device = sys::mount::copy(rustix::fs::CWD, &path, harmless)?;
        sys::mount::attach(device.as_fd(), root, &relative(&format!("dev/{name}")))?;
    }
    Ok(())
}

/// Mounts a process file system that shows own processes only.
pub fn processes(root: BorrowedFd<'_>) -> Result<()> {
    let sealed = Attributes { read_only: false, no_devices: true, no_execution: true };
    let proc = sys::mount::make(c"proc", &[(c"hidepid", c"invisible")], sealed)?;
    sys::mount::attach(proc.as_fd(), root, c"proc")
}

fn number(value: u64) -> CString {
    CString::new(value.to_string()).expect("digits have no NUL")
}

fn relative(path: &str) -> CString {
    CString::new(path.trim_start_matches('/')).expect("constants have no NUL")
}
