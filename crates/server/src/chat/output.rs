//! The answer of OpenAI's responses: its items, and the events that tell of each as it comes. Pure; the shapes are those of the API reference
//! (platform.openai.com/docs/api-reference/responses, 2026-11).

use super::conversation::{Choice, Ran, Told};
use serde_json::{Map, Value, json};

/// What stands between what was said in two turns, where both are one text.
const BETWEEN: &str = "\n\n";

/// An answer on its way.
#[derive(Debug)]
pub struct Output {
    /// The answer without its items.
    base: Map<String, Value>,
    /// By which the ids of its items are made.
    name: String,
    items: Vec<Value>,
    /// The text of the last item, while more of it may come.
    text: Option<String>,
    /// Whether words came as they were said.
    spoke: bool,
    numbered: u64,
}

impl Output {
    /// The answer `id`, of which these fields are known before it is one.
    pub fn new(id: &str, base: Map<String, Value>) -> Self {
        let name = id.strip_prefix("resp_").unwrap_or(id).to_owned();
        Self { base, name, items: Vec::new(), text: None, spoke: false, numbered: 0 }
    }

    /// What is told before anything is said.
    pub fn begin(&mut self) -> Vec<Value> {
        let answer = self.answer("in_progress", &Value::Null);
        ["response.created", "response.in_progress"]
            .into_iter()
            .map(|kind| self.event(kind, json!({"response": answer})))
            .collect()
    }

    /// Takes in what is told; returns the events of it.
    pub fn take(&mut self, told: Told) -> Vec<Value> {
        match told {
            Told::Said(said) => {
                said.get("content").and_then(Value::as_str).map_or_else(Vec::new, |text| self.say(text))
            }
            Told::Ran(ran) => self.ran(&ran),
        }
    }

