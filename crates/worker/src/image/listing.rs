//! Lists what is in a root filesystem, in the one canonical form whose SHA-256 is the image's digest. Reads only.
//!
//! One line for each name, sorted by path: `type mode size hash path`, where `type` is `d`, `f`, `l` or another letter
//! that no good image has, `hash` is that of the content or of the link's target, and times, owners and inodes are left out.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest, Sha256};

use super::{ImageError, at};

/// One name of a root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Relative to the root, without a leading slash; empty for the root itself.
    pub(super) path: String,
    pub(super) kind: char,
    pub(super) mode: u32,
    pub(super) bytes: u64,
    pub(super) hash: String,
    pub(super) links: u64,
    pub(super) elf: bool,
    /// The target of a symbolic link.
    pub(super) target: Option<PathBuf>,
}

impl Item {
    fn line(&self) -> String {
        let hash = if self.hash.is_empty() { "-" } else { &self.hash };
        format!("{} {:04o} {} {hash} /{}", self.kind, self.mode, self.bytes, self.path)
    }
}

/// Everything in a root filesystem, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) items: Vec<Item>,
}

impl Listing {
    /// Reads the tree below `root` and hashes every file, on all processors.
    pub(super) fn scan(root: &Path) -> Result<Listing, ImageError> {
        let mut items = Vec::new();
        collect(root, root, &mut items)?;
        items.sort_by(|a, b| a.path.cmp(&b.path));
        hash_all(root, &mut items)?;
        Ok(Listing { items })
    }

    /// Returns the canonical text, the content of `files.txt`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            text.push_str(&item.line());
            text.push('\n');
        }
        text
    }

    /// Returns how many regular files there are and how many bytes they hold.
    pub(super) fn totals(&self) -> (u64, u64) {
        let files = self.items.iter().filter(|item| item.kind == 'f');
        files.fold((0, 0), |(count, bytes), item| (count + 1, bytes + item.bytes))
    }
}

/// Returns the digest of a canonical text: `sha256:` and 64 hexadecimal digits.
pub(super) fn digest(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())))
}

/// Writes bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

fn collect(root: &Path, path: &Path, items: &mut Vec<Item>) -> Result<(), ImageError> {
    let meta = fs::symlink_metadata(path).map_err(at("inspect", path))?;
    let below = path.strip_prefix(root).unwrap_or(path);
    let name = below.to_str().filter(|name| !name.contains(char::is_control));
    let name = name.ok_or_else(|| ImageError::FileName { path: path.to_path_buf() })?.to_owned();
    let mut item = Item {
        path: name,
        kind: kind(meta.file_type()),
        mode: meta.mode() & 0o7777,
        bytes: if meta.is_file() { meta.len() } else { 0 },
        hash: String::new(),
        links: meta.nlink(),
        elf: false,
        target: None,
    };
    if meta.is_symlink() {
        let target = fs::read_link(path).map_err(at("read link", path))?;
        item.hash = hex(&Sha256::digest(target.as_os_str().as_bytes()));
        item.target = Some(target);
    }
    items.push(item);
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(at("list", path))? {
            collect(root, &entry.map_err(at("list", path))?.path(), items)?;
        }
    }
    Ok(())
}

fn kind(kind: fs::FileType) -> char {
    match kind {
        kind if kind.is_dir() => 'd',
        kind if kind.is_file() => 'f',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_block_device() => 'b',
        kind if kind.is_char_device() => 'c',
        kind if kind.is_fifo() => 'p',
        _ => 's',
    }
}

fn hash_all(root: &Path, items: &mut [Item]) -> Result<(), ImageError> {
    let next = AtomicUsize::new(0);
    let shared: &[Item] = items;
    let work = || {
        let mut done = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = shared.get(index) else { return Ok(done) };
            if item.kind == 'f' {
                done.push((index, hash_file(&root.join(&item.path), &mut buffer)?));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Result<Vec<_>, ImageError>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("hashing does not panic")).collect()
    });
    for part in parts {
        for (index, (hash, elf)) in part? {
            items[index].hash = hash;
            items[index].elf = elf;
        }
    }
    Ok(())
}

/// Returns the hash of a file and whether it begins as ELF files do.
fn hash_file(path: &Path, buffer: &mut [u8]) -> Result<(String, bool), ImageError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut hash = Sha256::new();
    let mut elf = None;
    loop {
        let count = file.read(buffer).map_err(at("read", path))?;
        elf.get_or_insert(buffer[..count].starts_with(b"\x7fELF"));
        if count == 0 {
            return Ok((hex(&hash.finalize()), elf.unwrap_or(false)));
        }
        hash.update(&buffer[..count]);
    }
}
