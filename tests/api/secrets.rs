//! Secrets by reference: code uses them toward the host that they are for, over TLS, and never has them. The server is real, with a
//! certificate below an authority that the operator names (`egress.ca`).

use super::sessions::{open, run};
use super::tenancy::Tenancy;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const VALUE: &str = "s3cr3t-of-the-tenant-0123456789";
/// `no_proxy` names loopback, where the server of these tests is.
const THROUGH: &str = "import os; os.environ.pop('no_proxy'), os.environ.pop('NO_PROXY')\n";

struct Tls {
    port: u16,
    seen: PathBuf,
    ca: PathBuf,
    _child: Child,
    place: tempfile::TempDir,
}

impl Tls {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        certificates(place.path());
        let seen = place.path().join("seen");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("api/secrets_server.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([&place.path().join("server.pem"), &seen])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (port, ca) = (line.trim().parse().unwrap(), place.path().join("ca.pem"));
        Self { port, seen, ca, _child: child, place }
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Requests that arrived.
    fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.seen).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A service that trusts it.
    fn server(&self) -> Server {
        Server::start(&[
            "--set",
            "egress.private=[\"127.0.0.0/8\"]",
            "--set",
            &format!("egress.ca={:?}", self.ca),
        ])
    }

    fn keep(&self, server: &Server) {
        let (status, kept) = put(server, "TOKEN", &json!({"value": VALUE, "hosts": [self.host()]}));
        assert_eq!((status, &kept["hosts"]), (201, &json!([self.host()])), "{kept}");
    }

    fn asked(&self, language: &str, code: &str) -> Value {
        json!({"language": language, "code": code, "egress": {"secrets": {"TOKEN": self.host()}}})
    }

    fn python(&self, headers: &str) -> String {
        format!(
            "{THROUGH}import urllib.request, urllib.error, base64\nT = os.environ['TOKEN']\nprint(T)\n\
             try: print(urllib.request.urlopen(urllib.request.Request('https://{}/x?t=' + T, headers={headers}), timeout=20).read().decode())\n\
             except urllib.error.HTTPError as e: print(e.code, e.reason)\n\
             except OSError as e: print('no way:', e)\n",
            self.host()
        )
    }
}

/// An authority (`ca.pem`), and a certificate below it for `localhost` with its key (`server.pem`).
pub fn certificates(place: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let done = command.current_dir(place).args(arguments.split_whitespace()).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(place.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {curve} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"));
    openssl(&format!("req {curve} -keyout key.pem -out request.pem -subj /CN=server"));
    openssl(
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    );
    let parts = ["key.pem", "cert.pem"].map(|name| std::fs::read(place.join(name)).unwrap());
    std::fs::write(place.join("server.pem"), parts.concat()).unwrap();
}

fn put(server: &Server, name: &str, asked: &Value) -> (u16, Value) {
    let json = [("content-type", "application/json")];
    server.send("PUT", &format!("/v1/secrets/{name}"), &json, asked.to_string().as_bytes()).into_json()
}

/// Whether these bytes are in any file below a directory.
fn is_below(place: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(place).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => !path.ends_with("images") && is_below(&path, bytes),
            kind if kind.is_file() => {
                std::fs::read(&path).unwrap_or_default().windows(bytes.len()).any(|window| window == bytes)
            }
            _ => false,
        }
    })
}

#[test]
fn code_uses_a_secret_and_never_has_it() {
    let tls = Tls::start();
    let server = tls.server();
    tls.keep(&server);
    let code = tls.python("{'Authorization': 'Bearer ' + T, 'X-Basic': 'none', 'Cookie': 'a=' + T}");
    let result = server.run(&tls.asked("python", &code));
    let lines: Vec<&str> = result.stdout.lines().collect();
    assert_eq!(lines[0], "fireclay-secret-TOKEN", "{result:?}");
    // The server got it, in fields and nowhere else; what it said again is masked.
    let seen = &tls.seen()[0];
    assert_eq!(seen["fields"]["authorization"], format!("Bearer {VALUE}"), "{result:?}");
    assert_eq!(seen["fields"]["cookie"], format!("a={VALUE}"));
    assert_eq!(seen["path"], "/x?t=fireclay-secret-TOKEN");
    let echoed: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(echoed["fields"]["authorization"], format!("Bearer {}", "*".repeat(VALUE.len())));
    assert_eq!(result.egress.len(), 1);
    assert_eq!((result.egress[0].host.as_str(), result.egress[0].port), ("localhost", tls.port));
    // User and password are one field, in base64.
    let basic = "{'Authorization': 'Basic ' + base64.b64encode(('me:' + T).encode()).decode()}";
    server.run(&tls.asked("python", &tls.python(basic)));
    let field = tls.seen()[1]["fields"]["authorization"].clone();
    let wanted = Command::new("python3")
        .args(["-c", "import base64, sys; print(base64.b64encode(sys.argv[1].encode()).decode(), end='')"])
        .arg(format!("me:{VALUE}"))
        .output()
        .unwrap();
    assert_eq!(field, format!("Basic {}", String::from_utf8_lossy(&wanted.stdout)));
    // A body goes as it is.
    let posted = format!(
        "{THROUGH}import urllib.request\nT = os.environ['TOKEN']\n\
         urllib.request.urlopen(urllib.request.Request('https://{}/', data=T.encode() * 3, headers={{'X-Key': T}}), timeout=20)",
        tls.host()
    );
    server.run(&tls.asked("python", &posted));
    let seen = &tls.seen()[2];
    assert_eq!(
        (&seen["body"], &seen["fields"]["x-key"]),
        (&json!("fireclay-secret-TOKEN".repeat(3)), &json!(VALUE))
    );
    // Nothing of it is in an answer or on the disk; the control: its name is.
    let (_, listed) = server.get("/v1/secrets");
    assert!(!String::from_utf8_lossy(&listed).contains(VALUE));
    let runs = server.get("/v1/runs?limit=50").1;
    assert!(!String::from_utf8_lossy(&runs).contains(VALUE));
    let data = server.kill();
    assert!(!is_below(data.path(), VALUE.as_bytes()));
    assert!(is_below(data.path(), b"fireclay-secret-TOKEN"));
}

