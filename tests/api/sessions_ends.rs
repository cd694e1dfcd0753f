//! How sessions end: each says why, in lists too, and its files can be fetched; nobody waits in vain.

use super::sessions::{end_of, open, run, said};
use fireclay_tests::{Server, http};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What a list says of a session.
fn listed(server: &Server, session: &str) -> Value {
    let (_, list) = server.get_json("/v1/sessions?state=ended");
    let found =
        list["items"].as_array().unwrap().iter().find(|one| session.ends_with(one["id"].as_str().unwrap()));
    found.unwrap_or_else(|| panic!("{session} is not in {list}")).clone()
}

#[test]
fn one_that_ended_still_says_what_it_was() {
    let server = Server::start(&[]);
    for (asked, template, language) in [
        (json!({"name": "mine"}), "python", "python"),
        (json!({"name": "mine", "template": "node"}), "node", "javascript"),
        (json!({"name": "mine", "language": "bash"}), "python", "bash"),
    ] {
        let session = open(&server, &asked);
        let open = server.get_json(&session).1;
        assert_eq!(server.delete(&session).0, 200);
        let ended = listed(&server, &session);
        for view in [&open, &ended, &server.get_json(&session).1] {
            let told = (&view["name"], &view["template"], &view["language"], &view["background"]);
            assert_eq!(
                told,
                (&json!("mine"), &json!(template), &json!(language), &json!("frozen")),
                "{view}"
            );
        }
        assert_eq!((&ended["state"], &ended["end"]["why"]), (&json!("ended"), &json!("closed")));
    }
}

#[test]
fn where_memory_is_short_the_one_that_is_idle_longest_goes_and_says_so() {
    // More than any machine has.
    let server = Server::start(&["--set", "session.memory_free=1000000GiB"]);
    let idle = open(&server, &json!({}));
    said(&server, &idle, "open('a', 'w').write('kept')");
    // One in which something runs stays.
    let busy = open(&server, &json!({}));
    let asked = json!({"code": "import time\ntime.sleep(600)", "wait": false});
    let (_, waits) = server.post_json(&format!("{busy}/runs"), &asked);
    let end = end_of(&server, &idle);
    assert_eq!((&end["why"], &listed(&server, &idle)["end"]), (&json!("memory_pressure"), &end), "{end}");
    assert!(end["detail"].as_str().unwrap().contains("MiB of memory left"), "{end}");
    assert_eq!(server.get(&format!("{idle}/files/a")), (200, b"kept".to_vec()));
    let (status, problem) = server.post_json(&format!("{idle}/runs"), &json!({"code": "1"}));
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("memory_pressure"), "{problem}");
    assert_eq!(server.get_json(&busy).1["state"], "open");
    assert_eq!(server.delete(&format!("/v1/runs/{}", waits["id"].as_str().unwrap())).0, 202);
}

#[test]
fn an_orderly_end_of_the_service_is_told_to_everybody() {
    let server = Server::start(&["--set", "drain_timeout_ms=300ms"]);
    let session = open(&server, &json!({}));
    said(&server, &session, "import time\nopen('a', 'w').write('kept')");
    let url = |path: &str| server.url(&format!("{session}/{path}"));
    let asked = json!({"code": "print('on', flush=True)\ntime.sleep(600)"}).to_string();
    let json_body = ("content-type", "application/json");
    let mut events =
        http::stream("POST", &url("runs"), &[json_body, ("accept", "text/event-stream")], asked.as_bytes());
    assert!(events.by_ref().any(|event| event.kind == "stdout" && event.text() == "on\n"));
    let mut watched = http::stream("GET", &url("watch"), &[], b"");
    assert_eq!(watched.next().unwrap().kind, "watching");
    // One that waits behind it, and whose client waits.
    let waiting = url("runs");
    let waits =
        std::thread::spawn(move || http::send("POST", &waiting, &[json_body], br#"{"code": "print(2)"}"#));
    server.wait_for_metric("fireclay_queued", 1.0);
    let data = server.data.clone();
    server.signal(Signal::TERM);
    let settled = events.find(|event| event.kind == "settled").expect("its end is told");
    assert_eq!(settled.data["outcome"], "cancelled", "{settled:?}");
    let (status, waited) = waits.join().unwrap().unwrap().into_json();
    assert_eq!((status, &waited["outcome"]), (200, &json!("cancelled")), "{waited}");
    let last = watched.last().expect("its end is told");
    assert_eq!((last.kind.as_str(), &last.data["why"]), ("ended", &json!("service_restarted")));
    assert!(server.ended().success());
    let server = Server::start_in(&data, &[]);
    let end = &listed(&server, &session)["end"];
    assert_eq!(
        (&end["why"], &end["detail"]),
        (&json!("service_restarted"), &json!("the service ended in order"))
    );
    assert_eq!(server.get(&format!("{session}/files/a")), (200, b"kept".to_vec()));
}

#[test]
fn to_take_a_run_back_never_forgets_it() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let done = run(&server, &session, &json!({"code": "print(1)"}));
    let path = format!("/v1/runs/{}", done["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(server.post_json(&format!("{path}/cancel"), &json!({})), (200, done.clone()));
    }
    let (_, on) =
        server.post_json(&format!("{session}/runs"), &json!({"code": "while True: pass", "wait": false}));
    let id = on["id"].as_str().unwrap();
    let answer = server.send("POST", &format!("/v1/runs/{id}/cancel"), &[], b"");
    assert_eq!((answer.status, answer.header("location")), (202, format!("/v1/runs/{id}").as_str()));
    assert_eq!(server.settled(id).outcome.unwrap().name(), "cancelled");
    assert_eq!(server.post_json("/v1/runs/run_00000000000000000000000000/cancel", &json!({})).0, 404);
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
}
