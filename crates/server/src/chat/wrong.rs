//! What went wrong, in the shape that OpenAI's clients know: `{"error": {"message", "type", "param", "code"}}`.

use crate::models::Unanswered;
use crate::problem::Problem;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error as OpenAI tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    status: StatusCode,
    error: Value,
    retry_after_s: Option<u64>,
}

impl Wrong {
    /// A request that cannot be used, and the field at fault.
    pub fn request(message: impl Into<String>, param: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", Some(param), None)
    }

    /// A budget of ours that is used up.
    pub fn budget(limit: &str, setting: &str) -> Self {
        let message = format!(
            "budget_exceeded: the {limit} of one request are used up (the service's setting `{setting}`)"
        );
        Self::new(StatusCode::BAD_REQUEST, message, "budget_exceeded", None, Some(limit))
    }

    fn new(
        status: StatusCode,
        message: impl Into<String>,
        kind: &str,
        param: Option<&str>,
        code: Option<&str>,
    ) -> Self {
        let error = json!({"message": message.into(), "type": kind, "param": param, "code": code});
        Self { status, error, retry_after_s: None }
    }

    /// What it says, for people.
    pub fn message(&self) -> &str {
        self.error["message"].as_str().unwrap_or_default()
    }

    /// As the event of a stream that has begun.
    pub fn event(&self) -> Value {
        json!({"error": self.error})
    }
}

impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Self {
        let (kind, code) = match problem.status().as_u16() {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            403 => ("permission_error", None),
            429 => ("rate_limit_error", Some("rate_limit_exceeded")),
            500.. => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        // Its clients know 400 as the status of what cannot be used, and 422 as nothing of OpenAI's.
        let status = match problem.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        let mut wrong = Self::new(status, problem.to_string(), kind, problem.field(), code);
        wrong.retry_after_s = problem.retry_after_s();
        wrong
    }
}

impl From<Unanswered> for Wrong {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Refused { status, error } => {
                // What is no status of a refusal came within a stream.
                let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_client_error);
                let field = |name: &str| error[name].as_str();
                let message = field("message").unwrap_or("the provider refuses the request");
                let kind = field("type").unwrap_or("invalid_request_error");
                // Some say it as a number.
                let code = error["code"].as_i64().map(|code| code.to_string());
                let code = field("code").map(str::to_owned).or(code);
                let status = status.unwrap_or(StatusCode::BAD_REQUEST);
                Self::new(status, message, kind, field("param"), code.as_deref())
            }
            other => Self::from(Problem::from(other)),
        }
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.event())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fireclay\""));
        }
        response
    }
}
