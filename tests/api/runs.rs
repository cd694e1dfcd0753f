//! `/v1/runs`: submit, list, look at, take back or forget.

use fireclay_tests::Server;
use model::{Language, Limit, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A program that ends only when it is ended.
pub const ENDLESS: &str = "while :; do :; done";

fn bash(code: &str) -> Value {
    json!({"language": "bash", "code": code})
}

#[test]
fn a_submitted_run_is_answered_settled_or_at_once_or_as_a_stream() {
    let server = Server::start(&[]);
    let request = json!({"language": "python", "code": "print(6 * 7)"});
    let (status, waited) = server.post_json("/v1/runs", &request);
    assert_eq!((status, &waited["state"], &waited["stdout"]), (200, &json!("settled"), &json!("42\n")));
    let id = server.submit(&request);
    assert_eq!(server.settled(&id).stdout, "42\n");
    let streamed: Vec<_> = server.stream(&request).collect();
    let last = streamed.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["stdout"]), ("settled", &json!("42\n")));
    // What a waiting client was told is what is kept, byte for byte.
    let kept = server.get_json(&format!("/v1/runs/{}", waited["id"].as_str().unwrap()));
    assert_eq!(kept, (200, waited));
}

#[test]
fn every_name_of_a_language_is_understood_and_answered_with_its_own() {
    let server = Server::start(&[]);
    for language in Language::ALL {
        for name in language.aliases().iter().chain([&language.name()]) {
            let said = name.to_uppercase();
            let (status, result) = server.post_json("/v1/runs", &json!({"language": said, "code": ""}));
            // An empty program of a language that is compiled is none, and not every machine has every compiler.
            if language.is_declared() {
                let known = status == 200 && result["language"] == language.name();
                assert!(known || result["detail"].to_string().contains(language.name()), "{said}: {result}");
                continue;
            }
            let (own, outcome) = (&result["language"], &result["outcome"]);
            assert_eq!((own, outcome), (&json!(language.name()), &json!("completed")), "{said}");
        }
    }
    let (status, problem) = server.post_json("/v1/runs", &json!({"language": "cobol", "code": ""}));
    let (detail, hint) = (problem["detail"].to_string(), problem["hint"].to_string());
    assert_eq!((status, &problem["field"]), (422, &json!("language")), "{problem}");
    assert!(format!("{detail}{hint}").contains("typescript"), "the names are not listed: {problem}");
}

#[test]
fn a_run_gets_what_came_with_it() {
    let server = Server::start(&[]);
    let result = server.run(&json!({
        "language": "bash",
        "code": "cat; echo \"$1,$2,$NAME,$PWD\"; cat ../a/text; xxd -p ../raw; ../tool",
        "stdin": "in\n", "args": ["one", "two words"], "env": {"NAME": "value"}, "cwd": "b",
        "files": [
            {"path": "a/text", "text": "ünï\n"}, {"path": "raw", "base64": "AP/+"}, {"path": "b/x", "text": ""},
            {"path": "tool", "text": "#!/bin/bash\necho tool\n", "executable": true},
        ],
    }));
    assert_eq!(result.stdout, "in\none,two words,value,/workspace/b\nünï\n00fffe\ntool\n", "{result:?}");
}

#[test]
fn limits_are_clamped_to_the_ceiling() {
    let server = Server::start(&["--set", "ceiling.timeout_ms=300", "--set", "ceiling.output_bytes=10"]);
    let mut request = bash("echo 0123456789abcdef; while :; do :; done");
    request["limits"] = json!({"timeout_ms": 3_600_000, "output_bytes": 1 << 20});
    let result = server.run(&request);
    assert_eq!(result.outcome, Some(Outcome::TimedOut));
    assert!(result.stdout_truncated && result.limits_hit.contains(&Limit::Output), "{result:?}");
}

