//! `POST /v1/chat/completions`: OpenAI's chat completions by the service's model, with a sandbox for the code that it writes.
//!
//! Whole, or as server-sent events: chunks of what is said as it is, at last of each choice its calls and why it ended, then `[DONE]`. Errors
//! have OpenAI's shape ([`Wrong`]); one that comes when the stream has begun is its last event.

use crate::chat::{Asked, Choice, Conversation, Place, Shared, WAITING_MAX, Wrong};
use crate::http::body;
use crate::http::chat_stream::Streamed;
use crate::http::guard::Caller;
use crate::http::responses;
use crate::http::sessions::{open_one, session_id};
use crate::http::traceparent::{parent_of, with_trace};
use crate::models::Asking;
use crate::problem::Problem;
use crate::service::{Service, draining, internal, now_ms};
use crate::sessions::OpenSession;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Names the session that code runs in.
pub const SESSION: &str = "x-fireclay-session";
/// Names the runs of an answer.
const RUNS: HeaderName = HeaderName::from_static("x-fireclay-runs");
/// How often a comment is sent when nothing is said, so that no proxy gives the connection up.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(complete_chat))
}

/// Whether the errors of a path have OpenAI's shape.
pub fn serves(path: &str) -> bool {
    path == "/v1/chat/completions" || path == responses::PATH
}

/// A request of OpenAI's chat completions; fields that are not named here go to the provider as they are.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ChatRequest {
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    /// A model of the service's provider; absent or `default` is the service's own.
    model: Option<String>,
    /// The client's own tools; `run_code` is the service's.
    tools: Option<Vec<Value>>,
    /// How many choices are wanted, each with a sandbox of its own.
    #[schema(minimum = 1, maximum = 8)]
    n: Option<u32>,
    /// Whether the answer is wanted as it comes.
    stream: Option<bool>,
}

/// A message.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ChatMessage {
    /// Who says it: `system`, `user`, `assistant`, `tool`.
    role: String,
}

/// An answer of OpenAI's chat completions. Each choice has besides `fireclay`: `{"session", "runs"}`, where its code ran.
#[derive(Serialize, ToSchema)]
struct ChatCompletion {
    /// This answer.
    id: String,
    /// `chat.completion`.
    object: &'static str,
    /// When it was made, seconds since 1970.
    created: i64,
    /// The choices.
    choices: Vec<Value>,
    /// What all turns cost together, as the provider tells it.
    #[serde(skip_serializing_if = "Value::is_null")]
    usage: Value,
    /// What else the provider says of itself, `model` first.
    #[serde(flatten)]
    #[schema(ignore)]
    origin: Map<String, Value>,
}

/// An error in OpenAI's shape.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ChatError {
    /// What is wrong.
    error: ChatErrorBody,
}

/// What an error in OpenAI's shape says.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ChatErrorBody {
    /// For people.
    message: String,
    /// Its kind: `invalid_request_error`, `rate_limit_error`, `server_error`, `budget_exceeded`; or the provider's word.
    r#type: String,
    /// The field at fault.
    param: Option<String>,
    /// A word for programs.
    code: Option<String>,
}

/// Complete a chat, with a sandbox for the model's code
///
/// OpenAI's chat completions, by the service's model (settings `model.*`), which is given the tool `run_code`: an OpenAI client gains a
/// code interpreter by changing its base URL, with a key of this service. Calls of the client's own tools return to it. Code runs in a
/// session that is fresh for each request, or in the one that `x-fireclay-session` names.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "complete_chat", tag = "runs", request_body = ChatRequest,
    params(("x-fireclay-session" = Option<String>, Header, description = "The session that code runs in; absent means a fresh one")),
    responses((status = 200, description = "The answer; or the stream of its chunks", content((ChatCompletion = "application/json"), (String = "text/event-stream"))),
        (status = "default", description = "An error", body = ChatError)))]
