//! The way out of sandboxes: one process beside the service serves the proxies of all that may reach hosts.
//!
//! ```text
//! service                                                   proxy process (`fireclay egress`: own uid, no files, policy/seccomp/proxy.toml)
//!     ── open(number, rules) + [listener of a sandbox] ──────► serves it: accepts inside, dials outside
//!     ◄─ attempt(number, what, whither, how much) ──────────── whenever a connection ends
//!     ── ask(number, question) ──────────────────────────────► tells what those tried who say no more
//!     ◄─ so far(number, question) ──────────────────────────── all of it is told
//!     ── close(number) ──────────────────────────────────────► ends all its connections
//!     ◄─ closed(number) ────────────────────────────────────── all of them are told
//!     ── the end of the socket ──────────────────────────────► ends
//! ```
//!
//! The listener was made by init, in the sandbox's own network: who asks is which listener, and no path between the networks exists
//! (docs/design/0019-egress.md). The process is the same binary, started before any secret is loaded. If it dies, its connections end; the
//! service keeps every listener that is open, starts the next process at once and has it serve them by the same rules. Until it does, who
//! connects waits in the listener's queue (docs/design/0038-egress-goes-on.md).

mod gate;
mod process;
#[cfg_attr(not(feature = "secrets"), path = "without.rs")]
mod secrets;
mod served;

pub use egress::secret::check_value as check_secret_value;
pub use gate::{Gate, Proxies};
pub use process::live;
pub use secrets::Keeper;

use egress::rules::{BadRule, Rules};
use egress::target::Target;
use model::{Egress, EgressAttempt, Rejection};
use serde::{Deserialize, Serialize};

/// To the process: serve the listener that comes with this; the [`Open`] is in the memory file that comes second.
const OPEN: u8 = b'o';
/// To the process: serve the one whose number follows no more. From it: nothing more will be told of it.
const CLOSE: u8 = b'c';
/// From the process: a [`Told`].
const ATTEMPT: u8 = b'a';
/// The service asks to be told what was tried so far, by a question with a number; answered by [`SO_FAR`] with the same.
const ASK: u8 = b'q';
/// All that was tried before it was asked for is told.
const SO_FAR: u8 = b's';

/// What the operator says of egress; a request only narrows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressPolicy {
    /// Whether any sandbox may reach anything.
    pub enabled: bool,
    /// Hosts that requests may name at most, in the words of `egress.allow`; empty is any.
    pub within: Vec<String>,
    /// Ranges of addresses that are not global and may be reached all the same, as `10.1.0.0/16`.
    pub private: Vec<String>,
    /// `HOST:PORT` to which a tunnel may carry something else than TLS, if a request allows the host.
    pub tunnels: Vec<String>,
    /// Connections of one sandbox at once.
    pub connections: usize,
    /// Bytes that one sandbox may send.
    pub bytes_up: u64,
    /// Bytes that one sandbox may receive.
    pub bytes_down: u64,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        let egress::Limits { connections_max, bytes_up_max, bytes_down_max, .. } = egress::Limits::default();
        Self {
            enabled: true,
            within: Vec::new(),
            private: Vec::new(),
            tunnels: Vec::new(),
            connections: connections_max,
            bytes_up: bytes_up_max,
            bytes_down: bytes_down_max,
        }
    }
}

impl EgressPolicy {
    /// Says whether the operator's own lists can be read.
    pub fn check(&self) -> Result<(), String> {
        Rules::parse(&self.within).map_err(|wrong| format!("egress.within: {wrong}"))?;
        egress::address::Private::parse(&self.private).map_err(|wrong| format!("egress.private: {wrong}"))?;
        let rules = Rules::default().with_plain_tunnels(&self.tunnels);
        rules.map(drop).map_err(|wrong| format!("egress.tunnels: {wrong}"))
    }