#[test]
fn every_outcome_is_an_answer() {
    let server = Server::start(&[]);
    let fate = |code: &str, limits: Value| {
        let mut request = bash(code);
        request["limits"] = limits;
        server.run(&request).outcome
    };
    let cases = [
        (Outcome::Completed, "true", json!({})),
        (Outcome::Failed, "exit 3", json!({})),
        (Outcome::Signalled, "kill -SEGV $$", json!({})),
        (Outcome::TimedOut, ENDLESS, json!({"timeout_ms": 200})),
        (Outcome::DiskExceeded, "cat /dev/zero > f; exit 1", json!({"disk_bytes": 1 << 20})),
        (Outcome::OutputExceeded, "yes", json!({"output_bytes": 1 << 10})),
        (Outcome::MemoryExceeded, "x=$(yes)", json!({"memory_bytes": 32 << 20, "output_bytes": 1})),
    ];
    for (outcome, code, limits) in cases {
        assert_eq!(fate(code, limits), Some(outcome), "{code}");
    }
    let id = server.submit(&bash(ENDLESS));
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    assert_eq!(server.settled(&id).outcome, Some(Outcome::Cancelled));
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    let server = Server::start(&[]);
    let cases = [
        (json!({"language": "bash", "code": "", "cod": 1}), "cod"),
        (json!({"language": "bash", "code": "", "wait": false, "cod": 1}), "cod"),
        (json!({"language": "bash", "code": "", "limits": {"timeout": 1}}), "limits.timeout"),
        (json!({"language": "bash", "code": "", "limits": {"timeout_ms": "1s"}}), "limits.timeout_ms"),
        (json!({"language": "bash", "code": 1}), "code"),
        (json!({"language": "bash", "code": "", "wait": "no"}), "wait"),
        (json!({"language": "bash", "code": "", "env": {"A=B": ""}}), "env"),
        (json!({"language": "bash", "code": "", "cwd": "/etc"}), "cwd"),
        (json!({"language": "bash", "code": "", "files": [{"path": "../x", "text": ""}]}), "files[0].path"),
        (json!({"language": "bash", "code": "", "files": [{"path": "x", "txt": ""}]}), "files[0]"),
        (json!({"code": "1"}), "language"),
    ];
    for (request, field) in cases {
        let (status, problem) = server.post_json("/v1/runs", &request);
        let named = problem["field"].as_str().unwrap_or_default();
        assert!(status == 422 && named.starts_with(field), "{request}: {problem}");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    }
    let (status, problem) = server.get_json("/v1/runs?limt=1");
    assert!(status == 422 && problem["detail"].to_string().contains("limt"), "{problem}");
}

