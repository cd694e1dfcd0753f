//! Packages of Python, by uv. Wheels only: nothing of a package is executed while it is installed, and what Python compiles is compiled
//! in the sandbox.

use super::site::Site;
use super::{Asked, Installer, SCHEMA, failed};
use crate::image::packages::{Found, PackageLayer};
use crate::run::hex;
use crate::template::NotReady;
use model::{Fault, Rejection};
use packages::lock::{Environment, Interpreter, Lock, Locked};
use packages::requirement::Requirement;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Options of both steps: no settings of anybody, and nothing that would be built.
const OPTIONS: &str = "--no-config --no-progress --color never --only-binary :all: --no-python-downloads";
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
        let inner = self.inner.clone();
        let tool = self.inner.tool.get_or_try_init(|| async move {
            let found = tokio::task::spawn_blocking(move || inner.store.tool(&inner.image)).await;
            found.map_err(failed)?.map_err(failed)
        });
        let (uv, packages) = tool.await.map_err(NotReady::Fault)?.clone();
        let site = Site::open(self, &self.inner.settings.hosts).await?;
        let built = self.build_python_in(&site, asked, requirements, key, (uv, packages)).await;
        site.close();
        built
    }

    async fn build_python_in(
        &self,
        site: &Site,
        asked: &Asked<'_>,
        requirements: &[Requirement],
        key: &str,
        (uv, packages): (PathBuf, PathBuf),
    ) -> Result<PackageLayer, NotReady> {
        let python = self.inner.image.manifest.runtimes.python.as_ref();
        let python = python.ok_or_else(|| failed("the image has no Python"))?;
        let program = python.path.display();
        let present = self.present(asked.template)?;
        let files = site.files()?;
        let write = |name: &str, text: &[u8], executable| files.write(name, text, executable).map_err(failed);
        write("uv", &std::fs::read(&uv).map_err(failed)?, true)?;
        let lines: String = requirements.iter().map(|wanted| format!("{wanted}\n")).collect();
        write("requirements.in", lines.as_bytes(), false)?;
        let lines: String = present.iter().map(|(name, version)| format!("{name}=={version}\n")).collect();
        write("constraints.txt", lines.as_bytes(), false)?;
        let index = &self.inner.settings.index;
        let newest = self.newest().map(|newest| format!("--exclude-newer {newest}")).unwrap_or_default();
        let resolve = format!(
            "./uv pip compile --quiet {OPTIONS} --default-index {index} {newest} --python {program} --generate-hashes \
             --no-header --no-annotate --constraint constraints.txt --output-file lock.txt requirements.in"
        );
        site.work(&resolve, HINT).await?;
        let text = site.read("lock.txt")?;
        let lock = Lock::parse(&text).map_err(failed)?;
        for entry in lock.entries() {
            let judged = self.inner.settings.policy.judge_locked(&entry.requirement.name);
            judged.map_err(|denied| {
                Rejection::new("packages", denied.to_string(), "leave out what needs it")
            })?;
        }
        let resolved = self.resolved(&self.inner.templates.find(asked.template)?.address(), &lock)?;
        if let Some(layer) = self.inner.store.find(asked.tenant, &resolved).map_err(failed)? {
            self.inner.store.name(asked.tenant, key, &layer).map_err(failed)?;
            return Ok(layer);
        }
        // What the template has lies below.
        let below = |entry: &packages::lock::Locked| {
            present.iter().any(|(name, version)| (name, version) == (&entry.requirement.name, &entry.version))
        };
        let lines: String = lock
            .entries()
            .iter()
            .filter(|entry| !below(entry))
            .map(|entry| {
                let hashes: String = entry.hashes.iter().map(|hash| format!(" --hash={hash}")).collect();
                format!("{}{hashes}\n", entry.requirement)
            })
            .collect();
        write("install.txt", lines.as_bytes(), false)?;
        let install = format!(
            "mkdir env && ./uv pip install --quiet {OPTIONS} --default-index {index} --python {program} --no-deps \
             --require-hashes --link-mode hardlink --no-compile-bytecode --target env --requirements install.txt && \
             {{ {program} -I -S -m compileall -q -j 2 --invalidation-mode unchecked-hash env || true; }}"
        );
        site.work(&install, HINT).await?;
        let found = Found {
            path: "env",
            from: site.files()?,
            site: packages,
            lock: text,
            runtime: format!("Python {}", python.version),
            packages: lock.entries().iter().filter(|entry| !below(entry)).map(named).collect(),
            template: asked.template.to_owned(),
            most_bytes: self.inner.settings.limits.disk_bytes,
        };
        self.keep(asked, [key.to_owned(), resolved], found).await
    }

    /// What is resolved is called so.
    fn resolved(&self, template: &str, lock: &Lock) -> Result<String, Fault> {
        let version = self.python_version().unwrap_or_default();
        let short: String = version.split('.').take(2).collect();
        let platform = format!("linux_{}", std::env::consts::ARCH);
        let interpreter =
            Interpreter::new("cpython", version, &format!("cp{short}"), &platform).map_err(failed)?;
        let form = Environment { interpreter: &interpreter, lock }.canonical();
        Ok(hex(&Sha256::digest(format!("resolved {SCHEMA}\n{template}\n{form}"))))
    }
}

/// A package as lists show it.
fn named(entry: &Locked) -> String {
    format!("{} {}", entry.requirement.name, entry.version)
}
