//! Who is let in: keyless use is safe from pages in the browser, keys are checked, and a tenant sees nothing of another's.

use crate::api::tenancy::{Tenancy, make_key};
use fireclay_tests::http::Answer;
use fireclay_tests::{Data, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

const JSON: (&str, &str) = ("content-type", "application/json");
const PROGRAM: &[u8] = br#"{"language":"python","code":"print(1)"}"#;

/// The status of `POST /v1/runs` with these headers and nothing else, byte for byte.
fn raw(server: &Server, headers: &[&str], body: &[u8]) -> u16 {
    let mut stream = server.connect();
    let head = format!("POST /v1/runs HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    for header in headers {
        stream.write_all(format!("{header}\r\n").as_bytes()).unwrap();
    }
    stream.write_all(b"\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn without_a_key_only_names_of_this_machine_are_answered() {
    let server = Server::start(&["--set", "allowed_hosts=[\"box.example\"]"]);
    let port = server.address().port();
    let with_host = |host: &str| raw(&server, &[host, "Content-Type: application/json"], PROGRAM);
    for host in ["127.0.0.1", "localhost", "LocalHost", "127.8.8.8", "[::1]", "box.example", "Box.Example"] {
        assert_eq!(with_host(&format!("Host: {host}:{port}")), 200, "{host}");
        assert_eq!(with_host(&format!("Host: {host}")), 200, "{host}");
    }
    // A page at any of these, its name bound to our address again, has an origin that is the same as the host.
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "box.example.evil.example",
        "x@127.0.0.1",
        "",
    ] {
        assert_eq!(with_host(&format!("Host: {host}:{port}")), 403, "{host}");
        let rebound = [
            &format!("Host: {host}:{port}"),
            &format!("Origin: http://{host}:{port}"),
            "Content-Type: application/json",
        ];
        assert_eq!(raw(&server, &rebound, PROGRAM), 403, "{host}");
    }
    let twice = ["Host: 127.0.0.1", "Host: evil.example", "Content-Type: application/json"];
    assert_eq!(raw(&server, &twice, PROGRAM), 403);
}

#[test]
fn without_a_key_no_page_of_another_origin_is_answered() {
    let server = Server::start(&[]);
    let own = server.address().to_string();
    let with_origin =
        |origin: &str| server.send("POST", "/v1/runs", &[JSON, ("origin", origin)], PROGRAM).status;
    assert_eq!(with_origin(&format!("http://{own}")), 200);
    for origin in [
        "http://evil.example",
        "null",
        "",
        "https://127.0.0.1",
        "http://localhost:1",
        &format!("http://{own}.evil.example"),
    ] {
        assert_eq!(with_origin(origin), 403, "{origin}");
    }
    for path in ["/v1/runs", "/v1/settings", "/v1/keys", "/metrics", "/healthz"] {
        let answer = server.send("GET", path, &[("origin", "http://evil.example")], b"");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""), "{path}");
    }
}

#[test]
fn a_body_that_a_page_could_send_unasked_is_not_read() {
    let server = Server::start(&[]);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "x",
        "",
    ] {
        let answer = server.send("POST", "/v1/runs", &[("content-type", kind)], PROGRAM);
        assert_eq!(answer.status, 415, "{kind}");
    }
    let none = [format!("Host: {}", server.address())];
    assert_eq!(raw(&server, &[&none[0]], PROGRAM), 415);
    assert_eq!(server.get_json("/v1/runs").1["items"], json!([]));
}

#[test]
fn with_a_key_names_and_origins_do_not_matter() {
    let tenancy = Tenancy::start();
    let bearer = format!("Authorization: Bearer {}", tenancy.a);
    let headers =
        ["Host: runs.example", "Origin: http://app.example", "Content-Type: application/json", &bearer];
    assert_eq!(raw(&tenancy.server, &headers, PROGRAM), 200);
    let api_key = format!("X-Api-Key: {}", tenancy.a);
    assert_eq!(
        raw(&tenancy.server, &["Host: runs.example", "Content-Type: application/json", &api_key], PROGRAM),
        200
    );
}

