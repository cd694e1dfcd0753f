//! What a run needs besides an image, as another machine is told it, by digest: an operator's template, the environment of a shipped one,
//! the packages that were installed for it. And what this machine makes of such a list.

use super::*;
use crate::image::environment::EnvironmentManifest;
use crate::image::packages::PackageManifest;
use crate::image::parcel::{Arriving, Packed, Parcel};
use std::path::PathBuf;

/// What a run needs of the machine that took it in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Luggage {
    /// Of which interpreters and processor it is: of others it is of no use.
    host: String,
    /// The operator's template, if it is a run of one.
    template: Option<Box<OwnTemplate>>,
    /// Layers.
    layers: Vec<Carried>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// What travels.
    pub parcel: Parcel,
    /// Whose it is.
    of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    /// A shipped template's.
    Environment(EnvironmentManifest),
    /// An operator's template's.
    Template(PackageManifest),
    /// The run's, or the session's with what it is asked for by.
    Packages { manifest: PackageManifest, keys: Vec<String> },
}

/// A layer that is here, and stays as long as this lives.
#[derive(Debug)]
pub struct Piece {
    /// What travels.
    pub parcel: Parcel,
    /// Where it is: what [`Packed::open`] reads.
    directory: PathBuf,
    _hold: File,
}

impl Piece {
    /// Its content, as it travels.
    pub fn open(&self) -> Result<Packed, ImageError> {
        Packed::open(&self.directory)
    }
}

impl Luggage {
    /// Its layers.
    pub fn layers(&self) -> &[Carried] {
        &self.layers
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.template.is_none() && self.layers.is_empty()
    }

    /// The template of the run where it is from elsewhere: a name and a version.
    pub fn template(&self) -> Option<String> {
        self.template.as_ref().map(|own| format!("{}@{}", own.definition.name, own.version()))
    }

    /// The digest of the run's packages.
    pub fn packages(&self) -> Option<&str> {
        let of_run = |carried: &&Carried| matches!(carried.of, Of::Packages { .. });
        self.layers.iter().find(of_run).map(|carried| carried.parcel.hex.as_str())
    }
}

impl Templates {
    /// What of this machine a run of a tenant needs, and the layers of it, held.
    pub fn luggage(&self, tenant: &str, spec: &RunSpec) -> Result<(Luggage, Vec<Piece>), NotReady> {
        if spec.python.is_some() {
            return Ok((Luggage::default(), Vec::new()));
        }
        self.luggage_of(tenant, &spec.template, spec.environment.as_deref(), false)
    }

    /// The same of a session, whose node asks for its packages itself: it finds them by what it asks.
    pub fn luggage_of_session(
        &self,
        tenant: &str,
        template: &str,
        environment: Option<&str>,
    ) -> Result<(Luggage, Vec<Piece>), NotReady> {
        self.luggage_of(tenant, template, environment, true)
    }

    fn luggage_of(
        &self,
        tenant: &str,
        template: &str,
        environment: Option<&str>,
        with_keys: bool,
    ) -> Result<(Luggage, Vec<Piece>), NotReady> {
        let is_plain = |(name, _, lock): &(&str, &str, Option<&str>)| *name == template && lock.is_none();
        if environment.is_none() && FILES.iter().any(is_plain) {
            return Ok((Luggage::default(), Vec::new()));
        }
        let template = self.store.find(template)?;
        // What is made for another Python than the image's own, or for another image, is made where that is.
        if template.own.as_ref().is_some_and(|own| own.python.is_some()) || template.image().is_some() {
            return Ok((Luggage::default(), Vec::new()));
        }
        let mut luggage = Luggage { host: self.host(), ..Luggage::default() };
        let mut pieces = Vec::new();
        let shipped = template
            .with_recipe(|recipe| template.environment(recipe, self.pythons.own(), &self.environments));
        if let Some((environment, hold)) = shipped.transpose()? {
            let parcel = self.parcel(&environment.digest, || environment.parcel())?;
            pieces.push(Piece {
                parcel: parcel.clone(),
                directory: beside(&environment.rootfs),
                _hold: hold,
            });
            luggage.layers.push(Carried { parcel, of: Of::Environment(environment.manifest) });
        }
        if let Some(own) = &template.own {
            let name = &own.definition.name;
            for (hex, (rootfs, hold)) in own.layers.iter().zip(self.store.hold(own, self.pythons.own())?) {
                let layer = self.store.layers().get(name, hex).map_err(failed)?;
                let layer = layer.ok_or_else(|| failed("a layer that is held is gone"))?;
                let parcel = self.parcel(hex, || layer.parcel())?;
                pieces.push(Piece { parcel: parcel.clone(), directory: beside(&rootfs), _hold: hold });
                luggage.layers.push(Carried { parcel, of: Of::Template(layer.manifest) });
            }
        }
        if let Some(hex) = environment {
            let layer = self.packages.get(tenant, hex).map_err(failed)?;
            let hold = layer.as_ref().map(|layer| self.packages.hold(layer)).transpose().map_err(failed)?;
            let (Some(layer), Some(hold)) = (layer, hold.flatten()) else {
                return Err(failed("the packages of the run were removed meanwhile").into());
            };
            let parcel = self.parcel(hex, || layer.parcel())?;
            pieces.push(Piece { parcel: parcel.clone(), directory: beside(&layer.rootfs), _hold: hold });
            let keys =
                if with_keys { self.packages.keys_of(tenant, hex).map_err(failed)? } else { Vec::new() };
            luggage.layers.push(Carried { parcel, of: Of::Packages { manifest: layer.manifest, keys } });
        }
        luggage.template = template.own;
        Ok((luggage, pieces))
    }

