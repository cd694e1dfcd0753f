//! A service of the built binary, with a data directory of its own and the shared image: started, asked, ended, killed.

use crate::http::{self, Answer, Stream};
use crate::run::{command_of, executable, image, packages, target};
use model::RunResult;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything that must happen may take before a test says that it did not. Nothing waits this long that works.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory that services may follow each other on. It goes with the last clone.
#[derive(Debug, Clone)]
pub struct Data {
    directory: Arc<TempDir>,
}

impl Data {
    /// A fresh one with the shared image.
    pub fn fresh() -> Self {
        let directory = TempDir::with_prefix_in("served-", target()).expect("below target/ is ours to write");
        let data = Self { directory: Arc::new(directory) };
        std::os::unix::fs::symlink(image().join("images"), data.path().join("images")).expect("it is empty");
        // A name of its own for the program: every process of this service is known by it.
        fs::hard_link(executable("fireclay"), data.program()).expect("it is on the same file system");
        data
    }

    /// A fresh one that has the shared packages too.
    pub fn with_packages() -> Self {
        let shared = packages().join("environments");
        let data = Self::fresh();
        std::os::unix::fs::symlink(shared, data.path().join("environments")).expect("it is not there yet");
        data
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The built program, as it is found here.
    pub fn program(&self) -> PathBuf {
        self.path().join("program")
    }

    fn log(&self) -> PathBuf {
        self.path().join("stderr")
    }

    /// All that services here wrote to standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// A command of the binary on this data directory.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command_of(&self.program(), self.path());
        // Tokens of local servers, of this directory only.
        command.env("XDG_RUNTIME_DIR", self.path()).args(args);
        command
    }

    /// Every process that was made by a service here and has not become a user's program: services, spawners, keepers, inits.
    pub fn processes(&self) -> Vec<Pid> {
        let names = fs::read_dir("/proc").expect("/proc is there").flatten();
        let ours = names
            .filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == self.program()));
        ours.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    /// Waits until no more than so many processes are left. Panics when that takes too long.
    pub fn wait_until_no_more_than(&self, most: usize) {
        let until = Instant::now() + PATIENCE;
        while self.processes().len() > most {
            assert!(Instant::now() < until, "processes are left: {:?}", self.processes());
            std::thread::yield_now();
        }
    }

    /// Waits until no process is left; an init takes the programs of its sandbox with it. Panics when that takes too long.
    pub fn wait_for_the_last_process(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            let Some(first) = left.first() else { return };
            assert!(Instant::now() < until, "processes are left: {left:?}");
            // Gone between the look and this is gone too.
            if let Ok(process) = pidfd_open(*first, PidfdFlags::empty()) {
                wait_for(&process);
            }
        }
    }
}

/// Waits until the process of this descriptor has ended.
pub fn wait_for(process: &std::os::fd::OwnedFd) {
    let patience = rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut waits = [PollFd::new(process, PollFlags::IN)];
    assert_eq!(poll(&mut waits, Some(&patience)).expect("poll"), 1, "a process did not end");
}

/// A running service. Told to end, and waited for, when dropped.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    /// Kept open, so that what it prints has somewhere to go.
    _stdout: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
    /// Its data directory.
    pub data: Data,
}

