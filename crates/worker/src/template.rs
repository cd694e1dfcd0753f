//! Templates: what sandboxes are made from. Data of `policy/templates/`, and with an image what a sandbox needs to know of them.
//! Whether the packages of one are there is asked of `image::environment`; nothing is built here.

mod build;
pub mod declared;
pub mod luggage;
mod own;
mod shipped;

use crate::image::environment::{Environment, EnvironmentStore, Recipe};
use crate::image::packages::{PackageLayer, PackageStore};
use crate::image::pythons::Pythons;
use crate::image::{DEFAULT_NAME, Image, ImageError};
use crate::run::root_of;
use declared::Declared;
use model::{Fault, FaultCode, Language, Rejection, RunSpec};
pub use own::{OwnTemplate, TemplateStore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shipped::FILES;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where programs lie that packages of npm bring.
const NODE_PROGRAMS: &str = "/node_modules/.bin";

/// What sandboxes are made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The languages that run in it.
    pub languages: Vec<Row<Language>>,
    /// What is laid over the image.
    #[serde(default)]
    pub packages: Vec<Row<String>>,
    /// What a warm interpreter has imported.
    #[serde(default)]
    pub modules: Vec<Row<String>>,
    /// What a warm interpreter has done before.
    #[serde(default)]
    pub rehearsals: Vec<Rehearsal>,
    /// Variables of every run.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// What of the packages' directory, or of a declared language's home, is not wanted, relative to it.
    #[serde(default)]
    pub leave_out: Vec<LeftOut>,
    /// How its language is compiled and run, if no runner of fireclay's does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declared>,
    /// What an operator laid over it; absent for one that is shipped.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub own: Option<Box<OwnTemplate>>,
}

/// A name, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row<T> {
    /// Of what.
    pub name: T,
    /// Why.
    pub reason: String,
}

/// Code, and why it is run ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// Python; it prints nothing and leaves nothing.
    pub code: String,
    /// Why.
    pub reason: String,
}

/// A variable, and why it is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// A path that is removed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Which, relative to the packages' directory.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What sandboxes of a template are made from on this machine. What is of the data directory is kept from being removed as long as
/// this lives.
#[derive(Debug)]
pub struct Prepared {
    /// Which template.
    pub template: Template,
    /// What they see.
    pub image: sandbox::Image,
    _hold: Vec<File>,
}

