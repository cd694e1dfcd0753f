//! The nodes that live: each tells how it is in a bucket that forgets, and reads there what operators want of it.

use crate::bus::{Bus, ClusterError, failed};
use crate::names::{self, CONTROL, NODES, Name};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a node is listed that says nothing any more.
pub const NODE_TTL: Duration = Duration::from_secs(15);
/// How often a node says how it is, and looks what is wanted of it.
pub const BEAT: Duration = Duration::from_secs(2);

/// What a node does with new runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It takes them.
    Ready,
    /// It takes none until it is told otherwise.
    Cordoned,
    /// It takes none, and ends when the last of its own has.
    Draining,
}

impl NodeState {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

/// A node as it tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Whether it sends runs.
    pub gateway: bool,
    /// Whether it does them.
    pub worker: bool,
    /// What it does with new ones.
    pub state: NodeState,
    /// Of its fireclay.
    pub version: String,
    /// Runs at once, at most.
    pub places: usize,
    /// Runs that have a place.
    pub running: usize,
    /// Runs that wait on it for one.
    pub queued: usize,
    /// When it said this, milliseconds since 1970 by its own clock.
    pub at_ms: i64,
}

/// Says how this node is.
pub(crate) async fn beat(bus: &Bus, node: &Node) -> Result<(), ClusterError> {
    let subject = names::key(NODES, bus.identity.name.as_str());
    let text = serde_json::to_vec(node).expect("a node is JSON");
    // Not waited for: the next one comes soon.
    bus.client.publish(subject, text.into()).await.map_err(failed("tell how this node is"))
}

/// What operators want of this node.
pub(crate) async fn wanted(bus: &Bus) -> Result<NodeState, ClusterError> {
    let said =
        bus.last(&names::bucket_stream(CONTROL), &names::key(CONTROL, bus.identity.name.as_str())).await?;
    Ok(match said.as_deref() {
        Some(b"cordoned") => NodeState::Cordoned,
        Some(b"draining") => NodeState::Draining,
        _ => NodeState::Ready,
    })
}

/// Every node that lives, by name.
pub(crate) async fn all(bus: &Bus) -> Result<Vec<Node>, ClusterError> {
    let bucket = bus.js.get_key_value(NODES).await.map_err(failed("read the nodes"))?;
    let mut keys = bucket.keys().await.map_err(failed("read the nodes"))?;
    let mut nodes: Vec<Node> = Vec::new();
    while let Some(key) = keys.next().await {
        let key = key.map_err(failed("read the nodes"))?;
        let Some(text) = bucket.get(&key).await.map_err(failed("read a node"))? else { continue };
        // Where it is written says whose it is: NATS lets nobody write another's.
        if let Some(node) =
            serde_json::from_slice::<Node>(&text).ok().filter(|node| node.name.as_str() == key)
        {
            nodes.push(node);
        }
    }
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(nodes)
}

/// Says what a node is to do; a node that is not there yet does it when it comes.
pub(crate) async fn want(bus: &Bus, node: &Name, state: NodeState) -> Result<(), ClusterError> {
    let bucket = bus.js.get_key_value(CONTROL).await.map_err(failed("tell a node"))?;
    match state {
        NodeState::Ready => bucket.purge(node.as_str()).await.map_err(failed("tell a node")),
        state => {
            let put = bucket.put(node.as_str(), state.name().into()).await;
            put.map(drop).map_err(failed("tell a node"))
        }
    }
}
