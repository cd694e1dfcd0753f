//! What a head may be, and each way in which it may not.

use super::*;
use crate::target::BadName;

fn plain(head: &str) -> Result<String, BadHead> {
    match parse(head.as_bytes())? {
        Request::Plain(plain) => Ok(String::from_utf8(plain.head).unwrap()),
        Request::Tunnel(target) => Ok(target.to_string()),
    }
}

fn with(fields: &str) -> Result<String, BadHead> {
    plain(&format!("POST http://pypi.org/x HTTP/1.1\r\nHost: pypi.org\r\n{fields}\r\n"))
}

#[test]
fn a_plain_request_is_written_anew() {
    let head = "GET http://PyPI.org?q=1 HTTP/1.1\r\nhost: pypi.org:80\r\nUser-Agent: x\r\nConnection: keep-alive, X-Hop\r\n\
        X-Hop: 1\r\nProxy-Connection: x\r\nProxy-Authorization: Basic x\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: x\r\nAccept:\t*/* \r\n\r\n";
    let said =
        "GET /?q=1 HTTP/1.1\r\nHost: pypi.org\r\nUser-Agent: x\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    assert_eq!(plain(head).unwrap(), said);
    assert!(
        plain("GET http://a:8080 HTTP/1.0\r\n\r\n")
            .unwrap()
            .starts_with("GET / HTTP/1.0\r\nHost: a:8080\r\n")
    );
    assert!(plain("OPTIONS http://a HTTP/1.0\r\n\r\n").unwrap().starts_with("OPTIONS * "));
    let sent = with("Content-Length: 007\r\n").unwrap();
    assert!(sent.contains("\r\nContent-Length: 7\r\n") && !sent.contains("007"));
    assert!(with("transfer-encoding: CHUNKED\r\n").unwrap().contains("\r\nTransfer-Encoding: chunked\r\n"));
}

