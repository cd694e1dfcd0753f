//! Whether the store's writer works: asked by writing, one question at a time, at most once a second however many ask.

use crate::problem::{Kind, Problem};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tokio::sync::watch;

/// How long an answer is as good as a new one.
const FRESH: Duration = Duration::from_secs(1);
/// How long a write may take before the writer counts as stuck. Far beyond what a group of writes takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The last that was heard of the writer.
#[derive(Debug)]
pub struct Pulse {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a write is on its way.
    asked: bool,
    /// When the last one was answered, and how.
    heard: Option<(Instant, Result<(), Problem>)>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { state: Arc::new(watch::channel(State::default()).0) }
    }
}

impl Pulse {
    /// Returns when a write has gone through within the last second; fails as it did, or when it takes more than two.
    pub async fn feel(&self, store: &Store) -> Result<(), Problem> {
        let mut told = self.state.subscribe();
        let ask = self.state.send_if_modified(|state| {
            let fresh = state.heard.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH);
            let ask = !state.asked && !fresh;
            state.asked |= ask;
            ask
        });
        if ask {
            let (state, probe) = (self.state.clone(), store.probe());
            // Goes on when whoever asked has gone, so that the next finds it asked.
            tokio::spawn(async move {
                let answer = probe.await.map_err(Problem::from);
                state.send_modify(|state| {
                    *state = State { asked: false, heard: Some((Instant::now(), answer)) }
                });
            });
        }
        let heard = tokio::time::timeout(PATIENCE, told.wait_for(|state| !state.asked)).await;
        match heard {
            Ok(Ok(state)) => state.heard.as_ref().map_or(Ok(()), |(_, answer)| answer.clone()),
            // The sender is ours, so the other error cannot be.
            Ok(Err(_)) | Err(_) => {
                let detail = format!("a write to the store has taken more than {} s", PATIENCE.as_secs());
                let hint = "something holds its database, or its disk hangs; the service's log and `fireclay doctor` say more";
                Err(Problem::new(Kind::Unavailable, detail, hint).retry_safe(true))
            }
        }
    }
}
