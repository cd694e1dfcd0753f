//! Conversations with a session over WebSocket: `input()` works, Ctrl-C interrupts, and neither side can make the other wait for ever.

use super::sessions::{open, run, said};
use super::tenancy::Tenancy;
use fireclay_tests::Server;
use fireclay_tests::websocket::{Next, Wire};
use rustix::process::Signal;
use serde_json::{Value, json};

fn attach(server: &Server, session: &str) -> Wire {
    let mut wire = Wire::open(server, &format!("{session}/attach"), &[]).unwrap();
    assert_eq!(wire.until("attached")["session"], session[13..]);
    wire
}

/// Starts a run; returns its id.
fn start(wire: &mut Wire, asked: &Value) -> String {
    let mut message = json!({"type": "run"});
    message.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    wire.say(&message);
    let accepted = wire.until("accepted");
    accepted["run"].as_str().unwrap_or_else(|| panic!("{accepted}")).to_owned()
}

fn typed(wire: &mut Wire, text: &str) {
    wire.say(&json!({"type": "stdin", "text": text}));
}

/// The end of the run that is on.
fn settled(wire: &mut Wire) -> Value {
    wire.until("settled")["result"].clone()
}

#[test]
fn what_is_typed_goes_to_the_run_that_reads() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    // In every language; what comes with the run is read first.
    let asks = [
        ("python", "print('name?', flush=True); a = input(); b = input(); print(a, b)"),
        ("bash", "echo name?; read -r a; read -r b; echo $a $b"),
        (
            "javascript",
            "console.log('name?'); const lines = []; for await (const line of require('readline')\
             .createInterface({input: process.stdin})) { lines.push(line); if (lines.length == 2) break; } console.log(lines.join(' '))",
        ),
    ];
    for (language, code) in asks {
        let id =
            start(&mut wire, &json!({"language": language, "code": code, "stdin": "first\n", "ref": "r"}));
        assert_eq!(wire.until("stdout")["text"], "name?\n", "{language}");
        typed(&mut wire, "sec");
        typed(&mut wire, "ond\n");
        let result = settled(&mut wire);
        assert_eq!(
            (&result["stdout"], &result["id"]),
            (&json!("name?\nfirst second\n"), &json!(id)),
            "{language}"
        );
        // It is a run like any other.
        assert_eq!(server.get_json(&format!("/v1/runs/{id}")).1["stdout"], result["stdout"]);
    }
    // The state is the session's; the value comes with the end.
    start(&mut wire, &json!({"code": "a, b"}));
    assert_eq!(settled(&mut wire)["result"]["text/plain"], "('first', 'second')");
    // The end of input, before the program reads or while it does; and bytes that are no text.
    start(&mut wire, &json!({"code": "import sys; print(sys.stdin.buffer.read())"}));
    wire.say(&json!({"type": "stdin", "base64": "/wA=", "end": true}));
    assert_eq!(settled(&mut wire)["stdout"], "b'\\xff\\x00'\n");
    start(&mut wire, &json!({"code": "print('on', flush=True); input()"}));
    wire.until("stdout");
    wire.say(&json!({"type": "stdin", "end": true}));
    assert_eq!(settled(&mut wire)["error"]["name"], "EOFError");
    // A program of its own, too.
    start(&mut wire, &json!({"fresh": true, "code": "print(input() + input())", "stdin": "a\n"}));
    typed(&mut wire, "b\n");
    assert_eq!(settled(&mut wire)["stdout"], "ab\n");
    // One that comes with all its input.
    start(&mut wire, &json!({"interactive": false, "code": "print(sys.stdin.read())", "stdin": "all"}));
    assert_eq!(settled(&mut wire)["stdout"], "all\n");
}

