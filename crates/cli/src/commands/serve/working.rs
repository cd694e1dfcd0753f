//! `fireclay worker`: a machine that does runs of a cluster, and has no door of its own.

use super::{settings_of, start};
use crate::args::{ServeArguments, WorkerArguments};
use crate::env::Settings as Surroundings;

/// Works until it is told to end, or drained by an operator.
pub fn worker(arguments: &WorkerArguments, surroundings: &Surroundings) -> anyhow::Result<u8> {
    worker::log::of_a_service();
    sys::signal::unblock()?;
    let arguments = ServeArguments {
        listen: None,
        config: arguments.config.clone(),
        set: arguments.set.clone(),
        cluster: Some(arguments.cluster.clone()),
        credentials: Some(arguments.credentials.clone()),
        local: false,
    };
    let mut cluster = None;
    let settings = || {
        let mut settings = settings_of(&arguments)?;
        // It joins as a worker, below, not as a gateway.
        cluster = Some(settings.cluster.clone());
        settings.cluster.url = String::new();
        Ok(settings)
    };
    let started = start(settings, surroundings, false)?;
    let cluster = cluster.unwrap_or_else(|| started.service.settings.cluster.clone());
    let ready = |name: &str| println!("fireclay works as {name}");
    started.runtime.block_on(server::cluster::work(&started.service, &cluster, ready))?;
    Ok(0)
}
