//! Keeps images on disk: builds, names, finds, verifies and removes them. Holds the lock; one builder at a time.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::content::{self, Content};
use super::listing::{Listing, digest};
use super::{
    BuildOptions, Change, Difference, Host, HostProgram, Image, ImageError, Manifest, Phase, Progress,
    Runtime, Runtimes, SCHEMA, at, check, guest_digest, locale, write,
};

/// The images of one data directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    images: PathBuf,
}

impl ImageStore {
    /// Opens the store below `data_dir`. Creates nothing until something is built.
    pub fn open(data_dir: &Path) -> ImageStore {
        ImageStore { images: data_dir.join("images") }
    }

    /// Returns the image a name or the beginning of a digest (six digits or more) stands for. Two small reads for a name.
    pub fn find(&self, name_or_digest: &str) -> Result<Option<Image>, ImageError> {
        if check_name(name_or_digest).is_ok()
            && let Some(hex) = self.read_ref(name_or_digest)?
        {
            return self.load(&hex);
        }
        match self.by_digest(name_or_digest)? {
            Some(hex) => self.load(&hex),
            None => Ok(None),
        }
    }

    /// Returns the image of the options' name if this version made it, else builds it.
    /// Of several callers at once one builds and the others wait for it.
    pub fn ensure(
        &self,
        options: &BuildOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        check_name(&options.name)?;
        // A manifest that cannot be read is of another version: build anew.
        let current = || self.find(&options.name).ok().flatten().filter(Image::is_current);
        if let Some(image) = current() {
            return Ok(image);
        }
        progress(Progress { phase: Phase::Wait, done_bytes: 0, total_bytes: 0 });
        let lock = self.lock()?;
        match current() {
            Some(image) => Ok(image),
            None => self.build_locked(&lock, options, progress),
        }
    }

    /// Builds an image and gives it the options' name, which may have stood for another.
    pub fn build(
        &self,
        options: &BuildOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        check_name(&options.name)?;
        progress(Progress { phase: Phase::Wait, done_bytes: 0, total_bytes: 0 });
        let lock = self.lock()?;
        self.build_locked(&lock, options, progress)
    }

    /// Returns every image with the names that stand for it, oldest first. Damaged ones are left out.
    pub fn list(&self) -> Result<Vec<(Image, Vec<String>)>, ImageError> {
        let names = self.names()?;
        let of =
            |hex: &str| names.iter().filter(|(_, at)| *at == hex).map(|(name, _)| name.clone()).collect();
        let hexes = self.digests()?;
        let mut images: Vec<_> =
            hexes.iter().filter_map(|hex| Some((self.load(hex).ok()??, of(hex)))).collect();
        images.sort_by(|(a, _): &(Image, Vec<String>), (b, _)| {
            a.manifest.created_at.cmp(&b.manifest.created_at)
        });
        Ok(images)
    }

    /// Removes a name, and its image if no other name stands for it; or an image by digest, with all its names.
    /// Returns the digest of the image that is gone, if one is. One that a sandbox uses stays, and that is an error.
    pub fn remove(&self, name_or_digest: &str) -> Result<Option<String>, ImageError> {
        let _lock = self.lock()?;
        let names = self.names()?;
        let missing = || ImageError::NotFound { name: name_or_digest.to_owned() };
        let (hex, remove): (String, Vec<&String>) = match names.get_key_value(name_or_digest) {
            Some((name, hex)) => (hex.clone(), vec![name]),
            None => {
                let hex = self.by_digest(name_or_digest)?.ok_or_else(missing)?;
                let all = names.iter().filter(|(_, at)| **at == hex).map(|(name, _)| name).collect();
                (hex, all)
            }
        };
        let others = names.iter().any(|(name, at)| *at == hex && !remove.contains(&name));
        let goes = !others && self.images.join(&hex).exists();
        // The files first: if somebody holds them, the names stay too.
        if goes && !self.discard(&hex)? {
            return Err(ImageError::InUse { digest: format!("sha256:{hex}") });
        }
        for name in &remove {
            let path = self.ref_path(name);
            fs::remove_file(&path).map_err(at("remove", &path))?;
        }
        Ok(goes.then(|| format!("sha256:{hex}")))
    }

    /// Removes the images that no name stands for and no sandbox uses: those that newer ones replaced. Returns their digests.
    fn prune(&self) -> Result<Vec<String>, ImageError> {
        let names = self.names()?;
        let unnamed = self.digests()?.into_iter().filter(|hex| !names.values().any(|at| at == hex));
        let mut gone = Vec::new();
        for hex in unnamed {
            if self.discard(&hex)? {
                gone.push(format!("sha256:{hex}"));
            }
        }
        Ok(gone)
    }

