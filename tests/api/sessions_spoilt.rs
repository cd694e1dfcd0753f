//! Sessions in which something goes wrong: every run is answered, what is killed dies, and what follows is done as ever.

use super::sessions::{open, run, said};
use fireclay_tests::Server;
use serde_json::{Value, json};
use std::io::Write;

/// Submits a run and returns its id at once.
fn submit(server: &Server, session: &str, asked: &Value) -> String {
    let (status, run) = server.post_json(&format!("{session}/runs"), asked);
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_for_which_there_is_no_room_is_answered_and_the_next_one_done() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({"limits": {"disk_bytes": 4 << 20}}));
    let fill = "try:\n    with open('full', 'wb', 0) as f:\n        while True: f.write(b'x' * 4096)\nexcept OSError: pass";
    run(&server, &session, &json!({"code": fill}));
    // Their orders, directories and files find no room; that is the end of them and of nothing else.
    let code = format!("print(1)  {}", "#".repeat(200_000));
    for asked in [
        json!({"code": code}),
        json!({"code": code, "fresh": true}),
        json!({"code": code, "fresh": true, "cwd": "private"}),
    ] {
        let result = run(&server, &session, &asked);
        assert_eq!(result["outcome"], "disk_exceeded", "{result}");
    }
    assert_eq!(server.delete(&format!("{session}/files/full")).0, 204);
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
    let fresh = json!({"code": "print(2)", "fresh": true});
    assert_eq!(run(&server, &session, &fresh)["stdout"], "2\n");
}

#[test]
fn a_run_that_may_not_write_its_files_is_answered_and_the_next_one_done() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    said(&server, &session, "import os\nos.mkdir('kept')\nos.chmod('/workspace', 0o555)");
    let file = json!([{"path": "a.txt", "text": "x"}]);
    for asked in [json!({"code": "1", "files": file}), json!({"code": "1", "fresh": true})] {
        let (status, result) = server.post_json(&format!("{session}/runs"), &asked);
        assert_eq!(status, 200, "{result}");
        assert!(result["outcome"] != "completed", "{result}");
    }
    assert_eq!(said(&server, &session, "os.chmod('/workspace', 0o755)\nprint(os.listdir())"), "['kept']\n");
}

#[test]
fn what_the_session_itself_does_not_let_start_is_an_outcome_that_says_why() {
    let server = Server::start(&[]);
    for (env, language, says) in [
        (json!({"PYTHONHOME": "/nonexistent"}), "python", "Python"),
        (json!({"NODE_OPTIONS": "--no-such-option"}), "javascript", "no-such-option"),
    ] {
        let session = open(&server, &json!({"env": env}));
        for _ in 0..2 {
            let result = run(&server, &session, &json!({"code": "1", "language": language}));
            assert_eq!(
                (&result["outcome"], &result["state_lost"]),
                (&json!("failed"), &json!(true)),
                "{result}"
            );
            assert!(result["stderr"].as_str().unwrap().contains(says), "{result}");
        }
        assert_eq!(run(&server, &session, &json!({"code": "echo 1", "language": "bash"}))["stdout"], "1\n");
    }
}

#[test]
fn a_run_for_which_there_is_no_process_is_answered_and_the_next_one_done() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({"limits": {"processes": 16}}));
    let crowd = "import subprocess\nothers = []\ntry:\n    while True: others.append(subprocess.Popen(['sleep', '600']))\nexcept OSError: pass";
    said(&server, &session, crowd);
    let fresh = json!({"code": "print(2)", "fresh": true});
    let result = run(&server, &session, &fresh);
    assert_eq!((&result["outcome"], &result["fault"]), (&json!("failed"), &Value::Null), "{result}");
    assert!(result["stderr"].as_str().unwrap().contains("processes"), "{result}");
    said(&server, &session, "for one in others: one.kill(); one.wait()");
    assert_eq!(run(&server, &session, &fresh)["stdout"], "2\n");
}

#[test]
fn what_is_taken_back_as_it_starts_is_killed_and_those_behind_it_have_their_deadlines() {
    let server = Server::start(&["--set", "concurrency=4"]);
    let session = open(&server, &json!({}));
    let endless = json!({"code": "while True: pass", "fresh": true, "wait": false});
    for _ in 0..40 {
        let id = submit(&server, &session, &endless);
        assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
        assert_eq!(server.settled(&id).outcome.unwrap().name(), "cancelled");
    }
    let late = json!({"code": "while True: pass", "fresh": true, "limits": {"timeout_ms": 300}});
    for _ in 0..4 {
        assert_eq!(run(&server, &session, &late)["outcome"], "timed_out");
    }
}

#[test]
fn an_interpreter_that_begins_anew_as_it_starts_does_nothing_that_was_cancelled() {
    let server = Server::start(&[]);
    for _ in 0..10 {
        let session = open(&server, &json!({}));
        // Node takes tens of milliseconds to start; who is told to begin anew then must not begin this.
        let code = "require('fs').mkdirSync('ran')";
        let id = submit(&server, &session, &json!({"code": code, "language": "javascript", "wait": false}));
        assert_eq!(server.post_json(&format!("{session}/restart"), &json!({})).0, 200);
        let result = server.settled(&id);
        assert!(result.fault.is_none(), "{result:?}");
        if result.outcome.unwrap().name() == "cancelled" {
            assert_eq!(said(&server, &session, "import os\nprint(os.listdir())"), "[]\n");
        }
        assert_eq!(server.delete(&session).0, 200);
    }
}

