//! `/v1/tasks`: the loop as a service. What it comes to, who may see it, who says what runs, what ends it, and what is left of it after a crash.

use super::KEY;
use super::model::Model;
use super::reviews::with;
use fireclay_tests::http::{Event, Stream};
use fireclay_tests::run::feed;
use fireclay_tests::{Data, Server, http};
use rustix::process::Signal;
use serde_json::{Value, json};

const TASKS: &str = "/v1/tasks";
/// Runs until it is ended.
const ENDLESS: &str = "import time\nwhile True: time.sleep(1)";

fn runs(code: &str) -> Value {
    json!([{"name": "run_code", "arguments": {"code": code}}])
}

/// A service on this data directory, whose model is this one.
fn start_in(data: &Data, model: &Model, args: &[&str]) -> Server {
    let base_url = format!("model.base_url={}", model.base_url("openai"));
    Server::start_in(data, &[&["--set", "model.name=openai:gpt-5-mini", "--set", &base_url], args].concat())
}

/// A fresh data directory with the key of the model.
fn data_with_key() -> Data {
    let data = Data::fresh();
    let kept = feed(&mut data.command(&["secret", "set", "OPENAI_API_KEY"]), KEY.as_bytes());
    assert_eq!(kept.code, 0, "{kept:?}");
    data
}

/// Asks, and waits for the end.
fn ask(server: &Server, body: &Value) -> Value {
    let mut body = body.clone();
    body["wait"] = true.into();
    let (status, task) = server.post_json(TASKS, &body);
    assert_eq!(status, 200, "{task}");
    task
}

/// Asks, and does not wait; its path.
fn begin(server: &Server, body: &Value) -> String {
    let (status, task) = server.post_json(TASKS, body);
    assert_eq!(status, 202, "{task}");
    format!("{TASKS}/{}", task["id"].as_str().unwrap())
}

fn follow(server: &Server, path: &str, after: Option<&str>) -> Stream {
    let headers: Vec<_> = after.iter().map(|after| ("last-event-id", *after)).collect();
    http::stream("GET", &server.url(&format!("{path}/events")), &headers, b"")
}

