//! What a sandbox may reach: hosts and ports, methods of plain HTTP, and the few targets where a tunnel need not be TLS. Read once,
//! strictly; an empty list allows nothing.

use crate::target::{BadName, Name, Target, port};
use std::fmt;
use thiserror::Error;

/// Most entries of a list.
pub const RULES_MAX: usize = 256;

/// Ports of an entry that names none.
pub const PORTS: [u16; 2] = [443, 80];

/// Methods that are allowed if nobody said which. `TRACE` is not: it shows a client what others added to its request.
const METHODS: [&str; 8] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// What a sandbox may reach. [`Default`] is nothing.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    allowed: Vec<Rule>,
    tunnels: Vec<Target>,
    methods: Option<Vec<String>>,
    // What must be allowed as well: the operator's.
    within: Option<Box<Rules>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    name: Name,
    // `*.`: the names below, and not the name itself.
    below: bool,
    port: Option<u16>,
}

/// Why an entry is not a rule: the entry, what is wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("egress rule `{entry}` {problem}; {fix}")]
pub struct BadRule {
    /// The entry as it was written, at most 100 characters of it.
    pub entry: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

/// Why a target is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unlisted {
    /// The list is empty.
    #[error("egress.allow is empty, so nothing is allowed")]
    Nothing,
    /// No entry names the host.
    #[error("no entry of egress.allow names this host")]
    Host,
    /// An entry names the host, and another port.
    #[error("egress.allow has this host as `{0}`, which is not for this port")]
    Port(String),
    /// The operator allows nobody to reach it.
    #[error("the operator's egress.within does not have it")]
    Operator,
    /// The method is not one of those allowed.
    #[error("egress.methods does not have {0}")]
    Method(String),
}

impl Rules {
    /// Reads `HOST`, `HOST:PORT`, `*.HOST` and `*.HOST:PORT`. Without a port an entry is for 443 and 80 ([`PORTS`]); `*.HOST` is for
    /// every name below HOST and not for HOST.
    ///
    /// # Errors
    /// [`BadRule`] for the first entry that is anything else: an IP address in any spelling, a URL, a range of addresses, a name that
    /// is not ASCII, a wildcard that is not the whole first label or that has a top-level domain below it, or more than
    /// [`RULES_MAX`] entries.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, BadRule> {
        if let Some(entry) = entries.get(RULES_MAX) {
            return Err(refuse(entry.as_ref(), "is one too many", format!("give at most {RULES_MAX}")));
        }
        let allowed = entries.iter().map(|entry| rule(entry.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { allowed, ..Self::default() })
    }

    /// Allows these methods and no others. `CONNECT` is one of them: without it there is no TLS, and with it nothing inside of TLS is
    /// held to the list, since nobody here can read it.
    ///
    /// # Errors
    /// [`BadRule`] for what is not a method in upper case, or is `TRACE`.
    pub fn with_methods<T: AsRef<str>>(mut self, methods: &[T]) -> Result<Self, BadRule> {
        for method in methods {
            let method = method.as_ref();
            if !crate::request::is_method(method.as_bytes()) || method == "TRACE" {
                let fix = format!("write one of {}", METHODS.join(", "));
                return Err(refuse(method, "is not a method that can be allowed", fix));
            }
        }
        self.methods = Some(methods.iter().map(|method| method.as_ref().to_owned()).collect());
        Ok(self)
    }

    /// Allows these `HOST:PORT` too, and lets a tunnel to them carry anything: no ClientHello is asked for.
    ///
    /// # Errors
    /// [`BadRule`] for what is not exactly one host and one port.
    pub fn with_plain_tunnels<T: AsRef<str>>(mut self, entries: &[T]) -> Result<Self, BadRule> {
        for entry in entries {
            let entry = entry.as_ref();
            let Rule { name, below: false, port: Some(port) } = rule(entry)? else {
                let fix = "write one host and one port, as in `db.example.org:5432`".to_owned();
                return Err(refuse(entry, "is not one target", fix));
            };
            self.tunnels.push(Target { name, port });
        }
        Ok(self)
    }

    /// Allows only what these rules allow, too.
    #[must_use]
    pub fn within(self, rules: Rules) -> Self {
        Self { within: Some(Box::new(rules)), ..self }
    }

