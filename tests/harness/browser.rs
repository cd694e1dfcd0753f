//! A real browser without a window, driven over its debugging pipe (Chrome DevTools Protocol, `--remote-debugging-pipe`: messages of
//! JSON that end with a zero byte, to descriptor 3 and from 4). Remembers what a page asked for and what it complained of.

use crate::server::PATIENCE;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use tempfile::TempDir;

/// Debian's name of the program and the package; `scripts/test-dependencies` installs it.
const CHROMIUM: &str = "chromium";

/// Nothing that a fresh profile would fetch by itself; tests run as root, where its own sandbox refuses to.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    // Nothing but this machine has an address: a test must not depend on what others answer.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE *.localhost",
];

/// A browser with one page. It ends when this is dropped.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    next: u64,
    loaded: bool,
    profile: TempDir,
    /// Every address that the page asked for.
    pub requests: Vec<String>,
    /// Errors and warnings: of scripts, of the network, of the page's Content-Security-Policy.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts one. Panics where there is none: what it would show is not known then.
    pub fn start() -> Self {
        let profile = TempDir::with_prefix("browser-").expect("there is room for files");
        let said = fs::File::create(profile.path().join("stderr")).expect("the directory is ours");
        // The shell moves the pipes to the descriptors that the browser wants.
        let exec = format!("exec {CHROMIUM} \"$@\" 3<&0 4>&1 </dev/null >/dev/null");
        let mut child = Command::new("sh")
            .args(["-c", &exec, "sh"])
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // What it puts elsewhere goes with the profile, too.
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .expect("there is a shell");
        let commands = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            // A message without its end is what a killed browser leaves.
            while answers.read_until(0, &mut message).is_ok() && message.pop() == Some(0) {
                let parsed = serde_json::from_slice(&message).expect("the browser speaks JSON");
                message.clear();
                if sender.send(parsed).is_err() {
                    return;
                }
            }
        });
        let (requests, complaints) = (Vec::new(), Vec::new());
        let mut browser = Self {
            child,
            commands,
            messages,
            session: None,
            next: 0,
            loaded: false,
            profile,
            requests,
            complaints,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Network", "Log", "Runtime", "Page"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Goes to an address; returns when the page is loaded, its scripts too.
    pub fn open(&mut self, url: &str) {
        self.loaded = false;
        let answer = self.call("Page.navigate", &json!({"url": url}));
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
        while !self.loaded {
            let event = self.receive("Page.loadEventFired");
            self.hear(&event);
        }
    }

    /// The value of an expression in the page; of a promise, when it is kept.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub fn wait_until(&mut self, expression: &str) {
        let kept = self.evaluate(&format!(
            "new Promise(done => {{
                const until = Date.now() + {};
                const look = () => {{
                    if ({expression}) done(true);
                    else if (Date.now() > until) done(document.body.innerText);
                    else requestAnimationFrame(look);
                }};
                look();
            }})",
            PATIENCE.as_millis() / 2
        ));
        assert_eq!(kept, true, "never true: {expression}; complaints: {:?}", self.complaints);
    }

    /// Sends a command and returns its answer; hears all that happens meanwhile.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let text = format!("{message}\0");
        if self.commands.write_all(text.as_bytes()).is_err() {
            panic!("{}", self.gone());
        }
        loop {
            let message = self.receive(method);
            if message["id"] == self.next {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    /// The next message, for one who waits for `what`.
    fn receive(&mut self, what: &str) -> Value {
        match self.messages.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("{what}: nothing within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{what}: {}", self.gone()),
        }
    }

    fn gone(&self) -> String {
        let said = fs::read_to_string(self.profile.path().join("stderr")).unwrap_or_default();
        format!("{CHROMIUM} does not run here (scripts/test-dependencies installs it); it said:\n{said}")
    }

    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests.push(params["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Log.entryAdded"
                if params["entry"]["level"] != "info" && params["entry"]["level"] != "verbose" =>
            {
                self.complaints.push(params["entry"].to_string());
            }
            "Runtime.consoleAPICalled" if params["type"] == "error" || params["type"] == "warning" => {
                self.complaints.push(params["args"].to_string());
            }
            "Page.loadEventFired" => self.loaded = true,
            "Runtime.exceptionThrown" => self.complaints.push(params["exceptionDetails"].to_string()),
            "Network.loadingFailed" => self.complaints.push(params.to_string()),
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its other processes before itself: then the profile is nobody's and can be removed.
        let asked = self.commands.write_all(b"{\"id\": 0, \"method\": \"Browser.close\"}\0").is_ok();
        while asked && self.messages.recv_timeout(PATIENCE).is_ok() {}
        // One that did not, or has never been there.
        drop(self.child.kill());
        self.child.wait().expect("it is our child");
    }
}
