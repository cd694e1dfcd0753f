//! One file for each command.

pub mod batch;
pub mod bench;
pub mod check;
pub mod complete;
pub mod doctor;
mod follow;
pub mod image;
pub mod key;
pub mod mcp;
pub mod progress;
pub mod record;
pub mod run;
pub mod selftest;
pub mod serve;
pub mod session;
pub mod template;
pub mod verify;
