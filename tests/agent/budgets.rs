//! Budgets end a task by their own name, outside of the model, and never with a made-up answer.

use super::agent;
use super::model::Model;
use fireclay_tests::Server;
use serde_json::{Value, json};

#[test]
fn each_budget_ends_a_task_by_its_name_and_keeps_what_there_was() {
    let server = Server::start(&[]);
    for (option, value, limit, runs) in [
        ("--max-turns", "2", "turns", 2),
        ("--max-runs", "1", "runs", 1),
        ("--max-tokens", "1500", "tokens", 2),
        ("--max-cost", "0.0008", "cost", 2),
    ] {
        let ran =
            agent(&server, &Model::of("endless"), "openai", &["?", "--format", "json", option, value], b"");
        assert_eq!(ran.code, 1, "{option}: {ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            (&report["outcome"], &report["limit"]),
            (&"budget_exceeded".into(), &limit.into()),
            "{report}"
        );
        assert_eq!((&report["answer"], &report["usage"]["runs"]), (&Value::Null, &runs.into()), "{report}");
        assert!(report["last"]["code"].as_str().unwrap().contains("print('run', n)"), "{report}");
        assert!(ran.stderr.contains(&format!("budget_exceeded: {limit} ({option})")), "{ran:?}");
    }
}

#[test]
fn time_ends_a_run_and_a_task() {
    let server = Server::start(&[]);
    let turns =
        json!([{"calls": [{"name": "run_code", "arguments": {"code": "import time; time.sleep(60)"}}]}]);
    let ran = agent(&server, &Model::saying(&turns), "openai", &["?", "--max-time", "2s"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("budget_exceeded: time") && ran.stderr.contains("timed_out"), "{ran:?}");
}

#[test]
fn what_a_model_without_a_price_costs_is_not_known() {
    let server = Server::start(&[]);
    let model = Model::saying(&json!([{"text": "hello", "input": 0, "output": 0}]));
    let ran = agent(&server, &model, "openai:my-own", &["?", "--log-level", "info"], b"");
    assert!(ran.code == 0 && ran.stderr.contains("cost unknown"), "{ran:?}");
}

/// A review costs tokens as an answer does: one that the budget has no room for is not asked for, and what it was to read does not run.
#[test]
fn a_review_is_in_the_budget() {
    let server = Server::start(&[]);
    let turns = json!([
        {"calls": [{"name": "run_code", "arguments": {"code": "print('ran')"}}], "input": 200, "output": 10},
        {"text": "{\"safe\": true, \"reasons\": []}", "input": 5000, "output": 50},
        {"text": "done"},
    ]);
    let ask = |tokens: &str| {
        let model = Model::saying(&turns);
        let args = ["?", "--review", "--max-tokens", tokens, "--format", "json"];
        let ran = agent(&server, &model, "openai", &args, b"");
        (model.requests().len(), serde_json::from_str::<Value>(&ran.stdout).unwrap())
    };
    let (requests, report) = ask("200");
    assert_eq!(
        (requests, &report["limit"], &report["usage"]["runs"]),
        (1, &json!("tokens"), &json!(0)),
        "{report}"
    );
    assert_eq!(report["last"]["output"], "[not run]", "{report}");
    let (requests, report) = ask("200000");
    assert_eq!(
        (requests, &report["answer"], &report["usage"]["runs"]),
        (3, &json!("done"), &json!(1)),
        "{report}"
    );
}
