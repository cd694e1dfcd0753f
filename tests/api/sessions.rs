//! Sessions over a real socket: state and files survive, runs keep their order, and whatever ends says why.

use super::tenancy::Tenancy;
use fireclay_tests::Server;
use fireclay_tests::http::{self, Answer};
use serde_json::{Value, json};
use std::time::Instant;

/// Opens a session and returns its path.
pub fn open(server: &Server, asked: &Value) -> String {
    let (status, session) = server.post_json("/v1/sessions", asked);
    assert_eq!(status, 201, "{session}");
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

/// Runs something and waits for it.
pub fn run(server: &Server, session: &str, asked: &Value) -> Value {
    let (status, result) = server.post_json(&format!("{session}/runs"), asked);
    assert_eq!(status, 200, "{result}");
    result
}

/// Runs Python that must complete; returns what it printed.
pub fn said(server: &Server, session: &str, code: &str) -> String {
    let result = run(server, session, &json!({"code": code}));
    assert_eq!(result["outcome"], "completed", "{result}");
    result["stdout"].as_str().unwrap().to_owned()
}

/// Waits until a session has ended; returns its end.
pub fn end_of(server: &Server, session: &str) -> Value {
    let until = Instant::now() + fireclay_tests::server::PATIENCE;
    loop {
        let (status, view) = server.get_json(session);
        assert_eq!(status, 200, "{view}");
        if !view["end"].is_null() {
            return view["end"].clone();
        }
        assert!(Instant::now() < until, "it does not end: {view}");
        std::thread::yield_now();
    }
}

#[test]
fn state_and_files_survive_from_run_to_run() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({"name": "mine", "env": {"S": "of the session"}}));
    said(
        &server,
        &session,
        "import math, os\nx = 40\ndef f(): return x + 2\nopen('a.txt', 'w').write('kept')",
    );
    let result = run(&server, &session, &json!({"code": "f()"}));
    assert_eq!((&result["result"]["text/plain"], &result["session"]), (&json!("42"), &json!(session[13..])));
    assert_eq!(
        said(&server, &session, "print(os.environ['S'], open('a.txt').read())"),
        "of the session kept\n"
    );
    // One state for each language, one workspace for all.
    let bash =
        |code: &str| run(&server, &session, &json!({"language": "bash", "code": code}))["stdout"].clone();
    assert_eq!(bash("cd /tmp; A=5; f() { echo in f; }"), "");
    assert_eq!(bash("pwd; echo $A; f; cat /workspace/a.txt"), "/tmp\n5\nin f\nkept");
    // What belongs to one run belongs to no other.
    let own =
        json!({"code": "print(os.environ['R'], input())", "env": {"R": "of the run"}, "stdin": "line\n"});
    assert_eq!(run(&server, &session, &own)["stdout"], "of the run line\n");
    assert_eq!(said(&server, &session, "print(os.environ.get('R'))"), "None\n");
    let (_, view) = server.get_json(&session);
    assert_eq!(
        (&view["state"], &view["name"], &view["runs"]["completed"]),
        (&json!("open"), &json!("mine"), &json!(7))
    );
    let (_, listed) = server.get_json(&format!("/v1/runs?session={}", &session[13..]));
    assert_eq!(listed["items"].as_array().unwrap().len(), 7);
}

#[test]
fn a_timeout_interrupts_first_and_kills_what_does_not_heed_it() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    said(&server, &session, "x = 1");
    let asleep = json!({"code": "import time\ntime.sleep(600)", "limits": {"timeout_ms": 300}});
    let result = run(&server, &session, &asleep);
    assert_eq!((&result["outcome"], &result["signal"]), (&json!("timed_out"), &json!("SIGINT")), "{result}");
    assert_eq!(result["error"]["name"], "KeyboardInterrupt");
    assert!(result.get("state_lost").is_none());
    assert_eq!(said(&server, &session, "print(x)"), "1\n");
    let deaf = "while True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        pass";
    let result = run(&server, &session, &json!({"code": deaf, "limits": {"timeout_ms": 300}}));
    assert_eq!((&result["outcome"], &result["signal"]), (&json!("timed_out"), &json!("SIGKILL")), "{result}");
    assert_eq!(result["state_lost"], true);
    assert_eq!(said(&server, &session, "print('x' in globals())"), "False\n");
}

