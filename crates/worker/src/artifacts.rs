//! Copies a run's files out to a directory of the caller's. Names are the guest's and contents too: nothing is followed, and a
//! file that is there already is replaced, never written into.

use rustix::fs::{AtFlags, Mode, OFlags};
use sandbox::files::Collected;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Copies what a dead run left into `directory`, under numbers: no name of the guest's is ever a path of the host's.
pub(crate) fn keep(directory: &Path, collected: &Collected) -> io::Result<()> {
    if collected.files.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    for (index, left) in collected.files.iter().enumerate() {
        let mut from = &left.file;
        from.rewind()?;
        io::copy(&mut from, &mut File::create_new(directory.join(index.to_string()))?)?;
    }
    Ok(())
}

/// Writes one file below `directory`, with its parent directories.
pub fn export(directory: BorrowedFd<'_>, path: &Path, mut content: impl io::Read) -> io::Result<()> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(CString::new(name.as_bytes())?),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    let name = parts.pop().ok_or(io::ErrorKind::InvalidInput)?;
    let mut parent: Option<OwnedFd> = None;
    for part in parts {
        let at = parent.as_ref().map_or(directory, AsFd::as_fd);
        match rustix::fs::mkdirat(at, &*part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let next = sys::fs::open_beneath(at, &part, flags, 0)
            .map_err(|error| io::Error::from_raw_os_error(error.errno))?;
        parent = Some(next);
    }
    let at = parent.as_ref().map_or(directory, AsFd::as_fd);
    match rustix::fs::unlinkat(at, &*name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let to = sys::fs::open_beneath(at, &name, flags, 0o644)
        .map_err(|error| io::Error::from_raw_os_error(error.errno))?;
    io::copy(&mut content, &mut File::from(to)).map(drop)
}