/// Follows a task until something of this kind happens.
fn until(server: &Server, path: &str, kind: &str) -> Event {
    let mut events = follow(server, path, None);
    events.find(|event| event.kind == kind).unwrap_or_else(|| panic!("no {kind} before the end"))
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

/// A first program that fails, one that mends it, an answer.
fn mended() -> Value {
    json!([
        {"expect": ["1 to 100"], "text": "I add them up.", "calls": runs("print(sun(range(1, 101)))")},
        {"expect": ["NameError"], "text": "It is called sum.", "calls": runs("print(sum(range(1, 101)))")},
        {"expect": ["[stdout #", "]\n5050"], "text": "The sum is 5050."},
    ])
}

#[test]
fn a_question_comes_to_an_answer_and_each_attempt_is_kept() {
    let model = Model::saying(&mended());
    let server = with(&model, &[]);
    let task = ask(&server, &json!({"question": "What is the sum of 1 to 100?"}));
    assert_eq!((&task["state"], &task["answer"]), (&json!("answered"), &json!("The sum is 5050.")), "{task}");
    assert_eq!((&task["error"], &task["model"]), (&Value::Null, &json!("openai:gpt-5-mini")), "{task}");
    assert_eq!((&task["usage"]["turns"], &task["usage"]["runs"]), (&json!(3), &json!(2)), "{task}");
    assert!(task["usage"]["dollars"].as_f64().unwrap() > 0.0, "{task}");
    let attempts = task["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{task}");
    let first = &attempts[0];
    assert_eq!((&first["number"], &first["thought"]), (&json!(1), &json!("I add them up.")), "{task}");
    assert_eq!((&first["outcome"], &first["reflection"]), (&json!("failed"), &json!("It is called sum.")));
    assert!(first["error"].as_str().unwrap().starts_with("NameError: name 'sun'"), "{first}");
    assert_eq!(attempts[1]["error"], Value::Null);
    assert!(attempts[1]["output"].as_str().unwrap().contains("5050"), "{task}");
    for attempt in attempts {
        let run = server.get_json(&format!("/v1/runs/{}", attempt["run"].as_str().unwrap()));
        assert_eq!((run.0, &run.1["session"]), (200, &task["session"]), "{run:?}");
        assert_eq!(run.1["metadata"]["task"], task["id"]);
    }
    let path = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    assert_eq!(server.get_json(&path), (200, task.clone()));
    let (_, list) = server.get_json(&format!("{TASKS}?state=answered"));
    assert_eq!((&list["items"][0]["id"], &list["next"]), (&task["id"], &Value::Null), "{list}");
    assert_eq!(list["items"][0]["question"], "What is the sum of 1 to 100?");
    assert_eq!(server.get_json(&format!("{TASKS}?state=failed")).1["items"], json!([]));
    assert!(!server.data.said().contains(KEY) && !task.to_string().contains(KEY));
}

#[test]
fn events_come_as_they_happen_and_are_the_same_when_told_again() {
    let model = Model::saying(&mended());
    let server = with(&model, &[]);
    let body = json!({"question": "What is the sum of 1 to 100?"}).to_string();
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let events: Vec<Event> = http::stream("POST", &server.url(TASKS), &headers, body.as_bytes()).collect();
    let wanted = [
        "question", "spent", "thought", "code", "running", "ran", "spent", "thought", "code", "running",
        "ran", "spent", "settled",
    ];
    assert_eq!(kinds(&events), wanted);
    let numbers: Vec<u64> = events.iter().map(|event| event.id.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=wanted.len() as u64), "{numbers:?}");
    assert_eq!(events.last().unwrap().data["answer"], "The sum is 5050.");
    assert!(events.iter().all(|event| event.data["at"].is_string()), "{events:?}");
    let (_, list) = server.get_json(TASKS);
    let path = format!("{TASKS}/{}", list["items"][0]["id"].as_str().unwrap());
    assert_eq!(follow(&server, &path, None).collect::<Vec<_>>(), events);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(follow(&server, &path, Some(&event.id)).collect::<Vec<_>>(), events[at + 1..]);
    }
    for wrong in ["x", "-1", ""] {
        let answer = server.send("GET", &format!("{path}/events"), &[("last-event-id", wrong)], b"");
        assert_eq!(answer.status, 422, "{wrong:?}");
    }
}

