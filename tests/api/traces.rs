//! `/v1/traces`: every run leaves one; its tree, who may see it, how it is found, followed, noted, removed and taken along.

use super::tenancy::Tenancy;
use fireclay_tests::http::{self, Event, Stream};
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

const TRACES: &str = "/v1/traces";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn python(code: &str) -> Value {
    json!({"language": "python", "code": code})
}

/// The traces that a query finds.
fn found(server: &Server, query: &str) -> Vec<Value> {
    let (status, list) = server.get_json(&format!("{TRACES}?{query}"));
    assert_eq!(status, 200, "{list}");
    list["items"].as_array().unwrap().clone()
}

/// The trace of a run, whole.
fn trace_of(server: &Server, run: &str) -> Value {
    let items = found(server, "");
    let row =
        items.iter().find(|row| row["of"] == run).unwrap_or_else(|| panic!("no trace of {run}: {items:?}"));
    let (status, trace) = server.get_json(&format!("{TRACES}/{}", row["id"].as_str().unwrap()));
    assert_eq!(status, 200, "{trace}");
    trace
}

fn names(span: &Value) -> Vec<&str> {
    span["children"].as_array().unwrap().iter().map(|child| child["name"].as_str().unwrap()).collect()
}

/// Panics unless every span lies within its parent's time, names it, and no id is there twice.
fn assert_a_tree(span: &Value, seen: &mut Vec<String>) {
    seen.push(span["id"].as_str().unwrap().to_owned());
    for child in span["children"].as_array().unwrap() {
        assert_eq!(child["parent"], span["id"], "{child}");
        assert!(child["offset_ms"].as_f64() >= span["offset_ms"].as_f64(), "{span}");
        assert_a_tree(child, seen);
    }
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "{span}");
}

#[test]
fn a_run_leaves_a_trace_that_says_what_was_done() {
    let server = Server::start(&[]);
    let code = "import os\nopen('left.txt', 'w').write('x')\nprint('hello')";
    let (status, run) = server.post_json("/v1/runs", &python(code));
    assert_eq!((status, &run["outcome"]), (200, &json!("completed")), "{run}");
    let trace = trace_of(&server, run["id"].as_str().unwrap());
    assert_eq!(
        (&trace["kind"], &trace["outcome"], &trace["language"]),
        (&json!("run"), &json!("completed"), &json!("python"))
    );
    assert_eq!(
        (&trace["tenant"], &trace["name"], &trace["imported"]),
        (&json!("local"), &json!("python run"), &json!(false))
    );
    assert!(trace["input_preview"].as_str().unwrap().starts_with("import os"), "{trace}");
    assert_eq!(trace["output_preview"], "hello");
    let tree = trace["tree"].as_array().unwrap();
    assert_eq!(tree.len(), 1);
    let root = &tree[0];
    assert_eq!(
        (&root["status"], &root["kind"], &root["parent"]),
        (&json!("ok"), &json!("server"), &Value::Null)
    );
    let children = names(root);
    assert_eq!(children[..4], ["admission", "check", "queue", "lease"], "{children:?}");
    for phase in ["fork", "execution", "artifacts"] {
        assert!(children.contains(&phase), "{phase}: {children:?}");
    }
    assert_eq!(root["input"]["text"], code);
    assert_eq!(
        (&root["input"]["media_type"], &root["input"]["truncated"]),
        (&json!("text/x-python"), &json!(false))
    );
    assert_eq!(root["output"]["text"], "hello\n");
    assert_eq!(root["attributes"]["fireclay.run.id"], run["id"]);
    let artifacts = &root["children"][children.iter().position(|name| *name == "artifacts").unwrap()];
    assert_eq!(artifacts["attributes"]["fireclay.artifacts.paths"], json!(["left.txt"]));
    assert_a_tree(root, &mut Vec::new());
    assert_eq!(trace["spans"].as_u64().unwrap() as usize, children.len() + 1);
    let (began, took) = (&trace["started_at"], trace["duration_ms"].as_f64().unwrap());
    assert!(began.as_str().unwrap().ends_with('Z') && took > 0.0, "{trace}");
}