#[test]
fn a_tunnel() {
    for fields in [
        "Host: pypi.org:443\r\n",
        "Host: 127.0.0.1:3128\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n",
    ] {
        let head = format!("CONNECT pypi.org:443 HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(plain(&head).unwrap(), "pypi.org:443");
    }
    assert_eq!(plain("CONNECT pypi.org:443 HTTP/1.0\r\n\r\n").unwrap(), "pypi.org:443");
    assert_eq!(plain("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), Err(BadHead::Twice("host")));
    assert_eq!(plain("CONNECT pypi.org:443 HTTP/1.0\r\nContent-Length: 3\r\n\r\n"), Err(BadHead::Framing));
    for target in ["http://pypi.org/", "pypi.org", "/", "*", "pypi.org:443/x"] {
        assert!(plain(&format!("CONNECT {target} HTTP/1.0\r\n\r\n")).is_err(), "{target}");
    }
}

#[test]
fn smuggling() {
    assert!(with("Content-Length: 6\r\n").is_ok());
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Content-Length: +6\r\n",
        "Content-Length: -6\r\n",
        "Content-Length: 6,6\r\n",
        "Content-Length: 0x6\r\n",
        "Content-Length: \r\n",
        "Content-Length: 6 6\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert_eq!(with(fields), Err(BadHead::Framing), "{fields}");
    }
    assert_eq!(with("Content-Length: 6\r\ncontent-length: 6\r\n"), Err(BadHead::Twice("content-length")));
    let twice = with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(twice, Err(BadHead::Twice("transfer-encoding")));
    assert_eq!(with("Host: pypi.org\r\n"), Err(BadHead::Twice("host")));
    for fields in [
        "Content-Length : 6\r\n",
        " Content-Length: 6\r\n",
        "\tfolded\r\n",
        "X: a\r\n b\r\n",
        "NoColon\r\n",
        ": x\r\n",
        "X\x0bY: 1\r\n",
        "X: a\x7f\r\n",
        "X: \x01\r\n",
        "Ä: x\r\n",
        "X(: y\r\n",
    ] {
        assert_eq!(with(fields), Err(BadHead::Field), "{fields:?}");
    }
    for fields in ["X: a\nY: b\r\n", "X: a\rY: b\r\n", "X: a\0\r\n", "X: a\r\r\n", "\nX: b\r\n"] {
        assert_eq!(with(fields), Err(BadHead::Control), "{fields:?}");
    }
    for option in ["host", "Content-Length", "x, transfer-encoding"] {
        assert_eq!(with(&format!("Connection: {option}\r\n")), Err(BadHead::Connection));
    }
    let chunked_in_1_0 = "POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(plain(chunked_in_1_0), Err(BadHead::Framing));
    assert_eq!(with("Expect: 200-maybe\r\n"), Err(BadHead::Expect));
    assert_eq!(with("Connection: Upgrade\r\nUpgrade: websocket\r\n"), Err(BadHead::Upgrade));
}

#[test]
fn hosts() {
    for host in ["evil.test", "pypi.org:81", "", "pypi.org.", "pypi.org@evil.test", "pypi.org, evil.test"] {
        let head = format!("GET http://pypi.org/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(plain(&head), Err(BadHead::Host), "{host}");
    }
    assert_eq!(plain("GET http://pypi.org/ HTTP/1.1\r\n\r\n"), Err(BadHead::Host));
    let target = |url: &str| match plain(&format!("GET {url} HTTP/1.0\r\n\r\n")) {
        Err(BadHead::Target(_, why)) => why,
        other => panic!("{url}: {other:?}"),
    };
    assert_eq!(target("http://user@pypi.org@evil.test/"), BadTarget::Userinfo);
    assert_eq!(target("http://pypi.org%00.evil.test/"), BadTarget::Percent);
    assert_eq!(target("http://[fe80::1%25lo]/"), BadTarget::Name(BadName::Address));
    assert_eq!(target("http://рypi.org/"), BadTarget::Name(BadName::NotAscii));
    assert_eq!(target("http://PYPI.ORG./"), BadTarget::Name(BadName::LastDot));
    assert_eq!(target("http://pypi.org\\.evil.test/"), BadTarget::Name(BadName::Character));
    assert_eq!(target("http:///x"), BadTarget::Name(BadName::Empty));
    assert_eq!(target("http://a:99999/"), BadTarget::Port);
}

#[test]
fn lines() {
    for line in [
        "",
        "GET",
        "GET http://a/",
        "GET  http://a/ HTTP/1.1",
        "GET http://a/ HTTP/1.1 ",
        " GET http://a/ HTTP/1.1",
        "get http://a/ HTTP/1.1",
        "GET http://a/ HTTP/2.0",
        "GET http://a/ http/1.1",
        "GET http://a/ HTTP/1.2",
        "GET http://a/\t HTTP/1.1",
        "GET http://a/#f HTTP/1.1",
        "GETGETGETGETGETGET http://a/ HTTP/1.1",
        "G\tT http://a/ HTTP/1.1",
        "GET http://a/ü HTTP/1.1",
    ] {
        assert_eq!(plain(&format!("{line}\r\nHost: a\r\n\r\n")), Err(BadHead::Line), "{line}");
    }
    for (target, why) in [
        ("/", BadHead::Form),
        ("*", BadHead::Form),
        ("a:80", BadHead::Form),
        ("http:a", BadHead::Form),
        ("ftp://a/", BadHead::Scheme),
        ("https://a/", BadHead::Scheme),
        ("ws://a/", BadHead::Scheme),
        ("file:///etc/passwd", BadHead::Scheme),
    ] {
        assert_eq!(plain(&format!("GET {target} HTTP/1.0\r\n\r\n")), Err(why), "{target}");
    }
}

#[test]
fn bounds() {
    let fields = |count: usize| plain(&format!("GET http://a/ HTTP/1.0\r\n{}\r\n", "X: y\r\n".repeat(count)));
    assert!(fields(FIELDS_MAX).is_ok());
    assert_eq!(fields(FIELDS_MAX + 1), Err(BadHead::TooManyFields));
    let long = |length: usize| plain(&format!("GET http://a/ HTTP/1.0\r\nX: {}\r\n\r\n", "y".repeat(length)));
    let rest = "GET http://a/ HTTP/1.0\r\nX: \r\n\r\n".len();
    assert!(long(HEAD_BYTES_MAX - rest).is_ok());
    assert_eq!(long(HEAD_BYTES_MAX - rest + 1), Err(BadHead::TooLong));
    assert_eq!(head_end(&vec![b'a'; HEAD_BYTES_MAX], 0), Err(BadHead::TooLong));
    assert_eq!(parse(b"GET http://a/ HTTP/1.0\r\n"), Err(BadHead::Unfinished));
    assert_eq!(parse(b"GET http://a/ HTTP/1.0\r\n\r\nmore"), Err(BadHead::Control));
}

#[test]
fn a_head_ends_where_it_ends_in_any_pieces() {
    let bytes = b"GET http://a/ HTTP/1.0\r\nX: y\r\n\r\nGET";
    for cut in 0..bytes.len() {
        let first = head_end(&bytes[..cut], 0).unwrap();
        let both = first.map_or_else(|| head_end(bytes, cut).unwrap(), Some);
        assert_eq!(both, Some(bytes.len() - 3), "{cut}");
    }
}

#[test]
fn what_was_asked_is_shown_in_ascii() {
    assert_eq!(asked(b"GET http://127.1/x HTTP/1.1\r\n"), "127.1");
    assert_eq!(asked(b"CONNECT a\0b:443 HTTP/1.1\r\n"), "a\\x00b:443");
    assert_eq!(asked("GET http://рypi.org/".as_bytes()), "\\xd1\\x80ypi.org");
    assert_eq!(asked(b"\xff"), "");
    assert_eq!(asked(&[b"GET ".to_vec(), vec![b'a'; 999]].concat()).len(), 200);
}
