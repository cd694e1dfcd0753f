//! A cluster on this one machine: hosts that are network namespaces with addresses of their own, a NATS server, gateways and workers on
//! each. All of it ends with the [`Lab`]. Wants root, for the namespaces.

use fireclay_tests::Data;
use fireclay_tests::http::{self, Answer};
use fireclay_tests::server::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tempfile::TempDir;

/// Where the processes of one host run.
#[derive(Debug)]
pub struct Host {
    /// Its network namespace; none is the machine's own.
    namespace: Option<String>,
    /// The end of its cable on the machine's side.
    cable: String,
    /// Its address.
    pub address: String,
}

/// One cluster.
#[derive(Debug)]
pub struct Lab {
    directory: TempDir,
    /// Its hosts.
    pub hosts: Vec<Host>,
    bridge: Option<String>,
    ports: Vec<u16>,
    servers: Vec<Option<Child>>,
    /// Whether all connections are encrypted.
    is_tls: bool,
}

/// A gateway or a worker that runs.
#[derive(Debug)]
pub struct Node {
    child: Option<Child>,
    _stdout: BufReader<ChildStdout>,
    /// Where a gateway listens.
    pub url: String,
    key: String,
    /// Its data directory.
    pub data: Data,
}

/// The binary of NATS, installed once.
pub fn nats_server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/nats-server");
        let output = Command::new(script).env("CARGO_TARGET_DIR", fireclay_tests::run::target()).output();
        let output = output.expect("the script starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Lab {
    /// One server and one host, which is this machine.
    pub fn small(gateways: &[&str], workers: &[&str]) -> Self {
        let host = Host { namespace: None, cable: String::new(), address: "127.0.0.1".to_owned() };
        Self::on((vec![host], None), false, gateways, workers)
    }

    /// The same, encrypted.
    pub fn encrypted(gateways: &[&str], workers: &[&str]) -> Self {
        let host = Host { namespace: None, cable: String::new(), address: "127.0.0.1".to_owned() };
        Self::on((vec![host], None), true, gateways, workers)
    }

    /// Three hosts, with a server on each; all that they say to each other and to nodes is encrypted.
    pub fn three(gateways: &[&str], workers: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() * 4 + NEXT.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (64 + number / 250 % 128, number % 250);
        let bridge = format!("fcb{}", number % 10_000_000);
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("addr add 10.{high}.{low}.254/24 dev {bridge}"));
        ip(&format!("link set {bridge} up"));
        let hosts = (1..=3).map(|n| {
            let (name, cable) = (format!("fireclay-{number}-{n}"), format!("fc{}v{n}", number % 1_000_000));
            let address = format!("10.{high}.{low}.{n}");
            ip(&format!("netns add {name}"));
            ip(&format!("link add {cable} type veth peer name eth0 netns {name}"));
            ip(&format!("link set {cable} master {bridge}"));
            ip(&format!("link set {cable} up"));
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} addr add {address}/24 dev eth0"));
            ip(&format!("-n {name} link set eth0 up"));
            Host { namespace: Some(name), cable, address }
        });
        Self::on((hosts.collect(), Some(bridge)), true, gateways, workers)
    }

    fn on(
        (hosts, bridge): (Vec<Host>, Option<String>),
        is_tls: bool,
        gateways: &[&str],
        workers: &[&str],
    ) -> Self {
        let directory = TempDir::with_prefix_in("cluster-", fireclay_tests::run::target()).unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports: Vec<u16> =
            hosts.iter().map(|host| if host.namespace.is_some() { 4222 } else { free() }).collect();
        let servers = hosts.iter().map(|_| None).collect();
        let mut lab = Self { directory, hosts, bridge, ports, servers, is_tls };
        if is_tls {
            lab.certify();
        }
        lab.init(gateways, workers);
        (0..lab.hosts.len()).for_each(|n| lab.start_server(n));
        lab
    }

    /// An authority of the lab's own, and a certificate for all its hosts: one is the other side's client on a route.
    fn certify(&self) {
        let names =
            self.hosts.iter().map(|host| format!("IP:{}", host.address)).collect::<Vec<_>>().join(",");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let openssl = |words: &str| {
            let output = Command::new("openssl").current_dir(self.path()).args(words.split(' ')).output();
            let output = output.expect("openssl is installed");
            assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=lab"));
        openssl(&format!("req -x509 {key} -keyout other.key -out other.pem -subj /CN=other"));
        openssl(&format!(
            "req -x509 -CA ca.pem -CAkey ca.key {key} -keyout server.key -out server.pem -subj /CN=server \
             -addext subjectAltName={names} -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth,clientAuth"
        ));
    }

    /// `fireclay cluster init`, once more.
    pub fn init(&self, gateways: &[&str], workers: &[&str]) {
        let data = Data::fresh();
        let mut command = data.command(&["cluster", "init"]);
        command.arg(self.path()).arg("--store").arg(self.path().join("store"));
        for (n, (host, port)) in self.hosts.iter().zip(&self.ports).enumerate() {
            command.args(["--server", &format!("n{}={}:{port}", n + 1, host.address)]);
        }
        if self.is_tls {
            for (option, file) in
                [("--tls-ca", "ca.pem"), ("--tls-cert", "server.pem"), ("--tls-key", "server.key")]
            {
                command.arg(option).arg(self.path().join(file));
            }
        }
        command.args(gateways.iter().flat_map(|name| ["--gateway", name]));
        command.args(workers.iter().flat_map(|name| ["--worker", name]));
        let output = command.output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where it keeps its files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The credential of a node: `worker-w1`.
    pub fn credential(&self, node: &str) -> PathBuf {
        self.path().join(format!("{node}.json"))
    }

    /// All servers, as nodes are told them.
    pub fn urls(&self) -> String {
        let urls = self.hosts.iter().zip(&self.ports);
        urls.map(|(host, port)| format!("nats://{}:{port}", host.address)).collect::<Vec<_>>().join(",")
    }

    /// A command on a host.
    fn on_host(&self, host: usize, command: Command) -> Command {
        let Some(namespace) = &self.hosts[host].namespace else { return command };
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(command.get_program());
        inside.args(command.get_args());
        inside.env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// Starts the server of a host; returns when it listens.
    pub fn start_server(&mut self, host: usize) {
        let mut command = Command::new(nats_server());
        command.arg("-c").arg(self.path().join(format!("nats-n{}.conf", host + 1)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let log = File::options().append(true).create(true).open(self.path().join(format!("nats{host}.log")));
        let child = self.on_host(host, command).stdin(Stdio::null()).stderr(log.unwrap()).spawn().unwrap();
        self.servers[host] = Some(child);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((self.hosts[host].address.as_str(), self.ports[host])).is_err() {
            assert!(Instant::now() < until, "nats-server does not listen");
            std::thread::yield_now();
        }
    }

    /// Signals the server of a host, if it runs.
    pub fn signal_server(&self, host: usize, signal: Signal) {
        if let Some(child) = &self.servers[host] {
            kill_process(Pid::from_child(child), signal).expect("it is our child");
        }
    }

    /// `kill -9` of the server of a host.
    pub fn kill_server(&mut self, host: usize) {
        self.signal_server(host, Signal::KILL);
        if let Some(mut child) = self.servers[host].take() {
            child.wait().unwrap();
        }
    }

    /// Pulls or puts back the cable of a host.
    pub fn cable(&self, host: usize, is_up: bool) {
        ip(&format!("link set {} {}", self.hosts[host].cable, if is_up { "up" } else { "down" }));
    }

    /// Starts a gateway; one on a host of its own listens there, and has a key.
    pub fn gateway(&self, host: usize, name: &str, data: &Data, args: &[&str]) -> Node {
        self.try_gateway(host, name, data, args)
            .unwrap_or_else(|said| panic!("{name} does not start: {said}"))
    }

    /// Starts a gateway, or returns what it says instead.
    pub fn try_gateway(&self, host: usize, name: &str, data: &Data, args: &[&str]) -> Result<Node, String> {
        self.gateway_by(&self.urls(), host, name, data, args)
    }

    /// The same by servers that are named here.
    pub fn gateway_by(
        &self,
        urls: &str,
        host: usize,
        name: &str,
        data: &Data,
        args: &[&str],
    ) -> Result<Node, String> {
        let key_file = data.path().join("key");
        let (listen, key) = match &self.hosts[host].namespace {
            None => ("127.0.0.1:0".to_owned(), String::new()),
            Some(_) => {
                if !key_file.exists() {
                    let output = data.command(&["key", "create", "--role", "admin"]).output().unwrap();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                    std::fs::write(&key_file, output.stdout).unwrap();
                }
                let key = std::fs::read_to_string(&key_file).unwrap().trim().to_owned();
                (format!("{}:8000", self.hosts[host].address), key)
            }
        };
        let credential = self.credential(&format!("gateway-{name}"));
        let mut command = data.command(&["serve", "--listen", &listen, "--cluster", urls]);
        command.arg("--credentials").arg(credential).args(SMALL).args(args);
        Node::start(self.on_host(host, command), data, key)
    }

    /// Starts a worker.
    pub fn worker(&self, host: usize, name: &str, data: &Data, args: &[&str]) -> Node {
        self.worker_by(&self.urls(), host, name, data, args)
    }

    /// The same by servers that are named here.
    pub fn worker_by(&self, urls: &str, host: usize, name: &str, data: &Data, args: &[&str]) -> Node {
        let credential = self.credential(&format!("worker-{name}"));
        let mut command = data.command(&["worker", "--cluster", urls]);
        command.arg("--credentials").arg(credential).args(SMALL).args(args);
        let started = Node::start(self.on_host(host, command), data, String::new());
        started.unwrap_or_else(|said| panic!("{name} does not start: {said}"))
    }
}

/// Many nodes share this machine.
const SMALL: [&str; 6] = ["--set", "pool.min=1", "--set", "pool.warm=[]", "--set", "concurrency=8"];

impl Drop for Lab {
    fn drop(&mut self) {
        (0..self.servers.len()).for_each(|n| self.kill_server(n));
        for host in &self.hosts {
            if let Some(namespace) = &host.namespace {
                ip(&format!("netns del {namespace}"));
            }
        }
        if let Some(bridge) = &self.bridge {
            ip(&format!("link del {bridge}"));
        }
    }
}

impl Node {
    fn start(mut command: Command, data: &Data, key: String) -> Result<Self, String> {
        let log = File::options().append(true).create(true).open(data.path().join("stderr")).unwrap();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            let status = child.wait().unwrap();
            return Err(format!("{status}: {}", data.said()));
        }
        let url = line.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next());
        let url = url.map(|address| format!("http://{address}")).unwrap_or_default();
        Ok(Self { child: Some(child), _stdout: stdout, url, key, data: data.clone() })
    }

    /// Asks a gateway, or says why there is no answer.
    pub fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        ask(&self.url, &self.key, method, path, body)
    }

    /// Asks a gateway: status and JSON.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.try_ask(method, path, body).expect("it answers").into_json()
    }

    /// Where a gateway is asked, and with which key.
    pub fn door(&self) -> (String, String) {
        (self.url.clone(), self.key.clone())
    }

    /// Has a gateway run something; returns the result.
    pub fn run(&self, request: &Value) -> Value {
        let (status, answer) = self.ask("POST", "/v1/runs", request);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Submits a run and does not wait; returns its id.
    pub fn submit(&self, request: &Value) -> String {
        let mut request = request.clone();
        request["wait"] = false.into();
        let (status, answer) = self.ask("POST", "/v1/runs", &request);
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a run is in this state; returns it.
    pub fn wait_until(&self, id: &str, state: &str) -> Value {
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            let (status, run) = self.ask("GET", &format!("/v1/runs/{id}"), &Value::Null);
            // 202 as long as it is on its way.
            assert!(matches!(status, 200 | 202), "{run}");
            if run["state"] == state {
                return run;
            }
            assert!(Instant::now() < until, "{id} does not become {state}: {run}\n{}", self.data.said());
            std::thread::yield_now();
        }
    }

    /// Waits until a figure of `/metrics` is as wanted.
    pub fn wait_for_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.try_ask("GET", "/metrics", &Value::Null).expect("it answers");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            if value.is_some_and(|value| wanted(value.parse().unwrap())) {
                return;
            }
            assert!(Instant::now() < until, "{name} is {value:?} for too long");
            std::thread::yield_now();
        }
    }

    /// The memory that it has, without what it started.
    pub fn resident_bytes(&self) -> u64 {
        let id = self.child.as_ref().expect("it runs until it is dropped").id();
        let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs until it is dropped");
        kill_process(Pid::from_child(child), signal).expect("it is our child");
    }

    /// `kill -9`, and of all that it started; returns when they are dead.
    pub fn kill(mut self) -> Data {
        self.signal(Signal::KILL);
        self.child.take().unwrap().wait().unwrap();
        let data = self.data.clone();
        data.wait_for_the_last_process();
        data
    }

    /// Waits until it has ended by itself; whether it said that all went well.
    pub fn ended(mut self) -> bool {
        self.child.take().unwrap().wait().unwrap().success()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = Pid::from_child(child);
        if std::thread::panicking() {
            eprintln!("{} had said:\n{}", self.url, self.data.said());
        }
        // Its runs matter to nobody any more, and it may be stopped.
        for signal in [Signal::CONT, Signal::KILL] {
            kill_process(pid, signal).expect("it is our child and not yet waited for");
        }
        child.wait().expect("it is our child");
    }
}

/// Asks a gateway at a door.
pub fn ask(url: &str, key: &str, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("content-type", "application/json")];
    if !key.is_empty() {
        headers.push(("authorization", bearer.as_str()));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(method, &format!("{url}{path}"), &headers, body.as_bytes())
}

/// A program that prints this.
pub fn printing(text: &str) -> Value {
    json!({ "language": "bash", "code": format!("echo {text}") })
}
