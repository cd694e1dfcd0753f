//! The conversation of docs/attach.md, held.

use super::root;
use fireclay_tests::Server;
use fireclay_tests::websocket::{Next, Wire};
use serde_json::{Value, json};

/// Whether all that the document shows is there: `…` stands for anything, and what is left out may be.
fn shows(document: &Value, said: &Value) -> bool {
    match (document, said) {
        (Value::Object(document), Value::Object(said)) => {
            document.iter().all(|(name, value)| said.get(name).is_some_and(|said| shows(value, said)))
        }
        (Value::String(any), said) if any == "…" => said.is_string(),
        (document, said) => document == said,
    }
}

#[test]
fn the_conversation_of_the_page_goes_as_it_says() {
    let page = std::fs::read_to_string(root().join("docs/attach.md")).unwrap();
    let lines = page.split("```attach\n").nth(1).unwrap().split("```").next().unwrap();
    let server = Server::start(&[]);
    let (status, session) = server.post_json("/v1/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    let mut wire =
        Wire::open(&server, &format!("/v1/sessions/{}/attach", session["id"].as_str().unwrap()), &[])
            .unwrap();
    for line in lines.lines() {
        let message: Value = serde_json::from_str(&line[2..]).unwrap();
        if line.starts_with('>') {
            wire.say(&message);
            continue;
        }
        let said = loop {
            match wire.hear() {
                // A traceback may come in pieces.
                Next::Said(said) if said["type"] == "stderr" && message["type"] != "stderr" => {}
                Next::Said(said) => break said,
                Next::Closed(code, reason) => panic!("{code} {reason} instead of {line}"),
            }
        };
        assert!(shows(&message, &said), "{line}\n{said}");
    }
}
