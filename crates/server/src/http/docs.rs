//! `/docs`: the API's reference as a page that works offline.
//!
//! Scalar's standalone bundle (npm @scalar/api-reference 1.46.4, `dist/browser/standalone.js`, MIT), vendored as `gzip -9n` made it;
//! its licence lies beside it. The page may fetch from this service only. Scalar writes its own style sheets, so inline styles are
//! let in; inline scripts are not.

use crate::service::Service;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

const PAGE: &str = include_str!("../../assets/docs/index.html");
const START: &str = include_str!("../../assets/docs/start.js");
const SCALAR_GZ: &[u8] = include_bytes!("../../assets/docs/vendor/scalar.js.gz");

const MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The routes.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/start.js", get(start))
        .route("/docs/scalar.js", get(scalar))
}

async fn page() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, MAY)], PAGE)
}

async fn start() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, SCRIPT)], START)
}

/// Always compressed: whoever reads scripts can undo it.
async fn scalar() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, SCRIPT),
        (header::CONTENT_ENCODING, "gzip"),
        // Changes with the program only; a day is short enough to notice.
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, SCALAR_GZ)
}
