//! Which addresses may be dialled: those that are global, and those that the operator opened. Never asked of a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// Most ranges that an operator opens.
const OPEN_MAX: usize = 64;

/// Ranges that are not the public internet: range, prefix, what it is and who says so. The registries are IANA's of special-purpose
/// addresses (RFC 6890), IPv4 and IPv6; a range is here if it is not globally reachable there, or leads to an address that need not be.
const CLOSED_V4: [(Ipv4Addr, u32, &str); 21] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network, RFC 791 §3.2"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private, RFC 1918"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier's customers, RFC 6598"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback, RFC 1122 §3.2.1.3"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, RFC 3927"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private, RFC 1918"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments, RFC 6890 §2.1"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation, RFC 5737"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "AS112, RFC 7535"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "AMT, RFC 7450"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relays, RFC 7526"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private, RFC 1918"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "AS112, RFC 7534"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarks, RFC 2544"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation, RFC 5737"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation, RFC 5737"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast, RFC 1112 §4"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved and broadcast, RFC 1112 §4, RFC 8190"),
    // Global by the registries, and yet the machine's own cloud.
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),
    (Ipv4Addr::new(169, 254, 169, 254), 32, METADATA),
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA),
];

/// As [`CLOSED_V4`]. Only 2000::/3 was given out at all (RFC 4291 §2.4, IANA's IPv6 address space), so the rest is closed without a row.
const CLOSED_V6: [(Ipv6Addr, u32, &str); 18] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified, RFC 4291 §2.5.2"),
    (Ipv6Addr::LOCALHOST, 128, "loopback, RFC 4291 §2.5.3"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible, RFC 4291 §2.5.5.1"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped, RFC 4291 §2.5.5.2"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64, RFC 6052"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "NAT64 of a site, RFC 8215"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discarded, RFC 6666"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo, RFC 4380"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments, RFC 2928"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation, RFC 3849"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4, RFC 3056"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation, RFC 9637"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "segment routing, RFC 9602"),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique local, RFC 4193"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local, RFC 4291 §2.5.6"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local, RFC 3879"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast, RFC 4291 §2.7"),
];

/// A machine's keys lie there (AWS, Google, Azure, Alibaba): opened only by a range that is this one address.
const METADATA: &str = "a cloud's metadata service";

/// Ranges that an operator opens, though they are not global. [`Default`] opens none.
#[derive(Clone, Debug, Default)]
pub struct Private(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    prefix: u32,
}

