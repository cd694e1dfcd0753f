//! `fireclay run` by the service that owns the data directory: the same output, files and exit code, from a sandbox that was ready.
//!
//! What the service cannot do as well is run here: see [`Served::possible`].

use super::{explain_end, open_artifacts, print_json, tell_denied};
use crate::args::RunArguments;
use crate::client::{Answer, Client};
use crate::commands::follow::Follower;
use crate::env::Settings;
use crate::exit::{FAULT, code_of_outcome};
use crate::local;
use anyhow::Context;
use model::{LimitsPatch, Outcome, Policy, Rejection, RunRequest, RunResult};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use worker::image::DEFAULT_NAME;

/// A run for the service.
pub struct Served<'a> {
    arguments: &'a RunArguments,
    client: Client,
}

/// Longest input that is read to be sent along.
const STDIN_BYTES_MAX: u64 = 1 << 20;

impl<'a> Served<'a> {
    /// The service for this run, if one answers and could do all that is asked: not one that shall run here, see another image, do
    /// without a layer, leave no record, or read what a person types.
    pub fn possible(arguments: &'a RunArguments, settings: &Settings) -> Option<Self> {
        let RunArguments { local, show_plan, no_record, stdin, allow_missing, .. } = arguments;
        let here = *local || *show_plan || *no_record || stdin.as_deref() == Some("-");
        if here || !allow_missing.is_empty() {
            return None;
        }
        let client = Client::serving(&settings.data, &arguments.image, settings.api_key.clone())?;
        Some(Self { arguments, client })
    }

    /// The service that installs what a run asks for: the one that answers, else the user's local server, which is started.
    pub fn with_packages(arguments: &'a RunArguments, settings: &Settings) -> anyhow::Result<Self> {
        if let Some(served) = Self::possible(arguments, settings) {
            return Ok(served);
        }
        let RunArguments { local, show_plan, no_record, stdin, allow_missing, image, .. } = arguments;
        let here = [
            ("--local", *local),
            ("--show-plan", *show_plan),
            ("--no-record", *no_record),
            ("--stdin", stdin.as_deref() == Some("-")),
            ("--allow-missing", !allow_missing.is_empty()),
            ("--image", image != DEFAULT_NAME),
        ];
        if let Some((name, _)) = here.into_iter().find(|(_, said)| *said) {
            let message =
                "packages are installed, and programs compiled, by a service, and this has it run here";
            return Err(Rejection::new(name, message, "leave it out").into());
        }
        let client = Client::to_serving(&local::start(settings)?, settings.api_key.clone())?;
        Ok(Self { arguments, client })
    }

    /// Has it run; `None` if it did not take it, and it is to be run here. Signals are taken from `cancel`.
    pub fn run(self, mut request: RunRequest, cancel: &OwnedFd) -> anyhow::Result<Option<u8>> {
        if let Some(path) = &self.arguments.stdin {
            match text_of(Path::new(path)) {
                Some(text) => request.stdin = Some(text),
                None => return Ok(None),
            }
        }
        let limits = request.limits;
        let Answer::Events { id, events } = self.client.run(&request)? else { return Ok(None) };
        let artifacts = self.arguments.artifacts.as_deref().map(open_artifacts).transpose()?;
        let RunArguments { raw, json, .. } = self.arguments;
        let follower = Follower { client: &self.client, raw: *raw, quiet: *json };
        let result = follower.follow(events, &id, cancel);
        let result = result.context("`fireclay run --local` runs it here")?;
        if let Some(directory) = &artifacts {
            for artifact in &result.artifacts {
                let content = self.client.artifact(&id, &artifact.path)?;
                worker::artifacts::export(directory.as_fd(), Path::new(&artifact.path), content)
                    .with_context(|| format!("copy {}", artifact.path))?;
            }
        }
        self.tell(&result, &limits).map(Some)
    }

    /// Says what the output does not, and answers the exit code.
    fn tell(&self, result: &RunResult, limits: &LimitsPatch) -> anyhow::Result<u8> {
        if self.arguments.json {
            print_json(result)?;
        } else if let Some(fault) = &result.fault {
            eprintln!("fireclay: {fault}");
        } else if result.outcome == Some(Outcome::Denied) && !result.findings.is_empty() {
            tell_denied(&result.findings);
        } else if let Some(outcome) = result.outcome {
            // The service's own limits may be others than those of a run here.
            let limits = if result.limits_hit.is_empty() {
                Policy::DEFAULT.limits
            } else {
                self.client.limits(limits)?
            };
            explain_end(outcome, result.signal.as_deref(), &limits, &result.isolation.missing);
        }
        let signal = result.signal.as_deref().and_then(sys::signal::number);
        Ok(result.outcome.map_or(FAULT, |outcome| code_of_outcome(outcome, result.exit_code, signal)))
    }
}

/// The content of a file that can be sent as it is: text, and not much.
fn text_of(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    (meta.is_file() && meta.len() <= STDIN_BYTES_MAX).then(|| std::fs::read_to_string(path).ok())?
}
