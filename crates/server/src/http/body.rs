//! Bodies of requests: JSON, bounded, and refused with the field that is wrong. And of answers that are files.

use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use model::object::Object;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// So much of a file is read at once: every read is a way to a thread that may wait and back.
const FILE_BYTES: usize = 256 << 10;

/// A body that is read from a file as it is sent.
pub fn of_file(file: impl AsyncRead + Send + 'static) -> Body {
    Body::from_stream(ReaderStream::with_capacity(file, FILE_BYTES))
}

/// A body of JSON.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Service>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, service: &Arc<Service>) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let bytes = read_all(request.into_body(), service).await?;
        parse(&bytes).map(Json)
    }
}

/// The arguments after `?`.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Service>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Service>) -> Result<Self, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|query| Query(query.0)).map_err(|error| {
            Problem::new(Kind::InvalidRequest, error.body_text(), "/docs lists the arguments of each route")
        })
    }
}

/// Requires `Content-Type: application/json`: what a page of another origin cannot send unasked.
pub fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    media_type(headers, &["application/json"])
}

/// Requires one of these types.
pub fn media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim();
    if accepted.iter().any(|own| own.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let hint = format!("send `Content-Type: {}`", accepted[0]);
    Err(Problem::new(Kind::MediaType, format!("the body is of type {said:?}"), hint))
}

/// How much of a body must come, on average, for each time that a pause may take.
const PACE_BYTES: usize = 64 << 10;

/// Reads a whole body, within the limits of size and patience.
pub async fn read_all(body: Body, service: &Service) -> Result<Bytes, Problem> {
    let most = service.settings.body_bytes;
    let too_large = || {
        let detail = format!("the body is larger than {most} bytes");
        Problem::new(Kind::TooLarge, detail, "send less, or raise the setting `body_bytes`")
    };
    // What announces itself as too large is not waited for.
    if body.size_hint().lower() > most {
        return Err(too_large());
    }
    let mut pieces = Pieces::new(body, service);
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await? {
        if (bytes.len() + piece.len()) as u64 > most {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// A body as it comes, piece by piece; a client that sends nothing for too long, or too little for long, is given up.
pub struct Pieces {
    body: Body,
    patience: Duration,
    started: Instant,
    /// How much came.
    bytes: usize,
}

impl Pieces {
    /// The pieces of `body`.
    pub fn new(body: Body, service: &Service) -> Self {
        let patience = Duration::from_millis(service.settings.body_timeout_ms);
        Self { body, patience, started: Instant::now(), bytes: 0 }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = tokio::time::timeout(self.patience, self.body.frame()).await;
            let frame = frame.map_err(|_| {
                let detail = format!("nothing came for {} ms", self.patience.as_millis());
                Problem::new(Kind::SlowClient, detail, "send the body at once")
            })?;
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                None => return Ok(None),
                Some(Ok(Ok(data))) => return self.in_pace(data).map(Some),
                // Trailers say nothing that we read.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => {
                    let detail = format!("the body did not come whole: {error}");
                    return Err(Problem::new(Kind::NotJson, detail, "send it again"));
                }
            }
        }
    }
}

impl Pieces {
    /// A drip would hold its connection for ever: each pause is short.
    fn in_pace(&mut self, data: Bytes) -> Result<Bytes, Problem> {
        self.bytes = self.bytes.saturating_add(data.len());
        let earned = u32::try_from(self.bytes / PACE_BYTES).unwrap_or(u32::MAX).saturating_add(1);
        let taken = self.started.elapsed();
        if taken > self.patience.saturating_mul(earned) {
            let detail = format!("only {} bytes came in {} ms", self.bytes, taken.as_millis());
            return Err(Problem::new(Kind::SlowClient, detail, "send the body at once"));
        }
        Ok(data)
    }
}

/// Parses JSON; the problem names the field.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => {
                let problem = Problem::new(
                    Kind::InvalidRequest,
                    inner.to_string(),
                    "/docs lists the fields of each request",
                );
                if field == "." { problem } else { problem.of_field(field) }
            }
            _ => Problem::new(Kind::NotJson, inner.to_string(), "send one JSON value in UTF-8"),
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::new(Kind::NotJson, error.to_string(), "send one JSON value in UTF-8"))?;
    Ok(value)
}
