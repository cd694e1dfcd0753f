//! The trace of a task: what the model was asked and what that cost, what it had run, where a person decided.

use super::agent;
use super::model::Model;
use super::reviews::with;
use crate::api::otlp::Collector;
use fireclay_tests::Server;
use serde_json::{Value, json};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn names(span: &Value) -> Vec<&str> {
    span["children"].as_array().unwrap().iter().map(|child| child["name"].as_str().unwrap()).collect()
}

#[test]
fn a_task_is_a_trace_of_answers_and_tools() {
    let runs = |code: &str| json!([{"name": "run_code", "arguments": {"code": code}}]);
    let model = Model::saying(&json!([
        {"expect": ["1 to 100"], "text": "I add them up.", "calls": runs("print(sun(range(1, 101)))")},
        {"expect": ["NameError"], "text": "It is called sum.", "calls": runs("print(sum(range(1, 101)))")},
        {"expect": ["[stdout #", "]\n5050"], "text": "The sum is 5050."},
    ]));
    let server = with(&model, &[]);
    let body = json!({"question": "What is the sum of 1 to 100?", "wait": true}).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", PARENT)];
    let answer = server.send("POST", "/v1/tasks", &headers, body.as_bytes());
    let own = answer.header("traceparent").to_owned();
    let task: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(task["state"], "answered", "{task}");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", &PARENT[3..35]));
    assert_eq!(
        (&trace["kind"], &trace["of"], &trace["outcome"]),
        (&json!("task"), &task["id"], &json!("answered"))
    );
    assert_eq!(
        (&trace["model"], &trace["output_preview"]),
        (&json!("openai:gpt-5-mini"), &json!("The sum is 5050."))
    );
    let usage = &task["usage"];
    assert_eq!(
        (&trace["tokens_in"], &trace["tokens_out"]),
        (&usage["input_tokens"], &usage["output_tokens"])
    );
    assert!(
        (trace["cost_usd"].as_f64().unwrap() - usage["dollars"].as_f64().unwrap()).abs() < 1e-9,
        "{trace}"
    );
    let root = &trace["tree"][0];
    assert_eq!(own, format!("00-{}-{}-01", &PARENT[3..35], root["id"].as_str().unwrap()));
    assert_eq!(root["parent"], &PARENT[36..52]);
    let chat = "chat gpt-5-mini";
    assert_eq!(names(root), [chat, "execute_tool run", chat, "execute_tool run", chat], "{root}");
    let first = &root["children"][0];
    assert_eq!((&first["kind"], &first["output"]["text"]), (&json!("client"), &json!("I add them up.")));
    assert_eq!(first["attributes"]["gen_ai.provider.name"], "openai");
    assert!(first["attributes"]["gen_ai.usage.input_tokens"].as_u64().unwrap() > 0, "{first}");
    let tool = &root["children"][1];
    assert_eq!((&tool["status"], &tool["attributes"]["fireclay.attempt"]), (&json!("error"), &json!(1)));
    // Its run is below it, whole, and not in lists.
    assert_eq!(names(tool), ["python run"]);
    assert_eq!(tool["children"][0]["attributes"]["fireclay.run.id"], task["attempts"][0]["run"]);
    assert!(names(&tool["children"][0]).contains(&"execution"), "{tool}");
    assert_eq!(server.get_json("/v1/traces?kind=run").1["items"], json!([]));
    let (_, numbers) = server.get_json("/v1/traces/summary");
    let used = &numbers["models"][0];
    assert_eq!(
        (&used["model"], &used["calls"], &used["failed"]),
        (&json!("openai:gpt-5-mini"), &json!(3), &json!(0))
    );
    assert!(!trace.to_string().contains(super::KEY));
    // It is found by what it cost, and by a run within it.
    let cost = trace["cost_usd"].as_f64().unwrap();
    let run = task["attempts"][0]["run"].as_str().unwrap();
    for (query, count) in [
        (format!("min_cost={}", cost / 2.0), 1),
        (format!("min_cost={}", cost * 2.0), 0),
        (format!("max_cost={}", cost * 2.0), 1),
        (format!("max_cost={}", cost / 2.0), 0),
        (format!("of={run}"), 1),
        (format!("q={run}"), 1),
    ] {
        let (_, list) = server.get_json(&format!("/v1/traces?kind=task&{query}"));
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}: {list}");
    }
    assert_eq!(server.delete(&format!("/v1/tasks/{}", task["id"].as_str().unwrap())).0, 204);
    assert_eq!(server.get_json(&format!("/v1/traces/{}", &PARENT[3..35])).0, 404, "it goes with the task");
}

