//! The review over HTTP: `POST /v1/review`, and the field `review` of any run.

use super::KEY;
use super::model::Model;
use crate::api::mcp::Pipes;
use fireclay_tests::run::feed;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

/// A service whose model is this one. Its key is where `fireclay secret set` keeps keys.
pub fn with(model: &Model, args: &[&str]) -> Server {
    let data = Data::fresh();
    let kept = feed(&mut data.command(&["secret", "set", "OPENAI_API_KEY"]), KEY.as_bytes());
    assert_eq!(kept.code, 0, "{kept:?}");
    let base_url = format!("model.base_url={}", model.base_url("openai"));
    Server::start_in(&data, &[&["--set", "model.name=openai:gpt-5-mini", "--set", &base_url], args].concat())
}

fn verdict(safe: bool, reasons: &[&str]) -> Value {
    json!({"text": json!({"safe": safe, "reasons": reasons}).to_string()})
}

#[test]
fn without_a_model_the_rejection_says_how_to_get_one() {
    let server = Server::start(&[]);
    let program = json!({"language": "python", "code": "print(1)"});
    let (status, problem) = server.post_json("/v1/review", &program);
    assert_eq!((status, &problem["field"]), (422, &json!("review")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("model.name"), "{problem}");
    let asked = json!({"language": "python", "code": "print(1)", "review": true});
    let (status, problem) = server.post_json("/v1/runs", &asked);
    assert_eq!((status, &problem["field"]), (422, &json!("review")), "{problem}");
    assert_eq!(server.get_json("/v1/runs").1["items"], json!([]));
    let (status, result) = server.post_json("/v1/runs", &program);
    assert_eq!((status, &result["outcome"]), (200, &json!("completed")), "{result}");
}

#[test]
fn what_the_model_finds_unsafe_is_denied_wherever_it_is_to_run() {
    let unsafe_code = "import shutil; shutil.rmtree('/workspace')";
    let model = Model::saying(&json!([
        verdict(false, &["it deletes everything"]),
        verdict(true, &[]),
        {"expect": ["helper.py", "os.fork"], "text": verdict(false, &["it forks"])["text"]},
    ]));
    let server = with(&model, &[]);
    let program = json!({"language": "python", "code": unsafe_code});
    let (status, said) = server.post_json("/v1/review", &program);
    assert_eq!((status, &said["safe"], &said["model"]), (200, &json!(false), &json!("openai:gpt-5-mini")));
    assert_eq!(said["reasons"], json!(["it deletes everything"]), "{said}");
    // The same program is read once: as a run, in a batch and in a session.
    let run = json!({"language": "python", "code": unsafe_code, "review": true});
    let (status, result) = server.post_json("/v1/runs", &run);
    assert_eq!((status, &result["outcome"], &result["stdout"]), (200, &json!("denied"), &json!("")));
    let (_, list) = server.get_json(&format!("/v1/traces?of={}", result["id"].as_str().unwrap()));
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", list["items"][0]["id"].as_str().unwrap()));
    let children = trace["tree"][0]["children"].as_array().unwrap();
    assert!(children.iter().any(|span| span["name"] == "review"), "{trace}");
    let of_review = result["findings"].as_array().unwrap().iter().find(|found| found["rule"] == "review");
    assert_eq!(of_review.unwrap()["reason"], "it deletes everything", "{result}");
    let (_, session) = server.post_json("/v1/sessions", &json!({}));
    let path = format!("/v1/sessions/{}/runs", session["id"].as_str().unwrap());
    let (status, result) = server.post_json(&path, &run);
    assert_eq!((status, &result["outcome"]), (200, &json!("denied")), "{result}");
    let lines = server.send(
        "POST",
        "/v1/batches",
        &[("content-type", "application/x-ndjson")],
        run.to_string().as_bytes(),
    );
    assert!(lines.text().contains("\"outcome\":\"denied\""), "{lines:?}");
    assert_eq!(model.requests().len(), 1);
    let safe = json!({"language": "python", "code": "print(6 * 7)", "review": true});
    let (_, result) = server.post_json("/v1/runs", &safe);
    assert_eq!((&result["outcome"], &result["stdout"]), (&json!("completed"), &json!("42\n")), "{result}");
    // Code in a file is read too.
    let file = json!({"path": "helper.py", "text": "import os\nwhile True: os.fork()"});
    let (_, result) = server.post_json(
        "/v1/runs",
        &json!({"language": "python", "code": "import helper", "files": [file], "review": true}),
    );
    assert_eq!(result["outcome"], "denied", "{result}");
    assert_eq!(model.requests().len(), 3);
}

#[test]
fn a_verdict_that_is_none_refuses_and_a_provider_that_fails_is_no_verdict() {
    let refused = json!({"status": 401, "error": {"message": format!("Incorrect API key provided: {KEY}")}});
    let model = Model::saying(&json!([{"text": "looks fine to me"}, {"text": "{}"}, refused]));
    let server = with(&model, &[]);
    let (status, said) = server.post_json("/v1/review", &json!({"language": "python", "code": "1"}));
    assert_eq!((status, &said["safe"]), (200, &json!(false)), "{said}");
    let (status, problem) =
        server.post_json("/v1/runs", &json!({"language": "python", "code": "2", "review": true}));
    assert_eq!((status, &problem["retry_safe"]), (503, &json!(false)), "{problem}");
    assert!(!problem.to_string().contains("API key"), "{problem}");
    let log = server.data.said();
    assert!(log.contains("refuses the key") && !log.contains(KEY), "{log}");
}

#[test]
fn the_command_line_asks_for_a_review_too() {
    let model = Model::saying(&json!([verdict(false, &["it counts"]), verdict(true, &[])]));
    let server = with(&model, &[]);
    let run = |data: &Data, code: &str| feed(&mut data.command(&["run", "--review", "-c", code]), b"");
    let ran = run(&server.data, "print(1)");
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
    assert!(ran.stderr.contains("it counts"), "{ran:?}");
    let ran = run(&server.data, "print(2)");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "2\n"), "{ran:?}");
    let ran = run(&Data::fresh(), "print(3)");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("model.name"), "{ran:?}");
}

