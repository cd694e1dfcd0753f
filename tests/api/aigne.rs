//! AIGNE's trace API: what its exporter sends (captured from `@aigne/observability-api` 0.11.14; `examples/seeds/aigne_traces.mjs` has the real one) becomes
//! a trace, ours are read in its shape, and only this machine is served.

use super::tenancy::Tenancy;
use fireclay_tests::http;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

/// The times of what is told here are years ago, and a service that starts removes what is too old.
const KEPT: [&str; 2] = ["--set", "traces.age_ms=1000000h"];
const TREE: &str = "/api/trace/tree";
const ROOT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const NAMES: [&str; 3] = ["00f067aa0ba902b7", "00f067aa0ba902b8", "00f067aa0ba902b9"];

fn span(place: usize, name: &str, tag: &str, ended: bool) -> Value {
    let mut span = json!({
        "id": NAMES[place], "rootId": ROOT, "name": name, "startTime": 1_700_000_000_000_i64 + place as i64 * 10,
        "endTime": if ended { 1_700_000_000_500_i64 } else { 0 }, "status": {"code": i32::from(ended)},
        "attributes": {"agentTag": tag, "metadata": {"of": "a test"}}, "componentId": "did:abt:coder",
    });
    if place > 0 {
        span["parentId"] = NAMES[0].into();
    }
    span
}

/// The life of one run of an agent: each span when it begins, what it was asked and answered, and when it ends.
fn tell(server: &Server) {
    let agents =
        [("coder", "AIAgent"), ("OpenAIChatModel", "ChatModelAgent"), ("evaluateJs", "FunctionAgent")];
    for (place, (name, tag)) in agents.into_iter().enumerate() {
        assert_eq!(
            post(server, TREE, &json!([span(place, name, tag, false)])),
            (200, json!({"code": 0, "message": "ok"}))
        );
    }
    let usage = json!({"inputTokens": 100, "outputTokens": 10});
    let told = [
        json!({"input": {"message": "10! = ?"}, "output": {"message": "3628800"}, "userContext": {"userId": "did:abt:me", "sessionId": "s1"}}),
        json!({"input": {"messages": [{"role": "user"}]}, "output": {"text": "yes", "usage": usage, "model": "gpt-4o-mini"}}),
        json!({"input": {"jsCode": "product(10)"}, "output": {"value": 3_628_800}}),
    ];
    for (place, more) in told.iter().enumerate() {
        let path = format!("{TREE}/{}", NAMES[place]);
        let (status, said) = send(server, "PATCH", &path, more);
        assert_eq!((status, &said["code"]), (200, &json!(0)), "{said}");
    }
    for (place, (name, tag)) in agents.into_iter().enumerate().rev() {
        post(server, TREE, &json!([span(place, name, tag, true)]));
    }
}

fn send(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let headers = [("content-type", "application/json")];
    server.send(method, path, &headers, body.to_string().as_bytes()).into_json()
}

fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    send(server, "POST", path, body)
}

#[test]
fn what_its_exporter_tells_is_a_trace_of_ours() {
    let server = Server::start(&KEPT);
    assert_eq!(server.get("/health"), (200, b"ok".to_vec()));
    post(&server, TREE, &json!([span(0, "coder", "AIAgent", false)]));
    let (_, running) = server.get_json(&format!("/v1/traces/{ROOT}"));
    assert_eq!((&running["outcome"], &running["name"]), (&Value::Null, &json!("coder")), "{running}");
    tell(&server);
    let (status, trace) = server.get_json(&format!("/v1/traces/{ROOT}"));
    assert_eq!(status, 200, "{trace}");
    assert_eq!(
        (&trace["outcome"], &trace["spans"], &trace["kind"]),
        (&json!("completed"), &json!(3), &json!("task"))
    );
    assert_eq!((&trace["input_preview"], &trace["output_preview"]), (&json!("10! = ?"), &json!("3628800")));
    assert_eq!(
        (&trace["tokens_in"], &trace["tokens_out"], &trace["model"]),
        (&json!(100), &json!(10), &json!("gpt-4o-mini"))
    );
    assert_eq!(trace["cost_usd"], json!(0.000_021), "the price of policy/prices.toml");
    let root = &trace["tree"][0];
    assert_eq!(
        (&root["id"], &root["status"], &root["duration_ms"]),
        (&json!(NAMES[0]), &json!("ok"), &json!(500.0))
    );
    assert_eq!(
        (&root["attributes"]["user.id"], &root["attributes"]["session.id"]),
        (&json!("did:abt:me"), &json!("s1"))
    );
    let [model, tool] = [&root["children"][0], &root["children"][1]];
    assert_eq!((&model["name"], &model["kind"]), (&json!("OpenAIChatModel"), &json!("client")));
    assert_eq!(model["attributes"]["gen_ai.usage.input_tokens"], 100);
    assert_eq!(tool["attributes"]["gen_ai.tool.name"], "evaluateJs");
    assert!(tool["input"]["text"].as_str().unwrap().contains("product(10)"), "{tool}");
    let (_, found) = server.get_json("/v1/traces?model=gpt-4o-mini&q=10!");
    assert_eq!(found["items"][0]["id"], ROOT);
}

