//! Batches: every line is answered once, each kind of item, and what is no answer is never counted as one.

mod cheats;
mod command;
mod grading;
mod residue;

use fireclay_tests::server::Server;
use serde_json::{Value, json};

/// Sends lines, and returns the lines of the answer by index, with the summary.
pub(super) fn batch(server: &Server, query: &str, items: &[Value]) -> (Vec<Value>, Value) {
    let body: String = items.iter().map(|item| format!("{item}\n")).collect();
    answered(&text(server, query, &[], body.as_bytes()), items.len())
}

fn text(server: &Server, query: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let headers = [&[("content-type", "application/x-ndjson")], headers].concat();
    let answer = server.send("POST", &format!("/v1/batches{query}"), &headers, body);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/x-ndjson"),
        "{}",
        answer.text()
    );
    answer.text().to_owned()
}

/// The lines of an answer: each index once, after the batch and before the summary.
fn answered(text: &str, total: usize) -> (Vec<Value>, Value) {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["batch"].as_str().is_some_and(|id| id.starts_with("bat_")), "{text}");
    let summary = lines.last().unwrap()["summary"].clone();
    let mut items = lines[1..lines.len() - 1].to_vec();
    items.sort_by_key(|item| item["index"].as_u64());
    let indexes: Vec<u64> = items.iter().map(|item| item["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..total as u64).collect::<Vec<_>>(), "{text}");
    assert_eq!((&summary["total"], &summary["answered"]), (&json!(total), &json!(total)));
    (items, summary)
}

fn python(code: &str) -> Value {
    json!({"language": "python", "code": code})
}

#[test]
fn a_thousand_mixed_items_are_each_answered_once_with_what_is_theirs() {
    let server = Server::start(&[]);
    let item = |index: usize| match index % 5 {
        0 => json!({"id": index.to_string(), "language": "bash", "code": format!("echo {index}")}),
        1 => json!({"id": index.to_string(), "language": "bash", "code": "exit 3"}),
        2 => json!({"id": index.to_string(), "language": "bash", "cod": ""}),
        3 => json!({"id": index.to_string(), "program": {"language": "bash", "code": "cat"},
            "cases": [{"stdin": index.to_string(), "expected": index.to_string()}]}),
        _ => json!({"id": index.to_string(), "program": {"language": "bash", "code": "cat"},
            "cases": [{"stdin": index.to_string(), "expected": "x"}]}),
    };
    let items: Vec<Value> = (0..1000).map(item).collect();
    let (answers, summary) = batch(&server, "", &items);
    let words = ["completed", "failed", "rejected", "passed", "wrong_answer"];
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(
            (&answer["id"], &answer["verdict"]),
            (&json!(index.to_string()), &json!(words[index % 5])),
            "{answer}"
        );
        if index % 5 == 0 {
            assert_eq!(answer["run"]["stdout"], format!("{index}\n"));
        }
    }
    assert_eq!(
        summary["verdicts"],
        json!({"completed": 200, "failed": 200, "passed": 200, "rejected": 200, "wrong_answer": 200})
    );
    assert_eq!((&summary["runs"], &summary["items"]), (&json!(800), &json!({"passed": 200, "judged": 400})));
}

#[test]
fn a_wrong_line_is_its_own_answer() {
    let server = Server::start(&["--set", "body_bytes=1000"]);
    let long = format!("{{\"id\":\"long\",\"code\":\"{}\"}}", "x".repeat(2000));
    let body = format!(
        "{}\n\n[1]\n\"\n{long}\n\u{0}\n{{\"id\":\"last\",\"language\":\"bash\",\"code\":\"echo 1\"}}",
        python("1")
    );
    let mut body = body.into_bytes();
    body.splice(0..0, b"\xff\n".iter().copied());
    let (answers, _) = answered(&text(&server, "", &[], &body), 7);
    let verdicts: Vec<&str> = answers.iter().map(|answer| answer["verdict"].as_str().unwrap()).collect();
    assert_eq!(
        verdicts,
        ["rejected", "completed", "rejected", "rejected", "rejected", "rejected", "completed"]
    );
    assert_eq!(answers[4]["problem"]["type"], "/problems/too-large");
    assert_eq!(answers[6]["id"], "last");
}

#[test]
fn identical_items_are_run_once_if_asked() {
    let server = Server::start(&[]);
    let code = "import os; print(os.urandom(8).hex())";
    let items = [python(code), json!({"id": "again", "code": code, "language": "py"}), python("2")];
    let (answers, summary) = batch(&server, "?dedupe=true", &items);
    assert_eq!((&answers[1]["same_as"], &answers[1]["id"]), (&json!(0), &json!("again")));
    assert_eq!(answers[0]["run"], answers[1]["run"]);
    assert_eq!((&summary["runs"], &summary["deduplicated"]), (&json!(2), &json!(1)));
    let (answers, summary) = batch(&server, "", &items);
    assert_ne!(answers[0]["run"]["stdout"], answers[1]["run"]["stdout"]);
    assert_eq!((&summary["runs"], &summary["deduplicated"]), (&json!(3), &json!(0)));
}

