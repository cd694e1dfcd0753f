//! Pages as they were read, on disk: what a server says has not changed is not fetched again.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most bytes of all pages together.
const BYTES_MAX: u64 = 256 << 20;
/// Longest file that is one of ours.
const ENTRY_BYTES_MAX: u64 = 16 << 20;
/// Changes when pages are read in another way, so that old ones are read anew.
const VERSION: u32 = 1;

/// A page that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub version: u32,
    pub url: String,
    /// `ETag` and `Last-Modified` of the answer (RFC 9110 §8.8), word for word.
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub title: String,
    pub markdown: String,
    /// URLs, not relative any more.
    pub links: Vec<String>,
    pub is_cut: bool,
}

/// A directory of pages that only its owner can read. It holds at most 256 MiB; what was used least recently goes first.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    bytes_max: u64,
}

impl Cache {
    /// The cache in this directory, which is made if need be.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self { directory: directory.to_owned(), bytes_max: BYTES_MAX })
    }

    fn place(&self, url: &str) -> PathBuf {
        let digest = Sha256::digest(url.as_bytes());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}.json"))
    }

    /// The page of a URL, if it is there and whole. What is broken is not there.
    pub(crate) fn get(&self, url: &str) -> Option<Entry> {
        let place = self.place(url);
        if std::fs::metadata(&place).ok()?.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let entry: Entry = serde_json::from_slice(&std::fs::read(&place).ok()?).ok()?;
        if entry.version != VERSION || entry.url != url {
            return None;
        }
        // When it was used last; if that cannot be noted, it goes a little earlier.
        let file = std::fs::File::options().append(true).open(&place).ok()?;
        drop(file.set_modified(SystemTime::now()));
        Some(entry)
    }

    /// Keeps a page, whole or not at all.
    pub(crate) fn put(&self, entry: &Entry) -> io::Result<()> {
        let entry = Entry { version: VERSION, ..entry.clone() };
        let text = serde_json::to_vec(&entry).map_err(io::Error::other)?;
        let place = self.place(&entry.url);
        let fresh = place.with_extension(format!("{}.new", std::process::id()));
        let mut file =
            std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        std::fs::rename(&fresh, &place)
    }

    /// Drops what was used least recently until the rest is small enough.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for file in std::fs::read_dir(&self.directory)? {
            let file = file?;
            let Ok(status) = file.metadata() else { continue };
            files.push((status.modified()?, status.len(), file.path()));
        }
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.bytes_max {
                break;
            }
            // Another crawl may have been faster.
            if std::fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_kept_until_there_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(&directory.path().join("a/b")).unwrap();
        let page = |url: &str| Entry {
            version: VERSION,
            url: url.to_owned(),
            markdown: "x".repeat(1_000),
            ..Entry::default()
        };
        for number in 0..4 {
            let url = number.to_string();
            cache.put(&page(&url)).unwrap();
            // Their order is not left to the clock's steps.
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number);
            std::fs::File::options()
                .append(true)
                .open(cache.place(&url))
                .unwrap()
                .set_modified(then)
                .unwrap();
        }
        assert_eq!(cache.get("0"), Some(page("0")), "and it is the one that was used last");
        cache.bytes_max = 2_500;
        cache.trim().unwrap();
        let there: Vec<bool> = ["0", "1", "2", "3"].iter().map(|url| cache.get(url).is_some()).collect();
        assert_eq!(there, [true, false, false, true]);
        std::fs::write(cache.place("0"), "{broken").unwrap();
        assert_eq!(cache.get("0"), None);
        std::fs::copy(cache.place("3"), cache.place("0")).unwrap();
        assert_eq!(cache.get("0"), None, "a page of another URL");
    }
}
