//! Templates that an operator made: a shipped one, and layers over it. A version is never changed; a name stands for the newest.
//!
//! ```text
//! <data directory>/definitions/<name>/<digest>.json     one version; the first twelve digits of its digest
//! <data directory>/definitions/<name>/newest            those digits of the version that the name stands for
//! <data directory>/template-layers/<name>/…             its layers, as image/packages.rs keeps them
//! ```
//!
//! A tenant's own is called `TENANT/NAME` in here, which no request can say, and lies where an operator's does under a digest of that. Who asks for a name of
//! theirs is given their own before an operator's of the same name ([`TemplateStore::for_tenant`]).

use super::declared::Declared;
use super::{NotReady, Row, Template, Variable};
use crate::image::packages::{PackageLayer, PackageStore};
use crate::image::toolchain::ToolchainStore;
use crate::image::vault::{check_name, entries, make_directory, read, remove_tree, write_file};
use crate::image::{Image, ImageError};
use crate::run::hex;
use model::{Fault, FaultCode, Language, Rejection, RunRequest, TemplateDefinition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

mod arrived;

/// How many digits of a digest name a version.
const VERSION_DIGITS: usize = 12;

/// How many digits of a digest a tenant's template lies under.
const PLACE_DIGITS: usize = 32;

/// One version of an operator's template, or of a tenant's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnTemplate {
    /// What was asked for.
    pub definition: TemplateDefinition,
    /// The digest of that and of its layers, in hexadecimal.
    pub digest: String,
    /// Its layers by digest, the uppermost first.
    pub layers: Vec<String>,
    /// The packages that it was resolved to, with their versions.
    pub packages: Vec<String>,
    /// The interpreter that its packages are for, such as `Python 3.12.3`; empty if it has none.
    pub runtime: String,
    /// Whose alone it is; absent is everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The version of Python that it is for, if that is not the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Bytes of its layers.
    pub bytes: u64,
    /// When it was built, RFC 3339, UTC.
    pub created_at: String,
}

impl OwnTemplate {
    /// One of these parts.
    pub(super) fn new(
        definition: TemplateDefinition,
        (tenant, python): (Option<String>, Option<String>),
        layers: &[PackageLayer],
    ) -> Self {
        let hexes: Vec<String> = layers.iter().map(|layer| layer.hex.clone()).collect();
        let said = serde_json::to_string(&definition).expect("a definition is plain data");
        let digest = hex(&Sha256::digest(format!("template 1\n{}\n{said}", hexes.join(" "))));
        let manifests = || layers.iter().map(|layer| &layer.manifest);
        let with_packages = manifests().find(|manifest| !manifest.runtime.is_empty());
        Self {
            definition,
            digest,
            layers: hexes,
            packages: with_packages.map(|manifest| manifest.packages.clone()).unwrap_or_default(),
            runtime: with_packages.map(|manifest| manifest.runtime.clone()).unwrap_or_default(),
            tenant,
            python,
            bytes: manifests().map(|manifest| manifest.bytes).sum(),
            created_at: jiff::Timestamp::now().to_string(),
        }
    }

    /// What the store and its machine call it.
    pub fn reference(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{}", self.definition.name),
            None => self.definition.name.clone(),
        }
    }

    /// What its version is called: the first digits of its digest.
    pub fn version(&self) -> &str {
        &self.digest[..VERSION_DIGITS.min(self.digest.len())]
    }
}

/// The templates that an operator made on this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TemplateStore {
    directory: PathBuf,
    layers: PackageStore,
    toolchains: ToolchainStore,
}

impl TemplateStore {
    /// Opens the store below `data_dir`. Creates nothing until something is built.
    pub fn open(data_dir: &Path, search: &OsStr) -> Self {
        let layers = PackageStore::of_directory(data_dir, "template-layers", search);
        let toolchains = ToolchainStore::open(data_dir, search);
        Self { directory: data_dir.join("definitions"), layers, toolchains }
    }

    /// What declared languages need.
    pub fn toolchains(&self) -> &ToolchainStore {
        &self.toolchains
    }

    /// Where layers are kept, by template.
    pub(super) fn layers(&self) -> &PackageStore {
        &self.layers
    }

    /// What a tenant's name of a template stands for: shipped, its own, or an operator's. What is none is returned as it is, to be refused by its name.
    pub fn for_tenant(&self, tenant: &str, name: &str) -> String {
        let own = format!("{tenant}/{name}");
        let is_own = !name.contains('/') && Template::shipped(name).is_none();
        match is_own && matches!(self.own(&own), Ok(Some(_))) {
            true => own,
            // Neither is in a name that a request may say.
            false => name.replace(['/', '.'], " "),
        }
    }