    /// Removes one image's files, unless somebody holds it; see [`Image::hold`].
    fn discard(&self, hex: &str) -> Result<bool, ImageError> {
        let directory = self.images.join(hex);
        let file = File::open(&directory).map_err(at("open", &directory))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            other => other.map_err(io::Error::from).map_err(at("lock", &directory))?,
        }
        // Under its own name an image is whole or not there.
        let going = self.images.join(format!(".removing-{hex}"));
        fs::rename(&directory, &going).map_err(at("rename", &directory))?;
        remove_tree(&going)?;
        Ok(true)
    }

    /// Reads the whole image again and returns every difference from what its digest says: empty means intact.
    pub fn verify(&self, image: &Image) -> Result<Vec<Difference>, ImageError> {
        let path = image.rootfs.with_file_name("files.txt");
        let then = fs::read_to_string(&path).map_err(at("read", &path))?;
        let now = Listing::scan(&image.rootfs)?.text();
        let mut differences = compare(&then, &now);
        if digest(&then) != image.digest {
            differences.insert(0, Difference { path: "files.txt".to_owned(), change: Change::Changed });
        }
        Ok(differences)
    }

    fn build_locked(
        &self,
        _lock: &File,
        options: &BuildOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        self.sweep()?;
        let building = self.images.join(format!(".building-{}", std::process::id()));
        make_directory(&building)?;
        let built = self.fill(&building, options, progress);
        if built.is_ok() {
            self.prune()?;
        }
        if built.is_err() && building.exists() {
            // The first error is the one to tell; what is left is swept by the next build.
            drop(remove_tree(&building));
        }
        built
    }

    /// Fills the directory of an image in the making, then moves it to its place.
    fn fill(
        &self,
        building: &Path,
        options: &BuildOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        progress(Progress { phase: Phase::Inspect, done_bytes: 0, total_bytes: 0 });
        let mut content = content::plan(options)?;
        locale::add_archive(&mut content.tree, &building.join("locale"))?;
        let (rootfs, skeleton) = (building.join("rootfs"), building.join("skeleton"));
        make_directory(&rootfs)?;
        make_directory(&skeleton)?;
        let mut last = 0;
        write::write(&content.tree, &rootfs, content.python.as_ref(), &mut |step| {
            last = step.total_bytes;
            progress(step);
        })?;
        progress(Progress { phase: Phase::Check, done_bytes: last, total_bytes: last });
        let listing = Listing::scan(&rootfs)?;
        let problems = check::problems(&listing, &rootfs, &inside(&content), &unresolved(&content))?;
        if !problems.is_empty() {
            return Err(ImageError::Check { problems });
        }
        let text = listing.text();
        let manifest = manifest(&content, options, &listing, digest(&text))?;
        write_file(&building.join("files.txt"), text.as_bytes())?;
        let json = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        write_file(&building.join("manifest.json"), &json)?;
        fs::set_permissions(&skeleton, Permissions::from_mode(0o555))
            .map_err(at("set mode of", &skeleton))?;
        progress(Progress { phase: Phase::Store, done_bytes: last, total_bytes: last });
        self.settle(building, &options.name, manifest)
    }

    /// Gives a filled directory its digest as name, and the name its digest.
    fn settle(&self, building: &Path, name: &str, manifest: Manifest) -> Result<Image, ImageError> {
        let hex = hex_of(&manifest.digest).to_owned();
        let place = self.images.join(&hex);
        if self.load(&hex).ok().flatten().is_some() {
            remove_tree(building)?;
        } else {
            // One flush for all files: after a power cut an image that has its name has its bytes.
            let directory = File::open(building).map_err(at("open", building))?;
            rustix::fs::syncfs(&directory).map_err(io::Error::from).map_err(at("flush", building))?;
            if place.exists() {
                remove_tree(&place)?;
            }
            fs::rename(building, &place).map_err(at("rename", building))?;
        }
        self.write_ref(name, &hex)?;
        self.load(&hex)?.ok_or(ImageError::NotFound { name: manifest.digest })
    }

    fn load(&self, hex: &str) -> Result<Option<Image>, ImageError> {
        let directory = self.images.join(hex);
        let path = directory.join("manifest.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|source| ImageError::Manifest { path, source })?;
        Ok(Some(Image {
            digest: format!("sha256:{hex}"),
            rootfs: directory.join("rootfs"),
            skeleton: directory.join("skeleton"),
            manifest,
        }))
    }

    /// Returns the only digest that begins so.
    fn by_digest(&self, prefix: &str) -> Result<Option<String>, ImageError> {
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

    fn digests(&self) -> Result<Vec<String>, ImageError> {
        let names = entries(&self.images)?;
        Ok(names.into_iter().filter(|name| is_hex_digest(name)).collect())
    }

    fn names(&self) -> Result<BTreeMap<String, String>, ImageError> {
        let mut names = BTreeMap::new();
        for name in entries(&self.images.join("refs"))? {
            if check_name(&name).is_ok()
                && let Some(hex) = self.read_ref(&name)?
            {
                names.insert(name, hex);
            }
        }
        Ok(names)
    }

    fn ref_path(&self, name: &str) -> PathBuf {
        self.images.join("refs").join(name)
    }

    /// A name whose text is no digest stands for nothing.
    fn read_ref(&self, name: &str) -> Result<Option<String>, ImageError> {
        let text = read(&self.ref_path(name))?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(|text| hex_of(text.trim()).to_owned()).filter(|hex| is_hex_digest(hex)))
    }

    fn write_ref(&self, name: &str, hex: &str) -> Result<(), ImageError> {
        let path = self.ref_path(name);
        // Readers hold no lock, so the text is replaced at once.
        let new = self.images.join(format!(".building-ref-{name}"));
        make_directory(&self.images.join("refs"))?;
        write_file(&new, format!("sha256:{hex}\n").as_bytes())?;
        fs::rename(&new, &path).map_err(at("rename", &new))
    }

    fn lock(&self) -> Result<File, ImageError> {
        make_directory(&self.images)?;
        let path = self.images.join(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at("open", &path))?;
        file.lock().map_err(at("lock", &path))?;
        Ok(file)
    }

    /// Removes what a killed process left. Called with the lock: whoever made it is gone.
    fn sweep(&self) -> Result<(), ImageError> {
        let names = entries(&self.images)?;
        let stale = |name: &&String| name.starts_with(".building-") || name.starts_with(".removing-");
        names.iter().filter(stale).try_for_each(|name| remove_tree(&self.images.join(name)))
    }
}

