//! A directory of trees that are named by their content, and names for them. One builder at a time; readers hold no lock.
//!
//! ```text
//! <directory>/
//!   .lock                 flock: held while a tree is built or removed
//!   .building-<pid>/      a tree in the making; without the lock's holder, a leftover
//!   refs/<name>           the digest a name stands for
//!   <digest>/             a tree, whole or not there
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{ImageError, at};

/// The directory. Digests are 64 hexadecimal digits here, without a prefix.
#[derive(Debug, Clone)]
pub(super) struct Vault {
    directory: PathBuf,
}

/// The right to change a vault, as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "dropping it is its use")] File);

impl Vault {
    /// Creates nothing until something is built.
    pub(super) fn new(directory: PathBuf) -> Vault {
        Vault { directory }
    }

    /// Where the tree of a digest is, or would be.
    pub(super) fn place(&self, hex: &str) -> PathBuf {
        self.directory.join(hex)
    }

    /// Waits until nobody else builds or removes.
    pub(super) fn lock(&self) -> Result<Lock, ImageError> {
        make_directory(&self.directory)?;
        let path = self.directory.join(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at("open", &path))?;
        file.lock().map_err(at("lock", &path))?;
        Ok(Lock(file))
    }

    /// Builds a tree: `fill` is given an empty directory, fills it and returns the digest that is to name it. What another left
    /// unfinished is removed before, what no name stands for after.
    pub(super) fn build(
        &self,
        _lock: &Lock,
        name: &str,
        is_whole: impl Fn(&str) -> bool,
        fill: impl FnOnce(&Path) -> Result<String, ImageError>,
    ) -> Result<String, ImageError> {
        self.sweep()?;
        let building = self.directory.join(format!(".building-{}", std::process::id()));
        make_directory(&building)?;
        let settle = |hex: String| {
            self.settle(&building, name, &hex, is_whole(&hex))?;
            Ok(hex)
        };
        let built = fill(&building).and_then(settle);
        if built.is_ok() {
            self.prune()?;
        } else if building.exists() {
            // The first error is the one to tell; what is left is swept by the next build.
            drop(remove_tree(&building));
        }
        built
    }

    /// Gives a filled directory its digest as name, and the name its digest.
    pub(super) fn settle(
        &self,
        building: &Path,
        name: &str,
        hex: &str,
        is_there: bool,
    ) -> Result<(), ImageError> {
        let place = self.place(hex);
        if is_there {
            remove_tree(building)?;
        } else {
            // One flush for all files: after a power cut a tree that has its name has its bytes.
            let directory = File::open(building).map_err(at("open", building))?;
            rustix::fs::syncfs(&directory).map_err(io::Error::from).map_err(at("flush", building))?;
            if place.exists() {
                remove_tree(&place)?;
            }
            fs::rename(building, &place).map_err(at("rename", building))?;
        }
        self.write_ref(name, hex)
    }

    /// Removes the trees that no name stands for and no sandbox uses: those that newer ones replaced.
    pub(super) fn prune(&self) -> Result<(), ImageError> {
        let names = self.names()?;
        for hex in self.digests()?.iter().filter(|hex| !names.values().any(|at| at == *hex)) {
            // One that is in use stays until the next build.
            let _gone: bool = self.discard(hex)?;
        }
        Ok(())
    }

