//! The sandboxes of a task, by the service that has them: a session that is opened when it is first needed, and fresh runs.

use super::export::Export;
use crate::args::TaskArguments;
use crate::client::{Answer, Client};
use crate::commands::follow::Follower;
use crate::commands::session::id_of;
use agent::{BenchError, Program, Surroundings, Workbench};
use model::spec::check_path;
use model::{Egress, InputFile, Language, LimitsPatch, Outcome, Rejection, RunRequest, RunResult, SessionId};
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest file that a model reads at once; it is shown less.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Output that is kept of each stream of a run.
const OUTPUT_BYTES: u64 = 256 << 10;

/// Signals that mean stop, as they come.
pub struct Interrupts {
    descriptor: OwnedFd,
    came: AtomicBool,
}

impl Interrupts {
    /// Has these signals mean stop from now on, in this thread and those that it starts.
    pub fn catch(signals: &[i32]) -> anyhow::Result<Self> {
        Ok(Self { descriptor: sys::signal::as_descriptor(signals)?, came: AtomicBool::new(false) })
    }

    /// Whether one came since it was last forgotten.
    pub fn came(&self) -> bool {
        while let Ok(Some(_)) = sys::signal::take(self.descriptor.as_fd()) {
            self.came.store(true, Ordering::Relaxed);
        }
        self.came.load(Ordering::Relaxed)
    }

    /// Forgets those that came.
    pub fn forget(&self) {
        self.came();
        self.came.store(false, Ordering::Relaxed);
    }
}

/// The sandboxes of a task.
pub struct Sandboxes<'a> {
    client: &'a Client,
    interrupts: &'a Interrupts,
    template: String,
    timeout_ms: u64,
    /// What all of them have, and may reach.
    packages: Vec<String>,
    offline: bool,
    python: Option<String>,
    /// Whether what code imports is installed.
    auto: bool,
    egress: Option<Egress>,
    files: Vec<InputFile>,
    session: Option<SessionId>,
    /// Whether the session was there before, and stays.
    keep: bool,
}

impl<'a> Sandboxes<'a> {
    /// Sandboxes of this service, into which `files` are put; `session` names the one that stays, if it is there already.
    pub fn new(
        client: &'a Client,
        interrupts: &'a Interrupts,
        arguments: &TaskArguments,
        session: Option<&str>,
        files: Vec<InputFile>,
    ) -> anyhow::Result<Self> {
        let template = arguments.template.clone();
        let mut bench = Self {
            client,
            interrupts,
            template: template.unwrap_or_else(|| arguments.language.default_template().to_owned()),
            timeout_ms: arguments.timeout,
            packages: arguments.packages.all(Some(arguments.language))?,
            offline: arguments.packages.offline,
            python: arguments.packages.python.clone(),
            auto: !arguments.no_packages,
            egress: arguments.egress.of(),
            files,
            session: None,
            keep: session.is_some(),
        };
        if let Some(said) = session {
            let id = id_of(client, said)?;
            bench.put_files(&id).map_err(|error| anyhow::anyhow!("put files into {id}: {error}"))?;
            bench.session = Some(id);
        }
        Ok(bench)
    }

    /// The session, which is opened if there is none, or if it has ended as sessions do that are idle for long.
    fn session(&mut self) -> Result<SessionId, BenchError> {
        if let Some(id) = &self.session {
            let view: Value = self.client.call("GET", &format!("/v1/sessions/{id}"), None).map_err(told)?;
            if view["state"] == "open" {
                return Ok(id.clone());
            }
            if self.keep {
                return Err(BenchError::Failed(format!("the session {id} has ended")));
            }
        }
        let mut asked = json!({"template": self.template, "name": "agent"});
        // Left out unless they are said: a service of before knows no such fields.
        if !self.packages.is_empty() {
            asked["packages"] = json!(self.packages);
        }
        if self.offline {
            asked["offline"] = json!(true);
        }
        if let Some(python) = &self.python {
            asked["python"] = json!(python);
        }
        if let Some(egress) = &self.egress {
            asked["egress"] = json!(egress);
        }
        let view: Value = self.client.call("POST", "/v1/sessions", Some(&asked)).map_err(fatal)?;
        let id: SessionId = serde_json::from_value(view["id"].clone())
            .map_err(|error| BenchError::Failed(format!("the service names no session: {error}")))?;
        self.put_files(&id)?;
        self.session = Some(id.clone());
        Ok(id)
    }

    fn put_files(&self, id: &SessionId) -> Result<(), BenchError> {
        for file in &self.files {
            self.client.put_file(id.as_str(), &file.path, file.content.as_bytes()).map_err(fatal)?;
        }
        Ok(())
    }

