//! Toolchains: what declared languages need of the host, copied as an image is, to be laid over one, and kept by content.
//!
//! ```text
//! <data directory>/toolchains/<digest>/     manifest.json, files.txt, rootfs/: a layer of the image's overlay
//! <data directory>/toolchains/refs/<template>-<sixteen digits of the image>
//! ```
//!
//! As in an image no file shares an inode with the host's, none is writable, and none has a privilege. What the image has already is left
//! out. One whose programs the host has changed since is built anew.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use model::Rejection;
use serde::{Deserialize, Serialize};

use super::listing::{Listing, digest};
use super::loader::{self, Loader};
use super::tree::{Node, Source, Tree};
use super::vault::{self, Vault, hex_of, make_directory, read, write_file};
use super::{HostProgram, Image, ImageError, at, content, uv, write};
use crate::template::declared::{Declared, program};
use crate::template::{NotReady, Template};

/// The version of what is copied and how.
const SCHEMA: u32 = 2;
/// Below this goes a directory of a user's.
const HOMES: &str = "/opt/toolchain";

/// What a declared language needs, as a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// `sha256:` and 64 hexadecimal digits: of its manifest and the list of its files.
    pub digest: String,
    /// The layer, read-only.
    pub rootfs: PathBuf,
    /// What is known about it.
    pub manifest: ToolchainManifest,
}

/// What is known about a toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolchainManifest {
    /// Of what it was made: the declaration and the image.
    recipe: String,
    /// The host's programs as they were.
    programs: Vec<HostProgram>,
    /// What it calls its version.
    pub version: String,
    /// How many regular files it has.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
}

/// The toolchains of one data directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ToolchainStore {
    vault: Vault,
    /// Where programs are looked for.
    search: OsString,
}

impl ToolchainStore {
    /// Opens the store below `data_dir`; `search` is where programs are looked for. Creates nothing until something is built.
    pub fn open(data_dir: &Path, search: &OsStr) -> Self {
        Self { vault: Vault::new(data_dir.join("toolchains")), search: search.to_owned() }
    }

    /// Says whether the machine has what a template needs.
    pub fn check(&self, template: &Template, declared: &Declared) -> Result<(), Rejection> {
        let missing = declared.missing(&self.search);
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("this machine has no {}, which {:?} needs", missing.join(", "), template.name);
        let hint =
            format!("have whoever runs it install them; on Debian: apt-get install {}", declared.debian);
        Err(Rejection::new("language", message, hint))
    }

    /// Returns the toolchain of a template, kept from being removed as long as the file is open. Copies it if it is not there, which takes
    /// a second or a few.
    pub fn have(
        &self,
        template: &Template,
        declared: &Declared,
        image: &Image,
    ) -> Result<(Toolchain, File), NotReady> {
        self.check(template, declared)?;
        // An operator's template has that of its base.
        let name = format!("{}-{}", template.base(), &hex_of(&image.digest)[..16]);
        let recipe = recipe(template, declared, image);
        // It may be replaced between being found and being held: then the new one is found.
        loop {
            let toolchain = match self.find(&name, &recipe).map_err(failed)? {
                Some(toolchain) => toolchain,
                None => self.build(template, declared, image, (&name, &recipe)).map_err(failed)?,
            };
            let directory = toolchain.rootfs.parent().unwrap_or(&toolchain.rootfs);
            if let Some(hold) = vault::hold(directory).map_err(failed)? {
                return Ok((toolchain, hold));
            }
        }
    }

    /// Removes those that nobody holds; one that is asked for again is copied again. Answers how many, and of how many bytes.
    pub fn prune(&self) -> Result<(usize, u64), ImageError> {
        let _lock = self.vault.lock()?;
        let names = self.vault.names()?;
        let (mut count, mut bytes) = (0, 0);
        for hex in self.vault.digests()? {
            let size = self.load(&hex)?.map_or(0, |toolchain| toolchain.manifest.bytes);
            if self.vault.discard(&hex)? {
                names
                    .iter()
                    .filter(|(_, at)| **at == hex)
                    .try_for_each(|(name, _)| self.vault.forget(name))?;
                (count, bytes) = (count + 1, bytes + size);
            }
        }
        Ok((count, bytes))
    }

    fn find(&self, name: &str, recipe: &str) -> Result<Option<Toolchain>, ImageError> {
        let Some(hex) = self.vault.named(name)? else { return Ok(None) };
        let found = self.load(&hex)?.filter(|found| {
            let same = |then: &HostProgram| HostProgram::record(&then.path).ok().as_ref() == Some(then);
            found.manifest.recipe == recipe && found.manifest.programs.iter().all(same)
        });
        Ok(found)
    }