#[test]
fn every_key_that_does_not_work_is_refused_in_the_same_words() {
    let tenancy = Tenancy::start();
    let body = json!({"tenant": "a", "name": "to be revoked"});
    let (_, made) = tenancy.tell(&tenancy.admin, "POST", "/v1/keys", &body);
    let revoked = made["key"].as_str().unwrap();
    assert_eq!(tenancy.ask(revoked, "GET", "/v1/runs").0, 200);
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(tenancy.ask(&tenancy.admin, "DELETE", &path).0, 204);
    let expired = make_expired(&tenancy);

    let (public, secret) = tenancy.a.split_at("fc_0000000000_".len());
    let flipped = if secret.starts_with('A') { 'B' } else { 'A' };
    let wrong_secret = format!("{public}{flipped}{}", &secret[1..]);
    let unknown = format!("fc_0000000000_{}", "A".repeat(43));
    let told: Vec<Answer> = [revoked, &expired, &wrong_secret, &unknown, "x", "fc_", &"k".repeat(8000)]
        .iter()
        .map(|key| tenancy.answer(key, "GET", "/v1/runs", None))
        .collect();
    for answer in &told {
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer realm=\"fireclay\""));
        assert_eq!(answer.text(), told[0].text());
    }
    let keyless = tenancy.server.send("GET", "/v1/runs", &[], b"");
    assert_eq!((keyless.status, keyless.header("content-type")), (401, "application/problem+json"));
}

/// A key that has just expired: asked until it is refused.
fn make_expired(tenancy: &Tenancy) -> String {
    let made = soon_expired(|expires_at| {
        let soon = json!({"tenant": "a", "expires_at": expires_at});
        tenancy.tell(&tenancy.admin, "POST", "/v1/keys", &soon)
    });
    let key = made["key"].as_str().unwrap().to_owned();
    while tenancy.ask(&key, "GET", "/v1/limits").0 == 200 {
        std::thread::yield_now();
    }
    key
}

