//! `/v1/chat/completions` and `/v1/responses` without a client of OpenAI's: what is refused, what ends, and what nobody is told. Its own client is in
//! sdk/python/tests/test_chat.py and test_responses.py.

use super::KEY;
use super::model::Model;
use super::reviews::with;
use fireclay_tests::run::feed;
use fireclay_tests::server::PATIENCE;
use fireclay_tests::{Data, Server, http};
use serde_json::{Value, json};
use std::time::Instant;

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn asked() -> Value {
    json!({"model": "default", "messages": [{"role": "user", "content": "?"}]})
}

fn runs(code: &str) -> Value {
    json!([{"name": "run_code", "arguments": {"code": code}}])
}

#[test]
fn errors_have_openais_shape_also_before_anything_is_asked() {
    let server = Server::start(&[]);
    let error = |(status, body): (u16, Value)| {
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
        (status, body["error"]["param"].clone())
    };
    assert_eq!(error(server.post_json(CHAT, &asked())), (400, json!("model")), "there is no model");
    let json = [("content-type", "application/json")];
    for path in [CHAT, RESPONSES] {
        assert_eq!(error(server.get_json(path)).0, 405);
        assert_eq!(error(server.send("POST", path, &[], b"{}").into_json()).0, 415);
        assert_eq!(error(server.send("POST", path, &json, b"{").into_json()).0, 400);
        assert_eq!(error(server.post_json_with(path, &[("authorization", "Bearer fc_no")], &asked())).0, 401);
    }
    let model = Model::saying(&json!([]));
    let server = with(&model, &["--set", "model.any=false"]);
    let other = json!({"model": "gpt-9", "messages": asked()["messages"]});
    assert_eq!(error(server.post_json(CHAT, &other)), (400, json!("model")));
    assert_eq!(model.requests().len(), 0);
}

#[test]
fn the_models_own_words_reach_a_sandbox_and_its_keys_nobody() {
    let code = "import os; print(dict(os.environ)); print('sk-test-' + '51Hq9Zk2Lw8Vb4Xc')";
    let turns = json!([
        {"calls": runs(code)},
        {"expect": ["[redacted]"], "calls": [{"name": "run_code", "arguments_text": "{\"code\": "}]},
        {"expect": ["whole JSON"], "calls": runs("raise SystemExit(3)")},
        {"expect": ["exit code 3"], "text": "done"},
    ]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let (status, answer) = server.post_json(CHAT, &asked());
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("done")), "{answer}");
    for request in model.requests() {
        assert!(!request["body"].to_string().contains(KEY), "{request}");
        assert_eq!(request["headers"]["authorization"], format!("Bearer {KEY}"));
        assert_eq!(request["body"]["model"], "gpt-5-mini");
    }
    assert!(!server.data.said().contains(KEY));
    // The session was opened for this request, and ends with it.
    let session = answer["choices"][0]["fireclay"]["session"].as_str().unwrap().to_owned();
    let until = Instant::now() + PATIENCE;
    while server.get_json(&format!("/v1/sessions/{session}")).1["state"] != "ended" {
        assert!(Instant::now() < until, "the session stays");
        std::thread::yield_now();
    }
}

#[test]
fn code_that_the_check_denies_goes_back_to_the_model() {
    let turns = json!([{"calls": runs("import shutil\nshutil.rmtree('/')")}, {"expect": ["denied"], "text": "I may not."}]);
    let model = Model::saying(&turns);
    let server = with(&model, &["--set", "check.mode=deny"]);
    let (status, answer) = server.post_json(CHAT, &asked());
    assert_eq!(
        (status, &answer["choices"][0]["message"]["content"]),
        (200, &json!("I may not.")),
        "{answer}"
    );
}

#[test]
fn each_budget_ends_a_request_by_its_name() {
    for (setting, limit) in
        [("model.turns=1", "turns"), ("model.tokens=100", "tokens"), ("model.runs=0", "runs")]
    {
        let model = Model::of("endless");
        let server = with(&model, &["--set", setting]);
        let (status, answer) = server.post_json(CHAT, &asked());
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(limit)), "{answer}");
        assert_eq!(answer["error"]["type"], "budget_exceeded");
    }
    // A run has the time that is left, so that there may be a little after it.
    let model = Model::saying(&Value::from(vec![json!({"calls": runs("import time; time.sleep(600)")}); 20]));
    let server = with(&model, &["--set", "model.time_ms=1s"]);
    let (status, answer) = server.post_json(CHAT, &asked());
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("time")), "{answer}");
}

