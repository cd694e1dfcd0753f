//! The static check over HTTP: findings without a run, findings with a result, denied runs, and AgentRun's own verdicts.

use super::tenancy::Tenancy;
use fireclay_tests::{Data, Server};
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

const TREE: &str = "true || rm -rf /; echo ran";

/// Outcome, and each rule with its verdict.
fn told(result: &Value) -> (&str, Vec<(&str, &str)>) {
    let findings = result["findings"].as_array().unwrap_or_else(|| panic!("{result}")).iter();
    let verdicts = findings.map(|one| (one["rule"].as_str().unwrap(), one["verdict"].as_str().unwrap()));
    (result["outcome"].as_str().unwrap(), verdicts.collect())
}

#[test]
fn rules_have_verdicts_of_their_own_in_runs_batches_and_sessions() {
    let server = Server::start(&[]);
    let denies = json!({"language": "bash", "code": TREE, "check_rules": {"tree.destroy": "deny"}});
    let quiet = json!({"language": "bash", "code": TREE, "check": "deny", "check_rules": {"tree.*": "off"}});
    let denied = ("denied", vec![("tree.destroy", "deny")]);
    assert_eq!(told(&server.post_json("/v1/runs", &denies).1), denied);
    assert_eq!(told(&server.post_json("/v1/runs", &quiet).1), ("completed", vec![]));
    let (_, session) = server.post_json("/v1/sessions", &json!({"template": "bash"}));
    let runs = format!("/v1/sessions/{}/runs", session["id"].as_str().unwrap());
    assert_eq!(told(&server.post_json(&runs, &denies).1), denied);
    assert_eq!(told(&server.post_json(&runs, &quiet).1), ("completed", vec![]));
    let wrong = json!({"language": "bash", "code": TREE, "check_rules": {"tree.destory": "deny"}});
    let (answers, _) = super::batches::batch(&server, "", &[denies, quiet, wrong.clone()]);
    let of = |index: usize| answers.iter().find(|answer| answer["index"] == index).unwrap();
    assert_eq!(told(&of(0)["run"]), denied);
    assert_eq!(of(1)["run"]["outcome"], "completed");
    assert!(of(2).to_string().contains("check_rules.tree.destory"), "{}", of(2));
    let (status, problem) = server.post_json("/v1/runs", &wrong);
    assert_eq!((status, &problem["field"]), (422, &json!("check_rules.tree.destory")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("\"tree.destroy\""), "{problem}");
    let asked = json!({"language": "bash", "code": TREE, "rules": {"tree.destroy": "warn"}});
    let (_, answer) = server.post_json("/v1/check", &asked);
    assert_eq!(
        (&answer["refused"], &answer["findings"][0]["verdict"]),
        (&json!(false), &json!("warn")),
        "{answer}"
    );
    let (status, problem) = server.post_json("/v1/check", &json!({"code": "", "rules": {"x": "deny"}}));
    assert_eq!((status, &problem["field"]), (422, &json!("rules.x")), "{problem}");
}

#[test]
fn settings_name_rules_and_what_they_enforce_no_request_loosens() {
    let rules = ["--set", "check.rules.tree.destroy=deny", "--set", "check.rules.network.*=off"];
    let free = Server::start(&rules);
    let run = |server: &Server, said: Value| {
        let mut body = json!({"language": "bash", "code": TREE});
        body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        server.post_json("/v1/runs", &body).1
    };
    assert_eq!(told(&run(&free, json!({}))), ("denied", vec![("tree.destroy", "deny")]));
    assert_eq!(told(&run(&free, json!({"check_rules": {"*": "warn"}}))).0, "completed");
    assert_eq!(told(&run(&free, json!({"check": "off"}))), ("completed", vec![]));
    let held = Server::start(&["--set", "check.mode=deny", "--set", "check.enforce=true"]);
    let both = vec![("check.enforced", "warn"), ("tree.destroy", "deny")];
    for less in [
        json!({"check": "off"}),
        json!({"check": "warn"}),
        json!({"check_rules": {"tree.destroy": "off"}}),
        json!({"check_policy": "agentrun", "check": "warn"}),
    ] {
        assert_eq!(told(&run(&held, less.clone())), ("denied", both.clone()), "{less}");
    }
    assert_eq!(told(&run(&held, json!({}))), ("denied", vec![("tree.destroy", "deny")]));
    let (_, harmless) =
        held.post_json("/v1/runs", &json!({"language": "bash", "code": "true", "check": "off"}));
    assert_eq!(told(&harmless), ("completed", vec![("check.enforced", "warn")]));
    // AgentRun's routes are no way around it.
    let asked = json!({"code": "import shutil\nshutil.rmtree('/')\nprint('ran')"});
    let route = Server::start(&[
        "--set",
        "agentrun.check=off",
        "--set",
        "check.mode=deny",
        "--set",
        "check.enforce=true",
    ]);
    let (_, answer) = route.post_json("/v1/run/", &asked);
    assert!(answer["output"].as_str().unwrap().starts_with("deletes or overwrites"), "{answer}");
    let wrong = Server::try_start_in(&Data::fresh(), &["--set", "check.rules.tree.destory=deny"]);
    let wrong = wrong.err().unwrap_or_default();
    assert!(wrong.contains("tree.destory") && wrong.contains("\"tree.destroy\""), "{wrong}");
}

#[test]
fn a_tenants_record_is_over_the_settings_and_may_enforce() {
    let tenancy = Tenancy::start();
    let Tenancy { admin, a, b, .. } = &tenancy;
    let put =
        |check: Value| tenancy.tell(admin, "PUT", "/v1/quotas/a", &json!({"ceiling": {}, "check": check}));
    let run = |key: &str, said: Value| {
        let mut body = json!({"language": "bash", "code": TREE});
        body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        tenancy.tell(key, "POST", "/v1/runs", &body).1
    };
    let (status, quota) = put(json!({"mode": "deny", "policy": "strict", "enforce": true}));
    assert_eq!((status, &quota["quota"]["check"]["mode"]), (200, &json!("deny")), "{quota}");
    let denied = ("denied", vec![("check.enforced", "warn"), ("tree.destroy", "deny")]);
    assert_eq!(told(&run(a, json!({"check": "off"}))), denied);
    // In sessions, too.
    let (_, session) = tenancy.tell(a, "POST", "/v1/sessions", &json!({"template": "bash"}));
    let runs = format!("/v1/sessions/{}/runs", session["id"].as_str().unwrap());
    let (_, result) = tenancy.tell(a, "POST", &runs, &json!({"code": TREE, "check": "off"}));
    assert_eq!(told(&result), denied);
    // Another tenant is not held to it.
    assert_eq!(told(&run(b, json!({"check": "off"}))), ("completed", vec![]));
    // It is not the tenant's to change, and holds until it is changed.
    assert_eq!(tenancy.tell(a, "PUT", "/v1/quotas/a", &json!({"ceiling": {}})).0, 403);
    assert_eq!(put(json!({"rules": {"tree.destroy": "deny"}})).0, 200);
    assert_eq!(told(&run(a, json!({}))), ("denied", vec![("tree.destroy", "deny")]));
    assert_eq!(told(&run(a, json!({"check": "off"}))), ("completed", vec![]));
    let (status, problem) = put(json!({"rules": {"tree.destory": "deny"}}));
    assert_eq!((status, &problem["field"]), (422, &json!("check.rules.tree.destory")), "{problem}");
    assert_eq!(put(json!({"mood": "deny"})).0, 422);
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
