//! Anthropic's messages: <https://docs.anthropic.com/en/api/messages>. An answer of a given shape is the call of a tool that must be used.

use super::{Draft, Wire, arguments_of, count, in_stream, is_empty, put_sampling};
use crate::conversation::{Message, Request, Sampling, Stop};
use crate::error::ModelError;
use crate::provider::Row;
use crate::secret::Secret;
use serde_json::{Value, json};

/// The version of the format that is written here.
const VERSION: &str = "2026-10-21";
/// The one before it, which still has `temperature` and `top_p`.
const VERSION_WITH_SAMPLING: &str = "2023-06-01";
/// Most tokens of an answer, which the format wants said; every model of today can write so many.
const OUTPUT_TOKENS_MAX: u64 = 8192;

/// The format.
pub struct Messages;

impl Wire for Messages {
    fn path(&self, _: &str) -> String {
        "/v1/messages".to_owned()
    }

    fn headers(&self, key: Option<&Secret>, sampling: &Sampling) -> Vec<(&'static str, String)> {
        let key = key.map(|key| ("x-api-key", key.reveal().to_owned()));
        let version = if *sampling == Sampling::default() { VERSION } else { VERSION_WITH_SAMPLING };
        key.into_iter().chain([("anthropic-version", version.to_owned())]).collect()
    }

    fn body(&self, _: &Row, model: &str, request: &Request<'_>) -> Value {
        let messages: Vec<Value> =
            request.messages.iter().filter(|message| !is_empty(message)).map(message).collect();
        let mut body = json!({
            "model": model, "max_tokens": OUTPUT_TOKENS_MAX, "system": request.system, "messages": messages, "stream": true,
        });
        let mut tools: Vec<Value> = request
            .tools
            .iter()
            .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters}))
            .collect();
        if let Some(shape) = request.shape {
            let description = "Gives the answer. Call this once, with all of it.";
            tools.push(json!({"name": shape.name, "description": description, "input_schema": shape.schema}));
            body["tool_choice"] = json!({"type": "tool", "name": shape.name});
        }
        if !tools.is_empty() {
            body["tools"] = tools.into();
        }
        let sampling = Sampling { presence_penalty: None, frequency_penalty: None, ..request.sampling };
        put_sampling(&mut body, ["temperature", "top_p", "", ""], &sampling);
        body
    }

    fn read(&self, event: &Value, draft: &mut Draft) -> Result<(), ModelError> {
        in_stream(event)?;
        let number = count(&event["index"]);
        match event["type"].as_str() {
            Some("message_start") => tokens(&event["message"]["usage"], draft),
            Some("content_block_start") => block(&event["content_block"], number, draft)?,
            Some("content_block_delta") => match &event["delta"] {
                delta if delta["type"] == "text_delta" => {
                    draft.say(delta["text"].as_str().unwrap_or_default())?
                }
                delta if delta["type"] == "input_json_delta" => {
                    let part = delta["partial_json"].as_str().unwrap_or_default();
                    draft.call(number)?.arguments.push_str(part);
                }
                _ => {}
            },
            Some("message_delta") => {
                tokens(&event["usage"], draft);
                draft.stop = stop(&event["delta"]["stop_reason"]).or(draft.stop);
            }
            Some("message") => {
                for (number, content) in event["content"].as_array().into_iter().flatten().enumerate() {
                    block(content, number as u64, draft)?;
                    if content["type"] == "tool_use" {
                        draft.call(number as u64)?.arguments = content["input"].to_string();
                    }
                }
                tokens(&event["usage"], draft);
                draft.stop = stop(&event["stop_reason"]);
            }
            _ => {}
        }
        Ok(())
    }

    fn lacks(&self, sampling: &Sampling) -> Option<&'static str> {
        match sampling {
            Sampling { presence_penalty: Some(_), .. } => Some("presence_penalty"),
            Sampling { frequency_penalty: Some(_), .. } => Some("frequency_penalty"),
            _ => None,
        }
    }
}

/// The beginning of a block of content, or the whole of it but for a call's input.
fn block(content: &Value, number: u64, draft: &mut Draft) -> Result<(), ModelError> {
    match content["type"].as_str() {
        Some("text") => draft.say(content["text"].as_str().unwrap_or_default()),
        Some("tool_use") => {
            let call = draft.call(number)?;
            content["id"].as_str().unwrap_or_default().clone_into(&mut call.id);
            content["name"].as_str().unwrap_or_default().clone_into(&mut call.name);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn tokens(usage: &Value, draft: &mut Draft) {
    let cached = count(&usage["cache_read_input_tokens"]);
    let input = count(&usage["input_tokens"]) + cached + count(&usage["cache_creation_input_tokens"]);
    // Counts grow from event to event, and the last one may leave out what the first one said.
    draft.tokens.input = draft.tokens.input.max(input);
    draft.tokens.cached = draft.tokens.cached.max(cached);
    draft.tokens.output = draft.tokens.output.max(count(&usage["output_tokens"]));
}

fn stop(reason: &Value) -> Option<Stop> {
    Some(match reason.as_str()? {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "refusal" => Stop::Refused,
        _ => Stop::Done,
    })
}

fn message(message: &Message) -> Value {
    match message {
        Message::User(text) | Message::Printed(text) => json!({"role": "user", "content": text}),
        Message::Assistant { text, calls } => {
            let said = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
            let call = |call: &crate::conversation::Call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)});
            let content: Vec<Value> = said.into_iter().chain(calls.iter().map(call)).collect();
            json!({"role": "assistant", "content": content})
        }
        Message::Results(results) => {
            let result = |result: &crate::conversation::CallResult| {
                json!({
                    "type": "tool_result", "tool_use_id": result.id, "content": result.text, "is_error": result.failed,
                })
            };
            json!({"role": "user", "content": results.iter().map(result).collect::<Vec<_>>()})
        }
    }
}
