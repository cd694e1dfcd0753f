//! The sandbox that installs: it stays for one build, has no file of a tenant and no secret, and reaches a registry alone.

use super::{Inner, Installer, failed};
use crate::run::now;
use crate::session::{
    How, Kind, Session, SessionHappened, SessionParts, SessionShape, Standing, Why, Workspace,
};
use crate::spawner::{Job, Shape};
use crate::template::NotReady;
use model::{
    Background, Egress, Fault, Language, Limits, Outcome, Policy, Rejection, RunId, RunRequest, RunResult,
    RunSpec, SessionId,
};
use sandbox::command::proxy_environment;
use std::collections::BTreeMap;
use std::io::Read;

/// Where the work is done: not in the workspace, of which artifacts are kept.
const DIRECTORY: &str = "/tmp";
/// The machine's trusted certificates, as the image has them.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longest end of what an installer said that is passed on.
const SAID_CHARS_MAX: usize = 2000;
/// Longest text that is read: one byte more than the longest lock.
const TEXT_BYTES_MAX: u64 = packages::FILE_BYTES_MAX as u64 * 4 + 1;

/// A sandbox that installs.
pub(crate) struct Site {
    session: Session,
    spec: RunSpec,
}

impl Site {
    /// Opens one that reaches these hosts.
    pub(crate) async fn open(
        installer: &Installer,
        image: sandbox::Image,
        hosts: &[String],
    ) -> Result<Self, NotReady> {
        let egress = Egress { allow: hosts.to_vec(), ..Egress::default() };
        Self::open_on(installer, image, egress, &BTreeMap::new()).await
    }

