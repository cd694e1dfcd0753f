//! Who keeps secrets, what goes with a listener whose sandbox uses some, and how its proxy gets them.

use super::Vault;
use egress::Proxy;
use egress::secret::{Secret, Secrets};
use egress::target::Target;
use model::{Egress, Fault, FaultCode, Rejection, placeholder};
use sandbox::command::OWN_CERTIFICATES;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::{Authority, Terminator};

/// The certificates that the machine trusts, in an image.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Secrets of a service: who knows them, the authority below which they are put in, and what sandboxes trust it by. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    vault: Arc<dyn Vault>,
    authority: Arc<Authority>,
    roots: Arc<str>,
    layer: PathBuf,
}

/// Says nothing of a key.
impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("layer", &self.layer).finish_non_exhaustive()
    }
}

/// What goes with a listener. It has no `Debug`: values are in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Said {
    authority: Authority,
    roots: String,
    secrets: Vec<(String, Vec<u8>, String)>,
}

impl Keeper {
    /// One with a new authority. Below `place`, which is emptied, is the layer by which sandboxes trust it and all that the image at
    /// `rootfs` trusts; servers are checked by what the machine trusts and by `roots` (PEM).
    ///
    /// # Errors
    /// What the file system says; roots that are none.
    pub fn new(vault: Arc<dyn Vault>, roots: &str, place: &Path, rootfs: &Path) -> io::Result<Self> {
        let authority = Authority::new().map_err(io::Error::other)?;
        Terminator::new(&authority, roots).map_err(io::Error::other)?;
        match std::fs::remove_dir_all(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let trusted = match std::fs::read_to_string(rootfs.join(CERTIFICATES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let file = place.join(OWN_CERTIFICATES);
        std::fs::create_dir_all(file.parent().unwrap_or(place))?;
        std::fs::write(&file, format!("{trusted}\n{roots}\n{}", authority.certificate))?;
        Ok(Self { vault, authority: Arc::new(authority), roots: roots.into(), layer: place.to_owned() })
    }

    /// The layer over the image of a sandbox that uses secrets.
    pub fn layer(&self) -> &Path {
        &self.layer
    }

    /// Says whether a tenant has the secrets that it names, for the hosts that it names them for.
    pub(super) fn admit(&self, tenant: &str, asked: &Egress) -> Result<(), Rejection> {
        for (name, host) in &asked.secrets {
            let field = format!("egress.secrets.{name}");
            if let Err(why) = Target::parse(host.as_bytes(), None) {
                return Err(Rejection::new(
                    field,
                    format!("{host:?} {why}"),
                    "name one host, as api.github.com",
                ));
            }
            if self.vault.value(tenant, name, host).is_none() {
                let message = format!("there is no secret {name} for {host}");
                let hint = "keep it, with the hosts that it may go to: `fireclay secret set NAME --host HOST`, or PUT /v1/secrets/NAME";
                return Err(Rejection::new(field, message, hint));
            }
        }
        Ok(())
    }

    /// What is asked for without the secrets that were removed meanwhile: those are put in no more.
    pub(super) fn left_of(&self, tenant: &str, asked: &Egress) -> Egress {
        let mut left = asked.clone();
        left.secrets.retain(|name, host| self.vault.value(tenant, name, host).is_some());
        left
    }

    /// What goes with a listener.
    pub(super) fn say(&self, tenant: &str, asked: &Egress) -> Result<Said, Fault> {
        let value = |(name, host): (&String, &String)| {
            let value = self.vault.value(tenant, name, host);
            value.map(|value| (name.clone(), value, host.clone())).ok_or_else(|| {
                Fault::new(FaultCode::ResourcesExhausted, format!("the secret {name} was removed meanwhile"))
            })
        };
        let secrets = asked.secrets.iter().map(value).collect::<Result<_, _>>()?;
        Ok(Said { authority: Authority::clone(&self.authority), roots: self.roots.to_string(), secrets })
    }
}

/// A proxy with the secrets of its sandbox.
pub(super) fn with(proxy: Proxy, said: Option<Said>) -> io::Result<Proxy> {
    let Some(Said { authority, roots, secrets }) = said else { return Ok(proxy) };
    let terminator = Terminator::new(&authority, &roots).map_err(io::Error::other)?;
    let secret = |(name, value, host): (String, Vec<u8>, String)| {
        let target = Target::parse(host.as_bytes(), None).map_err(io::Error::other)?;
        Secret::new(&placeholder(&name), &value, target).map_err(io::Error::other)
    };
    let secrets = secrets.into_iter().map(secret).collect::<io::Result<_>>()?;
    Ok(proxy.with_secrets(Secrets::new(secrets, Box::new(terminator))))
}
