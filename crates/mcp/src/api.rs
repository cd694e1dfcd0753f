//! How tools ask the HTTP API: one request, one answer, with the credentials of whoever called the tool.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("the service does not answer: {0}")]
pub struct Unreachable(pub String);

/// Whoever answers requests to fireclay's HTTP API: the router of this process, or a service elsewhere.
pub trait Api: Send + Sync + 'static {
    /// Asks. `/v1/…` is the request's whole target.
    fn ask(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, Unreachable>>;
}

/// Headers by which the API knows who calls, and whether a browser was tricked into it: passed on as they came.
const CREDENTIALS: [HeaderName; 4] =
    [header::AUTHORIZATION, HeaderName::from_static("x-api-key"), header::HOST, header::ORIGIN];
/// Largest answer that is read whole: the results and lists of the API are smaller by their own bounds.
const ANSWER_BYTES_MAX: usize = 96 << 20;
/// What a part of a path does not hold as it is (RFC 3986 §3.3).
const NOT_IN_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path as it stands in a URL; slashes part it.
pub fn encoded(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_PATHS).to_string()
}

/// Why a tool did not do what it was asked to. Told to the model as a result: it can often do better.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What is wrong, and what would do.
    pub text: String,
    /// The problem document (RFC 9457), if the API sent one.
    pub problem: Option<Value>,
    /// The status of the API's answer, if there was one.
    pub status: Option<StatusCode>,
}

impl Refusal {
    /// One of our own.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), problem: None, status: None }
    }

    fn of_problem(status: StatusCode, bytes: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let part = |name: &str| problem[name].as_str().filter(|text| !text.is_empty());
        let detail = part("detail").or(part("title")).map_or_else(|| status.to_string(), str::to_owned);
        let field = part("field").map(|field| format!("{field}: ")).unwrap_or_default();
        let hint = part("hint").map(|hint| format!(" ({hint})")).unwrap_or_default();
        let text = format!("{field}{detail}{hint}");
        Self { text, problem: Some(problem).filter(Value::is_object), status: Some(status) }
    }
}

impl From<Unreachable> for Refusal {
    fn from(error: Unreachable) -> Self {
        Self::new(error.to_string())
    }
}

/// Asks the API for one caller.
#[derive(Clone)]
pub struct Asker {
    api: Arc<dyn Api>,
    headers: HeaderMap,
}

impl Asker {
    /// Asks as the sender of these headers.
    pub fn new(api: Arc<dyn Api>, headers: Option<&HeaderMap>) -> Self {
        let mut own = HeaderMap::new();
        for name in &CREDENTIALS {
            for value in headers.into_iter().flat_map(|headers| headers.get_all(name)) {
                own.append(name, value.clone());
            }
        }
        Self { api, headers: own }
    }

    /// What tells this caller from others, for locks and not for rights.
    pub fn who(&self) -> Vec<u8> {
        let key = self.headers.get(header::AUTHORIZATION).or_else(|| self.headers.get("x-api-key"));
        key.map(|key| key.as_bytes().to_vec()).unwrap_or_default()
    }

    /// Asks, and answers with what came if it is a success.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(HeaderName, String)],
        body: impl Into<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body.into());
        let mut request =
            request.map_err(|error| Refusal::new(format!("{path} cannot be asked for: {error}")))?;
        request.headers_mut().extend(self.headers.clone());
        let response = self.api.ask(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(Refusal::of_problem(status, &read(response.into_body(), ANSWER_BYTES_MAX).await?))
    }

    /// Sends JSON, if any, and reads JSON.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Refusal> {
        let content = (header::CONTENT_TYPE, "application/json".to_owned());
        let (headers, body) = match body {
            Some(body) => (vec![content], Body::from(body.to_string())),
            None => (Vec::new(), Body::empty()),
        };
        let response = self.ask(method, path, &headers, body).await?;
        let bytes = read(response.into_body(), ANSWER_BYTES_MAX).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes)
            .map_err(|error| Refusal::new(format!("the answer to {path} is strange: {error}")))
    }
}

/// Reads a body that may be so long.
pub async fn read(body: Body, most: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(format!(
            "it is larger than {most} bytes, which is the most that is read at once"
        ))),
        Err(error) => Err(Refusal::new(format!("the answer broke off: {error}"))),
    }
}

/// Fields that were given, without those that were not.
pub fn object(fields: &[(&str, Value)]) -> Value {
    let said = fields.iter().filter(|(_, value)| !value.is_null());
    said.fold(json!({}), |mut object, (name, value)| {
        object[*name] = value.clone();
        object
    })
}
