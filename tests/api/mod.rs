//! The service over real sockets: one file per noun, and what hostile clients, deaths and load do to it.

mod agentrun;
mod ahead;
mod artifacts;
mod batches;
mod check;
mod crashes;
mod docs;
mod escape;
mod events;
mod fairness;
mod guard;
mod health;
mod hostile;
mod keys;
mod kills;
mod lifecycle;
mod mcp;
mod problems;
mod runs;
mod schema;
mod sessions;
mod sessions_spoilt;
mod settings;
mod templates;
pub mod tenancy;
mod warm;
