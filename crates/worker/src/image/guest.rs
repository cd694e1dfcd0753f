//! Carries the guest runners from `guest/` of the repository into images, below `/opt/fireclay`.

use super::tree::Tree;
use sandbox::procfs;

/// Where the runners lie inside an image.
pub const GUEST_DIRECTORY: &str = "/opt/fireclay";

/// The digest of all files, then for each its path below `guest/` and its bytes. Made by `build.rs`.
const GUEST: (&str, &[(&str, &[u8])]) = include!(concat!(env!("OUT_DIR"), "/guest_files.rs"));
const FILES: &[(&str, &[u8])] = GUEST.1;

/// The program that compiles a Python runner: it is run on the host with a source and a target, and is not in the image.
const COMPILER: &str = "python/build.py";

/// Returns the digest of the runners in this binary. An image with another one was made by another version.
pub fn guest_digest() -> &'static str {
    GUEST.0
}

/// Adds the runners to the tree, and what sandboxes cover entries of `/proc` with.
pub(super) fn add(tree: &mut Tree) {
    tree.directory(GUEST_DIRECTORY);
    for (path, content) in procfs::CONSTANTS {
        let place = format!("{}/{path}", procfs::COVERS);
        match content {
            Some(text) => tree.file(&place, text.as_bytes()),
            None => tree.directory(&place),
        }
    }
    for (path, bytes) in FILES.iter().filter(|(path, _)| *path != COMPILER) {
        tree.file(&format!("{GUEST_DIRECTORY}/{path}"), *bytes);
    }
}

/// Returns the text of the program that compiles Python runners, if they have their own.
pub(super) fn compiler() -> Option<&'static str> {
    let (_, bytes) = FILES.iter().find(|(path, _)| *path == COMPILER)?;
    Some(std::str::from_utf8(bytes).expect("a program of ours is UTF-8"))
}
