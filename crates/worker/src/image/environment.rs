//! Environments: packages laid over an image, installed from the wheels that a lock names by hash, and kept by content.
//!
//! ```text
//! <data directory>/
//!   environments/<digest>/    manifest.json, files.txt, packages.lock, rootfs/: a layer of the image's overlay
//!   environments/refs/<name>-<version of Python>
//!   tools/uv-<digest>         if the machine has no uv of its own
//! ```
//!
//! A wheel is unpacked, never run: nothing is built, no package's code is executed, and its sources are compiled as those of an image
//! are, by the interpreter that the image was made from. What comes out keeps the promises of an image (`check`): inodes of its own,
//! no privilege, nothing writable, no link that leaves it, no library that is not there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::listing::{Listing, digest};
use super::loader::Loader;
use super::vault::{self, Vault, check_name, hex_of, make_directory, read, remove_tree, write_file};
use super::{HostProgram, Image, ImageError, Phase, Progress, Runtime, at, check, uv, write};

mod arrived;

/// The version of the layout and content of environments; one of another version counts as not built.
const SCHEMA: u32 = 1;

/// Where an interpreter of this prefix looks for packages first.
const ASK: &str = "import site, sys; print(site.getsitepackages([sys.argv[1]])[0])";

/// What an environment is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe<'a> {
    /// Whose it is: a template's name.
    pub name: &'a str,
    /// Requirements with versions and hashes, as uv writes them.
    pub lock: &'a str,
    /// What is removed from the packages' directory, relative to it.
    pub leave_out: &'a [&'a str],
}

impl Recipe<'_> {
    /// The same for the same content, whatever its name.
    fn digest(&self) -> String {
        digest(&format!("{SCHEMA}\n{}\n{}", self.leave_out.join("\n"), self.lock))
    }

    /// Each version of Python has an environment of its own.
    fn reference(&self, python: &Runtime) -> String {
        format!("{}-{}", self.name, python.version)
    }
}

/// A complete environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `sha256:` and 64 hexadecimal digits: of the list of its files, as an image's.
    pub digest: String,
    /// The layer, read-only.
    pub rootfs: PathBuf,
    /// What is known about it.
    pub manifest: EnvironmentManifest,
}

/// What is known about an environment, without its list of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentManifest {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The template it was built for.
    pub template: String,
    /// What it was made from.
    recipe: String,
    /// The interpreter it is for, absolute inside an image.
    pub python: Runtime,
    /// Its packages with their versions, such as `numpy 2.4.6`.
    pub packages: Vec<String>,
    /// When it was built, RFC 3339, UTC.
    pub created_at: String,
    /// How many regular files it has.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
}

impl Environment {
    /// Keeps it from being removed for as long as the returned file is open; `None` if it is gone already.
    pub fn hold(&self) -> Result<Option<File>, ImageError> {
        vault::hold(self.rootfs.parent().unwrap_or(&self.rootfs))
    }
}

/// The environments of one data directory.
#[derive(Debug, Clone)]
pub struct EnvironmentStore {
    environments: Vault,
    tools: PathBuf,
}

impl EnvironmentStore {
    /// Opens the store below `data_dir`. Creates nothing until something is built.
    pub fn open(data_dir: &Path) -> Self {
        Self { environments: Vault::new(data_dir.join("environments")), tools: data_dir.join("tools") }
    }

    /// Returns the environment of a recipe for this interpreter, if it is built and of the recipe as it is now.
    pub fn find(&self, recipe: &Recipe<'_>, python: &Runtime) -> Result<Option<Environment>, ImageError> {
        let Some(hex) = self.environments.named(&recipe.reference(python))? else { return Ok(None) };
        // One whose manifest cannot be read is of another version.
        let environment = self.load(&hex).ok().flatten();
        Ok(environment.filter(|environment| {
            environment.manifest.recipe == recipe.digest() && environment.manifest.python == *python
        }))
    }

