//! File systems and mounts, made inside a user namespace as a sandbox makes them.

use super::{Failure, Found, Trial};
use crate::host::Outside;
use crate::mounts::STAGES;
use crate::plan::DEVICES;
use rustix::fs::{Mode, OFlags};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use sys::mount::Attributes;

const WRITABLE: Attributes = Attributes { read_only: false, no_devices: true, no_execution: false };
const SEALED: Attributes = Attributes { read_only: true, no_devices: true, no_execution: false };

/// Mounts a tmpfs with these options in the child's own view of the host.
pub fn staged_tmpfs(options: &[(&CStr, &CStr)]) -> Result<OwnedFd, Failure> {
    sys::mount::make_all_private()?;
    let scratch = sys::mount::make(c"tmpfs", options, WRITABLE)?;
    stage(&scratch)?;
    Ok(scratch)
}

fn stage(mount: &OwnedFd) -> Result<(), Failure> {
    let mut failed = Failure::of("no directory to mount on");
    for place in STAGES {
        match sys::mount::attach(mount.as_fd(), rustix::fs::CWD, place) {
            Ok(()) => return Ok(()),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// Makes a directory.
pub fn make_directory(parent: &OwnedFd, name: &CStr) -> Result<(), Failure> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        .map_err(|errno| Failure::from(errno).during("mkdir"))
}

fn create(parent: &OwnedFd, name: &CStr) -> Result<File, Failure> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644));
    file.map(File::from).map_err(|errno| Failure::from(errno).during("create a file"))
}

/// A tmpfs of one mebibyte takes no more.
pub fn tmpfs(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNS).perform(|| {
        let scratch = staged_tmpfs(&[(c"size", c"1048576"), (c"nr_inodes", c"64"), (c"mode", c"755")])?;
        let mut file = create(&scratch, c"file")?;
        match file.write_all(&vec![1; 2 << 20]) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                Ok("made, and full at its size".to_owned())
            }
            Err(error) => Err(error.into()),
            Ok(()) => Err(Failure::of("2 MiB fit into a file system of 1 MiB")),
        }
    })
}

/// A read-only overlay of two directories, as the image is mounted.
pub fn overlay(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNS).perform(|| {
        let scratch = staged_tmpfs(&[])?;
        make_directory(&scratch, c"upper")?;
        make_directory(&scratch, c"lower")?;
        create(&scratch, c"lower/file")?.write_all(b"content")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = rustix::fs::openat(&scratch, c"upper", flags, Mode::empty())?;
        let lower = rustix::fs::openat(&scratch, c"lower", flags, Mode::empty())?;
        let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", upper.as_raw_fd(), lower.as_raw_fd());
        let layers = CString::new(layers).map_err(|_| Failure::of("a path has a NUL"))?;
        let merged = sys::mount::make(c"overlay", &[(c"lowerdir", &layers), (c"userxattr", c"")], SEALED)?;
        let mut text = String::new();
        let file = rustix::fs::openat(&merged, c"file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        File::from(file).read_to_string(&mut text)?;
        match make_directory(&merged, c"new") {
            Err(failure) if failure.errno == libc::EROFS && text == "content" => {
                Ok("made with userxattr, read-only".to_owned())
            }
            Err(failure) => Err(failure),
            Ok(()) => Err(Failure::of("a read-only overlay can be written to")),
        }
    })
}

/// A process file system with `hidepid`. The kernel refuses it where the host's own is partly covered (`mount_too_revealing`).
pub fn proc(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNS | libc::CLONE_NEWPID).perform(|| {
        let sealed = Attributes { read_only: false, no_devices: true, no_execution: true };
        let proc = sys::mount::make(c"proc", &[(c"hidepid", c"invisible")], sealed)?;
        let own = rustix::fs::readlinkat(&proc, c"self", Vec::new())?;
        if own.as_bytes() == b"1" {
            Ok("made, own processes only".to_owned())
        } else {
            Err(Failure::of("it shows another namespace's processes"))
        }
    })
}

/// A second view of a file system that is read-only, and of each device that works.
pub fn attributes(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNS).perform(|| {
        let scratch = staged_tmpfs(&[])?;
        let view = sys::mount::copy(scratch.as_fd(), c"", SEALED)?;
        match make_directory(&view, c"new") {
            Err(failure) if failure.errno == libc::EROFS => {}
            Err(failure) => return Err(failure),
            Ok(()) => return Err(Failure::of("a read-only mount can be written to")),
        }
        let harmless = Attributes { read_only: true, no_devices: false, no_execution: true };
        for name in DEVICES {
            let name = CString::new(name).map_err(|_| Failure::of("a name has a NUL"))?;
            let path = [b"/dev/", name.to_bytes()].concat();
            let path = CString::new(path).map_err(|_| Failure::of("a path has a NUL"))?;
            let during = |failure: Failure| failure.during(&format!("device {}", name.to_string_lossy()));
            let device =
                sys::mount::copy(rustix::fs::CWD, &path, harmless).map_err(|error| during(error.into()))?;
            drop(create(&scratch, &name)?);
            sys::mount::attach(device.as_fd(), scratch.as_fd(), &name)
                .map_err(|error| during(error.into()))?;
            let opened =
                rustix::fs::openat(&scratch, &*name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            drop(opened.map_err(|errno| during(errno.into()))?);
        }
        Ok("read-only views hold, the five devices work".to_owned())
    })
}

/// After the pivot there is nothing of the host.
pub fn pivot(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNS).perform(|| {
        let scratch = staged_tmpfs(&[])?;
        sys::mount::pivot_into(scratch.as_fd())?;
        match std::fs::read_dir("/")?.count() {
            0 => Ok("done, nothing of the host is left in sight".to_owned()),
            left => Err(Failure::of(format!("{left} entries of the host are still in sight"))),
        }
    })
}