#[test]
fn a_run_that_is_taken_back_leaves_the_state_and_those_behind_it() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    said(&server, &session, "import time\nseen = []");
    let submit = |code: &str| {
        let (status, run) =
            server.post_json(&format!("{session}/runs"), &json!({"code": code, "wait": false}));
        assert_eq!(status, 202, "{run}");
        run["id"].as_str().unwrap().to_owned()
    };
    let first = submit("print('on', flush=True)\ntime.sleep(600)");
    let second = submit("seen.append(2)");
    let third = submit("seen.append(3)");
    assert!(server.events(&first, None).any(|event| event.text() == "on\n"));
    // One that waits, then the one that is on its way.
    assert_eq!(server.delete(&format!("/v1/runs/{second}")).0, 202);
    assert_eq!(server.settled(&second).outcome.unwrap().name(), "cancelled");
    assert_eq!(server.delete(&format!("/v1/runs/{first}")).0, 202);
    let result = server.settled(&first);
    assert_eq!((result.outcome.unwrap().name(), result.state_lost), ("cancelled", false));
    assert_eq!(server.settled(&third).outcome.unwrap().name(), "completed");
    assert_eq!(said(&server, &session, "print(seen)"), "[3]\n");
}

#[test]
fn runs_keep_their_order_and_a_crash_is_an_outcome() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    said(&server, &session, "n = []");
    let ids: Vec<String> = (0..30)
        .map(|number| {
            let asked = json!({"code": format!("n.append({number})"), "wait": false});
            let (status, run) = server.post_json(&format!("{session}/runs"), &asked);
            assert_eq!(status, 202, "{run}");
            run["id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.iter().for_each(|id| assert_eq!(server.settled(id).outcome.unwrap().name(), "completed"));
    assert_eq!(said(&server, &session, "print(n == list(range(30)))"), "True\n");
    said(&server, &session, "open('kept', 'w').write('kept')");
    let crash = run(&server, &session, &json!({"code": "import ctypes, os\nos.kill(os.getpid(), 11)"}));
    assert_eq!((&crash["outcome"], &crash["signal"]), (&json!("signalled"), &json!("SIGSEGV")), "{crash}");
    assert_eq!(crash["state_lost"], true);
    assert_eq!(said(&server, &session, "print('n' in globals(), open('kept').read())"), "False kept\n");
    // Memory that is not there costs the state, not the session.
    let greedy = json!({"code": "b = bytearray(1 << 30)"});
    let greedy = run(&server, &session, &greedy);
    assert_eq!(
        (&greedy["outcome"], &greedy["state_lost"]),
        (&json!("memory_exceeded"), &json!(true)),
        "{greedy}"
    );
    // And on purpose.
    said(&server, &session, "y = 1");
    assert_eq!(server.post_json(&format!("{session}/restart"), &json!({})).0, 200);
    assert_eq!(said(&server, &session, "print('y' in globals(), open('kept').read())"), "False kept\n");
}

#[test]
fn a_hundred_fresh_runs_write_the_same_file_name() {
    let server = Server::start(&["--set", "concurrency=8"]);
    let session = open(&server, &json!({}));
    said(&server, &session, "open('shared.txt', 'w').write('shared')\nx = 1");
    let results: Vec<Value> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let code = format!(
                "import os\nassert os.listdir() == ['main.py'], os.listdir()\nopen('out.txt', 'w').write('{number}')\n\
                 print(open('out.txt').read(), open('/workspace/shared.txt').read(), 'x' in globals())"
            );
            run(&server, &session, &json!({"code": code, "fresh": true, "cwd": "private"}))
        };
        let threads: Vec<_> = (0..100).map(|number| scope.spawn(move || (number, one(number)))).collect();
        let mut results: Vec<(usize, Value)> = threads.into_iter().map(|one| one.join().unwrap()).collect();
        results.sort_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    });
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result["stdout"], format!("{number} shared False\n"), "{result}");
        assert_eq!(result["artifacts"][0]["path"], "out.txt");
    }
    // Nothing of them is left in the workspace, and the state is as it was.
    assert_eq!(said(&server, &session, "import os\nprint(sorted(os.listdir()), x)"), "['shared.txt'] 1\n");
    // What a program leaves running ends with it, also in a session and a group of its own.
    let orphan = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\nprint('done')";
    assert_eq!(run(&server, &session, &json!({"code": orphan, "fresh": true}))["stdout"], "done\n");
    let alive = "import glob\nprint(len([p for p in glob.glob('/proc/[0-9]*') if b'main.py' in open(p + '/cmdline', 'rb').read()]))";
    assert_eq!(said(&server, &session, alive), "0\n");
}