    /// Builds the environment of a recipe for an image, although there may be one. `search` is where uv is looked for.
    pub fn build(
        &self,
        recipe: &Recipe<'_>,
        image: &Image,
        search: &OsStr,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Environment, ImageError> {
        let mut tell = |phase| progress(Progress { phase, done_bytes: 0, total_bytes: 0 });
        tell(Phase::Wait);
        let (python, program) = interpreter(image)?;
        let name = recipe.reference(python);
        check_name(&name)?;
        let lock = self.environments.lock()?;
        tell(Phase::Inspect);
        make_directory(&self.tools)?;
        let uv = uv::find(search, &self.tools, program)?;
        let work = Work { recipe, image, python, program, uv: &uv };
        let is_whole = |hex: &str| self.load(hex).ok().flatten().is_some();
        let hex =
            self.environments.build(&lock, &name, is_whole, |building| work.fill(building, &mut tell))?;
        self.load(&hex)?.ok_or(ImageError::NotFound { name: hex })
    }

    /// Every environment that a name stands for, by template and Python.
    pub fn list(&self) -> Result<Vec<Environment>, ImageError> {
        let hexes = self.environments.names()?.into_values();
        Ok(hexes.filter_map(|hex| self.load(&hex).ok().flatten()).collect())
    }

    /// Removes the environments of a template; returns their digests. One that a sandbox uses stays, and that is an error.
    pub fn remove(&self, template: &str) -> Result<Vec<String>, ImageError> {
        let lock = self.environments.lock()?;
        let names = self.environments.names()?;
        // A version of Python has no `-`, so the rest is the template's name.
        let own = |name: &str| name.rsplit_once('-').is_some_and(|(of, _)| of == template);
        let mut gone = Vec::new();
        for (name, hex) in names.iter().filter(|(name, _)| own(name)) {
            let shared = names.iter().any(|(other, at)| at == hex && !own(other));
            if !shared && self.environments.place(hex).exists() {
                if !self.environments.discard(hex)? {
                    return Err(ImageError::InUse { digest: format!("sha256:{hex}") });
                }
                gone.push(format!("sha256:{hex}"));
            }
            self.environments.forget(name)?;
        }
        drop(lock);
        Ok(gone)
    }

    fn load(&self, hex: &str) -> Result<Option<Environment>, ImageError> {
        let directory = self.environments.place(hex);
        let path = directory.join("manifest.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let manifest: EnvironmentManifest =
            serde_json::from_slice(&bytes).map_err(|source| ImageError::Manifest { path, source })?;
        Ok(Some(Environment { digest: format!("sha256:{hex}"), rootfs: directory.join("rootfs"), manifest }))
    }
}

/// The image's Python, and the program of the host that it is a copy of: only as long as that is what it was then.
pub(super) fn interpreter(image: &Image) -> Result<(&Runtime, &Path), ImageError> {
    let wrong = |problem: &str| ImageError::Python { problem: problem.to_owned() };
    let python = image.manifest.runtimes.python.as_ref();
    let python = python.ok_or_else(|| {
        wrong("there is none; install python3 on this machine and run `fireclay image build`")
    })?;
    // The first of the host's programs is Python's, where there is one.
    let then = image.manifest.host.programs.first().ok_or_else(|| wrong("the image does not say of what"))?;
    if HostProgram::record(&then.path).ok().as_ref() != Some(then) {
        let changed = format!(
            "{} has changed since it was copied; run `fireclay image build` first",
            then.path.display()
        );
        return Err(ImageError::Python { problem: changed });
    }
    Ok((python, &then.path))
}

/// One build.
struct Work<'a> {
    recipe: &'a Recipe<'a>,
    image: &'a Image,
    python: &'a Runtime,
    /// The host's own copy of it.
    program: &'a Path,
    uv: &'a Path,
}

impl Work<'_> {
    /// Fills the directory of an environment in the making; returns its digest.
    fn fill(&self, building: &Path, tell: &mut dyn FnMut(Phase)) -> Result<String, ImageError> {
        let (rootfs, lock) = (building.join("rootfs"), building.join("packages.lock"));
        let packages = rootfs.join(self.place()?.strip_prefix("/").unwrap_or(Path::new("packages")));
        make_directory(&packages)?;
        write_file(&lock, self.recipe.lock.as_bytes())?;
        tell(Phase::Fetch);
        self.install(&lock, &packages)?;
        // The installer's own, then what the recipe does not want.
        for name in [".lock"].iter().chain(self.recipe.leave_out) {
            let path = packages.join(name);
            if path.exists() {
                remove_tree(&path)?;
            }
        }
        tell(Phase::Compile);
        let sources = sources(&rootfs)?;
        write::compile(self.program, &rootfs, &sources.iter().map(String::as_str).collect::<Vec<_>>())?;
        write::protect(&rootfs)?;
        tell(Phase::Check);
        let listing = Listing::scan(&rootfs)?;
        let loader = Loader::new(&self.image.rootfs, &[]).below(&rootfs);
        let problems = check::problems(&listing, &rootfs, &loader, &BTreeSet::new())?;
        if !problems.is_empty() {
            return Err(ImageError::Check { problems });
        }
        let text = listing.text();
        let (files, bytes) = listing.totals();
        let manifest = EnvironmentManifest {
            digest: digest(&text),
            template: self.recipe.name.to_owned(),
            recipe: self.recipe.digest(),
            python: self.python.clone(),
            packages: installed(&packages)?,
            created_at: jiff::Timestamp::now().to_string(),
            files,
            bytes,
        };
        write_file(&building.join("files.txt"), text.as_bytes())?;
        let json = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        write_file(&building.join("manifest.json"), &json)?;
        tell(Phase::Store);
        Ok(hex_of(&manifest.digest).to_owned())
    }

