//! What a person sees and says, at a real terminal.

use super::KEY;
use super::agent;
use super::model::{Model, folder};
use fireclay_tests::run::feed;
use fireclay_tests::{Data, Ran, Server};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// `fireclay agent` at a terminal, where these answers are typed.
pub fn at_a_terminal(data: &Data, model: &Model, args: &[&str], answers: &Value) -> Ran {
    at_a_terminal_in(&folder(), data, model, args, answers)
}

fn at_a_terminal_in(directory: &Path, data: &Data, model: &Model, args: &[&str], answers: &Value) -> Ran {
    let base_url = model.base_url("openai");
    let inner = data.command(&[&["agent", "--base-url", base_url.as_str()], args].concat());
    let mut command = Command::new("python3");
    command.arg(folder().join("terminal.py")).arg(answers.to_string());
    command.arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(directory);
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
        .replace("\u{1b}[33m", "")
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
        ["time.sleep(", "\u{3}"],
        ["stopped", "and now?\n"],
        ["here I am", "/exit\n"]
    ]);
    let ran = at_a_terminal(&server.data, &Model::saying(&turns), &["--interactive"], &answers);
    assert!(ran.code == 0 && ran.stdout.contains("here I am"), "{ran:?}");
}

/// The signal is blocked while the person is asked: it is looked for all the same.
#[test]
fn ctrl_c_at_the_question_stops_the_run_and_not_the_chat() {
    let server = Server::start(&[]);
    let turns = json!([{"calls": [{"name": "run_code", "arguments": {"code": "print('ran')"}}]}, {"text": "here I am"}]);
    let model = Model::saying(&turns);
    let ran = at_a_terminal(&server.data, &model, &["?", "--ask"], &json!([["[e]dit: ", "\u{3}"]]));
    assert!(ran.code == 130 && ran.stdout.contains("stopped"), "{ran:?}");
    assert_eq!(model.requests().len(), 1);
    let model = Model::saying(&turns);
    let answers = json!([
        ["> ", "wait\n"],
        ["[e]dit: ", "n\n"],
        ["is told): ", "\u{3}"],
        ["stopped", "and now?\n"],
        ["here I am", "/exit\n"]
    ]);
    let ran = at_a_terminal(&server.data, &model, &["--interactive", "--ask"], &answers);
    assert!(ran.code == 0 && ran.stdout.contains("here I am"), "{ran:?}");
    assert_eq!(server.get_json("/v1/runs").1["items"], json!([]));
}

#[test]
fn a_chat_leaves_its_files_and_a_trace_of_each_question() {
    let server = Server::start(&[]);
    let call = json!([{"name": "run_code", "arguments": {"code": "open('made.txt', 'w').write('by it')"}}]);
    let model = Model::saying(&json!([{"calls": call}, {"text": "made"}, {"text": "as I said"}]));
    let out = server.data.path().join("out");
    let args = ["--interactive", "--artifacts", out.to_str().unwrap()];
    let ran = agent(&server, &model, "openai", &args, b"make it\nand then?\nexit\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "made\nas I said\n"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(out.join("made.txt")).unwrap(), "by it");
    let (_, list) = server.get_json("/v1/traces?kind=task");
    let mut seen: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["input_preview"].clone(), row["output_preview"].clone()))
        .collect();
    seen.sort_by_key(|(question, _)| question.to_string());
    assert_eq!(seen, [(json!("and then?"), json!("as I said")), (json!("make it"), json!("made"))], "{list}");
}

/// A plot is saved when it comes, beside what is there, and named to who looks.
#[test]
fn plots_are_saved_and_named() {
    let server = Server::start(&[]);
    let code = "class P:\n  def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nrest'\nP()";
    let turns = json!([{"calls": [{"name": "run_code", "arguments": {"code": code}}]}, {"text": "drawn"}]);
    let directory = server.data.path().join("here");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("plot-1.png"), "mine").unwrap();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // Nobody looks, and no directory was named: nothing is saved.
    let model = Model::saying(&turns);
    let mut command = super::with_keys(&server, &model, "openai", "agent");
    assert_eq!(feed(command.arg("?").current_dir(&directory), b"").stderr, "");
    assert_eq!(names(), ["plot-1.png"]);
    let ran = at_a_terminal_in(&directory, &server.data, &Model::saying(&turns), &["?"], &json!([]));
    assert!(ran.code == 0 && ran.stdout.contains("── saved plot-2.png"), "{ran:?}");
    assert_eq!(names(), ["plot-1.png", "plot-2.png"]);
    assert_eq!(std::fs::read(directory.join("plot-1.png")).unwrap(), b"mine");
    assert_eq!(std::fs::read(directory.join("plot-2.png")).unwrap(), b"\x89PNG\r\n\x1a\nrest");
    let out = directory.join("out");
    let args = ["?", "--artifacts", out.to_str().unwrap()];
    let ran = agent(&server, &Model::saying(&turns), "openai", &args, b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(out.join("plot-1.png").exists());
}

/// No key of any provider: a person chooses one and pastes the key, which is kept for the owner alone and used.
#[test]
fn without_a_key_a_person_chooses_and_pastes_one() {
    let server = Server::start(&[]);
    let model = Model::saying(&json!([{"text": "hello"}]));
    let variables = [("GROQ_BASE_URL", model.base_url("groq"))];
    let number = {
        // As it is shown: every provider but the second form of OpenAI's, and Ollama if none is here.
        let ran = keyless(&server.data, &variables, &json!([["Number: ", "\u{4}"]]));
        assert_eq!(ran.code, 2, "{ran:?}");
        let line = ran.stdout.lines().find(|line| line.contains(" groq ")).unwrap().to_owned();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let key = "gsk_pasted_at_the_terminal";
    let answers = json!([
        ["Number: ", format!("{number}\n")],
        ["(GROQ_API_KEY; it is kept for next time): ", format!("{key}\n")]
    ]);
    let ran = keyless(&server.data, &variables, &answers);
    assert!(ran.code == 0 && ran.stdout.contains("hello"), "{ran:?}");
    assert!(!ran.stdout.contains(key), "{ran:?}");
    assert_eq!(model.requests()[0]["headers"]["authorization"], format!("Bearer {key}"));
    let kept = server.data.path().join("secrets.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&kept).unwrap().contains(key));
}

/// `fireclay agent` at a terminal without any key.
fn keyless(data: &Data, variables: &[(&str, String)], answers: &Value) -> Ran {
    let inner = data.command(&["agent", "hi"]);
    let mut command = Command::new("python3");
    command.arg(folder().join("terminal.py")).arg(answers.to_string());
    command.arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TERM", "xterm");
    let ran = feed(command.envs(variables.iter().map(|(name, value)| (name, value))), b"");
    Ran { stdout: ran.stdout.replace("\r\n", "\n"), ..ran }
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
