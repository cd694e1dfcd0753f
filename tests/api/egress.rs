//! The way out of sandboxes: what a request names is reached, by the proxy and by nothing else, and all that is tried is told. Attack
//! group NT with egress on; servers are ours, on this machine's own addresses.

use super::sessions::open;
use fireclay_tests::Server;
use model::{EgressVerdict, RunResult};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// A web server of this machine, on loopback: says what it was asked.
pub struct Web {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub fn start() -> Self {
        Self::saying(None)
    }

    /// One that answers everything with this; else with what it was asked.
    pub fn saying(body: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let told = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, body) = (Arc::clone(&told), body.clone());
                std::thread::spawn(move || answer(stream, &told, body));
            }
        });
        Self { port, seen }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, told: &Mutex<Vec<String>>, body: Option<String>) {
    let mut lines = BufReader::new(&stream);
    let (mut head, mut first) = (String::new(), String::new());
    lines.read_line(&mut first).unwrap_or_default();
    while head != "\r\n" && !first.is_empty() {
        head.clear();
        if lines.read_line(&mut head).unwrap_or_default() == 0 {
            break;
        }
    }
    told.lock().unwrap().push(first.trim().to_owned());
    let body = body.unwrap_or_else(|| format!("seen: {}", first.trim()));
    let text =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    drop((&stream).write_all(text.as_bytes()));
}

/// With loopback opened by the operator: what is refused then is refused by a rule.
pub fn server() -> Server {
    Server::start(&["--set", "egress.private=[\"127.0.0.0/8\"]"])
}

/// Python that prints what is at a URL, or why it is not had.
pub fn fetch(url: &str) -> String {
    format!(
        "import urllib.request, urllib.error\ntry:\n    print(urllib.request.urlopen('{url}', timeout=20).read().decode())\n\
         except urllib.error.HTTPError as error:\n    print(error.code, error.reason)\n\
         except OSError as error:\n    print('no way:', error)"
    )
}

pub fn asked(code: &str, allow: &[&str]) -> Value {
    json!({"language": "python", "code": code, "egress": {"allow": allow}})
}

/// What a result says was tried.
pub fn verdicts(result: &RunResult) -> Vec<(&str, u16, EgressVerdict)> {
    result.egress.iter().map(|tried| (tried.host.as_str(), tried.port, tried.verdict)).collect()
}

/// `no_proxy` names loopback; a program that asks its proxy for it all the same is refused nothing but by rules.
pub const THROUGH: &str = "import os; os.environ.pop('no_proxy', 0), os.environ.pop('NO_PROXY', 0)\n";

#[test]
fn what_is_named_is_reached_and_told() {
    let (server, web) = (server(), Web::start());
    let code = format!("{THROUGH}{}", fetch(&format!("http://localhost:{}/a?b=1", web.port)));
    let result = server.run(&asked(&code, &[&format!("localhost:{}", web.port)]));
    assert_eq!(result.stdout, "seen: GET /a?b=1 HTTP/1.1\n", "{result:?}");
    assert_eq!(verdicts(&result), [("localhost", web.port, EgressVerdict::Allowed)]);
    assert!(result.egress[0].bytes_up > 20 && result.egress[0].bytes_down > 20, "{:?}", result.egress);
    // The same as an event, before the end.
    let events: Vec<_> = server.stream(&asked(&code, &[&format!("localhost:{}", web.port)])).collect();
    let tried = events.iter().position(|event| event.kind == "egress").unwrap();
    assert_eq!(events[tried].data["verdict"], "allowed");
    assert_eq!(events.last().unwrap().kind, "settled");
    assert!(tried < events.len() - 1);
}

#[test]
fn what_is_not_named_is_refused_and_told() {
    let (server, web) = (server(), Web::start());
    let code = format!("{THROUGH}{}", fetch(&format!("http://localhost:{}/", web.port)));
    for allow in [vec!["a.test"], vec!["localhost"], vec!["localhost:1"]] {
        let result = server.run(&asked(&code, &allow));
        assert!(result.stdout.starts_with("403 localhost:"), "{allow:?}: {result:?}");
        assert_eq!(verdicts(&result), [("localhost", web.port, EgressVerdict::Refused)]);
    }
    // Without the field there is no way at all, and no proxy to ask; an empty list is the same.
    for request in [json!({"language": "python", "code": code}), asked(&code, &[])] {
        let request = server.run(&request);
        assert!(!request.stdout.contains("seen"), "{request:?}");
        assert!(request.egress.is_empty());
    }
    assert_eq!(web.seen(), Vec::<String>::new());
}

