//! The answer of a chat as it comes: chunks as OpenAI's clients put them together.
//!
//! The choices begin together and in their order, as soon as one of them says something: a client finds them by their place. Then each is
//! told what is said in it; at last its calls, each whole, and why it ended. When all have, what they cost, if that was asked for, and `[DONE]`.

use crate::chat::{Choice, Conversation, Shared, Told, WAITING_MAX, Wrong};
use crate::service::{internal, now_ms};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::{OnceCell, mpsc};

/// What a client that streams is sent: the data of its events, or the error that ends them.
type Sender = mpsc::Sender<Result<String, Wrong>>;

/// An answer on its way to a client that streams.
pub struct Streamed {
    shared: Arc<Shared>,
    id: String,
    created: i64,
    model: String,
    sender: Sender,
    begun: OnceCell<()>,
}

impl Streamed {
    /// The answer to this request, which the receiver of `sender` is told.
    pub fn new(shared: Arc<Shared>, id: String, sender: Sender) -> Self {
        let named = shared.asked.fields.get("model").and_then(Value::as_str).map(str::to_owned);
        let own = shared.model.name();
        let model = named.unwrap_or_else(|| own.split_once(':').map_or("", |(_, model)| model).to_owned());
        Self { shared, id, created: now_ms() / 1000, model, sender, begun: OnceCell::new() }
    }

    /// Has the conversations of all choices, and tells them to their end.
    pub async fn tell(self: Arc<Self>) {
        let choices =
            (0..self.shared.asked.choices).map(|index| tokio::spawn(self.clone().tell_choice(index)));
        let done = join_all(choices).await;
        if !done.iter().all(|done| matches!(done, Ok(true))) {
            return;
        }
        if self.shared.asked.tells_usage {
            let mut last = self.chunk(json!([]));
            last["usage"] = std::mem::take(&mut self.shared.spent().usage);
            self.send(Ok(last.to_string())).await;
        }
        self.send(Ok("[DONE]".to_owned())).await;
    }

    /// Tells one choice; returns whether it came to its end.
    async fn tell_choice(self: Arc<Self>, index: u32) -> bool {
        let (told, mut said) = mpsc::channel::<Told>(WAITING_MAX);
        let conversing = tokio::spawn(Conversation::new(self.shared.clone(), Some(told)).converse());
        while let Some(told) = said.recv().await {
            // Chat completions have no word for what ran; its ids come with the end.
            if let Told::Said(delta) = told {
                self.say(index, delta).await;
            }
        }
        let done = conversing.await.map_err(|error| Wrong::from(internal(error.to_string())));
        match done.and_then(|done| done) {
            Ok(choice) => {
                self.finish(index, choice).await;
                true
            }
            Err(wrong) => {
                self.send(Err(wrong)).await;
                false
            }
        }
    }

    /// What was said, or is whole only now.
    async fn say(&self, index: u32, delta: Map<String, Value>) {
        self.begin().await;
        self.tell_of(json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null})).await;
    }

    async fn begin(&self) {
        let beginning = || async {
            for index in 0..self.shared.asked.choices {
                let delta = json!({"role": "assistant", "content": ""});
                self.tell_of(
                    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}),
                )
                .await;
            }
        };
        self.begun.get_or_init(beginning).await;
    }

    async fn finish(&self, index: u32, choice: Choice) {
        self.begin().await;
        let mut rest = Map::new();
        // Held back until it was known to be the answer.
        if self.shared.asked.formed
            && let Some(text) = choice.message.get("content").filter(|text| text.is_string())
        {
            rest.insert("content".to_owned(), text.clone());
        }
        if let Some(Value::Array(calls)) = choice.message.get("tool_calls") {
            let numbered = calls.iter().enumerate().map(|(index, call)| {
                let mut call = call.clone();
                call["index"] = index.into();
                call
            });
            rest.insert("tool_calls".to_owned(), numbered.collect());
        }
        if !rest.is_empty() || !choice.logprobs.is_null() {
            let logprobs = choice.logprobs;
            self.tell_of(json!({"index": index, "delta": rest, "logprobs": logprobs, "finish_reason": null}))
                .await;
        }
        let (reason, ran) = (choice.finish_reason, choice.ran);
        self.tell_of(
            json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason, "fireclay": ran}),
        )
        .await;
    }

    async fn tell_of(&self, choice: Value) {
        self.send(Ok(self.chunk(json!([choice])).to_string())).await;
    }

    fn chunk(&self, choices: Value) -> Value {
        let Self { id, created, model, .. } = self;
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": choices})
    }

    async fn send(&self, data: Result<String, Wrong>) {
        // One who has left takes the request with him.
        drop(self.sender.send(data).await);
    }
}
