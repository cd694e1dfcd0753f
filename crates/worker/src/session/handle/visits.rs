//! Visits of a session's ports: connections to what listens on the loopback of its sandbox.
//!
//! Init makes a socket in the sandbox's network, where it stays for good, and the service connects it: so nothing that the guest does,
//! says or hands over decides where the connection leads, and nothing of it runs on the way.

use super::{Ended, Session, Standing, failed};
use crate::session::{LEFT, NUMBERED, VISIT, number_of, numbered};
use model::Fault;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Most visits of one session at once.
pub const VISITS_MAX: usize = 128;

/// Where a visitor waits for the socket that was asked for; nobody does once it has come.
pub(super) type Waits = Option<oneshot::Sender<Result<OwnedFd, i32>>>;

/// Why a port was not reached.
#[derive(Debug)]
pub enum NotReached {
    /// Nothing listens there.
    Nobody,
    /// As many visit the session as may.
    TooMany,
    /// The session ended.
    Ended,
    /// A failure of ours.
    Fault(Fault),
}

/// A visit. What runs in the session goes on until this is dropped.
#[derive(Debug)]
pub struct Visit {
    session: Session,
    number: u32,
}

impl Session {
    /// Connects to what listens on a port of its sandbox's loopback, IPv4 or IPv6. Needs a tokio runtime. Takes as long as the guest likes
    /// to leave it waiting: the caller has the patience.
    pub async fn visit(&self, port: u16) -> Result<(Visit, TcpStream), NotReached> {
        let visit = self.enter()?;
        for (version_6, address) in
            [(false, IpAddr::from(Ipv4Addr::LOCALHOST)), (true, Ipv6Addr::LOCALHOST.into())]
        {
            let Some(socket) = visit.socket(version_6).await? else { continue };
            match socket.connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok((visit, stream)),
                // Refused, or a sandbox without IPv6.
                Err(error) => {
                    let nobody = [libc::ECONNREFUSED, libc::EADDRNOTAVAIL, libc::ENETUNREACH];
                    if !error.raw_os_error().is_some_and(|errno| nobody.contains(&errno)) {
                        return Err(NotReached::Fault(failed(&format!("connect in the sandbox: {error}"))));
                    }
                }
            }
        }
        Err(NotReached::Nobody)
    }

    fn enter(&self) -> Result<Visit, NotReached> {
        let mut state = self.state();
        if state.visits.len() >= VISITS_MAX {
            return Err(NotReached::TooMany);
        }
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        state.visits.insert(number, None);
        Ok(Visit { session: self.clone(), number })
    }

    /// A keeper sends a socket, or says why there is none.
    pub(super) fn visit_has_socket(&self, packet: &[u8], socket: Option<OwnedFd>) {
        let errno = packet.get(NUMBERED..).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes);
        let Some(number) = number_of(packet) else { return };
        let waits = self.state().visits.get_mut(&number).and_then(Option::take);
        if let Some(waits) = waits {
            // One who has given up drops the socket.
            drop(waits.send(socket.ok_or(errno.unwrap_or_default())));
        }
    }

    /// The session ended: nobody gets a socket any more.
    pub(super) fn visits_end(&self) {
        self.state().visits.values_mut().for_each(|waits| drop(waits.take()));
    }
}

impl Visit {
    /// A socket in the sandbox's network; `None` where it has none of this family.
    async fn socket(&self, version_6: bool) -> Result<Option<TcpSocket>, NotReached> {
        let (waits, comes) = oneshot::channel();
        self.session.state().visits.insert(self.number, Some(waits));
        // After it is noted, as with runs.
        if let Standing::Ended(Ended { .. }) = self.session.standing() {
            return Err(NotReached::Ended);
        }
        let mut packet = numbered(VISIT, self.number);
        packet.push(if version_6 { 6 } else { 4 });
        self.session.send(&packet).await.map_err(|_| NotReached::Ended)?;
        match comes.await {
            Ok(Ok(socket)) => checked(socket).map(Some).map_err(NotReached::Fault),
            Ok(Err(libc::EAFNOSUPPORT)) => Ok(None),
            Ok(Err(errno)) => {
                let error = std::io::Error::from_raw_os_error(errno);
                Err(NotReached::Fault(failed(&format!("a socket in the sandbox: {error}"))))
            }
            Err(_) => Err(NotReached::Ended),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.session.state().visits.remove(&self.number);
        let (session, packet) = (self.session.clone(), numbered(LEFT, self.number));
        // Not at once: a keeper that has much to read must not miss this. One that is gone has nobody left.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { drop(session.send(&packet).await) });
        }
    }
}

/// A socket for a visit, if it is what init was asked for: of TCP, and in another network than ours. Init is ours, and no job can speak
/// for it; but what is connected here must never be one of our own ports, whatever went wrong before, or an operator allowed
/// (`allow_missing = ["netns"]`).
fn checked(socket: OwnedFd) -> Result<TcpSocket, Fault> {
    let foreign =
        |what: &dyn std::fmt::Display| failed(&format!("no socket of the sandbox's own network: {what}"));
    if !sys::net::is_tcp(socket.as_fd()) {
        return Err(foreign(&"it is none of TCP"));
    }
    let own = sys::net::stream_socket(false).map_err(|error| foreign(&error))?;
    let ours = sys::net::namespace_of(own.as_fd()).map_err(|error| foreign(&error))?;
    if sys::net::namespace_of(socket.as_fd()).map_err(|error| foreign(&error))? == ours {
        return Err(foreign(&"the sandbox has the machine's"));
    }
    Ok(TcpSocket::from_std_stream(std::net::TcpStream::from(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that was made in another network namespace; takes root.
    fn elsewhere() -> OwnedFd {
        // Of a thread that ends: namespaces are a thread's.
        let made = std::thread::spawn(|| {
            sys::process::unshare(libc::CLONE_NEWNET).unwrap();
            sys::net::stream_socket(false).unwrap()
        });
        made.join().unwrap()
    }

    #[tokio::test]
    async fn only_a_socket_of_another_network_is_used() {
        let refused = |socket: OwnedFd| checked(socket).map(drop).unwrap_err().to_string();
        assert!(refused(sys::net::stream_socket(false).unwrap()).contains("the machine's"));
        assert!(refused(sys::socket::pair().unwrap().0).contains("none of TCP"));
        assert!(refused(std::fs::File::open("/dev/null").unwrap().into()).contains("none of TCP"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // There is nothing of ours to be reached from there, as there is from here.
        let socket = checked(elsewhere()).unwrap();
        assert!(socket.connect(address).await.is_err());
        let own = std::net::TcpStream::from(sys::net::stream_socket(false).unwrap());
        assert!(TcpSocket::from_std_stream(own).connect(address).await.is_ok());
    }
}
