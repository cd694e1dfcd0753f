//! One isolated place where code runs: plans it, builds it, speaks to the guest, supervises, judges.
//!
//! Knows no HTTP, no tenant, no environment and no clock but the monotonic one. Reading order: [`plan`] says what isolates,
//! [`place`] and `init` perform it, [`supervise`] watches a run, [`judge`] says what became of it; [`run`] is all of it in a row.

mod census;
pub mod cgroup;
pub mod command;
pub mod control;
pub mod errand;
pub mod files;
pub mod forward;
pub mod frames;
pub mod host;
pub mod image;
mod init;
pub mod inputs;
pub mod joining;
pub mod judge;
mod mounts;
pub mod output;
pub mod place;
pub mod plan;
pub mod probe;
pub mod procfs;
pub mod run;
pub mod seccomp;
pub mod stay;
mod staying;
pub mod streams;
pub mod supervise;
mod verify;
pub mod workspace;
pub mod zygote;

pub use image::Image;