/// Also what only passes through: each choice is a span, with the turns of the model, the calls of our tool and their runs.
#[test]
fn a_chat_is_a_trace_of_turns_and_calls() {
    let runs = |code: &str| json!([{"name": "run_code", "arguments": {"code": code}}]);
    for (path, asked, name) in [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "What is 6 * 7?"}]}),
            "chat",
        ),
        ("/v1/responses", json!({"input": "What is 6 * 7?"}), "response"),
    ] {
        let model =
            Model::saying(&json!([{"calls": runs("print(6 * 7)")}, {"expect": ["42"], "text": "It is 42."}]));
        let server = with(&model, &[]);
        let headers = [("content-type", "application/json"), ("traceparent", PARENT)];
        let answer = server.send("POST", path, &headers, asked.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (status, trace) = server.get_json(&format!("/v1/traces/{}", &PARENT[3..35]));
        assert_eq!(status, 200, "{trace}");
        let root = &trace["tree"][0];
        assert_eq!((root["name"].as_str(), &root["status"]), (Some(name), &json!("ok")), "{trace}");
        let own = format!("00-{}-{}-01", &PARENT[3..35], root["id"].as_str().unwrap());
        assert_eq!((answer.header("traceparent"), &root["parent"]), (own.as_str(), &json!(&PARENT[36..52])));
        assert_eq!(names(root), ["chat gpt-5-mini", "run_code", "chat gpt-5-mini"], "{root}");
        let (first, tool) = (&root["children"][0], &root["children"][1]);
        assert_eq!(first["attributes"]["gen_ai.provider.name"], "openai", "{first}");
        assert_eq!(first["attributes"]["gen_ai.request.model"], "gpt-5-mini");
        assert!(first["attributes"]["gen_ai.usage.input_tokens"].as_u64().unwrap() > 0, "{first}");
        assert!(first["attributes"]["fireclay.cost_usd"].as_f64().unwrap() > 0.0, "{first}");
        assert!(tool["input"]["text"].as_str().unwrap().contains("print(6 * 7)"), "{tool}");
        assert_eq!(names(tool), ["python run"], "{tool}");
        assert!(names(&tool["children"][0]).contains(&"execution"), "{tool}");
        assert!(root["output"]["text"].as_str().unwrap().contains("It is 42."), "{root}");
        assert!(
            trace["tokens_in"].as_u64().unwrap() > 0 && trace["cost_usd"].as_f64().unwrap() > 0.0,
            "{trace}"
        );
        assert!(!trace.to_string().contains(super::KEY));
        // A turn that fails is one too.
        let (status, _) = server.post_json(path, &asked);
        assert!(status >= 400);
        let (_, list) = server.get_json("/v1/traces");
        let failed =
            list["items"].as_array().unwrap().iter().find(|item| item["id"] != PARENT[3..35]).unwrap();
        let (_, failed) = server.get_json(&format!("/v1/traces/{}", failed["id"].as_str().unwrap()));
        assert_eq!(failed["tree"][0]["status"], "error", "{failed}");
        assert_eq!(failed["tree"][0]["children"][0]["status"], "error", "{failed}");
    }
}

/// To a collector each span goes once: those of a whole with it, but for what ends and is sent before.
#[test]
fn a_chat_and_a_task_are_sent_on_span_by_span() {
    let calls = json!([{"name": "run_code", "arguments": {"code": "print(6 * 7)"}}]);
    let model =
        Model::saying(&json!([{"calls": calls}, {"text": "It is 42."}, {"calls": calls}, {"text": "42."}]));
    let mut collector = Collector::start(0);
    let server = with(&model, &["--set", &collector.setting()]);
    let asked = json!({"messages": [{"role": "user", "content": "What is 6 * 7?"}]});
    assert_eq!(server.post_json("/v1/chat/completions", &asked).0, 200);
    let (status, task) = server.post_json("/v1/tasks", &json!({"question": "What is 6 * 7?", "wait": true}));
    assert_eq!((status, &task["state"]), (200, &json!("answered")), "{task}");
    let spans = collector.spans_until(&server, &["chat", "agent task"]);
    let called = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let (chats, turns) = (called("chat"), called("chat gpt-5-mini"));
    assert_eq!((chats.len(), turns.len()), (1, 4), "{spans:?}");
    for name in ["run_code", "execute_tool run"] {
        let tool = called(name)[0];
        let below: Vec<_> = spans.iter().filter(|span| span["parent"] == tool["id"]).collect();
        assert_eq!(below.len(), 1, "{name}: {spans:?}");
        assert_eq!((&below[0]["name"], &below[0]["trace"]), (&json!("python run"), &tool["trace"]), "{name}");
    }
    assert_eq!(turns.iter().filter(|turn| turn["parent"] == chats[0]["id"]).count(), 2, "{spans:?}");
    assert!(!json!(spans).to_string().contains(super::KEY));
}

