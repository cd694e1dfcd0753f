//! `POST /v1/responses`: OpenAI's responses by the service's model, with a sandbox for the code that it writes.
//!
//! The same conversation as [`crate::http::chat`] has, in the other's words: what ran here is seen as calls of the code interpreter, whose container
//! is the session. Answers are remembered for a while, so that `previous_response_id` goes on from one.

use crate::chat::{Choice, Conversation, Hidden, Output, Place, Shared, Told, WAITING_MAX, Wanted, Wrong};
use crate::http::body;
use crate::http::chat::{KEEP_ALIVE, SESSION, named_session};
use crate::http::guard::Caller;
use crate::http::traceparent::{parent_of, with_trace};
use crate::models::Asking;
use crate::service::{Service, draining, internal, now_ms};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The path of the only route.
pub const PATH: &str = "/v1/responses";

/// The route.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(create_response))
}

/// A request of OpenAI's responses.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ResponseRequest {
    /// A text, or the items of the conversation.
    input: Value,
    /// A model of the service's provider; absent or `default` is the service's own.
    model: Option<String>,
    /// What the model is told before all else.
    instructions: Option<String>,
    /// The answer that this one goes on from.
    previous_response_id: Option<String>,
    /// The client's own functions, and `code_interpreter`, which is there in any case.
    tools: Option<Vec<Value>>,
    /// Whether the answer is wanted as it comes.
    stream: Option<bool>,
    /// Whether it may be gone on from by its id.
    store: Option<bool>,
}

/// An answer of OpenAI's responses, with `fireclay`: `{"session", "runs"}`, where its code ran.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ResponseAnswer {
    /// This answer.
    id: String,
    /// `response`.
    object: String,
    /// `completed`, or `incomplete` with a reason.
    status: String,
    /// Messages, calls of the code interpreter, calls of the client's functions, in their order.
    output: Vec<Value>,
}

/// Answer a conversation, with a sandbox for the model's code
///
/// OpenAI's responses, by the service's model (settings `model.*`), which is given the tool `run_code`: what it runs is seen as calls of the code
/// interpreter. Calls of the client's own functions return to it. Code runs in a session that is fresh for each request, or in the one that
/// `x-fireclay-session` names, or `container` of the tool `code_interpreter`.
#[utoipa::path(post, path = "/v1/responses", operation_id = "create_response", tag = "runs", request_body = ResponseRequest,
    params(("x-fireclay-session" = Option<String>, Header, description = "The session that code runs in; absent means a fresh one")),
    responses((status = 200, description = "The answer; or the stream of its events", content((ResponseAnswer = "application/json"), (String = "text/event-stream"))),
        (status = "default", description = "An error, in OpenAI's shape")))]
