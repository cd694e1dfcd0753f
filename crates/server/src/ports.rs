//! Ports of sessions: what listens on the loopback of a sandbox, served to its owner on an origin of its own.
//!
//! Pages of a guest never share an origin with the API, or with another session's or port's: each port has a host name, by a listener
//! beside the API's. Whoever comes shows a key of the session's tenant, or in a browser a cookie that a link from the API was exchanged for.

mod doors;
pub mod headers;
mod proxy;

pub use doors::{Doors, LINK};
pub(crate) use headers::cookies_called;
pub use proxy::{not_asked_for, router};

use crate::settings::PortsSettings;
use axum::http::Uri;
use model::SessionId;
use std::net::SocketAddr;

/// Where a link leads that lets a browser in. Paths below its first part are ours on every host; the guest never sees them.
pub const ENTER: &str = "/.fireclay/enter";
/// See [`ENTER`].
const OURS: &str = "/.fireclay/";

/// How ports are reached: what stands around `PORT-SESSION` in their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Whether by HTTPS, which somebody before us speaks.
    secure: bool,
    /// The name below which each port has its own.
    domain: String,
    port: Option<u16>,
}

impl Base {
    /// Reads `https://name` or `http://name:port`; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address such as https://ports.example.com");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let (domain, port) = authority.map(|one| (one.host(), one.port_u16())).ok_or_else(wrong)?;
        let is_name = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        let is_address = domain.parse::<std::net::IpAddr>().is_ok();
        if !is_name || is_address || domain.is_empty() || uri.path() != "/" || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self { secure, domain: domain.to_ascii_lowercase(), port })
    }

    /// As the settings say, for a listener at this address. Names below `localhost` are this machine's to every browser (RFC 6761).
    pub fn of(settings: &PortsSettings, address: SocketAddr) -> Self {
        let local = || Self { secure: false, domain: "localhost".to_owned(), port: Some(address.port()) };
        // What could not be read was refused with the settings.
        if settings.url.is_empty() { local() } else { Self::parse(&settings.url).unwrap_or_else(|_| local()) }
    }

    /// The origin of a port.
    pub fn origin(&self, session: &SessionId, port: u16) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let label = label_of(session);
        let own = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{port}-{label}.{}{own}", self.domain)
    }

    /// Which port of which session a `Host` names.
    fn port_of(&self, host: &str) -> Option<(u16, SessionId)> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return None,
            None => host,
        };
        let name = name.to_ascii_lowercase();
        let label = name.strip_suffix(&self.domain)?.strip_suffix('.')?;
        let (port, session) = label.split_once('-')?;
        // As we write it, so that no port has two origins.
        if port.starts_with('0') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some((port.parse().ok()?, format!("{PREFIX}{session}").parse().ok()?))
    }

    /// The name of our cookie. Behind HTTPS browsers hold by its name that only this very host can have set it.
    fn cookie(&self) -> &'static str {
        if self.secure { "__Host-fireclay-port" } else { "fireclay-port" }
    }
}

/// What ids of sessions begin with. A name in an address has no room for an underscore (RFC 952).
const PREFIX: &str = "ses_";

fn label_of(session: &SessionId) -> &str {
    session.as_str().strip_prefix(PREFIX).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Base {
        Base::parse("http://localhost:81").unwrap()
    }

    #[test]
    fn every_port_has_one_name_and_every_name_one_port() {
        let session = SessionId::from_random([7; 16]);
        let origin = local().origin(&session, 8000);
        let host = origin.strip_prefix("http://").unwrap();
        assert_eq!(local().port_of(host), Some((8000, session.clone())));
        assert_eq!(local().port_of(&host.to_uppercase()), Some((8000, session.clone())));
        let label = label_of(&session);
        for wrong in [
            format!("08000-{label}.localhost"),
            format!("+8000-{label}.localhost"),
            format!("65536-{label}.localhost"),
            format!("0-{label}.localhost"),
            format!("8000-{label}.localhost."),
            format!("8000-{label}.localhost:x"),
            format!("8000-{label}localhost"),
            format!("8000-{label}.evil.localhost"),
            format!("8000-{label}.localhost.evil"),
            format!("8000-{label}x.localhost"),
            format!("8000-ses_{label}.localhost"),
            "localhost".to_owned(),
            String::new(),
        ] {
            assert_eq!(local().port_of(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_is_a_scheme_and_a_name() {
        let base = Base::parse("https://Ports.example.com").unwrap();
        let session = SessionId::from_random([7; 16]);
        assert_eq!(base.origin(&session, 80), format!("https://80-{}.ports.example.com", label_of(&session)));
        assert!(base.cookie().starts_with("__Host-") && !local().cookie().starts_with("__Host-"));
        for wrong in [
            "",
            "ports.example.com",
            "ftp://a",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "http://127.0.0.1",
        ] {
            assert!(Base::parse(wrong).is_err(), "{wrong}");
        }
    }
}
