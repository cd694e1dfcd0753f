//! The stories of the five seeds, end to end.

use super::model::Model;
use super::{KEY, agent};
use crate::api::egress::Web;
use crate::api::packages::index;
use fireclay_tests::Server;
use serde_json::{Value, json};

/// Flame, AgentRun, Mirascope: a model that sums by code. The same conversation in every format.
#[test]
fn the_sum_of_1_to_100_in_the_words_of_every_provider() {
    let server = Server::start(&[]);
    for provider in ["openai", "openai-responses", "anthropic", "gemini", "mistral", "deepseek"] {
        let model = Model::of("sum");
        let args =
            ["What is the sum of the numbers from 1 to 100?", "--format", "json", "--temperature", "0.2"];
        let ran = agent(&server, &model, provider, &args, b"");
        assert_eq!(ran.code, 0, "{provider}: {ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["answer"], "The sum of the numbers from 1 to 100 is 5050.", "{provider}");
        assert_eq!(report["last"]["output"], "[stdout]\n5050\n[outcome: completed]", "{provider}");
        let usage = &report["usage"];
        assert_eq!((&usage["turns"], &usage["runs"]), (&2.into(), &1.into()), "{provider}");
        // A stream that does not tell is reckoned: Mistral is not asked to.
        if provider != "mistral" {
            assert_eq!(
                (&usage["input_tokens"], &usage["output_tokens"]),
                (&890.into(), &55.into()),
                "{provider}"
            );
        }
        assert!(usage["cost_dollars"].as_f64().unwrap() > 0.0, "{provider}: {report}");
        let requests = model.requests();
        assert_eq!(requests.len(), 2, "{provider}");
        for request in &requests {
            assert!(!request["body"].to_string().contains(KEY), "{provider}");
            assert!(!request["path"].to_string().contains(KEY), "{provider}");
            assert!(request["headers"].to_string().contains(KEY), "{provider}");
            assert!(request["body"].to_string().contains("0.2"), "{provider}");
        }
    }
}

/// AIGNE: 15! in JavaScript, with files, several calls in one turn; results keep the order of the calls.
#[test]
fn a_factorial_in_javascript() {
    let server = Server::start(&[]);
    let model = Model::of("factorial");
    let ran = agent(&server, &model, "openai", &["15! = ?", "--language", "js"], b"");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "15! = 1307674368000 ✓\n", ""));
    let messages = &model.requests()[1]["body"]["messages"];
    let results: Vec<&str> =
        messages.as_array().unwrap()[3..].iter().map(|it| it["content"].as_str().unwrap()).collect();
    assert!(
        results[0].starts_with("wrote 2 bytes") && results[1].contains("1307674368000") && results[2] == "15",
        "{results:?}"
    );
    // Nothing is left behind.
    let (_, sessions) = server.get_json("/v1/sessions?state=open");
    assert_eq!(sessions["items"], Value::Array(Vec::new()));
}

/// AgentRun: how much a share moved, from a host that is named, by packages that the code imports. The first try asks another host.
#[test]
fn the_move_of_a_share_from_a_server_of_data() {
    let closes = json!([{"day": "2026-11-19", "close": 50.0}, {"day": "2026-11-20", "close": 52.1}]);
    let prices = Web::saying(Some(closes.to_string()));
    let opened = index().replacen('[', "[\"127.0.0.1/32\",", 1);
    let server = Server::start(&["--set", &opened]);
    let code = |host: &str| {
        // A host of this name is reached without a proxy, if nobody says otherwise.
        format!(
            "import os, requests, tabulate\nfor name in 'no_proxy', 'NO_PROXY': os.environ.pop(name, None)\nanswer = requests.get('http://{host}/prices?symbol=CLAY')\nanswer.raise_for_status()\nrows = answer.json()\n\
             first, last = rows[0]['close'], rows[-1]['close']\nprint(tabulate.tabulate(rows, headers='keys'))\n\
             print(f'{{100 * (last - first) / first:+.2f}} %')"
        )
    };
    let (elsewhere, host) = (code("localhost:9"), format!("localhost:{}", prices.port));
    let calls = |code: &str| json!([{"name": "run_code", "arguments": {"code": code}}]);
    let model = Model::saying(&json!([
        {"expect": ["CLAY"], "calls": calls(&elsewhere)},
        {"expect": ["403"], "calls": calls(&code(&host))},
        {"expect": ["+4.20 %"], "text": "CLAY rose by 4.20 %."},
    ]));
    let args = ["How did the share CLAY move?", "--allow-host", &host];
    let ran = agent(&server, &model, "openai", &args, b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "CLAY rose by 4.20 %.\n"), "{ran:?}");
    assert_eq!(prices.seen(), ["GET /prices?symbol=CLAY HTTP/1.1"]);
}