/// A whole program: its imports are tried first, then all of it, in sandboxes of their own; what failed goes back.
#[test]
fn a_solution_is_written_anew_until_it_runs() {
    let said = |imports: &str, expect: Value| {
        let text = json!({"prefix": "Counts pairs.", "imports": imports, "code": "print(math.comb(5, 2))"})
            .to_string();
        json!({"text": text, "expect": expect})
    };
    let wrong = said("import maths", json!([]));
    let turns = json!([wrong, said("import math", json!(["maths", "pairs"])), wrong]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let asked = |passes: u32| {
        let solution = json!({"max_iterations": passes});
        ask(
            &server,
            &json!({"question": "How many pairs of five?", "solution": solution, "auto_packages": false}),
        )
    };
    let task = asked(3);
    assert_eq!((&task["state"], &task["session"]), (&json!("answered"), &Value::Null), "{task}");
    let found = &task["questions"][0]["solution"];
    assert_eq!((&found["imports"], &found["output"]), (&json!("import math"), &json!("10\n")), "{task}");
    assert!(task["answer"].as_str().unwrap().contains("print(math.comb(5, 2))"), "{task}");
    let outcomes: Vec<_> = task["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["failed", "completed", "completed"], "{task}");
    let (_, run) = server.get_json(&format!("/v1/runs/{}", task["attempts"][2]["run"].as_str().unwrap()));
    assert_eq!((&run["session"], &run["stdout"]), (&Value::Null, &json!("10\n")), "{run}");
    let (_, traces) = server.get_json("/v1/traces?kind=task");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", traces["items"][0]["id"].as_str().unwrap()));
    let passes: Vec<_> =
        trace["tree"][0]["children"].as_array().unwrap().iter().map(|span| span["name"].clone()).collect();
    assert!(passes.contains(&json!("pass-1")) && passes.contains(&json!("pass-2")), "{trace}");
    let task = asked(1);
    assert_eq!((&task["state"], &task["answer"]), (&json!("failed"), &Value::Null), "{task}");
    assert!(task["error"].as_str().unwrap().contains("maths"), "{task}");
    let (_, session) = server.post_json("/v1/sessions", &json!({}));
    for (body, field) in [
        (json!({"solution": {"max_iterations": 0}}), "solution"),
        (json!({"solution": {}, "session": session["id"]}), "session"),
    ] {
        let mut whole = json!({"question": "?"});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let (status, problem) = server.post_json(TASKS, &whole);
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
}

#[test]
fn a_person_lets_code_run_mends_it_or_says_no() {
    let turns = json!([
        {"calls": runs("print('one')")},
        {"expect": ["[stdout #", "]\none"], "calls": runs("print('two')")},
        {"expect": ["[stdout #", "]\nedited"], "calls": runs("print('three')")},
        {"expect": ["[outcome: denied]", "not on a Sunday"], "calls": runs("print('four')")},
        {"expect": ["[stdout #", "]\nfour"], "calls": runs("print('five')")},
        {"expect": ["[stdout #", "]\nfive"], "text": "done"},
    ]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let path = begin(&server, &json!({"question": "?", "ask": true}));
    let mut events = follow(&server, &path, None);
    let mut waits = |n: u32| {
        let event = events.find(|event| event.kind == "approval").expect("code waits");
        assert_eq!(event.data["attempt"], n, "{event:?}");
        let (_, task) = server.get_json(&path);
        assert_eq!((&task["state"], &task["approval"]), (&json!("waiting"), &json!(n)), "{task}");
    };
    let decide = |n: u32, body: Value| server.post_json(&format!("{path}/approvals/{n}"), &body);
    waits(1);
    let attempts = || server.get_json(&path).1["attempts"].as_array().unwrap().clone();
    assert_eq!(attempts()[0]["run"], Value::Null, "it waits, so it does not run");
    for n in [0, 2, 99] {
        assert_eq!(decide(n, json!({"decision": "approve"})).0, 409, "{n}");
    }
    assert_eq!(decide(1, json!({"decision": "maybe"})).0, 422);
    assert_eq!(decide(1, json!({"decision": "deny", "code": "x"})).0, 422);
    let word = [("content-type", "application/json")];
    assert_eq!(
        server.send("POST", &format!("{path}/approvals/x"), &word, b"{\"decision\":\"deny\"}").status,
        404
    );
    assert_eq!(decide(1, json!({"decision": "approve"})).0, 200);
    waits(2);
    assert_eq!(decide(1, json!({"decision": "approve"})).0, 409, "it was decided");
    assert_eq!(decide(2, json!({"decision": "approve", "code": "print('edited')"})).0, 200);
    waits(3);
    assert_eq!(decide(3, json!({"decision": "deny", "reason": "not on a Sunday"})).0, 200);
    waits(4);
    assert_eq!(decide(4, json!({"decision": "always"})).0, 200);
    let rest: Vec<Event> = events.collect();
    assert!(!kinds(&rest).contains(&"approval"), "{rest:?}");
    let (_, task) = server.get_json(&path);
    assert_eq!((&task["state"], &task["answer"]), (&json!("answered"), &json!("done")), "{task}");
    let attempts = attempts();
    assert_eq!((&attempts[1]["code"], &attempts[1]["edited"]), (&json!("print('edited')"), &json!(true)));
    assert_eq!((&attempts[2]["outcome"], &attempts[2]["run"]), (&json!("denied"), &Value::Null));
    assert_eq!(attempts[2]["denied"], json!(["not on a Sunday"]));
    assert_eq!(task["usage"]["runs"], 4, "{task}");
    assert_eq!(decide(5, json!({"decision": "approve"})).0, 409, "it is over");
}

#[test]
fn nobodys_word_in_time_is_a_no() {
    let turns = json!([{"calls": runs("print(1)")}, {"expect": ["[outcome: denied]", "nobody approved"], "text": "as you like"}]);
    let model = Model::saying(&turns);
    let server = with(&model, &["--set", "task.approval_ms=1"]);
    let task = ask(&server, &json!({"question": "?", "ask": true}));
    assert_eq!((&task["answer"], &task["usage"]["runs"]), (&json!("as you like"), &json!(0)), "{task}");
}

#[test]
fn another_question_goes_on_with_conversation_and_session() {
    let turns = json!([
        {"calls": runs("x = 41\nprint(x)")},
        {"text": "It is 41."},
        {"expect": ["And one more?"], "calls": runs("print(x + 1)")},
        {"expect": ["[stdout #", "]\n42"], "text": "It is 42."},
        {"expect": ["The sandbox began anew"], "calls": runs("print('x' in globals())")},
        {"expect": ["[stdout #", "]\nFalse"], "text": "It is gone."},
    ]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let first = ask(&server, &json!({"question": "What is x?"}));
    let path = format!("{TASKS}/{}", first["id"].as_str().unwrap());
    let message = |question: &str, key: &str| {
        let body = json!({"question": question, "wait": true});
        server.post_json_with(&format!("{path}/messages"), &[("idempotency-key", key)], &body)
    };
    let (status, second) = message("And one more?", "k1");
    assert_eq!((status, &second["answer"]), (200, &json!("It is 42.")), "{second}");
    assert_eq!((&second["session"], &second["usage"]["turns"]), (&first["session"], &json!(2)), "{second}");
    let asked: Vec<_> = second["questions"].as_array().unwrap().iter().map(|one| &one["question"]).collect();
    assert_eq!(asked, [&json!("What is x?"), &json!("And one more?")]);
    assert_eq!(second["questions"][0]["answer"], "It is 41.");
    let attempts = second["attempts"].as_array().unwrap();
    let places: Vec<_> =
        attempts.iter().map(|one| (one["number"].clone(), one["question"].clone())).collect();
    assert_eq!(places, [(json!(1), json!(1)), (json!(2), json!(2))]);
    assert_eq!(message("And one more?", "k1"), (200, second.clone()), "the same key is asked once");
    assert_eq!(message("Something else", "k1").0, 409);
    let headers =
        [("content-type", "application/json"), ("accept", "text/event-stream"), ("idempotency-key", "k1")];
    let body = json!({"question": "And one more?", "wait": true}).to_string();
    let url = server.url(&format!("{path}/messages"));
    let again: Vec<Event> = http::stream("POST", &url, &headers, body.as_bytes()).collect();
    assert_eq!(kinds(&again), ["question", "spent", "code", "running", "ran", "spent", "settled"]);
    let said = model.requests()[2]["body"]["messages"].to_string();
    assert!(said.contains("What is x?") && said.contains("It is 41."), "{said}");
    assert_eq!(server.delete(&format!("/v1/sessions/{}", first["session"].as_str().unwrap())).0, 200);
    let (_, third) = message("And now?", "k2");
    assert_eq!(third["answer"], "It is gone.", "{third}");
    assert_ne!(third["session"], first["session"]);
    assert_eq!(third["questions"][2]["question"], "And now?", "what we add is not the caller's");
}

#[test]
fn a_task_that_is_taken_back_ends_its_run_and_its_session() {
    let turns = json!([{"calls": runs(ENDLESS)}]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let path = begin(&server, &json!({"question": "?"}));
    let running = until(&server, &path, "running");
    let (status, busy) = server.post_json(&format!("{path}/messages"), &json!({"question": "and?"}));
    assert_eq!((status, busy["title"].is_string()), (409, true), "{busy}");
    let (status, task) = server.delete(&path);
    assert_eq!((status, &task["state"], &task["answer"]), (200, &json!("cancelled"), &Value::Null), "{task}");
    assert_eq!(task["attempts"][0]["outcome"], "cancelled", "{task}");
    let run = server.get_json(&format!("/v1/runs/{}", running.data["run"].as_str().unwrap())).1;
    assert_eq!(run["outcome"], "cancelled", "{run}");
    let session = server.get_json(&format!("/v1/sessions/{}", task["session"].as_str().unwrap())).1;
    assert_eq!((&session["state"], &session["end"]["why"]), (&json!("ended"), &json!("closed")), "{session}");
    assert_eq!(until(&server, &path, "settled").data["state"], "cancelled");
    assert_eq!(server.post_json(&format!("{path}/messages"), &json!({"question": "and?"})).0, 409);
    assert_eq!(server.delete(&path), (204, Value::Null));
    assert_eq!(server.get_json(&path).0, 404);
    assert_eq!(server.delete(&path).0, 404);
    assert_eq!(model.requests().len(), 1);
}

#[test]
fn one_that_has_ended_is_forgotten_with_its_session() {
    let model = Model::saying(&json!([{"calls": runs("print(1)")}, {"text": "1"}]));
    let server = with(&model, &[]);
    let task = ask(&server, &json!({"question": "?"}));
    let session = format!("/v1/sessions/{}", task["session"].as_str().unwrap());
    assert_eq!(server.get_json(&session).1["state"], "open");
    assert_eq!(server.delete(&format!("{TASKS}/{}", task["id"].as_str().unwrap())).0, 204);
    assert_eq!(server.get_json(&session).1["state"], "ended");
    assert_eq!(server.get_json(TASKS).1["items"], json!([]));
}

#[test]
fn each_budget_ends_a_question_by_its_name_and_keeps_what_there_was() {
    for (part, value, limit, runs) in [
        ("turns", json!(2), "turns", 2),
        ("runs", json!(1), "runs", 1),
        ("tokens", json!(1500), "tokens", 2),
        ("dollars", json!(0.0008), "dollars", 2),
    ] {
        let model = Model::of("endless");
        let server = with(&model, &[]);
        let task = ask(&server, &json!({"question": "?", "budget": {part: value}}));
        assert_eq!((&task["state"], &task["limit"]), (&json!("budget_exceeded"), &json!(limit)), "{task}");
        assert_eq!((&task["answer"], &task["usage"]["runs"]), (&Value::Null, &json!(runs)), "{task}");
        let last = &task["questions"][0]["last"];
        assert!(last["code"].as_str().unwrap().contains("print('run', n)"), "{task}");
        assert!(last["output"].is_string() && task["attempts"].as_array().unwrap().len() >= runs, "{task}");
    }
    let turns = Value::from(vec![json!({"calls": runs("import time; time.sleep(600)")}); 20]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let task = ask(&server, &json!({"question": "?", "budget": {"time_ms": 1000}}));
    assert_eq!((&task["state"], &task["limit"]), (&json!("budget_exceeded"), &json!("time")), "{task}");
}

#[test]
fn what_cannot_be_is_refused_by_its_field() {
    let server = Server::start(&[]);
    let (status, problem) = server.post_json(TASKS, &json!({"question": "?"}));
    assert_eq!((status, &problem["field"]), (422, &json!("model")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("model.name"), "{problem}");
    let model = Model::saying(&json!([]));
    let server = with(&model, &["--set", "model.turns=5"]);
    for (body, field) in [
        (json!({"question": " "}), "question"),
        (json!({"question": "x".repeat((256 << 10) + 1)}), "question"),
        (json!({"question": "?", "instructions": "x".repeat((64 << 10) + 1)}), "instructions"),
        (json!({"question": "?", "budget": {"turns": 6}}), "budget.turns"),
        (json!({"question": "?", "budget": {"turns": 0}}), "budget.turns"),
        (json!({"question": "?", "budget": {"dollars": 1.5}}), "budget.dollars"),
        (json!({"question": "?", "budget": {"dollars": -1}}), "budget.dollars"),
        (json!({"question": "?", "budget": {"beer": 1}}), "budget.beer"),
        (json!({"question": "?", "files": [{"path": "../x", "text": ""}]}), "files"),
        (json!({"question": "?", "language": "cobol"}), "language"),
    ] {
        let (status, problem) = server.post_json(TASKS, &body);
        assert_eq!(status, 422, "{field}: {problem}");
        assert!(problem["type"].is_string() && problem["hint"].is_string(), "{problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let none = "ses_00000000000000000000000000";
    assert_eq!(server.post_json(TASKS, &json!({"question": "?", "session": none})).0, 404);
    for path in ["/v1/tasks/x", "/v1/tasks/tsk_00000000000000000000000000"] {
        assert_eq!(server.get_json(path).0, 404);
        assert_eq!(server.delete(path).0, 404);
        assert_eq!(server.get_json(&format!("{path}/events")).0, 404);
        assert_eq!(server.post_json(&format!("{path}/messages"), &json!({"question": "?"})).0, 404);
        assert_eq!(server.post_json(&format!("{path}/approvals/1"), &json!({"decision": "deny"})).0, 404);
    }
    assert_eq!(model.requests().len(), 0);
}

#[test]
fn the_same_key_is_one_task_and_too_many_at_once_are_refused() {
    let model = Model::saying(&json!([{"calls": runs(ENDLESS)}, {"text": "free again"}]));
    let server = with(&model, &["--set", "tenant.tasks=1"]);
    let body = json!({"question": "?"});
    let key = [("idempotency-key", "once")];
    let (status, task) = server.post_json_with(TASKS, &key, &body);
    assert_eq!(status, 202, "{task}");
    let path = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    until(&server, &path, "running");
    let (status, again) = server.post_json_with(TASKS, &key, &body);
    assert_eq!((status, &again["id"]), (202, &task["id"]), "{again}");
    assert_eq!(server.post_json_with(TASKS, &key, &json!({"question": "!"})).0, 409);
    let headers = [("content-type", "application/json")];
    let full = server.send("POST", TASKS, &headers, body.to_string().as_bytes());
    assert_eq!((full.status, full.header("retry-after")), (429, "10"));
    assert_eq!(server.delete(&path).0, 200);
    assert_eq!(ask(&server, &body)["answer"], "free again");
    assert_eq!(server.get_json(&format!("{TASKS}?limit=1")).1["items"].as_array().unwrap().len(), 1);
    let next = server.get_json(&format!("{TASKS}?limit=1")).1["next"].as_str().unwrap().to_owned();
    let (_, second) = server.get_json(&format!("{TASKS}?limit=1&cursor={next}"));
    assert_eq!((&second["items"][0]["id"], &second["next"]), (&task["id"], &Value::Null), "{second}");
}

#[test]
fn a_service_that_dies_loses_nothing_that_was_recorded() {
    let turns = json!([
        {"text": "First this.", "calls": runs("print('recorded')")},
        {"expect": ["recorded"], "calls": runs(ENDLESS)},
        {"expect": ["Go on", "The sandbox began anew"], "text": "It goes on."},
    ]);
    let model = Model::saying(&turns);
    let data = data_with_key();
    let server = start_in(&data, &model, &[]);
    let path = begin(&server, &json!({"question": "What was it?"}));
    let mut events = follow(&server, &path, None);
    assert_eq!(events.by_ref().filter(|event| event.kind == "running").nth(1).unwrap().data["attempt"], 2);
    drop(events);
    let before = server.get_json(&path).1;
    server.kill();
    data.wait_for_the_last_process();
    let server = start_in(&data, &model, &[]);
    let (status, task) = server.get_json(&path);
    assert_eq!((status, &task["state"]), (200, &json!("interrupted")), "{task}");
    assert!(task["error"].as_str().unwrap().contains("the service ended"), "{task}");
    assert_eq!(task["attempts"], before["attempts"], "{task}");
    assert_eq!(task["attempts"][0]["outcome"], "completed", "{task}");
    assert_eq!(until(&server, &path, "settled").data["state"], "interrupted");
    let body = json!({"question": "Go on", "wait": true});
    let (status, task) = server.post_json(&format!("{path}/messages"), &body);
    assert_eq!((status, &task["answer"]), (200, &json!("It goes on.")), "{task}");
    let said = model.requests()[2]["body"]["messages"].to_string();
    assert!(
        said.contains("What was it?") && said.contains("recorded"),
        "the conversation is still there: {said}"
    );
}

#[test]
fn a_service_that_ends_in_order_says_so_of_its_tasks() {
    let model = Model::saying(&json!([{"calls": runs(ENDLESS)}, {"calls": runs("print(1)")}]));
    let data = data_with_key();
    let server = start_in(&data, &model, &[]);
    let path = begin(&server, &json!({"question": "?"}));
    let running = until(&server, &path, "running");
    let waiting = begin(&server, &json!({"question": "?", "ask": true}));
    until(&server, &waiting, "approval");
    server.signal(Signal::TERM);
    assert!(server.ended().success(), "{}", data.said());
    let server = start_in(&data, &model, &[]);
    for path in [&path, &waiting] {
        let (_, task) = server.get_json(path);
        assert_eq!((&task["state"], &task["approval"]), (&json!("interrupted"), &Value::Null), "{task}");
    }
    let run = server.get_json(&format!("/v1/runs/{}", running.data["run"].as_str().unwrap())).1;
    assert_eq!(run["outcome"], "cancelled", "{run}");
}

#[test]
fn a_stranger_sees_nothing_and_a_revoked_key_ends_what_it_asked_for() {
    let model = Model::saying(&json!([{"calls": runs("print(1)")}, {"calls": runs(ENDLESS)}]));
    let data = data_with_key();
    let key = |args: &[&str]| {
        let made = feed(&mut data.command(&[&["key", "create"], args].concat()), b"");
        assert_eq!(made.code, 0, "{made:?}");
        made.stdout.trim().to_owned()
    };
    let (admin, one, two) = (key(&["--role", "admin"]), key(&["--tenant", "one"]), key(&["--tenant", "two"]));
    let server = start_in(&data, &model, &[]);
    let call = |key: &str, method: &str, path: &str, body: Option<Value>| {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(body.as_ref().map(|_| ("content-type", "application/json")));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        server.send(method, path, &headers, body.as_bytes()).into_json()
    };
    let asked = json!({"question": "?", "ask": true});
    let (status, task) = call(&one, "POST", TASKS, Some(asked.clone()));
    assert_eq!(status, 202, "{task}");
    let path = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    let bearer = format!("Bearer {one}");
    let headers = [("authorization", bearer.as_str())];
    let mut events = http::stream("GET", &server.url(&format!("{path}/events")), &headers, b"");
    assert!(events.any(|event| event.kind == "approval"));
    for stranger in [&two, &admin] {
        assert_eq!(call(stranger, "GET", &path, None).0, 404);
        assert_eq!(call(stranger, "GET", &format!("{path}/events"), None).0, 404);
        assert_eq!(call(stranger, "DELETE", &path, None).0, 404);
        let word = Some(json!({"decision": "approve"}));
        assert_eq!(call(stranger, "POST", &format!("{path}/approvals/1"), word).0, 404);
        assert_eq!(
            call(stranger, "POST", &format!("{path}/messages"), Some(json!({"question": "?"}))).0,
            404
        );
        assert_eq!(call(stranger, "GET", TASKS, None).1["items"], json!([]));
    }
    assert_eq!(call(&one, "GET", &path, None).0, 200, "its owner sees it");
    let word = Some(json!({"decision": "always"}));
    assert_eq!(call(&one, "POST", &format!("{path}/approvals/1"), word).0, 200);
    assert_eq!(events.by_ref().filter(|event| event.kind == "running").nth(1).unwrap().data["attempt"], 2);
    let id = one.split('_').nth(1).unwrap();
    assert_eq!(call(&admin, "DELETE", &format!("/v1/keys/{id}"), None).0, 204);
    let end = events.last().unwrap();
    assert_eq!((end.kind.as_str(), &end.data["state"]), ("settled", &json!("failed")), "{end:?}");
    assert!(end.data["error"].as_str().unwrap().contains("revoked"), "{end:?}");
    assert_eq!(call(&one, "GET", &path, None).0, 401);
}

#[test]
fn trouble_with_the_provider_is_got_over_or_ends_the_task() {
    let model = Model::of("troubled");
    let server = with(&model, &[]);
    let task = ask(&server, &json!({"question": "?"}));
    assert_eq!((&task["state"], &task["answer"]), (&json!("answered"), &json!("Done, at last.")), "{task}");
    let path = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    let events: Vec<Event> = follow(&server, &path, None).collect();
    assert_eq!(events.iter().filter(|event| event.kind == "retrying").count(), 4, "{events:?}");
    assert_eq!(model.requests().len(), 6);
    for (turn, words) in [
        (
            json!({"status": 401, "error": {"type": "invalid_request_error", "message": "Incorrect API key"}}),
            "refuses the key",
        ),
        (
            json!({"status": 429, "retry_after": "3600", "error": {"type": "rate_limit_error", "message": "tomorrow"}}),
            "tomorrow",
        ),
    ] {
        let model = Model::saying(&json!([turn]));
        let server = with(&model, &[]);
        let task = ask(&server, &json!({"question": "?"}));
        assert_eq!((&task["state"], model.requests().len()), (&json!("failed"), 1), "{task}");
        assert!(task["error"].as_str().unwrap().contains(words), "{task}");
        assert!(!task.to_string().contains(KEY), "{task}");
    }
}

#[test]
fn code_that_the_reviewer_refuses_goes_back_to_the_model() {
    let model = Model::of("rm_reviewed");
    let server = with(&model, &[]);
    let task = ask(&server, &json!({"question": "clean up", "review": true}));
    assert_eq!(task["answer"], "I may not delete everything, so I did not.", "{task}");
    let attempt = &task["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["run"]), (&json!("denied"), &Value::Null), "{task}");
    assert_eq!(attempt["denied"], json!(["It deletes every file of the machine."]));
}

#[test]
fn files_and_a_session_of_ones_own_are_there() {
    let write = json!([{"name": "write_file", "arguments": {"path": "out/b.txt", "text": "seven"}}, {"name": "read_file", "arguments": {"path": "a.txt"}}]);
    let turns = json!([
        {"calls": runs("print(open('a.txt').read(), mine)")},
        {"expect": ["[stdout #", "]\nsix 9"], "calls": write},
        {"expect": ["wrote 5 bytes to out/b.txt", "six"], "text": "ok"},
    ]);
    let model = Model::saying(&turns);
    let server = with(&model, &[]);
    let (_, session) = server.post_json("/v1/sessions", &json!({}));
    let own = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(server.post_json(&format!("{own}/runs"), &json!({"code": "mine = 9"})).0, 200);
    let files = json!([{"path": "a.txt", "text": "six"}]);
    let task = ask(&server, &json!({"question": "?", "session": session["id"], "files": files}));
    assert_eq!((&task["answer"], &task["session"]), (&json!("ok"), &session["id"]), "{task}");
    assert_eq!(server.get(&format!("{own}/files/out/b.txt")), (200, b"seven".to_vec()));
    assert_eq!(server.delete(&format!("{TASKS}/{}", task["id"].as_str().unwrap())).0, 204);
    assert_eq!(server.get_json(&own).1["state"], "open", "a session of the caller's stays");
}

#[test]
fn the_program_of_the_page_does_what_it_says() {
    let page = std::fs::read_to_string(super::model::folder().join("../../docs/tasks.md")).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let model = Model::of("sum");
    let server = with(&model, &[]);
    let mut python = std::process::Command::new("python3");
    python.args(["-c", program]).env("FIRECLAY_URL", server.url("")).env_remove("FIRECLAY_API_KEY");
    let ran = feed(&mut python, b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let said: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(said[0], "answered The sum of the numbers from 1 to 100 is 5050.");
    assert!(said[1].starts_with("1 completed None None run_"), "{ran:?}");
}