#[test]
fn other_clients_and_sessions_use_it_as_they_are() {
    let tls = Tls::start();
    let server = tls.server();
    tls.keep(&server);
    let host = tls.host();
    let curl =
        format!("unset no_proxy NO_PROXY; echo $TOKEN; curl -sS -H \"x-key: $TOKEN\" https://{host}/curl");
    let result = server.run(&tls.asked("bash", &curl));
    assert!(result.stdout.starts_with("fireclay-secret-TOKEN\n"), "{result:?}");
    let node = format!(
        "delete process.env.no_proxy; delete process.env.NO_PROXY;\n\
         const answer = await fetch('https://{host}/node', {{headers: {{'x-key': process.env.TOKEN}}}});\n\
         console.log(answer.status)"
    );
    let ran = server.run(&json!({"language": "javascript", "code": node, "file_name": "main.mjs",
        "env": {"no_proxy": "", "NO_PROXY": ""}, "egress": {"secrets": {"TOKEN": host}}}));
    assert_eq!(ran.stdout, "200\n", "{ran:?}");
    let session = open(&server, &json!({"template": "python", "egress": {"secrets": {"TOKEN": host}}}));
    let code = tls.python("{'x-key': T}").replace("/x?t=' + T", "/session'");
    let ran = run(&server, &session, &json!({"code": code}));
    assert!(ran["stdout"].as_str().unwrap().starts_with("fireclay-secret-TOKEN\n"), "{ran}");
    let seen = tls.seen();
    let paths: Vec<_> = seen.iter().map(|seen| seen["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/curl", "/node", "/session"]);
    assert!(seen.iter().all(|seen| seen["fields"]["x-key"] == VALUE), "{seen:?}");
}

/// What would give it away: each is refused or carries nothing.
#[test]
fn it_goes_to_nobody_else() {
    let (tls, other) = (Tls::start(), Tls::start());
    let server = tls.server();
    tls.keep(&server);
    // Another host gets what the program has.
    let code = tls.python("{'x-key': T}").replace(&tls.host(), &other.host());
    let mut asked = tls.asked("python", &code);
    asked["egress"]["allow"] = json!([other.host()]);
    asked["env"] = json!({"SSL_CERT_FILE": "/workspace/ca.pem"});
    asked["files"] = json!([{"path": "ca.pem", "text": std::fs::read_to_string(&other.ca).unwrap()}]);
    let result = server.run(&asked);
    assert_eq!(other.seen()[0]["fields"]["x-key"], "fireclay-secret-TOKEN", "{result:?}");
    // Not in the clear.
    let plain = tls.python("{'x-key': T}").replace("https://", "http://");
    let result = server.run(&tls.asked("python", &plain));
    assert!(result.stdout.contains("403") && result.stdout.contains("over TLS only"), "{result:?}");
    // A server that is not who it should be: the request is not sent.
    let stranger = Server::start(&["--set", "egress.private=[\"127.0.0.0/8\"]"]);
    tls.keep(&stranger);
    let result = stranger.run(&tls.asked("python", &tls.python("{'x-key': T}")));
    assert!(result.stdout.contains("502") && result.stdout.contains("certificate"), "{result:?}");
    assert_eq!(tls.seen(), Vec::<Value>::new());
    // Another Host behind the right name.
    let fronted = tls.python("{'x-key': T, 'Host': 'other.test'}");
    let result = server.run(&tls.asked("python", &fronted));
    assert!(result.stdout.contains("400"), "{result:?}");
    assert_eq!(tls.seen(), Vec::<Value>::new());
    // The control of them all.
    let result = server.run(&tls.asked("python", &tls.python("{'x-key': T}")));
    assert_eq!(tls.seen()[0]["fields"]["x-key"], VALUE, "{result:?}");
}

