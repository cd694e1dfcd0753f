//! Environments of shipped templates that came from other machines.

use super::super::parcel::{Arriving, Packed, Parcel};
use super::*;

impl Environment {
    /// What it is on its way to another machine.
    pub fn parcel(&self) -> Result<Parcel, ImageError> {
        Ok(Parcel { hex: hex_of(&self.digest).to_owned(), bytes: self.packed()?.size() })
    }

    /// Its content, as it travels.
    pub fn packed(&self) -> Result<Packed, ImageError> {
        Packed::open(self.rootfs.parent().unwrap_or(&self.rootfs))
    }
}

impl EnvironmentManifest {
    /// Whether it is of this recipe, for this interpreter.
    pub fn is_of(&self, recipe: &Recipe<'_>, python: &Runtime) -> bool {
        self.recipe == recipe.digest() && self.python == *python
    }
}

impl EnvironmentStore {
    /// Keeps an environment that has come, for the recipe that it is of.
    pub fn take_over(
        &self,
        recipe: &Recipe<'_>,
        arriving: Arriving,
        manifest: &EnvironmentManifest,
    ) -> Result<(), ImageError> {
        let made = arriving.finish()?;
        let hex = hex_of(&manifest.digest);
        let name = recipe.reference(&manifest.python);
        check_name(&name)?;
        let _lock = self.environments.lock()?;
        let json = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
        write_file(&made.join("manifest.json"), &json)?;
        let is_there = self.load(hex).ok().flatten().is_some();
        self.environments.settle(&made, &name, hex, is_there)?;
        self.environments.prune()
    }
}