#[test]
fn a_client_that_leaves_ends_what_it_asked_for() {
    let turns = json!([{"text": "I wait.", "calls": runs("import time; time.sleep(600)")}]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let mut body = asked();
    body["stream"] = true.into();
    let headers = [("content-type", "application/json")];
    let stream = http::stream("POST", &server.url(CHAT), &headers, body.to_string().as_bytes());
    let until = Instant::now() + PATIENCE;
    let first = || server.get_json("/v1/runs").1["items"][0].clone();
    while first()["state"] != "running" {
        assert!(Instant::now() < until, "{}", first());
        std::thread::yield_now();
    }
    drop(stream);
    while first()["outcome"] != "cancelled" {
        assert!(Instant::now() < until, "{}", first());
        std::thread::yield_now();
    }
}

#[test]
fn an_answer_is_remembered_for_its_own_tenant_if_it_may_be() {
    let turns = json!([{"text": "one"}, {"text": "two"}, {"text": "three"}]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let first =
        server.post_json(RESPONSES, &json!({"input": "a", "instructions": "of this request alone"})).1;
    let second = server
        .post_json(RESPONSES, &json!({"input": "b", "previous_response_id": first["id"], "store": false}))
        .1;
    assert_eq!(second["output"][0]["content"][0]["text"], "two", "{second}");
    let said = model.requests()[1]["body"]["messages"].clone();
    let said: Vec<&str> =
        said.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["a", "one", "b"]);
    let (status, forgotten) =
        server.post_json(RESPONSES, &json!({"input": "c", "previous_response_id": second["id"]}));
    assert_eq!((status, &forgotten["error"]["param"]), (400, &json!("previous_response_id")), "{forgotten}");
    let (status, admin) = server.post_json("/v1/keys", &json!({"role": "admin"}));
    assert_eq!(status, 201, "{admin}");
    let bearer = format!("Bearer {}", admin["key"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let (_, other) =
        server.post_json_with("/v1/keys", &headers, &json!({"role": "tenant", "tenant": "other"}));
    let bearer = format!("Bearer {}", other["key"].as_str().unwrap());
    let asked = json!({"input": "c", "previous_response_id": first["id"]});
    let (status, strange) = server.post_json_with(RESPONSES, &[("authorization", &bearer)], &asked);
    assert_eq!((status, &strange["error"]["param"]), (400, &json!("previous_response_id")), "{strange}");
}

/// Those whose own format is another take chat completions beside it.
#[test]
fn every_provider_takes_chat_completions() {
    let calls = json!([{"name": "run_code", "arguments": {"code": "print(6 * 7)"}}]);
    for (provider, path, variable) in [
        ("anthropic", "/v1/chat/completions", "ANTHROPIC_API_KEY"),
        ("gemini", "/v1beta/openai/chat/completions", "GEMINI_API_KEY"),
        ("openai-responses", "/v1/chat/completions", "OPENAI_API_KEY"),
    ] {
        let data = Data::fresh();
        let kept = feed(&mut data.command(&["secret", "set", variable]), KEY.as_bytes());
        assert_eq!(kept.code, 0, "{kept:?}");
        let model = Model::saying(&json!([{"calls": calls}, {"expect": ["42"], "text": "It is 42."}]));
        let base_url = format!("model.base_url={}", model.base_url(provider));
        let name = format!("model.name={provider}");
        let server = Server::start_in(&data, &["--set", &name, "--set", &base_url]);
        let (status, answer) = server.post_json(CHAT, &asked());
        assert_eq!(status, 200, "{provider}: {answer}");
        assert_eq!(answer["choices"][0]["message"]["content"], "It is 42.", "{provider}: {answer}");
        for request in model.requests() {
            assert_eq!(request["path"], path, "{provider}");
            assert_eq!(request["headers"]["authorization"], format!("Bearer {KEY}"), "{provider}");
        }
    }
}

#[test]
fn a_stranger_learns_nothing_of_a_conversation() {
    let weather = json!([{"name": "run_code", "arguments": {"code": "print('a secret of one')"}}, {"name": "weather", "arguments": {}}]);
    let turns = json!([{"calls": weather}, {"expect": ["rainy"], "text": "as told"}]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let tool = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]);
    let key = |tenant: &str, admin: &str| {
        let headers = [("authorization", format!("Bearer {admin}"))];
        let headers: Vec<_> = headers
            .iter()
            .filter(|_| !admin.is_empty())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (status, made) = server.post_json_with(
            "/v1/keys",
            &headers,
            &json!({"role": if admin.is_empty() { "admin" } else { "tenant" }, "tenant": tenant}),
        );
        assert_eq!(status, 201, "{made}");
        made["key"].as_str().unwrap().to_owned()
    };
    let admin = key("one", "");
    let other = key("two", &admin);
    let ask = |key: &str, messages: Value| {
        let bearer = format!("Bearer {key}");
        let body = json!({"model": "default", "messages": messages, "tools": tool});
        let (status, answer) = server.post_json_with(CHAT, &[("authorization", &bearer)], &body);
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"].clone()
    };
    let question = json!({"role": "user", "content": "?"});
    let said = ask(&admin, json!([question]));
    assert_eq!(said["tool_calls"].as_array().unwrap().len(), 1);
    let result = json!({"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "rainy"});
    // Another tenant with the very ids gets what it sent, and no more.
    ask(&other, json!([question, said, result]));
    assert!(!model.requests()[1]["body"].to_string().contains("a secret of one"));
}
