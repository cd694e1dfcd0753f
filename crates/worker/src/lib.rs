//! One machine: images, and runs in sandboxes made of them. Later its pool, sessions and egress.

pub mod artifacts;
pub mod battery;
pub mod image;
pub mod run;
