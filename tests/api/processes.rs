//! Processes of a session: any command, on pipes or on a terminal, beside its runs, and never longer than it.

use super::sessions::{open, run, said};
use super::tenancy::Tenancy;
use fireclay_tests::Server;
use fireclay_tests::http;
use fireclay_tests::websocket::Wire;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts a process; returns its path.
fn start(server: &Server, session: &str, asked: &Value) -> String {
    let (status, view) = server.post_json(&format!("{session}/processes"), asked);
    assert_eq!(status, 201, "{view}");
    format!("{session}/processes/{}", view["process"])
}

/// Waits for the end of a process; returns all that is kept of its output, and what it is then.
fn ended(server: &Server, process: &str) -> (String, Value) {
    let mut text = String::new();
    for event in http::stream("GET", &server.url(&format!("{process}/output")), &[], b"") {
        match event.kind.as_str() {
            "output" => text.push_str(event.text()),
            "ended" => return (text, event.data),
            other => panic!("{other}"),
        }
    }
    panic!("no end was told: {text}");
}

/// Reads what a process writes until this is in it.
fn until(server: &Server, process: &str, wanted: &str) -> String {
    until_it_is(server, process, |text| text.contains(wanted))
}

/// Reads what a process writes until it is as wanted.
fn until_it_is(server: &Server, process: &str, wanted: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for event in http::stream("GET", &server.url(&format!("{process}/output")), &[], b"") {
        text.push_str(event.text());
        if wanted(&text) {
            return text;
        }
        assert_eq!(event.kind, "output", "{text}");
    }
    panic!("it never wrote what was wanted: {text}");
}

fn type_in(server: &Server, process: &str, input: &Value) {
    assert_eq!(server.post_json(&format!("{process}/stdin"), input), (204, Value::Null));
}

#[test]
fn a_command_runs_beside_the_runs_and_tells_how_it_ended() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({"env": {"S": "of the session"}}));
    said(&server, &session, "open('a.txt', 'w').write('shared')");
    let asked = json!({"command": ["bash", "-c", "cat ../a.txt; echo \" $S $P $1 $PWD\"; echo err >&2; exit 3", "x", "a b"],
        "env": {"P": "own"}, "cwd": "sub"});
    let process = start(&server, &session, &asked);
    let (text, end) = ended(&server, &process);
    // Which of two streams is read first is nobody's promise.
    let wanted = ["shared", " of the session own a b /workspace/sub\n", "err\n"];
    assert!(wanted.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(
        (&end["exit_code"], &end["state"], &end["failed"]),
        (&json!(3), &json!("ended"), &Value::Null)
    );
    // Told again from any place.
    let after = format!("{process}/output?after=7");
    let first = http::stream("GET", &server.url(&after), &[], b"").next().unwrap();
    assert_eq!(first.data["offset"], 7);
    let (_, end) = ended(&server, &start(&server, &session, &json!({"command": ["no-such-program"]})));
    assert_eq!(end["exit_code"], 127, "{end}");
    // What is typed, its end, and a signal.
    let cat = start(&server, &session, &json!({"command": ["cat"]}));
    type_in(&server, &cat, &json!({"text": "one\n"}));
    until(&server, &cat, "one\n");
    type_in(&server, &cat, &json!({"base64": "dHdvCg==", "end": true}));
    let (text, end) = ended(&server, &cat);
    assert_eq!((text.as_str(), &end["exit_code"]), ("one\ntwo\n", &json!(0)));
    let (status, problem) = server.post_json(&format!("{cat}/stdin"), &json!({"text": "late"}));
    assert_eq!(status, 409, "{problem}");
    let trap =
        json!({"command": ["bash", "-c", "trap 'echo caught; exit 5' TERM; echo on; while :; do :; done"]});
    let trap = start(&server, &session, &trap);
    until(&server, &trap, "on\n");
    assert_eq!(server.post_json(&format!("{trap}/signal"), &json!({"signal": "SIGTERM"})).0, 204);
    let (text, end) = ended(&server, &trap);
    assert_eq!((text.as_str(), &end["exit_code"]), ("on\ncaught\n", &json!(5)));
    // Runs go on meanwhile, and the list has them all.
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
    assert_eq!(server.get_json(&format!("{session}/processes")).1["items"].as_array().unwrap().len(), 4);
    assert_eq!(server.delete(&trap).0, 204);
    assert_eq!(server.get_json(&trap).0, 404);
}

