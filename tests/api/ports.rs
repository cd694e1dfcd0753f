//! Ports of sessions: what a guest serves is seen by its owner, at an origin of its own, and by nobody else; whatever a guest answers is
//! its visitor's affair alone.

use super::sessions::{open, said};
use super::sessions_idle::{interpreters, stands_still, wait_until};
use super::tenancy::Tenancy;
use fireclay_tests::browser::Browser;
use fireclay_tests::http::{self, Answer};
use fireclay_tests::server::PATIENCE;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

const GUEST: &str = include_str!("ports_guest.py");

/// A port as a visitor sees it.
#[derive(Clone)]
struct Port {
    /// What its address is in truth.
    address: String,
    host: String,
    /// What every request has besides.
    pass: (&'static str, String),
}

/// An API, with or without a key.
struct Api<'a> {
    server: &'a Server,
    key: Option<&'a str>,
}

impl Api<'_> {
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = self.key.map(|key| format!("Bearer {key}"));
        let mut headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        headers.push(("content-type", "application/json"));
        self.server.send(method, path, &headers, body.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    fn tell(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, Some(body)).into_json()
    }

    /// Opens a session with this guest on port 8000.
    fn session_with_guest(&self, asked: &Value) -> String {
        let (status, view) = self.tell("/v1/sessions", asked);
        assert_eq!(status, 201, "{view}");
        let session = format!("/v1/sessions/{}", view["id"].as_str().unwrap());
        self.guest(&session, &["8000"]);
        session
    }

    /// Starts a guest in a session; it listens when this returns.
    fn guest(&self, session: &str, arguments: &[&str]) {
        let command = [&["python3", "-c", GUEST], arguments].concat();
        let (status, view) = self.tell(&format!("{session}/processes"), &json!({"command": command}));
        assert_eq!(status, 201, "{view}");
        let path = format!("{session}/processes/{}/output", view["process"]);
        let bearer = self.key.map(|key| format!("Bearer {key}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let mut events = http::stream("GET", &self.server.url(&path), &headers, b"");
        let event = events.next().unwrap();
        assert_eq!(event.text(), "on\n", "{event:?}");
    }

    fn link(&self, session: &str, port: u16) -> Value {
        let (status, link) = self.tell(&format!("{session}/ports/{port}"), &json!({}));
        assert_eq!(status, 200, "{link}");
        link
    }

    /// Follows a link, as a browser does.
    fn visit(&self, session: &str, port: u16) -> Port {
        Port::enter(&self.link(session, port))
    }
}

impl Port {
    /// At an origin, as somebody who shows this.
    fn at(origin: &str, pass: (&'static str, String)) -> Self {
        let host = origin.strip_prefix("http://").unwrap().to_owned();
        let address = format!("127.0.0.1:{}", host.rsplit_once(':').unwrap().1);
        Self { address, host, pass }
    }

    fn of(link: &Value, pass: (&'static str, String)) -> Self {
        Self::at(link["origin"].as_str().unwrap(), pass)
    }

    /// As the browser that followed a link.
    fn enter(link: &Value) -> Self {
        let url = link["url"].as_str().unwrap();
        let path = url.strip_prefix(link["origin"].as_str().unwrap()).unwrap();
        let mut port = Self::of(link, ("accept", "*/*".to_owned()));
        let answer = port.get(path);
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{answer:?}");
        let cookie = answer.header("set-cookie");
        let (pair, rest) = cookie.split_once(';').unwrap();
        assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax");
        port.pass = ("cookie", pair.to_owned());
        port
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        let mut all = vec![("host", self.host.as_str()), (self.pass.0, self.pass.1.as_str())];
        all.extend(headers);
        http::send(method, &format!("http://{}{path}", self.address), &all, body)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body).unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    fn status(&self, path: &str) -> u16 {
        self.get(path).status
    }

    /// What a guest was told.
    fn told(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (Value, BTreeMap<String, String>) {
        let answer = self.send(method, path, headers, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let (_, said) = answer.into_json();
        let pairs: Vec<(String, String)> = serde_json::from_value(said["headers"].clone()).unwrap();
        (said, pairs.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection on which a request was sent and nothing was read.
    fn begin(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        let Self { host, pass: (name, value), .. } = self;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n{name}: {value}\r\n\r\n").unwrap();
        stream
    }

    fn web_socket(&self, headers: &[(&str, &str)]) -> Result<tungstenite::WebSocket<TcpStream>, u16> {
        let mut request = format!("ws://{}/ws", self.host).into_client_request().unwrap();
        for (name, value) in [(self.pass.0, self.pass.1.as_str())].iter().chain(headers) {
            let name = tungstenite::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tungstenite::client(request, self.connect()) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn with_ports() -> Value {
    json!({"ports": true})
}

/// Everything up to here: an answer's head, or what came before the end.
fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while !text.contains(wanted) {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    text
}

#[test]
fn what_a_guest_serves_is_seen_by_its_owner() {
    let server = Server::start(&[]);
    let session = open(&server, &with_ports());
    assert_eq!(server.get_json(&session).1["ports"], true);
    said(&server, &session, "open('index.html', 'w').write('<h1>of the guest</h1>')");
    let asked = json!({"command": ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "8080"]});
    let (_, process) = server.post_json(&format!("{session}/processes"), &asked);
    let output = server.url(&format!("{session}/processes/{}/output", process["process"]));
    assert!(http::stream("GET", &output, &[], b"").next().unwrap().text().contains("Serving HTTP"));
    let api = Api { server: &server, key: None };
    let link = api.link(&session, 8080);
    let label = &session["/v1/sessions/ses_".len()..];
    assert!(
        link["origin"].as_str().unwrap().starts_with(&format!("http://8080-{label}.localhost:")),
        "{link}"
    );
    let port = Port::enter(&link);
    let answer = port.get("/");
    assert_eq!((answer.status, answer.text()), (200, "<h1>of the guest</h1>"));
    assert_eq!(answer.header("origin-agent-cluster"), "?1");
    assert_eq!(port.status("/none"), 404);
    // The link was good once; to look whether there is one is not to follow it.
    let other = api.link(&session, 8080);
    let path_of = |link: &Value| {
        link["url"].as_str().unwrap().strip_prefix(link["origin"].as_str().unwrap()).unwrap().to_owned()
    };
    assert_eq!(port.send("HEAD", &path_of(&other), &[], b"").status, 404);
    assert_eq!(Port::enter(&other).status("/"), 200);
    assert_eq!(port.status(&path_of(&link)), 403);
    assert_eq!(port.status("/.fireclay/else"), 404);
    // A person follows the path that the API has for it.
    let answer = server.send("GET", &format!("{session}/ports/8080/"), &[], b"");
    assert!(answer.header("location").starts_with(link["origin"].as_str().unwrap()), "{answer:?}");
    assert_eq!(answer.status, 303);
    // Nothing listens there.
    assert_eq!(api.visit(&session, 8081).status("/"), 502);
    // On IPv6, too.
    api.guest(&session, &["8082", "6"]);
    assert_eq!(api.visit(&session, 8082).status("/"), 200);
    for wrong in ["0", "65536", "x", "-1", "+1"] {
        let (status, problem) = server.post_json(&format!("{session}/ports/{wrong}"), &json!({}));
        assert_eq!(status, 422, "{wrong}: {problem}");
    }
}

/// What a person sees: the page and its WebSocket, and that the page has neither the way in nor the API, which here wants no key.
#[test]
fn a_browser_shows_it_and_its_page_reaches_no_further() {
    let server = Server::start(&[]);
    let api = Api { server: &server, key: None };
    let session = api.session_with_guest(&with_ports());
    let link = api.link(&session, 8000);
    let mut browser = Browser::start();
    browser.open(link["url"].as_str().unwrap());
    assert_eq!(browser.evaluate("location.href"), format!("{}/", link["origin"].as_str().unwrap()));
    let seen = browser.evaluate("document.body.innerText");
    assert!(seen.as_str().unwrap().contains("\"path\": \"/\""), "{seen}");
    let echo = "new Promise((done, fail) => {
        const socket = new WebSocket(`ws://${location.host}/ws`);
        socket.onopen = () => socket.send('hello');
        socket.onmessage = event => { done(event.data); socket.close(); };
        socket.onerror = fail;
    })";
    assert_eq!(browser.evaluate(echo), "hello");
    // Neither the page nor its server has what lets the browser in.
    assert_eq!(browser.evaluate("document.cookie"), "");
    let told = browser.evaluate("fetch('/told', {method: 'POST'}).then(answer => answer.text())");
    assert!(
        told.as_str().unwrap().contains("/told") && !told.as_str().unwrap().contains("fireclay-port"),
        "{told}"
    );
    // The API answers whoever has its address, but no page of another origin: not what it says, and not what it would do.
    let runs = server.url("/v1/runs");
    let run = json!({"language": "bash", "code": "echo from a page"}).to_string();
    for (method, mode) in [("GET", "cors"), ("POST", "cors"), ("POST", "no-cors")] {
        let body = if method == "POST" { format!(", body: {run:?}") } else { String::new() };
        let asked = format!(
            "fetch({runs:?}, {{method: '{method}', mode: '{mode}'{body}}}).then(answer => answer.type, () => 'refused')"
        );
        let wanted = if mode == "cors" { "refused" } else { "opaque" };
        assert_eq!(browser.evaluate(&asked), wanted, "{asked}");
    }
    assert_eq!(server.get_json("/v1/runs").1["items"], json!([]));
    // The link was good once, in whatever browser.
    let mut other = Browser::start();
    other.open(link["url"].as_str().unwrap());
    assert!(!other.evaluate("document.body.innerText").as_str().unwrap().contains("\"path\""));
}

#[test]
fn nobody_else_comes_in() {
    let Tenancy { server, a, b, admin } = Tenancy::start();
    let api = |key| Api { server: &server, key: Some(key) };
    let session = api(&a).session_with_guest(&with_ports());
    let link = api(&a).link(&session, 8000);
    let by_key = |key: &str| Port::of(&link, ("authorization", format!("Bearer {key}"))).status("/");
    let nothing = Port::of(&link, ("accept", "*/*".to_owned()));
    let browser = Port::enter(&api(&a).link(&session, 8000));
    // What would be had, were it not for what follows.
    assert_eq!((by_key(&a), browser.status("/")), (200, 200));
    assert_eq!((by_key(&b), by_key(&admin), by_key("fc_wrong")), (404, 404, 401));
    assert_eq!(nothing.status("/"), 401);
    for key in [&b, &admin] {
        assert_eq!(api(key).tell(&format!("{session}/ports/8000"), &json!({})).0, 404);
    }
    assert_eq!(Api { server: &server, key: None }.tell(&format!("{session}/ports/8000"), &json!({})).0, 401);
    // A cookie is for one port of one session: another host gets nothing by it, whoever sends it.
    let other = api(&b).session_with_guest(&with_ports());
    let elsewhere = [api(&a).link(&session, 8001), api(&b).link(&other, 8000)];
    for link in elsewhere {
        assert_eq!(Port::of(&link, browser.pass.clone()).status("/"), 401);
        assert_ne!(Port::of(&link, ("cookie", format!("x=1; {}", browser.pass.1))).status("/"), 200);
    }
    // Another's link does not let in here, and is still good there.
    let theirs = api(&b).link(&other, 8000);
    let secret = theirs["url"].as_str().unwrap().split_once("/.fireclay").unwrap().1;
    assert_eq!(nothing.status(&format!("/.fireclay{secret}")), 403);
    assert_eq!(Port::enter(&theirs).status("/"), 200);
    // A cookie that another page of our domain tossed in before ours hides it not.
    let (name, value) = browser.pass.1.split_once('=').unwrap();
    let tossed = Port { pass: ("cookie", format!("{name}=0; {name}={value}")), ..browser.clone() };
    assert_eq!(tossed.status("/"), 200);
    // The host decides, and there is one.
    let host = browser.host.clone();
    for (line, wanted) in [
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n"), "404"),
        (format!("GET http://else/ HTTP/1.1\r\nhost: {host}\r\n"), "422"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\n".to_owned(), "404"),
        (format!("TRACE / HTTP/1.1\r\nhost: {host}\r\n"), "405"),
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\n"), "200"),
    ] {
        let mut stream = browser.connect();
        write!(stream, "{line}cookie: {}\r\n\r\n", browser.pass.1).unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {wanted} ")), "{line:?}: {head}");
    }
    // The API is not served there, and ports are not served at the API.
    assert_eq!(Port { host: server.address().to_string(), ..browser.clone() }.status("/v1/sessions"), 404);
    let at_the_api = Port { address: server.address().to_string(), ..browser.clone() };
    assert_eq!(at_the_api.status("/v1/sessions"), 401);
    // Whose key is revoked, his browsers are out.
    let (_, keys) = api(&a).ask("GET", "/v1/keys", None).into_json();
    let id = keys["items"][0]["id"].as_str().unwrap();
    let (status, _) = api(&admin).ask("DELETE", &format!("/v1/keys/{id}"), None).into_json();
    assert!(status < 300, "{status}");
    assert_eq!((by_key(&a), browser.status("/")), (401, 401));
}

#[test]
fn a_session_that_did_not_ask_has_none() {
    let server = Server::start(&[]);
    let api = Api { server: &server, key: None };
    let asked = api.session_with_guest(&with_ports());
    let port = api.visit(&asked, 8000);
    assert_eq!(port.status("/"), 200);
    let session = api.session_with_guest(&json!({}));
    let (status, problem) = server.post_json(&format!("{session}/ports/8000"), &json!({}));
    assert_eq!((status, &problem["field"]), (403, &json!("ports")));
    assert!(problem["hint"].as_str().unwrap().contains("\"ports\": true"), "{problem}");
    // Where nobody listens for visitors, it cannot be asked for.
    let off = Server::start(&["--set", "ports.listen=off"]);
    let (status, problem) = off.post_json("/v1/sessions", &with_ports());
    assert_eq!((status, &problem["field"]), (422, &json!("ports")));
    assert!(
        Server::try_start_in(&Data::fresh(), &["--set", "ports.listen=here"])
            .unwrap_err()
            .contains("ports.listen")
    );
    assert!(
        Server::try_start_in(&Data::fresh(), &["--set", "ports.url=here"]).unwrap_err().contains("ports.url")
    );
    // With a key, too: it is the session that must have asked.
    let Tenancy { server, a, .. } = Tenancy::start();
    let api = Api { server: &server, key: Some(&a) };
    let (with, without) = (api.session_with_guest(&with_ports()), api.session_with_guest(&json!({})));
    let origin = api.link(&with, 8000)["origin"].as_str().unwrap().to_owned();
    let pass = ("authorization", format!("Bearer {a}"));
    assert_eq!(Port::at(&origin, pass.clone()).status("/"), 200);
    let label = |session: &str| session["/v1/sessions/ses_".len()..].to_owned();
    assert_eq!(Port::at(&origin.replace(&label(&with), &label(&without)), pass).status("/"), 403);
}

#[test]
fn nothing_of_ours_is_told_and_no_order_of_theirs_obeyed() {
    let Tenancy { server, a, .. } = Tenancy::start();
    let api = Api { server: &server, key: Some(&a) };
    let session = api.session_with_guest(&with_ports());
    let browser = api.visit(&session, 8000);
    let program = Port { pass: ("authorization", format!("Bearer {a}")), ..browser.clone() };
    let hops = [("te", "trailers"), ("x-forwarded-for", "1.2.3.4"), ("keep-alive", "5"), ("x-own", "kept")];
    let (said, told) = program.told("POST", "/a%20b?c=%00&d", &hops, b"body of it");
    assert_eq!(
        (&said["method"], &said["path"], &said["body"]),
        (&json!("POST"), &json!("/a%20b?c=%00&d"), &json!("body of it"))
    );
    let secret = a.rsplit_once('_').unwrap().1;
    assert!(!said.to_string().contains(secret), "{said}");
    for name in ["authorization", "te", "keep-alive", "x-forwarded-for", "cookie"] {
        assert!(!told.contains_key(name), "{name}: {said}");
    }
    let has = |told: &BTreeMap<String, String>, name: &str| told.get(name).cloned().unwrap_or_default();
    assert_eq!(
        (has(&told, "host"), has(&told, "connection"), has(&told, "x-own")),
        (browser.host.clone(), "close".into(), "kept".into())
    );
    let (said, told) = Port { pass: ("x-api-key", a.clone()), ..browser.clone() }.told("GET", "/", &[], b"");
    assert!(!said.to_string().contains(secret) && !told.contains_key("x-api-key"), "{said}");
    // A browser's cookie of ours is kept back, others are told, and so is what a page says of its own authorization.
    let own = Port { pass: ("cookie", format!("a=1; {}; b=2", browser.pass.1)), ..browser.clone() };
    let (said, told) = own.told("GET", "/", &[("authorization", "Bearer of-the-page")], b"");
    assert_eq!(
        (has(&told, "cookie"), has(&told, "authorization")),
        ("a=1; b=2".into(), "Bearer of-the-page".into()),
        "{said}"
    );
    assert!(!said.to_string().contains(browser.pass.1.split_once('=').unwrap().1), "{said}");
    let revoked = "fc_0000000000_0000000000000000000000000000000000000000000";
    let (said, told) = own.told("GET", "/", &[("authorization", &format!("Bearer {revoked}"))], b"");
    assert!(!told.contains_key("authorization"), "{said}");
    // Back: cookies for other hosts, or called as ours, and orders to proxies before us stay here.
    let answer = browser.get("/cookies");
    let cookies: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!((answer.text(), cookies), ("ok", vec!["own=1; Path=/"]));
    for name in ["x-accel-redirect", "clear-site-data"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    // Methods and lengths pass as they are.
    let head = browser.send("HEAD", "/", &[], b"");
    assert!(head.status == 200 && head.body.is_empty() && head.header("content-length") != "0", "{head:?}");
    let pages = |headers: &[(&str, &str)]| browser.send("POST", "/", headers, b"x").status;
    let origin = format!("http://{}", browser.host);
    assert_eq!((pages(&[]), pages(&[("origin", &origin)])), (200, 200));
    assert_eq!(
        (pages(&[("origin", "http://evil.example")]), pages(&[("sec-fetch-site", "same-site")])),
        (403, 403)
    );
}

#[test]
fn a_hostile_answer_is_its_visitors_affair() {
    let server = Server::start(&[]);
    let api = Api { server: &server, key: None };
    let session = api.session_with_guest(&with_ports());
    let port = api.visit(&session, 8000);
    for path in ["/huge", "/many", "/endless", "/garbage", "/gone", "/unasked"] {
        let answer = port.get(path);
        assert_eq!(answer.status, 502, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    // What is said after an answer is nobody's, on a connection that goes on to be used.
    let mut stream = port.begin("/two");
    let mut said = read_until(&mut stream, "one");
    write!(stream, "GET /next HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\n\r\n", port.host, port.pass.1).unwrap();
    said += &read_until(&mut stream, "/next");
    assert!(!said.contains("two"), "{said}");
    assert_eq!(port.get("/lengths").text(), "whole");
    // One that is cut is seen to be.
    port.try_send("GET", "/short", &[], b"").unwrap_err();
    assert_eq!(port.status("/"), 200);
    // It may take its time, and no longer.
    let impatient = Server::start(&["--set", "ports.answer_timeout_ms=100ms"]);
    let api = Api { server: &impatient, key: None };
    let session = api.session_with_guest(&with_ports());
    assert_eq!(api.visit(&session, 8000).status("/silent"), 504);
}

#[test]
fn the_machines_own_ports_are_not_reached() {
    let server = Server::start(&[]);
    let api = Api { server: &server, key: None };
    let session = api.session_with_guest(&with_ports());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It is there, for those who are here; and what is inside is reached.
    drop(TcpStream::connect(address).unwrap());
    listener.accept().unwrap();
    assert_eq!(api.visit(&session, 8000).status("/"), 200);
    assert_eq!(api.visit(&session, address.port()).status("/"), 502);
    assert_eq!(api.visit(&session, server.address().port()).status("/"), 502);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came");
}

#[test]
fn a_web_socket_passes_until_its_session_ends() {
    let server = Server::start(&[]);
    let api = Api { server: &server, key: None };
    let session = api.session_with_guest(&with_ports());
    let port = api.visit(&session, 8000);
    let mut socket = port.web_socket(&[("origin", &format!("http://{}", port.host))]).unwrap();
    for text in ["one".to_owned(), "two".repeat(1_000)] {
        socket.send(Message::text(text.clone())).unwrap();
        assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), text);
    }
    // While it is on the session is in use.
    let (_, view) = server.get_json(&session);
    assert_eq!(view["ends_at"], view["expires_at"], "{view}");
    // Another page cannot open one with the cookie, nor can anybody without it.
    assert_eq!(port.web_socket(&[("origin", "http://evil.example")]).err(), Some(403));
    assert_eq!(Port { pass: ("accept", "*/*".into()), ..port.clone() }.web_socket(&[]).err(), Some(401));
    assert_eq!(server.delete(&session).0, 200);
    assert!(socket.read().is_err());
    assert_eq!(port.status("/"), 401, "its doors closed with it");
}

#[test]
fn a_session_may_close_under_its_visitors() {
    let server = Server::start(&[]);
    let sockets = server.sockets();
    let api = Api { server: &server, key: None };
    let session = api.session_with_guest(&with_ports());
    let port = api.visit(&session, 8000);
    let mut waits = port.begin("/silent");
    wait_until("the guest was asked", || server.get(&format!("{session}/files/asked")).0 == 200);
    let mut reads = port.begin("/long");
    read_until(&mut reads, "begun");
    assert_eq!(server.delete(&session).0, 200);
    let head = read_until(&mut waits, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    drop(waits);
    let mut rest = Vec::new();
    // It ends, and what is missing is not made up.
    drop(reads.read_to_end(&mut rest));
    assert!(rest.is_empty(), "{rest:?}");
    drop(reads);
    server.wait_for_sockets(sockets);
    // Who leaves early lets go of the guest, too.
    let session = api.session_with_guest(&with_ports());
    let port = api.visit(&session, 8000);
    let open = server.sockets();
    let mut reads = port.begin("/long");
    read_until(&mut reads, "begun");
    assert!(server.sockets() > open);
    drop(reads);
    server.wait_for_sockets(open);
    // And the service ends with visitors in it.
    let mut reads = port.begin("/long");
    read_until(&mut reads, "begun");
    drop(server);
}

#[test]
fn many_come_at_once_and_each_gets_its_own() {
    let server = Server::start(&[]);
    let api = Api { server: &server, key: None };
    let sessions: Vec<_> = (0..2).map(|_| api.session_with_guest(&with_ports())).collect();
    let ports: Vec<_> = sessions.iter().map(|session| api.visit(session, 8000)).collect();
    let sockets = server.sockets();
    std::thread::scope(|scope| {
        for visitor in 0..32 {
            let port = &ports[visitor % 2];
            scope.spawn(move || {
                for number in 0..8 {
                    let (path, body) = (format!("/{visitor}/{number}"), "x".repeat(visitor * 1_000 + number));
                    let (said, told) = port.told("POST", &path, &[], body.as_bytes());
                    assert_eq!((&said["path"], &said["body"]), (&json!(path), &json!(body)));
                    assert_eq!(told["host"], port.host);
                }
            });
        }
    });
    server.wait_for_sockets(sockets);
}

/// A server in a thread of the interpreter: what runs leave behind stands still, and goes on while somebody visits.
#[test]
fn one_that_stands_still_answers() {
    let server = Server::start(&["--set", "pool.min=0", "--set", "pool.max=0"]);
    let session = open(&server, &with_ports());
    let serve = format!("import sys, threading\nsys.argv = ['guest']\n{GUEST}\n")
        .replace("if __name__ == \"__main__\":", "if False:");
    said(&server, &session, &serve);
    said(
        &server,
        &session,
        "guest = Server(('127.0.0.1', 8000), Guest); threading.Thread(target=guest.serve_forever, daemon=True).start()",
    );
    let api = Api { server: &server, key: None };
    let port = api.visit(&session, 8000);
    for _ in 0..3 {
        wait_until("it stands still", || interpreters(&server).iter().any(stands_still));
        assert_eq!(port.status("/"), 200);
    }
    // As long as a page is open, and no longer.
    let mut socket = port.web_socket(&[]).unwrap();
    socket.send(Message::text("on")).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "on");
    said(&server, &session, "print('a run meanwhile')");
    assert!(!interpreters(&server).iter().any(stands_still));
    drop(socket);
    wait_until("it stands still again", || interpreters(&server).iter().any(stands_still));
}
