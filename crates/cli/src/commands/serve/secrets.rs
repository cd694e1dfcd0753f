//! Secrets by reference: the key that seals them, and the authority below which the proxies put them in.

use crate::env;
use anyhow::Context;
use server::secrets::{Seal, Secrets};
use server::settings::Settings;
use server::traces::otlp::{Secured, Stream, Tls};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpStream;
use vault::Client;
use vault::seal::Sealer;
use worker::proxies::{Keeper, Proxies};

/// The file of the key, in the data directory.
const KEY: &str = "secrets.key";
/// What is laid over the image of a sandbox that uses secrets.
const LAYER: &str = "trust";

struct Sealed(Sealer);

impl Seal for Sealed {
    fn seal(&self, what: &str, value: &[u8]) -> Result<Vec<u8>, String> {
        self.0.seal(what, value).map_err(|error| error.to_string())
    }

    fn open(&self, what: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open_sealed(what, sealed).ok()
    }
}

/// Opens the secrets of a data directory, and has the proxies put them in.
pub fn open(
    data: &Path,
    settings: &Settings,
    (store, proxies): (&Store, &Proxies),
    rootfs: &Path,
) -> anyhow::Result<Option<Arc<Secrets>>> {
    let sealer = Sealer::open(&data.join(KEY)).context("read the key of secrets")?;
    let secrets = Arc::new(Secrets::open(store, &store.reader(), Box::new(Sealed(sealer)))?);
    let roots = match settings.egress.ca.as_str() {
        "" => String::new(),
        path => std::fs::read_to_string(path).with_context(|| format!("read egress.ca, {path}"))?,
    };
    match Keeper::new(secrets.clone(), &roots, &data.join(LAYER), rootfs) {
        Ok(keeper) => proxies.set_keeper(keeper),
        // A machine that trusts nobody serves all the same, without secrets.
        Err(error) => eprintln!("fireclay: secrets cannot be used: {error}"),
    }
    Ok(Some(secrets))
}

/// TLS to a collector of traces.
struct ToCollector(Client);

impl fmt::Debug for ToCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToCollector")
    }
}

impl Tls for ToCollector {
    fn secure<'a>(&'a self, host: &'a str, stream: TcpStream) -> Secured<'a> {
        Box::pin(async move {
            let secured: Box<dyn Stream> = Box::new(self.0.connect(host, stream).await?);
            Ok(secured)
        })
    }
}

/// What speaks TLS to a collector of traces; nothing on a machine that trusts nobody.
pub fn tls() -> anyhow::Result<Option<Arc<dyn Tls>>> {
    let roots = match env::certificates_of_collector() {
        None => String::new(),
        Some(path) => std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?,
    };
    Ok(Client::new(&roots).ok().map(|client| Arc::new(ToCollector(client)) as Arc<dyn Tls>))
}
