//! What is within a trace: found by the id of a run in it, begun from a caller's own, with a span for each step that took time and all that is needed to
//! ask for the same again.

use super::egress::Web;
use super::packages;
use super::tenancy::Tenancy;
use fireclay_tests::run::feed;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

const TRACES: &str = "/v1/traces";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn python(code: &str) -> Value {
    json!({"language": "python", "code": code})
}

fn found(server: &Server, query: &str) -> Vec<Value> {
    let (status, list) = server.get_json(&format!("{TRACES}?{query}"));
    assert_eq!(status, 200, "{list}");
    list["items"].as_array().unwrap().clone()
}

/// The first root of the trace that an object is a part of.
fn root_of(server: &Server, object: &str) -> Value {
    let rows = found(server, &format!("of={object}"));
    assert_eq!(rows.len(), 1, "{object}: {rows:?}");
    let (status, trace) = server.get_json(&format!("{TRACES}/{}", rows[0]["id"].as_str().unwrap()));
    assert_eq!(status, 200, "{trace}");
    trace["tree"][0].clone()
}

/// The span of a trace of one run that has this name.
fn child<'a>(root: &'a Value, name: &str) -> &'a Value {
    let children = root["children"].as_array().unwrap();
    children.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {root}"))
}

fn names(root: &Value) -> Vec<&str> {
    root["children"].as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap()).collect()
}

#[test]
fn a_run_within_a_batch_is_found_by_its_id_and_nobody_finds_anothers() {
    let keys = Tenancy::start();
    let headers =
        [("content-type", "application/x-ndjson"), ("authorization", &format!("Bearer {}", keys.a))];
    let lines = format!("{}\n{}\n", python("print(1)"), python("print(2)"));
    assert_eq!(keys.server.send("POST", "/v1/batches", &headers, lines.as_bytes()).status, 200);
    let runs = keys.ask(&keys.a, "GET", "/v1/runs").1;
    let run = runs["items"][1]["id"].as_str().unwrap();
    // By itself it is no row.
    assert_eq!(keys.ask(&keys.a, "GET", &format!("{TRACES}?kind=run")).1["items"], json!([]));
    for query in [format!("of={run}"), format!("q={run}")] {
        let path = format!("{TRACES}?{query}");
        let (_, list) = keys.ask(&keys.a, "GET", &path);
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{query}: {list}");
        assert_eq!((&list["items"][0]["kind"], &list["next"]), (&json!("batch"), &Value::Null), "{list}");
        assert_eq!(keys.ask(&keys.b, "GET", &path).1["items"], json!([]), "{query}");
    }
    // All that is asked must hold.
    assert_eq!(keys.ask(&keys.a, "GET", &format!("{TRACES}?of={run}&kind=task")).1["items"], json!([]));
    assert_eq!(keys.ask(&keys.a, "GET", &format!("{TRACES}?of=run_nothing")).1["items"], json!([]));
    let long = "x".repeat(5000);
    assert_eq!(keys.ask(&keys.a, "GET", &format!("{TRACES}?of={long}")).0, 422);
    assert_eq!(keys.ask(&keys.b, "DELETE", &format!("{TRACES}?of={run}")).1["removed"], 0);
    assert_eq!(keys.ask(&keys.a, "DELETE", &format!("{TRACES}?of={run}")).1["removed"], 1);
}

#[test]
fn batches_and_sessions_join_the_trace_of_their_caller_and_say_where_they_are() {
    let server = Server::start(&[]);
    let line = format!("{}\n", python("print(1)"));
    for (path, kind, body) in [
        ("/v1/batches", "application/x-ndjson", line.as_str()),
        ("/v1/batches?wait=false", "application/x-ndjson", line.as_str()),
        ("/v1/sessions", "application/json", "{}"),
    ] {
        let ask = |parent: &str, key: &str| {
            let headers = [("content-type", kind), ("traceparent", parent), ("idempotency-key", key)];
            let most = if key.is_empty() { 2 } else { 3 };
            server.send("POST", path, &headers[..most], body.as_bytes())
        };
        let keys: &[&str] = if path == "/v1/batches" { &["", "again", "again"] } else { &[""] };
        let mut seen = Vec::new();
        for key in keys {
            let answer = ask(PARENT, key);
            assert!(answer.status < 300, "{path}: {}", answer.text());
            let own = answer.header("traceparent").to_owned();
            assert!(own.starts_with(&format!("00-{TRACE}-")) && own != PARENT, "{path}: {own:?}");
            let (_, trace) = server.get_json(&format!("{TRACES}/{TRACE}"));
            let root = trace["tree"]
                .as_array()
                .unwrap()
                .iter()
                .find(|root| own.contains(root["id"].as_str().unwrap()));
            assert_eq!(root.unwrap_or_else(|| panic!("{own}: {trace}"))["parent"], "00f067aa0ba902b7");
            seen.push(own);
        }
        // The same request is the same batch, in the same place.
        assert!(seen.len() < 3 || (seen[1] == seen[2] && seen[0] != seen[1]), "{seen:?}");
        let other = ask("00-nonsense", "").header("traceparent").to_owned();
        assert!(!other.is_empty() && !other.contains(TRACE), "{path}: {other:?}");
    }
}

