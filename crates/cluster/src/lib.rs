//! Many nodes on NATS JetStream: what travels between them, who may send it, and how it is neither lost nor settled twice.
//!
//! No scheduler, election or membership of our own: a work-queue stream holds runs until they are settled, and gives those of a dead
//! node to another. Knows no sandbox and no HTTP; a node's hands come by the trait [`worker::Hands`].
//! Reading order: [`names`] (streams and subjects), [`work`] (what is signed), [`gateway`] (sends and settles), [`worker`] (pulls and
//! runs), [`link`] and [`sessions`] (what stays on one node, reached from all), [`setup`] (what `fireclay cluster init` writes).

pub mod body;
pub mod bus;
pub mod gateway;
pub mod identity;
pub mod layout;
pub mod link;
pub mod log;
pub mod names;
pub mod nodes;
pub mod parcels;
pub mod saves;
pub mod sessions;
pub mod setup;
pub mod work;
pub mod worker;

pub use bus::{Bus, ClusterError};
pub use gateway::{Away, Gateway, News};
pub use identity::{Identity, Role};
pub use link::{Door, Links, Opening};
pub use names::Name;
pub use nodes::{Node, NodeState};
pub use parcels::{Coming, Freight};
pub use saves::{Archive, Head, Piece, Said, Shelf, Source};
pub use sessions::{Directory, End, Placed, Standing};
pub use work::{Happening, Task, Took};
pub use worker::{Doing, Hands, Worker};

use std::time::Duration;

/// How long a worker has a run without renewing its lease; then the run is given to another.
pub const LEASE: Duration = Duration::from_secs(10);

/// How often a run is given to workers before it is given up: it may be what kills them.
pub const DELIVERIES_MAX: i64 = 5;

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
