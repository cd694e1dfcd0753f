//! Files of a sandbox from outside, while hostile code may be at work with them.
//!
//! Always by descriptor, beneath one directory, through no link, and by the right of the code's own user: what it could not read or
//! write itself is not read or written for it. A file that is replaced is replaced whole, by a rename, which follows nothing either.

use crate::inputs::make_directories;
use model::limits::PATH_BYTES_MAX;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags};
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use sys::{Error, Result};

/// Deepest directory that is walked into.
pub const DEPTH_MAX: usize = 64;
/// Most things that are removed at once.
pub const REMOVED_MAX: usize = 1 << 20;

/// A directory of a sandbox, or a copy of one.
#[derive(Debug)]
pub struct Workspace {
    directory: OwnedFd,
    /// Whose right counts; `None` for the caller's own.
    user: Option<(u32, u32)>,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link; never followed.
    Link,
    /// A pipe, a socket or another thing without content.
    Other,
}

/// One thing in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the workspace, in the guest's own bytes.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its length; 0 for what is no file.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Names the thing itself, whatever it is called, for as long as it is there (inode(7)).
    pub identity: u64,
}

/// A file on its way in: it has its name when [`Upload::finish`] is called. Dropping it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    /// To be written.
    pub file: File,
    workspace: Workspace,
    /// The directory that it will be in.
    parent: OwnedFd,
    part: CString,
    name: CString,
    finished: bool,
}

impl Workspace {
    /// The directory `name` in `parent`, to be worked with by this user's right, or by the caller's own.
    pub fn open(parent: BorrowedFd<'_>, name: &CStr, user: Option<(u32, u32)>) -> Result<Self> {
        let directory = sys::fs::open_beneath(parent, name, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        Ok(Self { directory, user: user.filter(|(uid, _)| *uid != rustix::process::geteuid().as_raw()) })
    }

    /// Another handle of the same.
    pub fn try_clone(&self) -> Result<Self> {
        let directory = sys::process::duplicate_above(self.directory.as_fd(), 0)?;
        Ok(Self { directory, user: self.user })
    }

    /// Room on its file system.
    pub fn space(&self) -> Result<sys::fs::Space> {
        sys::fs::space(self.directory.as_fd())
    }

    fn as_user<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.user {
            Some((uid, gid)) => sys::identity::as_file_user(uid, gid, work).and_then(|done| done),
            None => work(),
        }
    }

    /// Opens a regular file for reading. Anything else is EISDIR or EINVAL, a link on the way ELOOP.
    pub fn read(&self, path: &str) -> Result<(File, Entry)> {
        let name = word(path)?;
        self.as_user(|| {
            // A pipe must not make us wait.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = sys::fs::open_beneath(self.directory.as_fd(), &name, flags, 0)?;
            let stat = rustix::fs::fstat(&file).map_err(Error::of("fstat"))?;
            let entry = entry_of(path.into(), &stat);
            match entry.kind {
                Kind::File => Ok((File::from(file), entry)),
                Kind::Directory => Err(Error { call: "read", errno: libc::EISDIR }),
                _ => Err(Error { call: "read", errno: libc::EINVAL }),
            }
        })
    }

