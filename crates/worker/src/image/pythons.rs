//! Other Pythons than the image's: those of the machine, each in an image of its own that is made when it is first asked for, and kept; and the images
//! that an operator made under names.
//!
//! Looked for where an operator says, on the search path, where pyenv and uv put theirs, and in the data directory if uv may bring some. Which one
//! a program gets is said by `packages::interpreter`; here is what there is.

use super::environment::interpreter;
use super::vault::make_directory;
use super::{BuildOptions, Image, ImageError, ImageStore, uv};
use model::{Fault, FaultCode, Rejection};
use packages::interpreter::{Condition, choose, wish};
use packages::version::{Specifiers, Version};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The oldest that has runners: 3.9.
const MINOR_MIN: u32 = 9;
/// What was found is looked for again when something is asked for that was not there, but no sooner than this after the last time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Most programs that are asked what they are: a directory may be full of them.
const ASKED_MAX: usize = 64;
/// Most of uv's words that are passed on.
const SAID_CHARS_MAX: usize = 600;

/// What an interpreter is asked: only CPython as it is usually built is wanted, and the program behind shims and environments.
const ASK: &str = "import json, os, sys, sysconfig\n\
print(json.dumps({'program': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable), \
'version': sys.version.split()[0], 'plain': sys.implementation.name == 'cpython' and not sysconfig.get_config_var('Py_GIL_DISABLED') \
and not hasattr(sys, 'gettotalrefcount') and sys.version_info.releaselevel == 'final'}))";

/// What an operator says of other Pythons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonSettings {
    /// Programs, of which the first of a version is taken.
    pub paths: Vec<PathBuf>,
    /// Whether others are looked for.
    pub detect: bool,
    /// Whether uv brings one that is asked for and not there.
    pub download: bool,
}

/// An interpreter of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPython {
    /// Its version, such as `3.13.1`.
    pub version: String,
    /// The program.
    pub program: PathBuf,
}

/// The Pythons of one machine. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Pythons {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    own: Image,
    store: ImageStore,
    /// Where programs are looked for.
    search: OsString,
    /// Where uv is brought to, and where it brings Pythons to.
    tools: PathBuf,
    managed: PathBuf,
    settings: PythonSettings,
    found: Mutex<Option<(Instant, Vec<HostPython>)>>,
    /// By version, and those that are named by [`key_of_named`]; nobody removes them while this lives.
    images: Mutex<BTreeMap<String, (Image, File)>>,
    /// One build at a time.
    building: Mutex<()>,
}

/// What an interpreter answers.
#[derive(Deserialize)]
struct Answer {
    program: PathBuf,
    version: String,
    plain: bool,
}

