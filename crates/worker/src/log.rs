//! What a service says to its operator, on standard error: text on a terminal, elsewhere a JSON object on each line. Whatever a message quotes, it
//! stays one line, and moves no cursor: control characters are spelled out.

use serde_json::{Map, Value};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_JSON: AtomicBool = AtomicBool::new(false);
static REQUEST: OnceLock<fn() -> Option<String>> = OnceLock::new();

/// Has this process speak JSON unless standard error is a terminal. Commands that are no services speak text.
pub fn of_a_service() {
    IS_JSON.store(!std::io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Says how the id of the request that is being answered is found.
pub fn requests_by(found: fn() -> Option<String>) {
    // There is one way: who says it again says the same.
    REQUEST.get_or_init(|| found);
}

/// Says that something went wrong, or is to be known.
pub fn warn(message: impl std::fmt::Display) {
    say("warn", &message.to_string(), Map::new());
}

/// Says what was done, with more about it.
pub fn info(message: &str, fields: Map<String, Value>) {
    say("info", message, fields);
}

fn say(level: &str, message: &str, fields: Map<String, Value>) {
    let request = REQUEST.get().and_then(|found| found());
    let line = if IS_JSON.load(Ordering::Relaxed) {
        json_line(&now(), level, message, request, fields)
    } else {
        text_line(message, request, &fields)
    };
    // One write, so that lines of threads do not mix; and who cannot be told cannot be told so.
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    crate::run::time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn json_line(
    time: &str,
    level: &str,
    message: &str,
    request: Option<String>,
    fields: Map<String, Value>,
) -> String {
    let mut line = fields;
    line.insert("time".to_owned(), time.into());
    line.insert("level".to_owned(), level.into());
    line.insert("message".to_owned(), message.into());
    if let Some(request) = request {
        line.insert("request".to_owned(), request.into());
    }
    // JSON escapes the first 32 (RFC 8259, 7); those beyond ASCII that a terminal may obey are ours to escape.
    let text = Value::Object(line).to_string();
    let mut safe = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        match char {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => safe.push(char),
        }
    }
    safe + "\n"
}

fn text_line(message: &str, request: Option<String>, fields: &Map<String, Value>) -> String {
    let mut line = format!("fireclay: {message}");
    for (name, value) in fields {
        line.push_str(&format!(" {name}={value}"));
    }
    if let Some(request) = request {
        line.push_str(&format!(" (request {request})"));
    }
    let hides = |char: char| matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let escaped = |char: char| char.is_control() || hides(char);
    let safe: String = line
        .trim_end()
        .chars()
        .map(|char| if escaped(char) { char.escape_default().to_string() } else { char.to_string() })
        .collect();
    safe + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const EVIL: &str =
        "x\n{\"level\":\"info\",\"message\":\"all is well\"}\u{1b}[2K\r\u{9b}1A\u{202e}\u{2028}y";

    #[test]
    fn a_line_cannot_be_forged() {
        let fields = json!({"path": EVIL}).as_object().unwrap().clone();
        let json = json_line("now", "warn", EVIL, Some("r1".to_owned()), fields.clone());
        let text = text_line(EVIL, None, &fields);
        for line in [&json, &text] {
            let body = line.strip_suffix('\n').unwrap();
            assert!(
                !body.chars().any(|char| char.is_control() || char == '\u{202e}' || char == '\u{2028}'),
                "{body:?}"
            );
        }
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&read["message"], &read["path"], &read["level"]),
            (&json!(EVIL), &json!(EVIL), &json!("warn"))
        );
        assert_eq!(read["request"], "r1");
    }

    proptest! {
        #[test]
        fn every_line_is_one_object(message: String, value: String) {
            let fields = json!({"value": value, "level": "forged", "time": value}).as_object().unwrap().clone();
            let line = json_line("now", "info", &message, None, fields);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&read["message"], &json!(message));
            prop_assert_eq!((&read["level"], &read["time"], &read["value"]), (&json!("info"), &json!("now"), &json!(value)));
        }
    }
}
