//! What goes wrong on the way: limits of rate, broken answers, code that floods, conversations that grow too long.

use super::agent;
use super::model::Model;
use fireclay_tests::Server;
use serde_json::{Value, json};

#[test]
fn limits_of_rate_broken_answers_and_lost_connections_are_got_over() {
    let server = Server::start(&[]);
    for provider in ["openai", "openai-responses"] {
        let model = Model::of("troubled");
        let ran = agent(&server, &model, provider, &["?", "--log-level", "warn"], b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "Done, at last.\n"), "{provider}: {ran:?}");
        assert_eq!(ran.stderr.matches("trying again").count(), 4, "{provider}: {ran:?}");
        assert_eq!(model.requests().len(), 6, "{provider}");
    }
}

#[test]
fn what_will_not_help_is_not_tried_again() {
    let server = Server::start(&[]);
    for (turn, words) in [
        (
            json!({"status": 401, "error": {"type": "invalid_request_error", "message": "Incorrect API key"}}),
            "refuses the key",
        ),
        (json!({"status": 429, "error": {"type": "insufficient_quota", "message": "no money"}}), "no money"),
        (
            json!({"status": 429, "retry_after": "3600", "error": {"type": "rate_limit_error", "message": "tomorrow"}}),
            "tomorrow",
        ),
        (json!({"status": 404, "error": {"message": "The model does not exist"}}), "does not exist"),
        (json!({"text": "", "stop": "refusal"}), "keeps the model's answer back"),
    ] {
        let model = Model::saying(&json!([turn]));
        let ran = agent(&server, &model, "openai", &["?"], b"");
        assert_eq!((ran.code, ran.stdout.as_str(), model.requests().len()), (1, "", 1), "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
}

#[test]
fn output_is_bounded_and_nothing_in_it_hides() {
    let server = Server::start(&[]);
    let code = "print('head\\x1b[2J\\u202e' + 'x' * 10**6 + 'tail')";
    let turns = json!([
        {"calls": [{"name": "run_code", "arguments": {"code": code}}]},
        {"expect": ["head\\u{1b}[2J\\u{202e}xxx", "bytes left out", "xtail"], "text": "\u{1b}]0;title\u{7}seen"},
    ]);
    let model = Model::saying(&turns);
    let ran = agent(&server, &model, "openai", &["?", "--log-level", "info"], b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = model.requests()[1]["body"]["messages"][3]["content"].as_str().unwrap().len();
    assert!(told < 20_000, "{told}");
    assert!(!ran.stderr.contains(['\u{1b}', '\u{202e}']) && ran.stderr.len() < 10_000, "{}", ran.stderr);
}

#[test]
fn a_conversation_that_is_too_long_is_shortened() {
    let server = Server::start(&[]);
    let flood = json!({"calls": [{"name": "run_code", "arguments": {"code": "print('y' * 10**5)"}}]});
    let too_long = json!({"status": 400, "error": {"code": "context_length_exceeded", "message": "This model's maximum context length is 1"}});
    let model = Model::saying(&json!([flood, flood, too_long, {"text": "short enough"}]));
    let ran = agent(&server, &model, "openai", &["?"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "short enough\n"), "{ran:?}");
    let requests = model.requests();
    let length = |at: usize| requests[at]["body"].to_string().len();
    assert!(length(3) + 10_000 < length(2), "{} {}", length(2), length(3));
    assert!(requests[3]["body"].to_string().contains("bytes left out"));
}

/// For models that write blocks too; and when that is not enough, the oldest turns go, and never the question.
#[test]
fn a_conversation_of_blocks_is_shortened_too() {
    let server = Server::start(&[]);
    let flood = json!({"text": "Let me see.\n```python\nprint('y' * 10**5)\n```"});
    let too_long = json!({"status": 400, "error": {"code": "context_length_exceeded", "message": "This model's maximum context length is 1"}});
    let model = Model::saying(&json!([
        flood, flood, too_long, too_long, too_long, {"text": "short enough"},
    ]));
    let ran = agent(
        &server,
        &model,
        "openai",
        &["the question itself", "--tools", "fenced", "--log-level", "warn"],
        b"",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "short enough\n"), "{ran:?}");
    assert!(
        ran.stderr.contains("old results are shortened") && ran.stderr.contains("oldest turns"),
        "{ran:?}"
    );
    let requests = model.requests();
    let bodies: Vec<String> = requests[2..6].iter().map(|request| request["body"].to_string()).collect();
    for pair in bodies.windows(2) {
        assert!(pair[1].len() < pair[0].len(), "{} {}", pair[1].len(), pair[0].len());
        assert!(pair[1].contains("the question itself"), "{}", pair[1]);
    }
    // Two tries were there: one is left, with the question before it.
    assert_eq!(requests[5]["body"]["messages"].as_array().unwrap().len(), 4);
    let model = Model::saying(&Value::from(vec![too_long; 3]));
    let ran = agent(&server, &model, "openai", &["?", "--tools", "fenced"], b"");
    assert!(ran.code == 1 && ran.stderr.contains("too long"), "{ran:?}");
    assert_eq!(model.requests().len(), 1, "there is nothing to leave out");
}

#[test]
fn a_review_that_cannot_be_read_lets_nothing_run() {
    let server = Server::start(&[]);
    let turns = json!([
        {"calls": [{"name": "run_code", "arguments": {"code": "print(1)"}}]},
        {"text": "yes, it is safe"},
        {"text": "{\"safe\": \"true\"}"},
        {"expect": ["[outcome: denied]", "could not be read"], "text": "then not"},
    ]);
    let ran = agent(&server, &Model::saying(&turns), "openai", &["?", "--review", "--format", "json"], b"");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["answer"], &report["usage"]["runs"]), (&"then not".into(), &0.into()));
}

#[test]
fn what_a_provider_has_no_word_for_is_rejected() {
    let server = Server::start(&[]);
    let model = Model::saying(&json!([]));
    let ran = agent(&server, &model, "anthropic", &["?", "--presence-penalty", "-1"], b"");
    assert!(ran.code == 2 && ran.stderr.contains("anthropic has no presence_penalty"), "{ran:?}");
    let ran = agent(&server, &model, "openai", &["?", "--temperature", "3"], b"");
    assert!(ran.code == 2 && ran.stderr.contains("from 0 to 2"), "{ran:?}");
}