#[test]
fn what_went_wrong_is_on_the_span() {
    let server = Server::start(&[]);
    let (_, run) = server.post_json("/v1/runs", &python("1/0"));
    let trace = trace_of(&server, run["id"].as_str().unwrap());
    let root = &trace["tree"][0];
    assert_eq!((&trace["outcome"], &root["status"]), (&json!("failed"), &json!("error")));
    assert_eq!(root["message"], "ZeroDivisionError: division by zero");
    assert_eq!(root["attributes"]["error.type"], "ZeroDivisionError");
    let denied = json!({"language": "python", "code": "import os\nos.system('rm -rf /')", "check": "deny", "check_policy": "strict"});
    let (_, run) = server.post_json("/v1/runs", &denied);
    assert_eq!(run["outcome"], "denied", "{run}");
    let trace = trace_of(&server, run["id"].as_str().unwrap());
    let check = &trace["tree"][0]["children"][1];
    assert_eq!((&trace["outcome"], &check["name"]), (&json!("denied"), &json!("check")));
    assert_eq!(check["events"][0]["name"], "finding", "{check}");
    assert!(!names(&trace["tree"][0]).contains(&"execution"));
}

#[test]
fn a_caller_may_say_where_it_stands_and_is_told_where_the_run_does() {
    let server = Server::start(&[]);
    let body = python("print(1)").to_string();
    let ask = |parents: &[&str]| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(parents.iter().map(|parent| ("traceparent", *parent)));
        server.send("POST", "/v1/runs", &headers, body.as_bytes())
    };
    let first = ask(&[PARENT]);
    let own = first.header("traceparent").to_owned();
    assert!(own.starts_with(&format!("00-{TRACE}-")) && own.ends_with("-01") && own != PARENT, "{own}");
    // From the same trace: one trace, two runs.
    let second = ask(&[PARENT]).header("traceparent").to_owned();
    let (_, trace) = server.get_json(&format!("{TRACES}/{TRACE}"));
    let roots: Vec<String> = trace["tree"]
        .as_array()
        .unwrap()
        .iter()
        .map(|root| format!("00-{TRACE}-{}-01", root["id"].as_str().unwrap()))
        .collect();
    assert_eq!(roots, [own, second]);
    assert_eq!(trace["tree"][0]["parent"], "00f067aa0ba902b7");
    assert_eq!(found(&server, "").len(), 1);
    // What is no traceparent is as if it had not been said, and so are two.
    for bad in
        [vec!["what"], vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], vec![PARENT, PARENT]]
    {
        let told = ask(&bad).header("traceparent").to_owned();
        assert!(told.len() == PARENT.len() && !told.contains(TRACE), "{bad:?}: {told}");
    }
    assert_eq!(found(&server, "").len(), 4);
}

#[test]
fn nobody_sees_or_changes_the_traces_of_another() {
    let keys = Tenancy::start();
    let run = keys.run(&keys.a);
    let own = keys.ask(&keys.a, "GET", TRACES).1;
    let row = &own["items"][0];
    assert_eq!((&row["of"], &row["tenant"]), (&json!(run), &json!("a")));
    let path = format!("{TRACES}/{}", row["id"].as_str().unwrap());
    // The control: its owner and the administrator see it.
    for (key, tenant) in [(&keys.a, ""), (&keys.admin, ""), (&keys.admin, "?tenant=a")] {
        assert_eq!(
            keys.ask(key, "GET", &format!("{TRACES}{tenant}")).1["items"].as_array().unwrap().len(),
            1
        );
        assert_eq!(keys.ask(key, "GET", &path).0, 200);
    }
    assert_eq!(keys.ask(&keys.admin, "GET", &format!("{TRACES}?tenant=b")).1["items"], json!([]));
    assert_eq!(keys.ask(&keys.b, "GET", TRACES).1["items"], json!([]));
    assert_eq!(keys.ask(&keys.b, "GET", &format!("{TRACES}/summary")).1["total"], 0);
    assert_eq!(keys.ask(&keys.a, "GET", &format!("{TRACES}/summary")).1["total"], 1);
    assert_eq!(keys.answer(&keys.b, "GET", &format!("{TRACES}/export"), None).text(), "");
    assert_eq!(keys.ask(&keys.b, "GET", &format!("{TRACES}?tenant=a")).0, 404);
    for method in ["GET", "DELETE"] {
        assert_eq!(keys.ask(&keys.b, method, &path).0, 404, "{method}");
    }
    assert_eq!(keys.tell(&keys.b, "PATCH", &path, &json!({"remark": "mine"})).0, 404);
    assert_eq!(keys.ask(&keys.b, "DELETE", &format!("{TRACES}?all=true")).1["removed"], 0);
    assert_eq!(keys.ask(&keys.a, "GET", &path).0, 200, "it is still there");
    assert_eq!(keys.answer(&keys.b, "GET", "/v1/traces", None).status, 200);
    assert_eq!(keys.server.get(TRACES).0, 401);
    assert_eq!(keys.ask(&keys.a, "DELETE", &format!("{TRACES}?all=true")).1["removed"], 1);
    assert_eq!(keys.ask(&keys.a, "GET", &path).0, 404);
    assert_eq!(keys.ask(&keys.a, "GET", &format!("/v1/runs/{run}")).0, 200, "the run stays");
}

