//! Verdicts: each way to judge, checkers, groups, and faults that are nobody's wrong answer.

use super::{answered, batch, python, text};
use fireclay_tests::server::Server;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const CHECKER: &str = "import sys\nsys.exit(0 if open('output.txt').read() == open('expected.txt').read() + open('input.txt').read() else 1)";

/// The example of the documentation, line by line.
#[test]
fn the_documented_example() {
    let server = Server::start(&[]);
    let example = include_bytes!("../../../api/examples/batch-cases.jsonl");
    let (answers, summary) = answered(&text(&server, "", &[], example), 7);
    let verdicts: Vec<&str> = answers.iter().map(|answer| answer["verdict"].as_str().unwrap()).collect();
    assert_eq!(
        verdicts,
        ["completed", "wrong_answer", "passed", "passed", "passed", "wrong_answer", "rejected"],
        "{answers:?}"
    );
    assert_eq!(answers[1]["cases"][1]["difference"], json!({"line": 1, "expected": "7", "actual": "6"}));
    let samples = &answers[5];
    assert_eq!((&samples["programs_passed"], &samples["pass_at_k"]["2"]), (&json!(2), &json!(1.0)));
    assert!((samples["pass_at_k"]["1"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(summary["programs"], json!({"passed": 5, "judged": 7}));
}

#[test]
fn a_program_is_judged_by_what_it_prints_and_how_it_ends() {
    let server = Server::start(&[]);
    let judged = |program: Value, case: Value| json!({"program": program, "cases": [case]});
    let limited = |code: &str, limits: Value| json!({"language": "python", "code": code, "limits": limits});
    let items = [
        judged(python("print(1)\nraise SystemExit(1)"), json!({"expected": "1"})),
        judged(limited("while True: pass", json!({"timeout_ms": 300})), json!({"expected": ""})),
        judged(
            limited("print('a' * 5000)", json!({"output_bytes": 1024})),
            json!({"expected": "a".repeat(5000)}),
        ),
        judged(python("import os; print(os.listdir('.'))"), json!({"expected": "['main.py']"})),
        judged(
            python("print(open('x').read())"),
            json!({"expected": "1", "files": [{"path": "x", "text": "1"}]}),
        ),
        json!({"program": python("print(1)"), "cases": [{"expected": "2"}, {"expected": "1"}], "stop_at_first_failure": true}),
        judged(json!({"language": "bash", "code": ""}), json!({"append": "true"})),
    ];
    let (answers, _) = batch(&server, "", &items);
    let verdicts: Vec<&str> = answers.iter().map(|answer| answer["verdict"].as_str().unwrap()).collect();
    assert_eq!(
        verdicts,
        ["failed", "timed_out", "wrong_answer", "passed", "passed", "wrong_answer", "rejected"],
        "{answers:?}"
    );
    assert_eq!(answers[5]["cases"][1]["verdict"], "skipped");
    // Each run is in the store with its verdict.
    let run = answers[2]["cases"][0]["run"].as_str().unwrap();
    let (_, listed) = server.get_json("/v1/runs?limit=50");
    let listed = listed["items"].as_array().unwrap().iter().find(|row| row["id"] == *run).unwrap().clone();
    assert_eq!((&listed["verdict"], &listed["index"]), (&json!("wrong_answer"), &json!(2)));
}

#[test]
fn a_checker_that_fails_is_a_fault_and_no_answer() {
    let server = Server::start(&[]);
    let checked = |output: &str, checker: &str| {
        json!({"program": python(&format!("print({output:?}, end='')")), "cases": [{"stdin": "in", "expected": "ex"}],
            "checker": {"language": "python", "code": checker}})
    };
    let items = [
        checked("exin", CHECKER),
        checked("ex", CHECKER),
        checked("exin", "raise ValueError('no')"),
        checked("exin", "import sys; sys.exit(2)"),
        checked("exin", "import os; os.kill(os.getpid(), 9)"),
        checked("exin", "print("),
    ];
    let (answers, summary) = batch(&server, "", &items);
    let verdicts: Vec<&str> = answers.iter().map(|answer| answer["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["passed", "wrong_answer", "fault", "fault", "fault", "fault"], "{answers:?}");
    for answer in &answers[2..] {
        let fault = &answer["cases"][0]["fault"];
        assert_eq!(
            (&fault["code"], &answer["retry_safe"]),
            (&json!("checker_failed"), &json!(false)),
            "{answer}"
        );
    }
    assert_eq!(summary["items"], json!({"passed": 1, "judged": 2}));
}

/// The keepers of a service: children of its spawner, which is a child of the service.
fn keepers(server: &Server) -> Vec<Pid> {
    let children = |pid: Pid| -> Vec<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", pid.as_raw_nonzero());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).unwrap();
    let spawners = tasks.flatten().flat_map(|task| {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>()
    });
    spawners.collect::<Vec<_>>().into_iter().flat_map(children).collect()
}

#[test]
fn a_keeper_that_dies_is_a_fault_after_three_tries_and_never_a_wrong_answer() {
    let server = Server::start(&["--set", "concurrency=1"]);
    let item = json!({"program": {"language": "bash", "code": "sleep 600", "limits": {"timeout_ms": 600_000}}, "cases": [{"expected": "x"}]});
    let (answers, summary) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| batch(&server, "", std::slice::from_ref(&item)));
        while !asked.is_finished() {
            if let Some(keeper) = keepers(&server).first() {
                // It may have ended between the look and this.
                drop(kill_process(*keeper, Signal::KILL));
            }
            std::thread::yield_now();
        }
        asked.join().unwrap()
    });
    let answer = &answers[0];
    assert_eq!((&answer["verdict"], &answer["retry_safe"]), (&json!("fault"), &json!(true)), "{answer}");
    assert_eq!(answer["cases"][0]["fault"]["code"], "interrupted");
    assert_eq!((&summary["runs"], &summary["items"]), (&json!(3), &json!({"passed": 0, "judged": 0})));
}
