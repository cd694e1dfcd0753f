//! Who owns a data directory: the process that holds the lock on `store.lock`. The kernel frees it however that process ends.

use crate::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Held as long as the store is open.
#[derive(Debug)]
pub(crate) struct Lock {
    /// `flock(2)`, which `File::try_lock` uses on Linux, lasts as long as this description is open anywhere: a process cloned
    /// from this one would hold it too until it execs, so it is given back in so many words. Sandboxes are cloned by the spawner, which
    /// never has it.
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            eprintln!("fireclay: unlock the data directory: {error}");
        }
    }
}

impl Lock {
    /// Takes the lock, or says which process has it. Does not wait.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("store.lock");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = owner(&mut file);
                return Err(StoreError::InUse { directory: directory.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
        let told = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        told.map_err(StoreError::io("write", &path))?;
        Ok(Self { file })
    }
}

/// The process id in the file. Absent between locking and writing, so it is only for people.
fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
