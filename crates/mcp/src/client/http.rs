//! Streamable HTTP by `ureq`, which the agent has already: each message is a request, in a thread of its own, and its answer is one
//! message or a stream of them.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use ureq::Agent;
use ureq::http::Request;

/// Longest answer, streams included.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How long a connection may take, and how long a server may be silent.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(600);
/// Pieces of a stream that may wait to be read.
const PIECES_WAITING_MAX: usize = 16;
/// The headers of MCP 2025-06-18, "Transports".
const SESSION: &str = "mcp-session-id";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct HttpError(String);

/// Sends messages.
#[derive(Clone)]
pub(super) struct Http(Agent);

/// What came back before the body did.
struct Head {
    status: u16,
    content_type: String,
    session: Option<String>,
    body: Vec<u8>,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl Http {
    pub fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The place that was named is the place.
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("fireclay/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }

    async fn send(
        &self,
        method: &'static str,
        uri: &str,
        session: Option<&str>,
        bearer: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
        body: String,
    ) -> Result<Head, StreamableHttpError<HttpError>> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let failed = |why: String| StreamableHttpError::Client(HttpError(why));
        let request = request.body(body).map_err(|error| failed(error.to_string()))?;
        let (told, head) = oneshot::channel();
        let agent = self.0.clone();
        std::thread::spawn(move || converse(&agent, request, told));
        head.await.map_err(|_| failed("the thread that asks has ended".to_owned()))?.map_err(failed)
    }
}

/// Sends a request; tells its head with all of a body that is no stream, then the pieces of one that is.
fn converse(agent: &Agent, request: Request<String>, told: oneshot::Sender<Result<Head, String>>) {
    let answer = match agent.run(request) {
        Ok(answer) => answer,
        // Nobody may be waiting any more, here and below.
        Err(error) => return drop(told.send(Err(error.to_string()))),
    };
    let (parts, body) = answer.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content_type = text("content-type").unwrap_or_default();
    let is_stream = parts.status.is_success() && content_type.starts_with("text/event-stream");
    let mut reader = body.into_with_config().limit(u64::MAX).reader().take(ANSWER_BYTES_MAX);
    let (sender, pieces) = mpsc::channel(PIECES_WAITING_MAX);
    let mut whole = Vec::new();
    if !is_stream && let Err(error) = reader.read_to_end(&mut whole) {
        return drop(told.send(Err(error.to_string())));
    }
    let head =
        Head { status: parts.status.as_u16(), content_type, session: text(SESSION), body: whole, pieces };
    if told.send(Ok(head)).is_err() || !is_stream {
        return;
    }
    let mut piece = [0; 8 << 10];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => return,
            Ok(bytes) => Ok(Bytes::copy_from_slice(&piece[..bytes])),
            Err(error) => Err(error),
        };
        let is_last = read.is_err();
        if sender.blocking_send(read).is_err() || is_last {
            return;
        }
    }
}

impl StreamableHttpClient for Http {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        bearer: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<HttpError>> {
        let body = serde_json::to_string(&message)?;
        let mut head =
            self.send("POST", &uri, session_id.as_deref(), bearer.as_deref(), headers, body).await?;
        match head.status {
            202 | 204 => return Ok(StreamableHttpPostResponse::Accepted),
            404 if session_id.is_some() => return Err(StreamableHttpError::SessionExpired),
            429 | 500.. => return Err(HttpStatusError::new(head.status, None).into()),
            _ => {}
        }
        if head.content_type.starts_with("text/event-stream") {
            let pieces = futures_util::stream::poll_fn(move |ctx| head.pieces.poll_recv(ctx));
            return Ok(StreamableHttpPostResponse::Sse(
                SseStream::from_bytes_stream(pieces).boxed(),
                head.session,
            ));
        }
        if head.content_type.starts_with("application/json") {
            let message: ServerJsonRpcMessage = serde_json::from_slice(&head.body)?;
            return Ok(StreamableHttpPostResponse::Json(message, head.session));
        }
        if (200..300).contains(&head.status) && head.body.is_empty() {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let start = String::from_utf8_lossy(&head.body[..head.body.len().min(200)]).into_owned();
        Err(StreamableHttpError::Client(HttpError(format!("status {}: {start}", head.status))))
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        bearer: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<HttpError>> {
        // A server need not end sessions (405), and one that cannot is left all the same.
        self.send("DELETE", &uri, Some(&session_id), bearer.as_deref(), headers, String::new())
            .await
            .map(drop)
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<HttpError>> {
        // What a server says unasked is of no use to an agent.
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}