#[test]
fn an_interrupt_is_the_prompts_and_a_cancel_is_the_end() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    start(&mut wire, &json!({"code": "x = 1\nprint('on', flush=True)\ninput()"}));
    wire.until("stdout");
    wire.say(&json!({"type": "interrupt"}));
    let result = settled(&mut wire);
    assert_eq!(
        (&result["error"]["name"], &result["outcome"]),
        (&json!("KeyboardInterrupt"), &json!("failed")),
        "{result}"
    );
    // Code may handle it and go on, as at a prompt.
    let heedless = "try:\n    print(x, flush=True)\n    input()\nexcept KeyboardInterrupt:\n    print('caught', flush=True)\nprint(input())";
    start(&mut wire, &json!({"code": heedless}));
    assert_eq!(wire.until("stdout")["text"], "1\n");
    wire.say(&json!({"type": "interrupt"}));
    assert_eq!(wire.until("stdout")["text"], "caught\n");
    typed(&mut wire, "still here\n");
    assert_eq!(settled(&mut wire)["stdout"], "1\ncaught\nstill here\n");
    // One that comes after the interpreter's last look, and before the call that waits, is seen all the same: `sigtimedwait` looks at
    // its first argument for half a second, and only then waits.
    let late = "import itertools, signal\nprint('on', flush=True)\nsignal.sigtimedwait(itertools.repeat(10, 60_000_000), 600)";
    start(&mut wire, &json!({"code": late}));
    wire.until("stdout");
    wire.say(&json!({"type": "interrupt"}));
    let result = settled(&mut wire);
    assert_eq!(result["error"]["name"], "KeyboardInterrupt", "{result}");
    assert_eq!(result["outcome"], "failed", "{result}");
    // One that waits for its turn is taken back.
    let first = start(&mut wire, &json!({"code": "input()"}));
    let second = start(&mut wire, &json!({"code": "x = 2"}));
    wire.say(&json!({"type": "interrupt", "run": second}));
    let result = settled(&mut wire);
    assert_eq!((&result["id"], &result["outcome"]), (&json!(second), &json!("cancelled")));
    wire.say(&json!({"type": "cancel", "run": first}));
    assert_eq!(settled(&mut wire)["outcome"], "cancelled");
    assert_eq!(said(&server, &session, "print(x)"), "1\n");
}

#[test]
fn what_cannot_be_done_is_said_and_the_conversation_goes_on() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    for (message, kind, field) in [
        (json!({"type": "stdin", "text": "nobody"}), "problem", "run"),
        (json!({"type": "what"}), "problem", "type"),
        (json!({"type": "run", "code": 1}), "problem", "code"),
        (
            json!({"type": "run", "code": "1", "limits": {"memory_bytes": 1}}),
            "refused",
            "limits.memory_bytes",
        ),
    ] {
        wire.say(&message);
        assert_eq!(wire.until(kind)["problem"]["field"], field, "{message}");
    }
    wire.socket.send(tungstenite::Message::text("no JSON")).unwrap();
    assert_eq!(wire.until("problem")["problem"]["status"], 400);
    // A program that does not read is not typed to without end, and can still be interrupted.
    start(&mut wire, &json!({"code": "import time\nprint('on', flush=True)\ntime.sleep(600)"}));
    wire.until("stdout");
    let much = "x".repeat(100_000);
    (0..4).for_each(|_| typed(&mut wire, &much));
    assert_eq!(wire.until("problem")["problem"]["status"], 429);
    wire.say(&json!({"type": "interrupt"}));
    assert_eq!(settled(&mut wire)["error"]["name"], "KeyboardInterrupt");
    // What it did not read is not the next one's.
    start(&mut wire, &json!({"code": "print(input())"}));
    typed(&mut wire, "mine\n");
    assert_eq!(settled(&mut wire)["stdout"], "mine\n");
    // More than a message may hold ends it.
    wire.socket.send(tungstenite::Message::text("x".repeat(2 << 20))).ok();
    assert!(matches!(wire.closed().0, 1006 | 1009));
    let mut wire = attach(&server, &session);
    wire.socket.send(tungstenite::Message::binary(vec![1])).unwrap();
    assert_eq!(wire.closed(), (1003, "a message is JSON text".to_owned()));
}

#[test]
fn a_client_that_leaves_takes_its_typing_with_it_and_not_its_run() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let code = "try:\n    input()\nexcept EOFError:\n    print('the end')";
    let mut wire = attach(&server, &session);
    let ids: Vec<String> = (0..2).map(|_| start(&mut wire, &json!({"code": code}))).collect();
    drop(wire);
    // One was on its way, one had not begun.
    for id in ids {
        assert_eq!(server.settled(&id).stdout, "the end\n");
    }
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
}

/// 64 MiB for one who does not read: what is not told is in the record, and nothing of ours grows with it.
#[test]
fn a_client_that_does_not_read_costs_no_more_than_one_that_does() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    let before = server.resident_bytes();
    let flood = "import sys\nfor _ in range(1024): sys.stdout.write('x' * 65535 + '\\n')";
    let id = start(&mut wire, &json!({"code": flood, "limits": {"output_bytes": 16 << 20}}));
    let result = server.settled(&id);
    assert!(result.stdout_truncated);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB more", grown >> 20);
    assert_eq!(settled(&mut wire)["id"], json!(id));
}

