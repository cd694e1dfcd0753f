//! What a sandbox may reach beyond itself, and what it tried to.

use crate::Rejection;
use crate::object;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most entries of a list of hosts.
pub const EGRESS_ENTRIES_MAX: usize = 256;

/// Most secrets of one sandbox.
pub const EGRESS_SECRETS_MAX: usize = 16;

/// What a sandbox may reach: absent is nothing, and so is an empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Hosts: `HOST`, `HOST:PORT`, `*.HOST` for the names below it, or `*.HOST:PORT`. Without a port 443 and 80 are meant. Names only.
    pub allow: Vec<String>,
    /// Methods of plain HTTP, with `CONNECT` for all of TLS; absent means the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Secrets that the tenant keeps (`PUT /v1/secrets/{name}`), and the host that each is for: `HOST` or `HOST:PORT`, over TLS. The host is
    /// allowed by it. The program has a placeholder in the variable of that name; the proxy puts the value into header fields.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}

impl Egress {
    /// What is left of a wish: nothing if it names no host. What its entries may be, who serves them says.
    pub fn admit(said: Option<Egress>) -> Result<Option<Egress>, Rejection> {
        let Some(egress) = said else { return Ok(None) };
        let lists = [("egress.allow", Some(&egress.allow)), ("egress.methods", egress.methods.as_ref())];
        for (field, list) in lists {
            let Some(list) = list else { continue };
            if list.len() > EGRESS_ENTRIES_MAX {
                let message = format!("{} entries", list.len());
                return Err(Rejection::new(field, message, format!("give at most {EGRESS_ENTRIES_MAX}")));
            }
        }
        let mut egress = egress;
        egress.admit_secrets()?;
        Ok((!egress.allow.is_empty()).then_some(egress))
    }

    /// Writes the port to each secret's host, and allows it.
    fn admit_secrets(&mut self) -> Result<(), Rejection> {
        if self.secrets.len() > EGRESS_SECRETS_MAX {
            let message = format!("{} secrets", self.secrets.len());
            return Err(Rejection::new(
                "egress.secrets",
                message,
                format!("give at most {EGRESS_SECRETS_MAX}"),
            ));
        }
        for (name, host) in &mut self.secrets {
            let field = format!("egress.secrets.{name}");
            check_secret_name(name).map_err(|rejection| Rejection { field: field.clone(), ..rejection })?;
            if host.is_empty() || host.starts_with('*') {
                let hint = "name the one host that it is for, such as api.github.com";
                return Err(Rejection::new(field, format!("{host:?} is no host"), hint));
            }
            if !host.contains(':') {
                host.push_str(":443");
            }
            if !self.allow.contains(host) {
                self.allow.push(host.clone());
            }
        }
        Ok(())
    }

    /// What a program has in the variables of its secrets.
    pub fn placeholders(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.secrets.keys().map(|name| (name.clone(), placeholder(name)))
    }

    /// Reads what may be absent; a list in place of the object is refused.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Egress>, D::Error> {
        let said = Option::<object::Object<Egress>>::deserialize(deserializer)?;
        Ok(said.map(|object::Object(egress)| egress))
    }
}

/// What a program has in place of a secret's value. It says so, and is no secret.
pub fn placeholder(name: &str) -> String {
    format!("fireclay-secret-{name}")
}

/// Whether a secret can have this name: it is that of a variable.
///
/// # Errors
/// A rejection of `name`.
pub fn check_secret_name(name: &str) -> Result<(), Rejection> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    let hint = "use a letter or `_`, then letters, digits and `_`, at most 64 of them, such as GITHUB_TOKEN";
    if fits { Ok(()) } else { Err(Rejection::new("name", format!("{name:?} is no name of a secret"), hint)) }
}

/// One connection that code tried to make to another host, told when it was over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EgressAttempt {
    /// The host that was asked for; empty if none was understood.
    pub host: String,
    /// The port, 0 likewise.
    pub port: u16,
    /// What became of it.
    pub verdict: EgressVerdict,
    /// Why it was refused, failed or cut short, as the program was told; empty if all passed.
    pub reason: String,
    /// Bytes that went to the server.
    pub bytes_up: u64,
    /// Bytes that came from it.
    pub bytes_down: u64,
    /// How long it lasted, in milliseconds.
    pub ms: u64,
}

/// What became of an attempt to reach a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EgressVerdict {
    /// It passed.
    Allowed,
    /// A rule, an address, a form that is not allowed, or a limit. Bytes may have passed before a limit.
    Refused,
    /// It was allowed, and the network or the server failed it.
    Failed,
}

impl EgressVerdict {
    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_nothing_and_a_long_one_is_refused() {
        assert_eq!(Egress::admit(None), Ok(None));
        assert_eq!(Egress::admit(Some(Egress::default())), Ok(None));
        let one = Egress { allow: vec!["a.test".into()], ..Egress::default() };
        assert_eq!(Egress::admit(Some(one.clone())), Ok(Some(one)));
        let many = Egress { allow: vec!["a.test".into(); EGRESS_ENTRIES_MAX + 1], ..Egress::default() };
        assert_eq!(Egress::admit(Some(many)).unwrap_err().field, "egress.allow");
    }
}
