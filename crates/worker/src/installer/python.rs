//! Packages of Python, by uv. Wheels only: nothing of a package is executed while it is installed, and what Python compiles is compiled
//! in the sandbox.

use super::site::Site;
use super::{Asked, Installer, SCHEMA, failed};
use crate::image::Image;
use crate::image::packages::{Found, INSTALLER, PackageLayer};
use crate::run::{hex, root_of};
use crate::template::NotReady;
use model::{Fault, Rejection};
use packages::lock::{Environment, Interpreter, Lock, Locked};
use packages::requirement::Requirement;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Options of both steps: no settings of anybody, and nothing that would be built.
const OPTIONS: &str = "--no-config --no-progress --color never --no-python-downloads";
/// Without it source distributions are built, which runs their code: in the sandbox that installs, which has nobody's files.
const WHEELS_ONLY: &str = "--only-binary :all:";
/// Sources that no program imports but a package's own tests: of pandas with what it needs two of three files and three of five bytes
/// (docs/design/0020-packages.md). They stay, and work as any source without bytecode does.
const UNCOMPILED: &str = "/tests/";
/// Processes that compile.
const COMPILERS: usize = 2;
/// What to do when uv refuses.
const HINT: &str = "check names and versions; only wheels for this Python are installed";

impl Installer {
    /// Installs what is asked for with uv.
    pub(super) async fn build_python(
        &self,
        asked: &Asked<'_>,
        requirements: &[Requirement],
        key: &str,
    ) -> Result<PackageLayer, NotReady> {
        let image = self.image_over(asked.over)?;
        let tool = self.tool_for(&image).await?;
        let site = Site::open(self, with_installer(&image, &tool.0), &self.inner.settings.hosts).await?;
        let built = self.build_python_in(&site, asked, requirements, key, (&image, tool)).await;
        site.close();
        built
    }

    async fn build_python_in(
        &self,
        site: &Site,
        asked: &Asked<'_>,
        requirements: &[Requirement],
        key: &str,
        (image, (_, packages)): (&Image, (PathBuf, PathBuf)),
    ) -> Result<PackageLayer, NotReady> {
        let python = image.manifest.runtimes.python.as_ref();
        let python = python.ok_or_else(|| failed("the image has no Python"))?;
        let program = python.path.display();
        let present = self.present(asked.over)?;
        let files = site.files()?;
        let write = |name: &str, text: &[u8]| files.write(name, text, false).map_err(failed);
        let lines: String = requirements.iter().map(|wanted| format!("{wanted}\n")).collect();
        write("requirements.in", lines.as_bytes())?;
        let lines: String = present.iter().map(|(name, version)| format!("{name}=={version}\n")).collect();
        write("constraints.txt", lines.as_bytes())?;
        let OfIndex { index, built } = self.of_index();
        let newest = self.newest().map(|newest| format!("--exclude-newer {newest}")).unwrap_or_default();
        let resolve = format!(
            "{INSTALLER} pip compile --quiet {OPTIONS} {built} {index} {newest} --python {program} --generate-hashes \
             --no-header --no-annotate --constraint constraints.txt --output-file lock.txt requirements.in"
        );
        site.work(&resolve, HINT).await?;
        let text = site.read("lock.txt")?;
        let below = |entry: &Locked| {
            present.iter().any(|(name, version)| (name, version) == (&entry.requirement.name, &entry.version))
        };
        let lock = Lock::parse(&text).map_err(failed)?.held_to(requirements, below);
        let lock = lock.map_err(|wrong| wrong.rejection("packages"))?;
        for entry in lock.entries() {
            let judged = self.inner.settings.policy.judge_locked(&entry.requirement.name);
            judged.map_err(|denied| {
                Rejection::new("packages", denied.to_string(), "leave out what needs it")
            })?;
        }
        let resolved = self.resolved(
            &self.inner.templates.find(asked.over.template)?.address(),
            &python.version,
            &lock,
        )?;
        if let Some(layer) = self.inner.store.find(asked.tenant, &resolved).map_err(failed)? {
            self.inner.store.name(asked.tenant, key, &layer).map_err(failed)?;
            return Ok(layer);
        }
        // What the template has lies below.
        let lines: String = lock
            .entries()
            .iter()
            .filter(|entry| !below(entry))
            .map(|entry| {
                let hashes: String = entry.hashes.iter().map(|hash| format!(" --hash={hash}")).collect();
                format!("{}{hashes}\n", entry.requirement)
            })
            .collect();
        write("install.txt", lines.as_bytes())?;
        let install = format!(
            "mkdir env && {INSTALLER} pip install --quiet {OPTIONS} {built} {index} --python {program} --no-deps \
             --require-hashes --link-mode hardlink --no-compile-bytecode --target env --requirements install.txt && \
             {{ {program} -I -S -m compileall -q -j {COMPILERS} -x '{UNCOMPILED}' --invalidation-mode unchecked-hash env || true; }}"
        );
        site.work(&install, HINT).await?;
        let found = Found {
            path: "env",
            from: site.files()?,
            site: packages,
            lock: text,
            runtime: format!("Python {}", python.version),
            packages: lock.entries().iter().filter(|entry| !below(entry)).map(named).collect(),
            template: asked.over.template.to_owned(),
            most_bytes: self.inner.settings.limits.disk_bytes,
        };
        self.keep(asked, [key.to_owned(), resolved], found).await
    }

