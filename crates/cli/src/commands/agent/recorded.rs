//! The trace of a question that was worked on here: gathered as it happens, and given to the service that had the sandboxes.

use crate::client::Client;
use agent::{End, Ended, Program, Redactor, Told};
use serde_json::{Value, json};
use server::service::now_ms;
use std::cell::{Cell, RefCell};
use store::TaskEvent;

/// Most events of one question that are kept.
const EVENTS_MAX: usize = 10_000;

/// What happened to the latest question so far, in the words of a task's events.
pub struct Recorder {
    redactor: Redactor,
    events: RefCell<Vec<TaskEvent>>,
    attempt: Cell<u32>,
}

impl Recorder {
    /// Without a question.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, events: RefCell::default(), attempt: Cell::new(0) }
    }

    /// Begins anew, with this question.
    pub fn begin(&self, question: &str) {
        self.events.borrow_mut().clear();
        self.attempt.set(0);
        self.happened("question", json!({ "text": self.redactor.redact(question) }));
    }

    fn happened(&self, kind: &str, data: Value) {
        let mut events = self.events.borrow_mut();
        if events.len() < EVENTS_MAX {
            let number = events.len() as u64 + 1;
            events.push(TaskEvent { number, at_ms: now_ms(), kind: kind.to_owned(), data });
        }
    }

    /// Takes note.
    pub fn tell(&self, told: &Told<'_>) {
        let clean = |text: &str| self.redactor.redact(text);
        let attempt = self.attempt.get();
        match told {
            Told::Thought(text) => self.happened("thought", json!({ "text": clean(text) })),
            Told::Code(Program { language, code, stdin, .. }) => {
                self.attempt.set(attempt + 1);
                let stdin = stdin.as_deref().map(clean);
                let data = json!({"attempt": attempt + 1, "language": language, "code": clean(code), "stdin": stdin});
                self.happened("code", data);
            }
            Told::Ran(result) => {
                self.happened("running", json!({"attempt": attempt, "run": result.id}));
                let failed = result.outcome != Some(model::Outcome::Completed);
                let name = result.outcome.map_or("fault", model::Outcome::name);
                let error = result.error.as_ref().map(|error| format!("{}: {}", error.name, error.message));
                let error = failed.then(|| clean(&error.unwrap_or_else(|| name.to_owned())));
                let output = clean(&format!("{}{}", result.stdout, result.stderr));
                let data = json!({"attempt": attempt, "outcome": name, "error": error, "output": output});
                self.happened("ran", data);
            }
            Told::Reviewed(reviewed) => {
                let reasons: Vec<String> = reviewed.reasons.iter().map(|reason| clean(reason)).collect();
                let tokens = reviewed.tokens;
                let data = json!({
                    "attempt": attempt, "model": reviewed.model, "reasons": reasons, "input_tokens": tokens.input,
                    "cached_tokens": tokens.cached, "output_tokens": tokens.output, "dollars": reviewed.dollars,
                });
                self.happened("reviewed", data);
            }
            Told::Denied(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(|reason| clean(reason)).collect();
                self.happened("denied", json!({"attempt": attempt, "reasons": reasons}));
            }
            Told::File(done, path, bytes) => {
                self.happened("file", json!({"done": done, "path": path, "bytes": bytes}));
            }
            Told::Called(name, arguments, answer) => {
                let data = json!({"name": name, "arguments": clean(arguments), "answer": clean(answer)});
                self.happened("called", data);
            }
            Told::Spent(spent) => {
                let data = json!({
                    "turns": spent.turns, "runs": spent.runs, "input_tokens": spent.tokens.input,
                    "cached_tokens": spent.tokens.cached, "output_tokens": spent.tokens.output,
                    "dollars": (!spent.unpriced).then_some(spent.dollars),
                });
                self.happened("spent", data);
            }
            Told::Pass(number) => self.happened("pass", json!({ "pass": number })),
            Told::Waiting(..) | Told::Warning(_) | Told::Said(_) => {}
        }
    }

    /// Gives it to the service. One that takes none, or an older one, is let be: the answer is what was asked for.
    pub fn send(&self, client: &Client, model: &str, ended: &Ended) {
        let (outcome, answer, error) = match &ended.end {
            End::Answered(answer) => ("answered", Some(self.redactor.redact(answer)), None),
            End::Exceeded(limit) => ("budget_exceeded", None, Some(limit.to_string())),
            End::Failed(why) => ("failed", None, Some(self.redactor.redact(why))),
            End::Stopped => ("cancelled", None, None),
        };
        self.happened("settled", json!({"state": outcome, "answer": answer, "error": error}));
        let traces = crate::commands::record::traces();
        if !traces.enabled {
            return;
        }
        let line = server::traces::told_elsewhere(model, &self.events.borrow(), outcome, traces.content);
        if let Some(line) = line {
            drop(client.call::<Value>("POST", "/v1/traces/import?recorded=true", Some(&line)));
        }
    }
}
