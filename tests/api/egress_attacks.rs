//! Attack group NT with egress on, where more than one sandbox takes part or the proxy itself is the target: its death, its connections,
//! a neighbour's. What the proxy makes of single requests is in `crates/egress/tests/`.

use super::egress::{THROUGH, Web, asked, fetch, processes, server, verdicts};
use super::sessions::{open, run};
use fireclay_tests::Server;
use fireclay_tests::server::{PATIENCE, wait_for};
use model::{EgressVerdict, RunResult};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Instant;

fn in_session(server: &Server, session: &str, code: &str) -> RunResult {
    serde_json::from_value(run(server, session, &json!({"code": code}))).unwrap()
}

fn through(port: u16, path: &str) -> String {
    format!("{THROUGH}{}", fetch(&format!("http://localhost:{port}{path}")))
}

/// The process that serves proxies. There is a moment between two of them in which there is none.
fn process(server: &Server) -> i32 {
    let until = Instant::now() + PATIENCE;
    loop {
        if let [(pid, _)] = processes(server).as_slice() {
            return *pid;
        }
        assert!(Instant::now() < until, "there is no process for proxies");
        std::thread::yield_now();
    }
}

/// Kills the proxies' process, and waits until there is another; nobody asks for one.
fn kill_proxies(server: &Server) {
    let first = process(server);
    let dead = pidfd_open(Pid::from_raw(first).unwrap(), PidfdFlags::empty()).unwrap();
    pidfd_send_signal(&dead, Signal::KILL).unwrap();
    wait_for(&dead);
    assert_ne!(process(server), first);
}

/// Whether an attempt says that its proxy died.
fn is_loss(result: &RunResult, at: usize) -> bool {
    let tried = &result.egress[at];
    (tried.host.as_str(), tried.port, tried.verdict) == ("", 0, EgressVerdict::Failed)
        && tried.reason.contains("the proxy died")
}

/// NT-17: the proxy process dies under two sessions and a run. All of them go on by the next one, each by its own rules, and what they tried is
/// told, with the loss.
#[test]
fn a_proxy_that_dies_is_replaced_under_whoever_uses_it() {
    let (server, web) = (server(), Web::start());
    let port = web.port;
    let here = format!("localhost:{port}");
    let session = open(&server, &json!({"egress": {"allow": [here]}}));
    let other = open(&server, &json!({"egress": {"allow": ["a.test"]}}));
    let first = in_session(&server, &session, &through(port, "/1"));
    assert_eq!(first.stdout, "seen: GET /1 HTTP/1.1\n", "{first:?}");
    assert_eq!(verdicts(&first), [("localhost", port, EgressVerdict::Allowed)]);
    assert!(in_session(&server, &other, &through(port, "/no")).stdout.starts_with("403"));
    // A run that is connected when it happens, and sees its connection end.
    let code = format!(
        "{THROUGH}import socket\nidle = socket.create_connection(('127.0.0.1', 3128))\n{}\nprint('ready', flush=True)\n\
         try: idle.recv(1)\nexcept OSError: pass\n{}",
        fetch(&format!("http://{here}/before")),
        fetch(&format!("http://{here}/after"))
    );
    let mut request = asked(&code, &[&here]);
    request["limits"] = json!({"timeout_ms": 60_000});
    let id = server.submit(&request);
    let (mut ready, mut told) = (false, false);
    // Connections are let in as they come: when the second is told, the first is let in.
    for event in server.events(&id, None) {
        ready |= event.text().contains("ready");
        told |= event.kind == "egress";
        if ready && told {
            break;
        }
    }
    kill_proxies(&server);
    let result = server.settled(&id);
    let wanted = "seen: GET /before HTTP/1.1\nready\nseen: GET /after HTTP/1.1\n";
    assert_eq!(result.stdout, wanted, "{result:?}");
    let allowed = ("localhost", port, EgressVerdict::Allowed);
    assert_eq!(verdicts(&result), [allowed, ("", 0, EgressVerdict::Failed), allowed], "{result:?}");
    assert!(is_loss(&result, 1));
    // Twice: also what the next one serves goes on.
    for path in ["/2", "/3"] {
        let result = in_session(&server, &session, &through(port, path));
        assert_eq!(result.stdout, format!("seen: GET {path} HTTP/1.1\n"), "{result:?}");
        assert!(is_loss(&result, 0) && verdicts(&result)[1..] == [allowed], "{result:?}");
        let result = in_session(&server, &other, &through(port, "/no"));
        assert!(result.stdout.starts_with("403"), "{result:?}");
        assert!(is_loss(&result, 0) && result.egress[1].verdict == EgressVerdict::Refused, "{result:?}");
        if path == "/2" {
            kill_proxies(&server);
        }
    }
    // What was told is not told again, and nothing more is lost.
    let result = in_session(&server, &session, &through(port, "/4"));
    assert_eq!(verdicts(&result), [allowed], "{result:?}");
    assert!(web.seen().iter().all(|line| !line.contains("/no")), "{:?}", web.seen());
    for session in [&session, &other] {
        assert_eq!(server.delete(session).0, 200);
    }
}