    /// What both steps are told of where packages come from. Of several indexes the first that knows a package is asked for it, and no other
    /// (docs.astral.sh/uv/concepts/indexes, "first-index"): so nobody can slip a newer release of a name under another index.
    fn of_index(&self) -> OfIndex {
        let settings = &self.inner.settings;
        let first: String = settings.indexes.iter().map(|index| format!("--index {index} ")).collect();
        OfIndex {
            index: format!("{first}--default-index {} --index-strategy first-index", settings.index),
            built: if settings.source { "" } else { WHEELS_ONLY },
        }
    }

    /// The layer with uv, and where the Python of this image looks for packages: looked for once for each.
    async fn tool_for(&self, image: &Image) -> Result<(PathBuf, PathBuf), NotReady> {
        let mut tools = self.inner.tools.lock().await;
        if let Some(tool) = tools.get(&image.digest) {
            return Ok(tool.clone());
        }
        let (store, of) = (self.inner.store.clone(), image.clone());
        let found = tokio::task::spawn_blocking(move || store.tool(&of)).await;
        let tool = found.map_err(failed)?.map_err(failed)?;
        tools.insert(image.digest.clone(), tool.clone());
        Ok(tool)
    }

    /// What is resolved is called so.
    fn resolved(&self, template: &str, version: &str, lock: &Lock) -> Result<String, Fault> {
        let short: String = version.split('.').take(2).collect();
        let platform = format!("linux_{}", std::env::consts::ARCH);
        let interpreter =
            Interpreter::new("cpython", version, &format!("cp{short}"), &platform).map_err(failed)?;
        let form = Environment { interpreter: &interpreter, lock }.canonical();
        Ok(hex(&Sha256::digest(format!("resolved {SCHEMA}\n{template}\n{form}"))))
    }
}

/// The image with the layer that has uv. It is not written into the sandbox's files: they are memory.
fn with_installer(image: &Image, layer: &Path) -> sandbox::Image {
    let mut root = root_of(image);
    root.digest = format!("{}+uv", root.digest);
    root.layers.insert(0, layer.to_owned());
    root
}

/// Options of uv that the operator's settings make.
struct OfIndex {
    index: String,
    built: &'static str,
}

/// A package as lists show it.
fn named(entry: &Locked) -> String {
    format!("{} {}", entry.requirement.name, entry.version)
}
