//! Packages that a run asks for: resolved and installed by uv or npm in a sandbox of its own, kept, and laid over the run's template.
//!
//! The sandbox has no file of a tenant and no secret, its own limits, and reaches the registry alone. What is asked of an installer was printed
//! from what was parsed (crate `packages`), never a caller's text (docs/design/0020-packages.md).

pub mod compile;
mod node;
mod python;
pub(crate) mod site;

use crate::image::environment::EnvironmentStore;
use crate::image::packages::{Found, OPERATORS, PackageLayer, PackageStore};
use crate::image::pythons::Pythons;
use crate::image::{Image, Runtime};
use crate::pool::Pool;
use crate::proxies::{EgressPolicy, Proxies};
use crate::run::hex;
use crate::template::{NotReady, Template, TemplateStore};
use model::{Fault, FaultCode, Layer, Limits, Rejection, RunSpec};
use packages::interpreter::Condition;
use packages::name::Name;
use packages::npm;
use packages::requirement::Requirement;
use packages::version::Version;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// The version of what is installed and how: one of another is another environment.
const SCHEMA: u32 = 2;
/// Whose packages need no template to be named.
const USUAL_TEMPLATE: &str = "python";
/// Builds at once.
const BUILDS_MAX: usize = 2;

/// What the operator says of packages.
#[derive(Debug, Clone, PartialEq)]
pub struct InstallSettings {
    /// Who may have what.
    pub policy: packages::policy::Policy,
    /// The index, as uv takes it.
    pub index: String,
    /// Indexes that are asked before it, in this order.
    pub indexes: Vec<String>,
    /// Whether packages without a wheel are built from their source.
    pub source: bool,
    /// Hosts that it, and what it lists, are at.
    pub hosts: Vec<String>,
    /// The registry of npm.
    pub registry: String,
    /// Hosts that it, and what it lists, are at.
    pub npm_hosts: Vec<String>,
    /// Releases younger than this are not seen, in milliseconds; 0 is none.
    pub min_age_ms: u64,
    /// Whether tenants are to name the hashes of what they ask for.
    pub require_hashes: bool,
    /// Nothing is fetched: only what is there is used.
    pub offline: bool,
    /// What is installed ahead for everybody, each together.
    pub cached: Vec<Vec<Requirement>>,
    /// What all environments may take together, in bytes.
    pub cache_bytes: u64,
    /// What one build may use.
    pub limits: Limits,
    /// What compiling one program may use.
    pub compile: Limits,
}

/// Packages, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Distributions of PyPI.
    Python(Vec<Requirement>),
    /// Packages of npm.
    Node(Vec<npm::Requirement>),
}

impl Wanted {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Python(wanted) => wanted.is_empty(),
            Self::Node(wanted) => wanted.is_empty(),
        }
    }

    /// What is asked for, in one order.
    fn words(&self) -> BTreeSet<String> {
        match self {
            Self::Python(wanted) => wanted.iter().map(Requirement::to_string).collect(),
            Self::Node(wanted) => wanted.iter().map(npm::Requirement::to_string).collect(),
        }
    }
}

/// What one run or session asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// What it is laid over.
    pub over: Over<'a>,
    /// What it needs.
    pub wanted: &'a Wanted,
    /// Whether the operator's list of what may be asked for counts; what nothing may bring counts always.
    pub any: bool,
    /// Whether only what is there will do.
    pub offline: bool,
}

/// What packages are laid over.
#[derive(Debug, Clone, Copy)]
pub struct Over<'a> {
    /// The template.
    pub template: &'a str,
    /// The version of its Python, if that is not the image's.
    pub python: Option<&'a str>,
    /// The image, if one is named and the template does not name it itself.
    pub image: Option<&'a str>,
}

impl<'a> From<&'a RunSpec> for Over<'a> {
    fn from(spec: &'a RunSpec) -> Self {
        Self { template: &spec.template, python: spec.python.as_deref(), image: None }
    }
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
    pythons: Pythons,
    store: PackageStore,
    environments: EnvironmentStore,
    templates: TemplateStore,
    pool: Pool,
    proxies: Proxies,
    settings: InstallSettings,
    allow_missing: BTreeSet<Layer>,
    places: Semaphore,
    /// Programs that are compiled at once.
    compilers: Semaphore,
    refused: Mutex<compile::RefusedBefore>,
    /// By tenant and key.
    building: Mutex<BTreeMap<(String, String), Building>>,
    /// uv, and where the Python of an image looks for packages, by the image's digest.
    tools: tokio::sync::Mutex<BTreeMap<String, (PathBuf, PathBuf)>>,
}