#[test]
fn whoever_is_not_its_owner_is_not_let_in() {
    let there = Tenancy::start();
    let (status, session) = there.tell(&there.a, "POST", "/v1/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    let path = format!("/v1/sessions/{}/attach", session["id"].as_str().unwrap());
    let bearer = |key: &str| format!("Bearer {key}");
    let (a, b) = (bearer(&there.a), bearer(&there.b));
    let open = |headers: &[(&str, &str)]| Wire::open(&there.server, &path, headers).map(drop);
    assert_eq!(open(&[]), Err(401));
    assert_eq!(open(&[("authorization", &b)]), Err(404));
    assert_eq!(open(&[("authorization", &a)]), Ok(()));
    // Without the words of an upgrade it is a plain request.
    assert_eq!(there.ask(&there.a, "GET", &path).0, 422);
}

#[test]
fn no_page_of_another_origin_talks_with_a_session() {
    let server = Server::start(&[]);
    let path = format!("{}/attach", open(&server, &json!({})));
    let port = server.address().port();
    let from = |origin: &str| Wire::open(&server, &path, &[("origin", origin)]).map(drop);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://evil.example:8000"] {
        assert_eq!(from(origin), Err(403), "{origin}");
    }
    assert_eq!(from(&format!("http://127.0.0.1:{port}")), Ok(()));
    // A name that was bound to our address again.
    let rebound = format!("evil.example:{port}");
    let headers = [("host", rebound.as_str()), ("origin", "http://evil.example")];
    assert_eq!(Wire::open(&server, &path, &headers).map(drop), Err(403));
}

#[test]
fn places_are_bounded() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let wires: Vec<Wire> = (0..8).map(|_| attach(&server, &session)).collect();
    assert_eq!(Wire::open(&server, &format!("{session}/attach"), &[]).map(drop), Err(429));
    // Runs of one are not another's to type to.
    let mut wires = wires.into_iter();
    let (mut one, mut other) = (wires.next().unwrap(), wires.next().unwrap());
    let id = start(&mut one, &json!({"code": "input()"}));
    other.say(&json!({"type": "stdin", "run": id, "text": "x\n"}));
    assert_eq!(other.until("problem")["problem"]["field"], "run");
    typed(&mut one, "mine\n");
    assert_eq!(settled(&mut one)["result"]["text/plain"], "'mine'");
}

#[test]
fn every_end_says_why() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    start(&mut wire, &json!({"code": "input()"}));
    assert_eq!(server.delete(&session).0, 200);
    let (code, reason) = wire.closed();
    assert_eq!((code, reason.as_str()), (4000, "the session has ended: closed"));
    assert_eq!(Wire::open(&server, &format!("{session}/attach"), &[]).map(drop), Err(409));
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    server.signal(Signal::TERM);
    assert_eq!(wire.closed(), (1001, "the service is ending".to_owned()));
    assert!(server.ended().success());
}

/// What the code can do to the pipe that its input comes through harms its own run only.
#[test]
fn code_that_spoils_its_own_input_harms_nobody() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let mut wire = attach(&server, &session);
    said(&server, &session, "import glob, os, threading, time");
    // It holds the pipe open for itself, removes it, puts a link in the place of the next one.
    let spoil = "pipe = glob.glob('/tmp/.fireclay/*/stdin')[0]\nheld = os.open(pipe, os.O_RDWR)\nos.remove(pipe)\n\
                 os.symlink('/etc/passwd', pipe)\nprint('on', flush=True)\nprint(input())";
    start(&mut wire, &json!({"code": spoil}));
    wire.until("stdout");
    typed(&mut wire, "line\n");
    assert_eq!(settled(&mut wire)["stdout"], "on\nline\n");
    let race = "def swap():\n    for _ in range(20000):\n        for path in glob.glob('/tmp/.fireclay/*/stdin'):\n\
                \x20           try:\n                os.remove(path)\n                os.symlink('/etc/passwd', path)\n\
                \x20           except OSError: pass\nthreading.Thread(target=swap, daemon=True).start()";
    start(&mut wire, &json!({"code": race, "interactive": false}));
    settled(&mut wire);
    for _ in 0..20 {
        start(&mut wire, &json!({"code": "1", "limits": {"timeout_ms": 2000}}));
        let end = loop {
            match wire.hear() {
                Next::Said(message) if message["type"] == "settled" => break message["result"].clone(),
                Next::Said(_) => {}
                Next::Closed(code, reason) => panic!("{code} {reason}"),
            }
        };
        assert!(end["fault"].is_null() && !end["stdout"].as_str().unwrap().contains("root:"), "{end}");
    }
    // Another session knows nothing of it.
    let other = open(&server, &json!({}));
    assert_eq!(run(&server, &other, &json!({"code": "40 + 2"}))["result"]["text/plain"], "42");
}
