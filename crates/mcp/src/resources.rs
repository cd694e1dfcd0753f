//! Resources: the files that runs left behind, and those of sessions.
//!
//! `fireclay://runs/{id}/artifacts/{path}` and `fireclay://sessions/{id}/files/{path}`. They are not listed: answers link to them.

use crate::api::{Asker, Refusal, encoded, read};
use axum::body::Body;
use axum::http::header;
use percent_encoding::percent_decode_str;
use rmcp::model::{ReadResourceResult, ResourceContents, ResourceTemplate};

/// Largest resource that is read: all of it is one message.
const RESOURCE_BYTES_MAX: usize = 16 << 20;
/// How all our addresses begin.
const SCHEME: &str = "fireclay://";

/// The address of a file that a run left.
pub fn artifact_uri(run: &str, path: &str) -> String {
    format!("{SCHEME}runs/{run}/artifacts/{}", encoded(path))
}

/// What addresses there are.
pub fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{SCHEME}runs/{{id}}/artifacts/{{+path}}"), "artifact")
            .with_title("File of a run")
            .with_description("A file that a run in a fresh sandbox left in its workspace; the answer to the run links to it."),
        ResourceTemplate::new(format!("{SCHEME}sessions/{{id}}/files/{{+path}}"), "session file")
            .with_title("File of a session")
            .with_description("A file in the workspace of a session, by the session's id."),
    ]
}

/// The API's path for an address, if it is one of ours.
fn path_of(uri: &str) -> Option<String> {
    let (kind, rest) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let (id, rest) = rest.split_once('/')?;
    let path = match kind {
        "runs" => rest.strip_prefix("artifacts/")?,
        "sessions" => rest.strip_prefix("files/")?,
        _ => return None,
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    // Nothing that would be another route: an id is a word, and the path stays below it.
    let climbs = decoded.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    let middle = if kind == "runs" { "artifacts" } else { "files" };
    (id.bytes().all(word) && !id.is_empty() && !climbs)
        .then(|| format!("/v1/{kind}/{id}/{middle}/{}", encoded(&decoded)))
}

/// Reads one; `None` if there is nothing at this address.
pub async fn read_resource(asker: &Asker, uri: &str) -> Result<Option<ReadResourceResult>, Refusal> {
    let Some(path) = path_of(uri) else { return Ok(None) };
    let response = match asker.ask("GET", &path, &[], Body::empty()).await {
        Err(refusal) if refusal.status.is_some_and(|status| status.as_u16() == 404) => return Ok(None),
        other => other?,
    };
    let mime = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime = mime.unwrap_or("application/octet-stream").to_owned();
    let bytes = read(response.into_body(), RESOURCE_BYTES_MAX).await?;
    let contents = match std::str::from_utf8(&bytes) {
        Ok(text) => ResourceContents::text(text, uri),
        Err(_) => ResourceContents::blob(model::base64::encode(&bytes), uri),
    };
    Ok(Some(ReadResourceResult::new(vec![contents.with_mime_type(mime)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_one_file_or_nowhere() {
        let uri = artifact_uri("run_1", "a b/ä?.txt");
        assert_eq!(uri, "fireclay://runs/run_1/artifacts/a%20b/%C3%A4%3F.txt");
        assert_eq!(path_of(&uri).as_deref(), Some("/v1/runs/run_1/artifacts/a%20b/%C3%A4%3F.txt"));
        assert_eq!(path_of("fireclay://sessions/s_1/files/x").as_deref(), Some("/v1/sessions/s_1/files/x"));
        for wrong in [
            "file:///etc/passwd",
            "fireclay://runs/r/artifacts/../../x",
            "fireclay://runs/r/artifacts/%2e%2e/%2e%2e/x",
            "fireclay://runs/r%2Fx/artifacts/x",
            "fireclay://runs//artifacts/x",
            "fireclay://runs/r/events",
            "fireclay://keys/k/files/x",
            "fireclay://runs/r/artifacts/",
        ] {
            assert_eq!(path_of(wrong), None, "{wrong}");
        }
    }
}
