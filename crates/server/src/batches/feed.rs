//! Takes the recorded items of a batch in their order, has each performed, and records the answers as they come.

use super::answer::{Answer, ItemFault, Summary};
use super::intake::permits;
use super::item::{Asked, Item};
use super::perform::Performer;
use super::{LiveBatch, Options};
use crate::problem::{Kind, Problem};
use crate::service::{Service, now_ms, read};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use store::{BatchState, Scope};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Runs of a batch at once, for each place of the machine: one runs, one is next.
const RUNS_PER_PLACE: usize = 2;

/// An item that was seen first, and whether it is answered.
#[derive(Debug, Clone)]
struct First {
    index: u32,
    answered: watch::Receiver<bool>,
}

/// Feeds a batch to its end, and records the end.
pub async fn feed(service: Arc<Service>, batch: Arc<LiveBatch>, options: Options, room: Arc<Semaphore>) {
    let started = Instant::now();
    let most = RUNS_PER_PLACE * service.machine.load().places;
    let width = options.concurrency.unwrap_or(most).clamp(1, most);
    let performer = Performer {
        service: service.clone(),
        batch: batch.clone(),
        slots: Arc::new(Semaphore::new(width)),
        width,
    };
    let feeder = Feeder { performer, room, options };
    feeder.all().await;
    let state = batch.stopped().unwrap_or(BatchState::Settled);
    let wall_ms = started.elapsed().as_millis() as u64;
    let summary = Summary { wall_ms, ..batch.summary().0 };
    let ended = service.store.end_batch(&batch.id, state, json!(summary), now_ms()).await;
    if let Err(error) = ended {
        worker::log::warn(format_args!("{}: record its end: {error}", batch.id));
    }
    let outcome = match state {
        BatchState::Cancelled => "cancelled",
        BatchState::Interrupted => "interrupted",
        BatchState::Settled | BatchState::Running => "completed",
    };
    service.end_plain_trace(&batch.tenant, batch.id.as_str(), outcome).await;
    batch.end(state, wall_ms);
    service.batches.remove(&batch.id);
}

struct Feeder {
    performer: Performer,
    room: Arc<Semaphore>,
    options: Options,
}

impl Feeder {
    async fn all(&self) {
        let batch = &self.performer.batch;
        let mut firsts: HashMap<[u8; 32], First> = HashMap::new();
        let mut items = JoinSet::new();
        let mut index = 0;
        while batch.has(index).await {
            while items.len() >= self.performer.width {
                items.join_next().await;
            }
            let answering = self.begin(index, &mut firsts).await;
            items.spawn(answering);
            index += 1;
        }
        while items.join_next().await.is_some() {}
    }

    /// What remains to be done for an item: all that must be in order is done here.
    async fn begin(
        &self,
        index: u32,
        firsts: &mut HashMap<[u8; 32], First>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let service = &self.performer.service;
        let (scope, id) = (self.scope(), self.performer.batch.id.clone());
        let recorded = read(&service.reader, move |reader| reader.batch_item(&scope, &id, index)).await;
        let line = recorded.map(|item| item.and_then(|item| item.request).unwrap_or_default());
        let bytes = line.as_ref().map_or(0, Vec::len);
        let parsed = match line {
            Ok(line) if line.is_empty() => {
                let detail = format!("the line is longer than {} bytes", service.settings.body_bytes);
                let hint = "send less in one item, or raise the setting `body_bytes`";
                Err(Answer::rejected(index, None, Problem::new(Kind::TooLarge, detail, hint)))
            }
            Ok(line) => Item::parse(&line).map_err(|(id, problem)| Answer::rejected(index, id, problem)),
            Err(problem) => {
                let fault =
                    ItemFault { code: "internal".to_owned(), message: problem.to_string(), retry_safe: true };
                Err(Answer::fault(index, None, fault))
            }
        };
        let mut first = None;
        let mut answered = None;
        if let (Ok(item), true) = (&parsed, self.options.dedupe) {
            match firsts.get(&item.digest()) {
                Some(seen) => first = Some(seen.clone()),
                None => {
                    let (sender, receiver) = watch::channel(false);
                    firsts.insert(item.digest(), First { index, answered: receiver });
                    answered = Some(sender);
                }
            }
        }
        let (performer, room) = (self.performer.clone(), self.room.clone());
        async move {
            match (parsed, first) {
                (Ok(item), Some(first)) => repeat(&performer, index, item, first).await,
                (Ok(item), None) => {
                    let answer = performer.answer(index, item).await;
                    record(&performer, index, answer).await;
                }
                (Err(answer), _) => record(&performer, index, answer).await,
            }
            if let Some(answered) = answered {
                answered.send_replace(true);
            }
            room.add_permits(permits(bytes) as usize);
        }
    }

    fn scope(&self) -> Scope {
        Scope::Tenant(self.performer.batch.tenant.clone())
    }
}

/// Answers an item with what was answered to the same one before.
async fn repeat(performer: &Performer, index: u32, item: Item, mut first: First) {
    // Its sender goes when it is answered, whatever came of that.
    drop(first.answered.wait_for(|answered| *answered).await);
    let (scope, id) = (Scope::Tenant(performer.batch.tenant.clone()), performer.batch.id.clone());
    let place = first.index;
    let found = read(&performer.service.reader, move |reader| reader.batch_item(&scope, &id, place)).await;
    let answer = found.ok().flatten().and_then(|found| found.answer);
    let answer: Option<Map<String, Value>> = answer.and_then(|text| serde_json::from_str(&text).ok());
    let Some(answer) = answer else {
        let message = "the answer to the same item was not recorded".to_owned();
        let fault = ItemFault { code: "internal".to_owned(), message, retry_safe: true };
        return record(performer, index, Answer::fault(index, item.id, fault)).await;
    };
    let mut fields = Map::new();
    fields.insert("index".to_owned(), index.into());
    fields.extend(item.id.map(|id| ("id".to_owned(), id.into())));
    fields.insert("same_as".to_owned(), place.into());
    let verdict = answer.get("verdict").and_then(Value::as_str).unwrap_or_default().to_owned();
    fields
        .extend(answer.into_iter().filter(|(name, _)| !matches!(name.as_str(), "index" | "id" | "same_as")));
    let text = Value::Object(fields).to_string();
    let graded = matches!(item.asked, Asked::Program(_) | Asked::Group(_));
    write(performer, index, &verdict, text, |summary| summary.count_repeated(&verdict, graded)).await;
}

async fn record(performer: &Performer, index: u32, answer: Answer) {
    let text = serde_json::to_string(&answer).expect("an answer is JSON");
    write(performer, index, answer.verdict.name(), text, |summary| summary.count(&answer)).await;
}

/// Writes an answer down; only then do followers see it.
async fn write(
    performer: &Performer,
    index: u32,
    fate: &str,
    text: String,
    count: impl FnOnce(&mut Summary),
) {
    let batch = &performer.batch;
    let written = performer.service.store.answer_batch_item(&batch.id, index, fate, text).await;
    if let Err(error) = written {
        // Nobody may be told what is not recorded; the batch goes on, and says that this item has no answer.
        worker::log::warn(format_args!("{}: record the answer to item {index}: {error}", batch.id));
        return;
    }
    batch.answer(index, count);
}
