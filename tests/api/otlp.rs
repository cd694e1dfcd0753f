//! Traces sent to a collector: one that reads them with the official Protocol Buffers package of OpenTelemetry.

use super::sessions_idle::wait_until;
use fireclay_tests::run::target;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Lines};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// From PyPI.
const PROTO: &str = "opentelemetry-proto==1.45.2";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector of others, from PyPI: Apache-2.0, 10 MB.
const ROTEL: &str = "rotel==0.0.1a15";

/// A virtual environment of this Python that has one package, below `target/` and made once.
fn environment(python: &str, package: &str) -> PathBuf {
    // By one of those that ask at once.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let venv = target().join(package);
    let done = venv.join("done");
    if !done.exists() {
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv));
        let install = ["install", "--quiet", "--disable-pip-version-check", package];
        run(Command::new(venv.join("bin/pip")).args(install));
        std::fs::write(done, "").unwrap();
    }
    venv
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A collector that is there as long as this is.
pub struct Collector {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: String,
}

impl Collector {
    /// One that refuses so many requests before it takes the next.
    pub fn start(refusals: u32) -> Self {
        Self::start_with(&[refusals.to_string()])
    }

    fn start_with(args: &[String]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/api/otlp_receiver.py");
        let mut command = Command::new(environment("python3", PROTO).join("bin/python"));
        let mut child = command.arg(script).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        Self { child, lines, port }
    }

    /// The next request.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("the collector ended").unwrap()).unwrap()
    }

    /// The spans that it takes from this service from now on, until it has taken all of these names. None is sent twice, unless the
    /// service waited in vain for an answer, and says so.
    pub fn spans_until(&mut self, from: &Server, names: &[&str]) -> Vec<Value> {
        let mut spans: Vec<Value> = Vec::new();
        while !names.iter().all(|name| spans.iter().any(|span| span["name"] == *name)) {
            for span in self.next()["spans"].as_array().unwrap() {
                if spans.iter().all(|known| known["id"] != span["id"]) {
                    spans.push(span.clone());
                } else {
                    assert!(from.data.said().contains("traces are sent again to"), "twice: {span}");
                }
            }
        }
        spans
    }

    /// The setting that has a service send to it.
    pub fn setting(&self) -> String {
        format!("traces.otlp.endpoint=http://127.0.0.1:{}", self.port)
    }

    /// A service that sends to it.
    fn service(&self) -> Server {
        Server::start(&["--set", &self.setting()])
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A Rotel that is there as long as this is, and passes on what it takes.
struct Rotel {
    child: Child,
    address: String,
}

impl Rotel {
    fn start(onto: &Collector) -> Self {
        // Its library is Debian's Python's.
        let venv = environment("/usr/bin/python3", ROTEL);
        let library = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path();
        let agent = library.join("site-packages/rotel/rotel-agent");
        std::fs::set_permissions(&agent, Permissions::from_mode(0o755)).unwrap();
        // It does not say where it listens, so that a place must be found for it.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (address, other) = (free(), free());
        let mut command = Command::new(agent);
        command.args(["start", "--otlp-http-endpoint", &address, "--otlp-grpc-endpoint", &other]);
        command.args(["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--disable-batching"]);
        command.arg("--otlp-exporter-endpoint").arg(format!("http://127.0.0.1:{}", onto.port));
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        wait_until("Rotel listens", || {
            assert_eq!(child.try_wait().unwrap(), None, "Rotel ended");
            TcpStream::connect(&address).is_ok()
        });
        Self { child, address }
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn span<'a>(request: &'a Value, name: &str) -> &'a Value {
    let spans = request["spans"].as_array().unwrap();
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {request}"))
}

#[test]
fn a_run_is_sent_when_it_has_ended_and_again_when_it_was_refused() {
    let mut collector = Collector::start(1);
    let server = collector.service();
    let body = json!({"language": "python", "code": "print('out')\n1/0"}).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", PARENT)];
    let run: Value =
        serde_json::from_str(server.send("POST", "/v1/runs", &headers, body.as_bytes()).text()).unwrap();
    let refused = collector.next();
    assert_eq!(refused["refused"], true);
    let request = collector.next();
    assert_eq!((&request["spans"], &request["refused"]), (&refused["spans"], &json!(false)));
    assert_eq!(
        (&request["path"], &request["type"]),
        (&json!("/v1/traces"), &json!("application/x-protobuf"))
    );
    assert_eq!(request["resource"]["attributes"][0]["value"]["stringValue"], "fireclay");
    let root = span(&request, "python run");
    assert_eq!((&root["trace"], &root["parent"]), (&json!(&PARENT[3..35]), &json!(&PARENT[36..52])));
    assert_eq!((&root["kind"], &root["status"]), (&json!(2), &json!(2)));
    assert_eq!(root["message"], "ZeroDivisionError: division by zero");
    let attributes = &root["attributes"];
    assert_eq!(attributes["fireclay.run.id"], run["id"]);
    assert_eq!(
        (&attributes["fireclay.exit_code"], &attributes["fireclay.tenant"]),
        (&json!("1"), &json!("local"))
    );
    assert_eq!(attributes["fireclay.input"], "print('out')\n1/0");
    assert!(attributes["fireclay.isolation.layers"]["values"].as_array().unwrap().len() > 5, "{attributes}");
    for name in ["admission", "check", "queue", "lease", "execution"] {
        let child = span(&request, name);
        assert_eq!((&child["parent"], &child["trace"]), (&root["id"], &root["trace"]), "{name}");
        assert!(
            child["start"].as_u64() >= root["start"].as_u64()
                && child["end"].as_u64() >= child["start"].as_u64()
        );
    }
    // One run more is one request more, with its spans only.
    server.run(&json!({"language": "python", "code": "2"}));
    let next = collector.next();
    assert_ne!(span(&next, "python run")["trace"], root["trace"]);
    server.wait_for_metric("fireclay_otlp_traces_total{result=\"taken\"}", 2.0);
}

/// A collector that nobody here wrote takes what is sent, and tells the same to the next.
#[test]
fn a_collector_of_others_takes_it_and_passes_it_on() {
    let mut collector = Collector::start(0);
    let rotel = Rotel::start(&collector);
    let endpoint = format!("traces.otlp.endpoint=http://{}", rotel.address);
    let server = Server::start(&["--set", &endpoint]);
    let run = server.run(&json!({"language": "python", "code": "print('fired')"}));
    let spans = collector.spans_until(&server, &["python run"]);
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).expect(name);
    let root = named("python run");
    assert_eq!(root["attributes"]["fireclay.run.id"], run.id.to_string());
    assert_eq!(root["attributes"]["fireclay.output"], "fired\n");
    assert!(
        root["attributes"]["fireclay.isolation.layers"]["values"].as_array().unwrap().len() > 5,
        "{root}"
    );
    for name in ["admission", "check", "queue", "lease", "fork", "execution", "artifacts"] {
        assert_eq!((&named(name)["parent"], &named(name)["trace"]), (&root["id"], &root["trace"]), "{name}");
    }
    server.wait_for_metric("fireclay_otlp_traces_total{result=\"taken\"}", 1.0);
}