/// The control of the test before: the operator's word, which no request can give.
#[test]
fn private_addresses_are_the_operators_to_open() {
    let (server, web) = (Server::start(&[]), Web::start());
    let port = web.port;
    let code = format!("{THROUGH}{}", fetch(&format!("http://localhost:{port}/")));
    let result = server.run(&asked(&code, &[&format!("localhost:{port}")]));
    assert!(result.stdout.contains("403") && result.stdout.contains("egress.private"), "{result:?}");
    assert_eq!(web.seen(), Vec::<String>::new());
    let wrong = json!({"language": "python", "code": "1", "egress": {"allow": ["a.test"], "private": ["127.0.0.0/8"]}});
    assert_eq!(server.post_json("/v1/runs", &wrong).0, 422);
}

/// Every way around the proxy that a program can try: none leads anywhere, with a proxy in reach or without.
#[test]
fn there_is_no_way_around_the_proxy() {
    let (server, web) = (server(), Web::start());
    let tries = format!(
        "import socket\n\
         def attempt(name, family, kind, to):\n\
         \x20   try:\n\
         \x20       s = socket.socket(family, kind); s.settimeout(3); s.connect(to); s.send(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(name, 'sent', s.recv(9))\n\
         \x20   except OSError as e: print(name, 'refused', e.errno)\n\
         I, S, D = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM\n\
         attempt('loopback', I, S, ('127.0.0.1', {port}))\n\
         attempt('any', I, S, ('0.0.0.0', {port}))\n\
         attempt('metadata', I, S, ('169.254.169.254', 80))\n\
         attempt('public', I, S, ('192.0.2.1', 80))\n\
         attempt('dns', I, D, ('8.8.8.8', 53))\n\
         attempt('six', socket.AF_INET6, S, ('::1', {port}))\n\
         attempt('mapped', socket.AF_INET6, S, ('::ffff:127.0.0.1', {port}))\n\
         for family, kind in [(socket.AF_PACKET, socket.SOCK_RAW), (I, socket.SOCK_RAW), (socket.AF_NETLINK, socket.SOCK_RAW), (40, S)]:\n\
         \x20   try: socket.socket(family, kind); print('made', family)\n\
         \x20   except OSError as e: pass\n\
         try: print(socket.gethostbyname('localhost.'), socket.gethostbyname('example.org'))\n\
         except OSError as e: print('no names')\n",
        port = web.port
    );
    let result = server.run(&asked(&tries, &["example.org", &format!("localhost:{}", web.port)]));
    assert!(!result.stdout.contains("sent"), "{}", result.stdout);
    assert!(result.stdout.contains("no names"), "{}", result.stdout);
    assert_eq!(result.stdout.matches("refused").count(), 7, "{}", result.stdout);
    assert_eq!(web.seen(), Vec::<String>::new());
    // The control: the same program without a sandbox around it.
    let outside = std::process::Command::new("python3").args(["-c", &tries]).output().unwrap();
    let said = String::from_utf8_lossy(&outside.stdout);
    assert!(said.contains("loopback sent"), "{said}");
    assert!(!web.seen().is_empty());
}