#[test]
fn a_terminal_is_one() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let asked = json!({"command": ["bash", "--norc", "-i"], "env": {"PS1": "$ "}, "terminal": {"rows": 31, "columns": 97}});
    let shell = start(&server, &session, &asked);
    until(&server, &shell, "$ ");
    type_in(&server, &shell, &json!({"text": "stty size; tty; echo $TERM; test -t 0 && echo is''one\n"}));
    // What is typed while the shell takes the terminal back may be lost, here as anywhere: its prompt is waited for.
    let prompted_after = |what: &'static str| {
        move |text: &str| text.rsplit_once(what).is_some_and(|(_, after)| after.ends_with("$ "))
    };
    let text = until_it_is(&server, &shell, prompted_after("isone\r\n"));
    assert!(text.contains("31 97\r\n") && text.contains("xterm-256color"), "{text}");
    // Ctrl-C is the terminal's: it ends what is in front, not the shell. Jobs are the shell's own.
    // What says it is in front is what is interrupted: a shell that is between two commands would go on with the second.
    type_in(&server, &shell, &json!({"text": "sh -c \"echo sle''eps; exec sleep 600\"\n"}));
    until(&server, &shell, "sleeps\r\n");
    type_in(&server, &shell, &json!({"text": "\u{3}"}));
    until_it_is(&server, &shell, prompted_after("^C"));
    type_in(&server, &shell, &json!({"text": "echo code $?\n"}));
    until_it_is(&server, &shell, prompted_after("code 130\r\n"));
    assert_eq!(server.post_json(&format!("{shell}/resize"), &json!({"rows": 5, "columns": 7})).0, 204);
    type_in(&server, &shell, &json!({"text": "stty size\n"}));
    until_it_is(&server, &shell, prompted_after("5 7\r\n"));
    type_in(&server, &shell, &json!({"end": true}));
    let (_, end) = ended(&server, &shell);
    assert_eq!(end["exit_code"], 0, "{end}");
    let (status, problem) = server.post_json(
        &format!("{session}/processes"),
        &json!({"command": ["true"], "terminal": {"rows": 0, "columns": 1}}),
    );
    assert_eq!((status, &problem["field"]), (422, &json!("terminal")));
}

/// Nothing of the host is behind the descriptor of a terminal: it is no way to open another, or to type for somebody.
#[test]
fn a_terminal_opens_nothing_else() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let attack = r#"
import errno, fcntl, os, sys, termios
outside = 'OUTSIDE' in os.environ
def refused(what, act):
    try:
        act()
        print(what, 'DONE')
    except OSError as error:
        print(what, errno.errorcode[error.errno])
print('control', os.tcgetpgrp(0) == os.getpgrp(), os.getsid(0) == os.getpid())
refused('sti', lambda: fcntl.ioctl(0, 0x5412, b'x'))
if not outside: # where they would change the machine
    refused('linux', lambda: fcntl.ioctl(0, 0x541c, b'\2'))
    refused('console', lambda: fcntl.ioctl(0, 0x541d))
    refused('discipline', lambda: fcntl.ioctl(0, 0x5423, b'\3\0\0\0'))
refused('peer', lambda: fcntl.ioctl(0, 0x5441, os.O_RDWR))
for path in ['/dev/tty', '/dev/ptmx', '/dev/pts/ptmx', '/dev/pts', '/dev/pts/0', '/proc/self/fd/0', '/proc/self/fd/0/..']:
    refused(path, lambda: os.open(path, os.O_RDWR | os.O_NOCTTY))