impl Installer {
    /// One for the images of these Pythons. `proxies` are the service's: the builds have a policy of their own.
    pub fn new(
        pythons: Pythons,
        (store, environments, templates): (PackageStore, EnvironmentStore, TemplateStore),
        (pool, proxies): (Pool, &Proxies),
        settings: InstallSettings,
        allow_missing: BTreeSet<Layer>,
    ) -> Self {
        let EgressPolicy { private, .. } = proxies.policy();
        let policy =
            EgressPolicy { private, bytes_down: settings.limits.disk_bytes, ..EgressPolicy::default() };
        let proxies = proxies.under(policy);
        let (places, building) = (Semaphore::new(BUILDS_MAX), Mutex::default());
        let inner = Inner {
            pythons,
            store,
            environments,
            templates,
            pool,
            proxies,
            settings,
            allow_missing,
            places,
            compilers: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            refused: Mutex::default(),
            building,
            tools: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The templates that packages are laid over.
    pub fn templates(&self) -> &TemplateStore {
        &self.inner.templates
    }

    /// One that keeps what it installs elsewhere, for good.
    pub(crate) fn keeping_in(&self, store: &PackageStore) -> Self {
        let Inner { pythons, environments, templates, pool, proxies, settings, allow_missing, .. } =
            &*self.inner;
        let settings = InstallSettings { cache_bytes: u64::MAX, ..settings.clone() };
        let inner = Inner {
            pythons: pythons.clone(),
            store: store.clone(),
            environments: environments.clone(),
            templates: templates.clone(),
            pool: pool.clone(),
            proxies: proxies.clone(),
            settings,
            allow_missing: allow_missing.clone(),
            places: Semaphore::new(BUILDS_MAX),
            compilers: Semaphore::new(1),
            refused: Mutex::default(),
            building: Mutex::default(),
            tools: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What a sandbox of a shipped template sees with these layers over it.
    pub(crate) fn image_of(
        &self,
        (base, image): (&Template, &Image),
        layers: &[PackageLayer],
    ) -> Result<sandbox::Image, NotReady> {
        let Inner { environments, templates, .. } = &*self.inner;
        let mut image = base.clone().prepare(image, environments, templates)?.image;
        image.layers.splice(0..0, layers.iter().map(|layer| layer.rootfs.clone()));
        image.digest = layers.iter().fold(image.digest, |digest, layer| format!("{digest}+{}", layer.hex));
        Ok(image)
    }

    /// Where environments are kept.
    pub fn store(&self) -> &PackageStore {
        &self.inner.store
    }

    /// What the operator says.
    pub fn settings(&self) -> &InstallSettings {
        &self.inner.settings
    }

    /// The Pythons that there are.
    pub fn pythons(&self) -> &Pythons {
        &self.inner.pythons
    }

    /// The version of the Python that runs have there; `None` if they have none, or what they would see cannot be had.
    pub fn python_version(&self, over: Over<'_>) -> Option<String> {
        match over.python {
            Some(version) => Some(version.to_owned()),
            None => Some(self.image_over(over).ok()?.manifest.runtimes.python?.version),
        }
    }

    /// The minor version of that.
    pub fn python_minor(&self, over: Over<'_>) -> Option<u8> {
        self.python_version(over)?.split('.').nth(1)?.parse().ok()
    }

    /// The version of the image's Node.
    pub fn node_version(&self) -> Option<&str> {
        self.inner.pythons.node_version()
    }

    /// The image below a template.
    fn image_over(&self, over: Over<'_>) -> Result<Image, NotReady> {
        let Inner { pythons, templates, .. } = &*self.inner;
        if over.image.is_some() || Template::is_shipped(over.template) {
            return Ok(pythons.chosen(over.image, over.python)?);
        }
        Ok(pythons.chosen(templates.find(over.template)?.image(), over.python)?)
    }

    /// As [`crate::machine::Machine::have_python`].
    pub(crate) async fn have_python(
        &self,
        named: Option<String>,
        conditions: Vec<Condition>,
    ) -> Result<Option<String>, NotReady> {
        let pythons = self.inner.pythons.clone();
        let having = tokio::task::spawn_blocking(move || pythons.have(named.as_deref(), &conditions));
        Ok(having.await.map_err(failed)??)
    }

    /// What a template has already, as it is installed here.
    pub fn present(&self, over: Over<'_>) -> Result<Vec<(Name, Version)>, NotReady> {
        let image = self.image_over(over)?;
        let Some(python) = &image.manifest.runtimes.python else { return Ok(Vec::new()) };
        let template = self.inner.templates.find(over.template)?;
        let found = template.with_recipe(|recipe| self.inner.environments.find(recipe, python));
        let environment = found.transpose().map_err(failed)?.flatten();
        let own =
            template.own.iter().filter(|own| own.runtime.starts_with("Python")).flat_map(|own| &own.packages);
        let parse = |line: &String| {
            let (name, version) = line.split_once(' ')?;
            Some((name.parse().ok()?, version.parse().ok()?))
        };
        Ok(environment
            .iter()
            .flat_map(|environment| &environment.manifest.packages)
            .chain(own)
            .filter_map(parse)
            .collect())
    }

    /// Says whether policy lets a run have what it asks for.
    pub fn judge(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        let policy = &self.inner.settings.policy;
        let judged = match asked.wanted {
            Wanted::Python(wanted) => {
                wanted.iter().try_for_each(|Requirement { name, .. }| match asked.any {
                    true => policy.judge_locked(name),
                    false => policy.judge(name),
                })
            }
            Wanted::Node(wanted) => wanted.iter().try_for_each(|wanted| match asked.any {
                true => policy.judge_locked_npm(&wanted.name),
                false => policy.judge_npm(&wanted.name),
            }),
        };
        let hint = "leave it out, or ask whoever runs the service";
        judged.map_err(|denied| Rejection::new("packages", denied.to_string(), hint))
    }

    /// Says whether policy lets all of an environment be used.
    fn judge_layer(&self, layer: &PackageLayer) -> Result<(), Rejection> {
        let policy = &self.inner.settings.policy;
        let is_python = layer.manifest.runtime.starts_with("Python");
        for package in &layer.manifest.packages {
            let name = package.rsplit_once(' ').map_or(package.as_str(), |(name, _)| name);
            let judged = match name.parse::<Name>() {
                Ok(name) if is_python => policy.judge_locked(&name),
                _ => policy.judge_locked_npm(name),
            };
            judged.map_err(|denied| {
                Rejection::new("packages", denied.to_string(), "leave out what needs it")
            })?;
        }
        Ok(())
    }

    /// Says whether every package of Python comes with hashes, if the operator wants that of tenants.
    fn judge_hashes(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        let Wanted::Python(wanted) = asked.wanted else { return Ok(()) };
        let without = wanted.iter().find(|wanted| wanted.hashes.is_empty());
        match without.filter(|_| self.inner.settings.require_hashes && asked.tenant != OPERATORS) {
            None => Ok(()),
            Some(one) => {
                let message =
                    format!("{one} has no --hash, and this service wants one (packages.require_hashes)");
                let hint =
                    "write name==version --hash=sha256:…, as uv pip compile --generate-hashes prints it";
                Err(Rejection::new("packages", message, hint))
            }
        }
    }

    /// Returns the environment of what is asked for, built if it is not there. Who asks for one that is being built waits for that build.
    pub async fn install(&self, asked: &Asked<'_>) -> Result<PackageLayer, NotReady> {
        self.judge(asked)?;
        self.judge_hashes(asked)?;
        let key = self.key(asked)?;
        if let Some(layer) = self.inner.store.find(asked.tenant, &key).map_err(failed)? {
            // Policy may be another than when it was installed.
            self.judge_layer(&layer)?;
            return Ok(layer);
        }
        if asked.offline || self.inner.settings.offline {
            let (who, hint) = match asked.offline {
                true => (
                    "this is asked for `offline`",
                    "name packages that are there (`fireclay cache list`), or leave `offline` out",
                ),
                false => (
                    "the service is offline",
                    "name packages that are there (`fireclay cache list`), or have `packages.offline` unset",
                ),
            };
            let rejection = Rejection::new("packages", format!("they are not installed, and {who}"), hint);
            return Err(rejection.into());
        }
        let name = (asked.tenant.to_owned(), key.clone());
        let building = self.building().entry(name.clone()).or_default().clone();
        // In a task of its own: a client that breaks off leaves it to those who wait as well.
        let (installer, tenant, template) =
            (self.clone(), asked.tenant.to_owned(), asked.over.template.to_owned());
        let python = asked.over.python.map(str::to_owned);
        let image = asked.over.image.map(str::to_owned);
        let wanted = asked.wanted.clone();
        let task = tokio::spawn(async move {
            let any = true;
            let over = Over { template: &template, python: python.as_deref(), image: image.as_deref() };
            let asked = Asked { tenant: &tenant, over, wanted: &wanted, any, offline: false };
            let built = building.get_or_init(|| installer.build(&asked, &key)).await.clone();
            installer.building().remove(&name);
            built
        });
        task.await.map_err(|error| NotReady::Fault(Fault::new(FaultCode::Internal, error.to_string())))?
    }

    /// Installs ahead what the operator lists, one after the other, for all tenants. What cannot be had is told to the operator, and runs
    /// that ask for it try again.
    pub async fn install_ahead(&self) {
        for wanted in &self.inner.settings.cached {
            let wanted = Wanted::Python(wanted.clone());
            let over = Over { template: USUAL_TEMPLATE, python: None, image: None };
            let asked = Asked { tenant: OPERATORS, over, wanted: &wanted, any: true, offline: false };
            let named = wanted.words().into_iter().collect::<Vec<_>>().join(", ");
            match self.install(&asked).await {
                Ok(layer) => {
                    let bytes = ("bytes".to_owned(), layer.manifest.bytes.into());
                    crate::log::info(&format!("installed ahead: {named}"), std::iter::once(bytes).collect());
                }
                Err(why) => crate::log::warn(format_args!("{named} cannot be installed ahead: {why}")),
            }
        }
    }

    fn building(&self) -> MutexGuard<'_, BTreeMap<(String, String), Building>> {
        self.inner.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, compile::RefusedBefore> {
        self.inner.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is asked for is called so: the same for the same, in whatever order.
    fn key(&self, asked: &Asked<'_>) -> Result<String, NotReady> {
        let InstallSettings { index, indexes, source, registry, min_age_ms, .. } = &self.inner.settings;
        // Names of before there were several stay.
        let others: String = indexes.iter().map(|index| format!(" {index}")).collect();
        let index = &format!("{index}{others}{}", if *source { " source" } else { "" });
        let (runtime, from) = match asked.wanted {
            Wanted::Python(_) => (self.python(asked.over)?, index),
            Wanted::Node(_) => (self.npm(asked.over)?.0, registry),
        };
        let wanted = asked.wanted.words().into_iter().collect::<Vec<_>>().join("\n");
        let (path, version) = (runtime.path.display(), &runtime.version);
        // A template of an operator's may be another tomorrow.
        let template = self.inner.templates.find(asked.over.template)?.address();
        let text = format!("asked {SCHEMA}\n{path} {version}\n{template}\n{from} {min_age_ms}\n{wanted}");
        Ok(hex(&Sha256::digest(text)))
    }

    fn python(&self, over: Over<'_>) -> Result<Runtime, NotReady> {
        let hint = "install it on the host and run `fireclay image build`";
        let python = self.image_over(over)?.manifest.runtimes.python;
        Ok(python.ok_or_else(|| Rejection::new("packages", "the image has no Python", hint))?)
    }

    async fn build(&self, asked: &Asked<'_>, key: &str) -> Result<PackageLayer, NotReady> {
        // Nobody closes it.
        let _place = self.inner.places.acquire().await;
        let built = match asked.wanted {
            Wanted::Python(wanted) => self.build_python(asked, wanted, key).await,
            Wanted::Node(wanted) => self.build_node(asked, wanted, key).await,
        };
        if built.is_ok() {
            let (store, most) = (self.inner.store.clone(), self.inner.settings.cache_bytes);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = store.prune(most) {
                    crate::log::warn(format_args!("make room for packages: {error}"));
                }
            });
        }
        built
    }

    /// Keeps what was installed under these keys.
    async fn keep(
        &self,
        asked: &Asked<'_>,
        keys: [String; 2],
        found: Found,
    ) -> Result<PackageLayer, NotReady> {
        let (store, tenant) = (self.inner.store.clone(), asked.tenant.to_owned());
        let keeping = tokio::task::spawn_blocking(move || {
            store.keep(&tenant, &keys.each_ref().map(String::as_str), &found)
        });
        Ok(keeping.await.map_err(failed)?.map_err(failed)?)
    }

    /// When the newest release was made that is seen, if that matters.
    fn newest(&self) -> Option<jiff::Timestamp> {
        let age = Some(self.inner.settings.min_age_ms).filter(|age| *age > 0)?;
        let age = jiff::SignedDuration::from_millis(i64::try_from(age).unwrap_or(i64::MAX));
        Some(jiff::Timestamp::now().checked_sub(age).unwrap_or(jiff::Timestamp::MIN))
    }
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("install packages: {error}"))
}
