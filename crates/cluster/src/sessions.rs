//! Where sessions are. A gateway writes where it placed one, at `at.SESSION`; the node that has it writes how it ended, at
//! `end.NODE.SESSION`; both lie in one bucket, which every gateway watches. A session stays where it was placed, unless it is durable and
//! its node is lost: then [`reopening`] says which gateway places it once more.
//!
//! The lease of all sessions of a node is its word in the bucket of nodes. A node whose word reached nobody for [`HOLD`] ends them, by
//! its own clock; gateways say that they are lost after [`LOST`], by theirs.

use crate::bus::{Bus, ClusterError, failed};
use crate::names::{self, NODES, Name, SESSIONS};
use crate::nodes::{LOST, NODE_TTL, Node, NodeState};
use crate::now_ms;
use crate::saves::{self, Source};
use async_nats::HeaderMap;
use async_nats::jetstream::kv::{Entry, Operation};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures_util::StreamExt as _;
use model::{SessionId, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

#[cfg(doc)]
use crate::nodes::HOLD;

pub mod reopening;

/// After a failure of the bus.
const PAUSE: Duration = Duration::from_millis(250);
/// Of an end that is older than this, others have removed what was saved.
const SAID_AGAIN_MS: i64 = 3_600_000;

/// A session as its gateway placed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// Where it is.
    pub node: Name,
    /// When the process there began: the one after it has none of its sessions.
    pub started_ms: i64,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// When it was opened, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What was asked, JSON text.
    pub request: String,
    /// Whether its files are saved, and it is reopened elsewhere when its node is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// How often it was reopened.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub epoch: u64,
    /// When a gateway began to reopen it there, milliseconds since 1970; absent once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening_ms: Option<i64>,
    /// Who saved its files last, as long as it is being reopened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

fn is_none_yet(epoch: &u64) -> bool {
    *epoch == 0
}

/// How a session ended, as its node tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Why, in one word.
    pub why: String,
    /// More, for people.
    pub detail: String,
    /// Until when its node keeps its files; absent if there are none.
    pub files_until_ms: Option<i64>,
    /// How often the session had been reopened when it ended there.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub epoch: u64,
    /// Whether a gateway ended it, when it was on no node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_gateway: bool,
}

impl End {
    /// Whether only the session's node is no more: one that is durable goes on elsewhere.
    pub fn is_of_node(&self) -> bool {
        matches!(self.why.as_str(), "node_lost" | "service_restarted")
    }
}

/// How a session is, as far as this gateway knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its node is there, and can be asked.
    There,
    /// Its node is silent, and may come back.
    Silent,
    /// Its node is gone, and it with it.
    Lost(End),
}

/// What a gateway knows of nodes and sessions.
#[derive(Debug)]
pub struct Directory {
    bus: Bus,
    began: Instant,
    nodes: Mutex<HashMap<Name, (Node, Instant)>>,
    sessions: Mutex<BTreeMap<SessionId, (Placed, Option<End>)>>,
    /// Sessions that this gateway is placing, by node.
    placing: Mutex<HashMap<Name, usize>>,
}

