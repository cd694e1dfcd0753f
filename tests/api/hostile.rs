//! Clients that want to hurt: slow, huge, silent, many. The service answers others meanwhile, and its memory stays bounded.

use super::runs::ENDLESS;
use fireclay_tests::Server;
use fireclay_tests::server::PATIENCE;
use model::Outcome;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// What a service may hold beyond what it held when it had just started.
const GROWTH_BYTES: u64 = 48 << 20;

/// Everything short, so that no test waits for long.
const SHORT: [&str; 6] =
    ["--set", "header_timeout_ms=300", "--set", "body_timeout_ms=300", "--set", "body_bytes=1MiB"];

const HEAD: &str = "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// Reads to the end of the connection; returns the status of the answer, 0 for none.
fn status(mut stream: TcpStream) -> u16 {
    let mut answer = Vec::new();
    // A reset after the answer is an end too; a time-out is not.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    let line = String::from_utf8_lossy(&answer);
    line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Sends all of it, or as much as the other side takes.
fn pour(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// The service still works, and did not grow.
fn is_well(server: &Server, before: u64) {
    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.run(&json!({"language": "bash", "code": "echo well"})).stdout, "well\n");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES, "the service holds {} MiB more", grown >> 20);
}

#[test]
fn heads_that_do_not_end_are_cut_off() {
    let server = Server::start(&SHORT);
    let before = server.resident_bytes();
    let silent = server.connect();
    let mut half = server.connect();
    assert!(pour(&mut half, b"GET /healthz HTTP/1.1\r\nhost: loc"));
    let mut dripping = server.connect();
    // A byte at a time, for as long as somebody takes them.
    let mut drips = b"GET /healthz HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'x'));
    let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    while drips.next().is_some_and(|byte| pour(&mut dripping, &[*byte])) {
        let mut polls = [rustix::event::PollFd::new(&dripping, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut polls, Some(&pause)).unwrap() > 0 {
            break;
        }
    }
    for stream in [silent, half, dripping] {
        assert!([0, 408].contains(&status(stream)));
    }
    is_well(&server, before);
}

#[test]
fn bodies_that_do_not_come_are_given_up() {
    let server = Server::start(&SHORT);
    let before = server.resident_bytes();
    let mut promised = server.connect();
    assert!(pour(&mut promised, format!("{HEAD}content-length: 1000\r\n\r\n{{").as_bytes()));
    assert_eq!(status(promised), 408);
    let mut broken = server.connect();
    assert!(pour(&mut broken, format!("{HEAD}content-length: 1000\r\n\r\n{{").as_bytes()));
    broken.shutdown(Shutdown::Write).unwrap();
    assert!([0, 400].contains(&status(broken)));
    // A body that drips has an end too, however steadily it does.
    let mut dripping = server.connect();
    assert!(pour(&mut dripping, format!("{HEAD}content-length: 1000000\r\n\r\n").as_bytes()));
    let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    loop {
        let mut polls = [rustix::event::PollFd::new(&dripping, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut polls, Some(&pause)).unwrap() > 0 || !pour(&mut dripping, b" ") {
            break;
        }
    }
    assert_eq!(status(dripping), 408);
    is_well(&server, before);
}

#[test]
fn heads_are_bounded() {
    let server = Server::start(&SHORT);
    let before = server.resident_bytes();
    let many: String = (0..1000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    let path = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "p".repeat(1 << 20));
    let get = |headers: &str| format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    for (bomb, statuses) in [(get(&many), [431, 0]), (get(&long), [431, 0]), (path, [414, 431])] {
        let mut stream = server.connect();
        pour(&mut stream, bomb.as_bytes());
        let status = status(stream);
        assert!(statuses.contains(&status), "{status}");
    }
    let garbage: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = server.connect();
        assert!(pour(&mut stream, bytes));
        stream.shutdown(Shutdown::Write).unwrap();
        let status = status(stream);
        assert!(status == 0 || (400..=505).contains(&status) && status != 500, "{status}: {bytes:?}");
    }
    is_well(&server, before);
}

#[test]
fn bodies_are_bounded() {
    let server = Server::start(&SHORT);
    let before = server.resident_bytes();
    // Pours chunks until the service has had enough, or 64 MiB went through.
    let bomb = |chunk: &[u8]| {
        let mut stream = server.connect();
        assert!(pour(&mut stream, format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()));
        let times = (64 << 20) / chunk.len();
        let taken = (0..times).take_while(|_| pour(&mut stream, chunk)).count();
        assert!(taken < times, "the service took all of it");
        status(stream)
    };
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend([b' '; 0x10000]);
    chunk.extend(b"\r\n");
    assert!([0, 413].contains(&bomb(&chunk)));
    // One byte of body for a long extension, and a length beyond any number.
    assert!([0, 400].contains(&bomb(format!("1;{}\r\n \r\n", "e".repeat(60_000)).as_bytes())));
    let mut overflow = server.connect();
    assert!(pour(
        &mut overflow,
        format!("{HEAD}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n").as_bytes()
    ));
    assert_eq!(status(overflow), 400);
    let mut declared = server.connect();
    assert!(pour(&mut declared, format!("{HEAD}content-length: 99999999999\r\n\r\n").as_bytes()));
    assert_eq!(status(declared), 413);
    is_well(&server, before);
}

#[test]
fn a_hundred_thousand_requests_on_one_connection_are_answered_in_turn() {
    const REQUESTS: usize = 100_000;
    let server = Server::start(&[]);
    let before = server.resident_bytes();
    let stream = server.connect();
    let mut writing = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
            for _ in 0..REQUESTS / 100 {
                writing.write_all(&request).unwrap();
            }
            writing
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .unwrap();
        });
        // Others are served meanwhile.
        assert_eq!(server.get("/healthz").0, 200);
        let answered =
            BufReader::new(stream).lines().filter(|line| line.as_ref().unwrap() == "HTTP/1.1 200 OK").count();
        assert_eq!(answered, REQUESTS + 1);
    });
    is_well(&server, before);
}