impl Pythons {
    /// Those beside the image's own.
    pub fn new(own: Image, data_dir: &Path, search: OsString, settings: PythonSettings) -> Self {
        let inner = Inner {
            own,
            store: ImageStore::open(data_dir),
            search,
            tools: data_dir.join("tools"),
            managed: data_dir.join("pythons"),
            settings,
            found: Mutex::default(),
            images: Mutex::default(),
            building: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The image with its own.
    pub fn own(&self) -> &Image {
        &self.inner.own
    }

    /// The version of the image's own.
    pub fn own_version(&self) -> Option<&str> {
        self.inner.own.manifest.runtimes.python.as_ref().map(|python| python.version.as_str())
    }

    /// The version of the image's Node.
    pub fn node_version(&self) -> Option<&str> {
        self.inner.own.manifest.runtimes.node.as_ref().map(|node| node.version.as_str())
    }

    /// The version that fulfils these conditions, whose image is there when this returns; `None` is the image's own. Runs programs of the machine, and
    /// may take the seconds that making an image takes.
    ///
    /// Where an image is named it is `None` too, if the Python of that image does.
    pub fn have(&self, named: Option<&str>, conditions: &[Condition]) -> Result<Option<String>, NotHad> {
        if let Some(name) = named {
            return fits(&self.named(name)?, name, conditions).map(|()| None);
        }
        if let Ok(None) = choose(conditions, self.own_version(), &[]) {
            return Ok(None);
        }
        let chosen = match choose(conditions, self.own_version(), &self.versions(None)) {
            Err(_) => {
                // It may have been installed since.
                match choose(conditions, self.own_version(), &self.versions(Some(LOOK_AGAIN))) {
                    Err(rejection) if self.inner.settings.download => self.bring(conditions, rejection)?,
                    other => other?,
                }
            }
            Ok(chosen) => chosen,
        };
        if let Some(version) = &chosen {
            self.image(Some(version))?;
        }
        Ok(chosen)
    }

    /// The image with the Python of this very version, made if it is not there; without one the image itself.
    pub fn image(&self, version: Option<&str>) -> Result<Image, NotHad> {
        let Some(version) = version else { return Ok(self.inner.own.clone()) };
        if let Some(image) = self.made(version) {
            return Ok(image);
        }
        let _one = self.inner.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = self.made(version) {
            return Ok(image);
        }
        let python = self.listed().into_iter().find(|python| python.version == version);
        let python = python.ok_or_else(|| {
            let message = format!("Python {version} is no more on this machine");
            NotHad::Rejected(Rejection::new("python", message, "ask for another version"))
        })?;
        let options = BuildOptions {
            name: format!("python-{version}"),
            python: Some(python.program),
            ..BuildOptions::new(&self.inner.search)
        };
        let store = &self.inner.store;
        loop {
            let there = store.find(&options.name).ok().flatten();
            let current =
                there.filter(|image| image.is_current() && !image.is_stale() && is_of(image, version));
            let image = match current {
                Some(image) => image,
                None => store.build(&options, &mut |_| {})?,
            };
            if !is_of(&image, version) {
                let problem = format!("{} is another Python than it said", image.rootfs.display());
                return Err(ImageError::Python { problem }.into());
            }
            // It may be replaced between being found and being held: then the new one is found.
            if let Some(hold) = image.hold()? {
                self.images().insert(version.to_owned(), (image.clone(), hold));
                return Ok(image);
            }
        }
    }

    /// The image of this name if one is named, which has its own Python; else as [`Pythons::image`].
    pub fn chosen(&self, named: Option<&str>, version: Option<&str>) -> Result<Image, NotHad> {
        let Some(name) = named else { return self.image(version) };
        let image = self.named(name)?;
        let asked: Vec<Condition> =
            version.map(wish).transpose()?.map(|wanted| ("python", wanted)).into_iter().collect();
        fits(&image, name, &asked).map(|()| image)
    }

    /// The image that was made under this name, as it is when it is first asked for; refused with the names that there are.
    fn named(&self, name: &str) -> Result<Image, NotHad> {
        let key = key_of_named(name);
        loop {
            if let Some(image) = self.made(&key) {
                return Ok(image);
            }
            let Some(image) = self.inner.store.find(name)? else {
                let all = self.inner.store.list()?;
                let mut names: Vec<String> = all.into_iter().flat_map(|(_, names)| names).collect();
                names.sort();
                let hint = format!(
                    "use one of: {}; `fireclay image build --name {name}` makes one",
                    names.join(", ")
                );
                return Err(Rejection::new("image", format!("there is no image {name:?}"), hint).into());
            };
            if !image.is_current() {
                let message = format!("{name:?} was made by another version of fireclay");
                let hint = format!("`fireclay image build --name {name}` makes it anew");
                return Err(Rejection::new("image", message, hint).into());
            }
            // It may be replaced between being found and being held: then the new one is found.
            if let Some(hold) = image.hold()? {
                self.images().entry(key.clone()).or_insert((image, hold));
            }
        }
    }

    /// The image of a version, if it was made before and nothing has to be done for it.
    pub fn made(&self, version: &str) -> Option<Image> {
        self.images().get(version).map(|(image, _)| image.clone())
    }

    /// What there is beside the image's own, the newest first, of each version one. Runs each program that was not asked before.
    pub fn listed(&self) -> Vec<HostPython> {
        self.found(None)
    }

    fn versions(&self, again_after: Option<Duration>) -> Vec<String> {
        self.found(again_after).into_iter().map(|python| python.version).collect()
    }

    fn found(&self, again_after: Option<Duration>) -> Vec<HostPython> {
        let mut found = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, pythons)) = &*found
            && again_after.is_none_or(|after| at.elapsed() < after)
        {
            return pythons.clone();
        }
        let pythons = self.look();
        *found = Some((Instant::now(), pythons.clone()));
        pythons
    }

    /// Asks each program that can be one what it is.
    fn look(&self) -> Vec<HostPython> {
        let mut found: BTreeMap<(u32, u32), HostPython> = BTreeMap::new();
        for program in candidates(&self.inner).into_iter().take(ASKED_MAX) {
            let Some(answer) = ask(&program) else { continue };
            let parts: Vec<u32> = answer.version.split('.').filter_map(|part| part.parse().ok()).collect();
            let [3, minor, patch] = parts[..] else { continue };
            if answer.plain && minor >= MINOR_MIN {
                found
                    .entry((minor, patch))
                    .or_insert(HostPython { version: answer.version, program: answer.program });
            }
        }
        found
            .into_values()
            .rev()
            .filter(|python| Some(python.version.as_str()) != self.own_version())
            .collect()
    }