async fn create_response(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    body::is_json(request.headers())?;
    let headers = request.headers().clone();
    let bytes = body::read_all(request.into_body(), &service).await?;
    let model = service.models.model("model")?;
    let known = |id: &str| service.parted.find(&caller.tenant, id).map(|hidden| hidden.messages);
    let mut wanted = Wanted::read(body::parse(&bytes)?, &model.name(), service.settings.model.any, known)?;
    if service.is_draining() {
        return Err(draining().into());
    }
    let container = wanted.container.as_deref().filter(|name| name.starts_with("ses_"));
    let said = headers.get(SESSION).map(|said| said.to_str().unwrap_or_default()).or(container);
    let session = named_session(&service, &caller, said).await?;
    wanted.asked.reaches(session.as_ref().map_or(&[][..], |open| open.hosts.as_slice()));
    // So that its quota is known; it costs the operator money, and counts as a run does.
    service.policy_of(&caller.tenant).await?;
    service.quotas.spend(&caller.tenant)?;
    let place = service.models.enter(&caller.tenant).await?;
    let stop = CancellationToken::new();
    // A client that leaves takes its request with it.
    let leaving = stop.clone().drop_guard();
    let until = Instant::now() + Duration::from_millis(service.settings.model.time_ms);
    let (asking, spent) = (Asking { until, stop }, Default::default());
    let named = wanted.asked.fields.get("model").and_then(Value::as_str).map(str::to_owned);
    let own = model.name();
    let said = named.unwrap_or_else(|| own.split_once(':').map_or("", |(_, model)| model).to_owned());
    let (id, mut base) = (response_id()?, Map::new());
    base.insert("id".to_owned(), id.clone().into());
    base.insert("object".to_owned(), "response".into());
    base.insert("created_at".to_owned(), (now_ms() / 1000).into());
    base.insert("error".to_owned(), Value::Null);
    base.insert("incomplete_details".to_owned(), Value::Null);
    base.insert("model".to_owned(), said.into());
    base.extend(wanted.echo);
    let traced = Place::new(&service, parent_of(&headers));
    let own = traced.as_ref().map(Place::own);
    let mut answer = Answer {
        id: id.clone(),
        kept: wanted.store.then(|| wanted.asked.messages[wanted.instructions..].to_vec()),
        output: Output::new(&id, base),
        shared: Arc::new(Shared {
            service,
            caller,
            model,
            asked: wanted.asked,
            asking,
            session,
            seen: true,
            spent,
            place: traced,
        }),
    };
    let streams = answer.shared.asked.stream;
    let (sender, mut events) = mpsc::channel(WAITING_MAX);
    // In a task of its own: what it opened it closes, whoever waits.
    tokio::spawn(async move { answer.tell(&sender).await });
    // What fails before anything is said is an answer with its own status.
    let first = match events.recv().await {
        Some(Err(wrong)) => return Err(wrong),
        Some(Ok(first)) => first,
        None => return Err(internal("the answer ended before it began".to_owned()).into()),
    };
    if streams {
        let start = (Some(first), events, leaving, place);
        let told = stream::unfold(start, |(first, mut events, leaving, place)| async move {
            let event = match first {
                Some(first) => first,
                None => events.recv().await?.ok()?,
            };
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            let event = Event::default().event(kind).data(event.to_string());
            Some((Ok::<_, Infallible>(event), (None, events, leaving, place)))
        });
        return Ok(with_trace(
            own,
            Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response(),
        ));
    }
    let mut last = first;
    while let Some(event) = events.recv().await {
        last = event?;
    }
    drop((leaving, place));
    match last["response"].take() {
        Value::Null => Err(internal("the answer has no end".to_owned()).into()),
        response => Ok(with_trace(own, Json(response).into_response())),
    }
}

/// An answer on its way.
struct Answer {
    id: String,
    /// The conversation up to here, if it is to be remembered.
    kept: Option<Vec<Value>>,
    output: Output,
    shared: Arc<Shared>,
}

type Sender = mpsc::Sender<Result<Value, Wrong>>;

impl Answer {
    /// Has the conversation and tells it to its end.
    async fn tell(&mut self, sender: &Sender) {
        let (told, mut said) = mpsc::channel::<Told>(WAITING_MAX);
        let conversing = tokio::spawn(Conversation::new(self.shared.clone(), Some(told)).converse());
        let mut begun = false;
        while let Some(told) = said.recv().await {
            let mut events = if begun { Vec::new() } else { self.output.begin() };
            begun = true;
            events.extend(self.output.take(told));
            send(sender, events).await;
        }
        let done = conversing.await.map_err(|error| Wrong::from(internal(error.to_string())));
        match done.and_then(|done| done) {
            Ok(choice) => {
                let mut events = if begun { Vec::new() } else { self.output.begin() };
                let usage = std::mem::take(&mut self.shared.spent().usage);
                self.keep(&choice);
                events.extend(self.output.finish(&choice, &usage));
                send(sender, events).await;
            }
            // One that has begun tells it as its last event, which only a stream has.
            Err(wrong) if begun && self.shared.asked.stream => {
                let event = self.output.fail(&wrong.event());
                send(sender, vec![event]).await;
            }
            Err(wrong) => drop(sender.send(Err(wrong)).await),
        }
    }

    /// Remembers the conversation for who goes on from this answer.
    fn keep(&mut self, choice: &Choice) {
        let Some(mut messages) = self.kept.take() else { return };
        messages.extend(choice.added.iter().cloned());
        let mut last = choice.message.clone();
        last.retain(|name, value| {
            ["role", "content", "tool_calls"].contains(&name.as_str())
                && !(name == "tool_calls" && value.is_null())
        });
        messages.push(Value::Object(last));
        let hidden = Hidden { messages, session: None };
        self.shared.service.parted.keep(&self.shared.caller.tenant, std::slice::from_ref(&self.id), hidden);
    }
}

async fn send(sender: &Sender, events: Vec<Value>) {
    for event in events {
        // One who has left takes the request with him.
        drop(sender.send(Ok(event)).await);
    }
}

fn response_id() -> Result<String, Wrong> {
    let random = sys::fs::random().map_err(|error| internal(error.to_string()))?;
    let random: [u8; 16] = random;
    Ok(format!("resp_{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}