#[test]
fn connections_are_bounded_and_a_place_that_is_given_up_is_used_again() {
    let server = Server::start(&[&SHORT[..], &["--set", "connections=8"]].concat());
    let before = server.resident_bytes();
    let crowd: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    // Its turn comes when those before it have been cut off.
    is_well(&server, before);
    for stream in crowd {
        assert!([0, 408].contains(&status(stream)));
    }
}

#[test]
fn who_asks_and_does_not_read_holds_up_nobody() {
    let server = Server::start(&SHORT);
    let flood = json!({"language": "python", "code": "print('x' * (15 << 20))", "limits": {"output_bytes": 16 << 20}});
    let before = server.resident_bytes();
    let deaf = |head: &str, body: &str| {
        let mut stream = server.connect();
        assert!(pour(&mut stream, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()));
        stream
    };
    let result = server.run(&flood);
    assert_eq!((result.outcome, result.stdout.len()), (Some(Outcome::Completed), (15 << 20) + 1));
    let path = format!("GET /v1/runs/{}", result.id);
    drop(result);
    let at_rest = server.sockets();
    let rest = " HTTP/1.1\r\nhost: localhost\r\n";
    let readers: Vec<TcpStream> = vec![
        deaf(&format!("{HEAD}accept: text/event-stream\r\n"), &flood.to_string()),
        deaf(HEAD, &flood.to_string()),
        deaf(&format!("{path}{rest}"), ""),
        deaf(&format!("{path}/events{rest}"), ""),
    ];
    server.wait_for_metric("fireclay_stored_runs", 3.0);
    server.wait_for_metric("fireclay_running", 0.0);
    let (_, page) = server.get_json("/v1/runs");
    for item in page["items"].as_array().unwrap() {
        assert_eq!(server.settled(item["id"].as_str().unwrap()).outcome, Some(Outcome::Completed));
    }
    // They are given up: the rest of the answer never comes, though they could read now.
    server.wait_for_sockets(at_rest);
    for mut stream in readers {
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert!(rest.len() < 15 << 20, "all {} bytes came", rest.len());
    }
    assert_eq!(server.get("/healthz").0, 200);
    let grown = server.resident_bytes().saturating_sub(before);
    println!("who_asks_and_does_not_read: {} MiB more", grown >> 20);
}

#[test]
fn a_listener_that_does_not_read_does_not_stop_the_run() {
    let server = Server::start(&[]);
    let mut deaf = server.connect();
    let body = json!({"language": "bash", "code": format!("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end >&2; {ENDLESS}")}).to_string();
    assert!(pour(
        &mut deaf,
        format!("{HEAD}accept: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()
    ));
    server.wait_for_metric("fireclay_running", 1.0);
    let id = server.get_json("/v1/runs").1["items"][0]["id"].as_str().unwrap().to_owned();
    // One who does read hears it all.
    assert!(server.events(&id, None).any(|event| event.kind == "stderr"));
    assert_eq!(server.delete(&format!("/v1/runs/{id}")).0, 202);
    assert_eq!(server.settled(&id).outcome, Some(Outcome::Cancelled));
}

/// At every moment between the request and the answer: what was recorded is also run, and nothing waits for ever.
#[test]
fn a_client_that_breaks_off_leaves_no_run_that_nobody_starts() {
    const CLIENTS: u64 = 400;
    let server = Server::start(&[]);
    let body = json!({"language": "bash", "code": "true", "wait": false}).to_string();
    let request = format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len());
    for client in 0..CLIENTS {
        let mut stream = server.connect();
        assert!(pour(&mut stream, request.as_bytes()));
        // Not a wait for anything: each breaks off a little later than the one before, up to when it would have been answered.
        let until = Instant::now() + Duration::from_micros(client * 5);
        while Instant::now() < until {}
        drop(stream);
    }
    // Every record is settled once all runs are done.
    server.wait_for_metric("fireclay_queued", 0.0);
    server.wait_for_metric("fireclay_running", 0.0);
    let until = Instant::now() + PATIENCE;
    for state in ["queued", "running"] {
        while server.get_json(&format!("/v1/runs?state={state}")).1["items"] != json!([]) {
            assert!(Instant::now() < until, "a run stays {state}");
        }
    }
    let recorded = server.metric("fireclay_stored_runs");
    println!("a_client_that_breaks_off: {recorded} of {CLIENTS} were recorded");
    assert!(recorded > 0.0, "all broke off before anything was recorded");
}
