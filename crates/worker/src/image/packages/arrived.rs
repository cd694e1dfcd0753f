//! Layers that came from other machines: kept as those that were built here, under a name of their own.

use super::super::parcel::{Arriving, Packed, Parcel};
use super::super::vault::remove_tree;
use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

impl PackageLayer {
    /// What it is on its way to another machine.
    pub fn parcel(&self) -> Result<Parcel, ImageError> {
        Ok(Parcel { hex: self.hex.clone(), bytes: self.packed()?.size() })
    }

    /// Its content, as it travels.
    pub fn packed(&self) -> Result<Packed, ImageError> {
        Packed::open(self.rootfs.parent().unwrap_or(&self.rootfs))
    }
}

impl PackageStore {
    /// Begins to take in a layer, beside what is kept.
    pub fn arriving(&self, parcel: &Parcel) -> Result<Arriving, ImageError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arriving::begin(self.arrivals().join(format!("{}-{number}", std::process::id())), parcel)
    }

    /// Removes what a process before this one did not finish.
    pub fn sweep_arrivals(&self) -> Result<(), ImageError> {
        let directory = self.arrivals();
        if directory.exists() { remove_tree(&directory) } else { Ok(()) }
    }

    fn arrivals(&self) -> PathBuf {
        self.directory.with_file_name("arrivals")
    }

    /// A layer that is here, built or arrived; it counts as used now.
    pub fn arrived(&self, tenant: &str, hex: &str) -> Result<Option<PackageLayer>, ImageError> {
        match self.find(tenant, &name_of(hex))? {
            Some(layer) => Ok(Some(layer)),
            None => self.get(tenant, hex),
        }
    }

    /// What a layer of a tenant is asked for by here: other machines of the same settings ask for it by the same.
    pub fn keys_of(&self, tenant: &str, hex: &str) -> Result<Vec<String>, ImageError> {
        let names = self.vault(tenant)?.names()?;
        let of = |(name, at): (String, String)| (at == hex && name != name_of(hex)).then_some(name);
        Ok(names.into_iter().filter_map(of).collect())
    }

    /// Keeps a layer that has come.
    pub fn take_over(
        &self,
        tenant: &str,
        arriving: Arriving,
        (hex, manifest): (&str, &PackageManifest),
    ) -> Result<PackageLayer, ImageError> {
        let made = arriving.finish()?;
        let vault = self.vault(tenant)?;
        let lock = vault.lock()?;
        let json = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
        write_file(&made.join("manifest.json"), &json)?;
        let is_there = self.of_owner(tenant, hex).ok().flatten().is_some();
        vault.settle(&made, &name_of(hex), hex, is_there)?;
        drop(lock);
        self.get(tenant, hex)?.ok_or_else(|| ImageError::NotFound { name: hex.to_owned() })
    }
}

/// The name of a layer that came from elsewhere: short enough to be one.
fn name_of(hex: &str) -> String {
    format!("arrived-{}", hex.get(..48).unwrap_or(hex))
}

impl PackageStore {
    /// Removes layers that came from elsewhere and were not used for longest, until those hold at most so many bytes. What is in use stays.
    /// Returns whether one is gone.
    pub(crate) fn prune_arrived(&self, most_bytes: u64) -> Result<bool, ImageError> {
        let mut all = Vec::new();
        for tenant in vault::entries(&self.directory)? {
            let Ok(vault) = self.vault(&tenant) else { continue };
            let names = vault.names()?;
            let has_another = |hex: &str| names.iter().any(|(name, at)| at == hex && *name != name_of(hex));
            for (name, hex) in names.iter().filter(|(name, hex)| **name == name_of(hex) && !has_another(hex))
            {
                let layer = self.of_owner(&tenant, hex)?;
                all.extend(layer.map(|layer| (vault.touched(name).ok(), tenant.clone(), layer)));
            }
        }
        all.sort_by_key(|(used, ..)| *used);
        let mut held: u64 = all.iter().map(|(.., layer)| layer.manifest.bytes).sum();
        let mut has_gone = false;
        for (_, tenant, layer) in all {
            if held <= most_bytes {
                break;
            }
            let vault = self.vault(&tenant)?;
            let _lock = vault.lock()?;
            if vault.discard(&layer.hex)? {
                vault.forget(&name_of(&layer.hex))?;
                held -= layer.manifest.bytes;
                has_gone = true;
            }
        }
        Ok(has_gone)
    }
}