#[test]
fn a_model_that_fails_is_a_span_that_failed() {
    let model = Model::saying(&json!([]));
    let server = with(&model, &[]);
    let (_, task) = server.post_json("/v1/tasks", &json!({"question": "Why?", "wait": true}));
    assert_eq!(task["state"], "failed", "{task}");
    let (_, list) = server.get_json("/v1/traces?kind=task");
    assert_eq!(list["items"][0]["outcome"], "failed", "{list}");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", list["items"][0]["id"].as_str().unwrap()));
    let chat = &trace["tree"][0]["children"][0];
    assert_eq!((&chat["name"], &chat["status"]), (&json!("chat gpt-5-mini"), &json!("error")), "{trace}");
    assert_eq!(chat["message"], task["questions"][0]["error"], "{task}");
    let (_, numbers) = server.get_json("/v1/traces/summary");
    assert_eq!(
        (&numbers["models"][0]["failed"], &numbers["failed_lately"][0]["kind"]),
        (&json!(1), &json!("task"))
    );
}

/// `fireclay agent` has the loop itself: it tells the service that has its sandboxes.
#[test]
fn a_question_of_the_command_line_leaves_a_trace() {
    let model = Model::saying(&json!([
        {"expect": ["6 times 7"], "text": "I ask Python.",
            "calls": [{"name": "run_code", "arguments": {"code": "print(6 * 7)"}}]},
        {"expect": ["[stdout #", "]\n42"], "text": "It is 42."},
    ]));
    let server = Server::start(&[]);
    let answer = agent(&server, &model, "openai", &["What is 6 times 7?"], b"");
    assert_eq!(answer.code, 0, "{answer:?}");
    let (_, list) = server.get_json("/v1/traces?kind=task");
    let row = &list["items"][0];
    assert_eq!((&row["outcome"], &row["imported"]), (&json!("answered"), &json!(false)), "{list}");
    assert_eq!(row["output_preview"], "It is 42.");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", row["id"].as_str().unwrap()));
    let children = names(&trace["tree"][0]);
    assert_eq!(children.len(), 3, "{trace}");
    assert!(children[0].starts_with("chat ") && children[1] == "execute_tool run", "{children:?}");
    let tool = &trace["tree"][0]["children"][1];
    assert_eq!((&tool["input"]["text"], &tool["status"]), (&json!("print(6 * 7)"), &json!("ok")));
    let run =
        server.get_json(&format!("/v1/runs/{}", tool["attributes"]["fireclay.run.id"].as_str().unwrap()));
    assert_eq!((run.0, &run.1["stdout"]), (200, &json!("42\n")));
    assert!(!trace.to_string().contains(super::KEY));
}

