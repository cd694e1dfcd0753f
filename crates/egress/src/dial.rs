//! From a name to a connection: resolved once, its addresses judged, and the judged address dialled.

use crate::address::Private;
use crate::refusal::Refusal;
use crate::target::{Name, Target};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What a resolver returns.
pub type Resolved<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Returns the addresses of a name. It is asked once for each connection, and only for names that are allowed.
pub trait Resolve: Send + Sync {
    /// Returns all addresses of a name, in the order in which they should be tried.
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolved<'a>;
}

/// The resolver of the machine: getaddrinfo(3), on a thread of the runtime's blocking pool. A wait that is given up goes on there, so
/// the runtime should bound that pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolved<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Connects to a target. Addresses that may not be dialled are left out; if no other is left, the first of them is the refusal.
pub(crate) async fn dial(
    target: &Target,
    resolver: &dyn Resolve,
    private: &Private,
    patience: Duration,
) -> Result<TcpStream, Refusal> {
    let name = &target.name;
    let found = timeout(patience, resolver.resolve(name)).await;
    let found = found.map_err(|_| Refusal::SlowResolver(name.clone()))?;
    let found = found.map_err(|why| Refusal::Unresolved(name.clone(), why))?;
    let (mut open, mut closed) = (Vec::new(), None);
    for address in found {
        match private.refuses(address).or_else(|| own(address, private)) {
            None => open.push(address),
            Some(what) => closed = closed.or(Some(Refusal::Address { name: name.clone(), address, what })),
        }
    }
    if open.is_empty() {
        return Err(closed.unwrap_or_else(|| Refusal::NoAddress(name.clone())));
    }
    let until = Instant::now() + patience;
    let mut failed = Refusal::NoAddress(name.clone());
    for address in open.into_iter().take(ADDRESSES_MAX) {
        match timeout_at(until, TcpStream::connect(SocketAddr::new(address, target.port))).await {
            Ok(Ok(stream)) => {
                // Without Nagle's delay, as a client without a proxy would have it; where that fails it is only slower.
                stream.set_nodelay(true).map_err(Refusal::Broken)?;
                return Ok(stream);
            }
            Ok(Err(why)) => failed = Refusal::Unreachable(target.clone(), why),
            Err(_) => return Err(Refusal::SlowServer(target.clone())),
        }
    }
    Err(failed)
}

/// Whether a global address is this machine's own: what listens on all addresses would be reached from inside of every firewall. A route
/// to oneself starts at the address that it leads to; connecting a UDP socket finds it and sends nothing.
fn own(address: IpAddr, private: &Private) -> Option<&'static str> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // Without a route there is nothing to dial either.
    let is_own = source.is_ok_and(|source| source.ip() == address);
    (is_own && !private.opens(address)).then_some("an address of this machine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_knows_itself() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(own(loopback, &Private::default()).is_some());
        assert!(own(loopback, &Private::parse(&["127.0.0.0/8"]).unwrap()).is_none());
        assert!(own("192.0.2.1".parse().unwrap(), &Private::default()).is_none());
    }
}