/// Two tenants say that they are in the same trace: each has its own, and an administrator names which is meant.
#[test]
fn tenants_that_say_the_same_trace_have_one_each() {
    let keys = Tenancy::start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let path = format!("{TRACES}/{}", &parent[3..35]);
    for key in [&keys.a, &keys.b] {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("traceparent", parent),
        ];
        let body = python("1").to_string();
        assert_eq!(keys.server.send("POST", "/v1/runs", &headers, body.as_bytes()).status, 200);
    }
    let of = |key: &str, query: &str| {
        let (status, trace) = keys.ask(key, "GET", &format!("{path}{query}"));
        (status, trace["tenant"].clone())
    };
    for (key, query, tenant) in [
        (&keys.a, "", "a"),
        (&keys.b, "", "b"),
        (&keys.admin, "?tenant=a", "a"),
        (&keys.admin, "?tenant=b", "b"),
        (&keys.admin, "", "b"),
    ] {
        assert_eq!(of(key, query), (200, json!(tenant)), "{query}");
    }
    assert_eq!(of(&keys.a, "?tenant=b").0, 404);
    assert_eq!(of(&keys.admin, "?tenant=c").0, 404);
    let noted = keys.tell(&keys.admin, "PATCH", &format!("{path}?tenant=a"), &json!({"remark": "seen"}));
    assert_eq!((&noted.1["tenant"], &noted.1["remark"]), (&json!("a"), &json!("seen")));
    assert_eq!(keys.ask(&keys.b, "GET", &path).1["remark"], Value::Null);
    // One is removed where nobody is named, the newest.
    assert_eq!(keys.ask(&keys.admin, "DELETE", &path).0, 204);
    assert_eq!((of(&keys.b, "").0, of(&keys.a, "").0), (404, 200));
}