impl Directory {
    /// Knows what there is when this returns, and from then on what changes.
    pub async fn watch(bus: Bus) -> Result<Arc<Self>, ClusterError> {
        let directory = Arc::new(Self {
            bus,
            began: Instant::now(),
            nodes: Mutex::default(),
            sessions: Mutex::default(),
            placing: Mutex::default(),
        });
        for bucket in [NODES, SESSIONS] {
            tokio::spawn(directory.clone().follow(bucket));
        }
        Ok(directory)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Name, (Node, Instant)>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, (Placed, Option<End>)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(self: Arc<Self>, bucket: &'static str) {
        loop {
            if let Err(error) = self.follow_once(bucket).await {
                crate::log::warn(format_args!("{error}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow_once(&self, name: &'static str) -> Result<(), ClusterError> {
        let bucket = self.bus.js.get_key_value(name).await.map_err(failed(format!("watch {name}")))?;
        let watch = bucket.watch_with_history(">").await;
        let mut watch = watch.map_err(failed(format!("watch {name}")))?;
        while let Some(entry) = watch.next().await {
            let entry = entry.map_err(failed(format!("watch {name}")))?;
            if name == NODES { self.learn_node(&entry) } else { self.learn_session(&entry) }
        }
        Ok(())
    }

    fn learn_node(&self, entry: &Entry) {
        let Ok(name) = entry.key.parse::<Name>() else { return };
        let node = serde_json::from_slice::<Node>(&entry.value).ok().filter(|node| node.name == name);
        match (entry.operation, node) {
            (Operation::Put, Some(node)) => drop(self.nodes().insert(name, (node, Instant::now()))),
            // It left in order; its sessions ended before.
            _ => drop(self.nodes().remove(&name)),
        }
    }

    fn learn_session(&self, entry: &Entry) {
        let parts: Vec<&str> = entry.key.split('.').collect();
        if entry.operation != Operation::Put {
            if let ["at", id] = parts[..]
                && let Ok(id) = id.parse()
            {
                self.sessions().remove(&id);
            }
            return;
        }
        match parts[..] {
            ["at", id] => {
                let (Ok(id), Ok(placed)) = (id.parse(), serde_json::from_slice(&entry.value)) else { return };
                self.learn(id, placed);
            }
            ["end", node, id] => {
                let (Ok(id), Ok(end)) = (id.parse(), serde_json::from_slice(&entry.value)) else { return };
                self.learn_end(&id, node, end);
            }
            _ => {}
        }
    }

    fn learn_end(&self, id: &SessionId, node: &str, end: End) {
        let mut sessions = self.sessions();
        let Some((placed, known)) = sessions.get_mut(id) else { return };
        // Who writes there is that node: it can end its own sessions only, and none that it had before.
        if placed.node.as_str() != node || placed.epoch != end.epoch {
            return;
        }
        // What did not become open again did not end: whoever reopens it goes on with another.
        if placed.opening_ms.is_some() && !end.by_gateway {
            return;
        }
        // What is told to one who begins to listen may have been told to others long ago.
        let is_news = now_ms().saturating_sub(end.at_ms) < SAID_AGAIN_MS;
        if placed.durable && !end.is_of_node() && is_news {
            let (bus, id) = (self.bus.clone(), id.clone());
            tokio::spawn(async move {
                // What is left goes by its age.
                if let Err(error) = saves::clear(&bus, &id, None).await {
                    crate::log::warn(format_args!("{id}: {error}"));
                }
            });
        }
        *known = Some(end);
    }

    fn learn(&self, id: SessionId, placed: Placed) {
        let mut sessions = self.sessions();
        // What was written before it was reopened may be heard of later.
        if sessions.get(&id).is_some_and(|(before, _)| before.epoch > placed.epoch) {
            return;
        }
        // One that was given more time is told again.
        let is_same = |before: &Placed| before.node == placed.node && before.epoch == placed.epoch;
        let end = sessions.remove(&id).and_then(|(before, end)| end.filter(|_| is_same(&before)));
        sessions.insert(id, (placed, end));
    }

    /// Where a session is. One that is not known yet is asked for where that is written.
    pub async fn find(&self, id: &SessionId) -> Result<Option<(Placed, Option<End>)>, ClusterError> {
        if let Some(known) = self.sessions().get(id).cloned() {
            return Ok(Some(known));
        }
        let stream = names::bucket_stream(SESSIONS);
        let found = self.bus.js.get_stream_no_info(&stream).await.map_err(failed("look for a session"))?;
        let key = names::key(SESSIONS, &format!("at.{id}"));
        match found.get_last_raw_message_by_subject(&key).await {
            Ok(message) => {
                // A marker of what was removed is no placement.
                let placed = serde_json::from_slice::<Placed>(&message.payload).ok();
                if let Some(placed) = &placed {
                    self.learn(id.clone(), placed.clone());
                }
                Ok(placed.map(|placed| (placed, None)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed("look for a session")(error)),
        }
    }

    /// How a session is that was placed so and of whose end its node told this.
    pub fn standing(&self, placed: &Placed) -> Standing {
        let heard = self.nodes().get(&placed.node).map(|(node, heard)| (node.started_ms, *heard));
        let silent = match heard {
            // The process that had it knows of it, and the one after it knows that it ended.
            Some((_, heard)) if heard.elapsed() <= NODE_TTL => return Standing::There,
            Some((_, heard)) => heard.elapsed(),
            // Its last word had gone from the bucket when we began to listen.
            None => self.began.elapsed() + NODE_TTL,
        };
        if silent <= LOST {
            return Standing::Silent;
        }
        let detail = format!(
            "{} was not heard of for {} s; what was in the session's memory is gone, and its files are where {} kept them, if it did",
            placed.node,
            LOST.as_secs(),
            placed.node
        );
        let at_ms = now_ms() - i64::try_from(silent.as_millis()).unwrap_or(0);
        let epoch = placed.epoch;
        Standing::Lost(End {
            at_ms,
            why: "node_lost".to_owned(),
            detail,
            files_until_ms: None,
            epoch,
            by_gateway: false,
        })
    }

    /// How many sessions of a tenant are open, on all nodes.
    pub fn open_of(&self, tenant: &TenantId) -> usize {
        let of_tenant: Vec<Placed> = self
            .sessions()
            .values()
            .filter(|(placed, end)| end.is_none() && placed.tenant == *tenant)
            .map(|(placed, _)| placed.clone())
            .collect();
        let is_open = |placed: &&Placed| {
            let started = self.nodes().get(&placed.node).map(|(node, _)| node.started_ms);
            started.is_none_or(|started| started == placed.started_ms)
                && !matches!(self.standing(placed), Standing::Lost(_))
        };
        of_tenant.iter().filter(is_open).count()
    }

    /// Sessions of a tenant that this gateway knows of, and their ends.
    pub fn all_of(&self, tenant: &TenantId) -> Vec<(SessionId, Placed, Option<End>)> {
        let sessions = self.sessions();
        let own = sessions.iter().filter(|(_, (placed, _))| placed.tenant == *tenant);
        own.map(|(id, (placed, end))| (id.clone(), placed.clone(), end.clone())).collect()
    }

    /// Nodes that have room for a session, the emptiest first.
    pub fn with_room(&self) -> Vec<Node> {
        let mut placed = self.placing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (one, _) in self.sessions().values().filter(|(_, end)| end.is_none()) {
            *placed.entry(one.node.clone()).or_default() += 1;
        }
        // A node's word is older than what was placed since; what was opened there in another way is not known here.
        let taken = |node: &Node| node.sessions.max(placed.get(&node.name).copied().unwrap_or(0));
        let fits =
            |node: &Node| node.worker && node.state == NodeState::Ready && taken(node) < node.sessions_max;
        let nodes = self.nodes();
        let live = nodes.values().filter(|(_, heard)| heard.elapsed() <= NODE_TTL).map(|(node, _)| node);
        let mut nodes: Vec<Node> = live.filter(|node| fits(node)).cloned().collect();
        // Parts of a thousand, and a name so that the order is one.
        nodes.sort_by_key(|node| {
            (taken(node) * 1000 / node.sessions_max, node.running + node.queued, node.name.clone())
        });
        nodes
    }

    /// Counts a session that is on its way to a node, as long as this is there.
    pub fn place(self: &Arc<Self>, node: &Name) -> Placing {
        *self.placing.lock().unwrap_or_else(PoisonError::into_inner).entry(node.clone()).or_default() += 1;
        Placing { directory: self.clone(), node: node.clone() }
    }

    /// Writes where a session is, for all gateways.
    pub async fn tell(&self, id: &SessionId, placed: Placed) -> Result<(), ClusterError> {
        let subject = names::key(SESSIONS, &format!("at.{id}"));
        let text = serde_json::to_vec(&placed).expect("it is JSON");
        self.learn(id.clone(), placed);
        let message_id = format!("at.{id}.{}", now_ms());
        self.bus.store(subject, &message_id, HeaderMap::new(), text).await.map(drop)
    }
}

/// A session on its way to a node.
#[derive(Debug)]
pub struct Placing {
    directory: Arc<Directory>,
    node: Name,
}

impl Drop for Placing {
    fn drop(&mut self) {
        let mut placing = self.directory.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = placing.get_mut(&self.node) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Tells that a session of this node ended; tries until it is stored.
pub async fn tell_end(bus: &Bus, id: &SessionId, end: &End) {
    let subject = names::key(SESSIONS, &format!("end.{}.{id}", bus.identity.name));
    let text = serde_json::to_vec(end).expect("it is JSON");
    loop {
        let message_id = format!("end.{id}.{}", end.epoch);
        let stored = bus.store(subject.clone(), &message_id, HeaderMap::new(), text.clone()).await;
        match stored {
            Ok(_) => return,
            Err(error) => crate::log::warn(format_args!("{id}: tell its end: {error}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
