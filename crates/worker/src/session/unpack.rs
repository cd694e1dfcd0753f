//! Unpacks a tar archive into a workspace, piece by piece as it comes, whatever is in it.
//!
//! ```text
//! header ─► text (a long name, pax records) ─► header ─► file or ignored ─► padding ─► header … ─► two blocks of zeros ─► end
//! ```
//!
//! Each file goes the way of any that is put: by descriptor, beneath the workspace, through no link, whole or not at all. Only files and
//! directories are made. Symbolic links are counted and left out, since a tree of files has them without harm; whatever else leads
//! elsewhere, or is no file, ends the unpacking: hard links, devices, pipes, sparse files, names that are absolute or climb.

use super::Workspace;
use model::spec::check_path;
use sandbox::workspace::Upload;
use std::io::Write;
use std::time::{Duration, SystemTime};
use tar::{EntryType, Header, PaxExtensions};

/// A header, and what content is padded to.
const BLOCK: usize = 512;
/// Longest text before a header: the longest name twice over, and pax records that nobody reads.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Most entries of one archive.
const ENTRIES_MAX: u64 = 1_000_000;

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Directories that the archive names.
    pub directories: u64,
    /// Symbolic links, which are not made.
    pub links: u64,
}

/// Why unpacking ended before its end. What was unpacked until then stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUnpacked {
    /// The archive is not one, or has what is not unpacked.
    Refused(String),
    /// The kernel refused something at this path.
    Kernel(String, sys::Error),
}

/// An archive on its way in. Dropping it leaves what is whole.
#[derive(Debug)]
pub struct Unpacking {
    files: Workspace,
    /// The directory that it is unpacked into; empty is the workspace.
    base: String,
    state: State,
    said: Said,
    entries: u64,
    unpacked: Unpacked,
}

#[derive(Debug)]
enum State {
    /// So much of a header came.
    Header(Vec<u8>),
    /// So much of a text came, of so many bytes.
    Text { kind: Text, bytes: Vec<u8>, length: u64 },
    /// So much of a file is to come.
    File { upload: Box<Upload>, path: String, left: u64, padding: u64, modified: SystemTime },
    /// So much is passed over.
    Ignored(u64),
    /// Nothing that follows counts.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Name,
    Records,
    /// Records of all that follow.
    Global,
    /// Of a link, which is not made.
    Target,
}

/// What was said before a header, of the next entry.
#[derive(Debug, Default)]
struct Said {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<f64>,
}

impl Unpacking {
    /// Of an archive for this directory, which is made when something is put there.
    pub fn into(files: Workspace, base: String) -> Self {
        let state = State::Header(Vec::with_capacity(BLOCK));
        Self { files, base, state, said: Said::default(), entries: 0, unpacked: Unpacked::default() }
    }

    /// Takes the next piece.
    pub fn take(&mut self, mut piece: &[u8]) -> Result<(), NotUnpacked> {
        while !piece.is_empty() {
            let state = std::mem::replace(&mut self.state, State::End);
            let taken;
            (self.state, taken) = self.step(state, piece)?;
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// The end of the archive; what was unpacked.
    pub fn finish(self) -> Result<Unpacked, NotUnpacked> {
        match &self.state {
            State::End => Ok(self.unpacked),
            // Some writers leave the end out.
            State::Header(bytes) if bytes.is_empty() && self.entries > 0 => Ok(self.unpacked),
            _ => Err(refused("the archive breaks off")),
        }
    }

    /// Takes what it can of a piece that is not empty; the next state, and how much was taken.
    fn step(&mut self, state: State, piece: &[u8]) -> Result<(State, usize), NotUnpacked> {
        match state {
            State::End => Ok((State::End, piece.len())),
            State::Ignored(left) => {
                let taken = within(left, piece);
                Ok((next(left - taken as u64), taken))
            }
            State::Header(mut bytes) => {
                let taken = piece.len().min(BLOCK - bytes.len());
                bytes.extend_from_slice(&piece[..taken]);
                let state = if bytes.len() < BLOCK { State::Header(bytes) } else { self.header(&bytes)? };
                Ok((state, taken))
            }
            State::Text { kind, mut bytes, length } => {
                let taken = within(length - bytes.len() as u64, piece);
                bytes.extend_from_slice(&piece[..taken]);
                if (bytes.len() as u64) < length {
                    return Ok((State::Text { kind, bytes, length }, taken));
                }
                self.note(kind, &bytes)?;
                Ok((next(padding_of(length)), taken))
            }
            State::File { mut upload, path, left, padding, modified } => {
                let taken = within(left, piece);
                let written = upload.file.write_all(&piece[..taken]).map_err(sys::Error::of_io("write"));
                written.map_err(|error| NotUnpacked::Kernel(path.clone(), error))?;
                let left = left - taken as u64;
                if left > 0 {
                    return Ok((State::File { upload, path, left, padding, modified }, taken));
                }
                self.close(*upload, path, modified)?;
                Ok((next(padding), taken))
            }
        }
    }

    fn close(&mut self, upload: Upload, path: String, modified: SystemTime) -> Result<(), NotUnpacked> {
        let dated = upload.file.set_modified(modified).map_err(sys::Error::of_io("utimensat"));
        dated.and_then(|()| upload.finish()).map_err(|error| NotUnpacked::Kernel(path, error))?;
        self.unpacked.files += 1;
        Ok(())
    }

    /// Understands a whole header.
    fn header(&mut self, bytes: &[u8]) -> Result<State, NotUnpacked> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(State::End);
        }
        let header = Header::from_byte_slice(bytes);
        // The sum counts its own field as blanks.
        let sum = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
        if header.cksum().ok() != Some(sum.sum()) {
            return Err(refused("not a tar archive, or a damaged one"));
        }
        let size = header.entry_size().map_err(|_| refused("an entry without a size"))?;
        let kind = header.entry_type();
        let text = match kind {
            EntryType::GNULongName => Some(Text::Name),
            EntryType::GNULongLink => Some(Text::Target),
            EntryType::XHeader => Some(Text::Records),
            EntryType::XGlobalHeader => Some(Text::Global),
            _ => None,
        };
        if let Some(kind) = text {
            if size > TEXT_BYTES_MAX {
                return Err(refused("an entry with a name or records that are too long"));
            }
            let state = State::Text { kind, bytes: Vec::new(), length: size };
            return Ok(if size == 0 { next(0) } else { state });
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(refused(&format!("more than {ENTRIES_MAX} entries")));
        }
        self.entry(header, kind, size)
    }

