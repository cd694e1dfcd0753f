//! The way out of a sandbox that is made here, without a service: a proxy process for this one run.

use crate::env;
use anyhow::Context;
use model::{Egress, EgressAttempt, Fault, RunSpec};
use server::settings::Settings;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use worker::pool::SpawnerCommand;
use worker::proxies::{Gate, Proxies};

/// What a run reaches hosts by, if it may reach any.
pub struct WayOut(Option<Way>);

struct Way {
    proxies: Proxies,
    asked: Egress,
    gate: RefCell<Option<Result<Gate, Fault>>>,
}

impl WayOut {
    /// Starts a proxy for a run that asks for hosts.
    pub fn of(spec: &RunSpec) -> anyhow::Result<Self> {
        let Some(asked) = spec.egress.clone() else { return Ok(Self(None)) };
        let program = PathBuf::from("/proc/self/exe");
        let proxies = Proxies::start(SpawnerCommand { program, args: vec!["egress".to_owned()] });
        let proxies = proxies.context("start the proxy")?;
        // What the machine's service would hold to, as far as the environment says it.
        let settings = Settings::resolve(None, &env::of_the_service(), &[])?;
        proxies.set_policy(settings.egress.policy().map_err(anyhow::Error::msg)?);
        proxies.admit("", &asked)?;
        Ok(Self(Some(Way { proxies, asked, gate: RefCell::default() })))
    }

    /// Has the sandbox's listener served.
    pub fn serve(&self, listener: OwnedFd) {
        if let Some(way) = &self.0 {
            *way.gate.borrow_mut() = Some(way.proxies.open("", &way.asked, listener));
        }
    }

    /// Ends all connections; returns what the program tried.
    pub fn close(&self) -> anyhow::Result<Vec<EgressAttempt>> {
        let gate = self.0.as_ref().and_then(|way| way.gate.borrow_mut().take()).transpose()?;
        Ok(gate.map(Gate::close_and_wait).unwrap_or_default())
    }
}