    /// Opens one that sees this image, reaches these hosts by these methods, and has these variables.
    pub(crate) async fn open_on(
        installer: &Installer,
        image: sandbox::Image,
        asked: Egress,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, NotReady> {
        let limits = installer.inner.settings.limits;
        Self::open_within(installer, image, asked, variables, limits).await
    }

    /// The same with these limits.
    pub(super) async fn open_within(
        installer: &Installer,
        image: sandbox::Image,
        asked: Egress,
        variables: &BTreeMap<String, String>,
        limits: Limits,
    ) -> Result<Self, NotReady> {
        let Inner { pool, proxies, allow_missing, .. } = &*installer.inner;
        let id = SessionId::from_random(sys::fs::random().map_err(failed)?);
        let reaches = !asked.allow.is_empty();
        if reaches {
            proxies.admit("", &asked)?;
        }
        let shape = Shape {
            image,
            limits,
            allow_missing: allow_missing.clone(),
            ahead: None,
            modules: Vec::new(),
            egress: reaches,
        };
        let own = [
            ("SSL_CERT_FILE", CERTIFICATES),
            ("UV_SYSTEM_CERTS", "true"),
            ("UV_NATIVE_TLS", "true"),
            ("UV_CACHE_DIR", "/tmp/cache"),
            ("UV_HTTP_TIMEOUT", "30"),
            ("NODE_EXTRA_CA_CERTS", CERTIFICATES),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Nothing listens in there, so that a registry of that name is the machine's.
        let proxy = proxy_environment().filter(|(name, _)| !name.eq_ignore_ascii_case("no_proxy"));
        let proxy = reaches.then_some(proxy).into_iter().flatten();
        let variables = variables.iter().map(|(name, value)| (name.clone(), value.clone()));
        let env: BTreeMap<String, String> = proxy.chain(own).chain(variables).collect();
        let shape = SessionShape { shape, env, background: Background::default() };
        let session = Session::open(
            pool,
            SessionParts {
                id,
                shape,
                way_out: reaches.then(|| (proxies.clone(), String::new(), asked)),
                hold: None,
            },
        )?;
        if let Standing::Ended(ended) = session.built().await {
            return Err(failed(format!("the sandbox that installs: {}", ended.detail)).into());
        }
        let request = RunRequest { language: Some(Language::Bash), ..RunRequest::default() };
        let policy = Policy { limits, ceiling: limits };
        Ok(Self { session, spec: RunSpec::admit(request, &policy)? })
    }

    /// Ends it.
    pub(crate) fn close(&self) {
        self.session.end(Why::Closed, "");
        self.session.let_files_go();
    }

    /// What was written there.
    pub(crate) fn files(&self) -> Result<Workspace, Fault> {
        self.session.directory(c"tmp")?.ok_or_else(|| failed("the sandbox that installs has no files"))
    }

    /// Has commands done; what the installer says against it is the caller's affair, with this advice.
    pub(super) async fn work(&self, commands: &str, hint: &str) -> Result<(), NotReady> {
        let RunResult { outcome, fault, stderr, egress, .. } =
            self.result(&format!("cd {DIRECTORY} && {commands}\n")).await?;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        let rejected = |said: String| Err(Rejection::new("packages", said, hint).into());
        match outcome {
            Some(Outcome::Completed) => Ok(()),
            Some(Outcome::Failed) => {
                // What kept it from the index stands before what it made of that.
                let kept = egress.iter().find(|attempt| attempt.verdict == model::EgressVerdict::Refused);
                let kept = kept.map(|attempt| format!("{}; ", attempt.reason)).unwrap_or_default();
                rejected(format!("{kept}{}", end_of(&stderr)))
            }
            Some(other) => {
                rejected(format!("they could not be installed within the limits of a build: {other}"))
            }
            None => Err(failed("a build ended without an outcome").into()),
        }
    }

    /// Has commands done, whatever comes of it.
    pub(crate) async fn show(&self, commands: &str) -> Result<Shown, Fault> {
        let result = self.result(&format!("cd {DIRECTORY} || exit\n{commands}\n")).await?;
        if let Some(fault) = result.fault {
            return Err(fault);
        }
        let completed = result.outcome == Some(Outcome::Completed);
        let ended = match (result.outcome, result.exit_code) {
            (Some(Outcome::Failed), Some(code)) => format!("ended with {code}"),
            (Some(outcome), _) => format!("was ended: {outcome}"),
            (None, _) => "ended without an outcome".to_owned(),
        };
        Ok(Shown { completed, ended, stdout: result.stdout, stderr: result.stderr })
    }

    /// The same, told as a run is.
    pub(super) async fn result(&self, code: &str) -> Result<RunResult, Fault> {
        let spec = RunSpec { code: code.to_owned(), ..self.spec.clone() };
        let id = RunId::from_random(sys::fs::random().map_err(failed)?);
        let artifacts = std::env::temp_dir().join(id.as_str());
        let job = Job { id, created_at: now(), spec, artifacts };
        let how = How::Fresh { private: false, interactive: false };
        let mut running = self.session.run(&job, how).await?;
        loop {
            if let SessionHappened::Settled(result, _) = running.next().await? {
                return Ok(*result);
            }
        }
    }

    /// The text of a file, at most [`TEXT_BYTES_MAX`] of it.
    pub(super) fn read(&self, name: &str) -> Result<String, Fault> {
        let (file, entry) = self.files()?.read(name).map_err(failed)?;
        if entry.kind != Kind::File {
            return Err(failed(format!("{name} is no file")));
        }
        let mut text = String::new();
        file.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }
}

/// What became of commands.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Whether they ended with 0.
    pub(crate) completed: bool,
    /// How they ended else.
    pub(crate) ended: String,
    /// What they said.
    pub(crate) stdout: String,
    /// And what of themselves.
    pub(crate) stderr: String,
}

impl Shown {
    /// The end of what they said, in one paragraph.
    pub(crate) fn end(&self) -> String {
        end_of(if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr })
    }
}

/// The end of what was said, in one paragraph.
fn end_of(said: &str) -> String {
    let text = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = text.chars().count().saturating_sub(SAID_CHARS_MAX);
    text.chars().skip(skip).collect()
}
