//! Durable sessions whose node is lost: one gateway places such a session once more, with the files that were saved.
//!
//! It first writes where the session will be, over the very word that it read (`Nats-Expected-Last-Subject-Sequence`), with the next
//! epoch: of two gateways one succeeds, and from then on no other gateway asks whoever had it before. Then it opens it there, fills it,
//! has that saved, and writes that it is open. A gateway that dies between leaves a word that holds for [`OPENING_MAX`].

use super::{Directory, End, Placed, Standing};
use crate::bus::{ClusterError, failed};
use crate::names::{self, SESSIONS};
use crate::now_ms;
use crate::saves::{self, Archive, Head, Source};
use async_nats::HeaderMap;
use model::SessionId;
use std::time::Duration;

/// How long a gateway has to reopen a session before another may.
pub const OPENING_MAX: Duration = Duration::from_secs(120);

/// «wrong last sequence» (nats-server, `errors.json`: JSStreamWrongLastSequenceErrF).
const WRONG_LAST: u64 = 10_071;

/// Where a durable session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// On its node, which can be asked.
    There,
    /// On a node that is silent, and may come back.
    Silent,
    /// A gateway is reopening it.
    Opening,
    /// Nowhere; the next request reopens it.
    Nowhere,
    /// It has ended for good.
    Over(End),
}

/// The word that a session's place was read from: what is written next takes its place, or nothing's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn(u64);

impl Directory {
    /// Where a durable session is that was placed so and of whose end its node told this.
    pub fn whereabouts(&self, placed: &Placed, end: Option<&End>) -> Whereabouts {
        match end {
            Some(end) if !end.is_of_node() => return Whereabouts::Over(end.clone()),
            Some(_) => return Whereabouts::Nowhere,
            None => {}
        }
        if let Some(at_ms) = placed.opening_ms {
            let since = u128::try_from(now_ms().saturating_sub(at_ms)).unwrap_or(0);
            return if since < OPENING_MAX.as_millis() { Whereabouts::Opening } else { Whereabouts::Nowhere };
        }
        match self.standing(placed) {
            Standing::There if self.is_of_process(placed) => Whereabouts::There,
            // The process that had it is no more, and another has its name.
            Standing::There | Standing::Lost(_) => Whereabouts::Nowhere,
            Standing::Silent => Whereabouts::Silent,
        }
    }

    fn is_of_process(&self, placed: &Placed) -> bool {
        let started = self.nodes().get(&placed.node).map(|(node, _)| node.started_ms);
        started.is_none_or(|started| started <= placed.started_ms)
    }

    /// Where a session is by the leader's word, and the turn to write the next.
    pub async fn find_now(&self, id: &SessionId) -> Result<Option<(Placed, Turn)>, ClusterError> {
        let key = names::key(SESSIONS, &format!("at.{id}"));
        let found = self.bus.last_of_leader(&names::bucket_stream(SESSIONS), &key).await?;
        let Some(found) = found else { return Ok(None) };
        let Ok(placed) = serde_json::from_slice::<Placed>(&found.payload) else { return Ok(None) };
        self.learn(id.clone(), placed.clone());
        Ok(Some((placed, Turn(found.sequence))))
    }

    /// Writes where a session is in its turn; `None` if another gateway wrote since.
    pub async fn tell_in_turn(
        &self,
        id: &SessionId,
        placed: &Placed,
        turn: Turn,
    ) -> Result<Option<Turn>, ClusterError> {
        let doing = || format!("say where {id} is");
        let subject = names::key(SESSIONS, &format!("at.{id}"));
        let text = serde_json::to_vec(placed).expect("it is JSON");
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", turn.0.to_string().as_str());
        let answer = self.bus.client.request_with_headers(subject, headers, text.into()).await;
        let answer = answer.map_err(failed(doing()))?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(failed(doing()))?;
        match (&answer["error"]["err_code"], answer["seq"].as_u64()) {
            (serde_json::Value::Null, Some(place)) => {
                self.learn(id.clone(), placed.clone());
                Ok(Some(Turn(place)))
            }
            (code, _) if code.as_u64() == Some(WRONG_LAST) => Ok(None),
            _ => Err(failed(doing())(answer)),
        }
    }

    /// Ends a session that is nowhere, in its node's place.
    pub async fn end(&self, id: &SessionId, placed: &Placed, end: End) -> Result<(), ClusterError> {
        let subject = names::key(SESSIONS, &format!("end.{}.{id}", placed.node));
        let text = serde_json::to_vec(&end).expect("it is JSON");
        let message_id = format!("end.{id}.{}.{}", end.epoch, end.why);
        self.bus.store(subject, &message_id, HeaderMap::new(), text).await?;
        self.learn_end(id, placed.node.as_str(), end);
        Ok(())
    }

    /// What was saved last of a session, and by whom: by whoever has it, or by whoever had it before.
    pub async fn saved(
        &self,
        id: &SessionId,
        placed: &Placed,
    ) -> Result<Option<(Source, Head)>, ClusterError> {
        let own = Source { node: placed.node.clone(), epoch: placed.epoch };
        for source in placed.opening_ms.is_none().then_some(own).into_iter().chain(placed.source.clone()) {
            if let Some(head) = saves::head(&self.bus, &source, id).await? {
                return Ok(Some((source, head)));
            }
        }
        Ok(None)
    }

    /// The files that were saved.
    pub async fn archive(
        &self,
        id: &SessionId,
        source: &Source,
        head: &Head,
    ) -> Result<Archive, ClusterError> {
        Archive::open(&self.bus, source, id, head).await
    }

    /// Removes what somebody saved of a session that another has.
    pub async fn forget_saved(&self, id: &SessionId, source: &Source) -> Result<(), ClusterError> {
        saves::clear(&self.bus, id, Some(source)).await
    }
}