    /// What is at a path; the empty path is the workspace itself.
    pub fn look(&self, path: &str) -> Result<Entry> {
        if path.is_empty() {
            let stat = rustix::fs::fstat(&self.directory).map_err(Error::of("fstat"))?;
            return Ok(entry_of(PathBuf::new(), &stat));
        }
        let (parent, name) = self.parent_of(path)?;
        let stat =
            rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW).map_err(Error::of("fstatat"))?;
        Ok(entry_of(path.into(), &stat))
    }

    /// The directory that holds a path, and the last part of it.
    fn parent_of(&self, path: &str) -> Result<(OwnedFd, CString)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let (parent, name) = (word(parent)?, word(name)?);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = self.as_user(|| sys::fs::open_beneath(self.directory.as_fd(), &parent, flags, 0))?;
        Ok((parent, name))
    }

    /// Makes a directory and those on the way. One that is there is no error.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        self.as_user(|| make_directories(self.directory.as_fd(), path.as_bytes()))
    }

    /// Begins a file, with the directories on the way; `random` is for its name until it is whole.
    pub fn begin(&self, path: &str, executable: bool, random: [u8; 16]) -> Result<Upload> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_directory(parent)?;
        }
        let (parent, name) = self.parent_of(path)?;
        let part = word(&format!(".fireclay-{:032x}.part", u128::from_ne_bytes(random)))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = if executable { 0o755 } else { 0o644 };
        let file = self.as_user(|| sys::fs::open_beneath(parent.as_fd(), &part, flags, mode))?;
        let workspace = self.try_clone()?;
        Ok(Upload { file: File::from(file), workspace, parent, part, name, finished: false })
    }

    /// Writes a file whole.
    pub fn write(&self, path: &str, content: &[u8], executable: bool) -> Result<()> {
        let mut upload = self.begin(path, executable, sys::fs::random()?)?;
        upload.file.write_all(content).map_err(Error::of_io("write"))?;
        upload.finish()
    }

    /// Makes a directory that was not there, with these files in it. What is on the way is made too.
    pub fn write_directory(&self, path: &str, files: &[(&str, &[u8])]) -> Result<()> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_directory(parent)?;
        }
        let (parent, name) = self.parent_of(path)?;
        self.as_user(|| {
            rustix::fs::mkdirat(&parent, &*name, Mode::from_raw_mode(0o755)).map_err(Error::of("mkdirat"))?;
            let directory =
                sys::fs::open_beneath(parent.as_fd(), &name, OFlags::PATH | OFlags::DIRECTORY, 0)?;
            for (name, content) in files {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let file = sys::fs::open_beneath(directory.as_fd(), &word(name)?, flags, 0o644)?;
                File::from(file).write_all(content).map_err(Error::of_io("write"))?;
            }
            Ok(())
        })
    }

    /// Makes a pipe in a directory that is there and opens it twice, for both directions and for writing alone; neither makes us wait.
    /// What the code has put in its place meanwhile is ELOOP.
    pub fn make_pipe(&self, path: &str) -> Result<[OwnedFd; 2]> {
        let (parent, name) = self.parent_of(path)?;
        self.as_user(|| {
            rustix::fs::mkfifoat(&parent, &*name, Mode::RUSR | Mode::WUSR).map_err(Error::of("mkfifoat"))?;
            let open = |access: OFlags| {
                let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
                sys::fs::open_beneath(parent.as_fd(), &name, flags, 0)
            };
            let ends = [open(OFlags::RDWR)?, open(OFlags::WRONLY)?];
            let [both, write] = ends.each_ref().map(rustix::fs::fstat);
            let both = both.map_err(Error::of("fstat"))?;
            let write = write.map_err(Error::of("fstat"))?;
            let is_pipe = FileType::from_raw_mode(both.st_mode) == FileType::Fifo;
            match is_pipe && (both.st_dev, both.st_ino) == (write.st_dev, write.st_ino) {
                true => Ok(ends),
                false => Err(Error { call: "make a pipe", errno: libc::ELOOP }),
            }
        })
    }

    /// Moves something. Without `replace` what is at the target stays, and that is EEXIST.
    pub fn rename(&self, from: &str, to: &str, replace: bool) -> Result<()> {
        if let Some((parent, _)) = to.rsplit_once('/') {
            self.make_directory(parent)?;
        }
        let ((from, old), (to, new)) = (self.parent_of(from)?, self.parent_of(to)?);
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        self.as_user(|| {
            rustix::fs::renameat_with(&from, &*old, &to, &*new, flags).map_err(Error::of("renameat2"))
        })
    }

    /// Removes a file, a link itself, or a directory with all that is in it. More than [`REMOVED_MAX`] things are ELOOP: some are gone
    /// then.
    pub fn remove(&self, path: &str) -> Result<()> {
        match self.remove_some(path, REMOVED_MAX)? {
            true => Ok(()),
            false => Err(Error { call: "unlinkat", errno: libc::ELOOP }),
        }
    }

    /// As [`Workspace::remove`], but at most `most` things; says whether that was all.
    pub fn remove_some(&self, path: &str, most: usize) -> Result<bool> {
        let (parent, name) = self.parent_of(path)?;
        let mut left = most;
        self.as_user(|| remove(parent.as_fd(), &name, 0, &mut left))
    }

    /// What is in a directory, by name, at most `most` things with paths that are not too long; and whether that is all. With `recursive` also what is below.
    pub fn list(&self, path: &str, recursive: bool, most: usize) -> Result<(Vec<Entry>, bool)> {
        let name = word(if path.is_empty() { "." } else { path })?;
        let mut walk = Walk { recursive, most, entries: Vec::new(), whole: true };
        self.as_user(|| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let directory = sys::fs::open_beneath(self.directory.as_fd(), &name, flags, 0)?;
            walk.directory(&directory, Path::new(path), 0)
        })?;
        walk.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((walk.entries, walk.whole))
    }
}

