//! Holds a root filesystem as a value: what goes where, before a byte is copied. Reads the host, writes nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::{ImageError, at};

/// One name of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File { source: Source, executable: bool },
    Link { target: String },
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Host(PathBuf),
    /// A file of a relocated interpreter: the compiled-in prefix is replaced while copying.
    Moved {
        path: PathBuf,
        from: String,
        to: String,
    },
    Bytes(Cow<'static, [u8]>),
}

/// A directory of the host that has another, neutral name in the image.
#[derive(Debug, Clone)]
struct Move {
    from: PathBuf,
    to: String,
}

/// The root filesystem to be. Paths are relative to the root, without a leading slash.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<String, Node>,
    /// Host files that could not be read, so are missing.
    pub(super) unreadable: Vec<PathBuf>,
    /// Names of one host inode become links to the first: an image has no hard links.
    inodes: HashMap<(u64, u64), String>,
    moves: Vec<Move>,
    /// Links to directories outside what was copied, and where they lead.
    outward: Vec<(PathBuf, PathBuf)>,
}

impl Tree {
    /// Gives everything below the host's `from` the name `to` in the image.
    pub(super) fn relocate(&mut self, from: &Path, to: &str) {
        self.moves.push(Move { from: from.to_path_buf(), to: to.to_owned() });
    }

    /// Returns the image path, without leading slash, of an absolute host path. The image always has a merged `/usr`.
    pub(super) fn place(&self, host: &Path) -> String {
        for rule in &self.moves {
            if let Ok(rest) = host.strip_prefix(&rule.from) {
                return plain(&Path::new(&rule.to).join(rest));
            }
        }
        let path = plain(host);
        match path.split('/').next() {
            Some("bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32") => format!("usr/{path}"),
            _ => path,
        }
    }

    /// Adds an empty directory and its parents.
    pub(super) fn directory(&mut self, path: &str) {
        let mut at = path.trim_matches('/');
        while !at.is_empty() {
            self.nodes.entry(at.to_owned()).or_insert(Node::Directory);
            at = at.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }

    /// Adds or replaces a file with the given content.
    pub(super) fn file(&mut self, path: &str, content: impl Into<Cow<'static, [u8]>>) {
        self.parent(path);
        let node = Node::File { source: Source::Bytes(content.into()), executable: false };
        self.nodes.insert(path.trim_matches('/').to_owned(), node);
    }

    /// Adds a symbolic link as it is, unless the name is taken.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.nodes
            .entry(path.trim_matches('/').to_owned())
            .or_insert(Node::Link { target: target.to_owned() });
    }

    /// Adds a link at `path` to another name of the image, with a relative target, unless the name is taken.
    pub(super) fn link_to(&mut self, path: &str, to: &str) {
        let (path, to) = (path.trim_matches('/'), to.trim_matches('/'));
        if path != to {
            self.link(path, &relative(path, to));
        }
    }

    /// Copies a host file. A link is followed to its end: the image gets the real file and one link to it.
    /// Returns the image path of the real file, or `None` if there is no readable regular file.
    pub(super) fn copy(&mut self, host: &Path) -> Option<String> {
        let real = fs::canonicalize(host).ok()?;
        let place = self.copy_real(&real)?;
        let name = match (host.parent().and_then(|parent| fs::canonicalize(parent).ok()), host.file_name()) {
            (Some(parent), Some(name)) => self.place(&parent.join(name)),
            _ => return Some(place),
        };
        self.link_to(&name, &place);
        Some(place)
    }

    /// Copies a host file, wherever it is, to the given image path.
    pub(super) fn copy_to(&mut self, host: &Path, place: &str) -> Option<String> {
        let real = fs::canonicalize(host).ok()?;
        self.insert_host_file(&real, place.trim_matches('/').to_owned())
    }

    fn copy_real(&mut self, real: &Path) -> Option<String> {
        let place = self.place(real);
        self.insert_host_file(real, place)
    }

    fn insert_host_file(&mut self, real: &Path, place: String) -> Option<String> {
        if matches!(self.nodes.get(&place), Some(Node::File { .. })) {
            return Some(place);
        }
        let meta = fs::metadata(real).ok().filter(fs::Metadata::is_file)?;
        if rustix::fs::access(real, rustix::fs::Access::READ_OK).is_err() {
            self.unreadable.push(real.to_path_buf());
            return None;
        }
        let inode = (meta.dev(), meta.ino());
        if meta.nlink() > 1 {
            if let Some(first) = self.inodes.get(&inode).cloned() {
                self.link_to(&place, &first);
                return Some(first);
            }
            self.inodes.insert(inode, place.clone());
        }
        self.parent(&place);
        let source = match self.moves.iter().find(|rule| real.starts_with(&rule.from)) {
            Some(rule) => Source::Moved {
                path: real.to_path_buf(),
                from: rule.from.to_string_lossy().into_owned(),
                to: rule.to.clone(),
            },
            None => Source::Host(real.to_path_buf()),
        };
        let executable = meta.permissions().mode() & 0o111 != 0;
        self.nodes.insert(place.clone(), Node::File { source, executable });
        Some(place)
    }

