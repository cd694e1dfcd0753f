//! What every test of the built engine needs: the binary, one image, one way to run something and see what came of it.

pub mod browser;
pub mod bystander;
pub mod canary;
pub mod census;
pub mod forked;
pub mod http;
pub mod naive;
pub mod order;
mod ordinary;
pub mod run;
pub mod server;
mod stage;
mod weaken;
pub mod websocket;

pub use bystander::Bystander;
pub use canary::Canaries;
pub use order::Order;
pub use ordinary::Ordinary;
pub use run::{Ran, drive, fireclay, image, packages};
pub use server::{Data, Server};
pub use stage::{SharedImage, show_host};
pub use weaken::weaken;
