//! The console: a page at `/` that shows what the service does and has it do things, over the public API alone.
//!
//! Its files are made ahead from `ui/` and lie in the binary (`assets.rs`). Whoever opens it exchanges a key for a cookie that scripts
//! cannot read (`logins.rs`, `door.rs`); the page itself holds no secret.

mod assets;
mod door;
mod logins;
mod refusals;

pub use logins::{COOKIE, Logins};

use crate::service::Service;
use axum::Router;
use std::sync::Arc;

/// The routes.
pub fn routes() -> Router<Arc<Service>> {
    assets::routes().merge(door::routes())
}

/// Paths of the console that need no key: they tell nothing of anybody.
pub fn is_public(path: &str) -> bool {
    matches!(path, "/" | "/console/login" | "/console/logout") || path.starts_with("/console/assets/")
}

pub use door::caller_of;
