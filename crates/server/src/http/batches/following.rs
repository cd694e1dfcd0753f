//! The lines that answer a batch: told as items are done, or told again.

use super::{LINES, location};
use crate::batches::LiveBatch;
use crate::batches::answer::Answer;
use crate::problem::Problem;
use crate::service::{Service, read};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::BatchId;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use store::{BatchItem, BatchState, Page, Scope};

/// A line for each item as it is done. If `owned`, the batch is taken back when nobody listens any more.
pub(super) fn follow(service: Arc<Service>, batch: Arc<LiveBatch>, owned: bool) -> Response {
    let scope = Scope::Tenant(batch.tenant.clone());
    let mut lines = Following::new(service, Some(batch.clone()), scope, batch.id.clone());
    lines.owned = owned.then(|| Owned(batch));
    lines.into_response()
}

/// Takes a batch back when it is dropped; one that has ended is not changed by that.
struct Owned(Arc<LiveBatch>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.stop(BatchState::Cancelled);
    }
}

/// The lines of a batch: first those that are told as they come, then what has no answer, then the summary.
pub(super) struct Following {
    service: Arc<Service>,
    batch: Option<Arc<LiveBatch>>,
    owned: Option<Owned>,
    scope: Scope,
    id: BatchId,
    /// How many answers were told as they came.
    told: usize,
    /// The rest of the items is read from the store from here on, once it is known that no more will be told.
    page: Option<Page>,
    pub(super) ended: Option<(BatchState, Option<Value>, Option<Problem>)>,
    ready: VecDeque<Bytes>,
    done: bool,
}

impl Following {
    pub(super) fn new(
        service: Arc<Service>,
        batch: Option<Arc<LiveBatch>>,
        scope: Scope,
        id: BatchId,
    ) -> Self {
        let ready = VecDeque::from([line(&json!({ "batch": &id }))]);
        let page = Some(Page { limit: 1, cursor: None });
        Self { service, batch, owned: None, scope, id, told: 0, page, ended: None, ready, done: false }
    }

    pub(super) fn into_response(self) -> Response {
        let location = location(&self.id);
        let lines = stream::unfold(self, |mut following| async move {
            let line = following.next().await?;
            Some((Ok::<_, Infallible>(line), following))
        });
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(LINES[0]))];
        (kind, location, Body::from_stream(lines)).into_response()
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.done {
                return None;
            }
            if let Err(problem) = self.more().await {
                self.done = true;
                self.ready.push_back(line(&json!({ "problem": problem })));
            }
        }
    }

    async fn more(&mut self) -> Result<(), Problem> {
        if let Some(batch) = &self.batch {
            match batch.nth_answer(self.told).await {
                Some(index) => {
                    self.told += 1;
                    let (scope, id) = (self.scope.clone(), self.id.clone());
                    let item =
                        read(&self.service.reader, move |reader| reader.batch_item(&scope, &id, index))
                            .await?;
                    self.ready.extend(item.and_then(|item| item.answer).map(ended_line));
                }
                None => {
                    let state = batch.ended().await;
                    let (summary, broken) = batch.summary();
                    // When all was answered nothing is left to be read.
                    if summary.answered == summary.total {
                        self.page = None;
                    }
                    self.ended = Some((state, Some(json!(summary)), broken));
                    self.batch = None;
                    self.owned = None;
                }
            }
            return Ok(());
        }
        let (state, summary, broken) = self.ended.take().unwrap_or((BatchState::Interrupted, None, None));
        if let Some(page) = self.page.take() {
            let (scope, id) = (self.scope.clone(), self.id.clone());
            let listed =
                read(&self.service.reader, move |reader| reader.batch_items(&scope, &id, &page)).await?;
            let told = self.told > 0;
            self.ready.extend(
                listed
                    .items
                    .into_iter()
                    .filter(|item| !told || item.answer.is_none())
                    .map(|item| line_of(item, state)),
            );
            self.page = listed.next.map(|cursor| Page { limit: 1, cursor: Some(cursor) });
            self.ended = Some((state, summary, broken));
            return Ok(());
        }
        self.ready.extend(broken.map(|problem| line(&json!({ "problem": problem }))));
        self.ready.push_back(line(&json!({ "summary": summary })));
        self.done = true;
        Ok(())
    }
}

/// A value as a line.
pub(super) fn line(value: &Value) -> Bytes {
    ended_line(value.to_string())
}

fn ended_line(mut text: String) -> Bytes {
    text.push('\n');
    text.into()
}

/// The line of a recorded item; without an answer it will never have one.
pub(super) fn line_of(item: BatchItem, state: BatchState) -> Bytes {
    let untried =
        || serde_json::to_string(&Answer::untried(item.index, Some(state))).expect("an answer is JSON");
    ended_line(item.answer.unwrap_or_else(untried))
}
