//! `/v1/runs/{id}/events`: what happens, in order, to everyone who listens, from where they left off.

use super::runs::ENDLESS;
use fireclay_tests::Server;
use fireclay_tests::http::Event;
use model::Outcome;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Writes numbered lines until it is ended, a few in a second.
const DRIP: &str = "for ((i = 0; ; i++)); do echo $i; read -t 0.02 <> <(:); done";

fn text(events: &[Event], kind: &str) -> String {
    events.iter().filter(|event| event.kind == kind).map(Event::text).collect()
}

/// Numbers go up by one from `first`; one `started` comes first and one `settled` last.
fn in_order(events: &[Event]) {
    let numbers: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    let wanted: Vec<String> = (1..=events.len()).map(|number| number.to_string()).collect();
    assert_eq!(numbers, wanted);
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"settled")), "{kinds:?}");
    let ends = kinds.iter().filter(|kind| matches!(**kind, "started" | "settled")).count();
    assert_eq!(ends, 2, "{kinds:?}");
}

#[test]
fn events_come_in_order_and_are_the_same_when_told_again() {
    let server = Server::start(&[]);
    let code = "import sys\nfor n in range(50):\n    print(n, flush=True)\n    print('e', n, file=sys.stderr, flush=True)";
    let events: Vec<_> = server.stream(&json!({"language": "python", "code": code})).collect();
    in_order(&events);
    let result = &events.last().unwrap().data;
    assert_eq!(result["stdout"].as_str().unwrap(), text(&events, "stdout"));
    assert_eq!(result["stderr"].as_str().unwrap(), text(&events, "stderr"));
    let id = result["id"].as_str().unwrap();
    assert_eq!(server.events(id, None).collect::<Vec<_>>(), events);
    for (index, event) in events.iter().enumerate() {
        let rest: Vec<_> = server.events(id, Some(&event.id)).collect();
        assert_eq!(rest, events[index + 1..]);
    }
}

#[test]
fn a_listener_that_broke_off_resumes_where_it_was() {
    let server = Server::start(&[]);
    let id = server.submit(&json!({"language": "bash", "code": DRIP}));
    let mut seen: Vec<Event> = Vec::new();
    // Breaks off after every third event, while the run goes on.
    for _ in 0..5 {
        let after = seen.last().map(|event| event.id.clone());
        seen.extend(server.events(&id, after.as_deref()).take(3));
    }
    let after = seen.last().map(|event| event.id.clone());
    let rest = server.events(&id, after.as_deref());
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    seen.extend(rest);
    in_order(&seen);
    assert_eq!(seen.last().unwrap().data["outcome"], "cancelled");
    let printed = text(&seen, "stdout");
    let wanted: String = (0..printed.lines().count()).map(|n| format!("{n}\n")).collect();
    assert_eq!(printed, wanted, "something was lost or told twice");
    assert_eq!(server.events(&id, None).collect::<Vec<_>>(), seen);
    assert_eq!(server.events(&id, Some("1000000")).count(), 0);
    for wrong in ["x", "-1", "1.5", ""] {
        let headers = [("last-event-id", wrong)];
        assert_eq!(
            server.send("GET", &format!("/v1/runs/{id}/events"), &headers, b"").status,
            422,
            "{wrong:?}"
        );
    }
}

#[test]
fn a_drip_that_nobody_hears_is_few_events() {
    let server = Server::start(&[]);
    let code = "import os\nfor n in range(5000):\n    os.write(1, b'x')";
    let result = server.run(&json!({"language": "python", "code": code}));
    let events: Vec<_> = server.events(result.id.as_str(), None).collect();
    in_order(&events);
    assert_eq!(text(&events, "stdout"), "x".repeat(5000));
    assert_eq!(events.len(), 3, "started, one piece of output, settled");
}

