//! What a sandbox needs to know of an image: where its root is and which interpreters it has.

use model::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A root filesystem to make sandboxes of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:…`, of the layers too.
    pub digest: String,
    /// The tree, on the host.
    pub rootfs: PathBuf,
    /// An empty directory beside it: an overlay without an upper layer needs two lower ones.
    pub skeleton: PathBuf,
    /// Trees that are laid over it, read-only as it is; the first is the uppermost.
    pub layers: Vec<PathBuf>,
    /// The value of `PATH` inside.
    pub path: String,
    /// Variables that every job has, besides the sandbox's own; a run's own win.
    pub env: BTreeMap<String, String>,
    /// Path inside of the Python interpreter.
    pub python: Option<String>,
    /// Path inside of Node.
    pub node: Option<String>,
    /// Path inside of bash.
    pub bash: Option<String>,
    /// How programs of declared languages are executed: words, in which [`FILE`], [`STEM`] and [`PROGRAM`] stand for something.
    pub programs: BTreeMap<Language, Vec<String>>,
}

/// In a word of a declared language's command: the path of the program's own file.
pub const FILE: &str = "{file}";
/// Its name, without directory and extension.
pub const STEM: &str = "{stem}";
/// The directory that has what was compiled.
pub const PROGRAM: &str = "{program}";
/// Where that is, inside.
pub const PROGRAM_DIRECTORY: &str = "/opt/program";

impl Image {
    /// An image made of its parts, with the usual search path and no digest.
    pub fn of_paths(
        rootfs: PathBuf,
        skeleton: PathBuf,
        python: Option<String>,
        node: Option<String>,
        bash: Option<String>,
    ) -> Self {
        let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
        let (layers, env) = (Vec::new(), BTreeMap::new());
        let programs = BTreeMap::new();
        Self { digest: String::new(), rootfs, skeleton, layers, path, env, python, node, bash, programs }
    }

    /// Whether the other is this one with more layers, which lie over all of this one's.
    pub fn is_below(&self, other: &Image) -> bool {
        let more = other.layers.len() > self.layers.len();
        let same = |image: &Image| {
            (image.rootfs.clone(), image.env.clone(), image.python.clone(), image.path.clone())
        };
        more && other.layers.ends_with(&self.layers) && same(self) == same(other)
    }

    /// Every directory of the overlay, the uppermost first: the empty one, the layers, the root.
    pub(crate) fn directories(&self) -> Result<Vec<CString>, NulError> {
        let all = std::iter::once(&self.skeleton).chain(&self.layers).chain(std::iter::once(&self.rootfs));
        all.map(|path| CString::new(path.as_os_str().as_bytes())).collect()
    }

    /// The program that runs code of this language, if it is one of fireclay's own.
    pub fn interpreter(&self, language: Language) -> Option<&str> {
        match language {
            Language::Python => self.python.as_deref(),
            Language::Bash => self.bash.as_deref(),
            Language::JavaScript | Language::TypeScript => self.node.as_deref(),
            _ => None,
        }
    }
}
