//! The spans of a task, from its events: the model's answers, the code that it had run, what a person decided. Pure.
//!
//! A model is asked as soon as there is something new to tell it, so the time between the end of one thing and the model's answer is the model's.

use super::span::{Showing, Span, SpanKind, SpanStatus};
use crate::models::ReviewUse;
use crate::tasks::{Code, Spent};
use serde_json::{Value, json};
use store::{ModelUse, TaskEvent};

/// What the events of a task tell.
#[derive(Debug, Default)]
pub struct Told {
    /// What was done, in order.
    pub spans: Vec<Span>,
    /// The questions.
    pub questions: String,
    /// The latest answer, or why there is none.
    pub answer: String,
    /// What models used for the latest question.
    pub used: ModelUse,
}

/// Gathers them.
struct Gathering<'a, 'b> {
    told: Told,
    model: String,
    /// When the last thing ended.
    since_us: i64,
    spent: Spent,
    showing: &'a mut Showing<'b>,
    /// The code that is about to run, or runs.
    tool: Option<Span>,
    /// How many spans there were when each pass began, and when that was.
    passes: Vec<(usize, i64, u64)>,
}

/// The spans of a task by this model (`provider:model`).
pub fn told(model: &str, events: &[TaskEvent], showing: &mut Showing<'_>) -> Told {
    let mut gathering = Gathering {
        told: Told::default(),
        model: model.to_owned(),
        since_us: events.first().map_or(0, |event| event.at_ms.saturating_mul(1000)),
        spent: Spent::default(),
        showing,
        tool: None,
        passes: Vec::new(),
    };
    for event in events {
        gathering.take(event);
    }
    gathering.told.spans.extend(gathering.tool.take());
    let Gathering { mut told, passes, since_us, .. } = gathering;
    // From the last one on: what was done in a pass is below it.
    let (mut end_us, mut whole) = (since_us, Vec::new());
    for (from, start_us, number) in passes.into_iter().rev() {
        let children = told.spans.split_off(from.min(told.spans.len()));
        let failed = children.last().is_some_and(|last| last.status == SpanStatus::Error);
        let status = if failed { SpanStatus::Error } else { SpanStatus::Ok };
        let span = Span::between(format!("pass-{number}"), start_us, Some(end_us));
        whole.insert(0, Span { children, status, ..span });
        end_us = start_us;
    }
    told.spans.append(&mut whole);
    told
}

/// How many requests to a model are among these spans.
fn calls(spans: &[Span]) -> usize {
    spans.iter().map(|span| usize::from(span.kind == SpanKind::Client) + calls(&span.children)).sum()
}

