//! The one interface a sandbox has, and sockets that belong to it.

use crate::error::{Error, Result, check};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Brings loopback up in the caller's network namespace (netdevice(7)).
pub fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(Error::of("socket"))?;
    // SAFETY: all-zero bytes are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request names an interface and holds flags, as SIOCSIFFLAGS reads it.
    check(
        "ioctl(SIOCSIFFLAGS)",
        libc::c_long::from(unsafe {
            libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
        }),
    )
    .map(drop)
}

/// Sets the host name in the caller's UTS namespace.
pub fn set_host_name(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).map_err(Error::of("sethostname"))
}

/// A TCP socket in the caller's network namespace, where it stays whoever holds it; not connected, and nobody waits on it.
pub fn stream_socket(version_6: bool) -> Result<OwnedFd> {
    let family = if version_6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(Error::of("socket"))
}

/// A TCP socket that listens on the loopback of the caller's network namespace, by this port, where it stays whoever holds it.
pub fn listen_on_loopback(port: u16) -> Result<OwnedFd> {
    let socket = stream_socket(false)?;
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    rustix::net::bind(&socket, &address).map_err(Error::of("bind"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(Error::of("listen"))?;
    Ok(socket)
}

/// Whether connections to it wait to be accepted.
pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    rustix::net::sockopt::socket_acceptconn(fd) == Ok(true)
}

/// Whether this is a TCP socket of IPv4 or IPv6.
pub fn is_tcp(fd: BorrowedFd<'_>) -> bool {
    use rustix::net::{ipproto, sockopt};
    let family = sockopt::socket_domain(fd);
    matches!(family, Ok(AddressFamily::INET | AddressFamily::INET6))
        && sockopt::socket_type(fd) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(fd) == Ok(Some(ipproto::TCP))
}

/// Which socket option that is; include/uapi/asm-generic/socket.h, and not in the libc crate.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// A number that names the network namespace of a socket for as long as the machine runs (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn namespace_of(socket: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live, writable places, and the length is that of the first.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    check("getsockopt(SO_NETNS_COOKIE)", libc::c_long::from(answer)).map(|_| cookie)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_socket_is_told_by_what_it_is_and_where() {
        for version_6 in [false, true] {
            let socket = stream_socket(version_6).unwrap();
            assert!(is_tcp(socket.as_fd()));
            assert_eq!(namespace_of(socket.as_fd()).unwrap(), namespace_of(socket.as_fd()).unwrap());
        }
        let (unix, _other) = crate::socket::pair().unwrap();
        assert!(!is_tcp(unix.as_fd()));
        let datagrams =
            rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        assert!(!is_tcp(datagrams.unwrap().as_fd()));
        assert!(!is_tcp(std::fs::File::open("/dev/null").unwrap().as_fd()));
    }
}