impl Upload {
    /// Gives it its name; what had it before is gone.
    pub fn finish(mut self) -> Result<()> {
        let Self { workspace, parent, part, name, .. } = &self;
        let flags = RenameFlags::empty();
        workspace.as_user(|| {
            rustix::fs::renameat_with(parent, &**part, parent, &**name, flags).map_err(Error::of("renameat2"))
        })?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let Self { workspace, parent, part, .. } = self;
        let removed = workspace.as_user(|| {
            rustix::fs::unlinkat(&*parent, &**part, AtFlags::empty()).map_err(Error::of("unlinkat"))
        });
        match removed {
            // The code inside may have removed it.
            Err(error) if error.errno != libc::ENOENT => {
                eprintln!("fireclay: remove what was left of an upload: {error}");
            }
            _ => {}
        }
    }
}

/// Removes one name, and `left` things at most; says whether it is gone. Deeper than [`DEPTH_MAX`] is ELOOP.
fn remove(parent: BorrowedFd<'_>, name: &CStr, depth: usize, left: &mut usize) -> Result<bool> {
    // Code that is at work there may make more as fast as it is removed.
    let Some(rest) = left.checked_sub(1) else { return Ok(false) };
    *left = rest;
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(rustix::io::Errno::ISDIR) => {}
        other => return other.map(|()| true).map_err(Error::of("unlinkat")),
    }
    if depth > DEPTH_MAX {
        return Err(Error { call: "unlinkat", errno: libc::ELOOP });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = sys::fs::open_beneath(parent, name, flags, 0)?;
    let mut space = [MaybeUninit::<u8>::uninit(); 4096];
    let mut listing = RawDir::new(&directory, &mut space);
    while let Some(entry) = listing.next() {
        let entry = entry.map_err(Error::of("getdents64"))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            let gone = remove(directory.as_fd(), entry.file_name(), depth + 1, left)?;
            if !gone {
                return Ok(false);
            }
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map(|()| true).map_err(Error::of("unlinkat"))
}

/// A walk that lists.
struct Walk {
    recursive: bool,
    most: usize,
    entries: Vec<Entry>,
    whole: bool,
}

impl Walk {
    fn directory(&mut self, directory: &OwnedFd, path: &Path, depth: usize) -> Result<()> {
        let mut space = [MaybeUninit::<u8>::uninit(); 4096];
        let mut listing = RawDir::new(directory, &mut space);
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(Error::of("getdents64"))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.entries.len() >= self.most {
                self.whole = false;
                return Ok(());
            }
            // What went meanwhile is not there.
            let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let inner = path.join(OsString::from_vec(name.to_bytes().to_vec()));
            if inner.as_os_str().len() > PATH_BYTES_MAX {
                self.whole = false;
                continue;
            }
            let entry = entry_of(inner.clone(), &stat);
            let descend = self.recursive && entry.kind == Kind::Directory;
            self.entries.push(entry);
            if descend {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                match sys::fs::open_beneath(directory.as_fd(), name, flags, 0) {
                    Ok(below) if depth < DEPTH_MAX => self.directory(&below, &inner, depth + 1)?,
                    _ => self.whole = false,
                }
            }
        }
        Ok(())
    }
}

fn entry_of(path: PathBuf, stat: &rustix::fs::Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let bytes = if kind == Kind::File { stat.st_size.unsigned_abs() } else { 0 };
    let modified_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    let executable = kind == Kind::File && Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
    Entry { path, kind, bytes, modified_ns, executable, identity: stat.st_ino }
}