print('the end')
"#;
    let asked = json!({"command": ["python3", "-c", attack], "terminal": {"rows": 24, "columns": 80}});
    let (text, _) = ended(&server, &start(&server, &session, &asked));
    assert!(text.contains("control True True") && text.contains("the end"), "{text}");
    assert!(!text.contains("DONE"), "{text}");
    // The same on a terminal of this machine, without a sandbox around it, by root as we are: it opens and types.
    let on_a_terminal = "import pty, sys; pty.spawn(['python3', '-c', sys.argv[1]])";
    let mut outside = Command::new("python3");
    outside.args(["-c", on_a_terminal, attack]).env("OUTSIDE", "1").stdin(Stdio::null());
    let outside = String::from_utf8(outside.output().unwrap().stdout).unwrap();
    for what in ["sti", "/dev/tty", "/dev/ptmx", "/proc/self/fd/0"] {
        assert!(outside.contains(&format!("{what} DONE")), "{what} {outside}");
    }
}

#[test]
fn a_flood_is_paced_bounded_and_nobodys_burden() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let before = server.resident_bytes();
    let floods: Vec<String> = [json!(null), json!({"rows": 24, "columns": 80})]
        .into_iter()
        .map(|terminal| start(&server, &session, &json!({"command": ["yes", "flood"], "terminal": terminal})))
        .collect();
    // More than is kept has been written, and the session answers.
    for flood in &floods {
        let until = Instant::now() + fireclay_tests::server::PATIENCE;
        while server.get_json(flood).1["written_bytes"].as_u64().unwrap() < 4 << 20 {
            assert!(Instant::now() < until, "it does not write");
            assert_eq!(said(&server, &session, "print(1)"), "1\n");
        }
        let first = http::stream("GET", &server.url(&format!("{flood}/output")), &[], b"").next().unwrap();
        assert!(first.data["offset"].as_u64().unwrap() > 2 << 20, "{first:?}");
    }
    assert!(server.resident_bytes().saturating_sub(before) < 64 << 20);
    for flood in floods {
        assert_eq!(server.delete(&flood).0, 204);
    }
    // One that never reads takes so much and no more.
    let deaf = start(&server, &session, &json!({"command": ["sleep", "600"]}));
    let much = json!({"text": "x".repeat(60_000)});
    let told: Vec<u16> = (0..10).map(|_| server.post_json(&format!("{deaf}/stdin"), &much).0).collect();
    assert!(told[0] == 204 && told.last() == Some(&429), "{told:?}");
    assert_eq!(run(&server, &session, &json!({"code": "40 + 2"}))["result"]["text/plain"], "42");
}

