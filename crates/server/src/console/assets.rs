//! The files of the page, as `ui/build.mjs` made them: compressed, and named by their contents but for the page itself.
//!
//! Always compressed: whoever reads scripts can undo it.

use crate::problem::{Kind, Problem};
use crate::service::Service;
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::{Arc, LazyLock};

/// A file of the page.
struct Asset {
    name: &'static str,
    gzip: &'static [u8],
}

// `FILES`, a row for each file of `assets/console/`.
include!(concat!(env!("OUT_DIR"), "/console.rs"));

const PAGE: &str = "index.html";

/// What the page may do: use our own files and our own API. Nothing inline, nothing from elsewhere, no frame but those whose text it
/// writes itself (`srcdoc`, which inherit this), no string becomes a script or markup (Trusted Types).
const MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
    font-src 'self'; frame-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
    require-trusted-types-for 'script'; trusted-types fireclay-frame";

/// The routes.
pub fn routes() -> Router<Arc<Service>> {
    Router::new().route("/", get(page)).route("/console/assets/{name}", get(asset))
}

/// Asked for anew each time, and not sent when it is the same.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let text = find(PAGE).map_or(&[][..], |asset| asset.gzip);
    let digest = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
    HeaderValue::from_str(&format!("\"{digest}\"")).expect("hexadecimal digits are a header's value")
});

async fn page(said: HeaderMap) -> Response {
    let Some(asset) = find(PAGE) else { return missing(PAGE) };
    let known = said.get_all(header::IF_NONE_MATCH).iter().any(|tag| tag == *TAG);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { send(asset) };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, TAG.clone());
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(MAY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = find(&name).filter(|asset| asset.name != PAGE) else { return missing(&name) };
    let mut response = send(asset);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    response
}

fn find(name: &str) -> Option<&'static Asset> {
    FILES.iter().find(|asset| asset.name == name)
}

fn missing(name: &str) -> Response {
    Problem::new(Kind::NotFound, format!("the console has no file {name:?}"), "open / for the console")
        .into_response()
}

fn send(asset: &'static Asset) -> Response {
    let media_type = match asset.name.rsplit_once('.').map(|(_, end)| end) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    ([(header::CONTENT_TYPE, media_type), (header::CONTENT_ENCODING, "gzip")], asset.gzip).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ui/build.mjs` made them all, and the page is one.
    #[test]
    fn there_is_a_page_and_what_it_needs() {
        assert!(find(PAGE).is_some());
        assert!(FILES.iter().any(|asset| asset.name.ends_with(".css")));
        assert!(FILES.iter().all(|asset| asset.gzip.starts_with(&[0x1f, 0x8b])), "RFC 1952, 2.3.1");
    }
}
