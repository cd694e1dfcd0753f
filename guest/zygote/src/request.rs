//! What a keeper and a zygote say to each other. One file for both: `crates/sandbox` includes it.
//!
//! ```text
//! request:  Header | Call × calls | offset: u32 × relocations | data          with descriptors: PID namespace, report pipe, others
//! report:   FORKED, pid            by the zygote; the pid is the one inside the sandbox
//!           REFUSED, errno         by the zygote, instead: nothing was forked
//!           CONFINED, 0            by the fork: every call succeeded, and what follows is the program
//!           FAILED + call, errno   by the fork, instead: this call failed, and the fork ended
//! ```
//! The zygote and the fork write to one pipe in any order; when both are done it has its end.
//!
//! A request is one packet of a seqpacket socket, in the machine's own byte order; a report is two words of 32 bits on a pipe.

/// First word of a request: this format.
pub const MAGIC: u32 = 0x315a_4346;
/// Tag of a report: the fork was made.
pub const FORKED: u32 = 1;
/// Tag of a report: no fork was made.
pub const REFUSED: u32 = 2;
/// Tag of a report: every call succeeded.
pub const CONFINED: u32 = 3;
/// Tag of a report: call number `tag - FAILED` failed.
pub const FAILED: u32 = 16;

/// Longest request.
pub const REQUEST_BYTES_MAX: usize = 32 << 10;
/// Most descriptors of a request.
pub const DESCRIPTORS_MAX: usize = 24;
/// The place of the target's PID namespace among the descriptors.
pub const PID_NAMESPACE: usize = 0;
/// The place of the report pipe.
pub const REPORT: usize = 1;
/// The first number that is closed in the fork when all calls are done: what it keeps was placed below.
pub const KEPT: u64 = 5;

/// What a request begins with: [`MAGIC`], then how many calls, how many relocations, how many bytes of data. A relocation is an
/// offset in the data, at which the address of the data is added to a word of 64 bits.
pub type Header = [u32; 4];

/// One system call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// What each argument is, two bits each, the first lowest: [`LITERAL`], [`DATA`] or [`DESCRIPTOR`].
    pub kinds: u32,
    /// An errno that counts as success, 0 for none.
    pub tolerated: u32,
    /// What it must return, -1 for anything that is no error.
    pub expected: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// An argument as it is.
pub const LITERAL: u32 = 0;
/// An argument that is an offset in the data and becomes an address.
pub const DATA: u32 = 1;
/// An argument that is an index and becomes the number of that descriptor.
pub const DESCRIPTOR: u32 = 2;
