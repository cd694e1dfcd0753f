//! What a hostile client can use up: nothing but what is its own.

use crate::world::{With, all, server};
use egress::address::Private;
use egress::rules::Rules;
use egress::{Limits, Proxy, System, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

fn rule() -> String {
    format!("ok.test:{}", server().http)
}

fn get(path: &str) -> Vec<u8> {
    let rule = rule();
    format!("GET http://{rule}{path} HTTP/1.1\r\nHost: {rule}\r\n\r\n").into_bytes()
}

fn limited(limits: Limits) -> With<'static> {
    With { limits, ..With::allow(&[&rule()]) }
}

/// NT-17: connections that say nothing more take places, no more than there are, and give them back.
#[tokio::test]
async fn half_open_tunnels() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ok.test:{}", silent.local_addr().unwrap().port());
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let mut world = With { limits, ..With::allow(&[&rule(), &target]) }.world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = world.connect().await;
        stream
            .write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        assert!(stream.read(&mut [0; 100]).await.unwrap() > 0);
        open.push(stream);
    }
    for _ in 0..20 {
        let answer = world.say(&get("/hello.txt")).await;
        assert!(answer.starts_with("HTTP/1.1 503 there are 3 connections already"), "{answer}");
        assert_eq!(world.attempt().await.verdict, Verdict::Refused);
    }
    drop(open);
    for _ in 0..3 {
        assert_eq!(world.attempt().await.verdict, Verdict::Failed);
    }
    // Their places come back a moment after they are told.
    while !world.say(&get("/hello.txt")).await.starts_with("HTTP/1.1 200") {}
}

/// NT-17: a gigabyte of headers is read no further than a head may be long.
#[tokio::test]
async fn endless_headers() {
    let world = limited(Limits::default()).world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    assert!(world.say(&get("/hello.txt")).await.starts_with("HTTP/1.1 200"));
    let mut stream = world.connect().await;
    stream.write_all(b"GET http://ok.test/ HTTP/1.1\r\n").await.unwrap();
    let line = [&[b'X'; 1000][..], b": y\r\n"].concat().repeat(64);
    let mut sent = 0_u64;
    while sent < 1 << 30 && stream.write_all(&line).await.is_ok() {
        sent += line.len() as u64;
    }
    assert!(sent < 64 << 20, "took {sent} bytes");
    // An answer that is read in time; above, the connection may be reset before.
    let mut stream = world.connect().await;
    stream.write_all(&[b"GET http://ok.test/ HTTP/1.1\r\n", &line[..40_000]].concat()).await.unwrap();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 431 "));
}

/// A head that comes byte by byte has an end; the same head within its time is served.
#[tokio::test]
async fn slow_head() {
    let limits = Limits { head_time: Duration::from_secs(2), ..Limits::default() };
    let mut world = limited(limits).world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    let mut stream = world.connect().await;
    for byte in get("/hello.txt") {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.attempt().await.verdict, Verdict::Allowed);
    let mut stream = world.connect().await;
    stream.write_all(b"GET http://ok.test/ HTTP/1.1\r\n").await.unwrap();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 408 "));
    assert!(world.attempt().await.reason.contains("did not come within"));
}

#[tokio::test]
async fn times() {
    let idle = Limits { idle_time: Duration::from_secs(1), ..Limits::default() };
    let whole = Limits { whole_time: Duration::from_secs(2), bytes_down_max: u64::MAX, ..Limits::default() };
    for (limits, path, said) in
        [(idle, "/silent", "nothing passed for"), (whole, "/silent", "lasted"), (whole, "/endless", "lasted")]
    {
        let mut world = limited(limits).world().await;
        world.names.set("ok.test", &[&["127.0.0.1"]]);
        let answer = world.say(&get(path)).await;
        assert!(
            answer.starts_with(if path == "/silent" { "HTTP/1.1 504 " } else { "HTTP/1.1 200 " }),
            "{path}"
        );
        let attempt = world.attempt().await;
        assert!(attempt.verdict == Verdict::Refused && attempt.reason.contains(said), "{attempt:?}");
    }
}

