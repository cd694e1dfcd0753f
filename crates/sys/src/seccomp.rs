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

/// Whether the kernel knows this action of a filter: a `SECCOMP_RET_*` value (`SECCOMP_GET_ACTION_AVAIL`, Linux 4.14).
pub fn has_action(action: u32) -> bool {
    // SAFETY: the kernel reads the four bytes of a live number before it returns.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    answer == 0
}

/// Asks for the process id through the 32-bit door: under a filter that closes it, the caller is killed here.
/// A kernel without that door kills too, by SIGSEGV.
pub fn call_by_32_bit_door() -> i32 {
    let answer: i32;
    // SAFETY: 20 is `getpid` of i386; it takes no argument and touches no memory. The kernel clears r8 to r11 on this way in.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    answer
}
