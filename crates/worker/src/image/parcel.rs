//! A layer on its way to another machine: the length of its list of files in eight bytes, little-endian, that list, and the content of
//! each file in the order of the list. The list's SHA-256 is the layer's name, so whoever has the name knows what must come.
//!
//! What comes is put beside the store, and read again from there before it may be used: the digest of what lies there must be the name.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listing::{Listing, digest};
use super::packages::ENTRIES_MAX;
use super::vault::{hex_of, make_directory, remove_tree, write_file};
use super::{ImageError, at, write};

/// Longest list of files, in bytes.
const LIST_MAX: usize = 64 << 20;

/// What is known of a layer before it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// 64 hexadecimal digits: the SHA-256 of its list of files.
    pub hex: String,
    /// Bytes that travel.
    pub bytes: u64,
}

/// A file of a layer, as the list has it.
struct Entry {
    path: PathBuf,
    bytes: u64,
    mode: u32,
    is_directory: bool,
}

/// Reads lines of `files.txt`. Refuses what no layer has: links, names that lead out, anything that others could write, a bit of privilege.
fn entries(list: &str) -> Result<Vec<Entry>, ImageError> {
    let refused = |line: &str| wrong(Path::new("files.txt"), format!("{line:?} is no line of a layer"));
    let mut entries = Vec::new();
    for line in list.lines() {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let [kind, mode, bytes, _, path] = words[..] else { return Err(refused(line)) };
        let path = PathBuf::from(path.strip_prefix('/').ok_or_else(|| refused(line))?);
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        let (Ok(mode), Ok(bytes)) = (u32::from_str_radix(mode, 8), bytes.parse()) else {
            return Err(refused(line));
        };
        let is_directory = kind == "d";
        let is_plain = is_directory || kind == "f" && !path.as_os_str().is_empty();
        if !is_below
            || !is_plain
            || mode & !0o555 != 0
            || is_directory && bytes != 0
            || entries.len() > ENTRIES_MAX
        {
            return Err(refused(line));
        }
        entries.push(Entry { path, bytes, mode, is_directory });
    }
    Ok(entries)
}

fn wrong(path: &Path, what: impl Into<String>) -> ImageError {
    let source = io::Error::new(io::ErrorKind::InvalidData, what.into());
    ImageError::Io { action: "take over", path: path.into(), source }
}

/// Reads a layer of `directory`, which has `files.txt` and `rootfs`, in the form that travels.
pub struct Packed {
    list: Cursor<Vec<u8>>,
    rootfs: PathBuf,
    left: VecDeque<(PathBuf, u64)>,
    file: Option<(io::Take<File>, u64)>,
    bytes: u64,
}

impl Packed {
    /// Opens it. A layer that has links does not travel.
    pub fn open(directory: &Path) -> Result<Self, ImageError> {
        let path = directory.join("files.txt");
        let list = fs::read_to_string(&path).map_err(at("read", &path))?;
        let files = entries(&list)?.into_iter().filter(|entry| !entry.is_directory);
        let left: VecDeque<_> = files.map(|entry| (entry.path, entry.bytes)).collect();
        let bytes = 8 + list.len() as u64 + left.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let framed = [&(list.len() as u64).to_le_bytes()[..], list.as_bytes()].concat();
        Ok(Self { list: Cursor::new(framed), rootfs: directory.join("rootfs"), left, file: None, bytes })
    }

    /// What will have been read at its end.
    pub fn size(&self) -> u64 {
        self.bytes
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.list.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        loop {
            if let Some((file, left)) = &mut self.file {
                let count = file.read(buffer)?;
                *left -= count as u64;
                match (count, *left) {
                    (0, 0) => self.file = None,
                    // The place of what is missing must not be taken by what comes after.
                    (0, _) => {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "a file of a layer is cut off",
                        ));
                    }
                    _ => return Ok(count),
                }
            }
            let Some((path, bytes)) = self.left.pop_front() else { return Ok(0) };
            self.file = Some((File::open(self.rootfs.join(path))?.take(bytes), bytes));
        }
    }
}

