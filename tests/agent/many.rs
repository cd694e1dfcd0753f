//! Many questions of one command: `fireclay agent --batch` and `fireclay eval`.

use super::agent_command;
use super::model::Model;
use fireclay_tests::{Ran, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn runs(code: &str) -> Value {
    json!([{"name": "run_code", "arguments": {"code": code}}])
}

/// A file of JSON lines.
fn lines(of: &[Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text: String = of.iter().map(|line| format!("{line}\n\n")).collect();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn told(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_question_of_a_file_has_an_answer_of_its_own() {
    let server = Server::start(&[]);
    let refused =
        json!({"status": 400, "error": {"message": "no such thing", "type": "invalid_request_error"}});
    let turns = json!([
        {"calls": runs("x = 1; print(x + 1)")},
        {"expect": ["2"], "text": "It is 2."},
        // Its sandbox is another: nothing of the first is there.
        {"calls": runs("print('x' in globals())")},
        {"expect": ["False"], "text": "It is not there."},
        refused,
    ]);
    let file = lines(&[json!("What is 1 + 1?"), json!({"id": "second", "input": "Is x there?"}), json!("?")]);
    let path = file.path().to_str().unwrap();
    let ran =
        agent_command(&server, &Model::saying(&turns), "openai", "agent", &["--batch", path, "--jobs", "1"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let told = told(&ran);
    let parts = |name: &str| told.iter().map(|line| line[name].clone()).collect::<Value>();
    assert_eq!(parts("index"), json!([0, 1, 2]));
    assert_eq!(parts("id"), json!([null, "second", null]));
    assert_eq!(parts("answer"), json!(["It is 2.", "It is not there.", null]));
    assert_eq!(parts("outcome"), json!(["answered", "answered", "failed"]));
    assert!(ran.stderr.contains("2 of 3 answered; ") && ran.stderr.contains("It is not there."), "{ran:?}");
    // Each has a trace of its own.
    let (_, traces) = server.get_json("/v1/traces?kind=task");
    let outcomes: Vec<_> =
        traces["items"].as_array().unwrap().iter().map(|item| item["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "answered", "answered"], "{traces}");
    // Nothing of it stays open.
    assert_eq!(server.get_json("/v1/sessions?state=open").1["items"], json!([]));
}

#[test]
fn many_are_worked_on_at_once_and_none_is_lost() {
    let server = Server::start(&[]);
    let model = Model::saying(&vec![json!({"text": "so it is", "input": 10, "output": 2}); 24].into());
    let file = lines(&vec![json!("Is it?"); 24]);
    let out = tempfile::NamedTempFile::new().unwrap();
    let (path, out) = (file.path().to_str().unwrap(), out.path().to_str().unwrap());
    let ran =
        agent_command(&server, &model, "openai", "agent", &["--batch", path, "--jobs", "8", "--output", out]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let text = std::fs::read_to_string(out).unwrap();
    let indices =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap());
    assert_eq!(indices.collect::<BTreeSet<_>>(), (0..24).collect());
    assert!(ran.stderr.contains("24 of 24 answered; 24 turns, 0 runs, 288 tokens"), "{ran:?}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_before_anybody_is_asked() {
    let server = Server::start(&[]);
    let model = Model::saying(&json!([]));
    for (of, command, words) in [
        (vec![json!("?"), json!({"question": "?"})], "agent", "line 3: unknown field `question`"),
        (vec![json!("?"), json!(7)], "agent", "line 3: invalid type"),
        (vec![json!(" ")], "agent", "line 1: the question is empty"),
        (vec![], "agent", "there is no question in it"),
        (vec![json!({"input": "?", "expected": "x"})], "agent", "`fireclay eval` judges answers"),
        (vec![json!({"input": "?", "expected": ""})], "eval", "neither an expected answer nor a checker"),
    ] {
        let file = lines(&of);
        let path = file.path().to_str().unwrap();
        let args = if command == "agent" { vec!["--batch", path] } else { vec![path] };
        let ran = agent_command(&server, &model, "openai", command, &args);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{words}: {ran:?}");
    }
    let ran = agent_command(&server, &model, "openai", "agent", &["--batch", "-", "a question"]);
    assert!(ran.code == 2 && ran.stderr.contains("cannot be used with"), "{ran:?}");
    assert_eq!(model.requests().len(), 0);
}

#[test]
fn answers_are_judged_by_words_or_by_checkers_in_sandboxes() {
    let server = Server::start(&[]);
    let checker = "import json, sys\nasked = json.load(sys.stdin)\nprint('it says', asked['answer'])\nsys.exit(asked['answer'] != str(asked['expected']))";
    let dataset = lines(&[
        json!({"input": "What is the sum of 1 to 100?", "expected": "5050"}),
        json!({"input": "And of 1 to 10?", "expected": 55}),
        json!({"id": "checked", "input": "?", "expected": 7, "checker": checker}),
        json!({"input": "?", "expected": 8, "checker": checker}),
        json!({"input": "?", "checker": "import os; os.kill(os.getpid(), 9)"}),
        json!({"input": "?", "expected": "x"}),
    ]);
    let turns = json!([
        {"calls": runs("print(sum(range(101)))")}, {"expect": ["5050"], "text": "The sum is 5050."},
        {"text": "It is 155."},
        {"text": "7"}, {"text": "7"}, {"text": "7"},
        {"status": 400, "error": {"message": "no", "type": "invalid_request_error"}},
    ]);
    let path = dataset.path().to_str().unwrap();
    let ran = agent_command(&server, &Model::saying(&turns), "openai", "eval", &[path, "--jobs", "1"]);
    let told = told(&ran);
    let parts = |name: &str| told.iter().map(|line| line[name].clone()).collect::<Value>();
    assert_eq!(parts("passed"), json!([true, false, true, false, null, false]), "{ran:?}");
    assert_eq!(told[1]["reason"], "\"55\" is not in the answer");
    assert_eq!((&told[2]["id"], &told[2]["reason"]), (&json!("checked"), &json!("it says 7")));
    assert!(told[4]["reason"].as_str().unwrap().contains("the checker ended as signalled"), "{}", told[4]);
    assert!(
        ran.stderr.contains("2 of 6 passed (33.3 %), 2 failed, 1 not answered, 1 not judged; "),
        "{ran:?}"
    );
    // Something was not judged.
    assert_eq!(ran.code, 1);
}

#[test]
fn a_pass_rate_that_is_missed_is_an_exit_code() {
    let server = Server::start(&[]);
    let dataset = lines(&[json!({"input": "?", "expected": "yes"}), json!({"input": "?", "expected": "no"})]);
    let path = dataset.path().to_str().unwrap();
    for (least, code) in [("0.5", 0), ("0.6", 1)] {
        let model = Model::saying(&json!([{"text": "yes"}, {"text": "yes"}]));
        let ran = agent_command(&server, &model, "openai", "eval", &[path, "--min-pass-rate", least]);
        assert_eq!(ran.code, code, "{ran:?}");
    }
}
