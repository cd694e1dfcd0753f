//! Contents of artifacts: files named by their SHA-256, below `blobs/`, each kept once however many runs left it.
//!
//! A content is *staged* by whoever has it (written and hashed beside the others, slow), then *adopted* by the writer thread
//! inside the transaction that names it (renamed, fast), and removed by the writer thread after the transaction that dropped its
//! last name. Only that thread makes or removes names, so an adoption and a removal of equal contents cannot cross. A crash
//! between file and transaction leaves a file without a name, never a name without a file; [`Blobs::sweep`] finds the former.

use crate::{Durability, StoreError};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The directory of all contents.
#[derive(Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
    staging: PathBuf,
    durability: Durability,
    next: AtomicU64,
}

/// A content that lies on disk and has no name yet. Removed when dropped unsettled.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    sha256: [u8; 32],
    bytes: u64,
}

impl Staged {
    /// SHA-256 of the content.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone when it was adopted; what cannot be removed now is removed when the store is next opened.
        fs::remove_file(&self.path).ok();
    }
}

impl Blobs {
    /// Opens the contents of a data directory for the process that owns it, and removes what a predecessor had staged.
    pub fn open(data: &Path, durability: Durability) -> Result<Self, StoreError> {
        let blobs = Self::beside(data, durability);
        make_directory(&blobs.root)?;
        match fs::remove_dir_all(&blobs.staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("empty", &blobs.staging)(error));
            }
            _ => make_directory(&blobs.staging)?,
        }
        Ok(blobs)
    }

    /// The contents of a data directory, only to be read.
    pub fn beside(data: &Path, durability: Durability) -> Self {
        let root = data.join("blobs");
        Self { staging: root.join("staging"), root, durability, next: AtomicU64::new(0) }
    }

    /// Writes and hashes a content of at most `bytes_max`. Blocks.
    pub fn stage(&self, content: &mut dyn Read, bytes_max: u64) -> Result<Staged, StoreError> {
        let path = self.staging.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io("make", &path))?;
        // From here on the file is removed whatever happens.
        let mut staged = Staged { path, sha256: [0; 32], bytes: 0 };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::io("read what goes to", &staged.path)(error)),
            };
            staged.bytes += count as u64;
            if staged.bytes > bytes_max {
                return Err(StoreError::TooLong { what: "artifact", max: bytes_max });
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(StoreError::io("write", &staged.path))?;
        }
        if self.durability == Durability::Fsync {
            file.sync_all().map_err(StoreError::io("sync", &staged.path))?;
        }
        staged.sha256 = hash.finalize().into();
        Ok(staged)
    }

    /// Gives a staged content its name. Adds the directory to `changed` when the name is new. Only for the writer thread.
    pub fn adopt(&self, staged: &Staged, changed: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        let path = self.path(&staged.sha256);
        // Also true when a group is written anew after its transaction failed: the name stays.
        if path.try_exists().map_err(StoreError::io("look for", &path))? {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(&self.root);
        if !parent.try_exists().map_err(StoreError::io("look for", parent))? {
            make_directory(parent)?;
            changed.push(self.root.clone());
        }
        fs::rename(&staged.path, &path).map_err(StoreError::io("name", &path))?;
        changed.push(parent.to_owned());
        Ok(())
    }

    /// Makes names durable where that was asked for. Called before the transaction that relies on them ends.
    pub fn sync(&self, changed: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        if self.durability == Durability::Fsync {
            changed.sort_unstable();
            changed.dedup();
            for directory in changed.iter() {
                let synced = File::open(directory).and_then(|file| file.sync_all());
                synced.map_err(StoreError::io("sync", directory))?;
            }
        }
        changed.clear();
        Ok(())
    }

    /// Opens a content for reading. It can be read to its end although it is removed meanwhile.
    pub fn read(&self, sha256: &[u8; 32]) -> Result<File, StoreError> {
        let path = self.path(sha256);
        File::open(&path).map_err(StoreError::io("open", &path))
    }

    /// Removes a content that no row names. One that is gone already is no failure. Only for the writer thread.
    pub fn remove(&self, sha256: &[u8; 32]) -> Result<(), StoreError> {
        let path = self.path(sha256);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes files of one of the 256 directories that `is_named` does not know: a crash came between file and transaction.
    /// Returns how many. Only for the writer thread.
    pub fn sweep(
        &self,
        prefix: u8,
        mut is_named: impl FnMut(&[u8; 32]) -> Result<bool, StoreError>,
    ) -> Result<u64, StoreError> {
        let directory = self.root.join(format!("{prefix:02x}"));
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries.map_err(StoreError::io("list", &directory))?,
        };
        let mut removed = 0;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &directory))?;
            let name = format!("{prefix:02x}{}", entry.file_name().to_string_lossy());
            // What has another kind of name is not ours to remove.
            let Some(sha256) = unhex(&name) else { continue };
            if !is_named(&sha256)? {
                self.remove(&sha256)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn path(&self, sha256: &[u8; 32]) -> PathBuf {
        let name = hex(sha256);
        self.root.join(&name[..2]).join(&name[2..])
    }
}

/// Makes a directory that only its owner may enter, if it is not there.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("make", path)(error))
        }
        _ => Ok(()),
    }
}

/// Bytes in hexadecimal, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

/// A SHA-256 in lower-case hexadecimal, if it is one.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
