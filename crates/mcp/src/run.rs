//! `run_code` and `run_shell`: submits a run, tells of its output while it is on its way, and takes it back when the caller does.

use crate::answer::of_run;
use crate::api::{Asker, Refusal, object};
use crate::arguments::{File, Language, Limits, Reading, RunCode, RunShell};
use crate::events::{Event, Events};
use crate::handler::{Call, OF_RUNS};
use crate::sessions::Place;
use axum::body::Body;
use axum::http::{StatusCode, header};
use model::RunResult;
use rmcp::model::{CallToolResult, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use serde_json::{Value, json};
use std::time::Duration;

/// Output of each stream that is kept if the caller does not say: enough to work with, and not all that a model can read.
const OUTPUT_BYTES: u64 = 64 << 10;
/// Most of the output that one notification tells.
const PROGRESS_BYTES_MAX: usize = 4 << 10;
/// Most notifications of one run; what comes later is told with the result alone.
const PROGRESS_MAX: u32 = 1_000;
/// How long a client may take to take a notification in before it gets no more of this run.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(5);

/// What a run is asked to do, whichever tool asked.
struct Asked {
    request: Value,
    session: Option<String>,
    template: Option<String>,
    fresh: bool,
}

impl Asked {
    fn new(
        (language, code): (Language, String),
        stdin: Option<String>,
        files: &[File],
        limits: Limits,
        (session, template): (Option<String>, Option<String>),
        reading: Reading,
    ) -> Self {
        let limits = Limits { output_bytes: limits.output_bytes.or(Some(OUTPUT_BYTES)), ..limits };
        let mut request = object(&[
            ("language", json!(language)),
            ("code", json!(code)),
            ("stdin", json!(stdin)),
            ("files", json!(files)),
            ("limits", json!(limits)),
        ]);
        if let (Value::Object(request), Value::Object(reading)) = (&mut request, json!(reading)) {
            request.extend(reading);
        }
        let fresh = language.is_always_fresh() && session.is_none();
        Self { request, session, template, fresh }
    }
}

impl Call {
    /// `run_code`.
    pub async fn run_code(&self, asked: RunCode) -> Result<CallToolResult, Refusal> {
        let RunCode { code, language, stdin, files, packages, template, limits, reading, session } = asked;
        let place = (session, template);
        let mut asked = Asked::new((language, code), stdin, &files, limits, place, reading);
        if !packages.is_empty() {
            asked.request["packages"] = json!(packages);
        }
        self.run(asked).await
    }

    /// `run_shell`.
    pub async fn run_shell(&self, asked: RunShell) -> Result<CallToolResult, Refusal> {
        let RunShell { command, stdin, limits, reading, session } = asked;
        self.run(Asked::new((Language::Bash, command), stdin, &[], limits, (session, None), reading)).await
    }

    async fn run(&self, asked: Asked) -> Result<CallToolResult, Refusal> {
        if asked.fresh {
            return self.run_at(&Place::Fresh, &asked).await;
        }
        let place = self.place(asked.session.as_deref(), asked.template.as_deref()).await?;
        match self.run_at(&place, &asked).await {
            // It ended between the look and the run, as sessions do that were idle for long.
            Err(refusal) if refusal.status == Some(StatusCode::CONFLICT) => {
                let place = self.place(asked.session.as_deref(), asked.template.as_deref()).await?;
                self.run_at(&place, &asked).await
            }
            done => done,
        }
    }

    async fn run_at(&self, place: &Place, asked: &Asked) -> Result<CallToolResult, Refusal> {
        let mut request = asked.request.clone();
        let (path, opened) = match place {
            Place::Fresh => {
                if let Some(template) = &asked.template {
                    request["template"] = json!(template);
                }
                self.complete(&mut request, |_| true);
                ("/v1/runs".to_owned(), false)
            }
            Place::Session { id, opened } => {
                self.complete(&mut request, |name| OF_RUNS.contains(&name));
                (format!("/v1/sessions/{id}/runs"), *opened)
            }
        };
        let result = self.follow(&path, &request).await?;
        Ok(of_run(&result, opened))
    }

    /// Has something run, and returns what became of it. Whatever ends this early takes the run back.
    pub async fn follow(&self, path: &str, request: &Value) -> Result<RunResult, Refusal> {
        let headers = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::ACCEPT, "text/event-stream".to_owned()),
        ];
        let answer = self.asker.ask("POST", path, &headers, request.to_string()).await?;
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Refusal::new("the service names no run"))?.to_owned();
        let mut run = OnItsWay { asker: self.asker.clone(), path: Some(location) };
        let mut events = Events::new(answer.into_body());
        let mut progress = Progress::new(self);
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                () = self.cancelled.cancelled(), if run.path.is_some() => {
                    run.take_back().await;
                    continue;
                }
            };
            let Some(Event { kind, data }) = event else {
                return Err(Refusal::new("the service ended before the run did"));
            };
            match kind.as_str() {
                "settled" => {
                    run.path = None;
                    return serde_json::from_str(&data)
                        .map_err(|error| Refusal::new(format!("the result is strange: {error}")));
                }
                "problem" => {
                    run.path = None;
                    return Err(Refusal::new(format!("the run could not be recorded: {data}")));
                }
                kind => progress.tell(kind, &data).await,
            }
        }
    }
}

/// A run that is taken back when nobody waits for it any more.
struct OnItsWay {
    asker: Asker,
    /// Where it is; `None` once it is settled or taken back.
    path: Option<String>,
}

impl OnItsWay {
    async fn take_back(&mut self) {
        if let Some(path) = self.path.take() {
            // What was over already is over: there is nobody to be told.
            drop(self.asker.ask("POST", &format!("{path}/cancel"), &[], Body::empty()).await);
        }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let asker = self.asker.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let path = format!("{path}/cancel");
            runtime.spawn(async move { drop(asker.ask("POST", &path, &[], Body::empty()).await) });
        }
    }
}

/// Tells the client of a run's output, if it gave a token for that.
struct Progress<'a> {
    to: Option<(&'a Peer<RoleServer>, ProgressToken)>,
    told: u32,
}

impl<'a> Progress<'a> {
    fn new(call: &'a Call) -> Self {
        Self { to: call.progress.as_ref().map(|(peer, token)| (peer, token.clone())), told: 0 }
    }

    async fn tell(&mut self, kind: &str, data: &str) {
        let Some((peer, token)) = &self.to else { return };
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let message = match (kind, data["text"].as_str()) {
            ("started", _) => "started".to_owned(),
            ("stdout", Some(text)) => tail(text).to_owned(),
            ("stderr", Some(text)) => format!("[stderr] {}", tail(text)),
            _ => return,
        };
        self.told += 1;
        let told = ProgressNotificationParam::new(token.clone(), f64::from(self.told)).with_message(message);
        let sent = tokio::time::timeout(PROGRESS_PATIENCE, peer.notify_progress(told)).await;
        if self.told == PROGRESS_MAX || !matches!(sent, Ok(Ok(()))) {
            self.to = None;
        }
    }
}

/// The end of a text, so much as one notification tells.
fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(PROGRESS_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
