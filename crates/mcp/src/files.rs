//! `read_file`, `write_file`, `list_files`: the workspace of a session.

use crate::answer::structured;
use crate::api::{Refusal, encoded, object, read};
use crate::arguments::{ListFiles, ReadFile, WriteFile};
use crate::handler::Call;
use crate::sessions::Place;
use axum::body::Body;
use axum::http::{StatusCode, header};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

/// Bytes of a file that are read if the caller does not say.
const READ_BYTES: u64 = 64 << 10;
/// Most bytes of a file that are read at once.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Largest image that is returned as one.
const IMAGE_BYTES_MAX: usize = 4 << 20;
/// Most entries that are listed as text; the structured answer has as many.
const LISTED_MAX: usize = 1_000;

impl Call {
    /// `read_file`.
    pub async fn read_file(&self, asked: ReadFile) -> Result<CallToolResult, Refusal> {
        let ReadFile { path, offset, max_bytes, session } = asked;
        let id = self.existing(session.as_deref()).await?;
        let most = max_bytes.unwrap_or(READ_BYTES).clamp(1, READ_BYTES_MAX);
        let target = file_path(&id, &path)?;
        let range = (header::RANGE, format!("bytes={offset}-{}", offset.saturating_add(most - 1)));
        let response = match self.asker.ask("GET", &target, &[range], Body::empty()).await {
            Err(refusal) if refusal.status == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
                return Ok(structured(
                    "[there is nothing from this byte on]",
                    json!({"path": path, "bytes": 0, "text": ""}),
                ));
            }
            other => other?,
        };
        let whole = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let whole = whole.and_then(|range| range.rsplit_once('/')?.1.parse::<u64>().ok());
        let bytes = read(response.into_body(), usize::try_from(READ_BYTES_MAX).unwrap_or(usize::MAX)).await?;
        let whole = whole.unwrap_or(bytes.len() as u64);
        if offset == 0
            && let Some(mime) = image_type(&bytes)
        {
            return self.read_image(&target, &path, mime, whole).await;
        }
        let next = offset.saturating_add(bytes.len() as u64);
        let more = next < whole;
        let mut value =
            json!({"path": path, "offset": offset, "bytes": bytes.len(), "file_bytes": whole, "more": more});
        let text = match text_of(&bytes, more) {
            Some(text) => {
                let next = offset.saturating_add(text.len() as u64);
                value["bytes"] = json!(text.len());
                value["text"] = json!(text);
                let rest = if more {
                    format!("\n[{whole} bytes in all; go on with offset {next}]")
                } else {
                    String::new()
                };
                format!("{text}{rest}")
            }
            None => {
                value["base64"] = json!(model::base64::encode(&bytes));
                format!(
                    "[{} of {whole} bytes that are not text; `base64` of the structured answer has them]",
                    bytes.len()
                )
            }
        };
        Ok(structured(text, value))
    }

    async fn read_image(
        &self,
        target: &str,
        path: &str,
        mime: &str,
        whole: u64,
    ) -> Result<CallToolResult, Refusal> {
        let response = self.asker.ask("GET", target, &[], Body::empty()).await?;
        let bytes = read(response.into_body(), IMAGE_BYTES_MAX).await?;
        let image = ContentBlock::image(model::base64::encode(&bytes), mime);
        let mut result = CallToolResult::success(vec![image]);
        result.structured_content = Some(json!({"path": path, "file_bytes": whole, "mime": mime}));
        Ok(result)
    }

    /// `write_file`.
    pub async fn write_file(&self, asked: WriteFile) -> Result<CallToolResult, Refusal> {
        let WriteFile { path, text, base64, executable, session } = asked;
        let bytes = match (text, base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(coded)) => {
                model::base64::decode(&coded).map_err(|error| Refusal::new(format!("base64: {error}")))?
            }
            _ => return Err(Refusal::new("exactly one of `text` and `base64` is needed")),
        };
        let Place::Session { id, opened } = self.place(session.as_deref(), None).await? else {
            return Err(Refusal::new(
                "a fresh sandbox is gone after its run (run_code takes `files`, or name a session)",
            ));
        };
        let target = format!("{}?executable={executable}", file_path(&id, &path)?);
        let content = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
        let response = self.asker.ask("PUT", &target, &[content], bytes).await?;
        let written: Value =
            serde_json::from_slice(&read(response.into_body(), IMAGE_BYTES_MAX).await?).unwrap_or_default();
        let text = format!("{path} has {} bytes.", written["bytes"]);
        Ok(structured(
            text,
            json!({"path": path, "bytes": written["bytes"], "session": id, "session_opened": opened}),
        ))
    }

    /// `list_files`.
    pub async fn list_files(&self, asked: ListFiles) -> Result<CallToolResult, Refusal> {
        let ListFiles { path, recursive, glob, session } = asked;
        let id = self.existing(session.as_deref()).await?;
        let glob = glob.map(|glob| format!("&glob={}", encoded(&glob))).unwrap_or_default();
        // Models say `.`, `/` or `./data/` for what the API calls by its plain path.
        let plain: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let target =
            format!("/v1/sessions/{id}/files?path={}&recursive={recursive}{glob}", encoded(&plain.join("/")));
        let mut list: Value = self.asker.json("GET", &target, None).await?;
        let Some(items) = list["items"].as_array_mut() else {
            return Err(Refusal::new("the list is strange"));
        };
        let left_out = items.len().saturating_sub(LISTED_MAX);
        items.truncate(LISTED_MAX);
        let mut lines: Vec<String> = items.iter().map(line_of).collect();
        if left_out > 0 || list["truncated"] == true {
            lines.push(format!("[{left_out} or more are left out: name a directory or a glob]"));
        }
        if lines.is_empty() {
            lines.push("[nothing is there]".to_owned());
        }
        let value = object(&[
            ("items", list["items"].clone()),
            ("truncated", json!(left_out > 0 || list["truncated"] == true)),
            ("free_bytes", list["free_bytes"].clone()),
        ]);
        Ok(structured(lines.join("\n"), value))
    }
}

