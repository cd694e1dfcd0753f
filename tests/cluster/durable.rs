//! Durable sessions: when their node is lost, paused past its lease or drained, they go on elsewhere with their files and without what was
//! in memory. The control beside each is a session that is not durable, and is lost.

use super::lab::{Lab, Node};
use super::trust::Attacker;
use fireclay_tests::Data;
use fireclay_tests::http;
use fireclay_tests::server::{PATIENCE, Server};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Instant;

const AWAY: [&str; 2] = ["--set", "cluster.worker=false"];

fn open(gateway: &Node, request: &Value) -> String {
    let (status, session) = gateway.ask("POST", "/v1/sessions", request);
    assert_eq!((status, &session["state"]), (201, &json!("open")), "{session}");
    session["id"].as_str().unwrap().to_owned()
}

fn run(gateway: &Node, session: &str, code: &str) -> String {
    let asked = json!({ "code": code });
    let (status, result) = gateway.ask("POST", &format!("/v1/sessions/{session}/runs"), &asked);
    assert_eq!((status, &result["outcome"]), (200, &json!("completed")), "{result}");
    result["stdout"].as_str().unwrap().to_owned()
}

fn look(gateway: &Node, session: &str) -> Value {
    gateway.ask("GET", &format!("/v1/sessions/{session}"), &Value::Null).1
}

/// Waits until what is asked for is as wanted.
fn wait_for(gateway: &Node, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let (_, answer) = gateway.ask("GET", path, &Value::Null);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "{path} stays {answer}");
        std::thread::yield_now();
    }
}

fn wait_for_node(gateway: &Node, name: &str) {
    wait_for(gateway, &format!("/v1/nodes/{name}"), |node| node["state"] == "ready");
}

/// Waits until a session is on no node, as its gateway says it.
fn wait_until_away(gateway: &Node, session: &str) -> Value {
    wait_for(gateway, &format!("/v1/sessions/{session}"), |view| {
        assert!(view["state"] == "open" || view["status"] == 503, "{view}");
        view["state"] == "open" && view["durable"]["node"].is_null()
    })
}

/// How many words are stored of a session, by whom that is named.
fn saved(operator: &Attacker, of: &str) -> usize {
    let asked = json!({ "subjects_filter": format!("fc.save.{of}.>") }).to_string();
    let answer = operator.request("$JS.API.STREAM.INFO.FC_SAVES", &asked).unwrap();
    let told: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(told["error"].is_null(), "{told}");
    told["state"]["subjects"].as_object().map_or(0, serde_json::Map::len)
}

fn wait_until_saved(operator: &Attacker, of: &str, wanted: impl Fn(usize) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !wanted(saved(operator, of)) {
        assert!(Instant::now() < until, "of {of} {} are stored", saved(operator, of));
        std::thread::yield_now();
    }
}