async fn complete_chat(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    body::is_json(request.headers())?;
    let headers = request.headers().clone();
    let bytes = body::read_all(request.into_body(), &service).await?;
    let model = service.models.model("model")?;
    let mut asked = Asked::read(body::parse(&bytes)?, &model.name(), service.settings.model.any)?;
    if service.is_draining() {
        return Err(draining().into());
    }
    let said = headers.get(SESSION).map(|said| said.to_str().unwrap_or_default());
    let session = named_session(&service, &caller, said).await?;
    asked.reaches(session.as_ref().map_or(&[][..], |open| open.hosts.as_slice()));
    // So that its quota is known; it costs the operator money, and counts as a run does.
    service.policy_of(&caller.tenant).await?;
    service.quotas.spend(&caller.tenant)?;
    let place = service.models.enter(&caller.tenant).await?;
    let stop = CancellationToken::new();
    // A client that leaves takes its request with it.
    let leaving = stop.clone().drop_guard();
    let until = Instant::now() + Duration::from_millis(service.settings.model.time_ms);
    let (asking, spent) = (Asking { until, stop }, Default::default());
    let traced = Place::new(&service, parent_of(&headers));
    let own = traced.as_ref().map(Place::own);
    let shared = Arc::new(Shared {
        service,
        caller,
        model,
        asked,
        asking,
        session,
        seen: false,
        spent,
        place: traced,
    });
    let id = chat_id()?;
    if !shared.asked.stream {
        let conversations = (0..shared.asked.choices).map(|_| {
            // In tasks of their own: what they opened they close, whoever waits.
            let conversation = Conversation::new(shared.clone(), None);
            tokio::spawn(conversation.converse())
        });
        let choices = join_all(conversations).await;
        drop((leaving, place));
        let choices: Vec<Choice> = choices
            .into_iter()
            .map(|done| done.map_err(|error| Wrong::from(internal(error.to_string())))?)
            .collect::<Result<_, _>>()?;
        return Ok(with_trace(own, whole(id, choices, std::mem::take(&mut shared.spent().usage))));
    }
    let (sender, mut chunks) = mpsc::channel(WAITING_MAX);
    tokio::spawn(Arc::new(Streamed::new(shared, id, sender)).tell());
    // What fails before anything is said is an answer with its own status.
    let first = match chunks.recv().await {
        Some(Err(wrong)) => return Err(wrong),
        Some(Ok(first)) => first,
        None => return Err(internal("the answer ended before it began".to_owned()).into()),
    };
    let start = (Some(first), chunks, leaving, place);
    let events = stream::unfold(start, |(first, mut chunks, leaving, place)| async move {
        let data = match first {
            Some(first) => first,
            None => match chunks.recv().await? {
                Ok(chunk) => chunk,
                Err(wrong) => wrong.event().to_string(),
            },
        };
        Some((Ok::<_, Infallible>(Event::default().data(data)), (None, chunks, leaving, place)))
    });
    Ok(with_trace(own, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()))
}

/// The session that a client names, if it names one.
pub async fn named_session(
    service: &Arc<Service>,
    caller: &Caller,
    said: Option<&str>,
) -> Result<Option<Arc<OpenSession>>, Problem> {
    match said {
        None => Ok(None),
        Some(said) => Ok(Some(open_one(service, caller, &session_id(said)?).await?)),
    }
}

fn chat_id() -> Result<String, Problem> {
    let random = sys::fs::random().map_err(|error| internal(error.to_string()))?;
    Ok(format!("chatcmpl-{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// The whole answer.
fn whole(id: String, choices: Vec<Choice>, usage: Value) -> Response {
    let mut headers = HeaderMap::new();
    let runs = choices.iter().filter_map(|choice| choice.ran["runs"].as_array()).flatten();
    let runs: Vec<&str> = runs.filter_map(Value::as_str).collect();
    if let Ok(runs) = HeaderValue::from_str(&runs.join(","))
        && !runs.is_empty()
    {
        headers.insert(RUNS, runs);
    }
    if let [Choice { ran, .. }] = choices.as_slice()
        && let Some(session) = ran["session"].as_str().and_then(|id| HeaderValue::from_str(id).ok())
    {
        headers.insert(HeaderName::from_static(SESSION), session);
    }
    let origin = choices.first().map(|choice| choice.origin.clone()).unwrap_or_default();
    let choices = choices.into_iter().enumerate().map(|(index, choice)| {
        json!({
            "index": index, "message": choice.message, "logprobs": choice.logprobs,
            "finish_reason": choice.finish_reason, "fireclay": choice.ran,
        })
    });
    let answer = ChatCompletion {
        id,
        object: "chat.completion",
        created: now_ms() / 1000,
        choices: choices.collect(),
        usage,
        origin,
    };
    (headers, Json(answer)).into_response()
}
