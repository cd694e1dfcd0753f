//! The tools of fireclay for language models, by the Model Context Protocol: over HTTP for a service, over standard input for a client
//! that starts one.
//!
//! A tool does nothing by itself: it asks the HTTP API ([`Api`]) with the credentials of the request that called it. What may be seen,
//! how much may be used and what is recorded is decided there, once for every door.

mod answer;
mod api;
mod arguments;
#[cfg(feature = "client")]
pub mod client;
mod door;
mod events;
mod files;
mod handler;
mod packages;
mod resources;
mod run;
mod sessions;
mod stdio;
mod tools;

pub use api::{Api, Unreachable};
pub use door::{Door, DoorOptions};
pub use stdio::serve_stdio;