#[test]
fn a_session_ends_by_itself_and_says_why() {
    let server = Server::start(&[]);
    let idle = open(&server, &json!({"idle_ttl_ms": 300}));
    said(&server, &idle, "open('a', 'w').write('kept')");
    let expired = open(&server, &json!({"ttl_ms": 300}));
    let closed = open(&server, &json!({}));
    let (status, view) = server.delete(&closed);
    assert_eq!((status, &view["end"]["why"]), (200, &json!("closed")), "{view}");
    assert_eq!(end_of(&server, &idle)["why"], "idle");
    assert_eq!(end_of(&server, &expired)["why"], "expired");
    // Nothing runs there any more, and that is said.
    let (status, problem) = server.post_json(&format!("{idle}/runs"), &json!({"code": "1"}));
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("idle"), "{problem}");
    // Its files are there for a while.
    assert_eq!(server.get(&format!("{idle}/files/a")), (200, b"kept".to_vec()));
    let put =
        server.send("PUT", &format!("{idle}/files/a"), &[("content-type", "application/octet-stream")], b"x");
    assert_eq!(put.status, 409);
    // One that is renewed stays.
    let renewed = open(&server, &json!({"ttl_ms": 2000}));
    let (status, view) = server.post_json(&format!("{renewed}/renew"), &json!({"ttl_ms": 600_000}));
    assert_eq!((status, &view["state"]), (200, &json!("open")), "{view}");
}

#[test]
fn a_service_that_follows_knows_what_became_of_sessions() {
    let server = Server::start(&[]);
    let data = server.data.clone();
    let orderly = open(&server, &json!({}));
    said(&server, &orderly, "import os\nos.mkdir('d')\nopen('d/a', 'w').write('kept')");
    drop(server);
    let server = Server::start_in(&data, &[]);
    let end = end_of(&server, &orderly);
    assert_eq!(end["why"], "service_restarted", "{end}");
    assert_eq!(server.get(&format!("{orderly}/files/d/a")), (200, b"kept".to_vec()));
    let killed = open(&server, &json!({}));
    said(&server, &killed, "open('a', 'w').write('lost')");
    let data = server.kill();
    data.wait_for_the_last_process();
    let server = Server::start_in(&data, &[]);
    let end = end_of(&server, &killed);
    assert_eq!((&end["why"], &end["files_until"]), (&json!("service_restarted"), &Value::Null), "{end}");
    assert_eq!(server.get(&format!("{killed}/files/a")).0, 404);
}