#[test]
fn a_service_does_not_start_with_a_model_that_it_cannot_ask() {
    let data = Data::fresh();
    let wrong = |setting: &str| Server::try_start_in(&data, &["--set", setting]).err().unwrap_or_default();
    assert!(wrong("model.name=groq").contains("set GROQ_API_KEY"));
    assert!(wrong("model.name=nobody").contains("there is no provider"));
    let with_password = ["--set", "model.name=ollama", "--set", "model.base_url=http://me:word@127.0.0.1/v1"];
    assert!(
        Server::try_start_in(&data, &with_password)
            .err()
            .unwrap_or_default()
            .contains("no place for a secret")
    );
}

/// The model that writes code asks for it, or whoever set the tool up; what those said, it cannot take back.
#[test]
fn code_of_an_mcp_client_is_checked_and_reviewed() {
    let (harmful, plain) = ("import shutil; shutil.rmtree('/')", "print('plain')");
    let model = Model::saying(&json!([
        verdict(false, &["it says too little"]),
        verdict(true, &[]),
        verdict(false, &["it is the same again"]),
    ]));
    let server = with(&model, &[]);
    let text = |said: Value| said["content"][0]["text"].as_str().unwrap().to_owned();
    let mut free = Pipes::start(&server.data, &[]);
    // Nothing is asked for: it runs. The sandbox is what holds it.
    assert!(!text(free.call(&json!({"code": harmful, "session": "fresh"}))).contains("denied"));
    assert!(text(free.call(&json!({"code": harmful, "check": "deny"}))).contains("denied"));
    let by_rule = json!({"code": "import socket", "check_rules": {"network.*": "deny"}});
    assert!(text(free.call(&by_rule)).contains("uses the network"));
    let by_policy = json!({"code": "import socket", "check": "deny", "check_policy": "strict"});
    assert!(text(free.call(&by_policy)).contains("uses the network"));
    let reviewed = text(free.call(&json!({"code": plain, "review": true})));
    assert!(reviewed.contains("denied") && reviewed.contains("it says too little"), "{reviewed}");
    let mut bound = Pipes::start(&server.data, &["--check", "deny", "--review"]);
    for session in ["bound", "fresh"] {
        let asked = json!({"code": harmful, "check": "off", "review": false, "session": session,
            "check_rules": {"*": "off"}, "check_policy": "agentrun"});
        assert!(text(bound.call(&asked)).contains("denied"), "{session}");
    }
    assert_eq!(text(bound.call(&json!({"code": "print('good')"}))), "good\n");
    let again = text(bound.call(&json!({"code": "print('again')", "session": "fresh"})));
    assert!(again.contains("it is the same again"), "{again}");
    assert_eq!(model.requests().len(), 3);
    free.end();
    bound.end();
}
