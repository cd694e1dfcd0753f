//! The service over real sockets: one file per noun, and what hostile clients, deaths and load do to it.

mod agentrun;
mod docs;
mod guard;
mod keys;
mod runs;
mod settings;
mod tenancy;
