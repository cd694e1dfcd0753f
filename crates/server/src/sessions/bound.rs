//! A run in a session: what may be asked of it there, and how it gets to the session's queue.

use super::{Manner, OpenSession, PLACE, has_language, internal, reject};
use crate::problem::Problem;
use model::{Language, Limits, Policy, RunRequest, RunSpec, SessionId};
use std::ffi::CString;
use std::io::Read;
use std::sync::Arc;
use tokio::time::Instant;
use worker::image::packages::PackageLayer;
use worker::machine::{Machine, Order, Ticket};
use worker::queue::{Full, Share};
use worker::session::How;

/// A run that belongs to a session: how it is to be done there.
#[derive(Debug, Clone)]
pub struct Bound {
    open: Arc<OpenSession>,
    how: How,
}

/// Keeps a session from being idle.
#[derive(Debug)]
pub struct Busy(Arc<OpenSession>);

impl Busy {
    /// While this is there.
    pub fn of(open: &Arc<OpenSession>) -> Self {
        open.clock().busy += 1;
        open.changed.notify_one();
        Self(open.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        clock.busy = clock.busy.saturating_sub(1);
        clock.idle_since = Instant::now();
        drop(clock);
        self.0.changed.notify_one();
        self.0.touch();
    }
}

impl Bound {
    /// A run of this session, as its request says.
    pub fn new(open: &Arc<OpenSession>, request: &RunRequest, manner: Manner) -> Self {
        let Manner { fresh, private, interactive } = manner;
        let number = {
            let mut clock = open.clock();
            clock.runs += 1;
            clock.runs
        };
        let how = if fresh {
            How::Fresh { private, interactive }
        } else {
            let name = request.file_name.clone().unwrap_or_else(|| format!("<run {number}>"));
            How::State { name, moves: request.cwd.is_some(), interactive }
        };
        Self { open: open.clone(), how }
    }

    /// The session.
    pub fn id(&self) -> &SessionId {
        self.open.session.id()
    }

    /// Completes a request as it would be run in the session, or says what is wrong with it.
    pub fn admit(&self, mut request: RunRequest, policy: &Policy) -> Result<RunSpec, Problem> {
        let own = &self.open.limits;
        if request.template.is_some() {
            return Err(reject("template", "a session has one template", "leave it out"));
        }
        if request.python.is_some() {
            let hint = "leave it out; the session is opened with `python`";
            return Err(reject("python", "a session has one Python", hint));
        }
        if request.runtime.is_some() {
            let hint = "leave it out; the session is opened with `template` and `python`";
            return Err(reject("runtime", "a session has its own", hint));
        }
        if request.egress.is_some() {
            let hint = "leave it out; the session is opened with `egress`";
            return Err(reject("egress", "what a session may reach is said when it is opened", hint));
        }
        if matches!(self.how, How::State { .. }) {
            let said = &request.limits;
            let wholes = [
                ("limits.memory_bytes", said.memory_bytes.is_some()),
                ("limits.cpus", said.cpus.is_some()),
                ("limits.processes", said.processes.is_some()),
                ("limits.disk_bytes", said.disk_bytes.is_some()),
                ("args", !request.args.is_empty()),
            ];
            if let Some((field, _)) = wholes.into_iter().find(|(_, said)| *said) {
                let hint = "leave it out, or send \"fresh\": true";
                return Err(reject(field, "this is the interpreter's own, which many runs share", hint));
            }
        }
        request.template = Some(self.open.template.clone());
        let by_name = request.file_name.as_deref().and_then(Language::of_file_name);
        request.language = request.language.or(by_name).or(Some(self.open.language));
        if let Some(language) = request.language {
            has_language(&self.open.session, language)?;
        }
        // A run may go on for as long as any; all else the session has.
        let ceiling = Limits {
            timeout_ms: policy.ceiling.timeout_ms,
            output_bytes: policy.ceiling.output_bytes,
            ..*own
        };
        let spec = RunSpec::admit(request, &Policy { limits: *own, ceiling })?;
        let (python, template) = (self.open.python.clone(), self.open.reference.clone());
        Ok(RunSpec { python, template, ..spec })
    }

    /// Whether a run in this language has what it imports, as far as the session says.
    pub fn auto_packages(&self, language: Language) -> bool {
        self.open.auto_packages && language == Language::Python
    }

    /// What the session was opened with.
    pub fn packages(&self) -> &[String] {
        &self.open.packages
    }

    /// Puts installed packages where the session's Python is going to look. They count as its files.
    pub async fn lay(&self, layer: PackageLayer) -> Result<(), Problem> {
        if self.open.laid().contains(&layer.hex) {
            return Ok(());
        }
        let hex = layer.hex.clone();
        let files = self.open.session.directory(c"tmp")?;
        let files = files.ok_or_else(|| reject("session", "it has ended", "open another"))?;
        let laying = tokio::task::spawn_blocking(move || layer.lay(&files, PLACE));
        let laid = laying.await.map_err(|error| internal(error.to_string()))?;
        laid.map_err(|error| {
            let hint = "open the session with `packages`, which need no room in it, or with more `limits.disk_bytes`";
            reject("code", &format!("the packages could not be put into the session: {error}"), hint)
        })?;
        self.open.laid().insert(hex);
        Ok(())
    }

    /// Whether a module of this name lies in its working directory: then no package is meant by it.
    pub fn has_module(&self, root: &str) -> bool {
        let names = [CString::new(format!("{root}.py")), CString::new(root)];
        names.into_iter().flatten().any(|name| self.open.session.has_in_workspace(&name))
    }

    /// Reads at most so many bytes of a file of its workspace, as it is now, or says in a few words why that cannot be.
    pub fn read(&self, path: &str, most_bytes: u64) -> Result<Vec<u8>, String> {
        let files = self.open.session.files().map_err(|fault| fault.to_string())?;
        let files = files.ok_or("the session has no files")?;
        let read = files.read(path).map_err(|error| match std::io::Error::from(error) {
            error if error.kind() == std::io::ErrorKind::NotFound => {
                "there is no such file among the session's".to_owned()
            }
            error => format!("it cannot be read: {error}"),
        });
        let mut bytes = Vec::new();
        let all = read?.0.take(most_bytes).read_to_end(&mut bytes);
        all.map(|_| bytes).map_err(|error| format!("it cannot be read: {error}"))
    }

    /// Whether packages were put into it, besides those that it was opened with.
    pub fn has_laid(&self) -> bool {
        !self.open.laid().is_empty()
    }

    /// Whether the interpreter that stays runs it.
    pub fn keeps_state(&self) -> bool {
        matches!(self.how, How::State { .. })
    }

    /// That the session was reopened, for the first run of it afterwards: what its events say.
    pub fn take_news(&self) -> Option<serde_json::Value> {
        let reopened = self.open.durable.as_ref()?.take_news()?;
        let files_of = reopened.files_of_ms.map(worker::run::time);
        let at = worker::run::time(reopened.at_ms);
        Some(
            serde_json::json!({ "at": at, "from_node": reopened.from, "files_of": files_of, "lost": "memory" }),
        )
    }

    /// Queues it.
    pub fn submit(&self, machine: &Machine, share: Share, order: Order) -> Result<Ticket, Full> {
        let share = Share { priority: self.open.priority, ..share };
        machine.submit_in(self.open.tenant.as_str(), share, order, &self.open.session, self.how.clone())
    }

    /// The session is not idle as long as this is there.
    pub fn busy(self) -> Busy {
        Busy::of(&self.open)
    }
}
