//! Versions of operators' templates that came from other machines: found by name and version, never by name alone.

use super::*;

impl TemplateStore {
    /// Keeps a version whose layers are here; what its name stands for stays as it is.
    pub fn take_over(&self, own: &OwnTemplate) -> Result<(), ImageError> {
        check_name(own.version())?;
        let directory = self.place(&own.definition.name)?;
        let path = directory.join(format!("{}.json", own.version()));
        if path.exists() {
            return Ok(());
        }
        make_directory(&directory)?;
        let json = serde_json::to_vec_pretty(own).expect("a record is plain data");
        replace(&path, &json)
    }

    /// Removes what came from elsewhere and was not used for longest, until its layers hold at most so many bytes; and versions whose
    /// layers are gone.
    pub fn prune_arrived(&self, most_bytes: u64) -> Result<(), ImageError> {
        if !self.layers.prune_arrived(most_bytes)? {
            return Ok(());
        }
        for name in entries(&self.directory)? {
            let newest = self.newest(&name)?;
            for file in entries(&self.place(&name)?)? {
                let Some(version) = file.strip_suffix(".json").filter(|at| newest.as_deref() != Some(at))
                else {
                    continue;
                };
                let Ok(Some(own)) = self.own(&format!("{name}@{version}")) else { continue };
                let is_here = |hex: &String| self.layers.get(&name, hex).ok().flatten().is_some();
                if !own.layers.iter().all(is_here) {
                    let path = self.place(&name)?.join(&file);
                    fs::remove_file(&path).map_err(|source| ImageError::Io {
                        action: "remove",
                        path,
                        source,
                    })?;
                }
            }
        }
        Ok(())
    }
}