    /// A list of files can be long, so how much of a layer travels is counted once.
    fn parcel(
        &self,
        name: &str,
        count: impl FnOnce() -> Result<Parcel, ImageError>,
    ) -> Result<Parcel, NotReady> {
        let mut known = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parcel) = known.get(name) {
            return Ok(parcel.clone());
        }
        let parcel = count().map_err(failed)?;
        known.insert(name.to_owned(), parcel.clone());
        Ok(parcel)
    }

    /// Of what machine layers are: interpreters by path and version, and the processor.
    fn host(&self) -> String {
        let runtimes = &self.pythons.own().manifest.runtimes;
        let named = [&runtimes.python, &runtimes.node].map(|runtime| {
            runtime.as_ref().map_or("-".to_owned(), |one| format!("{} {}", one.path.display(), one.version))
        });
        format!("{} {}", std::env::consts::ARCH, named.join(" "))
    }

    /// Whether what is said can be used here.
    pub fn can_use(&self, luggage: &Luggage) -> bool {
        luggage.host == self.host()
    }

    /// The layers that this machine lacks.
    pub fn lacks<'a>(&self, tenant: &str, luggage: &'a Luggage) -> Result<Vec<&'a Carried>, Fault> {
        let mut lacks = Vec::new();
        for carried in &luggage.layers {
            let hex = &carried.parcel.hex;
            let is_here = match &carried.of {
                Of::Environment(manifest) => self.with_recipe_of(manifest, |recipe, python| {
                    Ok(self.environments.find(recipe, python)?.is_some())
                })?,
                Of::Template(_) => self.layer_of_template(luggage, hex)?,
                Of::Packages { .. } => self.packages.arrived(tenant, hex).map_err(failed)?.is_some(),
            };
            if !is_here {
                lacks.push(carried);
            }
        }
        Ok(lacks)
    }

    fn layer_of_template(&self, luggage: &Luggage, hex: &str) -> Result<bool, Fault> {
        let Some(own) = &luggage.template else { return Err(failed("a layer of no template")) };
        let layer = self.store.layers().arrived(&own.definition.name, hex).map_err(failed)?;
        Ok(layer.is_some())
    }

    /// What environments of this kind are made from here; one that is made from something else is none of ours.
    fn with_recipe_of<T>(
        &self,
        manifest: &EnvironmentManifest,
        with: impl FnOnce(&Recipe<'_>, &crate::image::Runtime) -> Result<T, ImageError>,
    ) -> Result<T, Fault> {
        let template = Template::shipped(&manifest.template);
        let python = self.pythons.own().manifest.runtimes.python.as_ref();
        let (Some(template), Some(python)) = (template, python) else {
            return Err(failed(format!("there is no {:?} here", manifest.template)));
        };
        let other = || failed(format!("{:?} is made from other packages there", manifest.template));
        let done =
            template.with_recipe(|recipe| manifest.is_of(recipe, python).then(|| with(recipe, python)));
        done.flatten().ok_or_else(other)?.map_err(failed)
    }

    /// Begins to take in a layer.
    pub fn arriving(&self, carried: &Carried) -> Result<Arriving, Fault> {
        self.packages.arriving(&carried.parcel).map_err(failed)
    }

    /// Keeps a layer that has come. An error if it is not what was said.
    pub fn take_over(
        &self,
        tenant: &str,
        luggage: &Luggage,
        (carried, arriving): (&Carried, Arriving),
    ) -> Result<(), Fault> {
        let hex = carried.parcel.hex.as_str();
        match &carried.of {
            Of::Environment(manifest) if manifest.digest == format!("sha256:{hex}") => self
                .with_recipe_of(manifest, |recipe, _| {
                    self.environments.take_over(recipe, arriving, manifest)
                }),
            Of::Environment(_) => Err(failed("an environment that is not what it says")),
            Of::Packages { manifest, .. } => {
                self.packages.take_over(tenant, arriving, (hex, manifest)).map(drop).map_err(failed)
            }
            Of::Template(manifest) => {
                let Some(own) = &luggage.template else { return Err(failed("a layer of no template")) };
                let kept = self.store.layers().take_over(&own.definition.name, arriving, (hex, manifest));
                kept.map(drop).map_err(failed)
            }
        }
    }

    /// Makes room for what came: packages hold at most so many bytes, and so do templates from elsewhere.
    pub fn make_room(&self, most_bytes: u64) -> Result<(), Fault> {
        self.packages.prune(most_bytes).map_err(failed)?;
        // What was prepared keeps its layers; it is prepared again when it is needed.
        self.known().retain(|name, _| !name.contains('@'));
        self.store.prune_arrived(most_bytes).map_err(failed)
    }

    /// Removes what a process before this one did not finish.
    pub fn sweep_arrivals(&self) -> Result<(), Fault> {
        self.packages.sweep_arrivals().map_err(failed)
    }

    /// Has the operator's template of a run found by its version, and packages by what they are asked for by, once their layers are here.
    pub fn unpack(&self, tenant: &str, luggage: &Luggage) -> Result<(), Fault> {
        for carried in &luggage.layers {
            let Of::Packages { keys, .. } = &carried.of else { continue };
            let layer = self.packages.arrived(tenant, &carried.parcel.hex).map_err(failed)?;
            for (key, layer) in keys.iter().zip(layer.iter().cycle()) {
                self.packages.name(tenant, key, layer).map_err(failed)?;
            }
        }
        luggage.template.iter().try_for_each(|own| self.store.take_over(own)).map_err(failed)
    }
}

/// The directory of a layer.
fn beside(rootfs: &std::path::Path) -> PathBuf {
    rootfs.parent().unwrap_or(rootfs).to_owned()
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("layers from another node: {error}"))
}