    fn load(&self, hex: &str) -> Result<Option<Toolchain>, ImageError> {
        let directory = self.vault.place(hex);
        let path = directory.join("manifest.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        // One whose manifest cannot be read is of another version.
        let manifest = serde_json::from_slice(&bytes).ok();
        Ok(manifest.map(|manifest| Toolchain {
            digest: format!("sha256:{hex}"),
            rootfs: directory.join("rootfs"),
            manifest,
        }))
    }

    fn build(
        &self,
        template: &Template,
        declared: &Declared,
        image: &Image,
        (name, recipe): (&str, &str),
    ) -> Result<Toolchain, ImageError> {
        let lock = self.vault.lock()?;
        // Another may have built it while this one waited.
        if let Some(found) = self.find(name, recipe)? {
            return Ok(found);
        }
        let is_whole = |hex: &str| self.load(hex).ok().flatten().is_some();
        let hex = self.vault.build(&lock, name, is_whole, |building| {
            let (tree, programs) = self.plan(template, declared, image)?;
            let rootfs = building.join("rootfs");
            make_directory(&rootfs)?;
            write::write(&tree, &rootfs, None, &mut |_| {})?;
            let listing = Listing::scan(&rootfs)?;
            let text = listing.text();
            let (files, bytes) = listing.totals();
            let version = self.ask(&declared.version)?;
            let manifest = ToolchainManifest { recipe: recipe.to_owned(), programs, version, files, bytes };
            write_file(&building.join("files.txt"), text.as_bytes())?;
            let json = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
            write_file(&building.join("manifest.json"), json.as_bytes())?;
            // Of what it was made, too: else one of the same files that was made of what is no more would keep its place, and be built
            // again for each program.
            Ok(hex_of(&digest(&format!("{json}\n{text}"))).to_owned())
        })?;
        self.load(&hex)?.ok_or(ImageError::NotFound { name: hex })
    }

    /// Decides what goes into it.
    fn plan(
        &self,
        template: &Template,
        declared: &Declared,
        image: &Image,
    ) -> Result<(Tree, Vec<HostProgram>), ImageError> {
        let mut tree = Tree::default();
        let home = declared.home.as_ref().map(|command| self.ask(command)).transpose()?;
        // That of a distribution's own is the system's.
        let home = home.map(PathBuf::from).filter(|home| home.is_absolute() && home != Path::new("/usr"));
        if let Some(home) = &home {
            let home = fs::canonicalize(home).map_err(at("find", home))?;
            if !["/usr", "/opt"].iter().any(|system| home.starts_with(system)) {
                tree.relocate(&home, &format!("{HOMES}/{}", template.base()));
            }
            let leave = |below: &Path| template.leave_out.iter().any(|left| below.starts_with(&left.path));
            tree.copy_all(&home, &|below| !leave(below))?;
        }
        let mut programs = Vec::new();
        for row in &declared.programs {
            let Some(found) = program(&self.search, &row.name) else { continue };
            // What stands on the path may be a version manager's, and the program itself at home.
            let own = home.as_ref().map(|home| home.join("bin").join(&row.name)).filter(|own| own.is_file());
            let real = fs::canonicalize(own.as_ref().unwrap_or(&found)).map_err(at("find", &found))?;
            programs.push(HostProgram::record(&real)?);
            let place = tree.copy(&real).ok_or(ImageError::Interpreter { path: found })?;
            tree.link_to(&format!("usr/bin/{}", row.name), &place);
        }
        for row in &declared.paths {
            for path in matching(Path::new(&row.name)) {
                if path.is_dir() { tree.copy_all(&path, &|_| true)? } else { drop(tree.copy(&path)) }
            }
        }
        tree.link_outward();
        let extra: Vec<PathBuf> = home.iter().map(|home| home.join("lib")).collect();
        libraries(&mut tree, &extra)?;
        // The image has its own.
        let has = |place: &String| image.rootfs.join(place).symlink_metadata().is_ok();
        tree.nodes.retain(|place, node| matches!(node, Node::Directory) || !has(place));
        Ok((tree, programs))
    }

    /// What the machine answers to a command, in one line.
    fn ask(&self, command: &str) -> Result<String, ImageError> {
        let mut shell = Command::new("/bin/sh");
        // Version managers look for settings of a project from where they are.
        shell.args(["-c", command]).env("PATH", &self.search).current_dir("/");
        let said = uv::run(&mut shell)?;
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }
}

/// What makes a toolchain another one, before anything is copied.
fn recipe(template: &Template, declared: &Declared, image: &Image) -> String {
    // How it is used is another matter.
    let Declared { version, home, programs, paths, .. } = declared;
    let said = serde_json::to_string(&(template.base(), version, home, programs, paths, &template.leave_out))
        .expect("a declaration is plain data");
    digest(&format!("toolchain {SCHEMA}\n{}\n{said}", image.digest))
}

/// The paths that one stands for whose last part may have a `*`.
fn matching(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else { return vec![path.to_owned()] };
    let entries = path.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    // The order decides which name of a hard-linked file is the file, and so the digest.
    found.sort();
    found
}

/// Adds every library that a file of the tree loads. What the host lacks is missing there, too.
fn libraries(tree: &mut Tree, extra: &[PathBuf]) -> Result<(), ImageError> {
    let host = Loader::new(Path::new("/"), extra);
    let mut seen = BTreeSet::new();
    let of_host = |node: &Node| match node {
        Node::File { source: Source::Host(path) | Source::Moved { path, .. }, .. } => Some(path.clone()),
        _ => None,
    };
    let mut queue: Vec<PathBuf> = tree.nodes.values().filter_map(of_host).collect();
    while let Some(path) = queue.pop() {
        if path.extension().is_some_and(content::is_text) || !seen.insert(path.clone()) {
            continue;
        }
        let Some(needs) = loader::needs(&path)? else { continue };
        for name in &needs.libraries {
            if let Some(library) = host.find(name, &needs, &path) {
                tree.copy(&library);
                queue.push(fs::canonicalize(&library).unwrap_or(library));
            }
        }
    }
    Ok(())
}

fn failed(error: ImageError) -> NotReady {
    let message = format!("copy what a language needs: {error}");
    NotReady::Fault(model::Fault::new(model::FaultCode::ResourcesExhausted, message))
}