/// Directories, inside the image, of libraries the interpreters have loaded when they load an extension.
fn inside(content: &Content) -> Vec<PathBuf> {
    let found = [&content.python, &content.node].into_iter().flatten();
    let host = found.flat_map(|found| &found.libraries);
    host.map(|directory| Path::new("/").join(content.tree.place(directory))).collect()
}

fn unresolved(content: &Content) -> std::collections::BTreeSet<String> {
    content.unresolved.iter().map(|(library, _)| library.clone()).collect()
}

fn manifest(
    content: &Content,
    options: &BuildOptions,
    listing: &Listing,
    digest: String,
) -> Result<Manifest, ImageError> {
    let (files, bytes) = listing.totals();
    let bash = fs::canonicalize("/bin/bash").map_err(at("find", Path::new("/bin/bash")))?;
    let unreadable = content.tree.unreadable.iter().map(|path| format!("unreadable: {}", path.display()));
    let lacking = content.unresolved.iter();
    let lacking = lacking.map(|(library, file)| format!("the host lacks {library} for {}", file.display()));
    let programs =
        [&content.python, &content.node].into_iter().flatten().map(|found| found.program.as_path());
    Ok(Manifest {
        schema: SCHEMA,
        digest,
        name: options.name.clone(),
        created_at: jiff::Timestamp::now().to_string(),
        files,
        bytes,
        runtimes: Runtimes {
            python: content.python.as_ref().map(|found| found.runtime.clone()),
            node: content.node.as_ref().map(|found| found.runtime.clone()),
            bash: Runtime {
                path: Path::new("/").join(content.tree.place(&bash)),
                version: bash_version(&bash).unwrap_or_default(),
            },
        },
        tools: content.tools.clone(),
        absent_tools: content.absent.clone(),
        warnings: unreadable.chain(lacking).take(MAX_WARNINGS).collect(),
        guest: guest_digest().to_owned(),
        host: Host {
            system: system_name(),
            programs: programs.chain([bash.as_path()]).map(HostProgram::record).collect::<Result<_, _>>()?,
        },
    })
}

/// A manifest is read by every run, so it stays small.
const MAX_WARNINGS: usize = 20;

fn bash_version(bash: &Path) -> Option<String> {
    let ask =
        ["--norc", "--noprofile", "-c", "echo ${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}.${BASH_VERSINFO[2]}"];
    let output = Command::new(bash).args(ask).env_clear().output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn system_name() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Compares two canonical listings; both are sorted by path.
fn compare(then: &str, now: &str) -> Vec<Difference> {
    let by_path = |text: &'_ str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.split_once(" /"));
        lines.map(|(facts, path)| (format!("/{path}"), facts.to_owned())).collect()
    };
    let (then, now) = (by_path(then), by_path(now));
    let mut differences = Vec::new();
    for (path, facts) in &then {
        let change = match now.get(path) {
            None => Change::Removed,
            Some(other) if other != facts => Change::Changed,
            Some(_) => continue,
        };
        differences.push(Difference { path: path.clone(), change });
    }
    let added = now.keys().filter(|path| !then.contains_key(*path));
    differences.extend(added.map(|path| Difference { path: path.clone(), change: Change::Added }));
    differences
}

fn check_name(name: &str) -> Result<(), ImageError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(good) {
        return Ok(());
    }
    Err(ImageError::Name { name: name.to_owned() })
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn is_hex_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Reads a small file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// Returns the names in a directory; none if it does not exist.
fn entries(directory: &Path) -> Result<Vec<String>, ImageError> {
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

fn make_directory(path: &Path) -> Result<(), ImageError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(at("create directory", path))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(path, bytes).map_err(at("write", path))
}

/// Removes a read-only tree: an ordinary user must first give back the right to write to each directory.
pub(super) fn remove_tree(path: &Path) -> Result<(), ImageError> {
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
