//! Environments that tenants asked for: packages that were installed in a sandbox, kept by content, each tenant's apart.
//!
//! ```text
//! <data directory>/packages/<tenant>/      `operator.` is the operator's, which all have
//!   <digest>/              manifest.json, files.txt, packages.lock, rootfs/: a layer of the image's overlay
//!   refs/<key>             what was asked for, or resolved to, and the digest it stands for; its time is when it was last used
//! ```
//!
//! What is taken out of the sandbox is regular files and directories and nothing else, copied anew; no link, no mode but the bit to
//! execute. So a layer keeps the promises of an image without being looked into: what is in it was written by hostile code and is
//! read by hostile code of the same tenant only.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use sandbox::workspace::{Kind, Workspace};
use serde::{Deserialize, Serialize};

use super::environment::{interpreter, site_of};
use super::listing::{Listing, digest};
use super::vault::{self, Vault, check_name, hex_of, make_directory, read, write_file};
use super::{Image, ImageError, at, uv, write};

mod arrived;

/// Most files and directories of one environment.
pub const ENTRIES_MAX: usize = 200_000;
/// Where the program that installs packages is in its layer.
pub const INSTALLER: &str = uv::PLACE;
/// Whose environments all tenants have: the operator's. No tenant can be called so.
pub const OPERATORS: &str = "operator.";
/// One that was used so lately is not removed: a sandbox may wait that is made of it.
const IN_USE: Duration = Duration::from_secs(900);

/// A tenant's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageLayer {
    /// 64 hexadecimal digits: of the list of its files.
    pub hex: String,
    /// The layer, read-only.
    pub rootfs: PathBuf,
    /// What is known about it.
    pub manifest: PackageManifest,
}

impl PackageLayer {
    /// Copies the packages of Python into a directory of a running sandbox.
    pub fn lay(&self, to: &Workspace, place: &str) -> Result<(), ImageError> {
        let site = site_below(&self.rootfs)?;
        to.make_directory(place).map_err(|error| refused(&site, error.into()))?;
        let mut left = vec![site.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).map_err(at("list", &directory))? {
                let path = entry.map_err(at("list", &directory))?.path();
                if path.is_dir() {
                    left.push(path);
                    continue;
                }
                let below = path.strip_prefix(&site).unwrap_or(&path).to_str();
                let below = below.ok_or_else(|| ImageError::FileName { path: path.clone() })?;
                let bytes = fs::read(&path).map_err(at("read", &path))?;
                to.write(&format!("{place}/{below}"), &bytes, false)
                    .map_err(|error| refused(&path, error.into()))?;
            }
        }
        Ok(())
    }
}

/// The directory of packages in a layer: the only one down to where there is more than one thing, or a package.
fn site_below(rootfs: &Path) -> Result<PathBuf, ImageError> {
    let mut site = rootfs.to_owned();
    while site.file_name().is_none_or(|name| name != "site-packages" && name != "dist-packages") {
        let mut entries = fs::read_dir(&site).map_err(at("list", &site))?;
        match entries.next().transpose().map_err(at("list", &site))? {
            Some(entry) if entry.path().is_dir() => site = entry.path(),
            _ => return Err(refused(&site, io::Error::other("it has no packages of Python"))),
        }
    }
    Ok(site)
}

