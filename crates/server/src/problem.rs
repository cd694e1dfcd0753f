//! What a client is told when a request cannot be carried out: problem documents (RFC 9457), one table of kinds.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Fault, FaultCode, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

/// Kinds of problems; each has its own status and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A field has a value that cannot be used, or there is no such field.
    InvalidRequest,
    /// The body is not JSON.
    NotJson,
    /// The body is not of a type that is understood.
    MediaType,
    /// A key is needed, or the one given is not valid.
    Unauthenticated,
    /// The key may not do this.
    Forbidden,
    /// There is no such thing, or it is another tenant's.
    NotFound,
    /// There is, but not with this method.
    Method,
    /// The same idempotency key came with another request, or the thing is in a state that does not allow it.
    Conflict,
    /// The body is larger than is read.
    TooLarge,
    /// The client sent nothing for too long.
    SlowClient,
    /// The queue or the rate is full.
    TooMany,
    /// There is no room for it where it is to be.
    NoRoom,
    /// A failure of ours.
    Fault,
    /// The service is ending, or cannot write its records.
    Unavailable,
    /// What listens in a session gave no answer that can be passed on, or nothing listens.
    BadAnswer,
    /// What listens in a session did not answer in time.
    NoAnswer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 16] = [
        Self::InvalidRequest,
        Self::NotJson,
        Self::MediaType,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Method,
        Self::Conflict,
        Self::TooLarge,
        Self::SlowClient,
        Self::TooMany,
        Self::NoRoom,
        Self::Fault,
        Self::Unavailable,
        Self::BadAnswer,
        Self::NoAnswer,
    ];

    /// Status, the end of `type`, and title.
    pub fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-request",
                "The request cannot be used as it stands",
            ),
            Self::NotJson => (StatusCode::BAD_REQUEST, "not-json", "The body is not JSON"),
            Self::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body's type is not understood")
            }
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid key is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "The method is not allowed here"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The request contradicts what is there"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::SlowClient => {
                (StatusCode::REQUEST_TIMEOUT, "slow-client", "The request did not come in time")
            }
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too much at once"),
            Self::NoRoom => (StatusCode::INSUFFICIENT_STORAGE, "no-room", "There is no room for it"),
            Self::Fault => (StatusCode::INTERNAL_SERVER_ERROR, "fault", "We failed"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot do this now")
            }
            Self::BadAnswer => (StatusCode::BAD_GATEWAY, "bad-answer", "The port did not answer"),
            Self::NoAnswer => (StatusCode::GATEWAY_TIMEOUT, "no-answer", "The port did not answer in time"),
        }
    }
}

impl Kind {
    /// When it is met, and what to do.
    fn meaning(self) -> &'static str {
        match self {
            Self::InvalidRequest => {
                "A field has a value that cannot be used, or there is no such field. `field` names it and `hint` says what would do. Sending the same again is pointless."
            }
            Self::NotJson => "The body is not one JSON value in UTF-8, or did not come whole.",
            Self::MediaType => {
                "Send `Content-Type: application/json`: asked for because a page of another origin cannot send it unasked."
            }
            Self::Unauthenticated => {
                "Send `Authorization: Bearer fc_…`. Unknown, expired and revoked keys are told in the same words."
            }
            Self::Forbidden => {
                "The key lacks the role; or, without a key, `Host` or `Origin` are not this machine's own, so that a page in a browser may have been tricked into the call."
            }
            Self::NotFound => "It was never there, was removed, or is another tenant's: these look alike.",
            Self::Method => "The path is there; the header `Allow` lists what may be done with it.",
            Self::Conflict => {
                "An idempotency key came with another request, or the thing is in a state that does not allow this. Look at it before trying again."
            }
            Self::TooLarge => "The body is larger than `body_bytes`; `GET /v1/limits` says how much is read.",
            Self::SlowClient => "Nothing of the body came for `body_timeout_ms`.",
            Self::TooMany => {
                "The queue or the tenant's rate is full. Send it again after `Retry-After` seconds, or with fewer at once."
            }
            Self::NoRoom => {
                "The session's disk is full, or would be. `detail` says what is left; remove files, or open a session with a larger `disk_bytes`."
            }
            Self::Fault => {
                "A failure of ours. `retry_safe` says whether to send it again; the service's log says more."
            }
            Self::Unavailable => "The service is ending, has no room, or cannot write its records.",
            Self::BadAnswer => {
                "Nothing listens on the port of the session, or what does gave no HTTP that can be passed on. Look at what it wrote; send it again when it listens."
            }
            Self::NoAnswer => {
                "What listens on the port of the session took the request and said nothing for `ports.answer_timeout_ms`."
            }
        }
    }

    /// The kind whose `type` ends with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.row().1 == word)
    }

    /// The page that its `type` leads to, in HTML.
    pub fn page(self) -> String {
        let (status, word, title) = self.row();
        let others = Self::ALL.into_iter().filter(|kind| *kind != self).map(|kind| {
            let (_, word, title) = kind.row();
            format!("<li><a href=\"/problems/{word}\">{}</a></li>\n", html(title))
        });
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n\
            <h1>{title}</h1>\n<p>Status {}, <code>type</code> <code>/problems/{word}</code></p>\n<p>{}</p>\n\
            <h2>Other problems</h2>\n<ul>\n{}</ul>\n</body>\n</html>\n",
            status.as_u16(),
            html(self.meaning()),
            others.collect::<String>(),
            title = html(title),
        )
    }

    /// The reference page of all kinds.
    pub fn reference() -> String {
        let mut page = "# Problems\n\nMade from the table in `crates/server/src/problem.rs`.\n\n\
            What the service cannot carry out is answered with a problem document (RFC 9457, `application/problem+json`):\n\
            `type`, `title`, `status`, `detail` (what is wrong this time), `hint` (what to do), and where they apply `field` and `retry_safe`.\n\
            What became of the *code* is never a problem, but an outcome with status 200.\n\n\
            | status | `type` | title | when, and what to do |\n|---|---|---|---|\n"
            .to_owned();
        for kind in Self::ALL {
            let (status, word, title) = kind.row();
            let status = status.as_u16();
            page.push_str(&format!("| {status} | `/problems/{word}` | {title} | {} |\n", kind.meaning()));
        }
        page
    }
}