/// The sums are of the sandbox, exact, and no connection begins anew.
#[tokio::test]
async fn bytes() {
    let limits = Limits { bytes_down_max: 1_000_000, bytes_up_max: 10_000, ..Limits::default() };
    let mut world = limited(limits).world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    assert!(world.say(&get("/hello.txt")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.attempt().await.verdict, Verdict::Allowed);
    let got = world.say(&get("/endless")).await.len();
    assert!(got > 990_000 && got <= 1_000_000, "{got}");
    assert!(world.attempt().await.reason.contains("the sandbox has received 1000000 bytes"));
    assert_eq!(world.proxy.totals().bytes_down, 1_000_000);
    let rule = rule();
    let post = format!("POST http://{rule}/ HTTP/1.1\r\nHost: {rule}\r\nContent-Length: 20000\r\n\r\n");
    assert!(world.say(post.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let chunks = format!(
        "POST http://{rule}/ HTTP/1.1\r\nHost: {rule}\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n{}",
        "x".repeat(20_000)
    );
    assert!(world.say(chunks.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(world.proxy.totals().bytes_up, 10_000);
}

/// Attempts are told one by one up to a number, and counted beyond.
#[tokio::test]
async fn attempts() {
    let mut world = limited(Limits { attempts_max: 2, ..Limits::default() }).world().await;
    for _ in 0..5 {
        assert!(world.say(b"GET http://evil.test/ HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 403 "));
    }
    assert_eq!(world.attempt().await.host, "evil.test");
    assert_eq!(world.attempt().await.port, 80);
    let totals = world.proxy.totals();
    assert_eq!((totals.attempts, totals.refused), (5, 5));
    // Refusals do not crowd out what passed.
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    assert!(world.say(&get("/hello.txt")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.attempt().await.verdict, Verdict::Allowed);
}

/// What is open when the sandbox ends is told of, too.
#[tokio::test]
async fn the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ok.test:{}", silent.local_addr().unwrap().port());
    let mut world = With::allow(&[&target]).world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    let mut stream = world.connect().await;
    let head = format!("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\nContent-Length: 9\r\n\r\nsecret");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut server, _) = silent.accept().await.unwrap();
    read_until(&mut server, b"secret").await;
    world.end();
    let attempt = world.attempt().await;
    assert_eq!(
        (attempt.verdict, attempt.reason.as_str()),
        (Verdict::Allowed, "the connection ended with its sandbox")
    );
    assert!(attempt.bytes_up > 50);
}

async fn read_until(stream: &mut tokio::net::TcpStream, end: &[u8]) {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        got.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn servers_that_are_not_there() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let world = With::allow(&[&format!("ok.test:{gone}"), "nowhere.test"]).world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    let ask = |host: String| format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let answer = world.say(&ask(format!("ok.test:{gone}"))).await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ok.test:") && answer.contains("could not be reached"),
        "{answer}"
    );
    let answer = world.say(&ask("nowhere.test:443".to_owned())).await;
    assert!(answer.starts_with("HTTP/1.1 502 nowhere.test could not be resolved"), "{answer}");
}

/// The same over a Unix socket, with the resolver of the machine: what is this machine's own is refused by the address.
#[tokio::test]
async fn a_unix_listener_and_the_system_resolver() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("egress.sock");
    for (open, status) in [(&["127.0.0.0/8", "::1"][..], "200"), (&[], "403")] {
        let rules = Rules::parse(&[format!("localhost:{}", server().http)]).unwrap();
        let proxy = Proxy::new(
            rules,
            Private::parse(open).unwrap(),
            Limits::default(),
            Box::new(System),
            Box::new(drop),
        );
        let proxy = Arc::new(proxy);
        let serving = tokio::spawn(Arc::clone(&proxy).serve(UnixListener::bind(&path).unwrap()));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let host = format!("localhost:{}", server().http);
        let head = format!("GET http://{host}/hello.txt HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        serving.abort();
        std::fs::remove_file(&path).unwrap();
    }
}

/// Whoever left has been told of when it is asked for, also where nobody was let in yet; who stays is not waited for.
#[tokio::test]
async fn what_was_tried_so_far_is_told() {
    let mut world = limited(Limits::default()).world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    // One is answered first: then the listener is served.
    assert!(world.say(&get("/hello.txt")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.attempt().await.verdict, Verdict::Allowed);
    let stays = std::net::TcpStream::connect(world.at).unwrap();
    for path in ["/hello.txt", "/missing"] {
        let mut leaves = std::net::TcpStream::connect(world.at).unwrap();
        std::io::Write::write_all(&mut leaves, &get(path)).unwrap();
        leaves.shutdown(std::net::Shutdown::Write).unwrap();
        // The control: nothing ran in between.
        assert!(world.told().is_none());
        world.proxy.caught_up(Duration::from_secs(60)).await;
        assert_eq!(world.told().map(|attempt| attempt.verdict), Some(Verdict::Allowed), "{path}");
        assert!(world.told().is_none());
    }
    drop(stays);
}
