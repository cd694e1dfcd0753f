//! A scripted model, in a process of its own.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One, with a conversation of its own. It is killed when dropped.
pub struct Model {
    child: Child,
    url: String,
    _script: Option<tempfile::TempPath>,
}

impl Model {
    /// One that says what the file of this name in `conversations/` tells it to.
    pub fn of(name: &str) -> Self {
        Self::start(&folder().join("conversations").join(format!("{name}.json")), None)
    }

    /// One that says this.
    pub fn saying(turns: &Value) -> Self {
        let file = tempfile::NamedTempFile::new().expect("there is room");
        serde_json::to_writer(&file, &serde_json::json!({"turns": turns})).expect("it is written");
        let path = file.into_temp_path();
        let place = path.to_path_buf();
        Self::start(&place, Some(path))
    }

    fn start(conversation: &Path, script: Option<tempfile::TempPath>) -> Self {
        let mut child = Command::new("python3")
            .arg(folder().join("model_server.py"))
            .arg(conversation)
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a python3");
        let mut url = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut url).expect("the pipe is read");
        assert!(url.starts_with("http://"), "the model did not start");
        Self { child, url: url.trim().to_owned(), _script: script }
    }

    /// Where a provider finds it.
    pub fn base_url(&self, provider: &str) -> String {
        let version =
            if provider.starts_with("anthropic") || provider.starts_with("gemini") { "" } else { "/v1" };
        format!("{}{version}", self.url)
    }

    /// All that it was asked: path, headers and body of each request.
    pub fn requests(&self) -> Vec<Value> {
        let answer = fireclay_tests::http::send("GET", &format!("{}/requests", self.url), &[], b"").unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

/// Where the programs and conversations of these tests are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("agent")
}
