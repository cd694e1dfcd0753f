//! Where a task does its two things, asking a model and running code, each under the budget, the review and the eyes of a person.

use crate::beside::{Beside, Called, Moment, Patience};
use crate::bounded::{OUTPUT_BYTES_MAX, escaped, for_model};
use crate::budget::{Budget, Limit, Spent};
use crate::conversation::{Message, Reply, Request, Sampling, Shape, Tool};
use crate::error::ModelError;
use crate::mark::Mark;
use crate::provider::{Provider, Watch};
use crate::report;
use crate::review::{Reviewed, Reviewer};
use crate::secret::Redactor;
use crate::surroundings::Surroundings;
use crate::told::Told;
use crate::workbench::{BenchError, Program, Workbench};
use model::RunResult;
use serde_json::{Map, Value};
use std::any::Any;
use std::time::{Duration, Instant};

/// What a person says to code that is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Run it.
    Run,
    /// Run this instead.
    Edited(String),
    /// Do not run it, for this reason.
    Refused(String),
    /// They stopped the task instead.
    Stopped,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// With an answer.
    Answered(String),
    /// A part of the budget was used up first.
    Exceeded(Limit),
    /// There is no answer, and this is why.
    Failed(String),
    /// Somebody stopped it.
    Stopped,
}

/// How a task ended, and what it left.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The last code that ran or was to run, and what came of it, as the model was told.
    pub last: Option<(Program, String)>,
    /// What it used.
    pub spent: Spent,
}

/// What became of code.
pub(crate) enum Ran {
    /// It ran.
    Done(Box<RunResult>),
    /// Nobody lets it run, for these reasons.
    Denied(Vec<String>),
    /// It cannot be run, for this reason.
    Refused(String),
}

/// Why there is no reply.
pub(crate) enum NoReply {
    /// The conversation is too long.
    TooLong(String),
    /// The provider does not take the request.
    Rejected(String),
    /// The task has ended.
    Ended(End),
}

/// All that a task works with.
pub struct Desk<'a> {
    /// Who is asked.
    pub provider: &'a Provider,
    /// Where code runs.
    pub bench: &'a mut dyn Workbench,
    /// Who reads code before it runs, if anybody does.
    pub reviewer: Option<Reviewer>,
    /// The person who approves each run, if one does.
    pub approve: Option<&'a mut dyn FnMut(&Program) -> Approval>,
    /// Waits for a place among those who ask models, until then at most, if places are few; it is held as long as what it returns.
    pub enter: Option<&'a dyn Fn(Instant) -> Box<dyn Any>>,
    /// Is told what happens.
    pub told: &'a mut dyn FnMut(Told<'_>),
    /// Whether to stop.
    pub stop: &'a dyn Fn() -> bool,
    /// What stands beside the task.
    pub beside: Vec<&'a dyn Beside>,
    /// What is special about the sandboxes.
    pub around: Surroundings,
    /// Knows the keys that no model may see.
    pub redactor: Redactor,
    /// How words are chosen.
    pub sampling: Sampling,
    /// How much one task may use.
    pub budget: Budget,
    spent: Spent,
    last: Option<(Program, String)>,
}

