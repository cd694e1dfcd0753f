//! Which URLs belong to the documentation: those of the origin of the first, below its directory.

use egress::address::Private;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;
use url::{Host, Url};

/// Longest URL that is followed, in bytes.
const URL_BYTES_MAX: usize = 2_000;

/// Ranges of one's own networks. No range opens a metadata service ([`Private::parse`]).
const OWN: [&str; 8] = [
    "127.0.0.0/8",
    "::1",
    // What `::1` has in it by the form of IPv4-compatible addresses.
    "0.0.0.1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

/// Why a URL is no place to begin at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadUrl(String);

/// The place that documentation lies at.
#[derive(Debug, Clone)]
pub struct Scope {
    start: Url,
    directory: String,
}

impl Scope {
    /// The place of a URL: its origin (RFC 6454 §4), and the directory of its path, which is all up to the last slash.
    ///
    /// # Errors
    /// [`BadUrl`] for what is no URL of HTTP, or has a password in it.
    pub fn of(text: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(text).map_err(|error| BadUrl(format!("it is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(BadUrl("only http:// and https:// can be crawled".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl("it has a user or a password in it".to_owned()));
        }
        if text.len() > URL_BYTES_MAX {
            return Err(BadUrl(format!("it is longer than {URL_BYTES_MAX} bytes")));
        }
        Ok(Self::around(url))
    }

    pub(crate) fn around(mut start: Url) -> Self {
        start.set_fragment(None);
        let path = start.path();
        let directory = path[..=path.rfind('/').unwrap_or_default()].to_owned();
        Self { start, directory }
    }

    /// The URL that it begins with, without a fragment.
    #[must_use]
    pub fn start(&self) -> &Url {
        &self.start
    }

    /// The URL of a link on a page, without its fragment, if it belongs to the documentation.
    #[must_use]
    pub fn link(&self, page: &Url, href: &str) -> Option<Url> {
        let mut url = page.join(href.trim()).ok()?;
        url.set_fragment(None);
        self.has(&url).then_some(url)
    }

    /// Whether a URL belongs to the documentation.
    #[must_use]
    pub fn has(&self, url: &Url) -> bool {
        self.is_same_origin(url) && url.path().starts_with(&self.directory)
    }

    /// Whether a URL has the origin of the documentation, and no password in it.
    #[must_use]
    pub fn is_same_origin(&self, url: &Url) -> bool {
        url.origin() == self.start.origin()
            && url.username().is_empty()
            && url.password().is_none()
            && url.as_str().len() <= URL_BYTES_MAX
    }

    /// The same place by HTTPS, if that is where a redirect of its first page leads: RFC 6797 has sites do so.
    pub(crate) fn secured(&self, to: &Url) -> Option<Self> {
        let mut secure = self.start.clone();
        let is_plain = self.start.scheme() == "http" && self.start.port().is_none();
        let changed = is_plain && secure.set_scheme("https").is_ok() && secure.origin() == to.origin();
        changed.then(|| Self { start: secure, directory: self.directory.clone() })
    }

    /// Which addresses that are not public may be dialled: none, unless the URL itself is written with one (or is localhost), or the user
    /// says that its name may have one.
    pub(crate) fn private(&self, said: bool) -> Private {
        let local = |name: &str| name == "localhost" || name.ends_with(".localhost");
        let open: &[&str] = match self.start.host() {
            _ if said => &OWN,
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => &OWN,
            Some(Host::Domain(name)) if local(name) => &OWN[..3],
            _ => &[],
        };
        Private::parse(open).expect("the ranges are constants")
    }

    /// Whether the place is this machine: nobody else is disturbed by requests.
    pub(crate) fn is_this_machine(&self) -> bool {
        match self.start.host() {
            Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
            Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn only_what_lies_below_the_first_page_belongs() {
        let scope = Scope::of("https://Docs.example:443/en/latest/index.html#top").unwrap();
        assert_eq!(scope.start().as_str(), "https://docs.example/en/latest/index.html");
        let page = scope.start().join("guide/a.html").unwrap();
        let link = |href: &str| scope.link(&page, href).map(|url| url.to_string());
        assert_eq!(link("b.html#x").as_deref(), Some("https://docs.example/en/latest/guide/b.html"));
        assert_eq!(link(" ../c?d=1 ").as_deref(), Some("https://docs.example/en/latest/c?d=1"));
        assert_eq!(link("//docs.example/en/latest/x").as_deref(), Some("https://docs.example/en/latest/x"));
        for other in [
            "../../de/latest/",
            "/en/latest",
            "/en/latest/%2e%2e/%2e%2e/x",
            "http://docs.example/en/latest/",
            "https://docs.example:444/en/latest/",
            "https://docs.example.evil/en/latest/",
            "https://docs.example@evil/en/latest/",
            "https://me@docs.example/en/latest/",
            "\\\\evil/en/latest/",
            "javascript:alert(1)",
            "mailto:a@b",
            "data:text/html,x",
            "http://[",
        ] {
            assert_eq!(link(other), None, "{other}");
        }
        assert_eq!(link(&"a".repeat(5_000)), None);
    }

    #[test]
    fn places_that_cannot_be_crawled_are_refused() {
        for bad in ["", "docs", "ftp://a/", "file:///etc/passwd", "https://me:secret@a/", "http://"] {
            assert!(Scope::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_first_page_may_move_to_https_of_its_host_only() {
        let secured = |from: &str, to: &str| {
            let scope = Scope::of(from).unwrap().secured(&Url::parse(to).unwrap());
            scope.map(|scope| scope.start().to_string())
        };
        let from = "http://docs.example/en/";
        assert_eq!(secured(from, "https://docs.example/fr/").as_deref(), Some("https://docs.example/en/"));
        for to in
            ["https://www.docs.example/en/", "https://docs.example:444/en/", "http://docs.example:81/en/"]
        {
            assert_eq!(secured(from, to), None, "{to}");
        }
        assert_eq!(secured("http://docs.example:8000/", "https://docs.example/"), None);
        assert_eq!(secured("https://docs.example/", "http://docs.example/"), None);
    }

    #[test]
    fn private_addresses_are_dialled_only_if_the_user_wrote_one() {
        let refused = |url: &str, said: bool, address: &str| {
            let address: IpAddr = address.parse().unwrap();
            Scope::of(url).unwrap().private(said).refuses(address).is_some()
        };
        assert!(refused("http://docs.example/", false, "127.0.0.1"), "a name that leads to this machine");
        assert!(refused("http://docs.example/", false, "10.0.0.1"));
        assert!(!refused("http://docs.example/", false, "1.1.1.1"));
        assert!(!refused("http://docs.example/", true, "10.0.0.1"));
        assert!(!refused("http://127.0.0.1:8000/", false, "127.0.0.1"));
        assert!(!refused("http://[::1]:8000/", false, "::1"));
        assert!(!refused("http://localhost:8000/", false, "127.0.0.1"));
        assert!(refused("http://localhost:8000/", false, "10.0.0.1"));
        // A metadata service never, however it is written.
        for url in ["http://169.254.169.254/", "http://0xa9fea9fe/", "http://docs.example/"] {
            assert!(refused(url, true, "169.254.169.254"), "{url}");
        }
        assert!(refused("http://[fd00:ec2::254]/", true, "fd00:ec2::254"));
    }
}
