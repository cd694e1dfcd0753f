//! What a task has come to, as its events tell it: its questions, and each piece of code with what became of it. Pure.

use crate::tasks::{Budget, Code, Solution, Spent};
use model::{Language, RunId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{TaskEvent, TaskState};
use utoipa::ToSchema;

/// A piece of code that the model wrote, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = TaskAttempt)]
pub struct Attempt {
    /// Its place among all of the task, from 1.
    pub number: u32,
    /// Which question it was for, from 1.
    pub question: u32,
    /// What the model said before it.
    pub thought: Option<String>,
    /// Its language.
    pub language: Language,
    /// Its text, as it ran or was to run.
    pub code: String,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// Whether a person wrote it anew before it ran.
    pub edited: bool,
    /// Its run: `GET /v1/runs/{id}` has all of it. Absent if it did not run.
    pub run: Option<RunId>,
    /// The outcome of its run, or `denied` if it was not let run; absent as long as there is none, or if the sandbox failed.
    pub outcome: Option<String>,
    /// What went wrong, in a few words; absent if nothing did, or it is not over.
    pub error: Option<String>,
    /// What the model was told of its run, the first 16 KiB.
    pub output: Option<String>,
    /// Why it was not let run: the words of the review, or of the person who was asked.
    pub denied: Vec<String>,
    /// What the model said to its failure, before it tried again.
    pub reflection: Option<String>,
}

/// A question, and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = TaskQuestion)]
pub struct Exchange {
    /// The question.
    pub question: String,
    /// When it was asked, RFC 3339 in UTC.
    pub asked_at: String,
    /// When it was settled.
    pub settled_at: Option<String>,
    /// How much it may use.
    pub budget: Budget,
    /// How it ended: `answered`, `budget_exceeded`, `failed`, `cancelled` or `interrupted`; absent while it has not.
    #[schema(value_type = Option<String>)]
    pub state: Option<TaskState>,
    /// The answer, if there is one. Never made up of what there was.
    pub answer: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
    /// The part of the budget that was used up: `turns`, `tokens`, `dollars`, `time` or `runs`.
    pub limit: Option<String>,
    /// What it used, so far.
    pub usage: Spent,
    /// The program that was found, if one was asked for and there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<Solution>,
    /// The last code, and what the model was told of it, of a question without an answer.
    pub last: Option<Last>,
}

/// The last code of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TaskLastCode)]
pub struct Last {
    /// Its language.
    pub language: Language,
    /// Its text.
    pub code: String,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// What the model was told of it.
    pub output: String,
}

/// How a question ended, as its last event says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// How.
    pub state: TaskState,
    /// The answer.
    #[serde(default)]
    pub answer: Option<String>,
    /// Why there is none.
    #[serde(default)]
    pub error: Option<String>,
    /// What was used up.
    #[serde(default)]
    pub limit: Option<String>,
    /// The program that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<Solution>,
    /// What was used.
    #[serde(default)]
    pub usage: Option<Spent>,
    /// The last code.
    #[serde(default)]
    pub last: Option<Last>,
}

/// What a task has come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Story {
    /// Its questions, in their order.
    pub questions: Vec<Exchange>,
    /// All code.
    pub attempts: Vec<Attempt>,
    /// The attempt that waits for a person.
    pub approval: Option<u32>,
    /// What was said and belongs to no code yet.
    thought: Option<String>,
}

impl Story {
    /// What these events tell, all of a task in their order. One that is not understood is passed over.
    pub fn of(events: Vec<TaskEvent>) -> Self {
        let mut story = Self::default();
        for event in events {
            story.take(event);
        }
        story
    }

    fn take(&mut self, TaskEvent { at_ms, kind, data, .. }: TaskEvent) {
        let text = |key: &str| data[key].as_str().map(str::to_owned);
        match kind.as_str() {
            "question" => self.questions.extend(question(at_ms, &data)),
            "thought" => self.think(text("text")),
            "code" => self.code(&data),
            "approval" => self.approval = self.attempt(&data).map(|attempt| attempt.number),
            "decided" => {
                self.approval = None;
                if let (Some(attempt), Some(code)) = (self.attempt(&data), text("code")) {
                    attempt.code = code;
                    attempt.edited = true;
                }
            }
            "running" => {
                if let Some(attempt) = self.attempt(&data) {
                    attempt.run = text("run").and_then(|id| id.parse().ok());
                }
            }
            "ran" => {
                if let Some(attempt) = self.attempt(&data) {
                    attempt.outcome = text("outcome");
                    attempt.error = text("error");
                    attempt.output = text("output");
                }
            }
            "refused" => {
                if let Some(attempt) = self.attempt(&data) {
                    attempt.error = text("reason");
                }
            }
            "denied" => self.deny(&data),
            "spent" => {
                if let (Some(last), Ok(spent)) = (self.questions.last_mut(), serde_json::from_value(data)) {
                    last.usage = spent;
                }
            }
            "settled" => self.settle(at_ms, data),
            _ => {}
        }
    }

