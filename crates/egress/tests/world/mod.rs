//! A small internet on loopback: names that the test gives, a server with real TLS below a CA of the test, and a proxy between.

use egress::address::Private;
use egress::rules::Rules;
use egress::target::Name;
use egress::{Attempt, Limits, Proxy, Resolve, Resolved};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a test waits for what must come before it fails; no test depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names and, for each, the answers in turn; the last one stays.
#[derive(Clone, Default)]
pub struct Names {
    answers: Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    pub fn set(&self, name: &str, answers: &[&[&str]]) {
        let answers =
            answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolved<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(name.to_string());
            let mut answers = self.answers.lock().unwrap();
            let left = answers.get_mut(name.as_str()).ok_or_else(|| std::io::Error::other("no such name"))?;
            Ok(if left.len() > 1 { left.remove(0) } else { left[0].clone() })
        })
    }
}

/// A proxy that listens, its names, and what it tells.
pub struct World {
    pub at: SocketAddr,
    pub names: Names,
    pub proxy: Arc<Proxy>,
    attempts: mpsc::UnboundedReceiver<Attempt>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// What differs from one test's proxy to another's.
pub struct With<'a> {
    pub rules: Rules,
    pub private: &'a [&'a str],
    pub limits: Limits,
}

impl With<'_> {
    pub fn allow(allow: &[&str]) -> With<'static> {
        With { rules: Rules::parse(allow).unwrap(), private: &["127.0.0.1/32"], limits: Limits::default() }
    }

    pub async fn world(self) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (told, attempts) = mpsc::unbounded_channel();
        let names = Names::default();
        let proxy = Arc::new(Proxy::new(
            self.rules,
            Private::parse(self.private).unwrap(),
            self.limits,
            Box::new(names.clone()),
            Box::new(move |attempt| drop(told.send(attempt))),
        ));
        let serving = tokio::spawn(Arc::clone(&proxy).serve(listener));
        World { at, names, proxy, attempts, serving }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl World {
    /// The next attempt that is told.
    /// What was told and not read, without waiting.
    pub fn told(&mut self) -> Option<Attempt> {
        self.attempts.try_recv().ok()
    }

    pub async fn attempt(&mut self) -> Attempt {
        timeout(PATIENCE, self.attempts.recv()).await.unwrap().unwrap()
    }

    /// Ends the proxy, as the end of its sandbox does.
    pub fn end(&self) {
        self.serving.abort();
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    /// Sends bytes and returns all that comes back.
    pub async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        all(&mut stream).await
    }

    /// Runs a client, which has this proxy and the test's CA in its environment, and returns whether it succeeded and all it said.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let (proxy, ca) = (format!("http://{}", self.at), server().ca.clone());
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        for name in ["no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy", "PIP_FIND_LINKS", "PIP_NO_INDEX"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"] {
            command.env(name, &proxy);
        }
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "PIP_CERT",
            "NODE_EXTRA_CA_CERTS",
            "REQUESTS_CA_BUNDLE",
            "npm_config_cafile",
        ] {
            command.env(name, &ca);
        }
        command
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// Everything until the end, also if the end is a reset; of a long answer the first 2 MiB.
pub async fn all(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let (mut piece, mut total) = (vec![0; 65536], 0);
    while let Ok(count @ 1..) = timeout(PATIENCE, stream.read(&mut piece)).await.unwrap() {
        total += count;
        assert!(total < 8 << 30, "an answer without end");
        if said.len() < 2 << 20 {
            said.extend_from_slice(&piece[..count]);
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// The server that all tests ask, on two ports of loopback.
pub struct Server {
    pub http: u16,
    pub https: u16,
    /// A file with the CA's certificate.
    pub ca: PathBuf,
    /// What it serves.
    pub files: PathBuf,
    _child: Child,
    _directory: tempfile::TempDir,
}

pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let ca = certificates(place);
        let files = place.join("files");
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("hello.txt"), "hello from the server\n").unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/world/server.py");
        // Its standard input ends with this process, and then so does it.
        let mut child = Command::new("python3")
            .arg(script)
            .args([&place.join("server.pem"), &files])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        Server { http: ports[0], https: ports[1], ca, files, _child: child, _directory: directory }
    })
}

/// Makes a CA, and a certificate with its key for all names of the tests.
fn certificates(place: &Path) -> PathBuf {
    let openssl = |arguments: &str| {
        let status = Command::new("openssl")
            .current_dir(place)
            .args(arguments.split_whitespace())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "openssl {arguments}");
    };
    let mut names = std::fs::File::create(place.join("names")).unwrap();
    writeln!(names, "subjectAltName=DNS:ok.test,DNS:*.example.org\nbasicConstraints=CA:FALSE").unwrap();
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
    );
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem -subj /CN=server",
    );
    openssl(
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    );
    let both =
        [std::fs::read(place.join("key.pem")).unwrap(), std::fs::read(place.join("cert.pem")).unwrap()];
    std::fs::write(place.join("server.pem"), both.concat()).unwrap();
    place.join("ca.pem")
}