/// Flyte: imports first, then all of it; a failing import is mended by reflection, and the question is not lost on the way.
#[test]
fn a_failing_import_is_mended() {
    let server = Server::start(&[]);
    let model = Model::of("mended_import");
    let out = server.data.path().join("mean.py");
    let args = [
        "What is the mean of 1, 2, 3 and 6?",
        "--solution",
        "--no-packages",
        "--output",
        out.to_str().unwrap(),
        "--log-level",
        "info",
    ];
    let ran = agent(&server, &model, "openai", &args, b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.stdout,
        "Takes the mean.\n\nimport statistics\n\nprint(statistics.mean([1, 2, 3, 6]))\n\n3\n"
    );
    assert_eq!(
        std::fs::read_to_string(out).unwrap(),
        "import statistics\n\nprint(statistics.mean([1, 2, 3, 6]))\n"
    );
    for seen in ["── pass 1", "── pass 2", "No module named 'statistic'"] {
        assert!(ran.stderr.contains(seen), "{seen}: {}", ran.stderr);
    }
    let body = &model.requests()[0]["body"];
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert_eq!(body["temperature"], 0.0);
}

/// As above, where an answer of a shape is another format's matter.
#[test]
fn a_solution_in_the_words_of_every_provider() {
    let server = Server::start(&[]);
    for provider in ["openai-responses", "anthropic", "gemini", "deepseek"] {
        let model = Model::of("mended_import");
        let ran = agent(
            &server,
            &model,
            provider,
            &["What is the mean of 1, 2, 3 and 6?", "--solution", "--no-packages"],
            b"",
        );
        assert!(ran.code == 0 && ran.stdout.ends_with("\n3\n"), "{provider}: {ran:?}");
    }
}