#[test]
fn runs_that_wait_in_a_session_count_as_waiting() {
    let server = Server::start(&["--set", "tenant.queue=3"]);
    let session = open(&server, &json!({}));
    said(&server, &session, "import time");
    let busy = submit(&server, &session, &json!({"code": "time.sleep(600)", "wait": false}));
    let wait = json!({"code": "1", "wait": false});
    let waiting: Vec<String> = (0..3).map(|_| submit(&server, &session, &wait)).collect();
    let (status, problem) = server.post_json(&format!("{session}/runs"), &wait);
    assert_eq!(status, 429, "{problem}");
    assert_eq!(server.delete(&format!("/v1/runs/{busy}")).0, 202);
    waiting.iter().for_each(|id| assert_eq!(server.settled(id).outcome.unwrap().name(), "completed"));
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
}

#[test]
fn no_more_sessions_are_open_than_may_be_though_all_are_asked_for_at_once() {
    let server = Server::start(&["--set", "tenant.sessions=2"]);
    let opened = std::thread::scope(|scope| {
        let one = || server.post_json("/v1/sessions", &json!({})).0;
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
        threads.into_iter().filter_map(|one| (one.join().unwrap() == 201).then_some(())).count()
    });
    assert_eq!(opened, 2);
}

#[test]
fn what_was_done_is_answered_again_after_the_end() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let (url, key) = (format!("{session}/runs"), [("idempotency-key", "once")]);
    let (status, first) = server.post_json_with(&url, &key, &json!({"code": "print(1)"}));
    assert_eq!((status, &first["stdout"]), (200, &json!("1\n")), "{first}");
    assert_eq!(server.delete(&session).0, 200);
    assert_eq!(server.post_json_with(&url, &key, &json!({"code": "print(1)"})), (200, first));
    // Another request, and one without a key, are told of the end.
    assert_eq!(server.post_json_with(&url, &key, &json!({"code": "print(2)"})).0, 409);
    assert_eq!(server.post_json(&url, &json!({"code": "print(1)"})).0, 409);
}

#[test]
fn files_of_ended_sessions_take_no_more_than_they_may() {
    let server = Server::start(&["--set", "session.files_bytes=3MiB"]);
    let ended = |megabytes: usize| {
        let session = open(&server, &json!({}));
        said(&server, &session, &format!("open('a', 'wb').write(bytes({megabytes} << 20))"));
        assert_eq!(server.delete(&session).0, 200);
        session
    };
    let (first, second) = (ended(2), ended(2));
    assert_eq!(server.get(&format!("{first}/files/a")).0, 404);
    assert!(server.get_json(&first).1["end"]["files_until"].is_null());
    assert_eq!(server.get(&format!("{second}/files/a")).1.len(), 2 << 20);
    // One that would not fit alone is not kept, and that is said.
    let third = ended(4);
    let (_, view) = server.get_json(&third);
    assert!(view["end"]["detail"].as_str().unwrap().contains("1 of its files"), "{view}");
    // What no record speaks of is removed at the next start.
    let data = server.data.clone();
    drop(server);
    let stray = data.path().join("sessions/ses_00000000000000000000000000/workspace");
    std::fs::create_dir_all(&stray).unwrap();
    let server = Server::start_in(&data, &[]);
    assert!(!stray.exists());
    assert_eq!(server.get(&format!("{second}/files/a")).1.len(), 2 << 20);
}

#[test]
fn a_pattern_is_bounded_and_so_are_names() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let (status, problem) = server.get_json(&format!("{session}/files?glob={}", "*a".repeat(129)));
    assert_eq!((status, &problem["field"]), (422, &json!("glob")), "{problem}");
    let deep = "import os\nfor _ in range(20):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)";
    said(&server, &session, deep);
    let (_, list) = server.get_json(&format!("{session}/files?recursive=true"));
    assert_eq!((list["items"].as_array().unwrap().len(), &list["truncated"]), (5, &json!(true)));
    assert_eq!(server.delete(&format!("{session}/files/{}", "d".repeat(200))).0, 204);
}

#[test]
fn uploads_that_are_slow_hold_nobody_up() {
    // As many as the runtime has threads that may wait, were each to hold one.
    const SLOW: usize = 600;
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let slow: Vec<_> = (0..SLOW)
        .map(|number| {
            let mut client = server.connect();
            let head = format!(
                "PUT {session}/files/{number} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/octet-stream\r\ncontent-length: 10\r\n\r\nx",
                server.address()
            );
            client.write_all(head.as_bytes()).unwrap();
            client
        })
        .collect();
    let bytes = [("content-type", "application/octet-stream")];
    assert_eq!(server.send("PUT", &format!("{session}/files/quick"), &bytes, b"quick").status, 200);
    assert_eq!(server.get(&format!("{session}/files/quick")), (200, b"quick".to_vec()));
    drop(slow);
}