/// What is made to expire soon. On a busy machine a time that is too soon has passed before the service reads it: then a later one.
fn soon_expired(make: impl Fn(String) -> (u16, Value)) -> Value {
    let mut tries = (0..8).map(|doubled| make(worker::run::time(now_ms() + (200 << doubled))));
    tries.find_map(|(status, made)| (status == 201).then_some(made)).expect("it is made")
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[test]
fn once_there_was_a_key_nobody_is_let_in_without_one() {
    let server = Server::start(&[]);
    let made = soon_expired(|expires_at| {
        server.post_json("/v1/keys", &json!({"role": "admin", "expires_at": expires_at}))
    });
    assert_eq!(server.get_json("/v1/runs").0, 401);
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    // It cannot be revoked, being the last, but it expires.
    while server.send("GET", "/v1/runs", &[("authorization", &bearer)], b"").status == 200 {
        std::thread::yield_now();
    }
    // The last key is gone; whoever finds the port is not its owner for that, also after a restart.
    assert_eq!(server.get_json("/v1/runs").0, 401);
    let data = server.data.clone();
    drop(server);
    let server = Server::start_in(&data, &[]);
    assert_eq!(server.get_json("/v1/runs").0, 401);
    for path in ["/healthz", "/readyz", "/version", "/openapi.json", "/v1/health/", "/v1/keys/receipt"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
}

#[test]
fn nothing_of_a_tenant_is_there_for_another() {
    let tenancy = Tenancy::start();
    let of_a = tenancy.run(&tenancy.a);
    let of_b = tenancy.run(&tenancy.b);
    let absent = format!("run_{}", "0".repeat(26));
    for (method, end) in [("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/artifacts/left.txt")] {
        let told = |id: &str| {
            let (status, problem) = tenancy.ask(&tenancy.b, method, &format!("/v1/runs/{id}{end}"));
            (status, problem.to_string().replace(id, "ID"))
        };
        let foreign = told(&of_a);
        assert_eq!(foreign.0, 404, "{method} {end}");
        assert_eq!(foreign, told(&absent), "{method} {end}");
        assert_eq!(
            tenancy
                .answer(
                    &tenancy.a,
                    if method == "DELETE" { "GET" } else { method },
                    &format!("/v1/runs/{of_a}{end}"),
                    None
                )
                .status,
            200
        );
    }
    for list in [
        "/v1/runs",
        "/v1/runs?metadata=label%3Dx",
        "/v1/runs?text=secret",
        "/v1/keys",
        "/v1/tenants",
        "/v1/usage",
        "/v1/audit",
        "/v1/quotas",
        "/v1/limits",
    ] {
        let (status, page) = tenancy.ask(&tenancy.b, "GET", list);
        let text = page.to_string();
        assert_eq!(status, 200, "{list}: {text}");
        assert!(!text.contains(&of_a) && !text.contains("\"a\"") && !text.contains("of a"), "{list}: {text}");
    }
    let (_, runs) = tenancy.ask(&tenancy.b, "GET", "/v1/runs");
    assert_eq!((runs["items"].as_array().unwrap().len(), &runs["items"][0]["id"]), (1, &json!(of_b)));
    for foreign in ["/v1/quotas/a", "/v1/keys?tenant=a", "/v1/usage?tenant=a", "/v1/audit?tenant=a"] {
        let told = |path: &str, name: &str| {
            let (status, problem) = tenancy.ask(&tenancy.b, "GET", path);
            (status, problem.to_string().replace(&format!("\\\"{name}\\\""), "NAME"))
        };
        let absent = if foreign.contains('=') {
            foreign.replace("=a", "=nobody")
        } else {
            "/v1/quotas/nobody".to_owned()
        };
        assert_eq!(told(foreign, "a").0, 404, "{foreign}");
        assert_eq!(told(foreign, "a"), told(&absent, "nobody"), "{foreign}");
    }
}

#[test]
fn the_same_idempotency_key_of_two_tenants_is_two_runs() {
    let tenancy = Tenancy::start();
    let submit = |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [JSON, ("authorization", bearer.as_str()), ("idempotency-key", "one")];
        let (status, result) = tenancy.server.send("POST", "/v1/runs", &headers, PROGRAM).into_json();
        assert_eq!(status, 200, "{result}");
        result["id"].clone()
    };
    let first = submit(&tenancy.a);
    assert_eq!(submit(&tenancy.a), first);
    assert_ne!(submit(&tenancy.b), first);
}

#[test]
fn what_needs_an_administrator_is_refused_to_others() {
    let tenancy = Tenancy::start();
    let (_, keys) = tenancy.ask(&tenancy.a, "GET", "/v1/keys");
    let own = format!("/v1/keys/{}", keys["items"][0]["id"].as_str().unwrap());
    let calls: [(&str, &str, Option<Value>); 8] = [
        ("POST", "/v1/keys", Some(json!({}))),
        ("DELETE", &own, None),
        ("PUT", "/v1/quotas/a", Some(json!({"rate_per_minute": 0}))),
        ("PUT", "/v1/quotas/b", Some(json!({"concurrency": 0}))),
        ("GET", "/v1/settings", None),
        ("GET", "/v1/doctor", None),
        ("GET", "/v1/audit/verify", None),
        ("GET", "/metrics", None),
    ];
    for (method, path, body) in &calls {
        let answer = tenancy.answer(&tenancy.a, method, path, body.as_ref());
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    assert_eq!(tenancy.ask(&tenancy.a, "GET", "/v1/keys").0, 200);
}

#[test]
fn an_address_that_others_reach_needs_a_key_first() {
    let data = Data::fresh();
    let refused = data.command(&["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("`fireclay key create --role admin`"), "{said}");
    assert!(refused.stdout.is_empty());

    make_key(&data, &["--role", "admin"]);
    let mut child = data.command(&["serve", "--listen", "0.0.0.0:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("fireclay serves http://0.0.0.0:"), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