    /// The template of a name, or of a name and version as `NAME@VERSION`: shipped, an operator's, or as `TENANT/NAME` a tenant's.
    pub fn find(&self, name: &str) -> Result<Template, NotReady> {
        if let Some(template) = Template::shipped(name) {
            return Ok(template);
        }
        match self.own(name)? {
            Some(own) => Ok(Template::over(own)?),
            None => {
                let tenant = name.split_once('/').map(|(tenant, _)| tenant);
                let names: Vec<String> =
                    self.all(tenant)?.into_iter().map(|template| template.name).collect();
                let hint = format!("use one of: {}", names.join(", "));
                Err(Rejection::new("template", format!("there is no template {name:?}"), hint).into())
            }
        }
    }

    /// A request with what its template says where it says nothing.
    pub fn fill(&self, tenant: &str, mut request: RunRequest) -> RunRequest {
        let named = request.template.as_ref().filter(|name| Template::shipped(name).is_none());
        let named = named.map(|name| self.for_tenant(tenant, name));
        // A name that is none is told by whoever admits the run.
        let own = named.and_then(|name| self.own(&name).ok().flatten());
        if let Some(OwnTemplate { definition, python, .. }) = own {
            if request.language.is_none_or(|language| matches!(language, Language::Python | Language::Bash)) {
                request.python = request.python.or(python);
            }
            request.limits = request.limits.or(&definition.limits);
            request.egress = request.egress.or(definition.egress);
        }
        request
    }

    /// An operator's template of this name, if there is one.
    pub fn own(&self, name: &str) -> Result<Option<OwnTemplate>, Fault> {
        let (name, version) =
            name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
        // What cannot be a name is none.
        if version.is_some_and(|version| check_name(version).is_err()) || place_of(name).is_err() {
            return Ok(None);
        }
        let of_version = |version: &str| {
            let path = self.place(name)?.join(format!("{version}.json"));
            let Some(bytes) = read(&path)? else { return Ok(None) };
            serde_json::from_slice(&bytes).map(Some).map_err(|source| ImageError::Manifest { path, source })
        };
        let found = match version {
            Some(version) => of_version(version),
            None => self.newest(name).and_then(|newest| match newest {
                Some(version) => of_version(&version),
                None => Ok(None),
            }),
        };
        found.map_err(failed)
    }

