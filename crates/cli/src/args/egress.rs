//! Arguments of commands that let code reach hosts.

use clap::Args;
use model::Egress;

/// What code may reach.
#[derive(Debug, Clone, Default, Args)]
pub struct EgressArguments {
    /// A host that it may reach, on ports 443 and 80 unless one is named: api.github.com, '*.example.org', host:8443; may be repeated
    #[arg(long = "allow-host", value_name = "HOST[:PORT]")]
    pub allow_host: Vec<String>,
    /// A secret that it may use and never sees, and the host that it is for: `GITHUB_TOKEN=api.github.com`; its variable has a placeholder,
    /// which the proxy replaces in header fields of requests to that host over TLS. `fireclay secret set` keeps it; may be repeated
    #[arg(long = "secret", value_name = "NAME=HOST[:PORT]", value_parser = secret)]
    pub secret: Vec<(String, String)>,
}

fn secret(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    let (name, host) = parts.ok_or("write NAME=HOST, such as GITHUB_TOKEN=api.github.com")?;
    Ok((name.to_owned(), host.to_owned()))
}

impl EgressArguments {
    /// As a request says it.
    pub fn of(&self) -> Option<Egress> {
        let secrets = self.secret.iter().cloned().collect();
        let said = !self.allow_host.is_empty() || !self.secret.is_empty();
        said.then(|| Egress { allow: self.allow_host.clone(), methods: None, secrets })
    }
}