#[test]
fn sessions_are_their_tenants_and_bounded() {
    let tenancy = Tenancy::start();
    let (status, session) = tenancy.tell(&tenancy.a, "POST", "/v1/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let code = json!({"code": "open('a', 'w').write('secret')"});
    assert_eq!(tenancy.tell(&tenancy.a, "POST", &format!("{path}/runs"), &code).0, 200);
    for (method, path, body) in [
        ("GET", path.clone(), None),
        ("DELETE", path.clone(), None),
        ("GET", format!("{path}/files"), None),
        ("GET", format!("{path}/files/a"), None),
        ("DELETE", format!("{path}/files/a"), None),
        ("POST", format!("{path}/runs"), Some(json!({"code": "1"}))),
        ("POST", format!("{path}/renew"), Some(json!({}))),
        ("POST", format!("{path}/restart"), Some(json!({}))),
        ("POST", format!("{path}/move"), Some(json!({"from": "a", "to": "b"}))),
        ("POST", format!("{path}/directories"), Some(json!({"path": "b"}))),
    ] {
        let foreign = tenancy.answer(&tenancy.b, method, &path, body.as_ref());
        assert_eq!(foreign.status, 404, "{method} {path}");
    }
    let listed = tenancy.ask(&tenancy.b, "GET", "/v1/sessions").1;
    assert_eq!(listed["items"], json!([]));
    let (_, log) = tenancy.ask(&tenancy.admin, "GET", "/v1/audit");
    assert!(log.to_string().contains("session.open"), "{log}");
    assert_eq!(tenancy.answer(&tenancy.a, "DELETE", &path, None).status, 200);
    let (_, log) = tenancy.ask(&tenancy.admin, "GET", "/v1/audit");
    let acts = log["items"].as_array().unwrap();
    let actor = |action| acts.iter().find(|act| act["action"] == action).map(|act| act["actor"].clone());
    assert_eq!(actor("session.end"), actor("session.open"), "{log}");
    drop(tenancy);
    let server = Server::start(&["--set", "tenant.sessions=2"]);
    for (asked, field) in [
        (json!({"template": "no"}), "template"),
        (json!({"name": "n".repeat(129)}), "name"),
        (json!({"limits": {"timeout_ms": 0}}), "limits.timeout_ms"),
        (json!({"env": {"a=b": ""}}), "env.a=b"),
    ] {
        let (status, problem) = server.post_json("/v1/sessions", &asked);
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
    let first = open(&server, &json!({}));
    open(&server, &json!({}));
    assert_eq!(server.post_json("/v1/sessions", &json!({})).0, 429);
    assert_eq!(server.delete(&first).0, 200);
    open(&server, &json!({}));
}

#[test]
fn what_a_run_may_not_say_in_a_session_is_refused_in_words() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    for (asked, field) in [
        (json!({"code": "1", "template": "python"}), "template"),
        (json!({"code": "1", "limits": {"memory_bytes": 100_000_000}}), "limits.memory_bytes"),
        (json!({"code": "1", "args": ["x"]}), "args"),
        (json!({"code": "1", "cwd": "../x"}), "cwd"),
    ] {
        let (status, problem) = server.post_json(&format!("{session}/runs"), &asked);
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
    let fresh = json!({"code": "import sys\nprint(sys.argv[1])", "fresh": true, "args": ["x"], "limits": {"processes": 8}});
    assert_eq!(run(&server, &session, &fresh)["stdout"], "x\n");
}

#[test]
fn two_hundred_sessions_wait_and_each_answers_right() {
    const SESSIONS: usize = 200;
    let server = Server::start(&["--set", "tenant.sessions=300"]);
    let sessions: Vec<String> = (0..SESSIONS)
        .map(|number| {
            let session =
                open(&server, &json!({"limits": {"memory_bytes": 64 << 20, "disk_bytes": 16 << 20}}));
            said(&server, &session, &format!("n = {number}"));
            session
        })
        .collect();
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(said(&server, session, "print(n)"), format!("{number}\n"));
    }
}

#[test]
fn files_go_in_and_out() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({"limits": {"disk_bytes": 4 << 20}}));
    let bytes = ("content-type", "application/octet-stream");
    let put = |path: &str, content: &[u8]| -> Answer {
        server.send("PUT", &format!("{session}/files/{path}"), &[bytes], content)
    };
    let content: Vec<u8> = (0..=255u8).cycle().take(1_000_000).collect();
    assert_eq!(put("data/a.bin", &content).into_json().1["bytes"], 1_000_000);
    assert_eq!(said(&server, &session, "print(len(open('data/a.bin', 'rb').read()))"), "1000000\n");
    assert_eq!(server.get(&format!("{session}/files/data/a.bin")), (200, content.clone()));
    let part = server.send("GET", &format!("{session}/files/data/a.bin"), &[("range", "bytes=256-511")], b"");
    assert_eq!((part.status, part.body), (206, (0..=255u8).collect()));
    let whole = server.send("GET", &format!("{session}/files/data/a.bin"), &[], b"");
    let tag = whole.header("etag").to_owned();
    let same = server.send("GET", &format!("{session}/files/data/a.bin"), &[("if-none-match", &tag)], b"");
    assert_eq!(same.status, 304);
    // More than there is room for: nothing of it is left, and the answer says how much would be.
    let (status, problem) = put("big", &vec![0; 8 << 20]).into_json();
    assert_eq!(status, 507, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("bytes are left"), "{problem}");
    let (_, list) = server.get_json(&format!("{session}/files?recursive=true"));
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["data", "data/a.bin"]);
    assert_eq!(
        server.post_json(&format!("{session}/move"), &json!({"from": "data/a.bin", "to": "b.bin"})).0,
        200
    );
    assert_eq!(server.post_json(&format!("{session}/directories"), &json!({"path": "x/y"})).0, 200);
    let (_, list) = server.get_json(&format!("{session}/files?glob=**/*.bin"));
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["path"]), (1, &json!("b.bin")));
    assert_eq!(server.delete(&format!("{session}/files/x")).0, 204);
    // A page in a browser cannot send this unasked.
    assert_eq!(
        server.send("PUT", &format!("{session}/files/a"), &[("content-type", "text/plain")], b"x").status,
        415
    );
    // Links lead nowhere, pipes hold nobody, and what is named is what is meant.
    let tricks = "import os\nos.symlink('/etc/passwd', 'link')\nos.symlink('/', 'root')\nos.mkfifo('pipe')\nos.symlink('/proc/self', 'self')";
    said(&server, &session, tricks);
    for path in ["link", "root/etc/passwd", "pipe", "self/environ"] {
        assert_eq!(server.get(&format!("{session}/files/{path}")).0, 409, "{path}");
    }
    assert_eq!(put("root/tmp/x", b"x").status, 409);
    assert_eq!(put("link", b"mine").status, 200);
    assert_eq!(server.get(&format!("{session}/files/link")), (200, b"mine".to_vec()));
    let (_, list) = server.get_json(&format!("{session}/files"));
    assert!(list.to_string().contains("\"kind\":\"link\""), "{list}");
}

#[test]
fn a_run_of_a_session_is_followed_as_any() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let asked =
        json!({"code": "import time\nprint('one', flush=True)\ntime.sleep(0.01)\nprint('two')"}).to_string();
    let url = server.url(&format!("{session}/runs"));
    let events: Vec<_> = http::stream("POST", &url, &headers, asked.as_bytes()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"settled")), "{kinds:?}");
    let text: String = events.iter().filter(|event| event.kind == "stdout").map(http::Event::text).collect();
    assert_eq!(text, "one\ntwo\n");
}