    fn attempt(&mut self, data: &Value) -> Option<&mut Attempt> {
        let number = data["attempt"].as_u64()?;
        self.attempts.iter_mut().rev().find(|attempt| u64::from(attempt.number) == number)
    }

    /// What is said after a failure is about it; else it is about what comes.
    fn think(&mut self, text: Option<String>) {
        let question = self.questions.len() as u32;
        let failed = self.attempts.last_mut().filter(|attempt| {
            let well = attempt.error.is_none() && attempt.denied.is_empty();
            attempt.question == question && !well && attempt.reflection.is_none()
        });
        match failed {
            Some(attempt) => attempt.reflection = text,
            None => self.thought = text,
        }
    }

    fn code(&mut self, data: &Value) {
        let (Ok(number), Ok(Code { language, code, stdin, .. })) = (
            u32::try_from(data["attempt"].as_u64().unwrap_or_default()),
            serde_json::from_value::<Code>(data.clone()),
        ) else {
            return;
        };
        self.attempts.push(Attempt {
            number,
            question: self.questions.len() as u32,
            thought: self.thought.take(),
            language,
            code,
            stdin,
            edited: false,
            run: None,
            outcome: None,
            error: None,
            output: None,
            denied: Vec::new(),
            reflection: None,
        });
    }

    /// Files are denied too, after code that was not: those are no attempt's.
    fn deny(&mut self, data: &Value) {
        let reasons: Vec<String> = serde_json::from_value(data["reasons"].clone()).unwrap_or_default();
        let open = self
            .attempt(data)
            .filter(|attempt| attempt.run.is_none() && attempt.error.is_none() && attempt.denied.is_empty());
        if let Some(attempt) = open {
            attempt.outcome = Some("denied".to_owned());
            attempt.denied = reasons;
        }
    }

    fn settle(&mut self, at_ms: i64, data: Value) {
        self.approval = None;
        self.thought = None;
        let (Some(last), Ok(settled)) = (self.questions.last_mut(), serde_json::from_value::<Settled>(data))
        else {
            return;
        };
        last.settled_at = Some(worker::run::time(at_ms));
        last.state = Some(settled.state);
        last.answer = settled.answer;
        last.solution = settled.solution;
        last.error = settled.error;
        last.limit = settled.limit;
        last.usage = settled.usage.unwrap_or(last.usage);
        last.last = settled.last;
    }
}

fn question(at_ms: i64, data: &Value) -> Option<Exchange> {
    Some(Exchange {
        question: data["text"].as_str()?.to_owned(),
        asked_at: worker::run::time(at_ms),
        settled_at: None,
        budget: serde_json::from_value(data["budget"].clone()).ok()?,
        state: None,
        answer: None,
        error: None,
        limit: None,
        usage: Spent::default(),
        solution: None,
        last: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(rows: &[(&str, Value)]) -> Story {
        let budget = json!({"turns": 1, "tokens": 1, "dollars": 1.0, "time_ms": 1, "runs": 1});
        let first = ("question", json!({"text": "?", "budget": budget}));
        let rows = std::iter::once(&first).chain(rows).zip(1..);
        let events = rows.map(|((kind, data), number)| TaskEvent {
            number,
            at_ms: 0,
            kind: (*kind).to_owned(),
            data: data.clone(),
        });
        Story::of(events.collect())
    }

    #[test]
    fn what_is_said_after_a_failure_is_its_reflection() {
        let code = |attempt| ("code", json!({"attempt": attempt, "language": "python", "code": "x"}));
        let ran =
            |attempt, error: Value| ("ran", json!({"attempt": attempt, "outcome": "failed", "error": error}));
        let thought = |text| ("thought", json!({"text": text}));
        let story = told(&[
            thought("first"),
            code(1),
            ran(1, "NameError: x".into()),
            thought("so I mend it"),
            code(2),
            ran(2, Value::Null),
            thought("and more"),
            code(3),
        ]);
        let said: Vec<_> =
            story.attempts.iter().map(|one| (one.thought.as_deref(), one.reflection.as_deref())).collect();
        assert_eq!(said, [(Some("first"), Some("so I mend it")), (None, None), (Some("and more"), None)]);
    }

    #[test]
    fn a_file_that_is_denied_is_no_attempts() {
        let story = told(&[
            ("code", json!({"attempt": 1, "language": "bash", "code": "x"})),
            ("running", json!({"attempt": 1, "run": "run_00000000000000000000000000"})),
            ("ran", json!({"attempt": 1, "outcome": "completed", "error": null, "output": ""})),
            ("denied", json!({"attempt": 1, "reasons": ["a file"]})),
            ("code", json!({"attempt": 2, "language": "bash", "code": "y"})),
            ("denied", json!({"attempt": 2, "reasons": ["code"]})),
        ]);
        let denied: Vec<_> = story.attempts.iter().map(|one| one.denied.len()).collect();
        assert_eq!(denied, [0, 1]);
        assert_eq!(story.attempts[0].outcome.as_deref(), Some("completed"));
    }
}