#[test]
fn one_that_nobody_waits_for_is_recorded_and_its_answers_are_read_later() {
    let server = Server::start(&[]);
    let body = "{\"language\":\"bash\",\"code\":\"echo 0\"}\n{\"language\":\"bash\",\"code\":\"echo 1\"}\n";
    let headers = [("content-type", "application/jsonl"), ("idempotency-key", "k")];
    let submit = || server.send("POST", "/v1/batches?wait=false", &headers, body.as_bytes()).into_json();
    let (status, first) = submit();
    assert_eq!((status, &first["total"]), (202, &json!(2)), "{first}");
    let id = first["id"].as_str().unwrap();
    // The same request is the same batch; waited for, it tells all that was answered.
    assert_eq!(submit().1["id"], first["id"]);
    let (answers, _) = answered(&text(&server, "", &[("idempotency-key", "k")], body.as_bytes()), 2);
    assert_eq!(answers[1]["run"]["stdout"], "1\n");
    let (status, ended) = server.get_json(&format!("/v1/batches/{id}"));
    assert_eq!(
        (status, &ended["state"], &ended["verdicts"]),
        (200, &json!("settled"), &json!({"completed": 2}))
    );
    let (_, lines) = server.get(&format!("/v1/batches/{id}/items?after=0"));
    let line: Value = serde_json::from_slice(&lines).unwrap();
    assert_eq!((&line["index"], &line["run"]["stdout"]), (&json!(1), &json!("1\n")));
    assert_eq!(server.get_json("/v1/batches").1["items"][0]["id"], json!(id));
    assert_eq!(server.delete(&format!("/v1/batches/{id}")).0, 409);
    let other = server.send("POST", "/v1/batches?wait=false", &headers, b"{}\n").into_json();
    assert_eq!(other.0, 409, "{}", other.1);
    assert_eq!(server.get(&format!("/v1/batches/bat_{}", "0".repeat(26))).0, 404);
}

#[test]
fn one_that_is_taken_back_ends_what_runs_and_does_not_try_the_rest() {
    let server = Server::start(&["--set", "concurrency=1"]);
    let body =
        "{\"language\":\"bash\",\"code\":\"sleep 600\",\"limits\":{\"timeout_ms\":600000}}\n".repeat(20);
    let headers = [("content-type", "application/x-ndjson")];
    let (_, summary) = server.send("POST", "/v1/batches?wait=false", &headers, body.as_bytes()).into_json();
    let id = summary["id"].as_str().unwrap();
    server.wait_for_metric("fireclay_running", 1.0);
    let (status, ended) = server.delete(&format!("/v1/batches/{id}"));
    assert_eq!((status, &ended["state"]), (200, &json!("cancelled")));
    let (_, lines) = server.get(&format!("/v1/batches/{id}/items"));
    let lines: Vec<Value> =
        String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 20);
    assert!(lines.iter().all(|line| line["verdict"] == "cancelled"), "{lines:?}");
}

#[test]
fn a_run_of_another_tenant_and_of_the_same_does_not_wait_for_a_batch() {
    let data = fireclay_tests::server::Data::fresh();
    super::tenancy::make_key(&data, &["--role", "admin"]);
    let key = |tenant: &str| super::tenancy::make_key(&data, &["--tenant", tenant]);
    let (a, b) = (key("a"), key("b"));
    let server = Server::start_in(&data, &["--set", "concurrency=2"]);
    let body = "{\"language\":\"bash\",\"code\":\"sleep 0.05\"}\n".repeat(1000);
    let bearer = |key: &str| format!("Bearer {key}");
    let headers = [("content-type", "application/x-ndjson"), ("authorization", &bearer(&a))];
    let (status, summary) =
        server.send("POST", "/v1/batches?wait=false", &headers, body.as_bytes()).into_json();
    assert_eq!(status, 202, "{summary}");
    let path = format!("/v1/batches/{}", summary["id"].as_str().unwrap());
    for key in [&b, &a] {
        let (status, ran) = server.post_json_with(
            "/v1/runs",
            &[("authorization", &bearer(key))],
            &json!({"language": "bash", "code": "echo 1"}),
        );
        assert_eq!((status, &ran["stdout"]), (200, &json!("1\n")));
        let (_, now) = server.send("GET", &path, &[("authorization", &bearer(&a))], b"").into_json();
        assert!(now["answered"].as_u64().unwrap() < 500, "{now}");
    }
    assert_eq!(server.send("GET", &path, &[("authorization", &bearer(&b))], b"").status, 404);
    assert_eq!(server.send("DELETE", &path, &[("authorization", &bearer(&b))], b"").status, 404);
    assert_eq!(server.send("DELETE", &path, &[("authorization", &bearer(&a))], b"").status, 200);
}
