//! What the kernel keeps of a thread in the thread's own memory, and has to be told of again.

use crate::call;
use core::arch::asm;
use core::ffi::{c_char, c_void};
use core::ptr::null_mut;

const SET_ROBUST_LIST: u64 = 273;
const GET_ROBUST_LIST: u64 = 274;
const RSEQ: u64 = 334;
const PRCTL: u64 = 157;
const PR_GET_TID_ADDRESS: u64 = 40;

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// What the fork must tell the kernel of itself again, since the process in the middle had none of it.
pub struct Thread {
    /// Where its number is kept; 0 if nowhere.
    pub tid_address: u64,
    robust_list: u64,
    robust_list_bytes: u64,
    rseq: u64,
}

/// Restartable sequences as the C library registers them (rseq(2)): bytes, and the signature before its handlers.
const RSEQ_BYTES: u64 = 32;
const RSEQ_SIGNATURE: u64 = 0x5305_3053;

impl Thread {
    /// As the kernel and the C library know the caller.
    pub fn of_caller() -> Self {
        let mut thread = Self { tid_address: 0, robust_list: 0, robust_list_bytes: 0, rseq: 0 };
        // SAFETY: the kernel stores a word in a live place, or fails and leaves 0.
        unsafe { call(PRCTL, [PR_GET_TID_ADDRESS, (&raw mut thread.tid_address) as u64, 0, 0, 0, 0]) };
        let (head, bytes) =
            ((&raw mut thread.robust_list) as u64, (&raw mut thread.robust_list_bytes) as u64);
        // SAFETY: as above, two words.
        unsafe { call(GET_ROBUST_LIST, [0, head, bytes, 0, 0, 0]) };
        // SAFETY: a null library means all that are loaded, and the name ends with a NUL. Absent before glibc 2.35.
        let offset = unsafe { dlsym(null_mut(), c"__rseq_offset".as_ptr()) }.cast::<isize>();
        if !offset.is_null() {
            let base: u64;
            // SAFETY: the first word of a thread's own block is its address (the ABI's x86_64 TLS).
            unsafe { asm!("mov {}, fs:0", out(reg) base, options(nostack, readonly, preserves_flags)) };
            // SAFETY: the symbol is a constant of this type.
            thread.rseq = base.wrapping_add_signed(unsafe { *offset } as i64);
        }
        thread
    }

    /// Registers the caller's again. What the kernel refuses was not registered before either.
    pub fn register(&self) {
        if self.robust_list != 0 {
            // SAFETY: the C library's own list, at the same place in the fork's memory.
            unsafe { call(SET_ROBUST_LIST, [self.robust_list, self.robust_list_bytes, 0, 0, 0, 0]) };
        }
        if self.rseq != 0 {
            // SAFETY: the C library's own area, likewise.
            unsafe { call(RSEQ, [self.rseq, RSEQ_BYTES, 0, RSEQ_SIGNATURE, 0, 0]) };
        }
    }
}
