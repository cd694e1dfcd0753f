//! What a client says in a conversation: one JSON object in each message, bounded, and refused with the field that is wrong.

use crate::http::body;
use crate::http::sessions::manner_of;
use crate::problem::{Kind, Problem};
use crate::sessions::Manner;
use model::{Rejection, RunId, RunRequest, base64};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest name that a client may give a run until it has an id.
const REFERENCE_CHARS_MAX: usize = 64;

/// One thing that a client says.
#[derive(Debug)]
pub enum Said {
    /// Run this.
    Run {
        /// What the client calls it until it has an id.
        reference: Option<String>,
        /// What to run.
        request: Box<RunRequest>,
        /// How.
        manner: Manner,
    },
    /// Something for the standard input of a run.
    Stdin {
        /// Which; absent is the first of this conversation's that is not over.
        run: Option<RunId>,
        /// Bytes.
        bytes: Vec<u8>,
        /// Whether nothing follows.
        end: bool,
    },
    /// Interrupt a run, which may go on.
    Interrupt {
        /// Which, likewise.
        run: Option<RunId>,
    },
    /// Take a run back: interrupt it, and kill it if that does not help.
    Cancel {
        /// Which, likewise.
        run: Option<RunId>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stdin {
    run: Option<RunId>,
    text: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    end: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    run: Option<RunId>,
}

/// What stands beside the request in a `run`.
#[derive(Deserialize)]
struct Beside {
    #[serde(rename = "ref")]
    reference: Option<String>,
    fresh: Option<bool>,
    interactive: Option<bool>,
}

/// Reads one message.
pub fn read(text: &str) -> Result<Said, Problem> {
    let mut fields: Map<String, Value> = body::parse(text.as_bytes())?;
    let kind = fields.remove("type");
    match kind.as_ref().and_then(Value::as_str) {
        Some("run") => run_of(fields),
        Some("stdin") => {
            let Stdin { run, text, base64, end } = typed(&fields)?;
            Ok(Said::Stdin { run, bytes: typed_bytes(text, base64)?, end })
        }
        Some("interrupt") => typed(&fields).map(|Which { run }| Said::Interrupt { run }),
        Some("cancel") => typed(&fields).map(|Which { run }| Said::Cancel { run }),
        _ => {
            let hint = "use `run`, `stdin`, `interrupt` or `cancel`";
            Err(Problem::new(Kind::InvalidRequest, "there is no such message", hint).of_field("type"))
        }
    }
}

fn run_of(mut fields: Map<String, Value>) -> Result<Said, Problem> {
    let Beside { reference, fresh, interactive } = typed(&fields)?;
    if reference.as_ref().is_some_and(|name| name.chars().count() > REFERENCE_CHARS_MAX) {
        let what = format!("longer than {REFERENCE_CHARS_MAX} characters");
        return Err(Rejection::new("ref", what, "use a shorter one").into());
    }
    for beside in ["ref", "fresh", "interactive"] {
        fields.remove(beside);
    }
    let mut request: RunRequest = typed(&fields)?;
    let manner = manner_of(&mut request, fresh.unwrap_or(false));
    let manner = Manner { interactive: interactive.unwrap_or(true), ..manner };
    Ok(Said::Run { reference, request: Box::new(request), manner })
}

fn typed<T: serde::de::DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, Problem> {
    let bytes = serde_json::to_vec(fields);
    body::parse(
        &bytes.map_err(|error| Problem::new(Kind::NotJson, error.to_string(), "send one JSON object"))?,
    )
}

/// What somebody types, said as text or as base64; nothing if neither is there.
pub fn typed_bytes(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, Rejection> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Rejection::new("base64", "there is `text` too", "send one of them")),
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(coded)) => base64::decode(&coded)
            .map_err(|error| Rejection::new("base64", error, "send standard base64 with padding")),
        (None, None) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_what_is_wrong_is_named() {
        let Ok(Said::Run { reference, request, manner }) =
            read(r#"{"type":"run","ref":"1","code":"x","fresh":true,"cwd":"private"}"#)
        else {
            panic!("a run")
        };
        assert_eq!((reference.as_deref(), request.code.as_str(), &request.cwd), (Some("1"), "x", &None));
        assert!(manner.fresh && manner.private && manner.interactive);
        let Ok(Said::Stdin { run: None, bytes, end: true }) =
            read(r#"{"type":"stdin","base64":"/wA=","end":true}"#)
        else {
            panic!("input")
        };
        assert_eq!(bytes, [255, 0]);
        let wrong = [
            ("", None),
            ("[]", None),
            ("{}", Some("type")),
            (r#"{"type":"stdin","text":"a","base64":"AA=="}"#, Some("base64")),
            (r#"{"type":"stdin","base64":"!"}"#, Some("base64")),
            (r#"{"type":"stdin","run":"x"}"#, Some("run")),
            (r#"{"type":"interrupt","more":1}"#, Some("more")),
            (r#"{"type":"run","code":"","what":1}"#, Some("what")),
        ];
        for (text, field) in wrong {
            let problem = serde_json::to_value(read(text).unwrap_err()).unwrap();
            assert_eq!(problem["field"].as_str(), field, "{text}: {problem}");
        }
    }
}