    /// Copies a directory of the host with all below it for which `keep` says so; it is asked with the path below
    /// `host`. Links that stay inside remain links; links that leave bring the file they name.
    pub(super) fn copy_all(&mut self, host: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<(), ImageError> {
        let Ok(root) = fs::canonicalize(host) else { return Ok(()) };
        self.walk(&root, &root, keep)
    }

    fn walk(
        &mut self,
        root: &Path,
        directory: &Path,
        keep: &dyn Fn(&Path) -> bool,
    ) -> Result<(), ImageError> {
        let Ok(entries) = fs::read_dir(directory) else {
            self.unreadable.push(directory.to_path_buf());
            return Ok(());
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(at("list", directory))?.path());
        }
        // The order decides which name of a hard-linked file is the file, and so the digest.
        paths.sort();
        let place = self.place(directory);
        self.directory(&place);
        for path in paths {
            let below = path.strip_prefix(root).unwrap_or(&path);
            if path.to_str().is_some_and(|path| !path.contains(char::is_control)) && keep(below) {
                self.add(root, &path, keep)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, root: &Path, path: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<(), ImageError> {
        let kind = fs::symlink_metadata(path).map_err(at("inspect", path))?.file_type();
        if kind.is_dir() {
            return self.walk(root, path, keep);
        }
        if kind.is_file() {
            self.copy_real(path);
        } else if kind.is_symlink() {
            // A dangling link of the host is left out.
            let Ok(real) = fs::canonicalize(path) else { return Ok(()) };
            let below = real.strip_prefix(root).ok();
            match below {
                Some(below) if !kept(below, keep) => {}
                Some(_) => {
                    let (from, to) = (self.place(path), self.place(&real));
                    self.link_to(&from, &to);
                }
                None if real.is_file() => {
                    self.copy(path);
                }
                None => self.outward.push((path.to_owned(), real)),
            }
        }
        Ok(())
    }

    /// Adds the links to directories that were seen on the way and lead out of what was copied, as far as something else that was copied has
    /// what they lead to: Debian's Go has its sources elsewhere.
    pub(super) fn link_outward(&mut self) {
        for (path, real) in std::mem::take(&mut self.outward) {
            let (from, to) = (self.place(&path), self.place(&real));
            if matches!(self.nodes.get(&to), Some(Node::Directory)) {
                self.link_to(&from, &to);
            }
        }
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.trim_matches('/').rsplit_once('/') {
            self.directory(parent);
        }
    }
}

/// Says whether a path survives: it and every directory above it is kept.
fn kept(below: &Path, keep: &dyn Fn(&Path) -> bool) -> bool {
    below.ancestors().filter(|path| !path.as_os_str().is_empty()).all(keep)
}

/// Returns a path without root and dots.
fn plain(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        })
        .collect();
    parts.join("/")
}

/// Returns the target of a link at `from` that names `to`; both are relative to the root.
fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').collect();
    let to: Vec<&str> = to.split('/').collect();
    let shared = from[..from.len() - 1].iter().zip(&to[..to.len() - 1]).take_while(|(a, b)| a == b).count();
    let up = from.len() - 1 - shared;
    let mut parts = vec![".."; up];
    parts.extend(&to[shared..]);
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        assert_eq!(relative("usr/bin/awk", "usr/bin/mawk"), "mawk");
        assert_eq!(
            relative("usr/bin/python3", "opt/python/bin/python3.11"),
            "../../opt/python/bin/python3.11"
        );
        assert_eq!(relative("sh", "usr/bin/dash"), "usr/bin/dash");
    }

    #[test]
    fn places_are_merged_and_neutral() {
        let mut tree = Tree::default();
        tree.relocate(Path::new("/home/alice/pythons/3.12.1"), "/opt/python/3.12.1");
        assert_eq!(tree.place(Path::new("/bin/sh")), "usr/bin/sh");
        assert_eq!(tree.place(Path::new("/usr/bin/sh")), "usr/bin/sh");
        assert_eq!(
            tree.place(Path::new("/home/alice/pythons/3.12.1/bin/python3.12")),
            "opt/python/3.12.1/bin/python3.12"
        );
    }
}