/// Shows that what a shell starts so goes on when the shell's process group was killed.
fn outlive_their_group(tree: &str) {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree.replace("bash -c '", "bash -c 'echo $$ >> pids; ");
    let mut shell =
        Command::new("bash").args(["-c", &tree]).current_dir(&directory).process_group(0).spawn().unwrap();
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        let until = Instant::now() + fireclay_tests::server::PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "not in time: {what}");
            std::thread::yield_now();
        }
    };
    wait("all are on", &|| read("pids").lines().count() == 3);
    let group = rustix::process::Pid::from_child(&shell);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    shell.wait().unwrap();
    let beats = read("beat").len();
    wait("they go on", &|| read("beat").len() > beats + 9);
    for pid in read("pids").lines() {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn all_that_a_process_started_ends_with_it_and_all_with_the_session() {
    let server = Server::start(&["--set", "session.processes=3"]);
    let session = open(&server, &json!({}));
    // In sessions of their own, where no signal to a process group finds them.
    let tree = "for _ in 1 2 3; do setsid bash -c 'while :; do echo >> beat; sleep 0.01; done' & done; echo on; wait";
    let first = start(&server, &session, &json!({"command": ["bash", "-c", tree]}));
    until(&server, &first, "on\n");
    said(
        &server,
        &session,
        "import os, time\nwhile not os.path.exists('beat') or os.path.getsize('beat') < 9: pass",
    );
    assert_eq!(server.delete(&first).0, 204);
    let still = "size = os.path.getsize('beat')\ntime.sleep(0.3)\nprint(os.path.getsize('beat') == size)";
    assert_eq!(said(&server, &session, still), "True\n");
    // Without control groups, by the process group, none of them is found.
    outlive_their_group(tree);
    // So many and no more; what has ended has no place.
    let on: Vec<String> =
        (0..3).map(|_| start(&server, &session, &json!({"command": ["sleep", "600"]}))).collect();
    assert_eq!(server.post_json(&format!("{session}/processes"), &json!({"command": ["true"]})).0, 429);
    assert_eq!(server.post_json(&format!("{}/signal", on[0]), &json!({"signal": "SIGKILL"})).0, 204);
    assert_eq!(ended(&server, &on[0]).1["signal"], "SIGKILL");
    // Its own memory, not the session's.
    let greedy = json!({"command": ["python3", "-c", "x = bytearray(400 << 20); print(len(x))"], "limits": {"memory_bytes": 64 << 20}});
    let (text, end) = ended(&server, &start(&server, &session, &greedy));
    assert!(text.is_empty() && end["memory_exceeded"] == true, "{text} {end}");
    let fits = json!({"command": greedy["command"], "limits": {"memory_bytes": 480 << 20}});
    let (text, end) = ended(&server, &start(&server, &session, &fits));
    assert!(text == "419430400\n" && end["exit_code"] == 0, "{text} {end}");
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
    let follower = http::stream("GET", &server.url(&format!("{}/output", on[1])), &[], b"");
    assert_eq!(server.delete(&session).0, 200);
    assert_eq!(follower.last().unwrap().kind, "ended");
    assert_eq!(server.get_json(&on[1]).0, 409);
}

#[test]
fn a_process_is_talked_with_over_a_websocket() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let asked = json!({"command": ["bash", "--norc", "-i"], "env": {"PS1": "$ "}, "terminal": {"rows": 24, "columns": 80}});
    let shell = start(&server, &session, &asked);
    let number = shell.rsplit('/').next().unwrap();
    let mut wire = Wire::open(&server, &format!("{session}/attach?process={number}"), &[]).unwrap();
    assert_eq!(wire.until("attached")["process"]["state"], "running");
    wire.say(&json!({"type": "resize", "rows": 11, "columns": 22}));
    wire.say(&json!({"type": "stdin", "text": "stty size; exit 4\n"}));
    let mut text = String::new();
    while !text.contains("11 22\r\n") {
        text.push_str(wire.until("output")["text"].as_str().unwrap());
    }
    wire.say(&json!({"type": "what"}));
    assert_eq!(wire.until("ended")["process"]["exit_code"], 4);
    assert_eq!(wire.closed(), (1000, "the process has ended".to_owned()));
    assert_eq!(Wire::open(&server, &format!("{session}/attach?process=99"), &[]).map(drop), Err(404));
}

#[test]
fn a_process_of_another_tenant_is_not_there() {
    let there = Tenancy::start();
    let (status, session) = there.tell(&there.a, "POST", "/v1/sessions", &json!({}));
    assert_eq!(status, 201, "{session}");
    let all = format!("/v1/sessions/{}/processes", session["id"].as_str().unwrap());
    let (status, process) = there.tell(&there.a, "POST", &all, &json!({"command": ["sleep", "600"]}));
    assert_eq!(status, 201, "{process}");
    let one = format!("{all}/{}", process["process"]);
    assert_eq!(there.tell(&there.b, "POST", &all, &json!({"command": ["true"]})).0, 404);
    for (method, path) in [("GET", &all), ("GET", &one), ("DELETE", &one)] {
        assert_eq!(there.ask(&there.b, method, path).0, 404, "{method} {path}");
    }
    assert_eq!(there.ask(&there.b, "GET", &format!("{one}/output")).0, 404);
    let bodies = [
        ("stdin", json!({"text": "x"})),
        ("signal", json!({"signal": "SIGKILL"})),
        ("resize", json!({"rows": 1, "columns": 1})),
    ];
    for (verb, body) in bodies {
        assert_eq!(there.tell(&there.b, "POST", &format!("{one}/{verb}"), &body).0, 404, "{verb}");
    }
    assert_eq!(there.ask(&there.a, "GET", &one).1["state"], "running");
}
