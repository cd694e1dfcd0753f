//! What a gateway hears of its runs: what happens to them, which may be lost, and what became of them, which is not.

use super::{Gateway, NEWS_MAX, News, PAUSE, Sent};
use crate::body::{self, Place, unframed};
use crate::bus::{ClusterError, failed};
use crate::layout;
use crate::names::{self, Name, SCHEMA};
use crate::work::{Happening, Outcome, Told, same};
use crate::worker::Ending;
use async_nats::jetstream::Message;
use futures_util::StreamExt as _;
use model::RunId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Gateway {
    /// Hears, for as long as the service lives. Runs of the process before are to be [`Gateway::send`]ed first: a result for a run that
    /// is not known is taken for recorded.
    pub async fn listen(self: &Arc<Self>) -> Result<(), ClusterError> {
        let events = names::events(self.name());
        let events = self.bus.client.subscribe(events).await.map_err(failed("listen for events"))?;
        let mut others = Vec::new();
        for subject in [names::LOADS, names::FREED] {
            others.push(self.bus.client.subscribe(subject).await.map_err(failed("listen to gateways"))?);
        }
        tokio::spawn(self.clone().hear_events(events));
        tokio::spawn(self.clone().hear_others(futures_util::stream::select_all(others)));
        tokio::spawn(self.clone().count());
        tokio::spawn(self.clone().hear_results());
        tokio::spawn(self.clone().look_after());
        Ok(())
    }

    async fn hear_events(self: Arc<Self>, mut events: async_nats::Subscriber) {
        while let Some(message) = events.next().await {
            let run = names::part::<RunId>(&message.subject, 4).and_then(|run| self.get(&run));
            let Some(run) = run else { continue };
            match serde_json::from_slice::<Told>(&message.payload) {
                Ok(told) if same(&told.token, &run.token) => show(&run, told),
                _ => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    async fn hear_results(self: Arc<Self>) {
        loop {
            if let Err(error) = self.hear_some().await {
                crate::log::warn(format_args!("hear results: {error}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hear_some(self: &Arc<Self>) -> Result<(), ClusterError> {
        let consumer = layout::results(&self.bus).await?;
        let mut messages = consumer.messages().await.map_err(failed("pull results"))?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(failed("pull results"))?;
            tokio::spawn(self.clone().hear_result(message));
        }
        Ok(())
    }

    async fn hear_result(self: Arc<Self>, message: Message) {
        let Some(run) = names::part::<RunId>(&message.subject, 4).and_then(|run| self.get(&run)) else {
            // It is settled: by another delivery, by a cancellation, or by us before we were started again.
            drop(message.ack().await);
            return;
        };
        if run.is_ended() {
            // What ended it is being recorded; then this is acknowledged, or told again and nobody's.
            return;
        }
        match self.read_result(&run, &message).await {
            Ok(news) => {
                if let News::Fault(_) = news {
                    self.depot.doubt(&run.outgoing.freight);
                }
                self.end(&run, Some(message), news).await;
            }
            Err(ClusterError::Refused(why)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                crate::log::warn(format_args!("a result at {} is refused: {why}", message.subject));
                drop(message.ack().await);
            }
            // It comes again.
            Err(error) => crate::log::warn(format_args!("read {}: {error}", message.subject)),
        }
    }

    /// Reads a result of who had the run: knows its token, wrote where only it may, and no later delivery was heard of.
    async fn read_result(&self, run: &Sent, message: &Message) -> Result<News, ClusterError> {
        let refused = |what: &str| ClusterError::Refused(what.to_owned());
        let (text, inline) = unframed(&message.payload).ok_or_else(|| refused("it is cut off"))?;
        let outcome: Outcome = serde_json::from_slice(text).map_err(|error| refused(&error.to_string()))?;
        if outcome.schema != SCHEMA {
            return Err(refused("it is of another schema"));
        }
        let worker = names::part::<Name>(&message.subject, 2);
        let delivery = names::part::<i64>(&message.subject, 5);
        if worker.as_ref() != Some(&outcome.worker)
            || delivery != Some(outcome.delivery)
            || outcome.run != run.outgoing.run
        {
            return Err(refused("it is not what its subject says"));
        }
        if !same(&outcome.token, &run.token) {
            return Err(refused("its worker never had the run"));
        }
        if (outcome.epoch, outcome.delivery) < run.known().last {
            return Err(refused("the run was given to another since"));
        }
        let bytes = body::get(&self.bus, Place::Out(&outcome.worker), &outcome.body, inline).await?;
        let (text, files) = unframed(&bytes).ok_or_else(|| refused("its body is cut off"))?;
        let ending: Ending = serde_json::from_slice(text).map_err(|error| refused(&error.to_string()))?;
        match ending {
            Ending::Fault(fault) => Ok(News::Fault(fault)),
            Ending::Result(result, took) if result.id == run.outgoing.run => {
                let files = body::artifacts(&result, files).ok_or_else(|| refused("its files are others"))?;
                let files = files.into_iter().map(<[u8]>::to_vec).collect();
                Ok(News::Settled(result, took, files))
            }
            Ending::Result(..) => Err(refused("it is another run's")),
        }
    }
}

/// Passes on what is shown of a run. Only of the first delivery that is heard of: what another writes would be written twice.
fn show(run: &Sent, told: Told) {
    let this = (told.epoch, told.delivery);
    let mut known = run.known();
    known.heard = Instant::now();
    if this < known.last || known.ended {
        return;
    }
    known.last = this;
    let is_first = known.first == (0, 0);
    if is_first {
        known.first = this;
    }
    if this != known.first {
        return;
    }
    drop(known);
    let news = match told.happening {
        Happening::Started if is_first => News::Started,
        Happening::Output { stderr, bytes } => News::Output { stderr, bytes },
        Happening::Egress(attempt) => News::Egress(attempt),
        Happening::Started | Happening::Settled(..) => return,
    };
    // The end has its place.
    if run.news.capacity() > NEWS_MAX / 8 {
        drop(run.news.try_send(news));
    }
}
