//! One machine: images, runs in sandboxes made of them, the queue in front of them. Later its sessions and egress.

pub mod artifacts;
pub mod battery;
pub mod image;
mod json;
pub mod machine;
pub mod phases;
pub mod pool;
pub mod queue;
pub mod run;
mod shelf;
pub mod spawner;
pub mod template;
