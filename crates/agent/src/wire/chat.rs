//! OpenAI's chat completions, which most services speak: <https://platform.openai.com/docs/api-reference/chat>.

use super::{Draft, Wire, count, in_stream, is_empty, put_sampling, system_of};
use crate::conversation::{Message, Request, Sampling, Stop, Tokens};
use crate::error::ModelError;
use crate::provider::{Row, Shapes};
use crate::secret::Secret;
use serde_json::{Value, json};

/// The format.
pub struct ChatCompletions;

impl Wire for ChatCompletions {
    fn path(&self, _: &str) -> String {
        "/chat/completions".to_owned()
    }

    fn headers(&self, key: Option<&Secret>, _: &Sampling) -> Vec<(&'static str, String)> {
        key.map(|key| ("authorization", format!("Bearer {}", key.reveal()))).into_iter().collect()
    }

    fn body(&self, row: &Row, model: &str, request: &Request<'_>) -> Value {
        let in_words = row.shapes != Shapes::Schema;
        let mut messages = vec![json!({"role": "system", "content": system_of(request, in_words)})];
        messages.extend(request.messages.iter().filter(|message| !is_empty(message)).flat_map(message));
        let mut body = json!({"model": model, "messages": messages, "stream": true});
        if row.tells_tokens_when_asked {
            body["stream_options"] = json!({"include_usage": true});
        }
        if !request.tools.is_empty() {
            let function = |tool: &crate::conversation::Tool| {
                let (name, description, parameters) = (&tool.name, &tool.description, &tool.parameters);
                json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
            };
            body["tools"] = request.tools.iter().map(function).collect();
        }
        if let Some(shape) = request.shape {
            body["response_format"] = match row.shapes {
                Shapes::Schema => json!({
                    "type": "json_schema",
                    "json_schema": {"name": shape.name, "schema": shape.schema, "strict": true},
                }),
                Shapes::Object => json!({"type": "json_object"}),
            };
        }
        let names = ["temperature", "top_p", "presence_penalty", "frequency_penalty"];
        put_sampling(&mut body, names, &request.sampling);
        body
    }

    fn read(&self, event: &Value, draft: &mut Draft) -> Result<(), ModelError> {
        in_stream(event)?;
        // The last event of a stream has what it cost and no choice.
        if event["usage"].is_object() {
            let usage = &event["usage"];
            draft.tokens = Tokens {
                input: count(&usage["prompt_tokens"]),
                cached: count(&usage["prompt_tokens_details"]["cached_tokens"]),
                output: count(&usage["completion_tokens"]),
            };
        }
        let choice = &event["choices"][0];
        let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        if let Some(text) = said["content"].as_str().or(said["refusal"].as_str()) {
            draft.say(text)?;
        }
        for (at, part) in said["tool_calls"].as_array().into_iter().flatten().enumerate() {
            // A whole answer does not number them.
            let call = draft.call(part["index"].as_u64().unwrap_or(at as u64))?;
            if let Some(id) = part["id"].as_str().filter(|id| !id.is_empty()) {
                id.clone_into(&mut call.id);
            }
            if let Some(name) = part["function"]["name"].as_str().filter(|name| !name.is_empty()) {
                name.clone_into(&mut call.name);
            }
            call.arguments.push_str(part["function"]["arguments"].as_str().unwrap_or_default());
        }
        match choice["finish_reason"].as_str() {
            Some("length") => draft.stop = Some(Stop::Length),
            Some("content_filter") => draft.stop = Some(Stop::Refused),
            Some(_) => draft.stop = Some(Stop::Done),
            None => {}
        }
        Ok(())
    }

    fn lacks(&self, _: &Sampling) -> Option<&'static str> {
        None
    }
}

fn message(message: &Message) -> Vec<Value> {
    match message {
        Message::User(text) | Message::Printed(text) => vec![json!({"role": "user", "content": text})],
        Message::Assistant { text, calls } => {
            let mut said = json!({"role": "assistant", "content": text});
            if !calls.is_empty() {
                let call = |call: &crate::conversation::Call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
                said["tool_calls"] = calls.iter().map(call).collect();
            }
            vec![said]
        }
        Message::Results(results) => results
            .iter()
            .map(|result| json!({"role": "tool", "tool_call_id": result.id, "content": result.text}))
            .collect(),
    }
}
