//! A sandbox that runs beside an attack, with things that the attack would like to reach, and says whether it was harmed.

use crate::run::driver;
use crate::{Canaries, Order};
use model::{Language, LimitsPatch, RunRequest};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, ChildStdin, Stdio};

const PROGRAM: &str = include_str!("bystander.py");
/// Files where a shared file system would show them.
const PLACES: [&str; 4] = ["/workspace/CANARY", "/home/sandbox/CANARY", "/tmp/CANARY", "/dev/shm/CANARY"];
/// Longer than any suite: its end comes from the test.
const TIMEOUT_MS: u64 = 600_000;

/// A running bystander.
#[derive(Debug)]
pub struct Bystander {
    child: Child,
    stdin: Option<ChildStdin>,
    said: BufReader<ChildStderr>,
}

impl Bystander {
    /// Starts one in a sandbox as it ships, and waits until it has laid out everything.
    pub fn start(canaries: &Canaries) -> Self {
        Self::start_by(canaries, Order::default())
    }

    /// Starts one in a sandbox that is weaker by what `order` says.
    pub fn start_by(canaries: &Canaries, order: Order) -> Self {
        // Without a root of its own only the places below `/workspace` and home are not the host's.
        let own_root = !order.without.iter().any(|step| step == "pivot-root");
        let places = PLACES.iter().take(if own_root { PLACES.len() } else { 2 }).copied();
        let args = std::iter::once(canaries.word("neighbour")).chain(places.map(str::to_owned)).collect();
        let order = Order {
            request: RunRequest {
                language: Some(Language::Python),
                code: PROGRAM.into(),
                args,
                limits: LimitsPatch { timeout_ms: Some(TIMEOUT_MS), ..LimitsPatch::default() },
                ..RunRequest::default()
            },
            interactive: true,
            ..order
        };
        let mut command = driver();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the driver starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        serde_json::to_writer(&mut stdin, &order).expect("the driver reads its order");
        let said = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut bystander = Self { child, stdin: Some(stdin), said };
        let ready = bystander.hear();
        assert_eq!(ready, "ready", "a bystander without {:?} did not start", order.without);
        bystander
    }

    /// Asks how it is: its latencies since it was asked last, or what harm was done.
    pub fn ask(&mut self) -> Result<String, String> {
        let stdin = self.stdin.as_mut().expect("it is open until the end");
        stdin.write_all(b"?\n").map_err(|error| format!("the bystander is gone: {error}"))?;
        let answer = self.hear();
        answer.strip_prefix("unharmed ").map(str::to_owned).ok_or(format!("the bystander says {answer:?}"))
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the pipe is read");
        line.trim_end().to_owned()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        // The end of its input is the end of the bystander.
        drop(self.stdin.take());
        // Its report may be waiting in the pipe; the pipe is wide enough for it.
        self.child.wait().expect("it is our child");
    }
}
