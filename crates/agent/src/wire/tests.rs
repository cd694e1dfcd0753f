//! What each format is sent, and that nothing it may answer makes us fall over.

use super::{
    Draft, Wire, anthropic::Messages, chat::ChatCompletions, gemini::GenerateContent, responses::Responses,
};
use crate::conversation::{Call, CallResult, Message, Request, Sampling, Shape, Stop};
use crate::provider::Row;
use crate::surroundings::Surroundings;
use crate::tools::tools;
use model::Language;
use serde_json::{Value, json};
use std::fmt::Write as _;

const WIRES: [(&str, &dyn Wire); 4] = [
    ("openai", &ChatCompletions),
    ("openai-responses", &Responses),
    ("anthropic", &Messages),
    ("gemini", &GenerateContent),
];

fn row(name: &str) -> &'static Row {
    Row::of_words(name).unwrap().0
}

#[test]
fn what_is_sent() {
    let call = |id: &str, token: Option<Value>| Call {
        id: id.to_owned(),
        name: "run_code".to_owned(),
        arguments: r#"{"code":"1"}"#.to_owned(),
        token,
    };
    let result = |id: &str, failed| CallResult {
        id: id.to_owned(),
        name: "run_code".to_owned(),
        text: "[outcome]".to_owned(),
        failed,
    };
    let messages = [
        Message::User("question".to_owned()),
        Message::Assistant {
            text: "thought".to_owned(),
            calls: vec![call("a", Some(json!("sig"))), call("b", None)],
        },
        Message::Results(vec![result("a", false), result("b", true)]),
        Message::Assistant { text: String::new(), calls: Vec::new() },
    ];
    let one_tool = &tools(Language::Python, &Surroundings::default())[1..2];
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": false});
    let shape = Shape { name: "shape", schema };
    let sampling = Sampling { temperature: Some(0.5), top_p: Some(0.9), ..Sampling::default() };
    let mut told = String::new();
    for (name, wire) in WIRES {
        let request =
            Request { system: "system", messages: &messages, tools: one_tool, shape: None, sampling };
        writeln!(told, "{name} {}\n{:#}", wire.path("m"), wire.body(row(name), "m", &request)).unwrap();
        let request = Request {
            messages: &messages[..1],
            tools: &[],
            shape: Some(&shape),
            sampling: Sampling::default(),
            ..request
        };
        writeln!(told, "with a shape:\n{:#}\n", wire.body(row(name), "m", &request)).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn no_answer_makes_a_reader_fall_over() {
    let odd = [
        json!(null),
        json!(-1),
        json!("x"),
        json!([]),
        json!([[null]]),
        json!({}),
        json!({"x": [1]}),
        json!(u64::MAX),
    ];
    let words = [
        "choices",
        "delta",
        "message",
        "tool_calls",
        "function",
        "index",
        "usage",
        "type",
        "content",
        "content_block",
        "response",
        "output",
        "candidates",
        "parts",
        "functionCall",
        "usageMetadata",
        "finish_reason",
        "stop_reason",
        "status",
    ];
    let kinds = [
        "message",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "response.completed",
        "message_delta",
    ];
    let pairs: Vec<(&str, &str)> =
        words.iter().flat_map(|outer| words.iter().map(|inner| (*outer, *inner))).collect();
    for (_, wire) in WIRES {
        for (outer, inner) in &pairs {
            for kind in kinds {
                for value in &odd {
                    let mut event = json!({"type": kind});
                    event[outer] = json!([{*inner: value}]);
                    let mut draft = Draft::default();
                    drop(wire.read(&event, &mut draft));
                    event[outer] = json!({*inner: [value, {*outer: value}]});
                    drop(wire.read(&event, &mut draft));
                    drop(wire.read(value, &mut draft));
                    drop(draft.finish());
                }
            }
        }
    }
}

#[test]
fn an_answer_without_an_end_is_none() {
    let mut draft = Draft::default();
    draft.say("half").unwrap();
    draft.finish().unwrap_err();
    let mut draft = Draft { stop: Some(Stop::Done), ..Draft::default() };
    draft.call(7).unwrap().name = "run_code".to_owned();
    let reply = draft.finish().unwrap();
    assert_eq!((reply.calls[0].id.as_str(), reply.calls[0].arguments.as_str()), ("call_0", "{}"));
    let mut draft = Draft { stop: Some(Stop::Done), ..Draft::default() };
    draft.call(0).unwrap();
    draft.finish().unwrap_err();
}

#[test]
fn an_answer_is_bounded() {
    let mut draft = Draft::default();
    for number in 0..64 {
        draft.call(number).unwrap();
    }
    draft.call(64).unwrap_err();
    let mut long = "x".repeat(4 << 20);
    draft.say(&long).unwrap();
    draft.say("x").unwrap_err();
    long.push('x');
    draft.call(0).unwrap().arguments = long;
    draft.call(0).unwrap_err();
}
