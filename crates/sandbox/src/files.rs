//! The files that a run leaves, after its death. Always by descriptor, beneath the scratch file system, through no link: what lies
//! there was made by hostile code.

use crate::errand::WORKSPACE;
use crate::inputs::{Digests, Sha};
use model::limits::{ARTIFACT_DEPTH_MAX, ARTIFACT_ENTRIES_MAX, ARTIFACTS_MAX, PATH_BYTES_MAX};
use model::{Fault, FaultCode};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use sha2::{Digest, Sha256};
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A file that a run left behind, still in its place.
#[derive(Debug)]
pub struct Left {
    /// Relative to the workspace, in the guest's own bytes.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Digest of its content.
    pub sha256: Sha,
    /// Open for reading.
    pub file: File,
}

/// What a run left behind.
#[derive(Debug, Default)]
pub struct Collected {
    /// Regular files that are new or changed, by path.
    pub files: Vec<Left>,
    /// How many things were passed over: links, fifos, sockets, what lies too deep, what is too much.
    pub skipped: usize,
}

/// Finds the files that are in the workspace now and were not put there unchanged. To be called after everything inside is dead.
///
/// `disk_bytes` bounds what is read: a sparse file larger than that is passed over.
pub fn collect(
    scratch: BorrowedFd<'_>,
    ids: (u32, u32),
    inputs: &Digests,
    disk_bytes: u64,
) -> Result<Collected, Fault> {
    collect_by(open_own, (scratch, WORKSPACE), ids, inputs, disk_bytes)
}

/// As [`collect`], from this directory of the scratch file system, while other code lives that may be at work there too: what the code
/// may not read is passed over. A file may be another when it is read again: its digest tells.
pub fn collect_beside(
    scratch: BorrowedFd<'_>,
    directory: &CStr,
    ids: (u32, u32),
    inputs: &Digests,
    disk_bytes: u64,
) -> Result<Collected, Fault> {
    let open =
        |directory: BorrowedFd<'_>, name: &CStr, flags| sys::fs::open_beneath(directory, name, flags, 0);
    collect_by(open, (scratch, directory), ids, inputs, disk_bytes)
}

/// How a walk opens what it comes to.
type Open = fn(BorrowedFd<'_>, &CStr, OFlags) -> sys::Result<OwnedFd>;

fn collect_by(
    open: Open,
    (scratch, directory): (BorrowedFd<'_>, &CStr),
    ids: (u32, u32),
    inputs: &Digests,
    disk_bytes: u64,
) -> Result<Collected, Fault> {
    let gather = || -> sys::Result<Collected> {
        let workspace = open(scratch, directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let collected = Collected::default();
        let mut walk = Walk { open, inputs, left_bytes: disk_bytes, entries: 0, collected };
        walk.directory(&workspace, &mut Vec::new());
        walk.collected.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(walk.collected)
    };
    // As the code's own user: root's rights would read past permissions, but also count as root's mistakes.
    let collected = sys::identity::as_file_user(ids.0, ids.1, gather);
    collected
        .and_then(|collected| collected)
        .map_err(|error| Fault::new(FaultCode::Internal, format!("collect artifacts: {error}")))
}

/// Opens something that the code left, by its own owner's right: where it took that right away, it is given back first. Nothing
/// runs in there any more, so what is looked at is what is changed; a link is never followed.
fn open_own(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> sys::Result<OwnedFd> {
    match sys::fs::open_beneath(directory, name, flags, 0) {
        Err(error) if error.errno == libc::EACCES => {}
        other => return other,
    }
    let stat =
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(sys::Error::of("fstatat"))?;
    if matches!(FileType::from_raw_mode(stat.st_mode), FileType::Directory | FileType::RegularFile) {
        rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())
            .map_err(sys::Error::of("fchmodat"))?;
    }
    sys::fs::open_beneath(directory, name, flags, 0)
}

/// A walk through the workspace.
struct Walk<'a> {
    open: Open,
    inputs: &'a Digests,
    left_bytes: u64,
    entries: usize,
    collected: Collected,
}

impl Walk<'_> {
    /// Looks at one directory. What cannot be opened or read is passed over and counted.
    fn directory(&mut self, directory: &OwnedFd, path: &mut Vec<CString>) {
        let mut space = [MaybeUninit::<u8>::uninit(); 8192];
        let mut listing = RawDir::new(directory, &mut space);
        while let Some(Ok(entry)) = listing.next() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > ARTIFACT_ENTRIES_MAX {
                self.collected.skipped += 1;
                return;
            }
            path.push(name.to_owned());
            match entry.file_type() {
                // Python's own cache is not something a person left.
                FileType::Directory if name.to_bytes() == b"__pycache__" => {}
                FileType::Directory if path.len() < ARTIFACT_DEPTH_MAX => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    match (self.open)(directory.as_fd(), name, flags) {
                        Ok(inner) => self.directory(&inner, path),
                        Err(_) => self.collected.skipped += 1,
                    }
                }
                FileType::RegularFile => self.file(directory.as_fd(), name, path),
                _ => self.collected.skipped += 1,
            }
            path.pop();
        }
    }

    fn file(&mut self, directory: BorrowedFd<'_>, name: &CStr, path: &[CString]) {
        let relative = join(path);
        match self.examine(directory, name, &relative) {
            Some(left) if self.inputs.get(&left.path) == Some(&left.sha256) => {}
            Some(left) if self.collected.files.len() < ARTIFACTS_MAX => self.collected.files.push(left),
            _ => self.collected.skipped += 1,
        }
    }

    /// Opens and reads a file that is regular when opened, fits, and has a path of tolerable length.
    fn examine(&mut self, directory: BorrowedFd<'_>, name: &CStr, path: &Path) -> Option<Left> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return None;
        }
        // O_NONBLOCK: a fifo can then never hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = File::from((self.open)(directory, name, flags).ok()?);
        let meta = file.metadata().ok()?;
        if !meta.is_file() || meta.len() > self.left_bytes {
            return None;
        }
        let mut hash = Sha256::new();
        let bytes = std::io::copy(&mut (&mut file).take(meta.len()), &mut hash).ok()?;
        self.left_bytes -= bytes;
        std::io::Seek::rewind(&mut file).ok()?;
        Some(Left { path: path.to_owned(), bytes, sha256: hash.finalize().into(), file })
    }
}

fn join(parts: &[CString]) -> PathBuf {
    parts.iter().map(|part| OsString::from_vec(part.to_bytes().to_vec())).collect()
}
