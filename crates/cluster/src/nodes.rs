//! The nodes that live: each tells how it is in a bucket that forgets, and reads there what operators want of it.

use crate::bus::{Bus, ClusterError, failed};
use crate::names::{self, CONTROL, NODES, Name};
use async_nats::HeaderMap;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a node is listed that says nothing any more.
pub const NODE_TTL: Duration = Duration::from_secs(15);
/// Nodes that are read at once.
const READ_AT_ONCE: usize = 16;
/// How often a node says how it is, and looks what is wanted of it.
pub const BEAT: Duration = Duration::from_secs(2);
/// A node whose word reached no server for so long ends its sessions.
pub const HOLD: Duration = Duration::from_secs(15);
/// A node of which gateways heard nothing for so long has lost its sessions: longer than [`HOLD`], by more than clocks drift in it.
pub const LOST: Duration = Duration::from_secs(20);

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
    /// Sessions that are open on it.
    #[serde(default)]
    pub sessions: usize,
    /// Sessions that may be.
    #[serde(default)]
    pub sessions_max: usize,
    /// Templates that it has prepared, some of them if there are many.
    #[serde(default)]
    pub templates: Vec<String>,
    /// When its process began, milliseconds since 1970: sessions of the process before it are no more.
    #[serde(default)]
    pub started_ms: i64,
    /// When it said this, milliseconds since 1970 by its own clock.
    pub at_ms: i64,
}

/// «wrong last sequence» (nats-server, `errors.json`: JSStreamWrongLastSequenceErrF).
const WRONG_LAST: u64 = 10_071;

/// Says how this node is, after its own last word, whose place in the stream is `last`. A word that came between is another process's
/// with this credential: the one that began later goes on.
pub(crate) async fn beat(bus: &Bus, node: &Node, last: &mut Option<u64>) -> Result<(), ClusterError> {
    let doing = "tell how this node is";
    let subject = names::key(NODES, bus.identity.name.as_str());
    let text = serde_json::to_vec(node).expect("a node is JSON");
    let mut headers = HeaderMap::new();
    if let Some(last) = *last {
        headers.insert("Nats-Expected-Last-Subject-Sequence", last.to_string().as_str());
    }
    let answer = bus.client.request_with_headers(subject.clone(), headers, text.into()).await;
    let answer = answer.map_err(failed(doing))?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(failed(doing))?;
    // A refusal has a place too, which is 0.
    match (&answer["error"]["err_code"], answer["seq"].as_u64()) {
        (serde_json::Value::Null, Some(place)) => {
            *last = Some(place);
            return Ok(());
        }
        (code, _) if code.as_u64() == Some(WRONG_LAST) => {}
        _ => return Err(failed(doing)(answer)),
    }
    let there = bus.last(&names::bucket_stream(NODES), &subject).await?;
    let there = there.and_then(|text| serde_json::from_slice::<Node>(&text).ok());
    if there.is_some_and(|there| there.started_ms != node.started_ms) {
        return Err(ClusterError::Twin { name: bus.identity.name.to_string() });
    }
    // Ours was forgotten meanwhile, or its answer was lost.
    *last = None;
    Err(failed(doing)("the word before it is gone"))
}

const _: () =
    assert!(LOST.as_millis() > HOLD.as_millis() + 2 * BEAT.as_millis(), "who is lost knows it first");

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

/// Every node that lives, by name. Makes no consumer: of those a stream has a thousand at most, and this is asked often.
pub(crate) async fn all(bus: &Bus) -> Result<Vec<Node>, ClusterError> {
    let doing = "read the nodes";
    let bucket = &names::bucket_stream(NODES);
    let stream = bus.js.get_stream_no_info(bucket).await.map_err(failed(doing))?;
    let subjects = stream.info_with_subjects(names::key(NODES, ">")).await.map_err(failed(doing))?;
    let subjects: Vec<(String, usize)> = subjects.try_collect().await.map_err(failed(doing))?;
    let mut texts = futures_util::stream::iter(subjects)
        .map(|(subject, _)| async move { Ok((bus.last(bucket, &subject).await?, subject)) })
        .buffer_unordered(READ_AT_ONCE);
    let mut nodes: Vec<Node> = Vec::new();
    while let Some(read) = texts.next().await {
        let (text, subject): (Option<Vec<u8>>, String) = read?;
        let node = text.and_then(|text| serde_json::from_slice::<Node>(&text).ok());
        // Where it is written says whose it is: NATS lets nobody write another's.
        nodes.extend(node.filter(|node| names::key(NODES, node.name.as_str()) == subject));
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