impl<'a> Desk<'a> {
    /// A desk with nobody to review or approve, and the usual budget.
    pub fn new(
        provider: &'a Provider,
        bench: &'a mut dyn Workbench,
        told: &'a mut dyn FnMut(Told<'_>),
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        Self {
            provider,
            bench,
            told,
            stop,
            reviewer: None,
            approve: None,
            enter: None,
            beside: Vec::new(),
            around: Surroundings::default(),
            redactor: Redactor::default(),
            sampling: Sampling::default(),
            budget: Budget::default(),
            spent: Spent::nothing(),
            last: None,
        }
    }

    /// A task begins: the budget is whole.
    pub(crate) fn begin(&mut self) {
        self.spent = Spent::nothing();
        self.last = None;
    }

    /// A task has ended.
    pub(crate) fn end(&mut self, end: End) -> Ended {
        Ended { end, last: self.last.take(), spent: self.spent }
    }

    /// Asks the model.
    pub(crate) fn think(
        &mut self,
        system: &str,
        messages: &[Message],
        tools: &[Tool],
        shape: Option<&Shape>,
        sampling: Sampling,
    ) -> Result<Reply, NoReply> {
        if let Some(limit) = self.spent.against_a_turn(&self.budget) {
            return Err(NoReply::Ended(End::Exceeded(limit)));
        }
        let request = Request { system, messages, tools, shape, sampling };
        let reply = self.ask(None, &request)?;
        self.spent.turns = self.spent.turns.saturating_add(1);
        (self.told)(Told::Spent(&self.spent));
        Ok(reply)
    }

    /// Asks `other`, or the model of the task.
    fn ask(&mut self, other: Option<&Provider>, request: &Request<'_>) -> Result<Reply, NoReply> {
        let provider = other.unwrap_or(self.provider);
        let (told, stop) = (&mut *self.told, self.stop);
        let until = self.spent.until(&self.budget);
        let _place = self.enter.map(|enter| enter(until));
        let mut watch = Watch {
            stop,
            until,
            waits: &mut |error: &ModelError, wait: Duration| told(Told::Waiting(&error.to_string(), wait)),
        };
        match provider.ask(request, &mut watch) {
            Ok(reply) => {
                self.spent.tokens(reply.tokens, provider.price());
                Ok(reply)
            }
            Err(ModelError::ContextLength(why)) => Err(NoReply::TooLong(why)),
            Err(ModelError::Rejected(why)) => Err(NoReply::Rejected(why)),
            Err(ModelError::Stopped) => Err(NoReply::Ended(self.stopped())),
            Err(error) => Err(NoReply::Ended(End::Failed(error.to_string()))),
        }
    }

    fn stopped(&self) -> End {
        self.spent.against_time(&self.budget).map_or(End::Stopped, End::Exceeded)
    }

    /// Tells what the model said on its way.
    pub(crate) fn tell(&mut self, told: Told<'_>) {
        (self.told)(told);
    }

    /// Runs code, if nobody objects.
    pub(crate) fn run(&mut self, program: &Program, fresh: bool) -> Result<Ran, End> {
        let not_run = || Some((program.clone(), "[not run]".to_owned()));
        if let Some(limit) = self.spent.against_a_run(&self.budget) {
            self.last = not_run();
            return Err(End::Exceeded(limit));
        }
        (self.told)(Told::Code(program));
        let mut reasons = match self.review(&Reviewer::subject_of(program)) {
            Ok(reasons) => reasons,
            Err(end) => {
                self.last = not_run();
                return Err(end);
            }
        };
        let mut edited = None;
        if reasons.is_empty()
            && let Some(approve) = self.approve.as_mut()
        {
            let asked = Instant::now();
            let said = approve(program);
            // A person may take all the time of the world: it is not the model's.
            self.spent.since += asked.elapsed();
            match said {
                Approval::Run => {}
                Approval::Edited(code) => edited = Some(Program { code, ..program.clone() }),
                Approval::Refused(why) => reasons.push(why),
                Approval::Stopped => {
                    self.last = not_run();
                    return Err(self.stopped());
                }
            }
        }
        if !reasons.is_empty() {
            (self.told)(Told::Denied(&reasons));
            self.last = Some((program.clone(), format!("[outcome: denied] {}", reasons.join("; "))));
            return Ok(Ran::Denied(reasons));
        }
        let program = edited.as_ref().unwrap_or(program);
        self.spent.runs += 1;
        let time_left = self.spent.until(&self.budget).saturating_duration_since(Instant::now());
        let ran =
            if fresh { self.bench.run_fresh(program, time_left) } else { self.bench.run(program, time_left) };
        match ran {
            Ok(result) => {
                (self.told)(Told::Ran(&result));
                self.last = Some((program.clone(), self.shown(&result, None)));
                Ok(Ran::Done(Box::new(result)))
            }
            Err(BenchError::Refused(why)) => Ok(Ran::Refused(why)),
            Err(BenchError::Failed(why)) => Err(End::Failed(why)),
            Err(BenchError::Stopped) => Err(self.stopped()),
        }
    }

    /// A run as the model may see it, with this mark in the labels.
    pub(crate) fn shown(&self, result: &RunResult, mark: Option<&Mark>) -> String {
        report::of_run(result, &self.redactor, mark)
    }

    /// Reads a text as the model may see it.
    pub(crate) fn read_file(&mut self, path: &str) -> Result<String, BenchError> {
        let bytes = self.bench.read_file(path)?;
        (self.told)(Told::File("read", path, bytes.len()));
        Ok(self.output(&String::from_utf8_lossy(&bytes)))
    }

    /// What is not ours as the model may see it. Redacted before it is cut too, so that no part of a credential is left.
    fn output(&self, text: &str) -> String {
        self.redactor.redact(&for_model(&self.redactor.redact_output(text), OUTPUT_BYTES_MAX))
    }

    /// Writes a file, unless the reviewer objects: what is written today may be run tomorrow.
    pub(crate) fn write_file(&mut self, path: &str, text: &str) -> Result<Result<(), BenchError>, End> {
        let reasons = self.review(&Reviewer::subject_of_file(path, text))?;
        if !reasons.is_empty() {
            (self.told)(Told::Denied(&reasons));
            return Ok(Err(BenchError::Refused(format!("[outcome: denied] {}", reasons.join("; ")))));
        }
        let wrote = self.bench.write_file(path, text.as_bytes());
        if wrote.is_ok() {
            (self.told)(Told::File("wrote", path, text.len()));
        }
        Ok(wrote)
    }

    /// The tools of others.
    pub(crate) fn others(&self) -> impl Iterator<Item = Tool> + '_ {
        self.beside.iter().flat_map(|beside| beside.tools())
    }

    /// A question with the texts that belong to it before it, as the model may see both.
    pub(crate) fn with_texts(&self, question: &str, moment: Moment) -> String {
        let texts = self.beside.iter().filter_map(|beside| beside.text(question, moment));
        let mut parts: Vec<String> = texts.map(|text| escaped(&text)).collect();
        parts.push(question.to_owned());
        self.redactor.redact(&parts.join("\n\n"))
    }

    /// Calls a tool of others; what the model is told, and whether it went wrong. A call counts as a run.
    pub(crate) fn call(&mut self, name: &str, arguments: Map<String, Value>) -> Result<(String, bool), End> {
        if let Some(limit) = self.spent.against_a_run(&self.budget) {
            return Err(End::Exceeded(limit));
        }
        let owns = |beside: &&&dyn Beside| beside.tools().iter().any(|tool| tool.name == name);
        let Some(beside) = self.beside.iter().find(owns).copied() else {
            return Ok((format!("there is no tool {name:?} any more"), true));
        };
        self.spent.runs += 1;
        let shown = Value::Object(arguments.clone()).to_string();
        let patience = Patience::new(self.spent.until(&self.budget), self.stop);
        let called = beside.call(name, arguments, &patience);
        self.spent.since += patience.excused();
        let called = match called {
            Ok(called) => called,
            Err(BenchError::Refused(why)) => Called { text: why, failed: true },
            Err(BenchError::Failed(why)) => return Err(End::Failed(why)),
            Err(BenchError::Stopped) => return Err(self.stopped()),
        };
        let text = self.output(&called.text);
        (self.told)(Told::Called(name, &shown, &text));
        Ok((text, called.failed))
    }

    /// What the reviewer has against something; nothing if there is no reviewer.
    fn review(&mut self, subject: &str) -> Result<Vec<String>, End> {
        let Some(mut reviewer) = self.reviewer.take() else { return Ok(Vec::new()) };
        let reasons = self.review_by(&mut reviewer, subject);
        self.reviewer = Some(reviewer);
        reasons
    }

    fn review_by(&mut self, reviewer: &mut Reviewer, subject: &str) -> Result<Vec<String>, End> {
        if let Some(known) = reviewer.known(subject) {
            return Ok(known);
        }
        let mut reviewed = Reviewed::by(reviewer.provider.as_ref().unwrap_or(self.provider));
        let done = self.ask_for_review(reviewer, subject, &mut reviewed);
        if let Ok(reasons) = &done {
            reviewed.reasons.clone_from(reasons);
            (self.told)(Told::Reviewed(&reviewed));
        }
        done
    }

    fn ask_for_review(
        &mut self,
        reviewer: &mut Reviewer,
        subject: &str,
        reviewed: &mut Reviewed,
    ) -> Result<Vec<String>, End> {
        let messages = [Message::User(subject.to_owned())];
        for _ in 0..Reviewer::ATTEMPTS {
            if let Some(limit) = self.spent.against_a_request(&self.budget) {
                return Err(End::Exceeded(limit));
            }
            let reply = match self.ask(reviewer.provider.as_ref(), &Reviewer::request(&messages)) {
                Ok(reply) => reply,
                Err(NoReply::Ended(end)) => return Err(end),
                Err(NoReply::TooLong(why) | NoReply::Rejected(why)) => {
                    return Ok(vec![format!("it could not be reviewed: {why}")]);
                }
            };
            reviewed.add(reply.tokens);
            if let Some(reasons) = Reviewer::verdict(&reply) {
                let reasons: Vec<String> = reasons.iter().map(|reason| escaped(reason)).collect();
                reviewer.remember(subject, reasons.clone());
                return Ok(reasons);
            }
        }
        // Fails closed: what was not found safe does not run.
        Ok(vec!["the review of it could not be read".to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Row;
    use model::Language;

    struct Nothing;

    impl Workbench for Nothing {
        fn run(&mut self, _: &Program, _: Duration) -> Result<RunResult, BenchError> {
            Err(BenchError::Refused("there is nothing".to_owned()))
        }

        fn run_fresh(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError> {
            self.run(program, time_left)
        }

        fn read_file(&mut self, _: &str) -> Result<Vec<u8>, BenchError> {
            Err(BenchError::Stopped)
        }

        fn write_file(&mut self, _: &str, _: &[u8]) -> Result<(), BenchError> {
            Err(BenchError::Stopped)
        }
    }

    /// Asks a person for so long before each call.
    struct Asking(Duration);

    impl Beside for Asking {
        fn tools(&self) -> Vec<Tool> {
            let parameters = Value::Object(Map::new());
            vec![Tool { name: "theirs".into(), description: "".into(), parameters }]
        }

        fn text(&self, _: &str, _: Moment) -> Option<String> {
            None
        }

        fn call(
            &self,
            _: &str,
            _: Map<String, Value>,
            patience: &Patience<'_>,
        ) -> Result<Called, BenchError> {
            let before = patience.until();
            patience.excuse(self.0);
            assert_eq!(patience.until(), before + self.0);
            Ok(Called { text: "AKIAIOSFODNN7EXAMPLE".to_owned(), failed: false })
        }
    }

    #[test]
    fn what_a_person_takes_to_approve_a_call_is_not_the_tasks_time() {
        let (row, model) = Row::of_words("ollama").unwrap();
        let provider = Provider::new(row, model, None, None, None).unwrap();
        let (mut bench, mut told) = (Nothing, |_: Told<'_>| {});
        let asking = Asking(Duration::from_secs(3600));
        let mut desk = Desk::new(&provider, &mut bench, &mut told, &|| false);
        desk.beside.push(&asking);
        desk.begin();
        let before = desk.spent.since;
        let (text, failed) = desk.call("theirs", Map::new()).unwrap_or_default();
        assert_eq!((text.as_str(), failed), ("[redacted]", false));
        assert_eq!(desk.spent.since, before + asking.0);
        assert_eq!(desk.spent.against_time(&desk.budget), None);
    }

    #[test]
    fn what_a_person_takes_is_not_the_tasks_time() {
        let (row, model) = Row::of_words("ollama").unwrap();
        let provider = Provider::new(row, model, None, None, None).unwrap();
        let mut took = Duration::ZERO;
        let mut approve = |_: &Program| {
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_millis(5) {
                std::thread::yield_now();
            }
            took = asked.elapsed();
            Approval::Run
        };
        let (mut bench, mut told) = (Nothing, |_: Told<'_>| {});
        let mut desk = Desk::new(&provider, &mut bench, &mut told, &|| false);
        desk.approve = Some(&mut approve);
        let before = Instant::now();
        desk.begin();
        let program =
            Program { language: Language::Python, code: "1".to_owned(), stdin: None, packages: Vec::new() };
        assert!(matches!(desk.run(&program, false), Ok(Ran::Refused(_))));
        let since = desk.spent.since;
        drop(desk);
        assert!(since >= before + took, "{:?} of {took:?}", since - before);
    }
}