/// Three hosts with a server of NATS on each. The owner's node is killed, and the next one drained.
#[test]
fn a_durable_session_goes_on_elsewhere_when_its_node_is_lost() {
    let lab = Lab::three(&["g1", "g2"], &["w1", "w2"]);
    let one = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let other = lab.gateway(1, "g2", &Data::fresh(), &AWAY);
    let first = lab.worker(2, "w1", &Data::fresh(), &[]);
    wait_for_node(&one, "w1");
    let durable = open(&one, &json!({ "durable": true, "name": "kept" }));
    let plain = open(&one, &json!({ "name": "lost" }));
    let path = format!("/v1/sessions/{durable}");
    // Small files and one of several chunks, one that may be executed, and a directory that is empty.
    let code = "import os\nx = 'in memory'\nos.makedirs('a/empty')\nopen('a/small', 'w').write('small')\n\
                open('large', 'wb').write(bytes(n * 7 % 251 for n in range(1500000)))\n\
                open('tool', 'w').write('#!/bin/sh\\necho it runs')\nos.chmod('tool', 0o755)\nprint(x)";
    for session in [&durable, &plain] {
        assert_eq!(run(&one, session, code), "in memory\n");
    }
    // Without being told to, after the run; and what a request changes.
    let saved_first = wait_for(&other, &path, |view| view["durable"]["unsaved"] == false);
    let durable_view = &saved_first["durable"];
    assert_eq!(
        (&durable_view["node"], &durable_view["reopened"]),
        (&json!("w1"), &json!(0)),
        "{saved_first}"
    );
    let (status, made) = other.ask("POST", &format!("{path}/directories"), &json!({ "path": "asked" }));
    assert_eq!(status, 200, "{made}");
    let (status, told) = other.ask("POST", &format!("{path}/save"), &Value::Null);
    assert_eq!((status, &told["durable"]["unsaved"]), (200, &json!(false)), "{told}");
    let saved_at = told["durable"]["saved_at"].clone();
    assert!(saved_at.as_str() > durable_view["saved_at"].as_str(), "{told}");
    let (status, refused) = one.ask("POST", &format!("/v1/sessions/{plain}/save"), &Value::Null);
    assert_eq!(status, 422, "the control: {refused}");
    let second = lab.worker(0, "w2", &Data::fresh(), &[]);
    wait_for_node(&one, "w2");
    let data = first.kill();
    // The control: one that is not durable is lost as ever.
    let lost = wait_for(&other, &format!("/v1/sessions/{plain}"), |view| view["state"] == "ended");
    assert_eq!(lost["end"]["why"], "node_lost", "{lost}");
    // Looking at it does not reopen it, and says what there is.
    let away = wait_until_away(&other, &durable);
    assert_eq!((&away["durable"]["saved_at"], &away["name"]), (&saved_at, &json!("kept")), "{away}");
    let listed = other.ask("GET", "/v1/sessions?state=open", &Value::Null).1;
    let listed: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(listed, [&json!(durable)]);
    // The next request does, from the other gateway; its first event says so.
    let code = "import os\nprint('x' in globals(), open('a/small').read(), sorted(os.listdir()), os.path.isdir('a/empty'))\n\
                print(open('large', 'rb').read() == bytes(n * 7 % 251 for n in range(1500000)))\n\
                import subprocess\nprint(subprocess.check_output('./tool').decode())";
    let (url, key) = other.door();
    let bearer = format!("Bearer {key}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let asked = json!({ "code": code }).to_string();
    let events: Vec<http::Event> =
        http::stream("POST", &format!("{url}{path}/runs?stream=true"), &headers, asked.as_bytes()).collect();
    assert_eq!(events[0].kind, "reopened", "{events:?}");
    let told = &events[0].data;
    assert_eq!(
        (&told["from_node"], &told["files_of"], &told["lost"]),
        (&json!("w1"), &saved_at, &json!("memory"))
    );
    let result = &events.last().unwrap().data;
    assert_eq!(
        result["stdout"], "False small ['a', 'asked', 'large', 'tool'] True\nTrue\nit runs\n\n",
        "{result}"
    );
    let view = look(&one, &durable);
    let moved = &view["durable"];
    assert_eq!((&moved["node"], &moved["reopened"]), (&json!("w2"), &json!(1)), "{view}");
    assert_eq!(
        (&moved["last"]["from_node"], &moved["last"]["files_of"]),
        (&json!("w1"), &saved_at),
        "{view}"
    );
    assert_eq!(view["created_at"], saved_first["created_at"], "it is the same session");
    let (status, refused) = one.ask("POST", &format!("/v1/sessions/{plain}/runs"), &json!({ "code": "1" }));
    assert_eq!(status, 409, "the control: {refused}");
    // The node that lost it comes back and has nothing to say of it.
    let _back = lab.worker(2, "w1", &data, &[]);
    wait_for_node(&one, "w1");
    assert_eq!(run(&one, &durable, "y = 5; print(y)"), "5\n");
    assert_eq!(look(&one, &durable)["durable"]["node"], "w2");
    // In order: what was written in the last moment is there at once, on the node that had it first.
    run(&one, &durable, "open('late', 'w').write('late')");
    let (status, told) = one.ask("POST", "/v1/nodes/w2/drain", &Value::Null);
    assert!(matches!(status, 200 | 204), "{told}");
    assert!(second.ended());
    assert_eq!(run(&other, &durable, "print(open('late').read(), 'y' in globals())"), "late False\n");
    let view = look(&one, &durable);
    assert_eq!((&view["durable"]["node"], &view["durable"]["reopened"]), (&json!("w1"), &json!(2)), "{view}");
    // Files of those who had it go when another has it, and all with the session.
    let operator = Attacker::with(&lab, "operator-operator");
    assert_eq!(saved(&operator, &format!("w2.{durable}")), 0);
    assert!(saved(&operator, &format!("w1.{durable}.2")) > 2, "the control");
    let (status, closed) = one.ask("DELETE", &path, &Value::Null);
    assert_eq!((status, &closed["end"]["why"]), (200, &json!("closed")), "{closed}");
    wait_until_saved(&operator, &format!("*.{durable}"), |count| count == 0);
    let (status, refused) = other.ask("POST", &format!("{path}/runs"), &json!({ "code": "1" }));
    assert_eq!(status, 409, "{refused}");
}

/// A node that was stopped while others reopened its session neither answers for it nor saves it, whatever its programs do.
#[test]
fn who_had_a_durable_session_before_is_fenced_off() {
    let lab = Lab::small(&["g1", "g2"], &["w1", "w2"]);
    let one = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let other = lab.gateway(0, "g2", &Data::fresh(), &AWAY);
    let first = lab.worker(0, "w1", &Data::fresh(), &[]);
    wait_for_node(&one, "w1");
    let durable = open(&one, &json!({ "durable": true, "background": "running" }));
    let path = format!("/v1/sessions/{durable}");
    // Programs of the session go on while its node's own process is stopped.
    let code = "import threading, time\ndef go():\n    n = 0\n    while True:\n        n += 1\n        open('beat', 'w').write('first ' + str(n))\n        time.sleep(0.02)\n\
                threading.Thread(target=go, daemon=True).start()\nopen('word', 'w').write('first')\nprint('first')";
    assert_eq!(run(&one, &durable, code), "first\n");
    let (status, told) = one.ask("POST", &format!("{path}/save"), &Value::Null);
    assert_eq!(status, 200, "{told}");
    let operator = Attacker::with(&lab, "operator-operator");
    assert!(saved(&operator, &format!("w1.{durable}.0")) > 2, "the control");
    let _second = lab.worker(0, "w2", &Data::fresh(), &[]);
    wait_for_node(&one, "w2");
    first.signal(Signal::STOP);
    wait_until_away(&one, &durable);
    // Both gateways at once: one reopens it, and both end up with the same.
    let words = std::thread::scope(|scope| {
        let asked = [(&one, "a"), (&other, "b")].map(|(gateway, name)| {
            let (durable, code) = (&durable, format!("{name} = 1; print(open('word').read())"));
            scope.spawn(move || {
                loop {
                    let asked = json!({ "code": code });
                    let (status, result) =
                        gateway.ask("POST", &format!("/v1/sessions/{durable}/runs"), &asked);
                    match status {
                        200 => return result["stdout"].as_str().unwrap().to_owned(),
                        // The other is at it.
                        _ => assert_eq!(status, 503, "{result}"),
                    }
                }
            })
        });
        asked.map(|asked| asked.join().unwrap())
    });
    assert_eq!(words, ["first\n", "first\n"]);
    assert_eq!(run(&one, &durable, "print(a, b)"), "1 1\n", "one interpreter, whoever asked");
    run(&one, &durable, "open('word', 'w').write('second'); open('beat', 'w').write('second')");
    let view = look(&other, &durable);
    assert_eq!((&view["durable"]["node"], &view["durable"]["reopened"]), (&json!("w2"), &json!(1)), "{view}");
    first.signal(Signal::CONT);
    // It is heard again, and has ended what it had.
    wait_for(&one, "/v1/nodes/w1", |node| node["state"] == "ready" && node["sessions"] == 0);
    assert_eq!(saved(&operator, &format!("w1.{durable}")), 0, "it saved what is another's");
    for gateway in [&one, &other] {
        assert_eq!(
            run(gateway, &durable, "print(open('word').read(), open('beat').read(), a)"),
            "second second 1\n"
        );
    }
    assert_eq!(look(&one, &durable)["durable"]["node"], "w2");
    let (status, told) = one.ask("POST", &format!("{path}/save"), &Value::Null);
    assert_eq!(status, 200, "{told}");
    assert!(saved(&operator, &format!("w2.{durable}.1")) > 2, "the control: who has it saves it");
}

/// Without a cluster nobody would keep files. In one, a gateway that does runs has durable sessions, too, and its next process reopens them;
/// one that is nowhere is closed without that.
#[test]
fn a_durable_session_wants_a_cluster_of_which_one_gateway_is_enough() {
    let alone = Server::start(&[]);
    let (status, refused) = alone.post_json("/v1/sessions", &json!({ "durable": true }));
    assert_eq!(status, 422, "{refused}");
    let text = refused.to_string();
    assert!(text.contains("durable") && text.contains("--cluster"), "{refused}");
    let (status, opened) = alone.post_json("/v1/sessions", &json!({ "durable": false }));
    assert_eq!((status, opened["durable"].is_null()), (201, true), "the control: {opened}");
    let lab = Lab::small(&["g1"], &[]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &[]);
    wait_for_node(&gateway, "g1");
    let (status, refused) = gateway.ask("POST", "/v1/sessions", &json!({ "durable": true, "ports": true }));
    assert_eq!(status, 422, "{refused}");
    // A gateway that does runs has durable ones, too: its next process reopens them.
    let kept = open(&gateway, &json!({ "durable": true }));
    let closed = open(&gateway, &json!({ "durable": true }));
    for session in [&kept, &closed] {
        assert_eq!(run(&gateway, session, "x = 1; open('f', 'w').write('file'); print(x)"), "1\n");
        assert_eq!(gateway.ask("POST", &format!("/v1/sessions/{session}/save"), &Value::Null).0, 200);
    }
    let data = gateway.kill();
    let gateway = lab.gateway(0, "g1", &data, &[]);
    wait_until_away(&gateway, &closed);
    let (status, ended) = gateway.ask("DELETE", &format!("/v1/sessions/{closed}"), &Value::Null);
    assert_eq!((status, &ended["end"]["why"]), (200, &json!("closed")), "{ended}");
    let (status, refused) =
        gateway.ask("POST", &format!("/v1/sessions/{closed}/runs"), &json!({ "code": "1" }));
    assert_eq!(status, 409, "{refused}");
    assert_eq!(run(&gateway, &kept, "print(open('f').read(), 'x' in globals())"), "file False\n");
    let operator = Attacker::with(&lab, "operator-operator");
    wait_until_saved(&operator, &format!("*.{closed}"), |count| count == 0);
    assert!(saved(&operator, &format!("g1.{kept}.1")) > 2, "the control");
}
