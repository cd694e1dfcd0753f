//! In place of secrets, in a build that leaves them out.

use server::secrets::Secrets;
use server::settings::Settings;
use server::traces::otlp::Tls;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use worker::proxies::Proxies;

/// There are none.
pub fn open(_: &Path, _: &Settings, _: (&Store, &Proxies), _: &Path) -> anyhow::Result<Option<Arc<Secrets>>> {
    Ok(None)
}

/// Nothing speaks TLS.
pub fn tls() -> anyhow::Result<Option<Arc<dyn Tls>>> {
    Ok(None)
}