/// Flyte's tutorial returns failing code as success; here a failure is one.
#[test]
fn a_failure_is_a_failure() {
    let server = Server::start(&[]);
    let ran = agent(&server, &Model::of("never_right"), "openai", &["?", "--solution"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(
        ran.stderr.contains("no program was found in 3 attempts") && ran.stderr.contains("still wrong"),
        "{ran:?}"
    );
}

#[test]
fn tests_of_the_model_must_pass() {
    let server = Server::start(&[]);
    let solution = |code: &str| {
        let said =
            serde_json::json!({"prefix": "p", "imports": "", "code": code, "tests": "assert double(2) == 4"});
        serde_json::json!({"text": said.to_string()})
    };
    let right = "def double(x):\n    return 2 * x\nprint(double(21))";
    let turns = serde_json::json!([solution(&right.replace('2', "3")), solution(right)]);
    let model = Model::saying(&turns);
    let ran = agent(&server, &model, "openai", &["double", "--solution", "--tests"], b"");
    assert!(ran.code == 0 && ran.stdout.ends_with("42\n"), "{ran:?}");
    assert!(model.requests()[1]["body"].to_string().contains("The program with its tests failed"));
}

/// Mirascope: a second model refuses what destroys; the first is told why.
#[test]
fn rm_is_refused_by_review() {
    let server = Server::start(&[]);
    let model = Model::of("rm_reviewed");
    let ran = agent(&server, &model, "openai", &["clean up", "--review", "--format", "json"], b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["answer"], "I may not delete everything, so I did not.");
    assert_eq!((&report["usage"]["runs"], &report["usage"]["turns"]), (&0.into(), &2.into()));
    assert_eq!(report["last"]["output"], "[outcome: denied] It deletes every file of the machine.");
    let review = &model.requests()[1]["body"];
    // The code is a value in JSON, and nobody can use tools there.
    let asked: Value = serde_json::from_str(review["messages"][1]["content"].as_str().unwrap()).unwrap();
    assert_eq!(asked["program"], "rm -rf / --no-preserve-root");
    assert_eq!(review["tools"], Value::Null);
}

/// And without a review it is harmless.
#[test]
fn rm_is_harmless_without_review() {
    let server = Server::start(&[]);
    let canary = server.data.path().join("canary");
    std::fs::write(&canary, "alive").unwrap();
    let ran = agent(&server, &Model::of("rm"), "openai", &["clean up"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "The machine did not let me.\n"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(canary).unwrap(), "alive");
    assert_eq!(server.run(&serde_json::json!({"language": "python", "code": "print(1)"})).stdout, "1\n");
}

/// AgentRun's example with a local model that cannot call tools.
#[test]
fn a_model_that_cannot_call_writes_blocks() {
    let server = Server::start(&[]);
    let model = Model::of("fenced");
    let ran = agent(&server, &model, "openai", &["What is 2 to the 10th?"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "It is 1024.\n"), "{ran:?}");
    let requests = model.requests();
    assert!(requests[0]["body"]["tools"].is_array() && requests[1]["body"]["tools"].is_null());
}

#[test]
fn files_go_in_and_come_out_and_standard_input_is_one() {
    let server = Server::start(&[]);
    let there = |name: &str| server.data.path().join(name);
    std::fs::write(there("in.csv"), "3\n4\n").unwrap();
    let code = "import sys\nn = sum(map(int, open('in.csv'))) + len(open('stdin.txt').read())\nopen('out.txt', 'w').write(str(n))\n";
    let turns = serde_json::json!([
        {"expect": ["stdin.txt, 5 bytes", "heed this"], "calls": [{"name": "run_code", "arguments": {"code": code}}]},
        {"expect": ["completed"], "text": "done"},
    ]);
    std::fs::write(there("more.txt"), "heed this").unwrap();
    let (file, more, out) = (there("in.csv"), format!("@{}", there("more.txt").display()), there("out"));
    let args = ["q", "-i", &more, "--file", file.to_str().unwrap(), "--artifacts", out.to_str().unwrap()];
    let ran = agent(&server, &Model::saying(&turns), "openai", &args, b"12345");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "done\n"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(out.join("out.txt")).unwrap(), "12");
}

#[test]
fn the_question_may_come_through_a_pipe_and_the_answer_as_yaml() {
    let server = Server::start(&[]);
    let model = Model::saying(&serde_json::json!([{"expect": ["piped question"], "text": "yes: \"this\""}]));
    let ran = agent(&server, &model, "anthropic", &["--format", "yaml"], b"piped question\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("answer: \"yes: \\\"this\\\"\"\n") && ran.stdout.contains("usage:\n  turns: 1\n"),
        "{}",
        ran.stdout
    );
}

/// Hosts that were granted and files that were given are told to the model wherever it reads of its sandbox.
#[test]
fn the_model_is_told_what_it_may_reach_and_which_files_it_has() {
    let server = Server::start(&[]);
    let file = server.data.path().join("in.csv");
    std::fs::write(&file, "1").unwrap();
    let file = file.to_str().unwrap();
    let told = |more: &[&str]| {
        let model = Model::saying(&json!([{"text": "{}"}]));
        agent(&server, &model, "openai", &[&["?"], more].concat(), b"");
        let body = model.requests()[0]["body"].clone();
        match body["tools"][0]["function"]["description"].as_str() {
            Some(tool) => tool.to_owned(),
            None => body["messages"][0]["content"].as_str().unwrap().to_owned(),
        }
    };
    for style in [&["--tools", "calls"][..], &["--tools", "fenced"], &["--solution", "--max-iterations", "1"]]
    {
        let none = told(style);
        assert!(none.contains("without network") && !none.contains("in.csv"), "{style:?}: {none}");
        let granted = [style, &["--allow-host", "data.example:8443", "--file", file]].concat();
        let granted = told(&granted);
        assert!(
            granted.contains("`data.example:8443`") && granted.contains("`in.csv`"),
            "{style:?}: {granted}"
        );
        assert!(!granted.contains("without network"), "{style:?}: {granted}");
    }
}

/// The same of the service: tasks, and chats in a session that may reach something.
#[test]
fn the_model_of_a_service_is_told_what_it_may_reach() {
    let model = Model::saying(&Value::from(vec![json!({"text": "done"}); 5]));
    let server = super::reviews::with(&model, &[]);
    let egress = json!({"allow": ["data.example:8443"]});
    let files = json!([{"path": "in.csv", "text": "1"}]);
    let (status, session) = server.post_json("/v1/sessions", &json!({"egress": egress}));
    assert_eq!(status, 201, "{session}");
    let id = session["id"].as_str().unwrap();
    let tasks = [
        json!({"question": "?", "wait": true, "egress": egress, "files": files}),
        json!({"question": "?", "wait": true, "session": id}),
        json!({"question": "?", "wait": true}),
    ];
    for task in &tasks {
        let (status, done) = server.post_json("/v1/tasks", task);
        assert_eq!((status, &done["state"]), (200, &json!("answered")), "{done}");
    }
    let chat = json!({"model": "default", "messages": [{"role": "user", "content": "?"}]});
    let in_it = [("x-fireclay-session", id)];
    assert_eq!(server.post_json_with("/v1/chat/completions", &in_it, &chat).0, 200);
    assert_eq!(server.post_json("/v1/chat/completions", &chat).0, 200);
    let requests = model.requests();
    let told = |at: usize| requests[at]["body"]["tools"][0]["function"]["description"].as_str().unwrap();
    for at in [0, 1, 3] {
        assert!(
            told(at).contains("`data.example:8443`") && !told(at).contains("without network"),
            "{}",
            told(at)
        );
    }
    for at in [2, 4] {
        assert!(told(at).contains("without network") && !told(at).contains("data.example"), "{}", told(at));
    }
    assert!(told(0).contains("`in.csv`") && !told(1).contains("in.csv"), "{}", told(0));
}

/// What was refused is not told as done: neither to a person nor in the trace.
#[test]
fn a_write_that_is_refused_is_not_told_as_done() {
    let server = Server::start(&[]);
    let write = |path: &str| json!([{"name": "write_file", "arguments": {"path": path, "text": "abc"}}]);
    let model = Model::saying(&json!([
        {"calls": write("../x")}, {"expect": ["path"], "calls": write("x")}, {"expect": ["wrote 3 bytes"], "text": "done"},
    ]));
    let ran = agent(&server, &model, "openai", &["?", "--log-level", "info"], b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("── wrote x, 3 bytes") && !ran.stderr.contains("wrote ../x"), "{ran:?}");
    let (_, list) = server.get_json("/v1/traces?kind=task");
    let (_, trace) = server.get_json(&format!("/v1/traces/{}", list["items"][0]["id"].as_str().unwrap()));
    let told = trace.to_string();
    assert_eq!(told.matches("execute_tool wrote_file").count(), 1, "{trace}");
}
