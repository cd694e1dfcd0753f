//! Who a node is: its name, its role, and the key by which NATS knows it and with which a gateway signs.

use crate::bus::ClusterError;
use crate::names::Name;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a credential may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends runs, records what became of them, may run too.
    Gateway,
    /// Pulls runs, reports and settles its own.
    Worker,
    /// Looks after streams; signs nothing.
    Operator,
}

impl Role {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Operator => "operator",
        }
    }
}

/// A credential, as `fireclay cluster init` wrote it: a file of JSON that only its node may read.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// What it may do.
    pub role: Role,
    /// The node; one process at a time.
    pub name: Name,
    /// The secret: an nkey seed (`SU…`, NATS' encoding of an Ed25519 seed).
    pub seed: String,
    /// Copies that streams have.
    pub replicas: usize,
    /// Certificates that servers' are checked against, PEM; without it nothing is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Whose signature on a run counts: the public nkeys of gateways, by name.
    pub gateways: BTreeMap<Name, String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} {})", self.role.name(), self.name)
    }
}

impl Identity {
    /// Reads a credential.
    pub fn read(path: &Path) -> Result<Self, ClusterError> {
        let wrong = |what: String| ClusterError::Credential { path: path.to_owned(), what };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let identity: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        KeyPair::from_seed(&identity.seed).map_err(|_| wrong("the seed is not an nkey's".to_owned()))?;
        Ok(identity)
    }

    /// Signs as this node. An Ed25519 signature (RFC 8032).
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let pair = KeyPair::from_seed(&self.seed).expect("it was checked when it was read");
        pair.sign(bytes).expect("a pair from a seed signs")
    }

    /// Says whether this gateway signed these bytes.
    pub fn is_signed_by(&self, gateway: &Name, bytes: &[u8], signature: &[u8]) -> bool {
        let known = self.gateways.get(gateway).and_then(|public| KeyPair::from_public_key(public).ok());
        known.is_some_and(|pair| pair.verify(bytes, signature).is_ok())
    }

    /// Where answers to this node come: nobody else may listen there.
    pub fn inbox(&self) -> String {
        format!("_INBOX_{}", self.name)
    }
}