/// What a program tells in AIGNE's way goes on to the collector when it is over, and once, though it is told again.
#[test]
fn spans_that_were_told_are_sent_when_they_are_over() {
    let mut collector = Collector::start(0);
    let server = collector.service();
    let told = |end: i64| {
        json!([{"id": "00f067aa0ba902b9", "rootId": &PARENT[3..35], "name": "coder", "startTime": 1_700_000_000_000_i64, "endTime": end,
            "status": {"code": i32::from(end > 0)}, "attributes": {"agentTag": "AIAgent", "input": {"message": "10! = ?"}}}])
    };
    for end in [0, 1_700_000_000_500, 1_700_000_000_500] {
        let (status, said) = server.post_json("/api/trace/tree", &told(end));
        assert_eq!((status, &said["code"]), (200, &json!(0)), "{said}");
    }
    server.run(&json!({"language": "python", "code": "1"}));
    let spans = collector.spans_until(&server, &["python run"]);
    let own: Vec<_> = spans.iter().filter(|span| span["name"] == "coder").collect();
    assert_eq!(own.len(), 1, "{spans:?}");
    assert_eq!(
        (&own[0]["trace"], &own[0]["id"], &own[0]["status"]),
        (&json!(&PARENT[3..35]), &json!("00f067aa0ba902b9"), &json!(1))
    );
    assert_eq!(
        own[0]["attributes"]["fireclay.input"].as_str().map(|text| text.contains("10! = ?")),
        Some(true)
    );
}

/// By OpenTelemetry's own variables; and one that is not who it should be gets nothing.
#[test]
fn a_collector_is_reached_by_tls_if_it_is_the_one_that_was_named() {
    let place = tempfile::tempdir().unwrap();
    super::secrets::certificates(place.path());
    let path = |name: &str| place.path().join(name).display().to_string();
    let mut collector = Collector::start_with(&["0".to_owned(), path("server.pem")]);
    let endpoint = format!("https://localhost:{}", collector.port);
    let (own, headers) = (path("ca.pem"), "authorization=Bearer%20x");
    let started = |more: &[(&str, &str)]| {
        let env = [
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_HEADERS", headers)],
            more,
        ]
        .concat();
        Server::try_start_with(&Data::fresh(), &[], &env).unwrap()
    };
    let strange = started(&[]);
    strange.run(&json!({"language": "python", "code": "1"}));
    let server = started(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", own.as_str())]);
    server.run(&json!({"language": "bash", "code": "echo secured"}));
    let request = collector.next();
    assert_eq!((&request["path"], &request["authorization"]), (&json!("/v1/traces"), &json!("Bearer x")));
    assert_eq!(span(&request, "bash run")["attributes"]["fireclay.input"], "echo secured");
    server.wait_for_metric("fireclay_otlp_traces_total{result=\"taken\"}", 1.0);
    assert_eq!(strange.metric("fireclay_otlp_traces_total{result=\"taken\"}"), 0.0);
}

#[test]
fn a_collector_that_is_not_there_holds_up_nothing() {
    let server = Server::start(&["--set", "traces.otlp.endpoint=http://127.0.0.1:9"]);
    for number in 0..20 {
        let result = server.run(&json!({"language": "python", "code": format!("print({number})")}));
        assert_eq!(result.stdout, format!("{number}\n"));
    }
    // The control: they are there, and nobody took them.
    assert_eq!(server.get_json("/v1/traces").1["items"].as_array().unwrap().len(), 20);
    assert_eq!(server.metric("fireclay_otlp_traces_total{result=\"taken\"}"), 0.0);
}

#[test]
fn an_address_that_cannot_be_used_is_said_at_the_start() {
    for (endpoint, words) in [("ftp://c", "is not http://"), ("nothing", "is not")] {
        let setting = format!("traces.otlp.endpoint={endpoint}");
        let refused = Server::try_start_in(&Data::fresh(), &["--set", &setting]).err().unwrap();
        assert!(refused.contains("traces.otlp") && refused.contains(words), "{refused}");
    }
}
