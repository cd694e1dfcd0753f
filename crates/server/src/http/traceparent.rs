//! The header `traceparent` (W3C Trace Context): where a caller stands in a trace, and where what it asked for does.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use model::TraceParent;

/// Where whoever sent this stands in a trace; what cannot be read is not there (W3C Trace Context, §3.3).
pub fn parent_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut said = headers.get_all("traceparent").iter();
    let parent = said.next()?.to_str().ok()?.parse().ok();
    // More than one is none (§3.2).
    parent.filter(|_| said.next().is_none())
}

/// The answer with where what was asked for stands in its trace.
pub fn with_trace(own: Option<TraceParent>, mut response: Response) -> Response {
    if let Some(value) = own.and_then(|own| HeaderValue::from_str(&own.to_string()).ok()) {
        response.headers_mut().insert("traceparent", value);
    }
    response
}
