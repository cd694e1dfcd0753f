//! Saves the files of a session that ends to the disk, where they wait for a while for whoever wants them.

use super::{Entry, Kind, Workspace};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::{File, FileTimes};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Most files and directories that are saved.
pub const ENTRIES_MAX: usize = 20_000;

/// What was saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What they and their names take on the disk, at least: each at least [`ENTRY_BYTES`].
    pub taken: u64,
    /// What was not: links, pipes, what could not be read, what is too much.
    pub skipped: usize,
}

/// What one thing takes on a disk even if it is empty.
const ENTRY_BYTES: u64 = 4096;

/// Copies regular files and directories of `workspace` into a new directory `workspace` below `directory`: at most `bytes_max` of
/// content. Nothing is followed; a file that shrinks meanwhile is as long as it then is.
pub fn save(workspace: &Workspace, directory: &Path, bytes_max: u64) -> io::Result<Saved> {
    let target = directory.join("workspace");
    std::fs::create_dir_all(&target)?;
    let root = rustix::fs::open(&target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut saved = Saved::default();
    let (entries, whole) = workspace.list("", true, ENTRIES_MAX).map_err(io_error)?;
    saved.skipped += usize::from(!whole);
    for entry in &entries {
        match entry.kind {
            // Also one that is empty.
            Kind::Directory => match make_directory(&root, &entry.path) {
                Ok(()) => saved.taken += ENTRY_BYTES,
                Err(_) => saved.skipped += 1,
            },
            Kind::File => match save_file(workspace, entry, &root, bytes_max - saved.bytes) {
                Ok(Some(bytes)) => {
                    saved.files += 1;
                    saved.bytes += bytes;
                    saved.taken += bytes.next_multiple_of(ENTRY_BYTES).max(ENTRY_BYTES);
                }
                Ok(None) => saved.skipped += 1,
                // The disk of the machine is full, or broken: that is not the session's doing.
                Err(error) => return Err(error),
            },
            Kind::Link | Kind::Other => saved.skipped += 1,
        }
    }
    Ok(saved)
}

fn make_directory(root: &impl AsFd, path: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(root, path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// `None` for one that cannot be read or is too much.
fn save_file(workspace: &Workspace, entry: &Entry, root: &impl AsFd, room: u64) -> io::Result<Option<u64>> {
    let Some(path) = entry.path.to_str() else { return Ok(None) };
    let Ok((from, now)) = workspace.read(path) else { return Ok(None) };
    if now.bytes > room {
        return Ok(None);
    }
    crate::artifacts::export(root.as_fd(), &entry.path, from.take(now.bytes))?;
    let saved = rustix::fs::openat(
        root,
        &entry.path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let saved = File::from(saved);
    let length = saved.metadata()?.len();
    let since = Duration::from_nanos(u64::try_from(now.modified_ns).unwrap_or(0));
    saved.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + since))?;
    if now.executable {
        saved.set_permissions(std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(Some(length))
}

/// The saved files of a session that ended; `None` if there are none below this directory.
pub fn saved(directory: &Path) -> io::Result<Option<Workspace>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(directory, flags, Mode::empty()) {
        Ok(parent) => parent,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    match rustix::fs::statat(&parent, c"workspace", AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
        Ok(_) => Workspace::open(parent.as_fd(), c"workspace", None).map(Some).map_err(io_error),
    }
}

fn io_error(error: sys::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_saved_and_links_are_not() {
        let from = tempfile::tempdir().unwrap();
        let inside = from.path().join("workspace");
        std::fs::create_dir_all(inside.join("a/empty")).unwrap();
        std::fs::write(inside.join("a/b.txt"), "hello").unwrap();
        std::fs::write(inside.join("large"), vec![0; 100]).unwrap();
        symlink("/etc/passwd", inside.join("link")).unwrap();
        let open = File::open(from.path()).unwrap();
        let workspace = Workspace::open(open.as_fd(), c"workspace", None).unwrap();
        let to = tempfile::tempdir().unwrap();
        let target = to.path().join("ses_x");
        assert!(saved(&target).unwrap().is_none());
        let done = save(&workspace, &target, 50).unwrap();
        assert_eq!(done, Saved { files: 1, bytes: 5, taken: 3 * ENTRY_BYTES, skipped: 2 });
        let copy = saved(&target).unwrap().unwrap();
        let mut text = String::new();
        copy.read("a/b.txt").unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let was = workspace.look("a/b.txt").unwrap();
        let identity = copy.look("a/b.txt").unwrap().identity;
        assert_eq!(copy.look("a/b.txt").unwrap(), Entry { identity, ..was });
        assert_eq!(copy.look("a/empty").unwrap().kind, Kind::Directory);
    }
}
