//! The directory where the tokens of local servers lie: this user's alone, or not used at all.
//!
//! Below a directory that all can write to, such as /tmp, another user may have put something there first: a directory of theirs, or a
//! link to one of ours. So it is opened once, through no link, looked at by that descriptor, and everything in it is reached from there.

use anyhow::Context;
use model::Rejection;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a token's file may have at most; ours have a few hundred bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A directory that is ours, and closed to all others.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// The directory at `path`, which is made if there is none. Refuses one that is not ours alone.
    pub fn make(path: &Path) -> anyhow::Result<Self> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("make {}", path.display())),
        }
        Self::open(path)
    }

    /// The directory at `path`, if it is there and ours alone.
    pub fn at(path: &Path) -> Option<Self> {
        Self::open(path).ok()
    }

    fn open(path: &Path) -> anyhow::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(not_ours(path, "is no directory, but a link or a file"));
            }
            other => other.with_context(|| format!("open {}", path.display()))?,
        };
        let stat = rustix::fs::fstat(&directory).with_context(|| format!("look at {}", path.display()))?;
        if let Some(why) = open_to_others(&stat) {
            return Err(not_ours(path, &why));
        }
        Ok(Self { directory, path: path.to_owned() })
    }

    /// Where a file of this name is.
    pub fn path_of(&self, name: &Path) -> PathBuf {
        self.path.join(name)
    }

    /// Puts a file in place of what is there, whole or not at all; only we can read it.
    pub fn write(&self, name: &Path, content: &[u8]) -> io::Result<()> {
        let unfinished = PathBuf::from(format!("{}.{}", name.display(), std::process::id()));
        self.remove(&unfinished)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &unfinished, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(content)?;
        Ok(rustix::fs::renameat(&self.directory, &unfinished, &self.directory, name)?)
    }

    /// What a file holds that is ours alone.
    pub fn read(&self, name: &Path) -> io::Result<Vec<u8>> {
        // Opening a pipe without this would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || open_to_others(&stat).is_some() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not ours alone"));
        }
        let mut content = Vec::new();
        File::from(file).take(FILE_BYTES_MAX).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Removes a file; that there is none is as good.
    pub fn remove(&self, name: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a lock, which is held as long as the file is open.
    pub fn lock(&self, name: &Path) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                done => return done.map(|()| file.into()).map_err(io::Error::from),
            }
        }
    }
}

/// Who else could look into it, or put something there; `None` if nobody.
fn open_to_others(stat: &Stat) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own {
        return Some(format!("belongs to the user {}, not to {own}", stat.st_uid));
    }
    (stat.st_mode & 0o077 != 0).then(|| format!("can be used by others (mode {:o})", stat.st_mode & 0o7777))
}

fn not_ours(path: &Path, why: &str) -> anyhow::Error {
    let hint =
        "remove it, or set XDG_RUNTIME_DIR to a directory of your own; or name a service with FIRECLAY_URL";
    Rejection::new("XDG_RUNTIME_DIR", format!("{} {why}", path.display()), hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, bits: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    }

    #[test]
    fn what_others_could_have_put_there_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path();
        let ours = base.join("ours");
        Place::make(&ours).unwrap();
        assert_eq!(ours.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        let refused = |path: &Path| Place::make(path).unwrap_err().to_string();
        symlink(&ours, base.join("link")).unwrap();
        assert!(refused(&base.join("link")).contains("is no directory"));
        std::fs::write(base.join("file"), "").unwrap();
        assert!(refused(&base.join("file")).contains("is no directory"));
        mode(&ours, 0o750);
        assert!(refused(&ours).contains("mode 750"));
        assert!(Place::at(&base.join("absent")).is_none() && !base.join("absent").exists());
        // Only root can give a directory away, and only then there is something to try.
        if rustix::process::geteuid().is_root() {
            mode(&ours, 0o700);
            std::os::unix::fs::chown(&ours, Some(65534), None).unwrap();
            assert!(refused(&ours).contains("belongs to the user 65534"));
        }
    }

    #[test]
    fn only_a_file_of_ours_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path();
        let place = Place::make(&base.join("place")).unwrap();
        let name = Path::new("a.json");
        place.write(name, b"one").unwrap();
        place.write(name, b"two").unwrap();
        assert_eq!(place.read(name).unwrap(), b"two");
        let path = place.path_of(name);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(base.join("place")).unwrap().count(), 1, "nothing unfinished is left");
        mode(&path, 0o640);
        assert!(place.read(name).is_err());
        mode(&path, 0o600);
        symlink(&path, base.join("place/link")).unwrap();
        assert!(place.read(Path::new("link")).is_err());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(place.read(name).is_err());
        }
        place.remove(name).unwrap();
        place.remove(name).unwrap();
    }
}
