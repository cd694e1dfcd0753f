//! What a service writes to standard error: JSON where nobody looks, text on a terminal, the id of a request in each line about it, and no line that
//! a caller wrote.

use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::process::Command;

/// The lines of requests, in order.
fn requests(server: &Server) -> Vec<Value> {
    let said = server.data.said();
    let lines =
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines.filter(|line: &Value| line["message"] == "request").collect()
}

#[test]
fn each_line_is_json_and_names_its_request() {
    let server = Server::start(&["--set", "log.requests=all"]);
    let named = server.send("GET", "/healthz", &[("x-request-id", "mine-1")], b"");
    assert_eq!(named.header("x-request-id"), "mine-1");
    let unnamed = [server.send("GET", "/version", &[], b""), server.send("GET", "/nothing", &[], b"")];
    let ids: Vec<String> = unnamed.iter().map(|answer| answer.header("x-request-id").to_owned()).collect();
    assert!(ids.iter().all(|id| id.len() == 16) && ids[0] != ids[1], "{ids:?}");
    let lines = requests(&server);
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["request"].as_str().unwrap(),
                line["path"].as_str().unwrap(),
                line["status"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [("mine-1", "/healthz", 200), (&ids[0], "/version", 200), (&ids[1], "/nothing", 404)]);
    for line in lines {
        assert!(line["time"].as_str().unwrap().ends_with('Z') && line["duration_ms"].is_number(), "{line}");
        assert_eq!((&line["level"], &line["method"]), (&json!("info"), &json!("GET")));
    }
}

#[test]
fn nobody_writes_a_line_of_theirs() {
    let server = Server::start(&["--set", "log.requests=all"]);
    let forged = r#"%0A{"level":"error","message":"forged"}"#.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    for path in
        [format!("/v1/runs/{forged}"), "/%1B%5B2J%0D%0Aforged".to_owned(), format!("/console/login{forged}")]
    {
        server.send("GET", &path, &[("x-request-id", "x\t{forged}"), ("user-agent", "forged\tagent")], b"");
    }
    let body = json!({"language": "python", "code": "import sys\nprint('forged\\n{\"message\":\"forged\"}', file=sys.stderr)",
        "metadata": {"name": "forged\n{\"message\":\"forged\"}"}, "files": [{"path": "forged\n.txt", "content": "x"}]});
    server.post_json("/v1/runs", &body);
    server.post_json("/console/login", &json!({"key": "forged\n{\"message\":\"forged\"}"}));
    let said = server.data.said();
    assert!(said.lines().count() >= 5, "{said}");
    for line in said.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let line: Value = serde_json::from_str(line).unwrap();
        assert_ne!(line["message"], "forged", "{line}");
        assert_ne!(line["level"], "error", "{line}");
        assert!(!line["request"].as_str().unwrap_or_default().contains("forged"), "{line}");
    }
}

#[test]
fn only_failures_of_ours_are_told_unless_more_is_wanted() {
    let server = Server::start(&[]);
    server.get("/nothing");
    server.post_json("/v1/runs", &json!({"language": "python", "code": "1/0"}));
    assert_eq!(requests(&server), Vec::<Value>::new());
}

#[test]
fn on_a_terminal_it_is_text() {
    let data = Data::fresh();
    let serve = data.command(&["serve", "--listen", "127.0.0.1:0", "--set", "log.requests=all"]);
    let mut command = Command::new("python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/api/log_terminal.py"))
        .arg(serve.get_program())
        .args(serve.get_args());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    let line = shown.lines().find(|line| line.contains("/a%0Ab")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.starts_with("fireclay: request ") && line.contains("(request r-1)"), "{shown}");
}
