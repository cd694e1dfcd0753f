//! Packages that a run asks for: resolved and installed by uv in a sandbox of its own, kept, and laid over the run's template.
//!
//! The sandbox has no file of a tenant and no secret, its own limits, and reaches the index alone. What is asked of uv was printed from what was
//! parsed (crate `packages`), never a caller's text. Wheels only: nothing of a package is executed while it is installed, and what
//! Python compiles is compiled in there (docs/design/0020-packages.md).

use crate::image::Image;
use crate::image::environment::EnvironmentStore;
use crate::image::packages::{Found, PackageLayer, PackageStore};
use crate::pool::Pool;
use crate::proxies::{EgressPolicy, Proxies};
use crate::run::{hex, now, root_of};
use crate::session::{
    How, Kind, Session, SessionHappened, SessionParts, SessionShape, Standing, Why, Workspace,
};
use crate::spawner::{Job, Shape};
use crate::template::{NotReady, Template};
use model::{
    Background, Egress, Fault, FaultCode, Language, Layer, Limits, Outcome, Policy, Rejection, RunId,
    RunRequest, RunResult, RunSpec, SessionId,
};
use packages::lock::{Environment, Interpreter, Lock};
use packages::name::Name;
use packages::requirement::Requirement;
use packages::version::Version;
use sandbox::command::proxy_environment;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// The version of what is installed and how: one of another is another environment.
const SCHEMA: u32 = 1;
/// Builds at once.
const BUILDS_MAX: usize = 2;
/// Longest end of what uv said that is passed on.
const SAID_CHARS_MAX: usize = 2000;
/// Where the work is done: not in the workspace, of which artifacts are kept.
const DIRECTORY: &str = "/tmp";
/// The machine's trusted certificates, as the image has them.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Options of both steps: no settings of anybody, and nothing that would be built.
const OPTIONS: &str = "--no-config --no-progress --color never --only-binary :all: --no-python-downloads";

/// What the operator says of packages.
#[derive(Debug, Clone, PartialEq)]
pub struct InstallSettings {
    /// Who may have what.
    pub policy: packages::policy::Policy,
    /// The index, as uv takes it.
    pub index: String,
    /// Hosts that it, and what it lists, are at.
    pub hosts: Vec<String>,
    /// Releases younger than this are not seen, in milliseconds; 0 is none.
    pub min_age_ms: u64,
    /// Nothing is fetched: only what is there is used.
    pub offline: bool,
    /// What all environments may take together, in bytes.
    pub cache_bytes: u64,
    /// What one build may use.
    pub limits: Limits,
}

/// What one run or session asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The template that it is laid over.
    pub template: &'a str,
    /// What it needs.
    pub requirements: &'a [Requirement],
    /// Whether the operator's list of what may be asked for counts; what nothing may bring counts always.
    pub any: bool,
}

/// Installs packages for one machine. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Installer {
    inner: Arc<Inner>,
}

/// A build that others wait for.
type Building = Arc<OnceCell<Result<PackageLayer, NotReady>>>;

#[derive(Debug)]
struct Inner {
    image: Image,
    store: PackageStore,
    environments: EnvironmentStore,
    pool: Pool,
    proxies: Proxies,
    settings: InstallSettings,
    allow_missing: BTreeSet<Layer>,
    places: Semaphore,
    /// By tenant and key.
    building: Mutex<BTreeMap<(String, String), Building>>,
    /// uv, and where the image's Python looks for packages.
    tool: OnceCell<(PathBuf, PathBuf)>,
}