/// Whether a layer's packages have a module or package of this name at their top. What cannot be read has none.
pub(crate) fn has_module(rootfs: &Path, name: &str) -> bool {
    let Ok(site) = site_below(rootfs) else { return false };
    if site.join(name).is_dir() || site.join(format!("{name}.py")).is_file() {
        return true;
    }
    let native = |file: &OsStr| {
        file.to_str().is_some_and(|file| {
            file.ends_with(".so") && file.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    fs::read_dir(&site).is_ok_and(|entries| entries.flatten().any(|entry| native(&entry.file_name())))
}

fn refused(path: &Path, source: io::Error) -> ImageError {
    ImageError::Io { action: "take over", path: path.into(), source }
}

/// What is known about a tenant's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageManifest {
    /// What it is for, such as `Python 3.12.3`.
    #[serde(alias = "python")]
    pub runtime: String,
    /// The template that it is laid over.
    pub template: String,
    /// Its packages with their versions, such as `numpy 2.4.6`.
    pub packages: Vec<String>,
    /// When it was built, RFC 3339, UTC.
    pub created_at: String,
    /// How many regular files it has.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
}

/// What is to be kept.
#[derive(Debug)]
pub struct Found {
    /// The directory with the packages, below the workspace `from`.
    pub path: &'static str,
    /// Where it is.
    pub from: Workspace,
    /// Where the image's interpreter looks for packages.
    pub site: PathBuf,
    /// What it was resolved to.
    pub lock: String,
    /// For whom, with its version.
    pub runtime: String,
    /// Their names and versions.
    pub packages: Vec<String>,
    /// Over what.
    pub template: String,
    /// Most bytes that its files may have together. What they fill in the sandbox is limited, but a file with holes has more.
    pub most_bytes: u64,
}

/// The environments of all tenants.
#[derive(Debug, Clone)]
pub struct PackageStore {
    directory: PathBuf,
    tools: PathBuf,
    /// Where uv is looked for.
    search: OsString,
}

impl PackageStore {
    /// Opens the store below `data_dir`; `search` is where uv is looked for. Creates nothing until something is built.
    pub fn open(data_dir: &Path, search: &OsStr) -> Self {
        Self::of_directory(data_dir, "packages", search)
    }

    /// One that keeps its layers in a directory of this name.
    pub(crate) fn of_directory(data_dir: &Path, name: &str, search: &OsStr) -> Self {
        let (directory, tools) = (data_dir.join(name), data_dir.join("tools"));
        Self { directory, tools, search: search.to_owned() }
    }

    fn vault(&self, tenant: &str) -> Result<Vault, ImageError> {
        check_name(tenant)?;
        Ok(Vault::new(self.directory.join(tenant)))
    }

    /// A layer with the program that installs packages at [`INSTALLER`], and where the image's Python looks for them. Brings the program if the machine has none.
    pub fn tool(&self, image: &Image) -> Result<(PathBuf, PathBuf), ImageError> {
        let (python, program) = interpreter(image)?;
        make_directory(&self.tools)?;
        // Two that bring it at once would be in each other's way.
        let path = self.tools.join(".lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(at("open", &path))?;
        lock.lock().map_err(at("lock", &path))?;
        let uv = uv::find(&self.search, &self.tools, program)?;
        Ok((uv::layer(&uv, &self.tools)?, site_of(program, python)?))
    }

    /// What a key of a tenant stands for, or of the operator; it counts as used now.
    pub fn find(&self, tenant: &str, key: &str) -> Result<Option<PackageLayer>, ImageError> {
        for owner in [tenant, OPERATORS] {
            let vault = self.vault(owner)?;
            let Some(hex) = vault.named(key)? else { continue };
            if let Some(layer) = self.of_owner(owner, &hex)? {
                vault.touch(key)?;
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }

    /// An environment of a tenant, or of the operator, by its digest.
    pub fn get(&self, tenant: &str, hex: &str) -> Result<Option<PackageLayer>, ImageError> {
        match self.of_owner(tenant, hex)? {
            None => self.of_owner(OPERATORS, hex),
            own => Ok(own),
        }
    }

    fn of_owner(&self, tenant: &str, hex: &str) -> Result<Option<PackageLayer>, ImageError> {
        check_name(hex)?;
        let directory = self.vault(tenant)?.place(hex);
        let path = directory.join("manifest.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let manifest =
            serde_json::from_slice(&bytes).map_err(|source| ImageError::Manifest { path, source })?;
        Ok(Some(PackageLayer { hex: hex.to_owned(), rootfs: directory.join("rootfs"), manifest }))
    }

    /// Keeps what was installed, under these keys.
    pub fn keep(&self, tenant: &str, keys: &[&str], found: &Found) -> Result<PackageLayer, ImageError> {
        let vault = self.vault(tenant)?;
        let lock = vault.lock()?;
        let is_whole = |hex: &str| self.of_owner(tenant, hex).ok().flatten().is_some();
        let (first, others) = keys.split_first().ok_or_else(|| ImageError::Name { name: String::new() })?;
        let hex = vault.build(&lock, first, is_whole, |building| fill(building, found))?;
        others.iter().try_for_each(|key| vault.write_ref(key, &hex))?;
        self.get(tenant, &hex)?.ok_or(ImageError::NotFound { name: hex })
    }

    /// Gives an environment that is there another key.
    pub fn name(&self, tenant: &str, key: &str, layer: &PackageLayer) -> Result<(), ImageError> {
        // The operator's goes by the names that the operator gave it.
        if tenant != OPERATORS && layer.rootfs.starts_with(self.directory.join(OPERATORS)) {
            return Ok(());
        }
        let vault = self.vault(tenant)?;
        let _lock = vault.lock()?;
        vault.write_ref(key, &layer.hex)
    }

    /// Keeps a layer from being removed for as long as the returned file is open; `None` if it is gone already.
    pub fn hold(&self, layer: &PackageLayer) -> Result<Option<File>, ImageError> {
        vault::hold(layer.rootfs.parent().unwrap_or(&layer.rootfs))
    }

    /// Every environment, with its tenant and when it was last used.
    pub fn list(&self) -> Result<Vec<(String, PackageLayer, SystemTime)>, ImageError> {
        let mut all = Vec::new();
        for tenant in vault::entries(&self.directory)? {
            let Ok(vault) = self.vault(&tenant) else { continue };
            let mut used: BTreeMap<String, SystemTime> = BTreeMap::new();
            for (name, hex) in vault.names()? {
                let at = vault.touched(&name)?.max(used.get(&hex).copied().unwrap_or(SystemTime::UNIX_EPOCH));
                used.insert(hex, at);
            }
            for (hex, at) in used {
                all.extend(self.of_owner(&tenant, &hex)?.map(|layer| (tenant.clone(), layer, at)));
            }
        }
        Ok(all)
    }

    /// Removes every layer of one; fails at the first that is in use.
    pub(crate) fn remove_all(&self, tenant: &str) -> Result<(), ImageError> {
        let vault = self.vault(tenant)?;
        let _lock = vault.lock()?;
        for hex in vault.digests()? {
            if !vault.discard(&hex)? {
                return Err(ImageError::InUse { digest: format!("sha256:{hex}") });
            }
        }
        for (name, _) in vault.names()? {
            vault.forget(&name)?;
        }
        Ok(())
    }

    /// Removes what was not used for longest until all hold at most so many bytes. What is in use stays, and what was within a quarter of an
    /// hour: sandboxes of it may wait, which hold nothing and go sooner than that; and the operator's, which is listed to be there. Returns
    /// how many are gone, and their bytes.
    pub fn prune(&self, most_bytes: u64) -> Result<(usize, u64), ImageError> {
        self.remove_until(most_bytes, IN_USE)
    }

    /// The same where no service runs, and so no sandbox waits: of what is not in use nothing is spared.
    pub fn prune_at_rest(&self, most_bytes: u64) -> Result<(usize, u64), ImageError> {
        self.remove_until(most_bytes, Duration::ZERO)
    }

    fn remove_until(&self, most_bytes: u64, spared: Duration) -> Result<(usize, u64), ImageError> {
        let mut all = self.list()?;
        all.sort_by_key(|(_, _, used)| *used);
        let mut held: u64 = all.iter().map(|(_, layer, _)| layer.manifest.bytes).sum();
        let (mut count, mut bytes) = (0, 0);
        for (tenant, layer, used) in all {
            let young = used.elapsed().is_ok_and(|age| age < spared);
            let is_listed = tenant == OPERATORS && !spared.is_zero();
            if held <= most_bytes || young || is_listed {
                continue;
            }
            let vault = self.vault(&tenant)?;
            let _lock = vault.lock()?;
            if vault.discard(&layer.hex)? {
                for name in vault.names()?.into_iter().filter(|(_, hex)| *hex == layer.hex) {
                    vault.forget(&name.0)?;
                }
                held -= layer.manifest.bytes;
                (count, bytes) = (count + 1, bytes + layer.manifest.bytes);
            }
        }
        Ok((count, bytes))
    }
}

impl Vault {
    /// A name is used now.
    fn touch(&self, name: &str) -> Result<(), ImageError> {
        let path = self.ref_path(name);
        let file = OpenOptions::new().append(true).open(&path).map_err(at("open", &path))?;
        file.set_times(FileTimes::new().set_modified(SystemTime::now())).map_err(at("touch", &path))
    }

    /// When that was.
    fn touched(&self, name: &str) -> Result<SystemTime, ImageError> {
        let path = self.ref_path(name);
        fs::metadata(&path).and_then(|meta| meta.modified()).map_err(at("inspect", &path))
    }
}

/// Fills the directory of an environment in the making; returns its digest.
fn fill(building: &Path, found: &Found) -> Result<String, ImageError> {
    let rootfs = building.join("rootfs");
    let packages = rootfs.join(found.site.strip_prefix("/").unwrap_or(&found.site));
    make_directory(&packages)?;
    write_file(&building.join("packages.lock"), found.lock.as_bytes())?;
    copy(found, &packages)?;
    write::protect(&rootfs)?;
    let listing = Listing::scan(&rootfs)?;
    let text = listing.text();
    let (files, bytes) = listing.totals();
    let manifest = PackageManifest {
        runtime: found.runtime.clone(),
        template: found.template.clone(),
        packages: found.packages.clone(),
        created_at: jiff::Timestamp::now().to_string(),
        files,
        bytes,
    };
    write_file(&building.join("files.txt"), text.as_bytes())?;
    let json = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    write_file(&building.join("manifest.json"), &json)?;
    Ok(hex_of(&digest(&text)).to_owned())
}

/// Copies regular files and directories, on all processors; anything else is refused.
fn copy(found: &Found, to: &Path) -> Result<(), ImageError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |error: sys::Error| refused(&path, error.into())
    };
    let (entries, whole) =
        found.from.list(found.path, true, ENTRIES_MAX).map_err(of(Path::new(found.path)))?;
    if !whole {
        let error = io::Error::other(format!("more than {ENTRIES_MAX} files, or paths that are too long"));
        return Err(refused(Path::new(found.path), error));
    }
    let mut files = Vec::new();
    for entry in entries {
        let below = entry.path.strip_prefix(found.path).unwrap_or(&entry.path);
        let target = to.join(below);
        match entry.kind {
            Kind::Directory => make_directory(&target)?,
            Kind::File if below == Path::new(".lock") => {}
            Kind::File => files.push((entry.path, target)),
            Kind::Link | Kind::Other => {
                return Err(refused(&entry.path, io::Error::other("it is neither a file nor a directory")));
            }
        }
    }
    let (next, left) = (AtomicUsize::new(0), AtomicU64::new(found.most_bytes));
    let work = || -> Result<(), ImageError> {
        while let Some((path, target)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            copy_file(found, path, target, &left)?;
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("copying does not panic"))
    })
}

/// Copies what a file has when it is opened; `left` is how many bytes all may still have.
fn copy_file(found: &Found, path: &Path, target: &Path, left: &AtomicU64) -> Result<(), ImageError> {
    let name = path.to_str().ok_or_else(|| ImageError::FileName { path: path.to_owned() })?;
    let (file, entry) = found.from.read(name).map_err(|error| refused(path, error.into()))?;
    let reserve =
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(entry.bytes));
    if reserve.is_err() {
        let error = io::Error::other(format!("its files have more than {} bytes", found.most_bytes));
        return Err(refused(path, error));
    }
    let mode = if entry.executable { 0o555 } else { 0o444 };
    let new = OpenOptions::new().write(true).create_new(true).mode(mode).open(target);
    let mut new = new.map_err(at("create", target))?;
    // What grows meanwhile is cut off.
    io::copy(&mut file.take(entry.bytes), &mut new).map_err(at("write", target))?;
    new.set_permissions(Permissions::from_mode(mode)).map_err(at("set mode of", target))
}