#[test]
fn everyone_who_listens_hears_the_same() {
    let server = Server::start(&[]);
    let id = server.submit(&json!({"language": "bash", "code": DRIP}));
    let heard: Vec<Vec<Event>> = std::thread::scope(|scope| {
        let listeners: Vec<_> = (0..5)
            .map(|_| {
                let mut events = server.events(&id, None);
                // All of them listen before it ends.
                let first = events.next();
                (first, events)
            })
            .collect();
        let threads: Vec<_> = listeners
            .into_iter()
            .map(|(first, rest)| scope.spawn(move || first.into_iter().chain(rest).collect()))
            .collect();
        assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    in_order(&heard[0]);
    assert!(heard.iter().all(|events| *events == heard[0]));
}

#[test]
fn a_run_does_not_mind_a_listener_that_goes() {
    let server = Server::start(&[]);
    let mut events = server.stream(&json!({"language": "bash", "code": format!("echo on; {ENDLESS}")}));
    assert!(events.any(|event| event.text() == "on\n"));
    drop(events);
    let (_, page) = server.get_json("/v1/runs");
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get_json(&format!("/v1/runs/{id}")).1["state"], "running");
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    assert_eq!(server.settled(&id).stdout, "on\n");
}

#[test]
fn output_that_is_not_text_is_told_byte_for_byte() {
    let server = Server::start(&[]);
    let written = b"a\xff\xe2\x82\xac\xf0\x9f\x98\x80\x00\xe2\x82";
    let code = "import os\nfor b in b'a\\xff\\xe2\\x82\\xac\\xf0\\x9f\\x98\\x80\\x00\\xe2\\x82': os.write(1, bytes([b]))";
    let events: Vec<_> = server.stream(&json!({"language": "python", "code": code})).collect();
    in_order(&events);
    let told =
        events.iter().filter(|event| event.kind == "stdout").flat_map(|event| match &event.data["base64"] {
            Value::String(coded) => model::base64::decode(coded).unwrap(),
            _ => event.text().as_bytes().to_vec(),
        });
    assert_eq!(told.collect::<Vec<u8>>(), written);
    // A result is text, and so has what stands for bytes that are none.
    assert_eq!(events.last().unwrap().data["stdout"], "a\u{fffd}€😀\u{0}\u{fffd}");
}

/// Says, as the program ends, that the events are less than what was printed.
#[test]
fn what_events_leave_out_is_said_once() {
    let server = Server::start(&[]);
    let request =
        json!({"language": "bash", "code": "printf %100s x; echo e >&2", "limits": {"output_bytes": 10}});
    let events: Vec<_> = server.stream(&request).collect();
    in_order(&events);
    let omitted: Vec<_> = events.iter().filter(|event| event.kind == "omitted").collect();
    assert_eq!(omitted.iter().map(|event| &event.data).collect::<Vec<_>>(), [&json!({"stream": "stdout"})]);
    assert_eq!((text(&events, "stdout"), text(&events, "stderr")), (" ".repeat(10), "e\n".to_owned()));
    let result = &events.last().unwrap().data;
    assert_eq!((&result["stdout_truncated"], &result["stderr_truncated"]), (&json!(true), &json!(false)));
    assert_eq!(server.events(result["id"].as_str().unwrap(), None).collect::<Vec<_>>(), events);
}

/// 200 MB are printed, 16 MiB of them within the run's own limit, and eight clients that do not read ask for all of it.
#[test]
fn a_flood_that_nobody_reads_holds_little_memory() {
    const MOST: u64 = 64 << 20;
    let server = Server::start(&[]);
    let before = server.resident_bytes();
    let code = format!("head -c 200000000 /dev/zero | tr '\\0' x; echo end >&2; {ENDLESS}");
    let limits = json!({"output_bytes": 16 << 20, "timeout_ms": 60_000});
    let id = server.submit(&json!({"language": "bash", "code": code, "limits": limits}));
    // One who does read hears when all is printed, and that it was not told all of it.
    let mut heard = server.events(&id, None);
    // What was shown may leave no room even for the end.
    let of_stderr = |event: &Event| event.kind == "stderr" || event.data["stream"] == "stderr";
    let told: Vec<Event> = heard.by_ref().take_while(|event| !of_stderr(event)).collect();
    let shown = text(&told, "stdout").len();
    drop(heard);
    let deaf: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "GET /v1/runs/{id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            // Its answer has begun: from here on it is up to the service what it holds.
            stream.read_exact(&mut [0; 4096]).unwrap();
            stream
        })
        .collect();
    let (held, peak) =
        (server.resident_bytes().saturating_sub(before), server.peak_bytes().saturating_sub(before));
    println!(
        "a_flood_that_nobody_reads: {shown} bytes told, {held} bytes held, {peak} at the peak, of 200000000 printed"
    );
    assert!(peak < MOST, "{peak}");
    assert!((1 << 20..16 << 20).contains(&shown), "{shown}");
    assert_eq!(
        told.last().map(|event| (event.kind.as_str(), &event.data["stream"])),
        Some(("omitted", &json!("stdout")))
    );
    drop(deaf);
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    let result = server.settled(&id);
    assert_eq!((result.outcome, result.stdout_truncated), (Some(Outcome::Cancelled), true));
}