    /// Whether a request may be made.
    ///
    /// # Errors
    /// [`Unlisted`] says which list does not have it.
    pub fn check(&self, target: &Target, method: &str) -> Result<(), Unlisted> {
        let has_method = match &self.methods {
            Some(methods) => methods.iter().any(|allowed| allowed == method),
            None => METHODS.contains(&method),
        };
        if self.allowed.is_empty() && self.tunnels.is_empty() {
            return Err(Unlisted::Nothing);
        }
        let named: Vec<&Rule> = self.allowed.iter().filter(|rule| rule.names(&target.name)).collect();
        let has_tunnel = method == "CONNECT" && self.is_plain_tunnel(target);
        if !has_tunnel && !named.iter().any(|rule| rule.has_port(target.port)) {
            return Err(named.first().map_or(Unlisted::Host, |rule| Unlisted::Port(rule.to_string())));
        }
        if !has_method {
            return Err(Unlisted::Method(method.to_owned()));
        }
        let within = self.within.as_ref().map_or(Ok(()), |rules| rules.check(target, method));
        within.map_err(|_| Unlisted::Operator)
    }

    /// Whether a tunnel to this target may carry something else than TLS.
    #[must_use]
    pub fn is_plain_tunnel(&self, target: &Target) -> bool {
        self.tunnels.contains(target)
    }
}

impl Rule {
    fn names(&self, name: &Name) -> bool {
        if self.below { name.is_below(&self.name) } else { *name == self.name }
    }

    fn has_port(&self, port: u16) -> bool {
        self.port.map_or(PORTS.contains(&port), |only| only == port)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", if self.below { "*." } else { "" }, self.name)?;
        self.port.map_or(Ok(()), |port| write!(out, ":{port}"))
    }
}

fn refuse(entry: &str, problem: impl Into<String>, fix: impl Into<String>) -> BadRule {
    let entry = entry.chars().take(100).flat_map(char::escape_default).collect();
    BadRule { entry, problem: problem.into(), fix: fix.into() }
}

fn rule(entry: &str) -> Result<Rule, BadRule> {
    if let Some((_, rest)) = entry.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(refuse(entry, "is a URL", format!("write the host alone: `{}`", host.escape_default())));
    }
    if entry.contains('/') {
        let fix = "write a host; a range of addresses is the operator's to open, in `egress.private`";
        return Err(refuse(entry, "has a slash", fix));
    }
    let (below, rest) = entry.strip_prefix("*.").map_or((false, entry), |rest| (true, rest));
    if rest.contains('*') {
        let fix = "`*.` may stand before a name, for all names below it, and nowhere else";
        return Err(refuse(entry, "has a wildcard that is not the whole first label", fix));
    }
    if rest.starts_with('[') || rest.matches(':').count() > 1 {
        return Err(unnamed(entry, BadName::Address));
    }
    let (host, only) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let name = Name::parse(host.as_bytes()).map_err(|why| unnamed(entry, why))?;
    if below && !name.as_str().contains('.') {
        let fix = "write the domains that are meant, as in `*.example.org`";
        return Err(refuse(entry, "is for a whole top-level domain", fix));
    }
    let port = match only.map(|digits| port(digits.as_bytes())) {
        Some(None) => {
            let fix = "write a number from 1 to 65535, or none for 443 and 80";
            return Err(refuse(entry, "has a port that is none", fix));
        }
        Some(port) => port,
        None => None,
    };
    Ok(Rule { name, below, port })
}

