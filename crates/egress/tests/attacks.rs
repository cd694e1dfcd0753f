//! Ways around the proxy, each beside the same thing done rightly.

use crate::world::{With, World, all, server};
use egress::Verdict;
use egress::address::Private;
use egress::rules::Rules;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Allows a name on a port of the server, which is where the name leads.
async fn world(allow: &[&str]) -> World {
    let world = With::allow(allow).world().await;
    for name in ["ok.test", "other.test", "a.example.org", "evilexample.org", "a.example.org.evil.com"] {
        world.names.set(name, &[&["127.0.0.1"]]);
    }
    world
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn get(host: &str) -> Vec<u8> {
    format!("GET http://{host}/hello.txt HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// NT-05: the name leads elsewhere when it is asked again, so it is asked once, and what was judged is dialled.
#[tokio::test]
async fn rebinding() {
    let port = server().http;
    let rule = format!("rb.test:{port}");
    let world = With::allow(&[&rule]).world().await;
    // Judged as 127.0.0.1, which is open here; a second question would be answered with an address where nobody is.
    world.names.set("rb.test", &[&["127.0.0.1"], &["127.0.0.9"]]);
    assert_eq!(status(&world.say(&get(&rule)).await), "200");
    assert_eq!(world.names.asked().len(), 1);
    // The next connection asks anew, and the answer is judged anew.
    let answer = world.say(&get(&rule)).await;
    assert_eq!(status(&answer), "403");
    assert!(
        answer.contains("rb.test is at 127.0.0.9, which is not on the public internet (loopback"),
        "{answer}"
    );
    // A good answer among bad ones: only the good one is dialled.
    world.names.set("rb.test", &[&["10.0.0.1", "127.0.0.1", "169.254.169.254"]]);
    assert_eq!(status(&world.say(&get(&rule)).await), "200");
}

#[tokio::test]
async fn private_addresses_behind_a_name() {
    let port = server().http;
    let rule = format!("ok.test:{port}");
    let closed = With { private: &[], ..With::allow(&[&rule]) }.world().await;
    let open = world(&[&rule]).await;
    assert_eq!(status(&open.say(&get(&rule)).await), "200");
    for address in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "fd00:ec2::254",
        "::1",
        "::",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ] {
        closed.names.set("ok.test", &[&[address]]);
        let answer = closed.say(&get(&rule)).await;
        assert!(
            status(&answer) == "403" && answer.contains(&format!("ok.test is at {address},")),
            "{answer}"
        );
    }
}

/// NT-04: no name leads to a metadata service, however wide the operator opened the network that it is in.
#[tokio::test]
async fn metadata() {
    let port = server().http;
    let name = "metadata.google.internal";
    let rule = format!("{name}:{port}");
    let wide = ["127.0.0.1/32", "169.254.0.0/16", "100.64.0.0/10", "168.63.0.0/16", "fd00::/8"];
    let world = With { private: &wide, ..With::allow(&[&rule]) }.world().await;
    for address in [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::",
    ] {
        world.names.set(name, &[&[address]]);
        let connect = format!("CONNECT {rule} HTTP/1.1\r\nHost: {rule}\r\n\r\n").into_bytes();
        for head in [get(&rule), connect] {
            let answer = world.say(&head).await;
            assert!(
                status(&answer) == "403" && answer.contains(&format!("{name} is at ")),
                "{address}: {answer}"
            );
        }
    }
    // Controls: the same name elsewhere, also with a metadata service among its addresses; and the one thing that opens one.
    for answer in [&["127.0.0.1"][..], &["169.254.169.254", "127.0.0.1"]] {
        world.names.set(name, &[answer]);
        assert_eq!(status(&world.say(&get(&rule)).await), "200");
    }
    let address = "169.254.169.254".parse().unwrap();
    let opens = |range: &str| Private::parse(&[range]).unwrap().refuses(address).is_none();
    assert!(opens("169.254.169.254/32") && !opens("169.254.0.0/16") && !opens("0.0.0.0/0"));
}

/// NT-06, NT-08: what is not the one spelling of a listed name.
#[tokio::test]
async fn other_spellings() {
    let port = server().http;
    let mut world = world(&[&format!("ok.test:{port}"), &format!("*.example.org:{port}")]).await;
    for host in ["ok.test", "OK.Test", "a.example.org", "A.EXAMPLE.org"] {
        assert_eq!(status(&world.say(&get(&format!("{host}:{port}"))).await), "200", "{host}");
        assert_eq!(world.attempt().await.host, host.to_ascii_lowercase());
    }
    let asked = world.names.asked().len();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[::]",
        "0",
        "localhost.",
        "localhost",
        "[fe80::1%25lo]",
        "ok.test.",
        "OK.TEST.",
        "оk.test",
        "xn--k-kmc.test",
        "evilexample.org",
        "example.org",
        "a.example.org.evil.com",
        "aexample.org",
        "ok.test.evil.test",
        "evilok.test",
    ] {
        let answer = world.say(&get(&format!("{host}:{port}"))).await;
        assert_eq!(status(&answer), "403", "{host}: {answer}");
        assert_eq!(world.attempt().await.verdict, Verdict::Refused);
    }
    for host in
        ["ok.test\0.evil.test", "ok.test%00.evil.test", "user@ok.test", "user@ok.test@evil.test", "ok.test\n"]
    {
        let answer = world.say(&get(&format!("{host}:{port}"))).await;
        assert_eq!(status(&answer), "400", "{host:?}: {answer}");
        assert_eq!(world.attempt().await.verdict, Verdict::Refused);
    }
    // NT-14: none of these was asked of a resolver.
    assert_eq!(world.names.asked().len(), asked);
}

/// NT-10: a tunnel to one name, and a ClientHello for another; no name; a name in capitals is the same.
#[tokio::test]
async fn fronting() {
    let port = server().https;
    let mut world = world(&[&format!("ok.test:{port}"), &format!("a.example.org:{port}")]).await;
    let script = "import socket, ssl, sys\n\
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
        s.sendall(('CONNECT ok.test:%s HTTP/1.1\\r\\nHost: ok.test\\r\\n\\r\\n' % sys.argv[3]).encode())\n\
        assert s.recv(4096).startswith(b'HTTP/1.1 200')\n\
        c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n\
        t = c.wrap_socket(s, server_hostname=sys.argv[4] or None)\n\
        t.sendall(b'GET /hello.txt HTTP/1.0\\r\\n\\r\\n'); print(t.recv(9999))";
    let (ip, to, over) = (world.at.ip().to_string(), world.at.port().to_string(), port.to_string());
    for (name, passes) in [
        ("ok.test", true),
        ("OK.test", true),
        ("a.example.org", false),
        ("other.test", false),
        ("", false),
        ("127.0.0.1", false),
    ] {
        let (done, said) = world.run("python3", &["-c", script, &ip, &to, &over, name]).await;
        assert_eq!(done, passes, "{name}: {said}");
        let attempt = world.attempt().await;
        assert_eq!(attempt.verdict == Verdict::Allowed, passes, "{name}: {attempt:?}");
        if !passes {
            assert!(said.contains("ACCESS_DENIED") && attempt.bytes_up == 0, "{name}: {said} {attempt:?}");
        }
    }
}

/// NT-12: a tunnel carries TLS, on any port; anything else only where that was allowed.
#[tokio::test]
async fn tunnels_of_other_protocols() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rule = format!("ok.test:{port}");
    let connect = format!("CONNECT {rule} HTTP/1.1\r\nHost: {rule}\r\n\r\nSSH-2.0-x\r\n");
    let plain = With { rules: Rules::default().with_plain_tunnels(&[&rule]).unwrap(), ..With::allow(&[]) }
        .world()
        .await;
    plain.names.set("ok.test", &[&["127.0.0.1"]]);
    let mut through = plain.connect().await;
    through.write_all(connect.as_bytes()).await.unwrap();
    let mut got = [0; 11];
    listener.accept().await.unwrap().0.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"SSH-2.0-x\r\n");

    let mut world = world(&[&rule]).await;
    assert_eq!(status(&world.say(connect.as_bytes()).await), "200");
    let attempt = world.attempt().await;
    assert!(
        attempt.reason.contains("does not begin with a TLS ClientHello") && attempt.bytes_up == 0,
        "{attempt:?}"
    );
    let mut nothing = Vec::new();
    listener.accept().await.unwrap().0.read_to_end(&mut nothing).await.unwrap();
    assert_eq!(nothing, b"");
    for target in ["ok.test:22", "ok.test:25", "ok.test:443"] {
        let answer =
            world.say(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&answer), "403", "{target}");
    }
    for url in ["ftp://ok.test/", "https://ok.test/", "file:///etc/passwd", "gopher://ok.test/"] {
        let answer = world.say(format!("GET {url} HTTP/1.1\r\nHost: ok.test\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&answer), "403", "{url}");
    }
    let upgrade = format!(
        "GET http://{rule}/ HTTP/1.1\r\nHost: {rule}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    assert_eq!(status(&world.say(upgrade.as_bytes()).await), "403");
}

/// NT-11: what a server could read as a second request never reaches it.
#[tokio::test]
async fn smuggling() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rule = format!("ok.test:{}", listener.local_addr().unwrap().port());
    let world = world(&[&rule]).await;
    let post = |fields: &str, rest: &str| {
        format!("POST http://{rule}/ HTTP/1.1\r\nHost: {rule}\r\n{fields}\r\n{rest}")
    };
    let second = "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    // Each of these is one request, and what stands behind it is nobody's.
    for (fields, body, sent) in [
        ("Content-Length: 3\r\n", "abc", "Content-Length: 3\r\nConnection: close\r\n\r\nabc"),
        (
            "Transfer-Encoding: chunked\r\n",
            "003\r\nabc\r\n0\r\nX: y\r\n\r\n",
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        ("", "", "Connection: close\r\n\r\n"),
    ] {
        let mut stream = world.connect().await;
        stream.write_all(post(fields, &format!("{body}{second}")).as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let expected = format!("POST / HTTP/1.1\r\nHost: {rule}\r\n{sent}");
        let mut got = vec![0; expected.len()];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(status(&all(&mut stream).await), "204");
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0, "{fields}: more than one request");
    }
    for (fields, body) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("X: y\r\n Content-Length: 3\r\n", "abc"),
        ("X: y\nContent-Length: 3\r\n", "abc"),
        ("Transfer-Encoding: chunked\r\n", "3;x=y\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffff\r\nabc"),
        ("Host: evil.test\r\n", ""),
    ] {
        let answer = world.say(post(fields, &format!("{body}{second}")).as_bytes()).await;
        assert_eq!(status(&answer), "400", "{fields:?} {body:?}: {answer}");
    }
}

/// NT-15: a registry is read, and nothing is sent to it but what its tunnel hides, if that is allowed at all.
#[tokio::test]
async fn methods() {
    let port = server().http;
    let rule = format!("ok.test:{port}");
    let rules = Rules::parse(&[&rule]).unwrap().with_methods(&["GET", "HEAD"]).unwrap();
    let world = With { rules, ..With::allow(&[]) }.world().await;
    world.names.set("ok.test", &[&["127.0.0.1"]]);
    assert_eq!(status(&world.say(&get(&rule)).await), "200");
    for method in ["POST", "PUT", "TRACE"] {
        let answer =
            world.say(format!("{method} http://{rule}/ HTTP/1.1\r\nHost: {rule}\r\n\r\n").as_bytes()).await;
        assert!(status(&answer) == "403" && answer.contains("egress.methods"), "{answer}");
    }
    let answer = world.say(format!("CONNECT {rule} HTTP/1.1\r\nHost: {rule}\r\n\r\n").as_bytes()).await;
    assert_eq!(status(&answer), "403");
}

/// What the proxy is told about itself goes no further, and it is no server of its own.
#[tokio::test]
async fn the_proxy_itself() {
    let port = server().http;
    let rule = format!("ok.test:{port}");
    let world = world(&[&rule]).await;
    let head = format!(
        "GET http://{rule}/echo HTTP/1.1\r\nHost: {rule}\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: x\r\nX-Kept: 1\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\n\r\n"
    );
    let answer = world.say(head.as_bytes()).await;
    assert!(answer.contains("x-kept") && !answer.contains("proxy-") && !answer.contains("x-hop"), "{answer}");
    for line in
        ["GET / HTTP/1.1", "GET /metrics HTTP/1.1", "PRI * HTTP/2.0", "\x05\x01\0", "GET http://ok.test/"]
    {
        let answer = world.say(format!("{line}\r\nHost: ok.test\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&answer), "400", "{line}: {answer}");
    }
}