/// And obeys the settings of traces there; a collector is told of it as of all that ends.
#[test]
fn a_question_of_the_command_line_is_sent_on_and_kept_as_far_as_the_settings_say() {
    let mut collector = Collector::start(0);
    let server = Server::start(&["--set", &collector.setting()]);
    let ask = |content: &str| {
        let model = Model::saying(&json!([{"text": "It is forty-two."}]));
        let mut command = super::with_keys(&server, &model, "openai", "agent");
        command.env("FIRECLAY_TRACES_CONTENT", content).arg("What is six times seven?");
        let ran = fireclay_tests::run::feed(&mut command, b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        let row = server.get_json("/v1/traces?kind=task").1["items"][0].clone();
        server.get_json(&format!("/v1/traces/{}", row["id"].as_str().unwrap())).1
    };
    let full = ask("full");
    assert!(full.to_string().contains("forty-two"), "{full}");
    let spans = collector.spans_until(&server, &["agent task"]);
    let own = spans.iter().find(|span| span["name"] == "agent task").unwrap();
    assert_eq!((&own["trace"], &own["id"]), (&full["id"], &full["tree"][0]["id"]), "{spans:?}");
    assert!(spans.iter().any(|span| span["parent"] == own["id"]), "with what is within it: {spans:?}");
    let off = ask("off");
    assert_ne!(off["id"], full["id"]);
    assert!(!off.to_string().contains("forty-two") && !off.to_string().contains("six times"), "{off}");
    assert_eq!(off["tree"][0]["children"][0]["name"], full["tree"][0]["children"][0]["name"]);
}

/// What is tried and tried again: each pass is a span, with what was done in it.
#[test]
fn passes_are_spans() {
    let server = Server::start(&[]);
    let model = Model::of("mended_import");
    let args = ["What is the mean of 1, 2, 3 and 6?", "--solution", "--no-packages"];
    let ran = agent(&server, &model, "openai", &args, b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let (_, list) = server.get_json("/v1/traces?kind=task");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", list["items"][0]["id"].as_str().unwrap()));
    let root = &trace["tree"][0];
    assert_eq!(names(root), ["chat gpt-5-mini", "pass-1", "pass-2"], "{root}");
    let (first, second) = (&root["children"][1], &root["children"][2]);
    // What failed is told to the model in the pass that it failed in.
    assert_eq!(names(first), ["execute_tool run", "chat gpt-5-mini"], "{first}");
    assert!(names(second).iter().all(|name| *name == "execute_tool run"), "{second}");
    assert_eq!(root["attributes"]["fireclay.model.calls"], model.requests().len());
}

/// A review is a span of the model that was asked, with what it used: of a run, and of a task's code, beside the answers of its own model.
#[test]
fn a_review_has_its_own_model_tokens_and_cost() {
    let safe = json!({"text": "{\"safe\": true, \"reasons\": []}", "input": 700, "output": 9});
    let calls = json!([{"name": "run_code", "arguments": {"code": "print(6 * 7)"}}]);
    let model = Model::saying(&json!([
        safe, {"calls": calls, "input": 100, "output": 20}, safe, {"text": "It is 42.", "input": 150, "output": 5},
    ]));
    let server = with(&model, &["--set", "model.reviewer=openai:gpt-4o"]);
    let trace_of = |kind: &str| {
        let (_, list) = server.get_json(&format!("/v1/traces?kind={kind}"));
        server.get_json(&format!("/v1/traces/{}", list["items"][0]["id"].as_str().unwrap())).1["tree"][0]
            .clone()
    };
    let review_of = |span: &Value| {
        let children = span["children"].as_array().unwrap();
        children.iter().find(|child| child["name"] == "review").unwrap_or_else(|| panic!("{span}"))["attributes"].clone()
    };
    let told = |review: &Value| {
        assert_eq!(review["gen_ai.request.model"], "gpt-4o", "{review}");
        assert_eq!(
            (&review["gen_ai.usage.input_tokens"], &review["gen_ai.usage.output_tokens"]),
            (&json!(700), &json!(9))
        );
        assert!(review["fireclay.cost_usd"].as_f64().unwrap() > 0.0, "{review}");
    };
    let run = json!({"language": "python", "code": "print(1)", "review": true});
    assert_eq!(server.post_json("/v1/runs", &run).1["outcome"], "completed");
    told(&review_of(&trace_of("run")));
    // What was read before costs nothing, and says so by saying nothing.
    assert_eq!(server.post_json("/v1/runs", &run).1["outcome"], "completed");
    assert_eq!(review_of(&trace_of("run"))["gen_ai.request.model"], Value::Null);
    let (_, task) =
        server.post_json("/v1/tasks", &json!({"question": "6 * 7?", "review": true, "wait": true}));
    assert_eq!(task["state"], "answered", "{task}");
    let tree = trace_of("task");
    assert_eq!(names(&tree), ["chat gpt-5-mini", "execute_tool run", "chat gpt-5-mini"], "{tree}");
    told(&review_of(&tree["children"][1]));
    let tokens = |at: usize| tree["children"][at]["attributes"]["gen_ai.usage.input_tokens"].clone();
    assert_eq!((tokens(0), tokens(2)), (json!(100), json!(150)));
    assert_eq!(task["usage"]["input_tokens"], 950, "{task}");
}