fn unnamed(entry: &str, why: BadName) -> BadRule {
    let fix = match why {
        BadName::Address => "write a name that resolves to it",
        BadName::LastDot | BadName::NotAscii => "names are compared byte by byte",
        _ => "write a host as in `api.github.com`, `*.example.org` or `host:8080`",
    };
    refuse(entry, why.to_string(), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], target: &str) -> Result<(), Unlisted> {
        let target = Target::parse(target.as_bytes(), None).unwrap();
        Rules::parse(allow).unwrap().check(&target, "CONNECT")
    }

    #[test]
    fn what_is_listed_and_nothing_else() {
        let allow = ["api.github.com", "*.example.org:443", "host:8080", "PyPI.org"];
        for target in [
            "api.github.com:443",
            "api.github.com:80",
            "a.example.org:443",
            "a.b.example.org:443",
            "host:8080",
            "pypi.org:443",
        ] {
            assert_eq!(check(&allow, target), Ok(()), "{target}");
        }
        for target in [
            "example.org:443",
            "evilexample.org:443",
            "example.org.evil.com:443",
            "github.com:443",
            "x.api.github.com:443",
            "api.github.com.evil.test:443",
            "evilpypi.org:443",
            "xn--ypi-8cd.org:443",
            "org:443",
        ] {
            assert_eq!(check(&allow, target), Err(Unlisted::Host), "{target}");
        }
        for target in ["api.github.com:22", "api.github.com:25", "a.example.org:80", "host:80"] {
            assert!(matches!(check(&allow, target), Err(Unlisted::Port(_))), "{target}");
        }
    }

    #[test]
    fn an_empty_list_is_nothing() {
        assert_eq!(check(&[], "pypi.org:443"), Err(Unlisted::Nothing));
        assert!(Rules::default().check(&Target::parse(b"a:443", None).unwrap(), "GET").is_err());
    }

    #[test]
    fn methods_and_tunnels() {
        let target = Target::parse(b"pypi.org:80", None).unwrap();
        let database = Target::parse(b"db.test:5432", None).unwrap();
        let rules = Rules::parse(&["pypi.org"]).unwrap();
        assert!(rules.check(&target, "POST").is_ok() && rules.check(&target, "TRACE").is_err());
        let rules = rules.with_methods(&["GET", "HEAD"]).unwrap();
        assert!(rules.check(&target, "GET").is_ok());
        assert_eq!(rules.check(&target, "POST"), Err(Unlisted::Method("POST".to_owned())));
        assert!(rules.check(&target, "CONNECT").is_err());
        let rules = Rules::default().with_plain_tunnels(&["db.test:5432"]).unwrap();
        assert!(rules.check(&database, "CONNECT").is_ok() && rules.is_plain_tunnel(&database));
        assert!(rules.check(&database, "GET").is_err());
        assert!(Rules::default().with_plain_tunnels(&["db.test"]).is_err());
        assert!(Rules::default().with_plain_tunnels(&["*.db.test:1"]).is_err());
        assert!(
            Rules::default().with_methods(&["get"]).is_err()
                && Rules::default().with_methods(&["TRACE"]).is_err()
        );
    }

    #[test]
    fn refused_with_the_entry_and_the_fix() {
        for (entry, said) in [
            (
                "https://api.github.com/v1",
                "egress rule `https://api.github.com/v1` is a URL; write the host alone: `api.github.com`",
            ),
            (
                "10.0.0.0/8",
                "egress rule `10.0.0.0/8` has a slash; write a host; a range of addresses is the operator's to open, in `egress.private`",
            ),
            (
                "127.1:80",
                "egress rule `127.1:80` is an IP address, and only names are allowed; write a name that resolves to it",
            ),
            (
                "[::1]:80",
                "egress rule `[::1]:80` is an IP address, and only names are allowed; write a name that resolves to it",
            ),
            (
                "*",
                "egress rule `*` has a wildcard that is not the whole first label; `*.` may stand before a name, for all names below it, and nowhere else",
            ),
            (
                "*.com",
                "egress rule `*.com` is for a whole top-level domain; write the domains that are meant, as in `*.example.org`",
            ),
            (
                "a:0",
                "egress rule `a:0` has a port that is none; write a number from 1 to 65535, or none for 443 and 80",
            ),
            (
                "pypi.org.",
                "egress rule `pypi.org.` ends with a dot; write it without; names are compared byte by byte",
            ),
        ] {
            assert_eq!(Rules::parse(&[entry]).unwrap_err().to_string(), said);
        }
        for entry in [
            "",
            " ",
            "a b",
            "a*.org",
            "*a.org",
            "a.*.org",
            "*.*.org",
            "**.org",
            "*.",
            "рypi.org",
            "a:80:80",
            "a@b",
            "a%2e",
            "a\0",
            "*:443",
            "::1",
            "0x7f.1",
            "a:",
        ] {
            assert!(Rules::parse(&[entry]).is_err(), "{entry:?}");
        }
        assert!(Rules::parse(&["a"; RULES_MAX]).is_ok() && Rules::parse(&["a"; RULES_MAX + 1]).is_err());
    }
}