/// NT-17: what a sandbox may send in all is not had anew from the next proxy.
#[test]
fn a_proxy_that_dies_gives_nobody_more_bytes() {
    let web = Web::saying(Some("x".repeat(30_000)));
    let server =
        Server::start(&["--set", "egress.private=[\"127.0.0.0/8\"]", "--set", "egress.bytes_down=50000"]);
    let session = open(&server, &json!({"egress": {"allow": [format!("localhost:{}", web.port)]}}));
    let code =
        format!("{}\n", through(web.port, "/")).replace("read().decode()", "read().decode().__len__()");
    let sum = |result: &RunResult| result.egress.iter().map(|tried| tried.bytes_down).sum::<u64>();
    let first = in_session(&server, &session, &code);
    assert_eq!(first.stdout, "30000\n", "{first:?}");
    kill_proxies(&server);
    let second = in_session(&server, &session, &code);
    assert_eq!(sum(&first) + sum(&second), 50_000, "{second:?}");
    let third = in_session(&server, &session, &code);
    assert_eq!((sum(&third), third.egress[0].verdict), (0, EgressVerdict::Refused), "{third:?}");
    // The control: another sandbox has bytes of its own.
    let own = server.run(&asked(&code, &[&format!("localhost:{}", web.port)]));
    assert_eq!(own.stdout, "30000\n", "{own:?}");
}

/// NT-17: one sandbox holds as many connections as it may, asks for many more and reads none of the answers. A neighbour does not notice, and
/// its own come back when those it holds end.
#[test]
fn excess_connections_are_a_sandboxs_own_trouble() {
    let web = Web::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, quiet) = (web.port, silent.local_addr().unwrap().port());
    let server =
        Server::start(&["--set", "egress.private=[\"127.0.0.0/8\"]", "--set", "egress.connections=8"]);
    let allow = json!({"allow": [format!("localhost:{port}"), format!("localhost:{quiet}")]});
    let greedy = open(&server, &json!({ "egress": allow }));
    let neighbour = open(&server, &json!({ "egress": allow }));
    let ask = format!(
        "import socket\nheld, more, refused = [], [], 0\n\
         def ask(port):\n\x20   s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(60)\n\
         \x20   s.sendall(f'GET http://localhost:{{port}}/ HTTP/1.1\\r\\nHost: localhost:{{port}}\\r\\n\\r\\n'.encode()); return s\n\
         for _ in range(8): held.append(ask({quiet}))\n\
         for _ in range(40):\n\x20   with ask({port}) as s: refused += s.recv(99).startswith(b'HTTP/1.1 503 there are 8 connections')\n\
         print(refused)"
    );
    // The control: before that the same way is open.
    let alone = in_session(&server, &greedy, &through(port, "/before"));
    assert_eq!(alone.stdout, "seen: GET /before HTTP/1.1\n", "{alone:?}");
    let result = in_session(&server, &greedy, &ask);
    assert_eq!(result.stdout, "40\n", "{result:?}");
    assert_eq!(result.egress.len(), 40, "{result:?}");
    let flood = "for _ in range(300):\n\x20   s = socket.socket(); s.setblocking(False); s.connect_ex(('127.0.0.1', 3128)); more.append(s)\nprint(len(more))";
    assert_eq!(in_session(&server, &greedy, flood).stdout, "300\n");
    for number in 0..3 {
        let result = in_session(&server, &neighbour, &through(port, &format!("/{number}")));
        assert_eq!(result.stdout, format!("seen: GET /{number} HTTP/1.1\n"), "{result:?}");
        assert_eq!(verdicts(&result), [("localhost", port, EgressVerdict::Allowed)]);
    }
    // The server that says nothing goes, and with it what waits for it. Until the many are gone one more may be cut off without a word.
    drop(silent);
    let let_go = "for s in held + more: s.close()\n\
        while True:\n\x20   try:\n\x20       with ask(PORT) as s:\n\x20           if s.recv(99).startswith(b'HTTP/1.1 200'): break\n\
        \x20   except ConnectionError: pass\nprint('again')";
    let result = in_session(&server, &greedy, &let_go.replace("PORT", &port.to_string()));
    assert_eq!(result.stdout, "again\n", "{result:?}");
}