#[test]
fn bodies_that_are_not_a_request_are_answered_by_what_is_wrong_with_them() {
    let server = Server::start(&["--set", "body_bytes=65536"]);
    let json_type = [("content-type", "application/json")];
    let status = |headers: &[(&str, &str)], body: &[u8]| {
        let answer = server.send("POST", "/v1/runs", headers, body);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        answer.status
    };
    assert_eq!(status(&json_type, b"{"), 400);
    assert_eq!(status(&json_type, b"{} {}"), 400);
    assert_eq!(status(&json_type, b"\xff\xfe"), 400);
    assert_eq!(status(&json_type, b"[]"), 422);
    assert_eq!(status(&json_type, b"null"), 422);
    assert_eq!(status(&json_type, "[".repeat(50_000).as_bytes()), 422);
    assert_eq!(status(&json_type, br#"["bash", "true"]"#), 422);
    assert_eq!(status(&json_type, br#"{"language": "bash", "limits": [1000]}"#), 422);
    assert_eq!(status(&json_type, br#"{"language": "bash", "files": [["a", "text"]]}"#), 422);
    assert_eq!(status(&json_type, br#"{"code": "true", "code": "false"}"#), 422);
    assert_eq!(status(&json_type, format!("{{\"code\": {}", "[".repeat(50_000)).as_bytes()), 400);
    assert_eq!(status(&[("content-type", "text/plain")], b"{}"), 415);
    assert_eq!(status(&[("content-type", "application/x-www-form-urlencoded")], b"a=b"), 415);
    assert_eq!(status(&[], b"{}"), 415);
    let large = json!({"language": "bash", "code": "x".repeat(70_000)}).to_string();
    assert_eq!(status(&json_type, large.as_bytes()), 413);
    assert_eq!(server.send("PUT", "/v1/runs", &json_type, b"{}").status, 405);
}

#[test]
fn one_key_is_one_run() {
    let server = Server::start(&[]);
    let request = bash("echo $RANDOM$RANDOM");
    let submit =
        |key: &str, request: &Value| server.post_json_with("/v1/runs", &[("idempotency-key", key)], request);
    let first = submit("one", &request);
    assert_eq!(first.0, 200);
    assert_eq!(submit("one", &request), first);
    let (status, problem) = submit("one", &bash("echo other"));
    assert_eq!((status, &problem["field"]), (409, &json!("idempotency-key")));
    assert_ne!(submit("two", &request).1["id"], first.1["id"]);
    for wrong in ["", &"x".repeat(256)] {
        assert_eq!(submit(wrong, &request).0, 422, "{wrong:?}");
    }
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let same: Vec<_> = (0..20).map(|_| scope.spawn(|| submit("crowd", &request))).collect();
        same.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let told: BTreeSet<String> = answers.iter().map(|(_, answer)| answer.to_string()).collect();
    assert!(told.len() == 1 && answers.iter().all(|(status, _)| *status == 200), "{told:?}");
    assert_eq!(server.metric("fireclay_stored_runs"), 3.0);
}

#[test]
fn lists_filter_and_page() {
    let server = Server::start(&[]);
    let labelled = |code: &str, language: &str, label: &str| {
        let request = json!({"language": language, "code": code, "metadata": {"kind": label, "all": "yes"}});
        server.run(&request).id.to_string()
    };
    let mut ids: Vec<String> = (0..5).map(|_| labelled("exit 1", "bash", "a")).collect();
    ids.extend((0..3).map(|_| labelled("pass", "python", "b=c d&ü")));
    let list = |query: &str| {
        let (status, page) = server.get_json(&format!("/v1/runs?{query}"));
        assert_eq!(status, 200, "{query}: {page}");
        let items = page["items"].as_array().unwrap().clone();
        let found: Vec<String> = items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        (found, page["next"].as_str().map(str::to_owned))
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(list("").0, newest_first);
    let count = |query: &str| list(query).0.len();
    assert_eq!((count("outcome=failed"), count("outcome=completed"), count("fault=true")), (5, 3, 0));
    assert_eq!((count("language=bash"), count("language=PY"), count("state=queued")), (5, 3, 0));
    assert_eq!((count("metadata=kind=a"), count("metadata=all=yes"), count("metadata=kind=no")), (5, 8, 0));
    assert_eq!(count("metadata=kind=b%3Dc%20d%26%C3%BC"), 3);
    assert_eq!((count("until=2020-01-01T00:00:00Z"), count("since=2020-01-01T00:00:00Z")), (0, 8));
    assert_eq!(count("text=exit%201"), 5);
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let (found, next) = list(&format!("limit=3{cursor}"));
        assert!(found.len() <= 3);
        paged.extend(found);
        // A run that comes in between moves nothing.
        labelled("exit 2", "bash", "late");
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, newest_first);
    for wrong in [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "state=done",
        "since=yesterday",
        "metadata=x",
        "fault=true&outcome=failed",
    ] {
        assert_eq!(server.get_json(&format!("/v1/runs?{wrong}")).0, 422, "{wrong}");
    }
}

#[test]
fn runs_are_taken_back_queued_and_running_and_forgotten_when_settled() {
    let server = Server::start(&["--set", "concurrency=1"]);
    let running = server.submit(&bash(ENDLESS));
    let queued = server.submit(&bash("true"));
    server.wait_for_metric("fireclay_running", 1.0);
    assert_eq!(server.get_json(&format!("/v1/runs/{queued}")).0, 202);
    for id in [&queued, &running] {
        assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
        assert_eq!(server.settled(id).outcome, Some(Outcome::Cancelled));
    }
    for id in [&queued, &running] {
        assert_eq!(server.delete(&format!("/v1/runs/{id}")), (204, Value::Null));
        assert_eq!(server.get_json(&format!("/v1/runs/{id}")).0, 404);
        assert_eq!(server.get_json(&format!("/v1/runs/{id}/events")).0, 404);
        assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 404);
    }
    assert_eq!(server.run(&bash("echo on")).stdout, "on\n");
}

#[test]
fn what_was_never_there_is_not_found() {
    let server = Server::start(&[]);
    for id in ["run_00000000000000000000000000", "x", "..", "%00", "run_"] {
        for path in
            [format!("/v1/runs/{id}"), format!("/v1/runs/{id}/events"), format!("/v1/runs/{id}/artifacts/a")]
        {
            let answer = server.send("GET", &path, &[], b"");
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (404, "application/problem+json"),
                "{path}"
            );
        }
    }
}

#[test]
fn labels_come_back_as_they_were_sent() {
    let server = Server::start(&[]);
    let metadata = json!({"": "", "k": "v".repeat(2000), "ключ": "\u{0}\n\"", "a.b": "1"});
    let result = server.run(&json!({"language": "bash", "code": "", "metadata": metadata}));
    assert_eq!(serde_json::to_value(&result.metadata).unwrap(), metadata);
    let (_, page) = server.get_json("/v1/runs");
    assert_eq!(page["items"][0]["metadata"], metadata);
}

#[test]
fn a_result_carries_a_receipt_of_this_service() {
    let server = Server::start(&[]);
    let result = server.run(&bash("echo signed; exit 4"));
    let again = server.run(&bash("true"));
    let key = |result: &model::RunResult| result.receipt.clone().expect("receipts are on").public_key;
    assert_eq!(server::receipts::verify(&result, Some(&key(&again))), Ok(()));
    let mut changed = result.clone();
    changed.exit_code = Some(0);
    assert!(server::receipts::verify(&changed, None).is_err());
    let data = server.data.clone();
    drop(server);
    let without = Server::start_in(&data, &["--set", "receipts=false"]);
    assert!(without.run(&bash("true")).receipt.is_none());
}