    /// Says whether a request may have what it asks for.
    pub fn admit(&self, asked: &Egress) -> Result<(), Rejection> {
        if !self.enabled {
            let hint = "the operator's setting `egress.enabled` opens it";
            return Err(Rejection::new("egress.allow", "this service lets nothing out", hint));
        }
        rules_of(asked, &[]).map_err(|(field, wrong)| {
            Rejection::new(field, format!("`{}` {}", wrong.entry, wrong.problem), wrong.fix)
        })?;
        Ok(())
    }
}

/// The rules of a request, with the tunnels of the operator that it names.
fn rules_of(asked: &Egress, tunnels: &[String]) -> Result<Rules, (&'static str, BadRule)> {
    let mut rules = Rules::parse(&asked.allow).map_err(|wrong| ("egress.allow", wrong))?;
    if let Some(methods) = &asked.methods {
        rules = rules.with_methods(methods).map_err(|wrong| ("egress.methods", wrong))?;
    }
    let named: Vec<&String> = tunnels.iter().filter(|tunnel| asked.allow.contains(tunnel)).collect();
    rules.with_plain_tunnels(&named).map_err(|wrong| ("egress.tunnels", wrong))
}

/// What knows secrets of tenants.
pub trait Vault: Send + Sync {
    /// The value, if the tenant keeps it and lets it go to this host and port (`HOST:PORT`).
    fn value(&self, tenant: &str, name: &str, target: &str) -> Option<Vec<u8>>;
}

/// The host that a secret may go to, as `HOST:PORT`; without a port 443 is meant.
///
/// # Errors
/// Why it is no host.
pub fn secret_host(said: &str) -> Result<String, egress::target::BadTarget> {
    Target::parse(said.as_bytes(), Some(443)).map(|target| target.to_string())
}

/// What one listener is served by.
#[derive(Serialize, Deserialize)]
struct Open {
    number: u32,
    asked: Egress,
    policy: EgressPolicy,
    secrets: Option<secrets::Said>,
}

/// What was tried, and by whom.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    number: u32,
    attempt: EgressAttempt,
}

/// The two numbers of a packet behind its tag; 0 for what is not there.
fn two_numbers(bytes: &[u8]) -> (u32, u32) {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).unwrap_or_default()
    };
    (number(0), number(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(allow: &[&str]) -> Egress {
        Egress { allow: allow.iter().map(|entry| (*entry).to_owned()).collect(), ..Egress::default() }
    }

    #[test]
    fn a_wrong_rule_is_a_rejection_with_its_field() {
        let policy = EgressPolicy::default();
        assert_eq!(policy.admit(&asked(&["api.github.com", "*.example.org:443"])), Ok(()));
        let wrong = policy.admit(&asked(&["https://a.test/x"])).unwrap_err().to_string();
        assert_eq!(wrong, "egress.allow: `https://a.test/x` is a URL; write the host alone: `a.test`");
        let methods = Egress { methods: Some(vec!["TRACE".into()]), ..asked(&["a.test"]) };
        assert_eq!(policy.admit(&methods).unwrap_err().field, "egress.methods");
        let closed = EgressPolicy { enabled: false, ..policy };
        assert!(closed.admit(&asked(&["a.test"])).unwrap_err().message.contains("lets nothing out"));
    }

    #[test]
    fn the_operators_lists_are_read_before_they_are_used() {
        assert_eq!(EgressPolicy::default().check(), Ok(()));
        for (name, policy) in [
            ("within", EgressPolicy { within: vec!["1.2.3.4".into()], ..EgressPolicy::default() }),
            ("private", EgressPolicy { private: vec!["10.0.0.0/99".into()], ..EgressPolicy::default() }),
            ("tunnels", EgressPolicy { tunnels: vec!["a.test".into()], ..EgressPolicy::default() }),
        ] {
            let wrong = policy.check().unwrap_err();
            assert!(wrong.contains(name), "{wrong}");
        }
    }
}
