//! Namespaces: each made, entered and used.

use super::{Failure, Found, Trial, files};
use crate::host::{Host, Outside};
use crate::plan::{INSIDE_UID, INSIDE_USER};
use std::fs;
use std::net::{TcpListener, TcpStream};

/// A user namespace with a mount in it. AppArmor of Ubuntu lets the namespace be made and refuses the mount (security.md §4.10).
pub fn user(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNS).perform(|| {
        let scratch =
            files::staged_tmpfs(&[]).map_err(|failure| failure.during("mount inside the user namespace"))?;
        files::make_directory(&scratch, c"probe")?;
        Ok("made, and a mount in it works".to_owned())
    })
}

/// Whom the map makes of the code outside: seen from the namespace that this program is in, and from the one above it.
pub fn id_map(host: &Host) -> Found {
    let outside = host.outside.map_err(Failure::of)?;
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let seen = Trial::inside(outside, 0).perform(|| {
        // Read by the mapped process itself, so the outer id is as its parent namespace numbers it (user_namespaces(7)).
        let text = fs::read_to_string("/proc/self/uid_map")?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    })?;
    let numbers: Vec<u32> = seen.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [INSIDE_UID, here, 1] = numbers[..] else {
        return Err(Failure::of(format!("the map reads {seen:?}, which is not one id")));
    };
    let above =
        translate(&map, here).ok_or_else(|| Failure::of(format!("id {here} is not mapped outside")))?;
    match (here, above) {
        (_, 0) => Err(Failure::of(format!("{INSIDE_UID} inside is root outside"))),
        (here, above) if here == above => Ok(format!("{INSIDE_UID} inside is {here} outside")),
        (here, above) => Ok(format!("{INSIDE_UID} inside is {here} here, {above} outside")),
    }
}

/// The id that `id` of a namespace with this map has outside it.
pub(super) fn translate(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = id.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

/// The child is the first of its process ids.
pub fn pid(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWPID).perform(|| {
        // Asked of the kernel, not of the C library.
        match rustix::process::getpid().as_raw_nonzero().get() {
            1 => Ok("made, its first process is number 1".to_owned()),
            other => Err(Failure::of(format!("the first process has number {other}"))),
        }
    })
}

/// Loopback works, and there is no way out.
pub fn net(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWNET).perform(|| {
        sys::net::loopback_up()?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .map_err(|error| Failure::from(error).during("listen on loopback"))?;
        let address = listener.local_addr()?;
        drop(
            TcpStream::connect(address)
                .map_err(|error| Failure::from(error).during("connect over loopback"))?,
        );
        // An address for documentation (RFC 5737): refused at once when there is no route.
        match TcpStream::connect("192.0.2.1:9") {
            Err(error) if error.raw_os_error() == Some(libc::ENETUNREACH) => {
                Ok("made, loopback works, nothing else is there".to_owned())
            }
            _ => Err(Failure::of("a new network namespace has a way out")),
        }
    })
}

/// Another namespace than the parent's.
pub fn ipc(outside: Outside) -> Found {
    let ours = fs::read_link("/proc/self/ns/ipc")?;
    Trial::inside(outside, libc::CLONE_NEWIPC).perform(|| differs(&ours, "/proc/self/ns/ipc"))
}

/// The host name changes inside.
pub fn uts(outside: Outside) -> Found {
    Trial::inside(outside, libc::CLONE_NEWUTS).perform(|| {
        sys::net::set_host_name(INSIDE_USER)?;
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        if name == INSIDE_USER {
            Ok(format!("made, the host name is {name}"))
        } else {
            Err(Failure::of(format!("the host name stays {name}")))
        }
    })
}

/// Another namespace than the parent's.
pub fn cgroup(outside: Outside) -> Found {
    let ours = fs::read_link("/proc/self/ns/cgroup")?;
    Trial::inside(outside, libc::CLONE_NEWCGROUP).perform(|| differs(&ours, "/proc/self/ns/cgroup"))
}

fn differs(ours: &std::path::Path, path: &str) -> Found {
    if fs::read_link(path)? == ours { Err(Failure::of("it is the parent's")) } else { Ok("made".to_owned()) }
}

/// With the limit at zero no namespace can be made, not even by one who has all rights inside.
pub fn forbid(outside: Outside) -> Found {
    Trial::inside(outside, 0).perform(|| {
        let path = "/proc/sys/user/max_user_namespaces";
        fs::write(path, "0").map_err(|error| Failure::from(error).during(&format!("write {path}")))?;
        match sys::process::unshare(libc::CLONE_NEWUSER) {
            Err(error) if error.errno == libc::ENOSPC => {
                Ok("limit set to 0, a nested one is refused".to_owned())
            }
            Err(error) => Err(Failure::from(error)),
            Ok(()) => Err(Failure::of("a nested user namespace was made in spite of the limit")),
        }
    })
}