impl Gathering<'_, '_> {
    fn take(&mut self, event: &TaskEvent) {
        let (at_us, data) = (event.at_ms.saturating_mul(1000), &event.data);
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        match event.kind.as_str() {
            "question" => {
                self.since_us = at_us;
                self.spent = Spent::default();
                self.told.used = ModelUse::default();
                if !self.told.questions.is_empty() {
                    self.told.questions.push_str("\n\n");
                }
                self.told.questions.push_str(text("text"));
            }
            "spent" => self.answered(at_us, data),
            "thought" => {
                if let Some(chat) = self.told.spans.last_mut().filter(|span| span.kind == SpanKind::Client) {
                    chat.output = self.showing.payload("text/markdown", text("text"));
                }
            }
            "code" => self.code(at_us, data),
            "approval" => {
                if let Some(tool) = &mut self.tool {
                    tool.children.push(Span::between("approval", at_us, None));
                }
            }
            "decided" => {
                let approval = self.tool.as_mut().and_then(|tool| tool.children.last_mut());
                if let Some(approval) = approval.filter(|span| span.name == "approval") {
                    approval.end_us = Some(at_us);
                    approval.attributes.insert("fireclay.decision".to_owned(), text("decision").into());
                }
            }
            "running" => {
                if let Some(tool) = &mut self.tool {
                    tool.attributes.insert("fireclay.run.id".to_owned(), text("run").into());
                }
            }
            "ran" => self.ran(at_us, data),
            "refused" => self.ended(at_us, Some(text("reason"))),
            "reviewed" => self.reviewed(at_us, data),
            "denied" => {
                let reasons = data["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
                self.denied(at_us, &reasons.collect::<Vec<_>>().join("; "));
            }
            "file" => {
                let span =
                    Span::between(format!("execute_tool {}_file", text("done")), self.since_us, Some(at_us))
                        .with("gen_ai.operation.name", "execute_tool")
                        .with("fireclay.file.path", text("path"))
                        .with("fireclay.file.bytes", data["bytes"].clone());
                self.told.spans.push(Span { status: SpanStatus::Ok, ..span });
                self.since_us = at_us;
            }
            "called" => {
                let name = text("name");
                let mut span = Span::between(format!("execute_tool {name}"), self.since_us, Some(at_us))
                    .with("gen_ai.operation.name", "execute_tool")
                    .with("gen_ai.tool.name", name);
                span.input = self.showing.payload("application/json", text("arguments"));
                span.output = self.showing.payload("text/plain", text("answer"));
                self.told.spans.push(Span { status: SpanStatus::Ok, ..span });
                self.since_us = at_us;
            }
            "pass" => {
                let number = data["pass"].as_u64().unwrap_or_default();
                self.passes.push((self.told.spans.len(), at_us, number));
            }
            "settled" => self.settled(at_us, data),
            _ => {}
        }
    }

    fn chat(&self, at_us: i64) -> Span {
        let (provider, model) = self.model.split_once(':').unwrap_or(("", &self.model));
        let span = Span::between(format!("chat {model}"), self.since_us, Some(at_us))
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.provider.name", provider)
            .with("gen_ai.request.model", model);
        Span { kind: SpanKind::Client, ..span }
    }

    /// The model has answered: what it used since the answer before is this one's.
    fn answered(&mut self, at_us: i64, data: &Value) {
        let Ok(spent) = serde_json::from_value::<Spent>(data.clone()) else { return };
        let before = std::mem::replace(&mut self.spent, spent);
        let tokens_in = spent.input_tokens.saturating_sub(before.input_tokens);
        let tokens_out = spent.output_tokens.saturating_sub(before.output_tokens);
        if tokens_in == 0 && tokens_out == 0 && spent.turns == before.turns {
            return;
        }
        let cost = spent.dollars.map(|all| (all - before.dollars.unwrap_or(0.0)).max(0.0));
        let chat = self
            .chat(at_us)
            .with("gen_ai.usage.input_tokens", tokens_in)
            .with("gen_ai.usage.output_tokens", tokens_out)
            .with(
                "gen_ai.usage.cache_read.input_tokens",
                spent.cached_tokens.saturating_sub(before.cached_tokens),
            )
            .with("fireclay.cost_usd", cost);
        let used = &mut self.told.used;
        used.calls += 1;
        used.took_us += at_us - self.since_us;
        used.tokens_in += tokens_in;
        used.tokens_out += tokens_out;
        used.cost_usd = cost.map(|cost| used.cost_usd.unwrap_or(0.0) + cost).or(used.cost_usd);
        self.told.spans.push(Span { status: SpanStatus::Ok, ..chat });
        self.since_us = at_us;
    }

    fn code(&mut self, at_us: i64, data: &Value) {
        self.told.spans.extend(self.tool.take());
        let Ok(Code { language, code, .. }) = serde_json::from_value::<Code>(data.clone()) else { return };
        let mut span = Span::between("execute_tool run", at_us, None)
            .with("gen_ai.operation.name", "execute_tool")
            .with("gen_ai.tool.name", "run")
            .with("gen_ai.tool.type", "function")
            .with("fireclay.language", language.name())
            .with("fireclay.attempt", data["attempt"].clone());
        span.input = self.showing.payload(super::run::media_type(language), &code);
        self.tool = Some(span);
    }

    fn ran(&mut self, at_us: i64, data: &Value) {
        if let Some(tool) = &mut self.tool {
            tool.output = self.showing.payload("text/plain", data["output"].as_str().unwrap_or_default());
            tool.attributes.insert("fireclay.outcome".to_owned(), data["outcome"].clone());
        }
        self.ended(at_us, data["error"].as_str());
    }

    fn ended(&mut self, at_us: i64, error: Option<&str>) {
        self.since_us = at_us;
        let Some(mut tool) = self.tool.take() else { return };
        tool.end_us = Some(at_us);
        self.told.spans.push(match error {
            Some(error) => tool.failed_as(self.showing.words(error)),
            None => Span { status: SpanStatus::Ok, ..tool },
        });
    }

    /// A model read the code, or a file. What it used is its own, and not of the next answer.
    fn reviewed(&mut self, at_us: i64, data: &Value) {
        let Ok(used) = serde_json::from_value::<ReviewUse>(data.clone()) else { return };
        self.spent.input_tokens += used.input_tokens;
        self.spent.output_tokens += used.output_tokens;
        self.spent.cached_tokens += used.cached_tokens;
        self.spent.dollars = used.dollars.map(|dollars| self.spent.dollars.unwrap_or(0.0) + dollars);
        let sum = &mut self.told.used;
        sum.calls += 1;
        sum.tokens_in += used.input_tokens;
        sum.tokens_out += used.output_tokens;
        sum.cost_usd = used.dollars.map(|dollars| sum.cost_usd.unwrap_or(0.0) + dollars).or(sum.cost_usd);
        let start_us = self.tool.as_ref().map_or(self.since_us, |tool| tool.start_us);
        sum.took_us += at_us - start_us;
        let review = super::run::reviewed(Span::between("review", start_us, Some(at_us)), &used);
        let reasons = data["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        let review = if reasons.is_empty() {
            Span { status: SpanStatus::Ok, ..review }
        } else {
            review.failed_as(self.showing.words(&reasons))
        };
        match &mut self.tool {
            Some(tool) => tool.children.push(review),
            None => {
                self.told.spans.push(review);
                self.since_us = at_us;
            }
        }
    }

    /// The code, or a file, was refused: by a review that was told before, by one that was known, or by a person.
    fn denied(&mut self, at_us: i64, reasons: &str) {
        let spans = self.tool.as_ref().map_or(&self.told.spans, |tool| &tool.children);
        if spans.last().is_some_and(|last| last.name == "review" && last.status == SpanStatus::Error) {
            return self.ended(at_us, Some("denied"));
        }
        let words = self.showing.words(reasons);
        let review = Span::between("review", self.since_us, Some(at_us)).failed_as(words);
        match &mut self.tool {
            Some(tool) => {
                let start_us = tool.start_us;
                tool.children.push(Span { start_us, ..review });
                self.ended(at_us, Some("denied"));
            }
            None => {
                self.told.spans.push(review);
                self.since_us = at_us;
            }
        }
    }

    fn settled(&mut self, at_us: i64, data: &Value) {
        let error = data["error"].as_str();
        let was_running = self.tool.is_some();
        if was_running {
            self.ended(at_us, error.or(Some("the task ended")));
        } else if let ("failed", Some(error)) = (data["state"].as_str().unwrap_or_default(), error) {
            self.told.used.calls += 1;
            self.told.used.failed += 1;
            self.told.used.took_us += at_us - self.since_us;
            let words = self.showing.words(error);
            let chat = self.chat(at_us).failed_as(words);
            self.told.spans.push(chat);
        }
        let answer = data["answer"].as_str().or(error).unwrap_or_default();
        answer.clone_into(&mut self.told.answer);
        self.since_us = at_us;
    }
}

/// What a task as a whole adds to its own span.
pub fn root(mut root: Span, model: &str, told: &Told, showing: &mut Showing<'_>) -> Span {
    root = root.with("gen_ai.operation.name", "invoke_agent").with("fireclay.model", model);
    root.attributes.insert("fireclay.model.calls".to_owned(), json!(calls(&told.spans)));
    root.input = showing.payload("text/markdown", &told.questions);
    root.output = showing.payload("text/markdown", &told.answer);
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::Redactor;
    use store::TraceContent;

    fn event(at_ms: i64, kind: &str, data: Value) -> TaskEvent {
        TaskEvent { number: at_ms as u64, at_ms, kind: kind.to_owned(), data }
    }

    fn spent(turns: u32, input: u64, output: u64, dollars: f64) -> Value {
        json!({"turns": turns, "runs": 0, "input_tokens": input, "cached_tokens": 0, "output_tokens": output, "dollars": dollars})
    }

    #[test]
    fn a_review_is_a_span_of_its_own_model_and_its_tokens_are_its_own() {
        let review = |model: &str, reasons: Value| json!({"model": model, "reasons": reasons, "input_tokens": 1000, "cached_tokens": 0, "output_tokens": 7, "dollars": 0.25});
        let code =
            |attempt: u32| json!({"attempt": attempt, "language": "python", "code": "1", "stdin": null});
        let events = [
            event(10, "question", json!({"text": "why?"})),
            event(20, "spent", spent(1, 100, 10, 0.5)),
            event(21, "code", code(1)),
            event(25, "reviewed", review("openai:judge", json!([]))),
            event(30, "ran", json!({"attempt": 1, "outcome": "completed", "error": null, "output": "1"})),
            event(40, "spent", spent(2, 1300, 27, 1.0)),
            event(41, "code", code(2)),
            event(45, "reviewed", review("openai:judge", json!(["it lies"]))),
            event(46, "denied", json!({"attempt": 2, "reasons": ["it lies"]})),
            event(50, "spent", spent(3, 2400, 44, 1.5)),
            event(51, "settled", json!({"state": "answered", "answer": "because"})),
        ];
        let redactor = Redactor::default();
        let mut showing =
            Showing { content: TraceContent::Full, bytes_max: 1000, left: 1000, redactor: &redactor };
        let told = told("openai:gpt-5", &events, &mut showing);
        let input = |span: &Span| span.attributes["gen_ai.usage.input_tokens"].clone();
        let chats: Vec<_> = told.spans.iter().filter(|span| span.name == "chat gpt-5").map(input).collect();
        assert_eq!(chats, [100, 200, 100]);
        let reviews: Vec<_> = [1, 3].iter().flat_map(|at| &told.spans[*at].children).collect();
        let seen: Vec<_> = reviews.iter().map(|span| (span.name.as_str(), span.status)).collect();
        assert_eq!(seen, [("review", SpanStatus::Ok), ("review", SpanStatus::Error)]);
        assert_eq!(reviews[0].attributes["gen_ai.request.model"], "judge");
        assert_eq!((told.used.calls, told.used.tokens_in, told.used.cost_usd), (5, 2400, Some(1.5)));
    }

    #[test]
    fn the_story_of_a_task_is_its_spans() {
        let events = [
            event(10, "question", json!({"text": "why?"})),
            event(20, "spent", spent(1, 100, 10, 0.5)),
            event(21, "thought", json!({"text": "hm"})),
            event(22, "code", json!({"attempt": 1, "language": "python", "code": "1/0", "stdin": null})),
            event(23, "approval", json!({"attempt": 1})),
            event(29, "decided", json!({"attempt": 1, "decision": "approve"})),
            event(30, "running", json!({"attempt": 1, "run": "run_x"})),
            event(
                40,
                "ran",
                json!({"attempt": 1, "outcome": "failed", "error": "ZeroDivisionError", "output": "Traceback"}),
            ),
            event(55, "spent", spent(2, 300, 15, 0.75)),
            event(56, "settled", json!({"state": "answered", "answer": "because"})),
        ];
        let redactor = Redactor::default();
        let mut showing =
            Showing { content: TraceContent::Full, bytes_max: 1000, left: 1000, redactor: &redactor };
        let told = told("openai:gpt-5", &events, &mut showing);
        let seen: Vec<_> = told
            .spans
            .iter()
            .map(|span| (span.name.as_str(), span.start_us / 1000, span.end_us.unwrap() / 1000, span.status))
            .collect();
        assert_eq!(
            seen,
            [
                ("chat gpt-5", 10, 20, SpanStatus::Ok),
                ("execute_tool run", 22, 40, SpanStatus::Error),
                ("chat gpt-5", 40, 55, SpanStatus::Ok)
            ]
        );
        assert_eq!(told.spans[2].attributes["gen_ai.usage.input_tokens"], 200);
        assert_eq!(told.spans[2].attributes["fireclay.cost_usd"], 0.25);
        assert_eq!(told.spans[0].output.as_ref().unwrap().text.as_deref(), Some("hm"));
        assert_eq!(told.spans[1].children[0].name, "approval");
        assert_eq!(told.spans[1].attributes["fireclay.run.id"], "run_x");
        assert_eq!((told.answer.as_str(), told.questions.as_str()), ("because", "why?"));
        assert_eq!((told.used.calls, told.used.tokens_in, told.used.cost_usd), (2, 300, Some(0.75)));
    }
}
