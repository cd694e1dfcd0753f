//! Images: private root filesystems made from the host's interpreters and tools, kept by content.
//!
//! ```text
//! <data directory>/images/
//!   .lock                 flock: held while an image is built or removed
//!   .building-<pid>/      an image in the making; without the lock's holder, a leftover
//!   refs/<name>           the digest a name stands for
//!   <digest>/manifest.json, files.txt, rootfs/, skeleton/
//! ```
//!
//! The digest is the SHA-256 of `files.txt`: path, type, mode, size and content of everything below `rootfs/`. An image
//! never shares an inode with the host, so that a page-cache bug inside a sandbox reaches no file the host runs.
//! The way of a build: `content` decides (with `interpreters`, `tools`, `loader`, `locale`, `guest`) and fills a `tree`,
//! `write` copies and compiles it, `listing` hashes it, `check` looks for what must not be, `store` gives it a name.
//! Nothing here mounts, isolates or runs an image.

mod check;
mod content;
pub mod environment;
mod guest;
mod interpreters;
mod listing;
mod loader;
mod locale;
pub mod packages;
pub mod parcel;
pub mod pythons;
mod store;
pub mod toolchain;
mod tools;
mod tree;
mod uv;
pub(crate) mod vault;
mod write;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use guest::{GUEST_DIRECTORY, guest_digest};
pub use store::ImageStore;

/// The name of the image that is used when none is named.
pub const DEFAULT_NAME: &str = "default";

/// The version of the layout and content of images; an image of another one is rebuilt.
pub const SCHEMA: u32 = 6;

/// What to build an image from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// The name the image gets: lower-case letters, digits, `.`, `_` and `-`, at most 64.
    pub name: String,
    /// Where programs are looked for, in the form of `PATH`.
    pub path: OsString,
    /// The Python to use, a shim or a virtual environment's too; else the first on the path that answers.
    pub python: Option<PathBuf>,
    /// The Node to use, a shim too; else the first on the path that answers.
    pub node: Option<PathBuf>,
}

impl BuildOptions {
    /// Returns options for the default image with the interpreters found on `path`.
    pub fn new(path: impl Into<OsString>) -> BuildOptions {
        BuildOptions { name: DEFAULT_NAME.to_owned(), path: path.into(), python: None, node: None }
    }
}

/// What a build is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for another process that builds.
    Wait,
    /// Asking the host what it has.
    Inspect,
    /// Copying files; Python's are compiled meanwhile.
    Copy,
    /// Fetching packages.
    Fetch,
    /// Waiting for the last of the compiling.
    Compile,
    /// Hashing and checking the result.
    Check,
    /// Bringing the result to disk.
    Store,
}

/// How far a build is. Bytes are of the copying and never go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How many bytes are copied.
    pub done_bytes: u64,
    /// How many bytes will be; zero until that is known.
    pub total_bytes: u64,
}

/// A complete image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The root filesystem, read-only.
    pub rootfs: PathBuf,
    /// An empty directory that never changes: the top lower layer of an overlay.
    pub skeleton: PathBuf,
    /// What is known about it.
    pub manifest: Manifest,
}

/// What is known about an image, without its list of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of layout and content, see [`SCHEMA`].
    pub schema: u32,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The name it was first built under; other names may stand for it too.
    pub name: String,
    /// When it was built, RFC 3339, UTC.
    pub created_at: String,
    /// How many regular files it has.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// The interpreters.
    pub runtimes: Runtimes,
    /// The tools it has, by name.
    pub tools: Vec<String>,
    /// The tools the host lacks.
    pub absent_tools: Vec<String>,
    /// Host files that were left out because they could not be read, and libraries that the host itself lacks.
    pub warnings: Vec<String>,
    /// The digest of the guest runners, see [`guest_digest`].
    pub guest: String,
    /// What it was made from.
    pub host: Host,
}