    /// Has uv bring one, or says in its words why it did not; `otherwise` says what there is.
    fn bring(&self, conditions: &[Condition], otherwise: Rejection) -> Result<Option<String>, NotHad> {
        let inner = &self.inner;
        let (_, program) = interpreter(&inner.own)?;
        make_directory(&inner.tools)?;
        make_directory(&inner.managed)?;
        let tool = uv::find(&inner.search, &inner.tools, program)?;
        // Printed from what was parsed; uv reads it as conditions.
        let wanted: Vec<String> = conditions.iter().map(|(_, wanted)| wanted.to_string()).collect();
        let mut install = Command::new(tool);
        install.args(["python", "install", "--no-config", "--no-progress", "--color", "never", "--no-bin"]);
        install.arg("--install-dir").arg(&inner.managed).arg(wanted.join(","));
        install.env("UV_SYSTEM_CERTS", "true").env("UV_NATIVE_TLS", "true").env("UV_HTTP_TIMEOUT", "30");
        match uv::run(&mut install) {
            Ok(_) => Ok(choose(conditions, self.own_version(), &self.versions(Some(Duration::ZERO)))?),
            Err(ImageError::Tool { said, .. }) => {
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                let said: String = said.chars().take(SAID_CHARS_MAX).collect();
                let message = format!("{}; uv could not bring it: {said}", otherwise.message);
                Err(Rejection { message, ..otherwise }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn images(&self) -> MutexGuard<'_, BTreeMap<String, (Image, File)>> {
        self.inner.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a Python cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NotHad {
    /// There is none that will do.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its image cannot be made.
    #[error(transparent)]
    Failed(#[from] ImageError),
}

impl From<NotHad> for crate::template::NotReady {
    fn from(not: NotHad) -> Self {
        match not {
            NotHad::Rejected(rejection) => Self::Rejected(rejection),
            NotHad::Failed(error) => Self::Fault(Fault::new(
                FaultCode::ResourcesExhausted,
                format!("make a Python's image: {error}"),
            )),
        }
    }
}

/// Says whether the Python of a named image fulfils what is asked for.
fn fits(image: &Image, name: &str, conditions: &[Condition]) -> Result<(), NotHad> {
    let has = image.manifest.runtimes.python.as_ref().map(|own| own.version.as_str());
    let version: Option<Version> = has.and_then(|has| has.parse().ok());
    let does = |wanted: &Specifiers| version.as_ref().is_some_and(|version| wanted.allow(version));
    match conditions.iter().find(|(_, wanted)| !does(wanted)) {
        None => Ok(()),
        Some((place, wanted)) => {
            let has = has.map_or_else(|| "no Python".to_owned(), |has| format!("Python {has}"));
            let message = format!("{wanted} is wanted, and the image {name:?} of the template has {has}");
            Err(Rejection::new(*place, message, "leave it out, or take another template").into())
        }
    }
}

/// What a named image is kept by; no version begins so.
fn key_of_named(name: &str) -> String {
    format!("image {name}")
}

fn is_of(image: &Image, version: &str) -> bool {
    image.manifest.runtimes.python.as_ref().is_some_and(|python| python.version == version)
}

/// Programs that may be Pythons: an operator's first, then by where they lie.
fn candidates(inner: &Inner) -> Vec<PathBuf> {
    let mut all = inner.settings.paths.clone();
    if inner.settings.detect {
        let mut directories: Vec<PathBuf> = Vec::new();
        for directory in std::env::split_paths(&inner.search).filter(|path| path.is_absolute()) {
            // A shim of pyenv answers for the version that is set; those that are installed lie beside.
            match directory.parent().filter(|_| directory.ends_with("shims")) {
                Some(root) => directories.extend(below(&root.join("versions"))),
                None => directories.push(directory),
            }
        }
        directories.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
        directories.extend(uv_directory(inner).iter().flat_map(|directory| below(directory)));
        for directory in directories {
            all.extend(numbered(&directory));
        }
    }
    all.extend(below(&inner.managed).iter().flat_map(|directory| numbered(directory)));
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|program| fs::canonicalize(program).is_ok_and(|real| seen.insert(real)));
    all
}

/// `bin` of each directory below, in one order.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    all.sort();
    all
}

/// The programs of a directory that are called as a Python is: `python3.13`.
fn numbered(directory: &Path) -> Vec<PathBuf> {
    let is_python = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("python3.").is_some_and(|minor| minor.parse::<u8>().is_ok())
    };
    let mut all: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(is_python)
        .collect();
    all.sort();
    all
}

/// Where the uv of the search path keeps those that it manages.
fn uv_directory(inner: &Inner) -> Option<PathBuf> {
    let mut programs = std::env::split_paths(&inner.search).map(|path| path.join("uv"));
    let uv = programs.find(|path| path.is_absolute() && path.is_file())?;
    let told = uv::run(Command::new(uv).args(["python", "dir", "--no-config", "--color", "never"])).ok()?;
    Some(PathBuf::from(told.trim()))
}

fn ask(program: &Path) -> Option<Answer> {
    let output = Command::new(program)
        .args(["-I", "-S", "-c", ASK])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()?;
    serde_json::from_str(text.trim()).ok()
}
