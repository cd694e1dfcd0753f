//! Copies a run's files out to a directory of the caller's. Names are the guest's and contents too: nothing is followed, and a
//! file that is there already is replaced, never written into.

use rustix::fs::{AtFlags, Mode, OFlags};
use sandbox::files::Collected;
use sha2::{Digest, Sha256};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek};
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

/// As [`keep`], while other code lives that may be at work with the files: one that is not what it was any more is passed over, and none
/// is read further than it was long.
pub(crate) fn keep_beside(directory: &Path, collected: Collected) -> io::Result<Collected> {
    let Collected { files, mut skipped } = collected;
    let mut kept = Vec::with_capacity(files.len());
    if !files.is_empty() {
        std::fs::create_dir_all(directory)?;
    }
    for mut left in files {
        let path = directory.join(kept.len().to_string());
        left.file.rewind()?;
        let mut copy = Hashing { file: File::create_new(&path)?, hash: Sha256::new() };
        io::copy(&mut (&mut left.file).take(left.bytes), &mut copy)?;
        if copy.hash.finalize().as_slice() == left.sha256 {
            kept.push(left);
        } else {
            std::fs::remove_file(&path)?;
            skipped += 1;
        }
    }
    Ok(Collected { files: kept, skipped })
}

/// A file that is hashed as it is written.
struct Hashing {
    file: File,
    hash: Sha256,
}

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes one file below `directory`, with its parent directories. One that is there is replaced.
pub fn export(directory: BorrowedFd<'_>, path: &Path, content: impl io::Read) -> io::Result<()> {
    write(directory, path, content, true)
}

/// As [`export`], but a file that is there is an error, [`io::ErrorKind::AlreadyExists`], and nothing was read of `content`.
pub fn export_new(directory: BorrowedFd<'_>, path: &Path, content: impl io::Read) -> io::Result<()> {
    write(directory, path, content, false)
}

fn write(
    directory: BorrowedFd<'_>,
    path: &Path,
    mut content: impl io::Read,
    replaces: bool,
) -> io::Result<()> {
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
    if replaces {
        match rustix::fs::unlinkat(at, &*name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let to = sys::fs::open_beneath(at, &name, flags, 0o644)
        .map_err(|error| io::Error::from_raw_os_error(error.errno))?;
    io::copy(&mut content, &mut File::from(to)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::files::Left;
    use std::io::Write;

    #[test]
    fn a_file_that_changes_under_us_is_neither_kept_nor_read_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let left = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            let sha256 = Sha256::digest(name).into();
            Left { path: name.into(), bytes: name.len() as u64, sha256, file: File::open(path).unwrap() }
        };
        let files = vec![left("changed"), left("grown"), left("same"), left("shrunk")];
        std::fs::write(directory.path().join("changed"), "CHANGED").unwrap();
        std::fs::write(directory.path().join("shrunk"), "").unwrap();
        // Its head is as it was: that is what was seen, and all that is kept.
        File::options()
            .append(true)
            .open(directory.path().join("grown"))
            .unwrap()
            .write_all(b"more")
            .unwrap();
        let to = directory.path().join("kept");
        let kept = keep_beside(&to, Collected { files, skipped: 1 }).unwrap();
        let names: Vec<_> = kept.files.iter().map(|left| left.path.to_str().unwrap()).collect();
        assert_eq!((names, kept.skipped), (vec!["grown", "same"], 3));
        assert_eq!(std::fs::read(to.join("0")).unwrap(), b"grown");
        assert_eq!(std::fs::read(to.join("1")).unwrap(), b"same");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 2);
    }
}