    /// The version that a name stands for. One small file is read.
    pub(super) fn newest(&self, name: &str) -> Result<Option<String>, ImageError> {
        let name = name.split('@').next().unwrap_or_default();
        let bytes = read(&self.place(name)?.join("newest"))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Every template that a tenant sees, shipped ones first, of others the newest versions: an operator's, and the tenant's own.
    pub fn all(&self, tenant: Option<&str>) -> Result<Vec<Template>, Fault> {
        let mut all: Vec<Template> = Template::all().collect();
        let mut own = self.every()?;
        own.retain(|own| own.tenant.is_none() || own.tenant.as_deref() == tenant);
        // A tenant's own hides an operator's of the same name.
        let hidden: Vec<String> =
            own.iter().filter(|own| own.tenant.is_some()).map(|own| own.definition.name.clone()).collect();
        own.retain(|own| own.tenant.is_some() || !hidden.contains(&own.definition.name));
        own.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        for own in own {
            all.push(Template::over(own)?);
        }
        Ok(all)
    }

    /// The newest version of every template that is not shipped, whosesoever.
    fn every(&self) -> Result<Vec<OwnTemplate>, Fault> {
        let names = entries(&self.directory).map_err(failed)?;
        let found = names.iter().map(|name| self.own(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// How many there are that are not shipped, and the bytes of all their layers; of one tenant's own, or of all.
    pub fn usage(&self, tenant: Option<&str>) -> Result<(usize, u64), Fault> {
        let mut all = self.every()?;
        all.retain(|own| tenant.is_none() || own.tenant.as_deref() == tenant);
        let mut bytes = 0;
        let places: Vec<String> = all.iter().filter_map(|own| place_of(&own.reference()).ok()).collect();
        for (name, layer, _) in self.layers.list().map_err(failed)? {
            if tenant.is_none() || places.contains(&name) {
                bytes += layer.manifest.bytes;
            }
        }
        Ok((all.len(), bytes))
    }

    /// Keeps a version; its name stands for it from now on.
    pub(super) fn keep(&self, own: &OwnTemplate) -> Result<(), ImageError> {
        let directory = self.place(&own.reference())?;
        make_directory(&directory)?;
        let json = serde_json::to_vec_pretty(own).expect("a record is plain data");
        replace(&directory.join(format!("{}.json", own.version())), &json)?;
        replace(&directory.join("newest"), own.version().as_bytes())
    }

    /// Removes every version of a name; `false` if there was none. While a sandbox of it waits or runs it stays, and that is an error.
    pub fn remove(&self, name: &str) -> Result<bool, ImageError> {
        let Ok(directory) = self.place(name) else { return Ok(false) };
        if !directory.exists() {
            return Ok(false);
        }
        self.layers.remove_all(&place_of(name)?)?;
        remove_tree(&directory)?;
        Ok(true)
    }

    fn place(&self, name: &str) -> Result<PathBuf, ImageError> {
        Ok(self.directory.join(place_of(name)?))
    }

    /// The layers of a template, kept from being removed as long as the files are open.
    pub(super) fn hold(&self, own: &OwnTemplate, image: &Image) -> Result<Vec<(PathBuf, File)>, NotReady> {
        let (name, place) = (&own.definition.name, place_of(&own.reference()).map_err(failed)?);
        let again = format!("build it again: `fireclay template build` with the file of {name}");
        let runtimes = &image.manifest.runtimes;
        let named = |name: &str, runtime: &Option<crate::image::Runtime>| {
            runtime.as_ref().map(|runtime| format!("{name} {}", runtime.version))
        };
        let present = [named("Python", &runtimes.python), named("Node", &runtimes.node)];
        if !own.runtime.is_empty() && !present.iter().flatten().any(|present| *present == own.runtime) {
            let message = format!("{name:?} was built for {}, and this run has another", own.runtime);
            return Err(Rejection::new("template", message, again).into());
        }
        let one = |hex: &String| {
            let layer = self.layers.get(&place, hex).map_err(failed)?;
            let hold = layer.as_ref().map(|layer| self.layers.hold(layer)).transpose().map_err(failed)?;
            match (layer, hold.flatten()) {
                (Some(layer), Some(hold)) => Ok((layer.rootfs, hold)),
                _ => {
                    let message = format!("a layer of {name:?} is gone");
                    Err(NotReady::from(Rejection::new("template", message, again.clone())))
                }
            }
        };
        own.layers.iter().map(one).collect()
    }
}

impl Template {
    /// What an operator's template is as one.
    fn over(own: OwnTemplate) -> Result<Template, Fault> {
        let definition = &own.definition;
        let base = Template::shipped(&definition.base);
        let base = base.ok_or_else(|| failed(format!("{}: no such base", definition.base)))?;
        let reason = || format!("{} says so.", definition.name);
        let row = |name: &String| Row { name: name.clone(), reason: reason() };
        let variable = |(name, value): (&String, &String)| Variable {
            name: name.clone(),
            value: value.clone(),
            reason: reason(),
        };
        let packages = own.packages.iter().map(row);
        Ok(Template {
            name: definition.name.clone(),
            purpose: definition.purpose.clone(),
            packages: base.packages.iter().cloned().chain(packages).collect(),
            modules: base.modules.iter().cloned().chain(definition.modules.iter().map(row)).collect(),
            env: base.env.iter().cloned().chain(definition.env.iter().map(variable)).collect(),
            languages: base.languages,
            rehearsals: base.rehearsals,
            leave_out: base.leave_out,
            declared: base.declared.map(|declared| Declared {
                compile: definition.compile.clone().or(declared.compile),
                ..declared
            }),
            own: Some(Box::new(own)),
        })
    }
}

/// The directory of a template of this reference. A tenant's has no name of an operator's, which has no dot; and one that is found as it lies is itself.
pub(super) fn place_of(reference: &str) -> Result<String, ImageError> {
    let Some((tenant, name)) = reference.split_once('/') else {
        return check_name(reference).map(|()| reference.to_owned());
    };
    check_name(name)?;
    Ok(format!("own.{}", &hex(&Sha256::digest(format!("{tenant}/{name}")))[..PLACE_DIGITS]))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let new = path.with_extension("new");
    write_file(&new, bytes)?;
    fs::rename(&new, path).map_err(|source| ImageError::Io { action: "rename", path: path.into(), source })
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("templates: {error}"))
}
