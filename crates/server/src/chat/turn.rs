//! One answer of a model, put together from the events of its stream. Pure. What comes is a provider's: bounded, and believed in nothing else.

use serde_json::{Map, Value, json};

/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Most calls of one answer.
const CALLS_MAX: usize = 64;
/// How deep, and how many, the figures of a usage are.
const USAGE_DEPTH_MAX: usize = 4;
const USAGE_FIGURES_MAX: usize = 64;

/// A call of a tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// By which its result is found.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
    number: u64,
}

impl Call {
    /// As messages have it.
    pub fn value(&self) -> Value {
        json!({"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}})
    }
}

/// An answer that is on its way, or whole.
#[derive(Debug, Default)]
pub struct Turn {
    /// What the model said: `content`, and whatever other texts its provider tells.
    pub said: Map<String, Value>,
    /// What it calls.
    pub calls: Vec<Call>,
    /// Probabilities of its words, if they were asked for.
    pub logprobs: Map<String, Value>,
    /// Why it ended; `None` before it has.
    pub finish_reason: Option<String>,
    /// What it cost, as the provider tells it.
    pub usage: Option<Value>,
    /// Who answered, and by what: `model`, `system_fingerprint`, `service_tier`.
    pub origin: Map<String, Value>,
    bytes: usize,
}

/// An answer that is no answer.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the provider's answer cannot be used: {0}")]
pub struct Unusable(&'static str);

impl Turn {
    /// Takes in one event, or a whole answer as the one event that it is; returns what of it is said and may be shown at once.
    pub fn take(&mut self, event: &Value) -> Result<Option<Map<String, Value>>, Unusable> {
        if event["usage"].is_object() {
            self.usage = Some(event["usage"].clone());
        }
        for name in ["model", "system_fingerprint", "service_tier"] {
            if let Some(value) = event[name].as_str().filter(|_| !self.origin.contains_key(name)) {
                self.hold(value.len())?;
                self.origin.insert(name.to_owned(), value.into());
            }
        }
        let choice = &event["choices"][0];
        let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        for (at, part) in said["tool_calls"].as_array().into_iter().flatten().enumerate() {
            // A whole answer does not number them.
            self.take_call(part["index"].as_u64().unwrap_or(at as u64), part)?;
        }
        for (name, tokens) in choice["logprobs"].as_object().into_iter().flatten() {
            let Some(tokens) = tokens.as_array() else { continue };
            self.hold(tokens.iter().map(|token| token.to_string().len()).sum())?;
            if let Value::Array(all) = self.logprobs.entry(name).or_insert_with(|| json!([])) {
                all.extend_from_slice(tokens);
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish_reason = Some(reason.chars().take(64).collect());
        }
        let mut shown = Map::new();
        for (name, text) in said.as_object().into_iter().flatten().filter(|(name, _)| *name != "role") {
            let Some(text) = text.as_str() else { continue };
            self.hold(name.len() + text.len())?;
            match self.said.entry(name).or_insert_with(|| Value::String(String::new())) {
                Value::String(all) => all.push_str(text),
                _ => return Err(Unusable("a text is none")),
            }
            if !text.is_empty() {
                shown.insert(name.clone(), text.into());
            }
        }
        Ok(Some(shown).filter(|shown| !shown.is_empty()))
    }

    fn take_call(&mut self, number: u64, part: &Value) -> Result<(), Unusable> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, name) = (text(&part["id"]), text(&part["function"]["name"]));
        let arguments = text(&part["function"]["arguments"]);
        self.hold(id.len() + name.len() + arguments.len())?;
        let at = match self.calls.iter().position(|call| call.number == number) {
            Some(at) => at,
            None if self.calls.len() == CALLS_MAX => return Err(Unusable("it has too many calls")),
            None => {
                self.calls.push(Call { number, ..Call::default() });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at];
        call.arguments.push_str(&arguments);
        for (own, said) in [(&mut call.id, id), (&mut call.name, name)] {
            if !said.is_empty() {
                *own = said;
            }
        }
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Unusable> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > ANSWER_BYTES_MAX { Err(Unusable("it is too long")) } else { Ok(()) }
    }

    /// Whether it came to its end and its calls name tools.
    pub fn is_whole(&self) -> Result<(), Unusable> {
        if self.finish_reason.is_none() {
            return Err(Unusable("it broke off before its end"));
        }
        if self.calls.iter().any(|call| call.name.is_empty()) {
            return Err(Unusable("a call names no tool"));
        }
        Ok(())
    }

    /// What it said in words.
    pub fn text(&self) -> &str {
        self.said.get("content").and_then(Value::as_str).unwrap_or_default()
    }

    /// Tokens that it cost: as the provider says, else about one for four bytes that were sent and written.
    pub fn tokens(&self, sent_bytes: usize) -> u64 {
        let usage = self.usage.as_ref();
        let said = |name: &str| usage.and_then(|usage| usage[name].as_u64()).unwrap_or_default();
        let told = said("total_tokens").max(said("prompt_tokens").saturating_add(said("completion_tokens")));
        if told > 0 { told } else { (sent_bytes.saturating_add(self.bytes)) as u64 / 4 }
    }
}

/// Adds the figures of a usage to a sum of them.
pub fn add_usage(sum: &mut Value, more: &Value) {
    add(sum, more, USAGE_DEPTH_MAX);
}

fn add(sum: &mut Value, more: &Value, depth: usize) {
    if let Value::Object(more) = more {
        if !sum.is_object() {
            *sum = json!({});
        }
        let Value::Object(sum) = sum else { return };
        for (name, value) in more.iter().take(if depth == 0 { 0 } else { USAGE_FIGURES_MAX }) {
            if sum.len() < USAGE_FIGURES_MAX || sum.contains_key(name) {
                add(sum.entry(name).or_insert(Value::Null), value, depth - 1);
            }
        }
    } else if let Some(figure) = more.as_u64() {
        *sum = sum.as_u64().unwrap_or_default().saturating_add(figure).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(delta: Value, reason: Value) -> Value {
        json!({"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
    }

    #[test]
    fn pieces_are_put_together() {
        let mut turn = Turn::default();
        assert_eq!(turn.take(&chunk(json!({"role": "assistant", "content": ""}), Value::Null)), Ok(None));
        let shown = turn.take(&chunk(json!({"content": "I a"}), Value::Null)).unwrap().unwrap();
        assert_eq!(Value::Object(shown), json!({"content": "I a"}));
        turn.take(&chunk(json!({"content": "dd"}), Value::Null)).unwrap();
        let call = |part: Value| chunk(json!({"tool_calls": [part]}), Value::Null);
        turn.take(&call(json!({"index": 0, "id": "c", "function": {"name": "run_code", "arguments": ""}})))
            .unwrap();
        for piece in ["{\"code\":", "\"1\"}"] {
            turn.take(&call(json!({"index": 0, "function": {"arguments": piece}}))).unwrap();
        }
        assert!(turn.is_whole().is_err());
        turn.take(&chunk(json!({}), json!("tool_calls"))).unwrap();
        turn.take(&json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})).unwrap();
        assert_eq!((turn.text(), turn.calls[0].arguments.as_str()), ("I add", "{\"code\":\"1\"}"));
        assert_eq!((turn.is_whole(), turn.tokens(0)), (Ok(()), 7));
    }

    #[test]
    fn what_is_too_much_is_no_answer() {
        let mut turn = Turn::default();
        let long = "x".repeat(ANSWER_BYTES_MAX / 2);
        turn.take(&chunk(json!({"content": long}), Value::Null)).unwrap();
        assert!(turn.take(&chunk(json!({"content": long}), Value::Null)).is_err());
        let mut turn = Turn::default();
        let calls: Vec<Value> = (0..=CALLS_MAX).map(|index| json!({"index": index, "id": "c"})).collect();
        assert!(turn.take(&chunk(json!({"tool_calls": calls}), Value::Null)).is_err());
    }

    #[test]
    fn whatever_comes_is_taken_or_refused() {
        for event in [
            json!(null),
            json!([1]),
            json!({"choices": 1}),
            json!({"choices": [{"delta": {"tool_calls": 3}}]}),
        ] {
            assert_eq!(Turn::default().take(&event), Ok(None), "{event}");
        }
        let nameless =
            json!({"choices": [{"message": {"tool_calls": [{"id": "x"}]}, "finish_reason": "stop"}]});
        let mut turn = Turn::default();
        turn.take(&nameless).unwrap();
        assert!(turn.is_whole().is_err());
    }

    #[test]
    fn usages_add_up() {
        let mut sum = Value::Null;
        for _ in 0..2 {
            add_usage(&mut sum, &json!({"total_tokens": 3, "details": {"cached_tokens": 1, "note": "x"}}));
        }
        assert_eq!(sum, json!({"total_tokens": 6, "details": {"cached_tokens": 2, "note": null}}));
        let mut sum = json!({"total_tokens": u64::MAX});
        add_usage(&mut sum, &json!({"total_tokens": 1}));
        assert_eq!(sum["total_tokens"], u64::MAX);
    }
}