#[test]
fn what_was_asked_for_is_on_the_span_as_far_as_content_may_be_shown() {
    let asked = json!({"language": "python", "code": "print(input())", "stdin": "y".repeat(300), "limits": {"memory_bytes": 268_435_456, "timeout_ms": 9000},
        "egress": {"allow": ["localhost:9"]}, "check": "warn", "env": {"WORD": "hidden"}, "files": [{"path": "a", "text": "b"}]});
    let look = |args: &[&str]| {
        let server = Server::start(&[&["--set", "egress.private=[\"127.0.0.0/8\"]"], args].concat());
        let root = root_of(&server, server.run(&asked).id.as_str());
        assert!(!root.to_string().contains("hidden"), "{root}");
        root["attributes"].clone()
    };
    let all = look(&[]);
    assert_eq!(all["fireclay.limits"], json!({"memory_bytes": 268_435_456, "timeout_ms": 9000}), "{all}");
    assert_eq!(
        (&all["fireclay.egress.hosts"], &all["fireclay.check"]),
        (&json!(["localhost:9"]), &json!("warn")),
        "{all}"
    );
    assert_eq!((&all["fireclay.env.count"], &all["fireclay.files.count"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&all["fireclay.stdin"], &all["fireclay.stdin.truncated"]),
        (&json!("y".repeat(300)), &Value::Null)
    );
    let short = look(&["--set", "traces.bytes_max=100"]);
    assert_eq!(
        (&short["fireclay.stdin"], &short["fireclay.stdin.truncated"]),
        (&json!("y".repeat(100)), &json!(true))
    );
    let off = look(&["--set", "traces.content=off"]);
    assert_eq!(
        (&off["fireclay.stdin"], &off["fireclay.limits"]["timeout_ms"]),
        (&Value::Null, &json!(9000)),
        "{off}"
    );
}

#[test]
fn what_a_run_tried_to_reach_is_below_its_execution() {
    let (server, web) = (Server::start(&["--set", "egress.private=[\"127.0.0.0/8\"]"]), Web::saying(None));
    let code = format!(
        "import os, urllib.request\nos.environ.pop('no_proxy'), os.environ.pop('NO_PROXY')\n\
         for port in ({0}, 9):\n    try: urllib.request.urlopen(f'http://localhost:{{port}}/', timeout=20).read()\n    except OSError: pass",
        web.port
    );
    let asked =
        json!({"language": "python", "code": code, "egress": {"allow": [format!("localhost:{}", web.port)]}});
    let root = root_of(&server, server.run(&asked).id.as_str());
    let execution = child(&root, "execution");
    let (went, not) =
        (child(execution, &format!("egress localhost:{}", web.port)), child(execution, "egress localhost:9"));
    assert_eq!(
        (&went["status"], &went["attributes"]["fireclay.egress.verdict"]),
        (&json!("ok"), &json!("allowed"))
    );
    assert_eq!(
        (&not["status"], &not["attributes"]["fireclay.egress.verdict"]),
        (&json!("error"), &json!("refused"))
    );
    assert_eq!((&went["kind"], &went["attributes"]["server.port"]), (&json!("client"), &json!(web.port)));
    assert!(not["message"].as_str().is_some_and(|why| !why.is_empty()), "{not}");
}

#[test]
fn compiling_is_a_span_of_its_own_and_so_is_what_was_refused() {
    let server = Server::start(&[]);
    for (code, wanted) in [
        ("int main(void) { return 0; }", "completed"),
        ("int main(void) { return nothing; }", "setup_failed"),
    ] {
        let (_, run) = server.post_json("/v1/runs", &json!({"language": "c", "code": code}));
        assert_eq!(run["outcome"], wanted, "{run}");
        let root = root_of(&server, run["id"].as_str().unwrap());
        assert!(child(&root, "compile")["duration_ms"].as_f64().unwrap() > 0.0, "{root}");
        assert!(!names(&root).contains(&"package build"), "{root}");
        assert_eq!(names(&root).contains(&"execution"), wanted == "completed", "{root}");
    }
    // What is not compiled has none.
    let root = root_of(&server, server.run(&python("1")).id.as_str());
    assert!(!names(&root).contains(&"compile") && names(&root).contains(&"execution"), "{root}");
}

#[test]
fn installing_packages_is_a_span_of_a_run_and_of_a_session() {
    let server = packages::start(&Data::fresh(), &[]);
    let (_, session) = server.post_json("/v1/sessions", &json!({"packages": ["six==1.16.0"]}));
    let id = session["id"].as_str().unwrap();
    let built = |root: &Value| child(root, "package build")["duration_ms"].as_f64().unwrap();
    let open = root_of(&server, id);
    assert!(built(&open) > 0.0, "{open}");
    assert_eq!(server.delete(&format!("/v1/sessions/{id}")).0, 200);
    let closed = root_of(&server, id);
    assert_eq!(built(&closed), built(&open), "it is kept when the session ends");
    let request = json!({"language": "python", "code": "import six", "packages": ["six==1.16.0"]});
    let root = root_of(&server, packages::completed(&server, &request).id.as_str());
    assert!(built(&root) >= 0.0, "{root}");
    assert_eq!(root["attributes"]["fireclay.packages"], json!(["six==1.16.0"]));
    let (_, plain) = server.post_json("/v1/sessions", &json!({}));
    let root = root_of(&server, plain["id"].as_str().unwrap());
    assert_eq!(root["children"], json!([]), "one without packages has no such span");
}

#[test]
fn a_run_without_a_service_obeys_the_settings_of_traces() {
    let look = |content: &str| {
        let data = Data::fresh();
        let mut command = data.command(&["run", "--local", "-c", "print('said ' + 'twice')"]);
        command.env("FIRECLAY_TRACES_CONTENT", content);
        let ran = feed(&mut command, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "said twice\n"), "{ran:?}");
        let server = Server::start_in(&data, &[]);
        server.wait_for_metric("fireclay_stored_runs", 1.0);
        let rows = found(&server, "");
        assert_eq!(rows.len(), 1, "{rows:?}");
        let trace = server.get_json(&format!("{TRACES}/{}", rows[0]["id"].as_str().unwrap())).1;
        drop(data);
        trace
    };
    let full = look("full");
    assert!(full["input_preview"].as_str().unwrap().contains("said"), "{full}");
    assert_eq!(full["tree"][0]["output"]["text"], "said twice\n");
    let off = look("off");
    assert!(!off.to_string().contains("said"), "{off}");
    assert_eq!(
        (&off["input_preview"], off["tree"][0]["output"]["truncated"].as_bool()),
        (&json!(""), Some(true))
    );
    // None at all: the record of the run is there.
    let data = Data::fresh();
    let mut command = data.command(&["run", "--local", "-c", "print(1)"]);
    assert_eq!(feed(command.env("FIRECLAY_TRACES_ENABLED", "false"), b"").code, 0);
    let server = Server::start_in(&data, &[]);
    server.wait_for_metric("fireclay_stored_runs", 1.0);
    assert_eq!(found(&server, "").len(), 0);
    assert_eq!(server.get_json("/v1/runs").1["items"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_taken_in_is_kept_as_far_as_the_settings_say() {
    let from = Server::start(&[]);
    from.run(&python(&format!("raise ValueError('{}')", "z".repeat(300))));
    let file = from.send("GET", &format!("{TRACES}/export"), &[], b"").text().to_owned();
    assert!(file.contains(&"z".repeat(300)));
    let look = |content: &str| {
        let data = Data::fresh();
        let server = Server::start_in(&data, &["--set", &format!("traces.content={content}")]);
        let headers = [("content-type", "application/x-ndjson")];
        let told = server.send("POST", &format!("{TRACES}/import"), &headers, file.as_bytes()).into_json();
        assert_eq!(told.1["added"], 1, "{told:?}");
        // Whatever is said later: what was not kept is not there.
        let server = Server::start_in(&server.kill(), &["--set", "traces.content=full"]);
        let id = found(&server, "")[0]["id"].as_str().unwrap().to_owned();
        let trace = server.get_json(&format!("{TRACES}/{id}")).1;
        drop(data);
        trace
    };
    assert!(look("full").to_string().contains(&"z".repeat(300)));
    let preview = look("preview").to_string();
    assert!(preview.contains("zzz") && !preview.contains(&"z".repeat(200)), "{preview}");
    let off = look("off");
    assert!(!off.to_string().contains("zzz"), "{off}");
    assert_eq!(off["tree"][0]["attributes"]["fireclay.outcome"], "failed", "what is no content stays: {off}");
}
