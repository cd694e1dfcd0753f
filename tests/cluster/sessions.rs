//! Sessions on nodes: placed where there is room, reached from every gateway, and ended with their node.

use super::lab::{Lab, Node};
use fireclay_tests::Data;
use fireclay_tests::http;
use fireclay_tests::server::PATIENCE;
use fireclay_tests::websocket::{Next, Wire};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Instant;

const AWAY: [&str; 2] = ["--set", "cluster.worker=false"];

fn get(gateway: &Node, path: &str) -> Value {
    let (status, answer) = gateway.ask("GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn open(gateway: &Node, name: &str) -> String {
    let (status, session) = gateway.ask("POST", "/v1/sessions", &json!({ "name": name }));
    assert_eq!((status, &session["state"]), (201, &json!("open")), "{session}");
    session["id"].as_str().unwrap().to_owned()
}

fn run(gateway: &Node, session: &str, code: &str) -> Value {
    let (status, result) =
        gateway.ask("POST", &format!("/v1/sessions/{session}/runs"), &json!({ "code": code }));
    assert_eq!(status, 200, "{result}");
    result
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

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_session_is_the_same_from_every_gateway() {
    let lab = Lab::small(&["g1", "g2"], &["w1", "w2"]);
    let few = [&AWAY[..], &["--set", "tenant.sessions=2"]].concat();
    let one = lab.gateway(0, "g1", &Data::fresh(), &few);
    let other = lab.gateway(0, "g2", &Data::fresh(), &few);
    let workers = ["w1", "w2"].map(|name| lab.worker(0, name, &Data::fresh(), &[]));
    for name in ["w1", "w2", "g1", "g2"] {
        let node = wait_for(&one, &format!("/v1/nodes/{name}"), |node| node["state"] == "ready");
        assert_eq!(
            node["worker"],
            json!(name.starts_with('w')),
            "a gateway that does no runs is listed: {node}"
        );
    }
    let (first, second) = (open(&one, "first"), open(&one, "second"));
    // Each worker has one: the second went where there was more room.
    for name in ["w1", "w2"] {
        wait_for(&one, &format!("/v1/nodes/{name}"), |node| node["sessions"] == 1);
    }
    let (status, third) = other.ask("POST", "/v1/sessions", &json!({}));
    assert_eq!(status, 429, "as many as on one machine: {third}");
    // State, from one gateway to the other, each session its own.
    run(&one, &first, "x = 'one'");
    run(&one, &second, "x = 'two'");
    assert_eq!(run(&other, &first, "print(x)")["stdout"], "one\n");
    let settled = run(&other, &second, "print(x)");
    assert_eq!(settled["stdout"], "two\n");
    let path = format!("/v1/runs/{}", settled["id"].as_str().unwrap());
    assert_eq!(get(&one, &path)["stdout"], "two\n", "a run is found from every gateway");
    assert_eq!(one.ask("GET", "/v1/runs/run_00000000000000000000000000", &Value::Null).0, 404, "the control");
    let runs = get(&other, &format!("/v1/runs?session={first}"));
    assert_eq!(runs["items"].as_array().unwrap().len(), 2, "{runs}");
    // Its events while they come: the second waits for a file that is made when the first was heard.
    let (url, _) = other.door();
    let code = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('gone')";
    let mut events = http::stream(
        "POST",
        &format!("{url}/v1/sessions/{first}/runs?stream=true"),
        &[("content-type", "application/json")],
        json!({ "code": code }).to_string().as_bytes(),
    );
    events.find(|event| event.text().contains("begun")).expect("it begins");
    let put = |gateway: &Node, name: &str, bytes: &[u8]| {
        let (url, _) = gateway.door();
        let address = format!("{url}/v1/sessions/{first}/files/{name}");
        let headers = [("content-type", "application/octet-stream")];
        let answer = http::send("PUT", &address, &headers, bytes).unwrap();
        assert!(matches!(answer.status, 200 | 201 | 204), "{answer:?}");
    };
    put(&one, "go", b"now");
    events.find(|event| event.text().contains("gone")).expect("it goes on");
    assert!(events.last().is_some(), "and ends");
    // Files, more of them than are on their way at once.
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    put(&one, "large", &large);
    let fetched = http::send("GET", &format!("{url}/v1/sessions/{first}/files/large"), &[], b"").unwrap();
    assert_eq!((fetched.status, fetched.body == large), (200, true));
    // A conversation.
    let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire::open_at(&format!("{url}/v1/sessions/{second}/attach"), stream, &[]).unwrap();
    wire.say(&json!({ "type": "run", "code": "print(x + '!')" }));
    let said = loop {
        match wire.hear() {
            Next::Said(said) if said["type"] == "stdout" => break said,
            Next::Said(said) => assert_ne!(said["type"], "error", "{said}"),
            Next::Closed(code, reason) => panic!("{code} {reason}"),
        }
    };
    assert!(said.to_string().contains("two!"), "{said}");
    drop(wire);
    // Lists: all, from both; and in pages.
    for gateway in [&one, &other] {
        assert_eq!(ids(&get(gateway, "/v1/sessions")), [second.as_str(), &first]);
        let page = get(gateway, "/v1/sessions?limit=1");
        assert_eq!(ids(&page), [second.as_str()]);
        let next = page["next"].as_str().unwrap();
        let page = get(gateway, &format!("/v1/sessions?limit=1&cursor={next}"));
        assert_eq!((ids(&page), &page["next"]), (vec![first.clone()], &Value::Null));
    }
    // Its end is everybody's, and makes room for another.
    let (status, closed) = other.ask("DELETE", &format!("/v1/sessions/{first}"), &Value::Null);
    assert_eq!((status, &closed["end"]["why"]), (200, &json!("closed")), "{closed}");
    assert_eq!(get(&one, &format!("/v1/sessions/{first}"))["end"]["why"], "closed");
    let fetched = http::send("GET", &format!("{url}/v1/sessions/{first}/files/go"), &[], b"").unwrap();
    assert_eq!(fetched.body, b"now", "files are kept after the end");
    let until = Instant::now() + PATIENCE;
    while other.ask("POST", "/v1/sessions", &json!({})).0 != 201 {
        assert!(Instant::now() < until, "there is no room for another");
        std::thread::yield_now();
    }
    // A worker that leaves in order says how its sessions ended, and is not there to be asked.
    for worker in workers {
        worker.signal(Signal::TERM);
        assert!(worker.ended());
    }
    let ended = wait_for(&other, &format!("/v1/sessions/{second}"), |session| session["state"] == "ended");
    assert_eq!(
        (&ended["end"]["why"], &ended["end"]["detail"], &ended["name"]),
        (&json!("service_restarted"), &json!("its node was drained"), &json!("second")),
        "{ended}"
    );
    let (status, refused) = one.ask("POST", "/v1/sessions", &json!({}));
    assert_eq!(status, 429, "there is no node: {refused}");
}

#[test]
fn a_session_ends_with_its_node_and_says_so() {
    let lab = Lab::small(&["g1"], &["w1", "w2"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let first = lab.worker(0, "w1", &Data::fresh(), &[]);
    wait_for(&gateway, "/v1/nodes/w1", |node| node["state"] == "ready");
    let lost = open(&gateway, "lost");
    let _second = lab.worker(0, "w2", &Data::fresh(), &[]);
    wait_for(&gateway, "/v1/nodes/w2", |node| node["state"] == "ready");
    let kept = open(&gateway, "kept");
    run(&gateway, &kept, "x = 1");
    let data = first.kill();
    let path = format!("/v1/sessions/{lost}");
    // Until it is known that it is lost nobody says that it is.
    let ended = wait_for(&gateway, &path, |session| {
        assert!(session["state"] == "ended" || session["status"] == 503, "{session}");
        session["state"] == "ended"
    });
    assert_eq!((&ended["end"]["why"], &ended["name"]), (&json!("node_lost"), &json!("lost")), "{ended}");
    let (status, refused) = gateway.ask("POST", &format!("{path}/runs"), &json!({ "code": "1" }));
    assert_eq!(status, 409, "{refused}");
    assert_eq!(run(&gateway, &kept, "print(x)")["stdout"], "1\n", "the other is as it was");
    let listed = get(&gateway, "/v1/sessions?state=ended");
    assert_eq!(ids(&listed), [lost.as_str()]);
    // The node comes back, and knows more of it.
    let _back = lab.worker(0, "w1", &data, &[]);
    let ended = wait_for(&gateway, &path, |session| session["end"]["why"] == "service_restarted");
    assert_eq!(ended["state"], "ended", "{ended}");
}

/// A node that is stopped for so long that others take its sessions for lost has ended them.
#[test]
fn a_node_that_was_cut_off_ends_its_sessions() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let worker = lab.worker(0, "w1", &Data::fresh(), &[]);
    wait_for(&gateway, "/v1/nodes/w1", |node| node["state"] == "ready");
    let session = open(&gateway, "");
    worker.signal(Signal::STOP);
    let path = format!("/v1/sessions/{session}");
    wait_for(&gateway, &path, |session| session["end"]["why"] == "node_lost");
    worker.signal(Signal::CONT);
    wait_for(&gateway, "/v1/nodes/w1", |node| node["state"] == "ready" && node["sessions"] == 0);
    let ended = wait_for(&gateway, &path, |session| session["state"] == "ended");
    assert_eq!(ended["end"]["why"], "node_lost", "{ended}");
    let fresh = open(&gateway, "");
    assert_eq!(run(&gateway, &fresh, "print(2)")["stdout"], "2\n", "the control");
}