fn word(path: &str) -> Result<CString> {
    CString::new(path).map_err(|_| Error { call: "path", errno: libc::EINVAL })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let parent = tempfile::tempdir().unwrap();
        std::fs::create_dir(parent.path().join("workspace")).unwrap();
        let open = File::open(parent.path()).unwrap();
        let workspace = Workspace::open(open.as_fd(), c"workspace", None).unwrap();
        (parent, workspace)
    }

    impl Workspace {
        fn directory_of(&self, path: &str) -> OwnedFd {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            sys::fs::open_beneath(self.directory.as_fd(), &word(path).unwrap(), flags, 0).unwrap()
        }
    }

    fn text(workspace: &Workspace, path: &str) -> String {
        let mut text = String::new();
        workspace.read(path).unwrap().0.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn files_are_written_whole_listed_moved_and_removed() {
        let (_parent, workspace) = workspace();
        workspace.write_directory("o/1", &[("code", b"1"), ("name", b"n")]).unwrap();
        assert_eq!(workspace.write_directory("o/1", &[]).unwrap_err().errno, libc::EEXIST);
        assert_eq!(text(&workspace, "o/1/code"), "1");
        workspace.remove("o").unwrap();
        workspace.write("a/b/c.txt", b"one", false).unwrap();
        workspace.write("a/b/c.txt", b"two", true).unwrap();
        assert_eq!(text(&workspace, "a/b/c.txt"), "two");
        let (entries, whole) = workspace.list("", true, 100).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.path.to_str().unwrap()).collect();
        assert_eq!((names, whole), (vec!["a", "a/b", "a/b/c.txt"], true));
        assert_eq!((entries[2].bytes, entries[2].executable), (3, true));
        assert!(!workspace.list("", true, 2).unwrap().1);
        workspace.rename("a/b/c.txt", "d/e", false).unwrap();
        workspace.write("f", b"", false).unwrap();
        assert_eq!(workspace.rename("f", "d/e", false).unwrap_err().errno, libc::EEXIST);
        workspace.rename("f", "d/e", true).unwrap();
        workspace.remove("a").unwrap();
        workspace.remove("d/e").unwrap();
        assert_eq!(workspace.look("a").unwrap_err().errno, libc::ENOENT);
        // In pieces.
        (0..5).for_each(|number| workspace.write(&format!("m/n/{number}"), b"", false).unwrap());
        assert!(!workspace.remove_some("m", 4).unwrap());
        assert!(!workspace.remove_some("m", 4).unwrap());
        assert!(workspace.remove_some("m", 4).unwrap());
        // What a path of ours could not name is not listed, and that is said.
        let deep = vec!["d".repeat(200); PATH_BYTES_MAX / 200].join("/");
        workspace.make_directory(&deep).unwrap();
        let deepest = workspace.directory_of(&deep);
        rustix::fs::mkdirat(&deepest, "e".repeat(200), Mode::RWXU).unwrap();
        let (entries, whole) = workspace.list("", true, 100).unwrap();
        assert!(!whole && entries.iter().all(|entry| entry.path.as_os_str().len() <= PATH_BYTES_MAX));
        workspace.remove(&deep[..200]).unwrap();
        // An upload that is not finished leaves nothing.
        drop(workspace.begin("x", false, [7; 16]).unwrap());
        assert_eq!(workspace.list("", true, 100).unwrap().0.len(), 1);
    }

    #[test]
    fn no_link_is_followed_and_nothing_makes_us_wait() {
        let (parent, workspace) = workspace();
        let inside = parent.path().join("workspace");
        std::fs::write(parent.path().join("secret"), "secret").unwrap();
        symlink("..", inside.join("up")).unwrap();
        symlink("../secret", inside.join("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("pipe"), Mode::RWXU).unwrap();
        let errno = |result: Result<()>| result.unwrap_err().errno;
        for path in ["up/secret", "link", "up/workspace/x", "../secret", "/etc/passwd"] {
            errno(workspace.read(path).map(drop));
            errno(workspace.list(path, true, 10).map(drop));
        }
        errno(workspace.write("up/new", b"x", false));
        errno(workspace.write("../new", b"x", false));
        errno(workspace.make_directory("up/new"));
        errno(workspace.rename("link", "up/new", true));
        errno(workspace.remove("up/secret"));
        assert_eq!(errno(workspace.read("pipe").map(drop)), libc::EINVAL);
        // Links themselves are replaced and removed.
        workspace.write("link", b"mine", false).unwrap();
        workspace.remove("up").unwrap();
        assert_eq!(std::fs::read_to_string(parent.path().join("secret")).unwrap(), "secret");
        assert_eq!(text(&workspace, "link"), "mine");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2);
    }
}