#[test]
fn a_run_that_an_agent_asks_for_is_below_its_span() {
    let server = Server::start(&KEPT);
    tell(&server);
    let parent = format!("00-{ROOT}-{}-01", NAMES[2]);
    let body = json!({"language": "python", "code": "print(6 * 7)"}).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", parent.as_str())];
    assert_eq!(server.send("POST", "/v1/runs", &headers, body.as_bytes()).status, 200);
    let (_, trace) = server.get_json(&format!("/v1/traces/{ROOT}"));
    let tool = &trace["tree"][0]["children"][1];
    assert_eq!(
        (&tool["name"], &tool["children"][0]["name"]),
        (&json!("evaluateJs"), &json!("python run")),
        "{trace}"
    );
    assert_eq!((trace["tree"].as_array().unwrap().len(), &trace["outcome"]), (1, &json!("completed")));
}

#[test]
fn its_lists_trees_numbers_and_switches_are_there() {
    let server = Server::start(&KEPT);
    tell(&server);
    let (_, run) = server.post_json("/v1/runs", &json!({"language": "python", "code": "print('ours')\n1/0"}));
    let (_, listed) = server.get_json(&format!("{TREE}?page=0&pageSize=10"));
    assert_eq!(
        (&listed["total"], &listed["page"], &listed["pageSize"]),
        (&json!(2), &json!(0), &json!(10)),
        "{listed}"
    );
    let [own, told] = [&listed["data"][0], &listed["data"][1]];
    assert_eq!(
        (&own["name"], &own["status"]),
        (&json!("python run"), &json!({"code": 2, "message": "failed"}))
    );
    assert_eq!(own["attributes"]["metadata"]["of"], run["id"]);
    assert_eq!((&told["id"], &told["rootId"], &told["token"]), (&json!(NAMES[0]), &json!(ROOT), &json!(110)));
    assert_eq!(
        told["attributes"],
        json!({"input": "10! = ?", "output": "3628800", "metadata": {"of": "a test"}})
    );
    assert_eq!((&told["endTime"], &told["parentId"]), (&json!(1_700_000_000_500_i64), &Value::Null));
    for (query, count) in [
        ("searchText=CODER", 1),
        ("searchText=nothing-of-that", 0),
        ("componentId=did:abt:coder", 1),
        ("componentId=other", 0),
        ("startDate=2023-11-14&endDate=2023-11-14", 1),
        ("startDate=2023-11-15&endDate=2023-11-16", 0),
        ("showImportedOnly=true", 0),
        ("page=1&pageSize=1", 2),
    ] {
        assert_eq!(server.get_json(&format!("{TREE}?{query}")).1["total"], count, "{query}");
    }
    let (status, said) = server.get_json(&format!("{TREE}?page=9007199254740991&pageSize=10"));
    assert_eq!((status, &said["error"]), (400, &json!("Page number too large, would cause overflow")));

    let (_, tree) = server.get_json(&format!("{TREE}/{}", NAMES[0]));
    let tree = &tree["data"];
    assert_eq!((&tree["attributes"]["agentTag"], &tree["token"]), (&json!("AIAgent"), &json!(110)));
    let model = &tree["children"][0];
    assert_eq!(
        model["attributes"]["output"],
        json!({"usage": {"inputTokens": 100, "outputTokens": 10}, "model": "gpt-4o-mini", "seconds": null})
    );
    let (_, full) = server.get_json(&format!("{TREE}/children/{}", NAMES[2]));
    assert_eq!(full["data"]["attributes"]["output"], json!({"value": 3_628_800}), "{full}");
    let (_, ours) = server.get_json(&format!("{TREE}/{}", own["id"].as_str().unwrap()));
    let check = &ours["data"]["children"][1];
    assert_eq!(check["name"], "check", "{ours}");
    let (_, full) = server.get_json(&format!("{TREE}/children/{}", check["id"].as_str().unwrap()));
    assert_eq!(full["data"]["parentId"], own["id"], "{full}");
    let unknown = server.get_json(&format!("{TREE}/x"));
    assert_eq!(unknown, (500, json!({"success": false, "error": "Not found trace: x"})));

    let (_, numbers) = server.get_json(&format!("{TREE}/summary"));
    assert_eq!(
        (&numbers["totalCount"], &numbers["successCount"], &numbers["failCount"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(
        (&numbers["totalToken"], &numbers["llmTotalCount"], &numbers["maxLatency"]),
        (&json!(110), &json!(1), &json!(500))
    );
    assert_eq!(
        server.get_json(&format!("{TREE}/components")).1,
        json!({"total": 1, "data": ["did:abt:coder"]})
    );
    let changed =
        |server: &Server| server.get_json(&format!("{TREE}/stats")).1["data"]["lastTraceChanged"].clone();
    assert_eq!((changed(&server), changed(&server)), (json!(true), json!(false)));

    assert_eq!(post(&server, "/api/trace/remark", &json!({"id": NAMES[0], "remark": "look"})).0, 200);
    assert_eq!(server.get_json(&format!("/v1/traces/{ROOT}")).1["remark"], "look");
    let (status, said) =
        post(&server, "/api/trace/remark", &json!({"id": NAMES[0], "remark": "x".repeat(51)}));
    assert_eq!((status, &said["error"]), (400, &json!("Remark cannot exceed 50 characters")));
}

#[test]
fn what_has_another_shape_is_refused_as_there() {
    let server = Server::start(&KEPT);
    let (status, said) = post(&server, TREE, &json!([{"id": "a", "rootId": 1}]));
    assert_eq!((status, &said["success"]), (400, &json!(false)), "{said}");
    let issues: Value = serde_json::from_str(said["error"].as_str().unwrap()).unwrap();
    assert_eq!(
        issues[0],
        json!({"code": "invalid_type", "expected": "string", "received": "number", "path": [0, "rootId"], "message": "Expected string, received number"})
    );
    assert_eq!((&issues[1]["path"], &issues[1]["message"]), (&json!([0, "name"]), &json!("Required")));
    assert_eq!(
        post(&server, TREE, &json!([])),
        (500, json!({"success": false, "error": "req.body is empty"}))
    );
    // A page of another origin may send plain text unasked.
    assert_eq!(server.send("POST", TREE, &[("content-type", "text/plain")], b"[]").status, 415);
    assert_eq!(post(&server, TREE, &json!([span(0, "coder", "AIAgent", true)])).0, 200, "the control");
    // Of what nobody told nothing is kept, as there.
    assert_eq!(send(&server, "PATCH", &format!("{TREE}/unknown"), &json!({"output": {"x": 1}})).0, 200);
    assert_eq!(server.get_json(TREE).1["total"], 1);
}

#[test]
fn a_file_of_traces_comes_back_and_they_are_deleted() {
    let server = Server::start(&KEPT);
    tell(&server);
    server.post_json("/v1/runs", &json!({"language": "python", "code": "print('ours')"}));
    let headers = [("content-type", "application/json")];
    let (_, listed) = server.get_json(TREE);
    let ids: Vec<&Value> = listed["data"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    let body = json!({ "ids": ids }).to_string();
    let file = server.send("POST", "/api/trace/download", &headers, body.as_bytes());
    assert_eq!((file.status, file.header("content-type")), (200, "application/zip"));
    // Another program's word that it is an archive, and one that it deflated.
    let script = "import io,json,sys,zipfile\nfile=zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))\nassert file.testzip() is None\n\
        [name]=file.namelist()\nrows=json.loads(file.read(name))\nprint(len(rows),file=sys.stderr)\nout=io.BytesIO()\n\
        again=zipfile.ZipFile(out,'w',zipfile.ZIP_DEFLATED)\nagain.writestr(name,file.read(name))\nagain.close()\nsys.stdout.buffer.write(out.getvalue())";
    let mut python = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), &file.body).unwrap();
    let packed = python.wait_with_output().unwrap();
    assert!(packed.status.success());

    assert_eq!(
        send(&server, "DELETE", TREE, &json!({"ids": [NAMES[0]]})),
        (200, json!({"code": 0, "message": "1 traces deleted"}))
    );
    assert_eq!(server.get_json(&format!("/v1/traces/{ROOT}")).0, 404);
    assert_eq!(server.get_json(TREE).1["total"], 1);
    let zip = [("content-type", "application/zip")];
    let (status, said) = server.send("POST", "/api/trace/upload", &zip, &packed.stdout).into_json();
    assert_eq!((status, &said["failCount"]), (200, &json!(0)), "{said}");
    let (_, again) = server.send("POST", "/api/trace/upload", &zip, &packed.stdout).into_json();
    assert_eq!(
        (&again["successCount"], &again["skippedCount"]),
        (&json!(0), &said["successCount"]),
        "{again}"
    );
    let (_, back) = server.get_json(&format!("/v1/traces/{ROOT}"));
    assert_eq!(
        (&back["imported"], &back["spans"], &back["tokens_in"]),
        (&json!(true), &json!(3), &json!(100)),
        "{back}"
    );
    let (status, said) =
        server.send("POST", "/api/trace/upload", &zip, b"PK\x05\x06nothing of a zip").into_json();
    assert_eq!((status, &said["error"]), (400, &json!("No JSON file found in zip archive")));
    assert_eq!(send(&server, "DELETE", TREE, &Value::Null).1["message"], "all traces deleted");
    assert_eq!(server.get_json(TREE).1["total"], 0);
}

#[test]
fn who_follows_hears_of_changes_while_it_is_switched_on() {
    let server = Server::start(&KEPT);
    assert_eq!(server.get_json("/api/settings").1, json!({"code": 0, "data": {"live": false}}));
    assert_eq!(
        post(&server, "/api/settings", &json!({"live": true})).1,
        json!({"code": 0, "data": {"live": true}})
    );
    let events = http::reader("GET", &server.url("/api/sse"));
    post(&server, TREE, &json!([span(0, "coder", "AIAgent", true)]));
    let mut lines = BufReader::new(events).lines().map(Result::unwrap);
    let told = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!({"type": "event", "data": {}}));
}

#[test]
fn only_who_may_is_served_and_each_tenant_sees_its_own() {
    let tenancy = Tenancy::start_in(&Data::fresh(), &KEPT);
    let server = &tenancy.server;
    let body = json!([span(0, "coder", "AIAgent", true)]).to_string();
    let plain = [("content-type", "application/json")];
    let answer = server.send("POST", TREE, &plain, body.as_bytes());
    assert_eq!((answer.status, &answer.into_json().1["success"]), (401, &json!(false)));
    let with = |key: &str, more: &[(&str, &str)], method: &str, body: &str| {
        let key = format!("Bearer {key}");
        let mut headers = vec![("content-type", "application/json"), ("authorization", key.as_str())];
        headers.extend(more);
        server.send(method, TREE, &headers, body.as_bytes()).into_json()
    };
    let (one, other) = (&tenancy.a, &tenancy.b);
    assert_eq!(with(one, &[("x-forwarded-for", "192.0.2.1")], "POST", &body).0, 403, "somebody else's");
    assert_eq!(with(one, &[], "POST", &body).0, 200);
    assert_eq!(with(one, &[], "GET", "").1["total"], 1);
    assert_eq!(with(other, &[], "GET", "").1["total"], 0);
    // Deleting all is deleting one's own.
    assert_eq!(with(other, &[], "DELETE", "").0, 200);
    assert_eq!(with(one, &[], "GET", "").1["total"], 1);
    // The same names of another tenant are another trace.
    assert_eq!(with(other, &[], "POST", &body).0, 200);
    assert_eq!(
        (with(one, &[], "GET", "").1["total"].clone(), with(other, &[], "GET", "").1["total"].clone()),
        (json!(1), json!(1))
    );
}

#[test]
fn settings_open_it_or_turn_it_off_and_say_what_is_kept() {
    let off = Server::start(&["--set", "aigne.serve=off"]);
    assert_eq!((off.get("/health").0, off.get(TREE).0), (404, 404));
    let all = Server::start(&["--set", "aigne.serve=all", "--set", "traces.content=off", KEPT[0], KEPT[1]]);
    let passed = [("content-type", "application/json"), ("x-forwarded-for", "192.0.2.1")];
    let mut told = span(0, "coder", "AIAgent", true);
    told["attributes"]["input"] = json!({"message": "a word of mine"});
    assert_eq!(all.send("POST", TREE, &passed, json!([told]).to_string().as_bytes()).status, 200);
    let (_, trace) = all.get_json(&format!("/v1/traces/{ROOT}"));
    assert_eq!((&trace["name"], &trace["input_preview"]), (&json!("coder"), &json!("")));
    assert!(!trace.to_string().contains("a word of mine"));
    assert!(!all.get_json(&format!("{TREE}/children/{}", NAMES[0])).1.to_string().contains("a word of mine"));
}