/// A layer that is coming, in a directory of its own. What is not finished is removed.
pub struct Arriving {
    directory: PathBuf,
    hex: String,
    /// Bytes that are to come.
    left: u64,
    /// The list and its length, until it is whole.
    head: Vec<u8>,
    /// What is to be made, once the list is whole.
    entries: Option<VecDeque<Entry>>,
    file: Option<(File, u64)>,
    is_kept: bool,
}

impl std::fmt::Debug for Arriving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arriving({} of {})", self.left, self.hex)
    }
}

impl Arriving {
    /// Begins in `directory`, which must not exist.
    pub fn begin(directory: PathBuf, parcel: &Parcel) -> Result<Self, ImageError> {
        make_directory(&directory.join("rootfs"))?;
        let (hex, left) = (parcel.hex.clone(), parcel.bytes);
        Ok(Self { directory, hex, left, head: Vec::new(), entries: None, file: None, is_kept: false })
    }

    /// Takes the next bytes; refuses more than were said, and a list that is another's.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| wrong(&self.directory, "more came than was said"))?;
        if self.entries.is_none() {
            bytes = self.take_list(bytes)?;
        }
        while !bytes.is_empty() {
            self.open_next()?;
            let Some((file, left)) = &mut self.file else {
                return Err(wrong(&self.directory, "more came than its list has"));
            };
            let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
            file.write_all(now).map_err(at("write", &self.directory))?;
            *left -= now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Returns what comes after the list.
    fn take_list<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ImageError> {
        let rest = self.fill_head(bytes, 8);
        let Some(length) = self.head.first_chunk::<8>() else { return Ok(rest) };
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= LIST_MAX);
        let whole = 8 + length.ok_or_else(|| wrong(&self.directory, "its list is too long"))?;
        let rest = self.fill_head(rest, whole);
        if self.head.len() < whole {
            return Ok(rest);
        }
        let list = String::from_utf8(self.head.split_off(8))
            .map_err(|_| wrong(&self.directory, "its list is no text"))?;
        if hex_of(&digest(&list)) != self.hex {
            return Err(wrong(&self.directory, format!("its list of files is not {}", self.hex)));
        }
        self.head = Vec::new();
        self.entries = Some(entries(&list)?.into());
        write_file(&self.directory.join("files.txt"), list.as_bytes())?;
        Ok(rest)
    }