    /// Removes one tree, unless somebody holds it; see [`hold`]. The caller has the lock.
    pub(super) fn discard(&self, hex: &str) -> Result<bool, ImageError> {
        let directory = self.place(hex);
        let file = File::open(&directory).map_err(at("open", &directory))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            other => other.map_err(io::Error::from).map_err(at("lock", &directory))?,
        }
        // Under its own name a tree is whole or not there.
        let going = self.directory.join(format!(".removing-{hex}"));
        fs::rename(&directory, &going).map_err(at("rename", &directory))?;
        remove_tree(&going)?;
        Ok(true)
    }

    /// Removes what a killed process left. Called with the lock: whoever made it is gone.
    fn sweep(&self) -> Result<(), ImageError> {
        let names = entries(&self.directory)?;
        let stale = |name: &&String| name.starts_with(".building-") || name.starts_with(".removing-");
        names.iter().filter(stale).try_for_each(|name| remove_tree(&self.directory.join(name)))
    }

    /// Returns the only digest that begins so, with six digits or more.
    pub(super) fn by_digest(&self, prefix: &str) -> Result<Option<String>, ImageError> {
        let hex = hex_of(prefix);
        if hex.len() < 6 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut matching = self.digests()?.into_iter().filter(|digest| digest.starts_with(hex));
        match (matching.next(), matching.next()) {
            (Some(_), Some(_)) => Err(ImageError::Ambiguous { prefix: prefix.to_owned() }),
            (only, _) => Ok(only),
        }
    }

    /// Every tree.
    pub(super) fn digests(&self) -> Result<Vec<String>, ImageError> {
        let names = entries(&self.directory)?;
        Ok(names.into_iter().filter(|name| is_hex_digest(name)).collect())
    }

    /// Every name, with the digest that it stands for.
    pub(super) fn names(&self) -> Result<BTreeMap<String, String>, ImageError> {
        let mut names = BTreeMap::new();
        for name in entries(&self.directory.join("refs"))? {
            if let Some(hex) = self.named(&name)? {
                names.insert(name, hex);
            }
        }
        Ok(names)
    }

    /// What a name stands for. A name whose text is no digest stands for nothing, and so does what cannot be a name.
    pub(super) fn named(&self, name: &str) -> Result<Option<String>, ImageError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let text = read(&self.ref_path(name))?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(|text| hex_of(text.trim()).to_owned()).filter(|hex| is_hex_digest(hex)))
    }

    /// Lets a name stand for nothing any more.
    pub(super) fn forget(&self, name: &str) -> Result<(), ImageError> {
        let path = self.ref_path(name);
        fs::remove_file(&path).map_err(at("remove", &path))
    }

    pub(super) fn ref_path(&self, name: &str) -> PathBuf {
        self.directory.join("refs").join(name)
    }

    pub(super) fn write_ref(&self, name: &str, hex: &str) -> Result<(), ImageError> {
        let path = self.ref_path(name);
        // Readers hold no lock, so the text is replaced at once.
        let new = self.directory.join(format!(".building-ref-{name}"));
        make_directory(&self.directory.join("refs"))?;
        write_file(&new, format!("sha256:{hex}\n").as_bytes())?;
        fs::rename(&new, &path).map_err(at("rename", &new))
    }
}

/// Keeps the tree in a directory from being removed for as long as the returned file is open; `None` if it is gone already.
pub(super) fn hold(directory: &Path) -> Result<Option<File>, ImageError> {
    let Ok(file) = File::open(directory) else { return Ok(None) };
    let lock = rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared);
    lock.map_err(io::Error::from).map_err(at("lock", directory))?;
    // Between its being found and being held it may have been moved out of the way.
    Ok(directory.exists().then_some(file))
}

/// Accepts what can be a name: it is a file's, too.
pub(crate) fn check_name(name: &str) -> Result<(), ImageError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(good) {
        return Ok(());
    }
    Err(ImageError::Name { name: name.to_owned() })
}

/// A digest without its prefix.
pub(super) fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn is_hex_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Reads a small file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// Returns the names in a directory; none if it does not exist.
pub(crate) fn entries(directory: &Path) -> Result<Vec<String>, ImageError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(at("list", directory))?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

pub(crate) fn make_directory(path: &Path) -> Result<(), ImageError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(at("create directory", path))
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(path, bytes).map_err(at("write", path))
}

/// Removes a read-only tree: an ordinary user must first give back the right to write to each directory.
pub(crate) fn remove_tree(path: &Path) -> Result<(), ImageError> {
    let meta = fs::symlink_metadata(path).map_err(at("inspect", path))?;
    if !meta.is_dir() {
        return fs::remove_file(path).map_err(at("remove", path));
    }
    open_tree(path)?;
    fs::remove_dir_all(path).map_err(at("remove", path))
}

fn open_tree(path: &Path) -> Result<(), ImageError> {
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(at("set mode of", path))?;
    for entry in fs::read_dir(path).map_err(at("list", path))? {
        let entry = entry.map_err(at("list", path))?;
        if entry.file_type().map_err(at("inspect", path))?.is_dir() {
            open_tree(&entry.path())?;
        }
    }
    Ok(())
}
