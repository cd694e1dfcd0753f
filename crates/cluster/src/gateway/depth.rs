//! How much there is to do in the cluster: what an autoscaler asks.

use super::Gateway;
use crate::bus::{ClusterError, failed};
use crate::names::{self, PRIORITIES, RUNS};
use crate::nodes::{Node, NodeState};
use crate::now_ms;
use std::collections::BTreeMap;

/// How much there is to do in the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Depth {
    /// Runs that no worker has.
    pub waiting: u64,
    /// Runs that one has.
    pub taken: u64,
    /// How long the oldest that is not settled is there, in seconds.
    pub oldest_s: f64,
    /// How long the oldest that no worker has waits, here or in the queue, in seconds.
    pub oldest_waiting_s: f64,
    /// Places of ready workers that nothing runs in.
    pub free: u64,
    /// The same of workers that have a template prepared, by template.
    pub free_prepared: BTreeMap<String, u64>,
}

impl Gateway {
    /// How much there is to do.
    pub async fn depth(&self) -> Result<Depth, ClusterError> {
        let doing = "ask how much waits";
        let stream = self.bus.js.get_stream(RUNS).await.map_err(failed(doing))?;
        let state = &stream.cached_info().state;
        let held = self.longest_held().as_secs_f64();
        let mut depth = Depth { oldest_waiting_s: held, ..Depth::default() };
        for priority in PRIORITIES {
            let info = stream.consumer_info(names::word(priority)).await.map_err(failed(doing))?;
            depth.waiting += info.num_pending;
            depth.taken += info.num_ack_pending as u64;
            if info.num_pending > 0 {
                let next = Some(info.delivered.stream_sequence + 1);
                // It may have been taken since.
                if let Ok(message) = stream.direct_get_next_for_subject(names::runs(priority), next).await {
                    depth.oldest_waiting_s =
                        depth.oldest_waiting_s.max(age_s(message.time.unix_timestamp_nanos()));
                }
            }
        }
        if state.messages > 0 {
            depth.oldest_s = age_s(state.first_timestamp.unix_timestamp_nanos());
        }
        let ready = |node: &&Node| node.worker && node.state == NodeState::Ready;
        let nodes = self.nodes().await?;
        for node in nodes.iter().filter(ready) {
            let free = node.places.saturating_sub(node.running) as u64;
            depth.free += free;
            for template in &node.templates {
                *depth.free_prepared.entry(template.clone()).or_default() += free;
            }
        }
        Ok(depth)
    }
}

/// Seconds since then, which is in nanoseconds since 1970.
fn age_s(then_ns: i128) -> f64 {
    (i128::from(now_ms()) - then_ns / 1_000_000).max(0) as f64 / 1000.0
}
