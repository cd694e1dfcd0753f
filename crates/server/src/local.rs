//! A service that is one person's: whoever holds its token owns it, and it ends when nobody needs it.
//!
//! On a loopback address every user of the machine can open a connection. The token tells its owner's programs from theirs; it lies in
//! a file that only the owner can read, and is another with every start.

use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// How often it is looked whether the service is in use, at most: it ends so much late.
const LOOK: Duration = Duration::from_secs(5);

/// What makes a service its owner's.
pub struct Local {
    token: String,
    /// How long it goes on when nobody needs it; `None` is for ever.
    patience: Option<Duration>,
    /// Requests that are being answered.
    asking: AtomicUsize,
    /// Requests that ever were.
    asked: AtomicU64,
}

impl Local {
    /// Nobody has asked yet. A time of 0 is for ever.
    pub fn new(token: String, idle_ms: u64) -> Self {
        let patience = Some(Duration::from_millis(idle_ms)).filter(|patience| !patience.is_zero());
        Self { token, patience, asking: AtomicUsize::new(0), asked: AtomicU64::new(0) }
    }

    /// What its owner's programs send.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether this is the token; how long that takes does not tell how much of it is right.
    pub fn is_token(&self, said: &str) -> bool {
        said.as_bytes().ct_eq(self.token.as_bytes()).into()
    }
}

impl fmt::Debug for Local {
    /// Without the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Local").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// A request that is being answered.
struct Asking<'a>(&'a Local);

impl<'a> Asking<'a> {
    fn begin(local: &'a Local) -> Self {
        local.asked.fetch_add(1, Ordering::Relaxed);
        local.asking.fetch_add(1, Ordering::Relaxed);
        Self(local)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notes that somebody asks.
pub async fn noted(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let _asking = service.local.as_ref().map(Asking::begin);
    next.run(request).await
}

/// When a service was last seen in use.
#[derive(Debug)]
struct Idle {
    patience: Duration,
    since: Instant,
    asked: u64,
}

impl Idle {
    /// Takes a look: whether it is time to end.
    fn is_over(&mut self, now: Instant, asked: u64, in_use: bool) -> bool {
        if in_use || asked != self.asked {
            self.since = now;
            self.asked = asked;
        }
        now.saturating_duration_since(self.since) >= self.patience
    }
}

impl Service {
    /// Whether this key is the token of a local service.
    pub(crate) fn is_owners(&self, key: &str) -> bool {
        self.local.as_ref().is_some_and(|local| local.is_token(key))
    }

    /// Returns when a local service has been of no use for as long as it waits: nobody asked, nothing ran, no session was open.
    pub async fn unused(&self) {
        let Some((local, patience)) = self.local.as_ref().and_then(|local| Some((local, local.patience?)))
        else {
            return std::future::pending().await;
        };
        let mut idle = Idle { patience, since: Instant::now(), asked: 0 };
        let mut look = tokio::time::interval(LOOK.min(patience));
        loop {
            look.tick().await;
            if idle.is_over(Instant::now(), local.asked.load(Ordering::Relaxed), self.is_in_use(local)) {
                return;
            }
        }
    }

    fn is_in_use(&self, local: &Local) -> bool {
        local.asking.load(Ordering::Relaxed) > 0
            || !self.batches.is_empty()
            || self.tasks.empty().now_or_never().is_none()
            || self.live.empty().now_or_never().is_none()
            || self.sessions.empty().now_or_never().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_time_begins_anew_with_every_use() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut idle = Idle { patience: Duration::from_secs(600), since: start, asked: 0 };
        assert!(!idle.is_over(at(599), 0, false));
        assert!(!idle.is_over(at(600), 1, false), "somebody has asked since");
        assert!(!idle.is_over(at(700), 1, true), "a session is open");
        assert!(!idle.is_over(at(1299), 1, false));
        assert!(idle.is_over(at(1300), 1, false));
    }

    #[test]
    fn the_token_is_the_whole_token() {
        let local = Local::new("local_ab".to_owned(), 0);
        assert!(local.is_token("local_ab") && local.patience.is_none());
        for wrong in ["", "local_a", "local_abc", "local_aB"] {
            assert!(!local.is_token(wrong), "{wrong:?}");
        }
    }
}