/// Our Markdown as HTML: the only mark in the table is code between backticks.
fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let parts = escaped.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}

/// A problem document. Small to pass around: it is the error of nearly every function here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Problem(#[schema(inline)] Box<Document>);

/// What a problem document says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Document {
    /// What kind of problem: `/problems/` and a word, explained in docs/reference/problems.md.
    #[serde(rename = "type")]
    kind: String,
    /// The kind, for people.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time.
    detail: String,
    /// What would be accepted, or what to do.
    hint: String,
    /// The field at fault, as the caller spelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Whether the same request may be sent again without harm and with hope.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_safe: Option<bool>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with what is wrong and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let (status, word, title) = kind.row();
        Self(Box::new(Document {
            kind: format!("/problems/{word}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            hint: hint.into(),
            field: None,
            retry_safe: None,
            retry_after_s: None,
        }))
    }

    /// There is no such thing of this tenant's.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(
            Kind::NotFound,
            format!("there is no {what} {id:?}"),
            "it was never there, was removed, or is not yours",
        )
    }

    /// Too much at once; when to come again.
    pub fn too_many(detail: impl Into<String>, retry_after_s: u64) -> Self {
        let hint = format!("send it again after {retry_after_s} s, or with fewer at once");
        let mut problem = Self::new(Kind::TooMany, detail, hint).retry_safe(true);
        problem.0.retry_after_s = Some(retry_after_s);
        problem
    }

    /// Says whether the same request may be sent again without harm and with hope.
    pub fn retry_safe(mut self, safe: bool) -> Self {
        self.0.retry_safe = Some(safe);
        self
    }

    /// Names the field at fault.
    pub fn of_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Whether it is of this kind.
    pub fn is_of(&self, kind: Kind) -> bool {
        self.status() == kind.row().0
    }

    /// The field at fault.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// When to come again, in seconds.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.0.retry_after_s
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.0.detail, self.0.hint)
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::new(Kind::InvalidRequest, rejection.message, rejection.hint).of_field(rejection.field)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let kind = match fault.code {
            FaultCode::ResourcesExhausted | FaultCode::ImageUnavailable => Kind::Unavailable,
            FaultCode::IsolationFailed | FaultCode::Interrupted | FaultCode::Internal => Kind::Fault,
        };
        let hint = if fault.retry_safe { "send it again" } else { "the service's log says more" };
        Self::new(kind, fault.message, hint).retry_safe(fault.retry_safe)
    }
}

impl From<worker::template::NotReady> for Problem {
    fn from(not: worker::template::NotReady) -> Self {
        match not {
            worker::template::NotReady::Rejected(rejection) => Self::from(rejection),
            worker::template::NotReady::Fault(fault) => Self::from(fault),
        }
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        use store::StoreError as E;
        let said = error.to_string();
        match error {
            E::NotFound => {
                return Self::new(Kind::NotFound, said, "it was never there, was removed, or is not yours");
            }
            E::IdempotencyConflict => {
                return Self::new(Kind::Conflict, said, "use a new key for a new request")
                    .of_field("idempotency-key");
            }
            E::Exists { .. } | E::NotSettled | E::AlreadySettled => {
                return Self::new(Kind::Conflict, said, "look at it again before changing it");
            }
            E::LastAdmin => {
                let hint = "make another key with the role admin first: without one, nobody could make or revoke keys";
                return Self::new(Kind::Conflict, said, hint);
            }
            E::BadCursor => {
                return Self::new(Kind::InvalidRequest, said, "use `next` of a page of this list")
                    .of_field("cursor");
            }
            E::TooLong { .. } => return Self::new(Kind::InvalidRequest, said, "send less"),
            _ => {}
        }
        let hint = "nothing was recorded; the service's log and `fireclay doctor` say more";
        Self::new(Kind::Unavailable, error.to_string(), hint).retry_safe(true)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.status(), self.0.retry_after_s);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fireclay\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference page is made from the table: `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_reference_page_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/problems.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, Kind::reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), Kind::reference());
    }
}
