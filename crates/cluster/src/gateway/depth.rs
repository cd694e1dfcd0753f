//! How much there is to do in the cluster: what an autoscaler asks.

use super::Gateway;
use crate::bus::{ClusterError, failed};
use crate::names::{self, PRIORITIES, RUNS};
use crate::nodes::{Node, NodeState};
use crate::now_ms;

/// How much there is to do in the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Depth {
    /// Runs that no worker has.
    pub waiting: u64,
    /// Runs that one has.
    pub taken: u64,
    /// How long the oldest that is not settled is there, in seconds.
    pub oldest_s: f64,
    /// Places of ready workers that nothing runs in.
    pub free: u64,
}

impl Gateway {
    /// How much there is to do.
    pub async fn depth(&self) -> Result<Depth, ClusterError> {
        let doing = "ask how much waits";
        let stream = self.bus.js.get_stream(RUNS).await.map_err(failed(doing))?;
        let state = &stream.cached_info().state;
        let mut depth = Depth::default();
        for priority in PRIORITIES {
            let info = stream.consumer_info(names::word(priority)).await.map_err(failed(doing))?;
            depth.waiting += info.num_pending;
            depth.taken += info.num_ack_pending as u64;
        }
        if state.messages > 0 {
            let since_ms = state.first_timestamp.unix_timestamp_nanos() / 1_000_000;
            depth.oldest_s = (i128::from(now_ms()) - since_ms).max(0) as f64 / 1000.0;
        }
        let ready = |node: &&Node| node.worker && node.state == NodeState::Ready;
        let nodes = self.nodes().await?;
        let free = nodes.iter().filter(ready).map(|node| node.places.saturating_sub(node.running) as u64);
        depth.free = free.sum();
        Ok(depth)
    }
}
