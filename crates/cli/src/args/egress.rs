//! Arguments of commands that let code reach hosts.

use clap::Args;
use model::Egress;

/// What code may reach.
#[derive(Debug, Clone, Default, Args)]
pub struct EgressArguments {
    /// A host that it may reach, on ports 443 and 80 unless one is named: api.github.com, '*.example.org', host:8443; may be repeated
    #[arg(long = "allow-host", value_name = "HOST[:PORT]")]
    pub allow_host: Vec<String>,
}

impl EgressArguments {
    /// As a request says it.
    pub fn of(&self) -> Option<Egress> {
        (!self.allow_host.is_empty()).then(|| Egress { allow: self.allow_host.clone(), methods: None })
    }
}