    /// The end of the answer: what of the choice was not told yet, and the whole of it last.
    pub fn finish(&mut self, choice: &Choice, usage: &Value) -> Vec<Value> {
        let mut events = Vec::new();
        let text = choice.message.get("content").and_then(Value::as_str).filter(|_| !self.spoke);
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            events.extend(self.say(text));
        }
        events.extend(self.close());
        if let Some(refusal) = choice.message.get("refusal").filter(|refusal| refusal.is_string()) {
            let part = json!({"type": "refusal", "refusal": refusal});
            let id = self.id("msg");
            events.push(self.add(json!({"type": "message", "id": id, "status": "completed", "role": "assistant", "content": [part]})));
            events.push(self.done());
        }
        for call in choice.message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            events.extend(self.call(call));
        }
        let reason = match choice.finish_reason.as_str() {
            "length" => json!({"reason": "max_output_tokens"}),
            "content_filter" => json!({"reason": "content_filter"}),
            _ => Value::Null,
        };
        if let Some(model) = choice.origin.get("model") {
            self.base.insert("model".to_owned(), model.clone());
        }
        self.base.insert("fireclay".to_owned(), choice.ran.clone());
        self.base.insert("incomplete_details".to_owned(), reason.clone());
        let status = if reason.is_null() { "completed" } else { "incomplete" };
        let answer = self.answer(status, usage);
        events.push(self.event(&format!("response.{status}"), json!({"response": answer})));
        events
    }

    /// The event by which a stream that has begun ends with an error.
    pub fn fail(&mut self, wrong: &Value) -> Value {
        let error = &wrong["error"];
        let told = json!({"code": error["code"], "message": error["message"], "param": error["param"]});
        self.event("error", told)
    }

    fn answer(&self, status: &str, usage: &Value) -> Value {
        let mut answer = self.base.clone();
        answer.insert("status".to_owned(), status.into());
        answer.insert("output".to_owned(), self.items.clone().into());
        answer.insert("usage".to_owned(), usage_of(usage));
        Value::Object(answer)
    }

    fn id(&self, kind: &str) -> String {
        format!("{kind}_{}{:02x}", self.name, self.items.len())
    }

    fn event(&mut self, kind: &str, fields: Value) -> Value {
        let mut event = json!({"type": kind, "sequence_number": self.numbered});
        self.numbered += 1;
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        event
    }

    /// An event of the last item.
    fn of_item(&mut self, kind: &str, fields: Value) -> Value {
        let at = self.items.len().saturating_sub(1);
        let id = self.items.last().map(|item| item["id"].clone()).unwrap_or_default();
        let mut event = self.event(kind, json!({"item_id": id, "output_index": at}));
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        event
    }

    fn add(&mut self, item: Value) -> Value {
        let told = json!({"output_index": self.items.len(), "item": item});
        self.items.push(item);
        self.event("response.output_item.added", told)
    }

    fn done(&mut self) -> Value {
        let (at, item) = (self.items.len().saturating_sub(1), self.items.last().cloned().unwrap_or_default());
        self.event("response.output_item.done", json!({"output_index": at, "item": item}))
    }

    fn say(&mut self, text: &str) -> Vec<Value> {
        self.spoke = true;
        let mut events = Vec::new();
        // Words after code are a message of their own.
        let text = match &self.text {
            None => text.strip_prefix(BETWEEN).unwrap_or(text),
            Some(_) => text,
        };
        if self.text.is_none() {
            let item = json!({"type": "message", "id": self.id("msg"), "status": "in_progress", "role": "assistant", "content": []});
            events.push(self.add(item));
            events.push(
                self.of_item("response.content_part.added", json!({"content_index": 0, "part": part("")})),
            );
        }
        self.text.get_or_insert_default().push_str(text);
        events.push(self.of_item(
            "response.output_text.delta",
            json!({"content_index": 0, "delta": text, "logprobs": []}),
        ));
        events
    }

    /// Ends the message that is being said.
    fn close(&mut self) -> Vec<Value> {
        let Some(text) = self.text.take() else { return Vec::new() };
        if let Some(item) = self.items.last_mut() {
            item["status"] = "completed".into();
            item["content"] = json!([part(&text)]);
        }
        vec![
            self.of_item(
                "response.output_text.done",
                json!({"content_index": 0, "text": text, "logprobs": []}),
            ),
            self.of_item("response.content_part.done", json!({"content_index": 0, "part": part(&text)})),
            self.done(),
        ]
    }

    fn ran(&mut self, ran: &Ran) -> Vec<Value> {
        let mut events = self.close();
        let arguments: Value = serde_json::from_str(&ran.arguments).unwrap_or_default();
        // Arguments that are no JSON are what was to be run.
        let code = arguments["code"].as_str().unwrap_or(&ran.arguments).to_owned();
        let language = arguments["language"].as_str().unwrap_or("python").to_owned();
        let session = ran.session.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut item = json!({
            "type": "code_interpreter_call", "id": self.id("ci"), "status": "in_progress", "code": "", "container_id": session,
            "outputs": null, "language": language, "fireclay": {"run": ran.run},
        });
        events.push(self.add(item.clone()));
        events.push(self.of_item("response.code_interpreter_call.in_progress", json!({})));
        events.push(self.of_item("response.code_interpreter_call_code.delta", json!({"delta": code})));
        events.push(self.of_item("response.code_interpreter_call_code.done", json!({"code": code})));
        events.push(self.of_item("response.code_interpreter_call.interpreting", json!({})));
        events.push(self.of_item("response.code_interpreter_call.completed", json!({})));
        item["status"] = "completed".into();
        item["code"] = code.into();
        item["outputs"] = json!([{"type": "logs", "logs": ran.shown}]);
        if let Some(last) = self.items.last_mut() {
            *last = item;
        }
        events.push(self.done());
        events
    }

    fn call(&mut self, call: &Value) -> Vec<Value> {
        let function = &call["function"];
        let (name, arguments) = (function["name"].clone(), function["arguments"].clone());
        let mut item = json!({
            "type": "function_call", "id": self.id("fc"), "status": "in_progress", "call_id": call["id"], "name": name, "arguments": "",
        });
        let mut events = vec![self.add(item.clone())];
        events.push(self.of_item("response.function_call_arguments.delta", json!({"delta": arguments})));
        events.push(
            self.of_item(
                "response.function_call_arguments.done",
                json!({"name": name, "arguments": arguments}),
            ),
        );
        item["status"] = "completed".into();
        item["arguments"] = arguments;
        if let Some(last) = self.items.last_mut() {
            *last = item;
        }
        events.push(self.done());
        events
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// Figures of chat completions under the names that responses have for them; null if there are none.
fn usage_of(usage: &Value) -> Value {
    if !usage.is_object() {
        return Value::Null;
    }
    let figure = |value: &Value| value.as_u64().unwrap_or_default();
    let (input, output) = (figure(&usage["prompt_tokens"]), figure(&usage["completion_tokens"]));
    let total = usage["total_tokens"].as_u64().unwrap_or(input.saturating_add(output));
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": figure(&usage["prompt_tokens_details"]["cached_tokens"])},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": figure(&usage["completion_tokens_details"]["reasoning_tokens"])},
        "total_tokens": total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Told {
        Told::Said(Map::from_iter([("content".to_owned(), text.into())]))
    }

    fn choice(message: Value) -> Choice {
        let Value::Object(message) = message else { unreachable!("a test says objects") };
        let (logprobs, finish_reason) = (Value::Null, "stop".to_owned());
        Choice {
            message,
            logprobs,
            finish_reason,
            origin: Map::new(),
            ran: json!({"runs": []}),
            added: Vec::new(),
        }
    }

    #[test]
    fn words_code_and_words_are_items_in_their_order() {
        let mut output = Output::new("resp_ab", Map::new());
        let mut events = output.begin();
        events.extend(output.take(said("I add.")));
        let arguments = json!({"code": "1+1"}).to_string();
        events.extend(output.take(Told::Ran(Ran {
            arguments,
            shown: "2".to_owned(),
            run: None,
            session: None,
        })));
        events.extend(output.take(said("\n\nIt is ")));
        events.extend(output.take(said("2.")));
        let call = json!({"id": "c", "function": {"name": "f", "arguments": "{}"}});
        events.extend(output.finish(
            &choice(json!({"content": "I add.\n\nIt is 2.", "tool_calls": [call]})),
            &json!({"prompt_tokens": 2, "completion_tokens": 3}),
        ));
        let answer = events.last().unwrap()["response"].clone();
        let kinds: Vec<&str> =
            answer["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["message", "code_interpreter_call", "message", "function_call"]);
        assert_eq!(answer["output"][2]["content"][0]["text"], "It is 2.");
        assert_eq!(answer["output"][1]["outputs"][0]["logs"], "2");
        assert_eq!(answer["usage"]["total_tokens"], 5);
        assert_eq!(answer["status"], "completed");
        // A client that puts the events together has the same.
        let mut built: Vec<Value> = Vec::new();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
            let at = event["output_index"].as_u64().unwrap_or_default() as usize;
            match event["type"].as_str().unwrap() {
                "response.output_item.added" => {
                    assert_eq!(at, built.len());
                    built.push(event["item"].clone());
                }
                "response.output_item.done" => built[at] = event["item"].clone(),
                _ if event["item_id"].is_string() => assert_eq!(event["item_id"], built[at]["id"]),
                _ => {}
            }
        }
        assert_eq!(Value::Array(built), answer["output"]);
    }

    #[test]
    fn what_was_held_back_or_refused_comes_with_the_end() {
        let mut output = Output::new("resp_ab", Map::new());
        let events = output.finish(&choice(json!({"content": "{}"})), &Value::Null);
        assert_eq!(events.last().unwrap()["response"]["output"][0]["content"][0]["text"], "{}");
        let mut output = Output::new("resp_ab", Map::new());
        let refused =
            Choice { finish_reason: "length".to_owned(), ..choice(json!({"content": "", "refusal": "no"})) };
        let events = output.finish(&refused, &Value::Null);
        let answer = &events.last().unwrap()["response"];
        assert_eq!(answer["output"][0]["content"][0]["refusal"], "no");
        assert_eq!(
            (&answer["status"], &answer["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!("max_output_tokens"))
        );
    }
}