impl Server {
    /// Starts one on a data directory of its own.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(&Data::fresh(), args)
    }

    /// Starts one on this data directory.
    pub fn start_in(data: &Data, args: &[&str]) -> Self {
        Self::try_start_in(data, args).unwrap_or_else(|said| panic!("the service did not start: {said}"))
    }

    /// Starts one on this data directory, or returns what it said instead.
    pub fn try_start_in(data: &Data, args: &[&str]) -> Result<Self, String> {
        Self::try_start_with(data, args, &[])
    }

    /// The same with these variables.
    pub fn try_start_with(data: &Data, args: &[&str], env: &[(&str, &str)]) -> Result<Self, String> {
        let log = File::options().append(true).create(true).open(data.log()).expect("the directory is ours");
        let mut command = data.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the pipe is read");
        let address =
            line.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        match address {
            Some(address) => Ok(Self { child: Some(child), _stdout: stdout, address, data: data.clone() }),
            None => {
                let status = child.wait().expect("it is our child");
                Err(format!("{status}: {line}{}", data.said()))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A connection, for those who want to say something unusual. Reading from it ends after [`PATIENCE`].
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        stream
    }

    /// Any request.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        http::send(method, &self.url(path), headers, body).expect("the service answers")
    }

    /// Any request, or why there is no answer.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        http::send(method, &self.url(path), headers, body)
    }

    /// `GET`: status and body.
    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let answer = self.send("GET", path, &[], b"");
        (answer.status, answer.body)
    }

    /// `GET` of something that is JSON.
    pub fn get_json(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, &[], b"").into_json()
    }

    /// `DELETE`: status and what was answered, null for nothing.
    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, &[], b"").into_json()
    }

    /// `POST` of JSON: status and the answer's JSON, null for none.
    pub fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_json_with(path, &[], body)
    }

    /// `POST` of JSON with headers.
    pub fn post_json_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send("POST", path, &headers, body.to_string().as_bytes()).into_json()
    }

    /// Submits a run and waits for its result.
    pub fn run(&self, request: &Value) -> RunResult {
        let (status, answer) = self.post_json("/v1/runs", request);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer).expect("a settled run")
    }

    /// Submits a run and does not wait; returns its id.
    pub fn submit(&self, request: &Value) -> String {
        let mut request = request.clone();
        request["wait"] = false.into();
        let (status, answer) = self.post_json("/v1/runs", &request);
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().expect("a run has an id").to_owned()
    }

    /// Waits until a run is settled and returns its result.
    pub fn settled(&self, id: &str) -> RunResult {
        // Its events end when it does.
        drop(self.events(id, None).collect::<Vec<_>>());
        let (status, answer) = self.get_json(&format!("/v1/runs/{id}"));
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer).expect("a settled run")
    }

    /// Follows the events of a run, after one if that is named.
    pub fn events(&self, id: &str, after: Option<&str>) -> Stream {
        let headers: Vec<_> = after.iter().map(|after| ("last-event-id", *after)).collect();
        http::stream("GET", &self.url(&format!("/v1/runs/{id}/events")), &headers, b"")
    }

    /// Submits a run and follows its events.
    pub fn stream(&self, request: &Value) -> Stream {
        let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
        http::stream("POST", &self.url("/v1/runs"), &headers, request.to_string().as_bytes())
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("it runs until it is dropped");
        Pid::from_child(child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is our child");
    }

    /// Waits until it has ended by itself, or after a signal.
    pub fn ended(mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs until it is dropped");
        child.wait().expect("it is our child")
    }

    /// `kill -9`; returns when it is dead. Those it started may still be on their way out.
    pub fn kill(self) -> Data {
        let data = self.data.clone();
        self.signal(Signal::KILL);
        self.ended();
        data
    }

    /// What of its memory is resident, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most of its memory that ever was resident, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// A line of `/proc/PID/status` that is a size.
    fn status_bytes(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let mut status = String::new();
        File::open(path).and_then(|mut file| file.read_to_string(&mut status)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("proc(5)");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("proc(5)") << 10
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).expect("it runs").count()
    }

    /// How many sockets it has open.
    pub fn sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).expect("it runs");
        let names = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
    }

    /// Waits until it has no more sockets open than these.
    pub fn wait_for_sockets(&self, most: usize) {
        let until = Instant::now() + PATIENCE;
        while self.sockets() > most {
            assert!(Instant::now() < until, "{} sockets are open, not {most}", self.sockets());
            std::thread::yield_now();
        }
    }

    /// One figure of `/metrics` without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        let text = String::from_utf8(text).expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a figure")
    }

    /// Waits until a figure of `/metrics` is this; each look is one request.
    pub fn wait_for_metric(&self, name: &str, wanted: f64) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name) != wanted {
            assert!(Instant::now() < until, "{name} is {} for too long, not {wanted}", self.metric(name));
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = Pid::from_child(child);
        // A test that failed does not wait for its runs: the second signal ends them.
        let signals = if std::thread::panicking() { 2 } else { 1 };
        for _ in 0..signals {
            kill_process(pid, Signal::TERM).expect("it is our child and not yet waited for");
        }
        let status = child.wait().expect("it is our child");
        let said = self.data.said();
        if std::thread::panicking() {
            eprintln!("the service ended with {status} and had said:\n{said}");
        } else {
            assert!(status.success(), "the service ended with {status} and had said:\n{said}");
        }
    }
}