/// What confused other proxies: each is refused, and nothing reaches the server.
#[test]
fn the_proxy_is_asked_in_every_wrong_way() {
    let (server, web) = (server(), Web::start());
    let port = web.port;
    let heads = [
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT 2130706433:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT 0x7f.1:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT [::1]:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT localhost\\x00.a.test:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT localhost.:{port} HTTP/1.1\r\n\r\n"),
        format!("GET http://localhost:{port}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        format!("GET http://user@localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
        format!(
            "POST http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
        ),
        format!(
            "POST http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("TRACE http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
    ];
    let program = |heads: &[String]| {
        let heads = json!(heads).to_string().replace("\\\\x00", "\\u0000");
        format!(
            "import json, socket\nfor head in json.loads(r'''{heads}'''):\n    s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(20)\n    s.sendall(head.encode('latin-1')); print(s.recv(4096).split(b'\\r\\n')[0].decode()[:60])"
        )
    };
    let allow = [format!("localhost:{port}")];
    let result = server.run(&asked(&program(&heads), &[&allow[0]]));
    let lines: Vec<&str> = result.stdout.lines().collect();
    assert_eq!(lines.len(), heads.len(), "{result:?}");
    assert!(lines.iter().all(|line| line.starts_with("HTTP/1.1 4")), "{lines:#?}");
    assert_eq!(web.seen(), Vec::<String>::new());
    // The control: the same way of asking, in order.
    let good = [format!("GET http://localhost:{port}/ok HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")];
    let result = server.run(&asked(&program(&good), &[&allow[0]]));
    assert_eq!(result.stdout, "HTTP/1.1 200 OK\n", "{result:?}");
    assert_eq!(web.seen(), ["GET /ok HTTP/1.1"]);
}

#[test]
fn wrong_hosts_are_rejected_and_the_operator_has_the_last_word() {
    let server = Server::start(&["--set", "egress.within=[\"*.example.org\"]"]);
    let rejected = |allow: Value| {
        server.post_json("/v1/runs", &json!({"language": "python", "code": "1", "egress": {"allow": allow}}))
    };
    for (entry, words) in [
        ("1.2.3.4", "IP address"),
        ("https://a.test", "URL"),
        ("*", "wildcard"),
        ("*.com", "top-level"),
        ("10.0.0.0/8", "slash"),
    ] {
        let (status, problem) = rejected(json!([entry]));
        assert_eq!(status, 422, "{problem}");
        assert_eq!(problem["field"], "egress.allow");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    let outside = server.run(&asked(&fetch("http://a.test/"), &["a.test"]));
    assert!(outside.stdout.contains("egress.within"), "{outside:?}");
    let closed = Server::start(&["--set", "egress.enabled=false"]);
    let (status, problem) = closed.post_json("/v1/runs", &asked("1", &["a.test"]));
    assert_eq!((status, problem["field"].as_str()), (422, Some("egress.allow")), "{problem}");
    for wrong in
        ["egress.within=[\"1.2.3.4\"]", "egress.private=[\"10.0.0.0/99\"]", "egress.tunnels=[\"a.test\"]"]
    {
        let data = fireclay_tests::Data::fresh();
        let said = Server::try_start_in(&data, &["--set", wrong]).err().unwrap();
        assert!(said.contains(wrong.split('=').next().unwrap()), "{said}");
    }
}

#[test]
fn a_session_reaches_what_it_was_opened_with_in_every_language() {
    let (server, web) = (server(), Web::start());
    let port = web.port;
    let session = open(&server, &json!({"egress": {"allow": [format!("localhost:{port}")]}}));
    let run = |code: &str, language: &str| {
        let (status, result) =
            server.post_json(&format!("{session}/runs"), &json!({"code": code, "language": language}));
        assert_eq!(status, 200, "{result}");
        result
    };
    for number in 0..2 {
        let result =
            run(&format!("{THROUGH}{}", fetch(&format!("http://localhost:{port}/{number}"))), "python");
        assert_eq!(result["stdout"], format!("seen: GET /{number} HTTP/1.1\n"), "{result}");
        assert_eq!(result["egress"][0]["verdict"], "allowed", "{result}");
    }
    let result = run(&format!("unset no_proxy NO_PROXY; curl -s http://localhost:{port}/c"), "bash");
    assert_eq!(result["stdout"], "seen: GET /c HTTP/1.1", "{result}");
    let (status, problem) = server.post_json(&format!("{session}/runs"), &asked("1", &["a.test"]));
    assert_eq!((status, problem["field"].as_str()), (422, Some("egress")), "{problem}");
}

/// The processes that serve proxies of a service, and what `/proc` says of each.
pub fn processes(server: &Server) -> Vec<(i32, String)> {
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let ours = status.contains(&format!("\nPPid:\t{}\n", server.pid().as_raw_nonzero()));
        (ours && line.ends_with("\0egress\0")).then_some((pid, status))
    });
    children.collect()
}

/// The proxies' process has an id of its own, no capability, and a filter; killed, it costs connections and nothing else.
#[test]
fn the_process_of_the_proxies_is_confined_and_replaced() {
    let (server, web) = (server(), Web::start());
    let found = processes(&server);
    let [(pid, status)] = found.as_slice() else { panic!("{found:?}") };
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(
        status.contains("CapEff:\t0000000000000000") && status.contains("CapPrm:\t0000000000000000"),
        "{status}"
    );
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    if rustix::process::geteuid().is_root() {
        assert!(!uid.contains("\t0"), "{uid}");
    }
    kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).unwrap();
    let code = format!("{THROUGH}{}", fetch(&format!("http://localhost:{}/again", web.port)));
    let result = server.run(&asked(&code, &[&format!("localhost:{}", web.port)]));
    assert_eq!(result.stdout, "seen: GET /again HTTP/1.1\n", "{result:?}");
}

