//! What a person sees and says, at a real terminal.

use super::KEY;
use super::agent;
use super::model::{Model, folder};
use fireclay_tests::run::feed;
use fireclay_tests::{Data, Ran, Server};
use serde_json::{Value, json};
use std::process::Command;

/// `fireclay agent` at a terminal, where these answers are typed.
pub fn at_a_terminal(data: &Data, model: &Model, args: &[&str], answers: &Value) -> Ran {
    let base_url = model.base_url("openai");
    let inner = data.command(&[&["agent", "--base-url", base_url.as_str()], args].concat());
    let mut command = Command::new("python3");
    command.arg(folder().join("terminal.py")).arg(answers.to_string());
    command.arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let ran = feed(command.env("OPENAI_API_KEY", KEY).env("TERM", "xterm"), b"");
    Ran { stdout: ran.stdout.replace("\r\n", "\n"), ..ran }
}

/// The README shows this, word for word.
#[test]
fn steps_and_the_answer_are_shown() {
    let server = Server::start(&[]);
    let question = "What is the sum of the numbers from 1 to 100?";
    let ran = at_a_terminal(&server.data, &Model::of("sum"), &[question], &json!([]));
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!("terminal", ran.stdout.escape_debug().to_string().replace("\\n", "\n"));
    let plain = ran
        .stdout
        .replace("\u{1b}[1m", "")
        .replace("\u{1b}[3m", "")
        .replace("\u{1b}[36m", "")
        .replace("\u{1b}[0m", "");
    let readme = std::fs::read_to_string(folder().join("../../README.md")).unwrap();
    assert!(
        readme.contains(&format!("$ fireclay agent '{question}'\n{plain}```")),
        "the README has another session than this:\n{plain}"
    );
}

#[test]
fn nothing_but_the_answer_is_said_where_nobody_looks() {
    let server = Server::start(&[]);
    let question = "What is the sum of the numbers from 1 to 100?";
    let ran = agent(&server, &Model::of("sum"), "openai", &[question], b"");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("The sum of the numbers from 1 to 100 is 5050.\n", "")
    );
}

#[test]
fn a_chat_keeps_its_words_and_its_variables() {
    let server = Server::start(&[]);
    let call = |code: &str| json!([{"name": "run_code", "arguments": {"code": code}}]);
    let turns = json!([
        {"expect": ["first\nof two lines"], "calls": call("x = 41")},
        {"text": "kept"},
        {"expect": ["second"], "calls": call("print(x + 1)")},
        {"expect": ["42"], "text": "still there"},
        {"expect": ["third"], "text": "as if new"},
    ]);
    let model = Model::saying(&turns);
    let typed = "first\\\nof two lines\n\nsecond\n/new\n/nothing\nthird\n/cost\nexit\nnever read\n";
    let ran = agent(&server, &model, "openai", &["--interactive"], typed.as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = "kept\nstill there\nthere is no /nothing; /help says what there is\nas if new\n3 questions, $0.0003\n";
    assert_eq!(ran.stdout, said, "{ran:?}");
    let requests = model.requests();
    let messages = |at: usize| requests[at]["body"]["messages"].as_array().unwrap().len();
    assert_eq!((messages(2), messages(4)), (6, 2));
}

#[test]
fn a_person_is_asked_before_each_run() {
    let server = Server::start(&[]);
    let call = |code: &str| json!([{"name": "run_code", "arguments": {"code": code}}]);
    let turns = json!([
        {"calls": call("print('one')")},
        {"expect": ["[outcome: denied]", "not today"], "calls": call("print('two')")},
        {"expect": ["mended"], "text": "asked twice"},
    ]);
    let answers = json!([
        ["[e]dit: ", "n\n"],
        ["told): ", "not today\n"],
        ["[e]dit: ", "e\n"],
        ["ends it.", "print('mended')\n.\n"]
    ]);
    let model = Model::saying(&turns);
    let ran = at_a_terminal(&server.data, &model, &["?", "--ask"], &answers);
    assert!(ran.code == 0 && ran.stdout.contains("asked twice"), "{ran:?}");
    let ran = agent(&server, &Model::saying(&json!([])), "openai", &["?", "--ask"], b"");
    assert!(ran.code == 2 && ran.stderr.contains("no terminal to ask at"), "{ran:?}");
}

#[test]
fn ctrl_c_stops_the_run_and_not_the_chat() {
    let server = Server::start(&[]);
    let turns = json!([
        {"calls": [{"name": "run_code", "arguments": {"code": "import time\nprint('begun')\ntime.sleep(600)"}}]},
        {"text": "here I am"},
    ]);
    let answers = json!([
        ["> ", "wait\n"],
        ["sleep(600)", "\u{3}"],
        ["stopped", "and now?\n"],
        ["here I am", "/exit\n"]
    ]);
    let ran = at_a_terminal(&server.data, &Model::saying(&turns), &["--interactive"], &answers);
    assert!(ran.code == 0 && ran.stdout.contains("here I am"), "{ran:?}");
}

/// Without a service it starts one, and that ends with it.
#[test]
fn it_starts_the_local_server() {
    let data = Data::fresh();
    let model = Model::of("sum");
    let base_url = model.base_url("openai");
    let question = "What is the sum of the numbers from 1 to 100?";
    let mut command = data.command(&["agent", "--base-url", &base_url, question]);
    let ran = feed(command.env("OPENAI_API_KEY", KEY), b"");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "The sum of the numbers from 1 to 100 is 5050.\n"),
        "{ran:?}"
    );
    let stopped = feed(&mut data.command(&["local", "stop"]), b"");
    assert_eq!(stopped.code, 0, "{stopped:?}");
    data.wait_for_the_last_process();
}
