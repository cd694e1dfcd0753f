//! The static check over HTTP: findings without a run, findings with a result, denied runs, and AgentRun's own verdicts.

use fireclay_tests::Server;
use serde_json::{Value, json};

fn rules(findings: &Value) -> Vec<&str> {
    findings.as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

#[test]
fn a_program_is_checked_without_a_run() {
    let server = Server::start(&[]);
    let (status, answer) = server
        .post_json("/v1/check", &json!({"language": "python", "code": "import shutil\nshutil.rmtree('/')"}));
    assert_eq!((status, &answer["refused"]), (200, &json!(true)), "{answer}");
    let finding = &answer["findings"][0];
    assert_eq!(
        (&finding["rule"], &finding["severity"], &finding["line"], &finding["column"]),
        (&json!("tree.destroy"), &json!("high"), &json!(2), &json!(1))
    );
    let (_, listed) = server.get_json("/v1/runs");
    assert_eq!(listed["items"], json!([]));
    let (status, _) = server.post_json("/v1/check", &json!({"code": "", "language": "python", "x": 1}));
    assert_eq!(status, 422);
}

#[test]
fn findings_come_with_the_result_unless_the_check_is_off() {
    let server = Server::start(&[]);
    let run = |check: Value| {
        let body = json!({"language": "bash", "code": "true || rm -rf /; echo ran", "check": check});
        let (status, result) = server.post_json("/v1/runs", &body);
        assert_eq!((status, &result["stdout"]), (200, &json!("ran\n")), "{result}");
        result
    };
    assert_eq!(rules(&run(json!("warn"))["findings"]), ["tree.destroy"]);
    assert_eq!(rules(&run(Value::Null)["findings"]), ["tree.destroy"]);
    assert_eq!(run(json!("off"))["findings"], json!([]));
}

#[test]
fn a_denied_run_is_recorded_and_never_runs() {
    let server = Server::start(&[]);
    let body = json!({"language": "bash", "code": "echo ran; rm -rf /", "check": "deny"});
    let (status, result) = server.post_json("/v1/runs", &body);
    assert_eq!(
        (status, &result["outcome"], &result["stdout"]),
        (200, &json!("denied"), &json!("")),
        "{result}"
    );
    assert_eq!(rules(&result["findings"]), ["tree.destroy"]);
    let (status, stored) = server.get_json(&format!("/v1/runs/{}", result["id"].as_str().unwrap()));
    assert_eq!(
        (status, &stored["outcome"], &stored["findings"]),
        (200, &json!("denied"), &result["findings"])
    );
}

#[test]
fn the_service_says_what_is_done_when_a_run_does_not() {
    let server = Server::start(&["--set", "check.mode=deny", "--set", "check.policy=strict"]);
    let run = |body: Value| server.post_json("/v1/runs", &body).1["outcome"].clone();
    let code = "import socket\nprint(1)";
    assert_eq!(run(json!({"language": "python", "code": code})), "denied");
    assert_eq!(run(json!({"language": "python", "code": code, "check_policy": "default"})), "completed");
    assert_eq!(run(json!({"language": "python", "code": code, "check": "warn"})), "completed");
}

/// Verdicts and messages of agentrun 0.2.5 itself.
#[test]
fn agentruns_routes_refuse_in_its_own_words() {
    let server = Server::start(&[]);
    for (code, wanted) in [
        ("import os", "Unsafe module import: os"),
        ("open('x')", "Unsafe function call: open"),
        ("eval('1')", "Use of dangerous built-in function: eval"),
        ("print('a'", "Syntax error: '(' was never closed (<unknown>, line 1)"),
        (
            "x: int = 1",
            "RestrictedPython detected an unsafe pattern: ('Line 1: AnnAssign statements are not allowed.',)",
        ),
    ] {
        let answer = server.post_json("/v1/run/", &json!({"code": code}));
        assert_eq!(answer, (200, json!({"output": wanted})));
    }
    assert_eq!(server.post_json("/v1/run/", &json!({"code": "print(1+1)"})), (200, json!({"output": "2\n"})));
    let off = Server::start(&["--set", "agentrun.check=off"]);
    assert_eq!(
        off.post_json("/v1/run/", &json!({"code": "import os\nprint(1)"})),
        (200, json!({"output": "1\n"}))
    );
}
