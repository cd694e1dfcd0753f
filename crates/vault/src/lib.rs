//! Secrets that sandboxes use and never have: sealed where they are kept ([`seal`]), and put into requests where TLS is ended for the host
//! that they are for ([`Terminator`], below an [`Authority`] that only sandboxes with secrets trust).
//!
//! Which request gets which secret is `egress`'s to say (`docs/design/0029-secrets.md`).

pub mod seal;
mod terminate;

pub use terminate::{Authority, Client, Terminator, Unusable};