    /// Begins an entry that is no text.
    fn entry(&mut self, header: &Header, kind: EntryType, size: u64) -> Result<State, NotUnpacked> {
        let said = std::mem::take(&mut self.said);
        let size = said.size.unwrap_or(size);
        let name = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let is_directory = kind.is_dir() || (is_file(kind) && name.ends_with(b"/"));
        let path = self.place(&name)?;
        let content = State::Ignored(size.saturating_add(padding_of(size)));
        let passed = || if size == 0 { next(0) } else { content };
        if kind.is_symlink() {
            self.unpacked.links += 1;
            return Ok(passed());
        }
        if is_directory {
            self.unpacked.directories += 1;
            if !path.is_empty() {
                self.files.make_directory(&path).map_err(|error| NotUnpacked::Kernel(path, error))?;
            }
            return Ok(passed());
        }
        if !is_file(kind) {
            let what = match kind {
                EntryType::Link => "a hard link",
                EntryType::GNUSparse => "a sparse file",
                EntryType::Char | EntryType::Block | EntryType::Fifo => "a device or a pipe",
                _ => "of a kind that is not known",
            };
            return Err(refused(&format!("{path}: {what}; only files and directories are unpacked")));
        }
        let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
        let seconds = said.modified.or_else(|| header.mtime().ok().map(|seconds| seconds as f64));
        let modified = time_of(seconds.unwrap_or_default());
        let upload = sys::fs::random().and_then(|random| self.files.begin(&path, executable, random));
        let upload = upload.map_err(|error| NotUnpacked::Kernel(path.clone(), error))?;
        self.unpacked.bytes = self.unpacked.bytes.saturating_add(size);
        if size == 0 {
            self.close(upload, path, modified)?;
            return Ok(next(0));
        }
        Ok(State::File { upload: Box::new(upload), path, left: size, padding: padding_of(size), modified })
    }

    /// Where an entry of this name goes; empty for the directory itself.
    fn place(&self, name: &[u8]) -> Result<String, NotUnpacked> {
        let shown = || String::from_utf8_lossy(name).escape_debug().to_string();
        let text =
            std::str::from_utf8(name).map_err(|_| refused(&format!("{}: the name is not UTF-8", shown())))?;
        if text.starts_with('/') {
            return Err(refused(&format!("{}: the name is absolute", shown())));
        }
        let parts = std::iter::once(self.base.as_str()).chain(text.split('/'));
        let parts: Vec<&str> = parts.filter(|part| !matches!(*part, "" | ".")).collect();
        let path = parts.join("/");
        if !path.is_empty() {
            check_path("path", &path).map_err(|rejection| refused(&rejection.message))?;
        }
        Ok(path)
    }

    /// Takes note of a text.
    fn note(&mut self, kind: Text, bytes: &[u8]) -> Result<(), NotUnpacked> {
        match kind {
            Text::Target => return Ok(()),
            Text::Name => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                self.said.path = Some(bytes[..end].to_vec());
                return Ok(());
            }
            Text::Records | Text::Global => {}
        }
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(|_| refused("a pax record that cannot be read"))?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let number = || std::str::from_utf8(value).ok();
            let wrong = || refused("a pax record that cannot be read");
            match key {
                _ if key.starts_with(b"GNU.sparse") => {
                    return Err(refused("a sparse file, which is not unpacked"));
                }
                // One for all that follow is what nobody means.
                b"path" | b"size" if kind == Text::Global => return Err(wrong()),
                b"path" => self.said.path = Some(value.to_vec()),
                b"size" => {
                    self.said.size = Some(number().and_then(|text| text.parse().ok()).ok_or_else(wrong)?)
                }
                b"mtime" if kind == Text::Records => {
                    self.said.modified = Some(number().and_then(|text| text.parse().ok()).ok_or_else(wrong)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn refused(why: &str) -> NotUnpacked {
    NotUnpacked::Refused(why.to_owned())
}

fn is_file(kind: EntryType) -> bool {
    kind.is_file() || kind.is_contiguous()
}

/// How much of a piece belongs to what `left` bytes are missing of.
fn within(left: u64, piece: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(piece.len())
}

fn padding_of(length: u64) -> u64 {
    length.wrapping_neg() % BLOCK as u64
}

/// The state before the next header, when so much is to be passed over.
fn next(ignored: u64) -> State {
    if ignored > 0 { State::Ignored(ignored) } else { State::Header(Vec::with_capacity(BLOCK)) }
}

/// A time in seconds since 1970; what is no such time is 1970.
fn time_of(seconds: f64) -> SystemTime {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
