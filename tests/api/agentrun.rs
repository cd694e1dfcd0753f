//! AgentRun's callers change nothing but the address: every captured answer is ours, and its documented examples run unchanged.

use fireclay_tests::{Server, image};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The page that the captured service lets in.
const PAGE: &str = "http://page.example";
const JSON: (&str, &str) = ("content-type", "application/json");

fn captured() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("api/examples/agentrun")
}

fn run(server: &Server, code: &str) -> (u16, Value) {
    server.post_json("/v1/run/", &json!({"code": code}))
}

#[test]
fn every_captured_answer_is_ours() {
    // Captured from its HTTP layer alone, without its check.
    let cors = format!("agentrun.cors_origins=[\"{PAGE}\"]");
    let server = Server::start(&["--set", &cors, "--set", "agentrun.check=off"]);
    let mut cases = 0;
    for entry in fs::read_dir(captured()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let list: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for case in list.as_array().unwrap() {
            answers_as_captured(&server, case);
            cases += 1;
        }
    }
    assert!(cases > 100, "only {cases} cases were found");
}

fn answers_as_captured(server: &Server, case: &Value) {
    let (name, request, wanted) = (&case["name"], &case["request"], &case["response"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = request["headers"].as_object().unwrap();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let body = match request["base64"].as_str() {
        Some(coded) => model::base64::decode(coded).unwrap(),
        None => text(&request["body"]).into_bytes(),
    };
    let answer = server.send(&text(&request["method"]), &text(&request["path"]), &headers, &body);
    assert_eq!(answer.status, wanted["status"], "{name}");
    assert_eq!(String::from_utf8(answer.body.clone()).unwrap(), wanted["body"], "{name}");
    for header in ["content-type", "allow", "location", "vary"] {
        let told = answer.header(header).replace(&server.url("/"), "http://host/");
        assert_eq!(told, wanted["headers"][header].as_str().unwrap_or_default(), "{name}: {header}");
    }
    for end in ["allow-origin", "allow-methods", "allow-headers", "allow-credentials", "max-age"] {
        let header = format!("access-control-{end}");
        assert_eq!(
            answer.header(&header),
            wanted["headers"][&header].as_str().unwrap_or_default(),
            "{name}: {header}"
        );
    }
}

#[test]
fn a_traceback_names_the_script_where_agentrun_has_it() {
    let server = Server::start(&["--set", "agentrun.check=off"]);
    let (status, answer) = run(&server, "print('before')\nprint(__file__)\n1/0");
    let output = answer["output"].as_str().unwrap();
    let script = output.lines().nth(1).unwrap();
    let hex = script.strip_prefix("/code/script_").and_then(|rest| rest.strip_suffix(".py")).unwrap();
    assert!(hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{script}");
    let begin = format!(
        "before\n{script}\nTraceback (most recent call last):\n  File \"{script}\", line 3, in <module>\n"
    );
    assert!(
        output.starts_with(&begin) && output.ends_with("ZeroDivisionError: division by zero\n"),
        "{output}"
    );
    assert_eq!(status, 200);
}

#[test]
fn what_takes_too_long_says_so_and_nothing_else() {
    // The ceiling is what makes 300 s short enough to be waited for.
    let server = Server::start(&["--set", "ceiling.timeout_ms=300ms"]);
    let answer = run(&server, "print('partial', flush=True)\nwhile True: pass");
    assert_eq!(answer, (200, json!({"output": "Execution timed out."})));
}

#[test]
fn it_is_a_run_like_any_other() {
    let server = Server::start(&[]);
    assert_eq!(run(&server, "print(1)").0, 200);
    let (_, listed) = server.get_json("/v1/runs?metadata=api%3Dagentrun");
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert_eq!(server.settled(id).stdout, "1\n");
}

#[test]
fn a_program_killed_for_its_memory_answers_what_it_wrote() {
    let server = Server::start(&["--set", "agentrun.check=off"]);
    let answer = run(&server, "import os\nos.write(1, b'begun')\nx = b'x' * (3 << 30)\nprint('never')");
    let output = answer.1["output"].as_str().unwrap();
    assert!(answer.0 == 200 && output.starts_with("begun") && !output.contains("never"), "{answer:?}");
}

#[test]
fn half_a_pair_and_a_number_that_is_none_are_refused_not_failed_at() {
    let server = Server::start(&["--set", "agentrun.check=off"]);
    let refused = |body: &str| {
        let (status, answer) = server.send("POST", "/v1/run/", &[JSON], body.as_bytes()).into_json();
        (status, answer["detail"][0]["type"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused(r#"{"code":"\ud800"}"#), (422, "string_unicode".to_owned()));
    assert_eq!(refused(r#"{"code":NaN}"#), (422, "string_type".to_owned()));
    assert_eq!(refused(&"[".repeat(100_000)), (400, String::new()));
    let long = format!(r#"{{"code":"{}"}}"#, "#".repeat((4 << 20) + 1));
    assert_eq!(refused(&long), (422, "value_error".to_owned()));
}

#[test]
fn a_foreign_page_gets_nothing_and_may_ask_for_nothing() {
    let server = Server::start(&["--set", &format!("agentrun.cors_origins=[\"{PAGE}\"]")]);
    let evil = ("origin", "http://evil.example");
    let asks = ("access-control-request-method", "POST");
    let preflight = server.send("OPTIONS", "/v1/run/", &[evil, asks], b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (403, ""));
    let call = server.send("POST", "/v1/run/", &[evil], br#"{"code":"print(1)"}"#);
    assert_eq!((call.status, call.header("access-control-allow-origin")), (403, ""));
    // The page that AgentRun's routes let in is let in nowhere else.
    let page = ("origin", PAGE);
    let elsewhere = server.send("POST", "/v1/runs", &[page, JSON], br#"{"code":"print(1)"}"#);
    assert_eq!((elsewhere.status, elsewhere.header("access-control-allow-origin")), (403, ""));
    let preflight = server.send("OPTIONS", "/v1/runs", &[page, asks], b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (403, ""));
}

#[test]
fn all_else_is_ours_and_the_routes_can_be_off() {
    let server = Server::start(&[]);
    for path in ["/v1/run//", "/v1/running", "/v1/health/x"] {
        let answer = server.send("POST", path, &[JSON], b"{}");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
    }
    let off = Server::start(&["--set", "agentrun.enabled=false"]);
    for path in ["/v1/run/", "/v1/run", "/v1/health/", "/v1/health"] {
        let answer = off.send("POST", path, &[JSON], br#"{"code":""}"#);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
    }
}

/// The `curl` line and the `requests` function of AgentRun's README, word for word but for the address. The README's line escapes
/// quotes inside single quotes, which no shell takes; bash's `$'…'` does.
#[test]
fn the_examples_of_its_readme_run_unchanged() {
    let server = Server::start(&[]);
    let line = format!(
        r#"curl -s -X POST {} -H "Content-Type: application/json" -d $'{{"code": "print(\'hello, world!\')"}}'"#,
        server.url("/v1/run/")
    );
    let ran = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), r#"{"output":"hello, world!\n"}"#, "{ran:?}");

    let script = format!(
        r#"
import requests

def execute_python_code(code: str) -> str:
    response = requests.post("{}", json={{"code": code}})
    output = response.json()["output"]
    return output

print(execute_python_code("print('hello, world!')"), end="")
print(requests.post("{}", json={{"code": "print(2)"}}).json()["output"], end="")
print(requests.post("{}", data='{{"code": "print(3)"}}').json()["output"], end="")
"#,
        server.url("/v1/run/"),
        server.url("/v1/run"),
        server.url("/v1/run/")
    );
    let ran = Command::new(python_with_requests()).args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hello, world!\n2\n3\n", "{ran:?}");
}

/// A Python that has `requests`, from PyPI; made once and kept beside the image.
fn python_with_requests() -> PathBuf {
    let place = image().parent().unwrap().join("test-requests");
    let python = place.join("bin/python");
    let does = |program: &Path, args: &[&str]| {
        let ran = Command::new(program).args(args).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    if !place.join("made").exists() {
        does(Path::new("python3"), &["-m", "venv", place.to_str().unwrap()]);
        does(&python, &["-m", "pip", "install", "--quiet", "requests==2.34.2"]);
        fs::write(place.join("made"), "").unwrap();
    }
    python
}