    /// Where the image's Python looks for packages.
    fn place(&self) -> Result<PathBuf, ImageError> {
        site_of(self.program, self.python)
    }

    /// Unpacks the wheels of the lock, whose hashes are checked, as new files. Settings of a project around us have no say.
    fn install(&self, lock: &Path, packages: &Path) -> Result<(), ImageError> {
        let options = "--no-config --no-cache --no-python-downloads --quiet --no-deps --require-hashes \
                       --only-binary :all: --link-mode copy --no-compile-bytecode";
        let mut install = Command::new(self.uv);
        install.args(["pip", "install"]).args(options.split_whitespace());
        // Whom the machine trusts may be of a company's own making, which uv does not know. The second is the older name.
        install.env("UV_SYSTEM_CERTS", "true").env("UV_NATIVE_TLS", "true");
        install.arg("--python").arg(self.program).arg("--target").arg(packages);
        uv::run(install.arg("--requirements").arg(lock)).map(drop)
    }
}

/// Where a Python of an image looks for packages; `program` is the host's own copy of it.
pub(super) fn site_of(program: &Path, python: &Runtime) -> Result<PathBuf, ImageError> {
    let prefix = python.path.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    // Only its own code is run, and told of a prefix that it does not have here.
    let told = uv::run(Command::new(program).args(["-I", "-S", "-c", ASK]).arg(prefix))?;
    let place = PathBuf::from(told.trim());
    if place.is_absolute() && place.starts_with(prefix) {
        return Ok(place);
    }
    Err(ImageError::Python { problem: format!("it looks for packages in {}", place.display()) })
}

/// Every Python source below `root`, relative to it, in an order that does not depend on the file system.
fn sources(root: &Path) -> Result<Vec<String>, ImageError> {
    let mut sources = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).map_err(at("list", &directory))? {
            let entry = entry.map_err(at("list", &directory))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(at("inspect", &entry.path()))?);
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "py") {
                let below = path.strip_prefix(root).unwrap_or(&path).to_str();
                sources.push(below.ok_or(ImageError::FileName { path: path.clone() })?.to_owned());
            }
        }
    }
    sources.sort();
    Ok(sources)
}

/// The packages in a directory, as their metadata calls them.
fn installed(packages: &Path) -> Result<Vec<String>, ImageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(packages).map_err(at("list", packages))? {
        let name = entry.map_err(at("list", packages))?.file_name().to_string_lossy().into_owned();
        let known = name.strip_suffix(".dist-info").and_then(|name| name.split_once('-'));
        names.extend(known.map(|(package, version)| format!("{package} {version}")));
    }
    names.sort();
    Ok(names)
}
