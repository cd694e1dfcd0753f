//! One file for each command.

#[cfg(feature = "agent")]
pub mod agent;
pub mod batch;
pub mod bench;
pub mod cache;
pub mod check;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod complete;
pub mod doctor;
mod follow;
pub mod image;
pub mod key;
pub mod local;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod observe;
pub mod progress;
pub mod record;
pub mod run;
#[cfg(feature = "agent")]
pub mod secret;
pub mod selftest;
pub mod serve;
pub mod session;
pub mod template;
pub mod top;
pub mod verify;
