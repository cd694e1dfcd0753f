//! What a sandbox may reach beyond itself, and what it tried to.

use crate::Rejection;
use crate::object;
use serde::{Deserialize, Serialize};

/// Most entries of a list of hosts.
pub const EGRESS_ENTRIES_MAX: usize = 256;

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
        Ok((!egress.allow.is_empty()).then_some(egress))
    }

    /// Reads what may be absent; a list in place of the object is refused.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Egress>, D::Error> {
        let said = Option::<object::Object<Egress>>::deserialize(deserializer)?;
        Ok(said.map(|object::Object(egress)| egress))
    }
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
        let one = Egress { allow: vec!["a.test".into()], methods: None };
        assert_eq!(Egress::admit(Some(one.clone())), Ok(Some(one)));
        let many = Egress { allow: vec!["a.test".into(); EGRESS_ENTRIES_MAX + 1], methods: None };
        assert_eq!(Egress::admit(Some(many)).unwrap_err().field, "egress.allow");
    }
}