/// Why nothing can be made from a template: the caller's mistake or ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// There is none of that name, it does not run the language, or its packages are not installed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// What is installed cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<NotReady> for sandbox::run::Refused {
    fn from(not: NotReady) -> Self {
        match not {
            NotReady::Rejected(rejection) => Self::Rejected(rejection),
            NotReady::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl Template {
    /// Every template there is, by name.
    pub fn all() -> impl Iterator<Item = Template> {
        FILES.iter().map(|(_, text, _)| parse(text))
    }

    /// The template of this name that comes with fireclay.
    pub fn shipped(name: &str) -> Option<Template> {
        FILES.iter().find(|(known, ..)| *known == name).map(|(_, text, _)| parse(text))
    }

    /// Whether one of this name comes with fireclay.
    pub fn is_shipped(name: &str) -> bool {
        FILES.iter().any(|(known, ..)| *known == name)
    }

    /// The template of a run, if that is one that runs its language.
    pub fn of(spec: &RunSpec, store: &TemplateStore) -> Result<Template, NotReady> {
        let template = store.find(&spec.template)?;
        if template.runs(spec.language) {
            return Ok(template);
        }
        let tenant = spec.template.split_once('/').map(|(tenant, _)| tenant);
        let able = store.all(tenant)?.into_iter().filter(|other| other.runs(spec.language));
        let names: Vec<String> = able.map(|other| other.name).collect();
        let message = format!("{:?} does not run {}", template.name, spec.language);
        Err(Rejection::new("template", message, format!("use one of: {}", names.join(", "))).into())
    }

    /// The name of the shipped one that it begins with: its own, if it is shipped.
    pub fn base(&self) -> &str {
        self.own.as_ref().map_or(&self.name, |own| &own.definition.base)
    }

    /// The name of the image that its sandboxes see, if that is not the service's own.
    pub fn image(&self) -> Option<&str> {
        self.own.as_ref()?.definition.image.as_deref()
    }

    /// Whether it is one tenant's own.
    pub fn is_tenants(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.tenant.is_some())
    }

    /// What makes it another than one of the same name: its name, and the version if it has one.
    pub fn address(&self) -> String {
        match &self.own {
            Some(own) => format!("{}@{}", own.reference(), own.version()),
            None => self.name.clone(),
        }
    }

    /// Whether runs of this language may be made from it.
    pub fn runs(&self, language: Language) -> bool {
        self.languages.iter().any(|row| row.name == language)
    }

    /// What a warm interpreter has imported, in this order.
    pub fn modules(&self) -> Vec<String> {
        self.modules.iter().map(|row| row.name.clone()).collect()
    }

    /// What a warm interpreter has done, one program after the other.
    pub fn rehearsals(&self) -> Vec<String> {
        self.rehearsals.iter().map(|row| row.code.clone()).collect()
    }

    /// The lock of its packages, if it has any.
    pub fn lock(&self) -> Option<&'static str> {
        FILES.iter().find(|(known, ..)| *known == self.base()).and_then(|(_, _, lock)| *lock)
    }

    /// Calls `with` with what its environment is made from; `None` if it has none.
    pub fn with_recipe<T>(&self, with: impl FnOnce(&Recipe<'_>) -> T) -> Option<T> {
        let leave_out: Vec<&str> = self.leave_out.iter().map(|left| left.path.as_str()).collect();
        self.lock().map(|lock| with(&Recipe { name: self.base(), lock, leave_out: &leave_out }))
    }

    /// Finds what its sandboxes are made from, or says what is to be done first.
    pub fn prepare(
        self,
        image: &Image,
        environments: &EnvironmentStore,
        store: &TemplateStore,
    ) -> Result<Prepared, NotReady> {
        let environment = self.with_recipe(|recipe| self.environment(recipe, image, environments));
        let environment = environment.transpose()?;
        let mut root = root_of(image);
        root.env = self.env.iter().map(|row| (row.name.clone(), row.value.clone())).collect();
        if let Some((environment, _)) = &environment {
            root.digest = digest_of_both(&root.digest, &environment.digest);
            root.layers = vec![environment.rootfs.clone()];
        }
        let mut hold: Vec<File> = environment.into_iter().map(|(_, hold)| hold).collect();
        if let Some(declared) = &self.declared {
            for language in &self.languages {
                root.programs.insert(language.name, declared.run.clone());
            }
            if declared.at_run {
                let (toolchain, held) = store.toolchains().have(&self, declared, image)?;
                root.digest = digest_of_both(&root.digest, &toolchain.digest);
                root.layers.insert(0, toolchain.rootfs);
                hold.push(held);
            } else {
                store.toolchains().check(&self, declared)?;
            }
        }
        if let Some(own) = &self.own {
            let (mut layers, holds): (Vec<_>, Vec<_>) = store.hold(own, image)?.into_iter().unzip();
            root.digest = digest_of_both(&root.digest, &format!("sha256:{}", own.digest));
            layers.append(&mut root.layers);
            root.layers = layers;
            hold.extend(holds);
        }
        Ok(Prepared { template: self, image: root, _hold: hold })
    }

    /// The same with a tenant's packages over it.
    pub fn prepare_with(
        self,
        image: &Image,
        (environments, store): (&EnvironmentStore, &TemplateStore),
        (layer, hold): (&PackageLayer, File),
    ) -> Result<Prepared, NotReady> {
        let mut prepared = self.prepare(image, environments, store)?;
        prepared.image.digest = digest_of_both(&prepared.image.digest, &format!("sha256:{}", layer.hex));
        if layer.rootfs.join(NODE_PROGRAMS.trim_start_matches('/')).is_dir() {
            prepared.image.path = format!("{NODE_PROGRAMS}:{}", prepared.image.path);
        }
        prepared.image.layers.insert(0, layer.rootfs.clone());
        prepared._hold.push(hold);
        Ok(prepared)
    }

    fn environment(
        &self,
        recipe: &Recipe<'_>,
        image: &Image,
        environments: &EnvironmentStore,
    ) -> Result<(Environment, File), NotReady> {
        let name = &self.name;
        let python = image.manifest.runtimes.python.as_ref().ok_or_else(|| {
            let hint = "install it on the host and run `fireclay image build`";
            Rejection::new("template", format!("{name:?} needs Python, and the image has none"), hint)
        })?;
        let failed = |error: ImageError| Fault::new(FaultCode::ResourcesExhausted, error.to_string());
        // It may be replaced between being found and being held: then the new one is found.
        while let Some(environment) = environments.find(recipe, python).map_err(failed)? {
            if let Some(hold) = environment.hold().map_err(failed)? {
                return Ok((environment, hold));
            }
        }
        let message = format!("the packages of {name:?} are not installed for Python {}", python.version);
        let of = match image.manifest.name.as_str() {
            DEFAULT_NAME => String::new(),
            other => format!(" --image {other}"),
        };
        let hint = format!("run `fireclay template build {name}{of}` on the machine that runs it");
        Err(Rejection::new("template", message, hint).into())
    }
}

/// The digest of an image with an environment over it.
fn digest_of_both(image: &str, environment: &str) -> String {
    let both = Sha256::new().chain_update(image).chain_update("\n").chain_update(environment);
    format!("sha256:{}", crate::run::hex(&both.finalize()))
}

/// The templates of one machine, each prepared when it is first asked for, and kept.
#[derive(Debug)]
pub struct Templates {
    pythons: Pythons,
    environments: EnvironmentStore,
    packages: PackageStore,
    store: TemplateStore,
    prepared: Mutex<BTreeMap<String, Arc<Prepared>>>,
    /// What layers are on their way to other machines, by digest.
    parcels: Mutex<BTreeMap<String, crate::image::parcel::Parcel>>,
}

impl Templates {
    /// Over the images of these Pythons, with the packages that are found here.
    pub fn new(
        pythons: Pythons,
        environments: EnvironmentStore,
        packages: PackageStore,
        store: TemplateStore,
    ) -> Self {
        let (prepared, parcels) = (Mutex::default(), Mutex::default());
        Self { pythons, environments, packages, store, prepared, parcels }
    }

    /// Whether a template can be prepared.
    pub fn is_ready(&self, template: &Template) -> Result<(), NotReady> {
        if let Some(declared) = &template.declared {
            // What is copied at the first use is there if the machine has it.
            return Ok(self.store.toolchains().check(template, declared)?);
        }
        let python = template.own.as_ref().and_then(|own| own.python.as_deref());
        let image = match python {
            // One that was not made yet is made by the first run.
            Some(version) => match self.pythons.made(version) {
                Some(image) => image,
                None => return Ok(()),
            },
            None => self.pythons.chosen(template.image(), None)?,
        };
        template.clone().prepare(&image, &self.environments, &self.store).map(drop)
    }

    /// Forgets what was prepared of a name and of its versions.
    pub fn forget(&self, name: &str) {
        self.known().retain(|known, prepared| {
            prepared.template.own.is_none() || known.split(['@', ' ']).next() != Some(name)
        });
    }

    /// The templates that were prepared, without versions: what runs next of one of them is made sooner.
    pub fn prepared(&self) -> std::collections::BTreeSet<String> {
        self.known().keys().filter_map(|name| name.split('@').next().map(str::to_owned)).collect()
    }

    /// Where an operator's are.
    pub fn store(&self) -> &TemplateStore {
        &self.store
    }

    /// Whether what a run is made from was prepared before.
    pub fn is_known(&self, spec: &RunSpec) -> bool {
        self.known().contains_key(&key_of(&spec.template, spec.python.as_deref()))
    }

    /// The image of a template, if anything was made from that.
    pub fn image_of(&self, template: &Template) -> Option<sandbox::Image> {
        let own = template.own.as_ref();
        let name = own.map_or_else(|| template.name.clone(), |own| own.reference());
        let key = key_of(&name, own.and_then(|own| own.python.as_deref()));
        self.known().get(&key).map(|known| known.image.clone())
    }

    /// What a run is made from, or what is wrong with its template. Packages that were installed since they were last asked for are
    /// found.
    pub fn of(&self, spec: &RunSpec) -> Result<Arc<Prepared>, NotReady> {
        let python = spec.python.as_deref();
        let known = self.known().get(&key_of(&spec.template, python)).cloned();
        match known.filter(|known| known.template.runs(spec.language) && self.is_newest(known, spec)) {
            Some(known) => Ok(known),
            None => self.prepare(&spec.template, python, Template::of(spec, &self.store)?),
        }
    }

    /// The same with the packages that were installed for the run of a tenant, if any were.
    pub fn of_tenant(&self, tenant: &str, spec: &RunSpec) -> Result<Arc<Prepared>, NotReady> {
        let Some(hex) = &spec.environment else { return self.of(spec) };
        let failed = |error: ImageError| Fault::new(FaultCode::ResourcesExhausted, error.to_string());
        let layer = self.packages.get(tenant, hex).map_err(failed)?;
        let hold =
            layer.as_ref().map(|layer| self.packages.hold(layer)).transpose().map_err(failed)?.flatten();
        let (Some(layer), Some(hold)) = (layer, hold) else {
            let message = "the packages of the run were removed while it waited";
            return Err(Fault::new(FaultCode::ResourcesExhausted, message).into());
        };
        let template = Template::of(spec, &self.store)?;
        let from = (&self.environments, &self.store);
        let image = self.pythons.chosen(template.image(), spec.python.as_deref())?;
        Ok(Arc::new(template.prepare_with(&image, from, (&layer, hold))?))
    }

    /// Whether a name still stands for what was prepared; one that names its version does.
    fn is_newest(&self, known: &Prepared, spec: &RunSpec) -> bool {
        let Some(own) = &known.template.own else { return true };
        let newest = || self.store.newest(&spec.template).ok().flatten();
        spec.template.contains('@') || newest().is_some_and(|newest| newest == own.version())
    }

    /// The same by its name, with the Python of this version or with its own.
    pub fn by_name(&self, name: &str, python: Option<&str>) -> Result<Arc<Prepared>, NotReady> {
        self.prepare(name, python, self.store.find(name)?)
    }

    fn prepare(
        &self,
        name: &str,
        python: Option<&str>,
        template: Template,
    ) -> Result<Arc<Prepared>, NotReady> {
        let image = self.pythons.chosen(template.image(), python)?;
        let prepared = Arc::new(template.prepare(&image, &self.environments, &self.store)?);
        let key = key_of(name, python);
        let mut known = self.known();
        match known.get(&key) {
            // Of two that prepared it at once, both have the same.
            Some(known) if known.image == prepared.image => Ok(known.clone()),
            _ => {
                known.insert(key, prepared.clone());
                Ok(prepared)
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Prepared>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a template with a Python is known by.
fn key_of(name: &str, python: Option<&str>) -> String {
    python.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
}

fn parse(text: &str) -> Template {
    toml::from_str(text).expect("a test reads every template")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_template_is_whole_and_every_line_of_it_has_a_reason() {
        for ((name, _, lock), template) in FILES.iter().zip(Template::all()) {
            assert_eq!(template.name, *name);
            assert!(!template.purpose.is_empty() && !template.languages.is_empty(), "{name}");
            let rows = template.packages.iter().chain(&template.modules);
            let reasons = rows
                .map(|row| &row.reason)
                .chain(template.languages.iter().map(|row| &row.reason))
                .chain(template.rehearsals.iter().map(|row| &row.reason))
                .chain(template.env.iter().map(|row| &row.reason))
                .chain(template.leave_out.iter().map(|row| &row.reason));
            for reason in reasons {
                assert!(reason.ends_with('.') && reason.len() > 10, "{name}: {reason:?}");
            }
            assert_eq!(template.packages.is_empty(), lock.is_none(), "{name}");
            // These are the sandbox's own to set.
            let own = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER"];
            assert!(template.env.iter().all(|row| !own.contains(&row.name.as_str())), "{name}");
            for left in &template.leave_out {
                model::spec::check_path("leave_out", &left.path).unwrap();
            }
        }
    }

    #[test]
    fn every_language_has_its_default_template() {
        for language in Language::ALL {
            let template = Template::shipped(language.default_template()).unwrap();
            assert!(template.runs(language), "{language}");
            assert!(template.lock().is_none(), "{language}: its default needs nothing to be built");
        }
    }

    #[test]
    fn a_lock_pins_every_package_by_version_and_hash() {
        for template in Template::all() {
            let Some(lock) = template.lock() else { continue };
            let mut pinned = BTreeSet::new();
            // A requirement goes on as long as its lines end so.
            for requirement in lock.replace("\\\n", " ").lines().filter(|line| !line.trim().starts_with('#'))
            {
                let (name, rest) = requirement.split_once("==").expect("a version");
                assert!(rest.contains("--hash=sha256:"), "{requirement}");
                pinned.insert(name.to_owned());
            }
            let wanted: BTreeSet<String> = template.packages.iter().map(|row| row.name.clone()).collect();
            assert!(pinned.is_superset(&wanted), "{pinned:?}; scripts/lock-templates renews it");
        }
    }

    fn spec(language: Language, template: &str) -> RunSpec {
        let request = model::RunRequest {
            language: Some(language),
            template: Some(template.to_owned()),
            ..model::RunRequest::default()
        };
        RunSpec::admit(request, &model::Policy::DEFAULT).unwrap()
    }

    #[test]
    fn a_wrong_template_is_refused_with_those_that_would_do() {
        let data = tempfile::tempdir().unwrap();
        let store = TemplateStore::open(data.path(), "".as_ref());
        let refused = |language, name| Template::of(&spec(language, name), &store).unwrap_err().to_string();
        assert_eq!(
            refused(Language::Python, "python-dada"),
            r#"template: there is no template "python-dada"; use one of: bash, node, python, python-data, typescript, c, cpp, go, java, perl, php, r, ruby, rust"#
        );
        assert_eq!(
            refused(Language::JavaScript, "python-data"),
            r#"template: "python-data" does not run javascript; use one of: node, typescript"#
        );
        assert!(Template::of(&spec(Language::Bash, "python-data"), &store).is_ok());
    }
}
