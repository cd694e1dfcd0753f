//! Files that runs left behind: rows here, contents in [`crate::blobs`].

use crate::Staged;

/// A file to be kept with a run. Its content is on disk already, staged.
#[derive(Debug)]
pub struct NewArtifact {
    /// Where it lay, relative to the workspace.
    pub path: String,
    /// A guess by its name.
    pub mime: String,
    /// Its content.
    pub content: Staged,
}

/// A kept file, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Where it lay, relative to the workspace.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// A guess by its name.
    pub mime: String,
}