impl Installer {
    /// One for this image. `proxies` are the service's: the builds have a policy of their own.
    pub fn new(
        image: Image,
        (store, environments): (PackageStore, EnvironmentStore),
        (pool, proxies): (Pool, &Proxies),
        settings: InstallSettings,
        allow_missing: BTreeSet<Layer>,
    ) -> Self {
        let EgressPolicy { private, .. } = proxies.policy();
        let policy =
            EgressPolicy { private, bytes_down: settings.limits.disk_bytes, ..EgressPolicy::default() };
        let proxies = proxies.under(policy);
        let (places, building, tool) = (Semaphore::new(BUILDS_MAX), Mutex::default(), OnceCell::new());
        let inner = Inner {
            image,
            store,
            environments,
            pool,
            proxies,
            settings,
            allow_missing,
            places,
            building,
            tool,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where environments are kept.
    pub fn store(&self) -> &PackageStore {
        &self.inner.store
    }

    /// What the operator says.
    pub fn settings(&self) -> &InstallSettings {
        &self.inner.settings
    }

    /// The minor version of the image's Python.
    pub fn python_minor(&self) -> Option<u8> {
        self.inner.image.manifest.runtimes.python.as_ref()?.version.split('.').nth(1)?.parse().ok()
    }

    /// The version of the image's Python.
    pub fn python_version(&self) -> Option<&str> {
        self.inner.image.manifest.runtimes.python.as_ref().map(|python| python.version.as_str())
    }

    /// What a template has already, as it is installed here.
    pub fn present(&self, template: &str) -> Result<Vec<(Name, Version)>, NotReady> {
        let Some(python) = &self.inner.image.manifest.runtimes.python else { return Ok(Vec::new()) };
        let template = Template::find(template)?;
        let found = template.with_recipe(|recipe| self.inner.environments.find(recipe, python));
        let Some(environment) = found.transpose().map_err(failed)?.flatten() else { return Ok(Vec::new()) };
        let parse = |line: &String| {
            let (name, version) = line.split_once(' ')?;
            Some((name.parse().ok()?, version.parse().ok()?))
        };
        Ok(environment.manifest.packages.iter().filter_map(parse).collect())
    }

    /// Says whether policy lets a run have what it asks for.
    pub fn judge(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        let policy = &self.inner.settings.policy;
        for Requirement { name, .. } in asked.requirements {
            let judged = if asked.any { policy.judge_locked(name) } else { policy.judge(name) };
            judged.map_err(|denied| {
                Rejection::new(
                    "packages",
                    denied.to_string(),
                    "leave it out, or ask whoever runs the service",
                )
            })?;
        }
        Ok(())
    }

    /// Returns the environment of what is asked for, built if it is not there. Who asks for one that is being built waits for that build.
    pub async fn install(&self, asked: &Asked<'_>) -> Result<PackageLayer, NotReady> {
        self.judge(asked)?;
        let key = self.key(asked)?;
        if let Some(layer) = self.inner.store.find(asked.tenant, &key).map_err(failed)? {
            return Ok(layer);
        }
        if self.inner.settings.offline {
            let hint =
                "name packages that are there (`fireclay cache list`), or have `packages.offline` unset";
            let rejection =
                Rejection::new("packages", "they are not installed, and the service is offline", hint);
            return Err(rejection.into());
        }
        let name = (asked.tenant.to_owned(), key.clone());
        let building = self.building().entry(name.clone()).or_default().clone();
        // In a task of its own: a client that breaks off leaves it to those who wait as well.
        let (installer, tenant, template) =
            (self.clone(), asked.tenant.to_owned(), asked.template.to_owned());
        let requirements = asked.requirements.to_vec();
        let task = tokio::spawn(async move {
            let any = true;
            let asked = Asked { tenant: &tenant, template: &template, requirements: &requirements, any };
            let built = building.get_or_init(|| installer.build(&asked, &key)).await.clone();
            installer.building().remove(&name);
            built
        });
        task.await.map_err(|error| NotReady::Fault(Fault::new(FaultCode::Internal, error.to_string())))?
    }

    fn building(&self) -> MutexGuard<'_, BTreeMap<(String, String), Building>> {
        self.inner.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is asked for is called so: the same for the same, in whatever order.
    fn key(&self, asked: &Asked<'_>) -> Result<String, Rejection> {
        let Some(python) = &self.inner.image.manifest.runtimes.python else {
            let hint = "install it on the host and run `fireclay image build`";
            return Err(Rejection::new("packages", "the image has no Python", hint));
        };
        let wanted: BTreeSet<String> = asked.requirements.iter().map(Requirement::to_string).collect();
        let wanted = wanted.into_iter().collect::<Vec<_>>().join("\n");
        let InstallSettings { index, min_age_ms, .. } = &self.inner.settings;
        let path = python.path.display();
        let text = format!(
            "asked {SCHEMA}\n{path} {}\n{}\n{index} {min_age_ms}\n{wanted}",
            python.version, asked.template
        );
        Ok(hex(&Sha256::digest(text)))
    }

    async fn build(&self, asked: &Asked<'_>, key: &str) -> Result<PackageLayer, NotReady> {
        // Nobody closes it.
        let _place = self.inner.places.acquire().await;
        let inner = self.inner.clone();
        let tool = self.inner.tool.get_or_try_init(|| async move {
            let found = tokio::task::spawn_blocking(move || inner.store.tool(&inner.image)).await;
            found.map_err(failed)?.map_err(failed)
        });
        let (uv, site) = tool.await.map_err(NotReady::Fault)?.clone();
        let site_of_work = Site::open(self).await?;
        let built = self.build_in(&site_of_work, asked, key, (uv, site)).await;
        site_of_work.session.end(Why::Closed, "");
        site_of_work.session.let_files_go();
        if built.is_ok() {
            let (store, most) = (self.inner.store.clone(), self.inner.settings.cache_bytes);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = store.prune(most) {
                    eprintln!("fireclay: make room for packages: {error}");
                }
            });
        }
        built
    }

