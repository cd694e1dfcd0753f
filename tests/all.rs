//! Every proof in one binary. A folder for each kind; a file that is not named here is found by `cargo xtask tidy`.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do: that is their failing")]

mod agent;
mod api;
mod cli;
mod cluster;
mod compat;
mod deploy;
mod docs;
mod escape;
mod faults;