#[test]
fn traces_are_found_by_what_is_known_of_them() {
    let server = Server::start(&[]);
    server.run(&python("print('needle in it')"));
    server.run(&json!({"language": "bash", "code": "exit 3"}));
    server.run(&python("import time; time.sleep(0.3)"));
    let count = |query: &str| found(&server, query).len();
    let durations = found(&server, "");
    let longest = durations.iter().filter_map(|row| row["duration_ms"].as_f64()).fold(0.0, f64::max);
    let slowest = format!("min_ms={longest}");
    for (query, wanted) in [
        ("", 3),
        ("q=NEEDLE", 1),
        ("q=nothing%20like%20it", 0),
        ("outcome=failed", 1),
        ("outcome=completed", 2),
        ("language=bash", 1),
        ("kind=run", 3),
        ("kind=task", 0),
        (&slowest, 1),
        ("max_ms=0", 0),
        ("since=2020-01-01T00:00:00Z", 3),
        ("until=2020-01-01T00:00:00Z", 0),
        ("min_cost=0", 0),
        ("model=openai:gpt-5", 0),
        ("imported=true", 0),
    ] {
        assert_eq!(count(query), wanted, "{query}");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = server.get_json(&format!("{TRACES}?limit=2{cursor}"));
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let all: Vec<Value> = found(&server, "").iter().map(|row| row["id"].clone()).collect();
    assert_eq!((seen.len(), seen), (3, all));
    let (_, numbers) = server.get_json(&format!("{TRACES}/summary?buckets=4"));
    assert_eq!((&numbers["total"], &numbers["running"]), (&json!(3), &json!(0)), "{numbers}");
    assert_eq!(numbers["by_outcome"], json!({"completed": 2, "failed": 1}));
    assert_eq!(numbers["buckets"].as_array().unwrap().len(), 4);
    assert_eq!(numbers["failed_lately"][0]["language"], "bash");
    assert!(numbers["duration_ms"]["max"].as_f64().unwrap() >= 300.0);
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    let server = Server::start(&[]);
    for (query, status) in [
        ("?limit=0", 422),
        ("?limit=201", 422),
        ("?cursor=%ff", 422),
        ("?cursor=nonsense", 422),
        ("?since=yesterday", 422),
        ("?min_ms=-1", 422),
        ("?max_cost=NaN", 422),
        ("?min_cost=inf", 422),
        ("?kind=thing", 422),
        ("?nothing=1", 422),
        ("?tenant=%2e%2e", 422),
        ("/summary?buckets=0", 422),
        ("/summary?buckets=241", 422),
        ("/summary?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 422),
        ("/xyz", 404),
        ("/4BF92F3577B34DA6A3CE929D0E0E4736", 404),
        ("/4bf92f3577b34da6a3ce929d0e0e4736", 404),
    ] {
        let (told, problem) = server.get_json(&format!("{TRACES}{query}"));
        assert_eq!(told, status, "{query}: {problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty());
    }
    for query in ["", "?limit=3", "?all=maybe", "?all=false", "?what=1"] {
        assert_eq!(server.delete(&format!("{TRACES}{query}")).0, 422, "{query}");
    }
    let long = "x".repeat(5000);
    assert_eq!(server.get_json(&format!("{TRACES}?q={long}")).0, 422);
    assert_eq!(found(&server, "q=%25_%27%22%5c%00").len(), 0);
}

#[test]
fn a_remark_stays_and_is_found() {
    let server = Server::start(&[]);
    server.run(&python("1"));
    let path = format!("{TRACES}/{}", found(&server, "")[0]["id"].as_str().unwrap());
    let patch = |body: Value| {
        let headers = [("content-type", "application/json")];
        server.send("PATCH", &path, &headers, body.to_string().as_bytes()).into_json()
    };
    let (status, row) = patch(json!({"remark": "look <b>here</b>"}));
    assert_eq!((status, &row["remark"]), (200, &json!("look <b>here</b>")));
    assert_eq!(found(&server, "q=look").len(), 1);
    assert_eq!(patch(json!({"remark": "x".repeat(201)})).0, 422);
    assert_eq!(patch(json!({"remark": 1})).0, 422);
    assert_eq!(patch(json!({"other": "x"})).0, 422);
    assert_eq!(patch(json!({"remark": null})).1["remark"], Value::Null);
    assert_eq!(server.delete(&path).0, 204);
    assert_eq!(server.get_json(&path).0, 404);
}

fn follow(server: &Server, after: Option<&str>) -> Stream {
    let headers: Vec<_> = after.iter().map(|after| ("last-event-id", *after)).collect();
    http::stream("GET", &server.url("/v1/traces/events"), &headers, b"")
}

#[test]
fn who_follows_sees_traces_begin_and_end_and_go() {
    let server = Server::start(&[]);
    // So that there is a change to come back after.
    server.run(&python("0"));
    let mut events = follow(&server, Some("0"));
    let before = events.next().unwrap();
    assert_eq!((before.kind.as_str(), &before.data["outcome"]), ("trace", &json!("completed")));
    let id = server.submit(&json!({"language": "bash", "code": "while true; do read -t 1 <> <(:); done"}));
    let begun = events.find(|event| event.data["of"] == id.as_str()).unwrap();
    assert_eq!((begun.kind.as_str(), &begun.data["outcome"]), ("trace", &Value::Null));
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    let ended = events.find(|event| event.data["outcome"] != Value::Null).unwrap();
    assert_eq!((&ended.data["of"], &ended.data["outcome"]), (&json!(id), &json!("cancelled")));
    let path = format!("{TRACES}/{}", ended.data["id"].as_str().unwrap());
    assert_eq!(server.delete(&path).0, 204);
    let gone = events.next().unwrap();
    assert_eq!((gone.kind.as_str(), &gone.data["id"]), ("removed", &ended.data["id"]));
    // Come again: nothing is missed.
    let again: Event = follow(&server, Some(&ended.id)).next().unwrap();
    assert_eq!(again, gone);
}

#[test]
fn who_follows_sees_no_trace_of_another_tenant() {
    let keys = Tenancy::start();
    let stream = |key: &str| {
        let bearer = format!("Bearer {key}");
        http::stream(
            "GET",
            &keys.server.url("/v1/traces/events"),
            &[("authorization", &bearer), ("last-event-id", "0")],
            b"",
        )
    };
    let first = keys.run(&keys.a);
    let second = keys.run(&keys.b);
    // The control: who may see both sees both.
    let all: Vec<Value> = stream(&keys.admin).take(2).map(|event| event.data["of"].clone()).collect();
    assert_eq!(all, [json!(first), json!(second)]);
    assert_eq!(stream(&keys.b).next().unwrap().data["of"], json!(second));
}

#[test]
fn traces_are_taken_along_as_a_file() {
    let server = Server::start(&[]);
    server.run(&python("print('here')"));
    server.run(&python("1/0"));
    let file = server.send("GET", &format!("{TRACES}/export"), &[], b"");
    assert_eq!((file.status, file.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<Value> = file.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let other = Server::start(&[]);
    let import = |body: &[u8]| {
        let headers = [("content-type", "application/x-ndjson")];
        other.send("POST", &format!("{TRACES}/import"), &headers, body).into_json()
    };
    assert_eq!(import(file.text().as_bytes()), (200, json!({"added": 2, "skipped": 0, "failed": []})));
    assert_eq!(import(file.text().as_bytes()), (200, json!({"added": 0, "skipped": 2, "failed": []})));
    assert_eq!(found(&other, "imported=true").len(), 2);
    let exported = other.send("GET", &format!("{TRACES}/export"), &[], b"");
    let same: Vec<Value> = exported.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (mut was, is) in lines.into_iter().zip(same) {
        was["imported"] = true.into();
        assert_eq!(was, is);
    }
    // Whatever a file says, what can be used of it is, and the rest is told.
    let good =
        file.text().lines().next().unwrap().replace(found(&server, "")[0]["id"].as_str().unwrap(), TRACE);
    let deep = format!("{}{}", "{\"children\":[".repeat(200), "]}".repeat(200));
    let hostile = [
        "{}",
        "[1]",
        "not json",
        &good.replace(TRACE, "../../etc"),
        &good.replace("\"started_at\":\"2", "\"started_at\":\"x2"),
        &good.replace("\"tree\":[", &format!("\"tree\":[{deep},")),
        &good,
    ];
    let (status, told) = import(hostile.join("\n").as_bytes());
    assert_eq!(
        (status, &told["added"], told["failed"].as_array().unwrap().len()),
        (200, &json!(1), 6),
        "{told}"
    );
    assert_eq!(told["failed"][0]["line"], 1);
    assert_eq!(other.post_json(&format!("{TRACES}/import"), &json!("text")).1["added"], 0);
}

#[test]
fn content_is_shown_as_far_as_the_settings_say_and_keys_never() {
    let key = format!("fc_{}", "0a1b2c3d".repeat(6));
    let code = format!("print('{key} ' + {:?})", "y".repeat(300));
    let look = |args: &[&str]| {
        let server = Server::start(args);
        server.run(&python(&code));
        let rows = found(&server, "");
        let trace = server.get_json(&format!("{TRACES}/{}", rows[0]["id"].as_str().unwrap())).1;
        assert!(!trace.to_string().contains(&key), "{trace}");
        trace
    };
    let full = look(&[]);
    assert!(full["tree"][0]["input"]["text"].as_str().unwrap().contains(&"y".repeat(300)), "{full}");
    assert!(full["input_preview"].as_str().unwrap().starts_with("print('[secret]"), "{full}");
    let short = look(&["--set", "traces.bytes_max=100"]);
    assert_eq!(short["tree"][0]["input"]["truncated"], true);
    assert_eq!(short["tree"][0]["input"]["text"].as_str().unwrap().len(), 100);
    let preview = look(&["--set", "traces.content=preview"]);
    assert_eq!(preview["tree"][0]["output"]["text"].as_str().unwrap().chars().count(), 150);
    let off = look(&["--set", "traces.content=off"]);
    assert_eq!(
        (&off["input_preview"], &off["tree"][0]["input"]["text"]),
        (&json!(""), &Value::Null),
        "{off}"
    );
    assert!(!off.to_string().contains("yyy"));
    let none = Server::start(&["--set", "traces.enabled=false"]);
    let answer = none.send(
        "POST",
        "/v1/runs",
        &[("content-type", "application/json")],
        python("1").to_string().as_bytes(),
    );
    assert_eq!((answer.status, answer.header("traceparent")), (200, ""));
    assert_eq!(found(&none, "").len(), 0);
}

#[test]
fn sessions_and_batches_leave_traces_and_their_runs_are_in_them() {
    let server = Server::start(&[]);
    let (_, session) = server.post_json("/v1/sessions", &json!({"name": "mine", "template": "python"}));
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let headers = [("content-type", "application/json"), ("traceparent", PARENT)];
    let run = server.send("POST", &format!("{path}/runs"), &headers, python("x = 1").to_string().as_bytes());
    assert!(run.header("traceparent").contains(TRACE));
    let run: Value = serde_json::from_str(run.text()).unwrap();
    assert_eq!(found(&server, "outcome=running&kind=session").len(), 1);
    let trace = trace_of(&server, session["id"].as_str().unwrap());
    assert_eq!((&trace["name"], &trace["outcome"]), (&json!("session mine"), &Value::Null));
    let inner = &trace["tree"][0]["children"][0];
    assert_eq!(inner["attributes"]["fireclay.run.id"], run["id"]);
    assert_eq!(inner["attributes"]["fireclay.trace.id"], TRACE);
    assert_eq!(server.delete(&path).0, 200);
    assert_eq!(found(&server, "outcome=closed&kind=session").len(), 1);
    let lines = format!("{}\n{}\n", python("print(1)"), python("1/0"));
    let headers = [("content-type", "application/x-ndjson")];
    let answer = server.send("POST", "/v1/batches", &headers, lines.as_bytes());
    assert!(answer.text().contains("summary"), "{}", answer.text());
    let rows = found(&server, "kind=batch");
    assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("completed")), "{rows:?}");
    let trace = server.get_json(&format!("{TRACES}/{}", rows[0]["id"].as_str().unwrap())).1;
    let root = &trace["tree"][0];
    assert_eq!(names(root), ["python run", "python run"], "{trace}");
    assert!(root["children"].as_array().unwrap().iter().any(|run| run["status"] == "error"));
    assert!(names(&root["children"][0]).contains(&"execution"), "{trace}");
    assert_eq!(found(&server, "kind=run").len(), 1, "runs of a batch are in its trace only");
}

#[test]
fn traces_outlive_the_service_and_what_it_left_open_is_ended() {
    let data = Data::fresh();
    let server = Server::start_in(&data, &[]);
    server.run(&python("print('kept')"));
    let id = server.submit(&json!({"language": "bash", "code": "while true; do read -t 1 <> <(:); done"}));
    assert_eq!(found(&server, "outcome=running").len(), 1);
    let server = Server::start_in(&server.kill(), &[]);
    assert_eq!(found(&server, "q=kept").len(), 1);
    let left = trace_of(&server, &id);
    assert_eq!((&left["outcome"], left["ended_at"].is_null()), (&json!("fault"), false), "{left}");
    drop(data);
}
