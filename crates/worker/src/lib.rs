//! One machine: images, runs in sandboxes made of them, the queue in front of them. Later its sessions and egress.

pub mod artifacts;
pub mod battery;
pub mod image;
pub mod machine;
pub mod pool;
pub mod queue;
pub mod run;
pub mod spawner;