    fn limits(&self, time_left: Duration) -> LimitsPatch {
        let left = u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX);
        let timeout_ms = Some(self.timeout_ms.min(left).max(1));
        LimitsPatch { timeout_ms, output_bytes: Some(OUTPUT_BYTES), ..LimitsPatch::default() }
    }

    fn follow(&self, events: impl std::io::BufRead, id: &str) -> Result<RunResult, BenchError> {
        let follower = Follower { client: self.client, raw: false, quiet: true };
        let result = follower.follow(events, id, &self.interrupts.descriptor).map_err(fatal)?;
        // Nobody else takes it back.
        if result.outcome == Some(Outcome::Cancelled) {
            self.interrupts.came.store(true, Ordering::Relaxed);
            return Err(BenchError::Stopped);
        }
        Ok(result)
    }

    /// What a model should know of these sandboxes.
    pub fn surroundings(&self) -> Surroundings {
        let hosts = self.egress.iter().flat_map(|egress| egress.allow.iter().chain(egress.secrets.values()));
        let files = self.files.iter().map(|file| file.path.clone());
        Surroundings { hosts: hosts.cloned().collect(), files: files.collect() }
    }

    /// Copies the files of the session to a directory; answers what a person should know of that.
    pub fn fetch(&self, directory: &Path) -> anyhow::Result<Vec<String>> {
        let mut export = Export::to(directory)?;
        if let Some(id) = &self.session {
            let listed: Value =
                self.client.call("GET", &format!("/v1/sessions/{id}/files?recursive=true"), None)?;
            for item in listed["items"].as_array().into_iter().flatten().filter(|item| item["kind"] == "file")
            {
                let path = item["path"].as_str().unwrap_or_default();
                export.copy(path, self.client.file(id.as_str(), path)?)?;
            }
        }
        Ok(export.remarks())
    }

    /// Closes the session, if it was opened here.
    pub fn close(&mut self) -> anyhow::Result<()> {
        match self.session.take().filter(|_| !self.keep) {
            Some(id) => self.client.call::<Value>("DELETE", &format!("/v1/sessions/{id}"), None).map(drop),
            None => Ok(()),
        }
    }
}

/// An error of the service; what the model may have caused is told to the model.
fn told(error: anyhow::Error) -> BenchError {
    if error.chain().any(|cause| cause.is::<Rejection>()) {
        BenchError::Refused(format!("{error:#}"))
    } else {
        fatal(error)
    }
}

fn fatal(error: anyhow::Error) -> BenchError {
    BenchError::Failed(format!("{error:#}"))
}

impl Workbench for Sandboxes<'_> {
    fn run(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError> {
        let id = self.session()?;
        let mut body = json!({
            "language": program.language,
            "code": program.code,
            "stdin": program.stdin,
            "limits": self.limits(time_left),
        });
        // Left out unless they are wanted: a service of before has sessions without them.
        if self.auto && program.language == Language::Python {
            body["auto_packages"] = json!(true);
        }
        if self.offline {
            body["offline"] = json!(true);
        }
        if !program.packages.is_empty() {
            body["packages"] = json!(program.packages);
        }
        let (run, events) = self.client.run_in(id.as_str(), &body).map_err(told)?;
        self.follow(events, &run)
    }

    fn run_fresh(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError> {
        let request = RunRequest {
            language: Some(program.language),
            template: Some(self.template.clone()),
            code: program.code.clone(),
            stdin: program.stdin.clone(),
            files: self.files.clone(),
            packages: [self.packages.clone(), program.packages.clone()].concat(),
            auto_packages: self.auto,
            offline: self.offline,
            python: self
                .python
                .clone()
                .filter(|_| matches!(program.language, Language::Python | Language::Bash)),
            egress: self.egress.clone(),
            limits: self.limits(time_left),
            ..RunRequest::default()
        };
        match self.client.run(&request).map_err(told)? {
            Answer::Events { id, events } => self.follow(events, &id),
            Answer::NotNow => Err(BenchError::Failed(
                "the service takes no run of ours now: it is busy, or wants a key".to_owned(),
            )),
        }
    }

    fn read_file(&mut self, path: &str) -> Result<Vec<u8>, BenchError> {
        check_path("path", path).map_err(|wrong| BenchError::Refused(wrong.to_string()))?;
        let id = self.session()?;
        let mut content = Vec::new();
        let from = self.client.file(id.as_str(), path).map_err(told)?;
        from.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(|error| fatal(error.into()))?;
        Ok(content)
    }

    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<(), BenchError> {
        // Here already: a service that refuses a path does not wait for the content, and a connection that breaks off tells no reason.
        check_path("path", path).map_err(|wrong| BenchError::Refused(wrong.to_string()))?;
        let id = self.session()?;
        self.client.put_file(id.as_str(), path, content).map_err(told)
    }
}