/// NT-16: who asks is the listener. A neighbour's words, ids and tokens open nothing, and its listener is in no other network.
#[test]
fn a_neighbours_way_out_is_its_own() {
    let (server, web) = (server(), Web::start());
    let port = web.port;
    let mine = open(&server, &json!({"egress": {"allow": [format!("localhost:{port}")]}}));
    let other = open(&server, &json!({"egress": {"allow": ["a.test"]}}));
    let without = open(&server, &json!({}));
    let id = &mine["/v1/sessions/".len()..];
    // What it could know of its neighbour, said in every field that a proxy could take for who asks.
    let program = format!(
        "import socket\n\
         def say(to):\n\x20   try:\n\x20       s = socket.create_connection((to, 3128), timeout=20)\n\
         \x20       s.sendall(b'GET http://localhost:{port}/mine HTTP/1.1\\r\\nHost: localhost:{port}\\r\\nProxy-Authorization: Bearer {id}\\r\\n'\n\
         \x20           b'X-Session: {id}\\r\\nForwarded: for={id}\\r\\nX-Forwarded-For: {id}\\r\\nCookie: session={id}\\r\\n\\r\\n')\n\
         \x20       return s.recv(99).split(b'\\r\\n')[0].decode()[:12]\n\x20   except OSError as error: return type(error).__name__\n\
         for to in ('127.0.0.1', '127.0.0.2', '::1'): print(say(to))"
    );
    let said = |session: &str| in_session(&server, session, &program);
    let theirs = said(&other);
    let lines: Vec<&str> = theirs.stdout.lines().collect();
    assert!(
        lines.len() == 3 && lines[0] == "HTTP/1.1 403" && lines[1] == "ConnectionRefusedError",
        "{theirs:?}"
    );
    assert!(lines[2].ends_with("Error"), "{theirs:?}");
    assert_eq!(verdicts(&theirs), [("localhost", port, EgressVerdict::Refused)]);
    let nobodys = said(&without);
    let lines: Vec<&str> = nobodys.stdout.lines().collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.ends_with("Error")), "{nobodys:?}");
    assert!(nobodys.egress.is_empty() && web.seen().is_empty(), "{nobodys:?} {:?}", web.seen());
    // The control: the same bytes by its own.
    let own = said(&mine);
    assert!(own.stdout.starts_with("HTTP/1.1 200\n"), "{own:?}");
    assert_eq!(verdicts(&own), [("localhost", port, EgressVerdict::Allowed)]);
    assert_eq!(web.seen(), ["GET /mine HTTP/1.1"]);
}

/// NT-04: no spelling of a metadata service is reached by the proxy, though the operator opened all ranges that they are in.
#[test]
fn metadata_services_are_out_of_reach() {
    let web = Web::start();
    let port = web.port;
    let ranges = "egress.private=[\"127.0.0.0/8\",\"169.254.0.0/16\",\"100.64.0.0/10\",\"168.63.0.0/16\",\"fc00::/7\"]";
    let server = Server::start(&["--set", ranges]);
    let hosts = [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fe80::a9fe:a9fe%25eth0]",
        "100.100.100.200",
        "168.63.129.16",
        "metadata",
        "metadata.google.internal.",
        "METADATA.GOOGLE.INTERNAL",
        "metadata.google.internal@localhost",
        "localhost\\0.metadata.google.internal",
    ];
    let program = |hosts: &[&str], port: u16| {
        format!(
            "import json, socket\n\
             for host in json.loads(r'''{hosts}'''):\n\
             \x20   for head in (f'GET http://{{host}}:{port}/latest/meta-data/ HTTP/1.1', f'CONNECT {{host}}:{port} HTTP/1.1'):\n\
             \x20       s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(60)\n\
             \x20       s.sendall(f'{{head}}\\r\\nHost: {{host}}:{port}\\r\\nMetadata-Flavor: Google\\r\\n\\r\\n'.encode('latin-1'))\n\
             \x20       print(s.recv(4096).split(b'\\r\\n')[0].decode('latin-1')[:12])",
            hosts = json!(hosts).to_string().replace("\\\\0", "\\u0000")
        )
    };
    let allow = format!("localhost:{port}");
    let result = server.run(&asked(&program(&hosts, 80), &[&allow]));
    let lines: Vec<&str> = result.stdout.lines().collect();
    assert_eq!(lines.len(), 2 * hosts.len(), "{result:?}");
    for (at, line) in lines.iter().enumerate() {
        assert!(["HTTP/1.1 403", "HTTP/1.1 400"].contains(line), "{}: {line}", hosts[at / 2]);
    }
    assert!(result.egress.iter().all(|tried| tried.verdict == EgressVerdict::Refused), "{:?}", result.egress);
    assert_eq!(result.egress.len(), lines.len());
    // A rule cannot name their addresses.
    for host in ["169.254.169.254", "[fd00:ec2::254]", "2852039166"] {
        let (status, problem): (u16, Value) = server.post_json("/v1/runs", &asked("1", &[host]));
        assert_eq!((status, &problem["field"]), (422, &json!("egress.allow")), "{problem}");
    }
    // The control: the same two heads for what is allowed.
    let result = server.run(&asked(&program(&["localhost"], port), &[&allow]));
    assert_eq!(result.stdout, "HTTP/1.1 200\n".repeat(2), "{result:?}");
}