/// httpx and requests bring lists of certificates, and go by the one of the machine here, as what is of OpenSSL does anyway. Of the index, whose
/// certificate may be of this network's own authority.
#[test]
fn clients_with_lists_of_their_own_trust_whom_the_machine_trusts() {
    let server = super::packages::start(&fireclay_tests::Data::fresh(), &[]);
    let code = "import httpx, os, requests, ssl, subprocess, urllib.request\nurl = 'https://pypi.org/simple/six/'\n\
        print(urllib.request.urlopen(url, timeout=60).status, requests.get(url, timeout=60).status_code, httpx.get(url, timeout=60).status_code)\n\
        print(subprocess.run(['curl', '-so', '/dev/null', '-w', '%{http_code}', url], capture_output=True, text=True).stdout)\n\
        print(len({os.environ[name] for name in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'NODE_EXTRA_CA_CERTS')}))\n\
        try: httpx.get(url, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), timeout=60)\n\
        except httpx.ConnectError as error: print('CERTIFICATE_VERIFY_FAILED' in str(error))";
    let mut request = asked(code, &["pypi.org"]);
    request["packages"] = json!(["httpx", "requests"]);
    request["limits"] = json!({"timeout_ms": 60_000});
    let result = super::packages::completed(&server, &request);
    // The last is the control: whom a program does not trust it does not speak to.
    assert_eq!(result.stdout, "200 200 200\n200\n1\nTrue\n", "{result:?}");
    assert_eq!(result.egress.len(), 5, "{:?}", result.egress);
    // What a request says itself wins.
    request["env"] = json!({"SSL_CERT_FILE": "/nowhere"});
    request["code"] = json!("import os; print(os.environ['SSL_CERT_FILE'])");
    assert_eq!(super::packages::completed(&server, &request).stdout, "/nowhere\n");
}

/// Serves the files of a directory over TLS; arguments: certificate with its key, and the directory. Prints its port.
const TLS_FILES: &str = "import functools, http.server, ssl, sys\n\
    class Handler(http.server.SimpleHTTPRequestHandler):\n\
    \x20   def log_message(self, *_): pass\n\
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
    context.load_cert_chain(sys.argv[1])\n\
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=sys.argv[2]))\n\
    server.handle_error = lambda *_: None\n\
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)\n\
    print(server.server_address[1], flush=True)\n\
    server.serve_forever()\n";