    async fn build_in(
        &self,
        site: &Site,
        asked: &Asked<'_>,
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
        let lines: String = asked.requirements.iter().map(|wanted| format!("{wanted}\n")).collect();
        write("requirements.in", lines.as_bytes(), false)?;
        let lines: String = present.iter().map(|(name, version)| format!("{name}=={version}\n")).collect();
        write("constraints.txt", lines.as_bytes(), false)?;
        let InstallSettings { index, min_age_ms, .. } = &self.inner.settings;
        let newest = match min_age_ms {
            0 => String::new(),
            age => {
                let age = jiff::SignedDuration::from_millis(i64::try_from(*age).unwrap_or(i64::MAX));
                let newest = jiff::Timestamp::now().checked_sub(age).unwrap_or(jiff::Timestamp::MIN);
                format!("--exclude-newer {newest}")
            }
        };
        let resolve = format!(
            "./uv pip compile --quiet {OPTIONS} --default-index {index} {newest} --python {program} --generate-hashes \
             --no-header --no-annotate --constraint constraints.txt --output-file lock.txt requirements.in"
        );
        site.work(&resolve).await?;
        let text = site.read("lock.txt")?;
        let lock = Lock::parse(&text).map_err(failed)?;
        for entry in lock.entries() {
            let judged = self.inner.settings.policy.judge_locked(&entry.requirement.name);
            judged.map_err(|denied| {
                Rejection::new("packages", denied.to_string(), "leave out what needs it")
            })?;
        }
        let resolved = self.resolved(asked.template, &lock)?;
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
        site.work(&install).await?;
        let (store, files, tenant) = (self.inner.store.clone(), site.files()?, asked.tenant.to_owned());
        let (key, template, python) = (key.to_owned(), asked.template.to_owned(), python.clone());
        let keeping = tokio::task::spawn_blocking(move || {
            let found = Found {
                path: "env",
                from: &files,
                site: &packages,
                lock: &text,
                python: &python,
                template: &template,
            };
            store.keep(&tenant, &[&key, &resolved], &found)
        });
        Ok(keeping.await.map_err(failed)?.map_err(failed)?)
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

/// A sandbox that installs.
struct Site {
    session: Session,
    spec: RunSpec,
}

impl Site {
    async fn open(installer: &Installer) -> Result<Self, NotReady> {
        let Inner { image, pool, proxies, settings, allow_missing, .. } = &*installer.inner;
        let id = SessionId::from_random(sys::fs::random().map_err(failed)?);
        let asked = Egress { allow: settings.hosts.clone(), methods: None };
        proxies.admit(&asked)?;
        let shape = Shape {
            image: root_of(image),
            limits: settings.limits,
            allow_missing: allow_missing.clone(),
            ahead: None,
            egress: true,
        };
        let own = [
            ("SSL_CERT_FILE", CERTIFICATES),
            ("UV_SYSTEM_CERTS", "true"),
            ("UV_NATIVE_TLS", "true"),
            ("UV_CACHE_DIR", "/tmp/cache"),
            ("UV_HTTP_TIMEOUT", "30"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env: BTreeMap<String, String> = proxy_environment().chain(own).collect();
        let shape = SessionShape { shape, env, background: Background::default() };
        let session = Session::open(
            pool,
            SessionParts { id, shape, way_out: Some((proxies.clone(), asked)), hold: None },
        )?;
        if let Standing::Ended(ended) = session.built().await {
            return Err(failed(format!("the sandbox that installs: {}", ended.detail)).into());
        }
        let request = RunRequest { language: Some(Language::Bash), ..RunRequest::default() };
        let policy = Policy { limits: settings.limits, ceiling: settings.limits };
        Ok(Self { session, spec: RunSpec::admit(request, &policy)? })
    }

    fn files(&self) -> Result<Workspace, Fault> {
        self.session.directory(c"tmp")?.ok_or_else(|| failed("the sandbox that installs has no files"))
    }

    /// Has commands done; what uv says against it is the caller's affair.
    async fn work(&self, commands: &str) -> Result<(), NotReady> {
        let spec = RunSpec { code: format!("cd {DIRECTORY} && {commands}\n"), ..self.spec.clone() };
        let id = RunId::from_random(sys::fs::random().map_err(failed)?);
        let artifacts = std::env::temp_dir().join(id.as_str());
        let job = Job { id, created_at: now(), spec, artifacts };
        let how = How::Fresh { private: false, interactive: false };
        let mut running = self.session.run(&job, how).await?;
        let result = loop {
            if let SessionHappened::Settled(result, _) = running.next().await? {
                break result;
            }
        };
        let RunResult { outcome, fault, stderr, egress, .. } = *result;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        let hint = "check names and versions; only wheels for this Python are installed";
        let rejected = |said: String| Err(Rejection::new("packages", said, hint).into());
        match outcome {
            Some(Outcome::Completed) => Ok(()),
            Some(Outcome::Failed) => {
                // What kept it from the index stands before what it made of that.
                let kept = egress.iter().find(|attempt| attempt.verdict == model::EgressVerdict::Refused);
                let kept = kept.map(|attempt| format!("{}; ", attempt.reason)).unwrap_or_default();
                rejected(format!("{kept}{}", end_of(&stderr)))
            }
            Some(other) => {
                rejected(format!("they could not be installed within the limits of a build: {other}"))
            }
            None => Err(failed("a build ended without an outcome").into()),
        }
    }

    fn read(&self, name: &str) -> Result<String, Fault> {
        let (file, entry) = self.files()?.read(name).map_err(failed)?;
        if entry.kind != Kind::File {
            return Err(failed(format!("{name} is no file")));
        }
        let mut text = String::new();
        file.take(packages::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }
}

/// The end of what was said, in one paragraph.
fn end_of(said: &str) -> String {
    let text = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = text.chars().count().saturating_sub(SAID_CHARS_MAX);
    text.chars().skip(skip).collect()
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("install packages: {error}"))
}
