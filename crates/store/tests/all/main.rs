//! The store through its public API, on real files; one module for each noun, one for each promise.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do: that is their failing")]

mod artifacts;
mod audit;
mod batches;
mod disk_full;
mod groups;
mod harness;
mod idempotency;
mod interrupted;
mod keys;
mod killed;
mod opening;
mod paging;
mod retention;
mod runs;
mod sessions;
mod spool;
mod tasks;
mod tenants;
mod traces;
mod usage;