/// `git clone` and httpx over TLS from a server of ours, whose authority the run brings and trusts. Controls: without the host, and without the authority,
/// neither gets anything.
#[test]
fn git_clones_and_httpx_gets_over_tls() {
    let place = tempfile::tempdir().unwrap();
    super::secrets::certificates(place.path());
    let shell = "mkdir work files && cd work && git init -q -b main . && git config user.email a@b && git config user.name n && echo fired > kiln.txt && \
                 git add . && git commit -qm first && git clone -q --bare . ../files/kiln.git && git -C ../files/kiln.git update-server-info";
    let made = Command::new("sh").args(["-c", shell]).current_dir(place.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut serving = Command::new("python3")
        .args(["-c", TLS_FILES])
        .args([place.path().join("server.pem"), place.path().join("files")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let host = format!("localhost:{}", port.trim());
    let data = fireclay_tests::Data::fresh();
    let opened = super::packages::index().replace(']', ",\"127.0.0.0/8\"]");
    let server = Server::start_in(&data, &["--set", &opened]);
    let authority = std::fs::read_to_string(place.path().join("ca.pem")).unwrap();
    let request = |language: &str, code: &str, allow: &[&str], ca: &str| {
        json!({"language": language, "code": code, "egress": {"allow": allow}, "files": [{"path": "ca.pem", "text": authority}],
            "env": {"no_proxy": "", "NO_PROXY": "", "GIT_SSL_CAINFO": ca, "SSL_CERT_FILE": ca}, "limits": {"timeout_ms": 60_000}})
    };
    let clone =
        format!("git clone -q https://{host}/kiln.git && cat kiln/kiln.txt && git -C kiln log --format=%s");
    let get = format!(
        "import httpx\ntry: print(httpx.get('https://{host}/kiln.git/HEAD', timeout=60).text)\nexcept httpx.HTTPError as error: print(error)"
    );
    let (own, machines) = ("/workspace/ca.pem", "/etc/ssl/certs/ca-certificates.crt");
    let httpx = |allow: &[&str], ca: &str| {
        let mut request = request("python", &get, allow, ca);
        request["packages"] = json!(["httpx"]);
        super::packages::completed(&server, &request)
    };
    let cloned = server.run(&request("bash", &clone, &[&host], own));
    assert_eq!(cloned.stdout, "fired\nfirst\n", "{cloned:?}");
    let tried = verdicts(&cloned);
    assert!(
        !tried.is_empty()
            && tried
                .iter()
                .all(|one| *one == ("localhost", port.trim().parse().unwrap(), EgressVerdict::Allowed))
    );
    assert_eq!(httpx(&[&host], own).stdout, "ref: refs/heads/main\n\n");
    let closed = server.run(&request("bash", &clone, &["a.test"], own));
    assert!(closed.exit_code == Some(128) && closed.stderr.contains("403"), "{closed:?}");
    assert!(httpx(&["a.test"], own).stdout.starts_with("403 localhost:"));
    let distrusts = server.run(&request("bash", &clone, &[&host], machines));
    assert!(distrusts.exit_code == Some(128) && distrusts.stderr.contains("certificate"), "{distrusts:?}");
    assert!(httpx(&[&host], machines).stdout.contains("CERTIFICATE_VERIFY_FAILED"));
    serving.kill().unwrap();
    serving.wait().unwrap();
}

/// Node before 24 has no proxy for `fetch`; the runner gives it one, and what Node 24 does itself is the same.
#[test]
fn fetch_of_node_goes_by_the_proxy() {
    let (server, web) = (server(), Web::start());
    let fetch = |url: &str| format!("console.log(await (await fetch('{url}')).text());");
    let port = web.port;
    let code = format!(
        "try {{ {} }} catch (error) {{ console.log(error.message, error.cause?.message) }}\n\
         const no = await fetch('http://localhost:{port}/', {{method: 'POST', body: 'x'.repeat(9)}}); console.log(no.status);\n\
         try {{ await fetch('https://nowhere.test/') }} catch (error) {{ console.log(error.cause.message) }}",
        fetch(&format!("http://localhost:{port}/a?b"))
    );
    let request = json!({"language": "javascript", "code": code, "egress": {"allow": [format!("localhost:{port}")]},
        "env": {"no_proxy": "", "NO_PROXY": ""}});
    let result = server.run(&request);
    let lines: Vec<&str> = result.stdout.lines().collect();
    assert_eq!(lines[..2], ["seen: GET /a?b HTTP/1.1", "200"], "{result:?}");
    assert!(lines[2].contains("nowhere.test:443"), "{result:?}");
    let told = verdicts(&result);
    assert_eq!(
        told.iter().filter(|(_, _, verdict)| *verdict == EgressVerdict::Refused).count(),
        1,
        "{told:?}"
    );
    // Without a way out there is no proxy to ask.
    let result = server.run(&json!({"language": "javascript", "code": code}));
    assert!(!result.stdout.contains("seen") && web.seen().len() == 2, "{result:?}");
}
