//! Keeps images on disk: builds, names, finds, verifies and removes them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::content::{self, Content};
use super::listing::{Listing, digest};
use super::loader::Loader;
use super::vault::{Lock, Vault, check_name, hex_of, make_directory, read, write_file};
use super::{
    BuildOptions, Change, Difference, Host, HostProgram, Image, ImageError, Manifest, Phase, Progress,
    Runtime, Runtimes, SCHEMA, at, check, guest_digest, locale, write,
};

/// The images of one data directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    images: Vault,
}

impl ImageStore {
    /// Opens the store below `data_dir`. Creates nothing until something is built.
    pub fn open(data_dir: &Path) -> ImageStore {
        ImageStore { images: Vault::new(data_dir.join("images")) }
    }

    /// Returns the image a name or the beginning of a digest (six digits or more) stands for. Two small reads for a name.
    pub fn find(&self, name_or_digest: &str) -> Result<Option<Image>, ImageError> {
        let hex = match self.images.named(name_or_digest)? {
            Some(hex) => Some(hex),
            None => self.images.by_digest(name_or_digest)?,
        };
        hex.map_or(Ok(None), |hex| self.load(&hex))
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
        let lock = self.images.lock()?;
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
        let lock = self.images.lock()?;
        self.build_locked(&lock, options, progress)
    }

    /// Returns every image with the names that stand for it, oldest first. Damaged ones are left out.
    pub fn list(&self) -> Result<Vec<(Image, Vec<String>)>, ImageError> {
        let names = self.images.names()?;
        let of =
            |hex: &str| names.iter().filter(|(_, at)| *at == hex).map(|(name, _)| name.clone()).collect();
        let hexes = self.images.digests()?;
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
        let _lock = self.images.lock()?;
        let names = self.images.names()?;
        let missing = || ImageError::NotFound { name: name_or_digest.to_owned() };
        let (hex, remove): (String, Vec<&String>) = match names.get_key_value(name_or_digest) {
            Some((name, hex)) => (hex.clone(), vec![name]),
            None => {
                let hex = self.images.by_digest(name_or_digest)?.ok_or_else(missing)?;
                let all = names.iter().filter(|(_, at)| **at == hex).map(|(name, _)| name).collect();
                (hex, all)
            }
        };
        let others = names.iter().any(|(name, at)| *at == hex && !remove.contains(&name));
        let goes = !others && self.images.place(&hex).exists();
        // The files first: if somebody holds them, the names stay too.
        if goes && !self.images.discard(&hex)? {
            return Err(ImageError::InUse { digest: format!("sha256:{hex}") });
        }
        remove.iter().try_for_each(|name| self.images.forget(name))?;
        Ok(goes.then(|| format!("sha256:{hex}")))
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
        lock: &Lock,
        options: &BuildOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        let is_whole = |hex: &str| self.load(hex).ok().flatten().is_some();
        let fill = |building: &Path| self.fill(building, options, progress);
        let hex = self.images.build(lock, &options.name, is_whole, fill)?;
        self.load(&hex)?.ok_or(ImageError::NotFound { name: hex })
    }

    /// Fills the directory of an image in the making; returns its digest.
    fn fill(
        &self,
        building: &Path,
        options: &BuildOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<String, ImageError> {
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
        let loader = Loader::new(&rootfs, &inside(&content));
        let problems = check::problems(&listing, &rootfs, &loader, &unresolved(&content))?;
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
        Ok(hex_of(&manifest.digest).to_owned())
    }

    fn load(&self, hex: &str) -> Result<Option<Image>, ImageError> {
        let directory = self.images.place(hex);
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
