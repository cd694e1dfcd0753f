//! The kernel, one thin function per call. The only crate where `unsafe` compiles.
//!
//! Typed arguments and [`std::os::fd::OwnedFd`] in, [`Error`] with the call's name and errno out. No policy, no logging, no retries.

pub mod error;
pub mod fs;
pub mod identity;
pub mod landlock;
pub mod limits;
pub mod mount;
pub mod net;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod terminal;

pub use error::{Error, Result};