#[test]
fn each_tenant_has_its_own_and_what_cannot_be_is_refused() {
    let tls = Tls::start();
    let t = Tenancy::start_in(&Data::fresh(), &["--set", "egress.private=[\"127.0.0.0/8\"]"]);
    let (mine, theirs) = (t.a.clone(), t.b.clone());
    let asked = json!({"value": VALUE, "hosts": ["api.example.org", tls.host()]});
    let (status, kept) = t.tell(&mine, "PUT", "/v1/secrets/TOKEN", &asked);
    assert_eq!((status, &kept["hosts"][0]), (201, &json!("api.example.org:443")), "{kept}");
    assert_eq!(t.tell(&mine, "PUT", "/v1/secrets/TOKEN", &asked).0, 200);
    let list = |key: &str| t.ask(key, "GET", "/v1/secrets").1["items"].as_array().unwrap().len();
    assert_eq!((list(&mine), list(&theirs)), (1, 0));
    let run = |key: &str, egress: Value| {
        let asked = json!({"language": "python", "code": "print(1)", "egress": egress});
        t.tell(key, "POST", "/v1/runs", &asked)
    };
    assert_eq!(run(&mine, json!({"secrets": {"TOKEN": tls.host()}})).0, 200);
    for (key, secrets, field) in [
        (&theirs, json!({"TOKEN": tls.host()}), "egress.secrets.TOKEN"),
        (&mine, json!({"TOKEN": "other.example.org"}), "egress.secrets.TOKEN"),
        (&mine, json!({"TOKEN": "api.example.org:8443"}), "egress.secrets.TOKEN"),
        (&mine, json!({"TOKEN": "*.example.org"}), "egress.secrets.TOKEN"),
        (&mine, json!({"NONE": "api.example.org"}), "egress.secrets.NONE"),
        (&mine, json!({"a b": "api.example.org"}), "egress.secrets.a b"),
    ] {
        let (status, problem) = run(key, json!({ "secrets": secrets }));
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
    let twice = json!({"language": "python", "code": "1", "env": {"TOKEN": "x"}, "egress": {"secrets": {"TOKEN": tls.host()}}});
    let (status, problem) = t.tell(&mine, "POST", "/v1/runs", &twice);
    assert_eq!((status, &problem["field"]), (422, &json!("env.TOKEN")), "{problem}");
    for (name, asked, field) in [
        ("1X", json!({"value": VALUE, "hosts": ["a.test"]}), "name"),
        ("X", json!({"value": "short", "hosts": ["a.test"]}), "value"),
        ("X", json!({"value": "two\r\nX-Evil: lines", "hosts": ["a.test"]}), "value"),
        ("X", json!({"value": VALUE, "hosts": []}), "hosts"),
        ("X", json!({"value": VALUE, "hosts": ["https://a.test"]}), "hosts"),
        ("X", json!({"value": VALUE, "hosts": ["10.0.0.1"]}), "hosts"),
    ] {
        let (status, problem) = t.tell(&mine, "PUT", &format!("/v1/secrets/{name}"), &asked);
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
        assert!(!problem.to_string().contains(VALUE));
    }
    let remove = |key: &str| t.answer(key, "DELETE", "/v1/secrets/TOKEN", None).status;
    assert_eq!((remove(&theirs), remove(&mine), remove(&mine)), (404, 204, 404));
    assert_eq!(run(&mine, json!({"secrets": {"TOKEN": tls.host()}})).0, 422);
}

#[test]
fn the_command_line_keeps_it_and_it_outlives_the_service() {
    let tls = Tls::start();
    let data = Data::fresh();
    let settings = ["--set", "egress.private=[\"127.0.0.0/8\"]", "--set", &format!("egress.ca={:?}", tls.ca)];
    let server = Server::start_in(&data, &settings);
    let fed = |args: &[&str], input: &str| {
        let file = tls.place.path().join("value");
        std::fs::write(&file, input).unwrap();
        data.command(args).stdin(std::fs::File::open(&file).unwrap()).output().unwrap()
    };
    let set = fed(&["secret", "set", "TOKEN", "--host", &tls.host()], VALUE);
    assert!(set.status.success(), "{set:?}");
    drop(server);
    let _server = Server::start_in(&data, &settings);
    let listed = fed(&["secret", "list"], "");
    assert_eq!(String::from_utf8_lossy(&listed.stdout), format!("TOKEN  {}\n", tls.host()));
    let code = tls.python("{'x-key': T}");
    let ran = fed(&["run", "-c", &code, "--secret", &format!("TOKEN={}", tls.host())], "");
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(tls.seen()[0]["fields"]["x-key"], VALUE);
    assert!(fed(&["secret", "remove", "TOKEN"], "").status.success());
    let ran = fed(&["run", "-c", &code, "--secret", &format!("TOKEN={}", tls.host())], "");
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
}