    /// Takes what the head lacks to have so many bytes; returns what comes after.
    fn fill_head<'a>(&mut self, bytes: &'a [u8], whole: usize) -> &'a [u8] {
        let (now, after) = bytes.split_at(bytes.len().min(whole.saturating_sub(self.head.len())));
        self.head.extend_from_slice(now);
        after
    }

    /// Makes directories and empty files up to the next that has content, unless one is being written.
    fn open_next(&mut self) -> Result<(), ImageError> {
        if self.file.as_ref().is_some_and(|(_, left)| *left > 0) {
            return Ok(());
        }
        self.file = None;
        while let Some(entry) = self.entries.as_mut().and_then(VecDeque::pop_front) {
            let path = self.directory.join("rootfs").join(&entry.path);
            if entry.is_directory {
                make_directory(&path)?;
                continue;
            }
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(at("create", &path))?;
            let mode = fs::Permissions::from_mode(entry.mode);
            file.set_permissions(mode).map_err(at("set mode of", &path))?;
            if entry.bytes > 0 {
                self.file = Some((file, entry.bytes));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends it: all has come, and what lies there is what its name says. Returns the directory, which is the caller's from now on.
    pub(super) fn finish(mut self) -> Result<PathBuf, ImageError> {
        if self.left > 0 || self.entries.is_none() {
            return Err(wrong(&self.directory, format!("{} bytes of it did not come", self.left)));
        }
        self.open_next()?;
        if self.file.is_some() {
            return Err(wrong(&self.directory, "less came than its list has"));
        }
        let rootfs = self.directory.join("rootfs");
        write::protect(&rootfs)?;
        if hex_of(&digest(&Listing::scan(&rootfs)?.text())) != self.hex {
            return Err(wrong(&self.directory, format!("what came is not {}", self.hex)));
        }
        self.is_kept = true;
        Ok(self.directory.clone())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_kept && self.directory.exists() {
            // What is left is swept at the next start.
            drop(remove_tree(&self.directory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A layer with a file of each kind, below a directory of its own.
    fn layer(root: &Path) -> (PathBuf, Parcel) {
        let directory = root.join("layer");
        let rootfs = directory.join("rootfs");
        make_directory(&rootfs.join("usr/lib")).unwrap();
        for (name, content, mode) in
            [("a", "first", 0o555), ("empty", "", 0o444), ("usr/lib/with space", "second", 0o444)]
        {
            fs::write(rootfs.join(name), content).unwrap();
            fs::set_permissions(rootfs.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        write::protect(&rootfs).unwrap();
        let list = Listing::scan(&rootfs).unwrap().text();
        write_file(&directory.join("files.txt"), list.as_bytes()).unwrap();
        let bytes = Packed::open(&directory).unwrap().size();
        (directory, Parcel { hex: hex_of(&digest(&list)).to_owned(), bytes })
    }

    fn packed(directory: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        Packed::open(directory).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn arrive(to: &Path, parcel: &Parcel, bytes: &[u8], step: usize) -> Result<PathBuf, ImageError> {
        let mut arriving = Arriving::begin(to.to_owned(), parcel)?;
        bytes.chunks(step).try_for_each(|chunk| arriving.take(chunk))?;
        arriving.finish()
    }

    #[test]
    fn a_layer_arrives_as_it_was_however_it_is_cut() {
        let root = tempfile::tempdir().unwrap();
        let (directory, parcel) = layer(root.path());
        let bytes = packed(&directory);
        assert_eq!(bytes.len() as u64, parcel.bytes);
        for step in [1, 7, bytes.len()] {
            let to = root.path().join(format!("to-{step}"));
            let there = arrive(&to, &parcel, &bytes, step).unwrap();
            assert_eq!(fs::read(there.join("rootfs/usr/lib/with space")).unwrap(), b"second");
            assert_eq!(
                fs::read(there.join("files.txt")).unwrap(),
                fs::read(directory.join("files.txt")).unwrap()
            );
        }
    }

    #[test]
    fn one_wrong_byte_anywhere_is_refused_and_nothing_stays() {
        let root = tempfile::tempdir().unwrap();
        let (directory, parcel) = layer(root.path());
        let good = packed(&directory);
        let to = root.path().join("to");
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            arrive(&to, &parcel, &bytes, 64).unwrap_err();
            assert!(!to.exists(), "byte {at}");
        }
        arrive(&to, &parcel, &good[..good.len() - 1], 64).unwrap_err();
        arrive(&to, &parcel, &[&good[..], b"x"].concat(), 64).unwrap_err();
        // The control.
        arrive(&to, &parcel, &good, 64).unwrap();
    }

    #[test]
    fn a_list_that_leads_out_is_refused_though_it_has_its_digest() {
        let root = tempfile::tempdir().unwrap();
        let hash = "0".repeat(64);
        for line in [
            format!("f 0444 1 {hash} /../out"),
            format!("f 0444 1 {hash} //out"),
            format!("f 0444 1 {hash} out"),
            format!("l 0777 0 {hash} /link"),
            format!("f 4555 1 {hash} /privileged"),
            format!("f 0644 1 {hash} /writable"),
            format!("c 0444 0 {hash} /device"),
            format!("f 0444 1 {hash} /"),
        ] {
            let list = format!("d 0555 0 - /\n{line}\n");
            let bytes = [&(list.len() as u64).to_le_bytes()[..], list.as_bytes(), b"x"].concat();
            let parcel = Parcel { hex: hex_of(&digest(&list)).to_owned(), bytes: bytes.len() as u64 };
            arrive(&root.path().join("to"), &parcel, &bytes, 64).unwrap_err();
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_ends_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..9) {
            let root = tempfile::tempdir().unwrap();
            let parcel = Parcel { hex: "0".repeat(64), bytes: bytes.len() as u64 };
            prop_assert!(arrive(&root.path().join("to"), &parcel, &bytes, step).is_err());
        }
    }
}
