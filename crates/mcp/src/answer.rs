//! A run as a model is told of it: text it can read, images it can see, the same as structured content, links to what was left behind.

use crate::api::Refusal;
use crate::resources::artifact_uri;
use model::result::MimeBundle;
use model::{CheckMode, Finding, Outcome, RunResult, Severity};
use rmcp::model::{CallToolResult, ContentBlock, Resource};
use serde_json::{Map, Value, json};

/// Most images of one answer.
const IMAGES_MAX: usize = 16;
/// Most bytes of base64 of all images of one answer.
const IMAGES_BYTES_MAX: usize = 8 << 20;
/// Most bytes of one part of the text: what a model reads of a value or a traceback.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most links of one answer.
const LINKS_MAX: usize = 64;
/// Images that clients show.
const IMAGES: [&str; 2] = ["image/png", "image/jpeg"];

/// An answer that went well, as text and as what it says.
pub fn structured(text: impl Into<String>, value: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(value);
    result
}

/// An answer that says why not.
pub fn refused(refusal: Refusal) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(refusal.text.clone())]);
    result.structured_content =
        Some(json!({"error": refusal.problem.unwrap_or_else(|| json!({"detail": refusal.text}))}));
    result
}

/// The beginning of a text that is too long for a model.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A settled run as a tool's answer. `opened` says that its session was opened for it.
pub fn of_run(run: &RunResult, opened: bool) -> CallToolResult {
    let mut parts = Vec::new();
    for (label, text) in [("", &run.stdout), ("[stderr]\n", &run.stderr)] {
        if !text.is_empty() {
            parts.push(format!("{label}{text}"));
        }
    }
    let value = run.result.as_ref().and_then(|bundle| bundle.get("text/plain")?.as_str());
    if let Some(value) = value {
        parts.push(format!("[result]\n{}", cut(value)));
    }
    for display in &run.displays {
        let shown = IMAGES.iter().any(|mime| display.contains_key(*mime));
        if let Some(text) = display.get("text/plain").and_then(Value::as_str).filter(|_| !shown) {
            parts.push(format!("[display]\n{}", cut(text)));
        }
    }
    // An interpreter prints the traceback on stderr, a session tells it.
    if let Some(error) = run.error.as_ref().filter(|error| !run.stderr.contains(&error.message)) {
        let text = if error.traceback.is_empty() {
            format!("{}: {}", error.name, error.message)
        } else {
            error.traceback.clone()
        };
        parts.push(format!("[error]\n{}", cut(&text)));
    }
    if run.outcome == Some(Outcome::Denied) {
        // A service that tells no verdicts has `warn` for all of them.
        let tells = run.findings.iter().any(|found| found.verdict == CheckMode::Deny);
        let is_why = |found: &&Finding| {
            if tells { found.verdict == CheckMode::Deny } else { found.severity > Severity::Low }
        };
        let grave = run.findings.iter().filter(is_why);
        let reasons: Vec<_> = grave.map(|found| format!("- {}", found.reason)).collect();
        parts.push(cut(&format!("It was not run:\n{}", reasons.join("\n"))).to_owned());
    }
    let ending = ending_of(run);
    parts.extend(ending.clone().map(|text| format!("[{text}]")));
    if run.state_lost {
        parts.push("[the session's variables were lost; its files are kept]".to_owned());
    }
    let (images, left_out) = images_of(run);
    if left_out > 0 {
        parts.push(format!("[{left_out} more images are too many or too large to be shown]"));
    }
    if parts.is_empty() && images.is_empty() {
        parts.push("[completed without output]".to_owned());
    }
    let mut content = Vec::new();
    if !parts.is_empty() {
        content.push(ContentBlock::text(parts.join("\n")));
    }
    content.extend(images);
    for artifact in run.artifacts.iter().take(LINKS_MAX) {
        let uri = artifact_uri(run.id.as_str(), &artifact.path);
        let link =
            Resource::new(uri, &artifact.path).with_mime_type(&artifact.mime).with_size(artifact.bytes);
        content.push(ContentBlock::resource_link(link));
    }
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(structure_of(run, opened));
    result.is_error = Some(run.outcome != Some(Outcome::Completed));
    result
}

/// How a run ended, if that is more than well.
fn ending_of(run: &RunResult) -> Option<String> {
    if let Some(fault) = &run.fault {
        let again = if fault.retry_safe { "; it may be tried again" } else { "" };
        return Some(format!("fireclay failed, not the code: {fault}{again}"));
    }
    match (run.outcome?, run.exit_code, &run.signal) {
        (Outcome::Completed, ..) => None,
        (outcome, Some(code), _) => Some(format!("{outcome}: exit code {code}")),
        (outcome, None, Some(signal)) => Some(format!("{outcome}: {signal}")),
        (outcome, None, None) => Some(outcome.to_string()),
    }
}

/// The images that a run's value and displays have, and how many were left out.
fn images_of(run: &RunResult) -> (Vec<ContentBlock>, usize) {
    let (mut images, mut left_out, mut bytes) = (Vec::new(), 0, 0);
    for bundle in run.displays.iter().chain(&run.result) {
        let found = IMAGES.iter().find_map(|mime| Some((*mime, bundle.get(*mime)?.as_str()?)));
        let Some((mime, coded)) = found else { continue };
        // A guest's base64 may have line breaks, which MCP's does not.
        let coded: String = coded.split_ascii_whitespace().collect();
        if model::base64::decode(&coded).is_err()
            || images.len() == IMAGES_MAX
            || bytes + coded.len() > IMAGES_BYTES_MAX
        {
            left_out += 1;
            continue;
        }
        bytes += coded.len();
        images.push(ContentBlock::image(coded, mime));
    }
    (images, left_out)
}

/// The text of a value in its representations; images are content.
fn words_of(bundle: &MimeBundle) -> Value {
    let texts = bundle.iter().filter(|(mime, _)| !mime.starts_with("image/"));
    let short = texts.map(|(mime, value)| match value.as_str() {
        Some(text) => (mime.clone(), json!(cut(text))),
        None => (mime.clone(), value.clone()),
    });
    Value::Object(short.collect::<Map<_, _>>())
}

fn structure_of(run: &RunResult, opened: bool) -> Value {
    let artifacts = run.artifacts.iter().map(|artifact| {
        let uri = artifact_uri(run.id.as_str(), &artifact.path);
        json!({"path": artifact.path, "bytes": artifact.bytes, "mime": artifact.mime, "uri": uri})
    });
    json!({
        "run": run.id,
        "outcome": run.outcome,
        "fault": run.fault,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "stdout": run.stdout,
        "stderr": run.stderr,
        "stdout_truncated": run.stdout_truncated,
        "stderr_truncated": run.stderr_truncated,
        "result": run.result.as_ref().map(words_of),
        "displays": run.displays.iter().map(words_of).collect::<Vec<_>>(),
        "error": run.error.as_ref().map(|error| json!({
            "name": cut(&error.name), "message": cut(&error.message), "traceback": cut(&error.traceback),
        })),
        "limits_hit": run.limits_hit,
        "artifacts": artifacts.collect::<Vec<_>>(),
        "session": run.session,
        "session_opened": opened,
        "state_lost": run.state_lost,
        "usage": run.usage,
    })
}
