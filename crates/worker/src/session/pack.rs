//! Packs a directory of a workspace, or one file, as a tar archive, piece by piece, while code may be at work there.

use super::{Entry, Kind, Workspace};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Most things of one archive.
pub const ENTRIES_MAX: usize = 100_000;
/// How long a piece is at least, but for the last.
const PIECE_BYTES: usize = 256 << 10;
/// What content is padded to.
const BLOCK: u64 = 512;

/// An archive on its way out: files and directories by name, relative to the directory that is packed. Links, pipes and sockets are
/// left out, and what is gone when its turn comes. Content that shrinks meanwhile ends in zeros.
pub struct Packing {
    files: Workspace,
    base: PathBuf,
    entries: VecDeque<Entry>,
    builder: Builder<Vec<u8>>,
    /// What is open, how much of it is to come, and how much follows.
    open: Option<(File, u64, u64)>,
    ended: bool,
    /// Whether it is a part of an archive, whose end others write.
    is_part: bool,
}

impl std::fmt::Debug for Packing {
    /// The library's builder cannot be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packing").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Packing {
    /// Of what is at this path; the empty one is the workspace. In words if it is too much, or cannot be named in an archive.
    pub fn of(files: Workspace, path: &str) -> sys::Result<Result<Self, &'static str>> {
        let found = files.look(path)?;
        let (base, entries) = match found.kind {
            Kind::Directory => {
                let (entries, whole) = files.list(path, true, ENTRIES_MAX)?;
                if !whole {
                    return Ok(Err("too many things, too deep, or a directory that may not be read"));
                }
                (PathBuf::from(path), entries.into())
            }
            Kind::File => (Path::new(path).parent().map(Path::to_owned).unwrap_or_default(), [found].into()),
            Kind::Link | Kind::Other => return Err(sys::Error { call: "open", errno: libc::ELOOP }),
        };
        let entries: VecDeque<Entry> = entries;
        if entries.iter().any(|entry| entry.path.to_str().is_none()) {
            return Ok(Err("a name that is not UTF-8"));
        }
        let builder = Builder::new(Vec::new());
        Ok(Ok(Self { files, base, entries, builder, open: None, ended: false, is_part: false }))
    }

    /// Of one thing alone, which is named relative to the workspace: a part of an archive, without its end. Nothing if it is gone.
    pub fn alone(files: Workspace, entry: Entry) -> Self {
        let (base, entries, builder) = (PathBuf::new(), [entry].into(), Builder::new(Vec::new()));
        Self { files, base, entries, builder, open: None, ended: false, is_part: true }
    }

    /// The next piece; `None` after the last.
    pub fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        while self.builder.get_ref().len() < PIECE_BYTES && !self.ended {
            match (self.open.take(), self.entries.pop_front()) {
                (Some((file, left, padding)), entry) => {
                    entry.into_iter().for_each(|entry| self.entries.push_front(entry));
                    self.content(file, left, padding)?;
                }
                (None, Some(entry)) => self.begin(&entry)?,
                (None, None) => {
                    if !self.is_part {
                        self.builder.finish()?;
                    }
                    self.ended = true;
                }
            }
        }
        let piece = std::mem::take(self.builder.get_mut());
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let name = entry.path.strip_prefix(&self.base).unwrap_or(&entry.path);
        match entry.kind {
            Kind::Directory => {
                self.builder.append_data(&mut header(entry, EntryType::Directory, 0), name, io::empty())
            }
            Kind::File => {
                let Some((file, now)) = self.read(entry)? else { return Ok(()) };
                self.builder.append_data(
                    &mut header(&now, EntryType::Regular, now.bytes),
                    name,
                    io::empty(),
                )?;
                self.open = Some((file, now.bytes, now.bytes.wrapping_neg() % BLOCK));
                Ok(())
            }
            Kind::Link | Kind::Other => Ok(()),
        }
    }

    /// Opens a file; `None` if it is gone, or no file any more.
    fn read(&self, entry: &Entry) -> io::Result<Option<(File, Entry)>> {
        match self.files.read(entry.path.to_str().unwrap_or_default()) {
            Ok(found) => Ok(Some(found)),
            Err(error)
                if [libc::ENOENT, libc::ENOTDIR, libc::EISDIR, libc::ELOOP, libc::EINVAL]
                    .contains(&error.errno) =>
            {
                Ok(None)
            }
            Err(error) => Err(io::Error::from_raw_os_error(error.errno)),
        }
    }

    fn content(&mut self, file: File, left: u64, padding: u64) -> io::Result<()> {
        let piece = self.builder.get_mut();
        let most = left.min(PIECE_BYTES as u64);
        let read = (&file).take(most).read_to_end(piece)? as u64;
        if read < most {
            piece.resize(piece.len() + (most - read) as usize, 0);
        }
        match left - most {
            0 => piece.resize(piece.len() + padding as usize, 0),
            left => self.open = Some((file, left, padding)),
        }
        Ok(())
    }
}

fn header(entry: &Entry, kind: EntryType, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(if kind.is_dir() || entry.executable { 0o755 } else { 0o644 });
    header.set_mtime(u64::try_from(entry.modified_ns / 1_000_000_000).unwrap_or(0));
    header
}
