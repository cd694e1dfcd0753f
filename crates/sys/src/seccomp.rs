//! Installing a system-call filter.

use crate::error::{Error, Result, check};

/// Installs a filter on the calling thread; it can never be taken off. Needs no_new_privs (`seccomp(2)`).
pub fn install(program: &[libc::sock_filter]) -> Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Error { call: "seccomp", errno: libc::EINVAL })?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies and checks the whole program before it returns and never writes through the pointer.
    check("seccomp", unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })
    .map(drop)
}