/// The interpreters of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtimes {
    /// Absent if the host has no Python 3.
    pub python: Option<Runtime>,
    /// Absent if the host has no Node.
    pub node: Option<Runtime>,
    /// Always there.
    pub bash: Runtime,
}

/// One interpreter of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The program, absolute inside the image: neither a shim nor a link.
    pub path: PathBuf,
    /// Its version, such as `3.11.7`.
    pub version: String,
}

/// The host an image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name for itself, from `os-release`.
    pub system: String,
    /// The interpreters as they were.
    pub programs: Vec<HostProgram>,
}

/// One program of the host as it was when it was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProgram {
    /// Where it lies on the host.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since the epoch.
    pub modified_ns: i64,
}

impl HostProgram {
    /// Records a program of the host.
    fn record(path: &Path) -> Result<HostProgram, ImageError> {
        let meta = fs::metadata(path).map_err(at("inspect", path))?;
        let modified_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
        Ok(HostProgram { path: path.to_path_buf(), bytes: meta.len(), modified_ns })
    }
}

impl Image {
    /// Says whether an interpreter of the host has changed or gone since the image was built. Costs a `stat` each.
    pub fn is_stale(&self) -> bool {
        let programs = &self.manifest.host.programs;
        programs.iter().any(|then| HostProgram::record(&then.path).ok().as_ref() != Some(then))
    }

    /// Keeps the image from being removed for as long as the returned file is open; `None` if it is gone already.
    pub fn hold(&self) -> Result<Option<fs::File>, ImageError> {
        vault::hold(self.rootfs.parent().unwrap_or(&self.rootfs))
    }

    /// Says whether this version of fireclay made the image: layout and guest runners are its own.
    pub fn is_current(&self) -> bool {
        self.manifest.schema == SCHEMA && self.manifest.guest == guest_digest()
    }
}

/// One way in which an image is not what its digest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The path inside the image; `files.txt` if the listing itself was changed.
    pub path: String,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a file of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there when the image was built.
    Added,
    /// Its content, mode or type is another.
    Changed,
    /// It is gone.
    Removed,
}

/// Why an image could not be built, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The filesystem refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A file name that a listing cannot hold.
    #[error("list {}: the name is not printable UTF-8", path.display())]
    FileName {
        /// Which file.
        path: PathBuf,
    },
    /// A named interpreter is missing, does not answer, or is not a program for this machine.
    #[error("use {} as an interpreter: it is missing or does not answer", path.display())]
    Interpreter {
        /// Which interpreter.
        path: PathBuf,
    },
    /// The finished image breaks a promise, so it was thrown away.
    #[error("check the image: {}", problems.join("; "))]
    Check {
        /// Everything that is wrong.
        problems: Vec<String>,
    },
    /// A manifest that is damaged or of another version.
    #[error("read the manifest {}: {source}", path.display())]
    Manifest {
        /// Which manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The image has no Python, or the host's is no longer the one it was made from: nothing can be installed for it.
    #[error("install packages for the image's Python: {problem}")]
    Python {
        /// What is the matter, and what to do.
        problem: String,
    },
    /// A program that the build needs did not do its work.
    #[error("run {}: {said}", program.display())]
    Tool {
        /// Which program.
        program: PathBuf,
        /// The end of what it said.
        said: String,
    },
    /// A name that cannot be given to an image.
    #[error(
        "name an image {name:?}: use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// An image that a running sandbox is made of.
    #[error("remove {digest}: a sandbox uses it")]
    InUse {
        /// Which image, or which environment.
        digest: String,
    },
    /// The beginning of more than one digest.
    #[error("find the image {prefix}: more than one digest begins so")]
    Ambiguous {
        /// The beginning.
        prefix: String,
    },
    /// There is no such image.
    #[error("find the image {name}: there is none of that name or digest")]
    NotFound {
        /// The name or digest.
        name: String,
    },
}

/// Returns a function that names what was tried on which path when the filesystem refuses.
fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ImageError + use<'a> {
    move |source| ImageError::Io { action, path: path.to_path_buf(), source }
}
