//! One machine: images, runs in sandboxes made of them, the queue in front of them, and sandboxes that stay.

pub mod artifacts;
pub mod battery;
mod habits;
pub mod image;
pub mod installer;
mod json;
pub mod lanes;
pub mod log;
pub mod machine;
pub mod phases;
pub mod pool;
pub mod proxies;
pub mod queue;
pub mod run;
pub mod session;
mod shelf;
pub mod spawner;
pub mod template;