/// Why an entry is not a range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("egress.private `{entry}` {problem}")]
pub struct BadRange {
    /// The entry as it was written.
    pub entry: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl Private {
    /// Reads `10.0.0.0/8`, `fd00::/8` or a single address. A metadata service is opened only by its own address, never by a range.
    ///
    /// # Errors
    /// [`BadRange`] for what is not a range, has bits beyond its prefix, or is one too many (at most 64).
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, BadRange> {
        if let Some(entry) = entries.get(OPEN_MAX) {
            let problem = format!("is one too many; give at most {OPEN_MAX}");
            return Err(BadRange { entry: entry.as_ref().to_owned(), problem });
        }
        entries.iter().map(|entry| Range::parse(entry.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the operator opened this address.
    #[must_use]
    pub fn opens(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.has(address))
    }

    /// Returns why an address may not be dialled, or nothing if it may: what the range is, and who says so. An address that has an IPv4
    /// address in it (mapped, NAT64, 6to4 …) may only be dialled if both may.
    #[must_use]
    pub fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let whole = closed(address).filter(|what| {
            let only = self.0.iter().any(|range| range.first == address && range.prefix == bits(address));
            if *what == METADATA { !only } else { !self.opens(address) }
        });
        whole.or_else(|| within(address).and_then(|inner| self.refuses(IpAddr::V4(inner))))
    }
}

impl Range {
    fn parse(entry: &str) -> Result<Self, BadRange> {
        let bad = |problem: String| BadRange { entry: entry.escape_default().to_string(), problem };
        let (address, prefix) = entry.split_once('/').map_or((entry, None), |(at, bits)| (at, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| {
            bad("is not a range of addresses; write one as in `10.0.0.0/8` or `fd00::/8`".to_owned())
        })?;
        let prefix = match prefix {
            None => bits(first),
            Some(text) => text
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits(first) && !text.starts_with('+'))
                .ok_or_else(|| bad(format!("has no prefix from 0 to {}", bits(first))))?,
        };
        let start = from_value(first, value(first) & mask(first, prefix));
        if start != first {
            return Err(bad(format!("has bits beyond its prefix; write `{start}/{prefix}`")));
        }
        Ok(Self { first, prefix })
    }

    fn has(&self, address: IpAddr) -> bool {
        let same_family = address.is_ipv4() == self.first.is_ipv4();
        same_family && value(address) & mask(address, self.prefix) == value(self.first)
    }
}

// The narrowest range wins, so that a metadata service is called by its name.
fn closed(address: IpAddr) -> Option<&'static str> {
    let rows: Vec<(Range, &str)> = match address {
        IpAddr::V4(_) => {
            CLOSED_V4.iter().map(|row| (Range { first: row.0.into(), prefix: row.1 }, row.2)).collect()
        }
        IpAddr::V6(_) => {
            CLOSED_V6.iter().map(|row| (Range { first: row.0.into(), prefix: row.1 }, row.2)).collect()
        }
    };
    let found =
        rows.into_iter().filter(|(range, _)| range.has(address)).max_by_key(|(range, _)| range.prefix);
    let given = |address: Ipv6Addr| address.segments()[0] & 0xe000 == 0x2000;
    match (found, address) {
        (Some((_, what)), _) => Some(what),
        (None, IpAddr::V6(v6)) if !given(v6) => Some("not given out, RFC 4291 §2.4"),
        (None, _) => None,
    }
}

/// Returns the IPv4 address that an IPv6 address leads to by its form.
fn within(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let parts = v6.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match parts {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        // RFC 6052 §2.2 has other places for other prefixes; a site that opens its own uses /96 or opens it knowing that.
        [0x64, 0xff9b, 1, _, _, _, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        // The client's address, inverted (RFC 4380 §4).
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn value(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn from_value(like: IpAddr, value: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(value)),
    }
}

fn mask(like: IpAddr, prefix: u32) -> u128 {
    let bits = bits(like);
    let all = u128::MAX >> (128 - bits);
    let host = bits.saturating_sub(prefix);
    if host == 128 { 0 } else { all >> host << host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(open: &[&str], address: &str) -> Option<&'static str> {
        Private::parse(open).unwrap().refuses(address.parse().unwrap())
    }

    #[test]
    fn what_is_not_global() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "e000::1",
            "200::1",
        ] {
            assert!(refused(&[], address).is_some(), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.17",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2400::1",
        ] {
            assert_eq!(refused(&[], address), None, "{address}");
        }
        assert_eq!(refused(&[], "169.254.169.254"), Some(METADATA));
        assert_eq!(refused(&[], "fd00:ec2::254"), Some(METADATA));
    }

    #[test]
    fn what_the_operator_opens() {
        assert_eq!(refused(&["10.0.0.0/8"], "10.1.2.3"), None);
        assert!(
            refused(&["10.0.0.0/8"], "11.1.2.3").is_none()
                && refused(&["10.0.0.0/8"], "192.168.0.1").is_some()
        );
        assert_eq!(refused(&["fd00::/8"], "fd12::1"), None);
        assert!(refused(&["fd00::/8"], "fc00::1").is_some());
        assert_eq!(refused(&["127.0.0.1"], "127.0.0.1"), None);
        assert!(refused(&["127.0.0.1"], "127.0.0.2").is_some());
        // A range of one family is none of the other, in any form.
        assert!(
            refused(&["0.0.0.0/0"], "::ffff:127.0.0.1").is_some()
                && refused(&["::/0"], "127.0.0.1").is_some()
        );
        // Both the form and what is in it.
        assert!(
            refused(&["64:ff9b::/96"], "64:ff9b::7f00:1").is_some()
                && refused(&["::/0"], "2002:7f00:1::").is_some()
        );
        assert_eq!(refused(&["64:ff9b::/96"], "64:ff9b::808:808"), None);
        assert_eq!(refused(&["64:ff9b::/96", "127.0.0.0/8"], "64:ff9b::7f00:1"), None);
        // Metadata only by its own address.
        for wide in ["169.254.0.0/16", "0.0.0.0/0", "169.254.169.254/31"] {
            assert!(refused(&[wide], "169.254.169.254").is_some(), "{wide}");
        }
        assert_eq!(refused(&["169.254.169.254/32"], "169.254.169.254"), None);
        assert!(refused(&["fd00::/8"], "fd00:ec2::254").is_some());
    }

    #[test]
    fn ranges_are_read_strictly() {
        for entry in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10/8",
            "010.0.0.0/8",
            "::/129",
            "a/8",
            "10.0.0.0/8 ",
            "fe80::1%lo",
        ] {
            assert!(Private::parse(&[entry]).is_err(), "{entry:?}");
        }
        let said = Private::parse(&["10.1.0.0/8"]).unwrap_err().to_string();
        assert_eq!(said, "egress.private `10.1.0.0/8` has bits beyond its prefix; write `10.0.0.0/8`");
        assert!(
            Private::parse(&["::/0", "0.0.0.0/0", "::1"]).is_ok() && Private::parse(&["::"; 65]).is_err()
        );
    }
}
