//! The proxy by which a sandbox reaches the hosts it was allowed, and nothing else: which targets may be asked for, which addresses may
//! be dialled, and what may pass, counted and told.
//!
//! A connection goes this way, and each step can only refuse: a head is read ([`request`]) → its target is looked up in the rules
//! ([`rules`]) → the name is resolved once and its addresses judged ([`address`]) → one of them is dialled → for a tunnel, the
//! ClientHello must name the same host ([`hello`]) → bytes pass, within [`Limits`] → an [`Attempt`] is told.
//!
//! It knows no sandbox and no tenant: one [`Proxy`] has the rules of one sandbox and serves the listener that only this sandbox can
//! reach, so that who asks is never read from what is said. TLS is ended only for hosts that a [`secret`] is for, by whoever is given for
//! it. Not here: TLS itself, a cache, anything of a disk
//! (`docs/design/0019-egress.md`).

pub mod address;
mod answer;
mod attempt;
pub mod body;
mod dial;
mod flow;
mod guests;
pub mod hello;
mod limits;
mod proxy;
mod read;
mod refusal;
pub mod request;
pub mod rules;
pub mod secret;
pub mod target;
mod visit;

pub use attempt::{Attempt, Sink, Totals, Verdict};
pub use dial::{Resolve, Resolved, System};
pub use limits::Limits;
pub use proxy::{Listen, Proxy};
