//! `fireclay cache`: lists and removes packages that runs asked for.

use crate::args::{CacheArguments, CacheCommand};
use crate::env::Settings;
use crate::serving::Serving;
use model::units;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use worker::image::packages::PackageStore;
use worker::image::toolchain::ToolchainStore;

/// Carries out one command on installed packages.
pub fn cache(arguments: &CacheArguments, settings: &Settings) -> anyhow::Result<u8> {
    let store = PackageStore::open(&settings.data, &settings.path);
    match arguments.command {
        CacheCommand::List { json } => list(&store, json),
        CacheCommand::Prune { keep } => {
            // A service has sandboxes that wait, of what was used lately.
            let (count, bytes) = match Serving::read(&settings.data) {
                Some(_) => store.prune(keep)?,
                None => store.prune_at_rest(keep)?,
            };
            // What declared languages need is copied again at its next use.
            let toolchains = ToolchainStore::open(&settings.data, &settings.path);
            let (others, their_bytes) = if keep == 0 { toolchains.prune()? } else { (0, 0) };
            println!("removed {}, {}", count + others, units::format_bytes(bytes + their_bytes));
            Ok(0)
        }
    }
}

fn list(store: &PackageStore, as_json: bool) -> anyhow::Result<u8> {
    let mut all = store.list()?;
    all.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
    let time = |at: SystemTime| {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        worker::run::time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    };
    for (tenant, layer, used) in &all {
        let manifest = &layer.manifest;
        if as_json {
            let row = json!({
                "tenant": tenant, "digest": format!("sha256:{}", layer.hex), "used_at": time(*used),
                "created_at": manifest.created_at, "runtime": manifest.runtime, "template": manifest.template,
                "packages": manifest.packages, "files": manifest.files, "bytes": manifest.bytes,
            });
            println!("{row}");
        } else {
            let size = units::format_bytes(manifest.bytes);
            let packages = manifest.packages.join(", ");
            println!("{}  {tenant}  {size}  {}  {packages}", time(*used), manifest.runtime);
        }
    }
    Ok(0)
}
