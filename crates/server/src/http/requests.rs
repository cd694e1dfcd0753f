//! A name for each request: in the header `x-request-id` of its answer, and in every line that the service writes while it answers. A caller may give
//! its own.

use crate::service::Service;
use crate::settings::LogRequests;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// The header.
const HEADER: &str = "x-request-id";
/// Longest name that a caller may give.
const NAME_CHARS_MAX: usize = 64;
/// Most of a path that a line quotes.
const PATH_CHARS_MAX: usize = 200;

tokio::task_local! {
    static NAME: String;
}

/// Half of the names of this process: the other half counts.
static OWN: LazyLock<u32> = LazyLock::new(|| {
    sys::fs::random().map_or(0, |random| u32::from_le_bytes([random[0], random[1], random[2], random[3]]))
});
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The request that is being answered here.
pub fn current() -> Option<String> {
    NAME.try_with(String::clone).ok()
}

/// The name that a caller gives, if it is one; else a new one.
fn name_of(headers: &HeaderMap) -> String {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let plain = |name: &&str| {
        (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match given.filter(plain) {
        Some(name) => name.to_owned(),
        None => format!("{:08x}{:08x}", *OWN, COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// Names a request, and says how it was answered if the settings want that.
pub async fn named(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let (name, began) = (name_of(request.headers()), Instant::now());
    let wanted = service.settings.log.requests;
    let about =
        (wanted != LogRequests::Off).then(|| (request.method().clone(), request.uri().path().to_owned()));
    let mut response = NAME.scope(name.clone(), next.run(request)).await;
    let status = response.status().as_u16();
    if let Some((method, path)) = about.filter(|_| wanted == LogRequests::All || status >= 500) {
        let path: String = path.chars().take(PATH_CHARS_MAX).collect();
        let fields = json!({
            "method": method.as_str(), "path": path, "status": status, "duration_ms": began.elapsed().as_secs_f64() * 1000.0,
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        NAME.sync_scope(name.clone(), || worker::log::info("request", fields));
    }
    if let Ok(value) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