fn line_of(item: &Value) -> String {
    let path = item["path"].as_str().unwrap_or_default();
    match item["kind"].as_str() {
        Some("directory") => format!("{path}/"),
        Some("file") => format!("{path}  {} bytes", item["bytes"]),
        _ => format!("{path}  ({})", item["kind"].as_str().unwrap_or("other")),
    }
}

/// The API's path for a file. A path that climbs would name another route.
fn file_path(session: &str, path: &str) -> Result<String, Refusal> {
    let plain = path.strip_prefix("./").unwrap_or(path);
    if plain.is_empty() || plain.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Refusal::new(format!(
            "path: {path:?} is not a path below the workspace (such as data/input.csv)"
        )));
    }
    Ok(format!("/v1/sessions/{session}/files/{}", encoded(plain)))
}

/// What kind of image this is, by its first bytes.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else {
        None
    }
}

/// The text of a file or of a part of one, whose last character may be cut.
fn text_of(bytes: &[u8], more: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if more && error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_character_is_left_for_the_next_part() {
        assert_eq!(text_of("aä".as_bytes(), false), Some("aä"));
        assert_eq!(text_of(&"aä".as_bytes()[..2], true), Some("a"));
        assert_eq!(text_of(&"aä".as_bytes()[..2], false), None);
        assert_eq!(text_of(&[b'a', 255, b'b'], true), None);
    }

    #[test]
    fn paths_stay_below_their_session() {
        assert_eq!(file_path("s", "./a b").unwrap(), "/v1/sessions/s/files/a%20b");
        for wrong in ["", "..", "../runs", "/etc/passwd", "a//b", "a/../b", "a/."] {
            file_path("s", wrong).unwrap_err();
        }
    }
}
