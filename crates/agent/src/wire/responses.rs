//! OpenAI's responses: <https://platform.openai.com/docs/api-reference/responses>. Nothing is kept by the provider (`store` is false):
//! the whole conversation goes with each request, as in every other format.

use super::{Draft, Wire, count, in_stream, is_empty, put_sampling};
use crate::conversation::{Message, Request, Sampling, Stop, Tokens};
use crate::error::ModelError;
use crate::provider::Row;
use crate::secret::Secret;
use serde_json::{Value, json};

/// The format.
pub struct Responses;

impl Wire for Responses {
    fn path(&self, _: &str) -> String {
        "/responses".to_owned()
    }

    fn headers(&self, key: Option<&Secret>, _: &Sampling) -> Vec<(&'static str, String)> {
        key.map(|key| ("authorization", format!("Bearer {}", key.reveal()))).into_iter().collect()
    }

    fn body(&self, _: &Row, model: &str, request: &Request<'_>) -> Value {
        let input: Vec<Value> =
            request.messages.iter().filter(|message| !is_empty(message)).flat_map(items).collect();
        let mut body = json!({
            "model": model, "instructions": request.system, "input": input, "stream": true, "store": false,
        });
        if !request.tools.is_empty() {
            let function = |tool: &crate::conversation::Tool| {
                // A strict tool requires all its parameters.
                json!({
                    "type": "function", "name": tool.name, "description": tool.description,
                    "parameters": tool.parameters, "strict": false,
                })
            };
            body["tools"] = request.tools.iter().map(function).collect();
        }
        if let Some(shape) = request.shape {
            let format =
                json!({"type": "json_schema", "name": shape.name, "schema": shape.schema, "strict": true});
            body["text"] = json!({"format": format});
        }
        let sampling = Sampling { presence_penalty: None, frequency_penalty: None, ..request.sampling };
        put_sampling(&mut body, ["temperature", "top_p", "", ""], &sampling);
        body
    }

    fn read(&self, event: &Value, draft: &mut Draft) -> Result<(), ModelError> {
        // The last event of a stream has the whole answer; what came in pieces is the same once more.
        let whole = match event["type"].as_str() {
            Some("response.completed" | "response.incomplete" | "response.failed") => &event["response"],
            Some("error") => {
                return Err(ModelError::of_answer(0, None, &json!({"error": event}).to_string()));
            }
            Some(_) => return Ok(()),
            None => event,
        };
        in_stream(whole)?;
        for item in whole["output"].as_array().into_iter().flatten() {
            match item["type"].as_str() {
                Some("message") => {
                    for part in item["content"].as_array().into_iter().flatten() {
                        draft.say(part["text"].as_str().or(part["refusal"].as_str()).unwrap_or_default())?;
                    }
                }
                Some("function_call") => {
                    let number = draft.next_number();
                    let call = draft.call(number)?;
                    item["call_id"].as_str().unwrap_or_default().clone_into(&mut call.id);
                    item["name"].as_str().unwrap_or_default().clone_into(&mut call.name);
                    item["arguments"].as_str().unwrap_or_default().clone_into(&mut call.arguments);
                }
                _ => {}
            }
        }
        let usage = &whole["usage"];
        draft.tokens = Tokens {
            input: count(&usage["input_tokens"]),
            cached: count(&usage["input_tokens_details"]["cached_tokens"]),
            output: count(&usage["output_tokens"]),
        };
        draft.stop = match (whole["status"].as_str(), whole["incomplete_details"]["reason"].as_str()) {
            (Some("completed"), _) => Some(Stop::Done),
            (Some("incomplete"), Some("content_filter")) => Some(Stop::Refused),
            (Some("incomplete"), _) => Some(Stop::Length),
            _ => None,
        };
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

fn items(message: &Message) -> Vec<Value> {
    match message {
        Message::User(text) | Message::Printed(text) => vec![json!({"role": "user", "content": text})],
        Message::Assistant { text, calls } => {
            let said = (!text.is_empty()).then(|| json!({"role": "assistant", "content": text}));
            let call = |call: &crate::conversation::Call| json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments});
            said.into_iter().chain(calls.iter().map(call)).collect()
        }
        Message::Results(results) => results
            .iter()
            .map(
                |result| json!({"type": "function_call_output", "call_id": result.id, "output": result.text}),
            )
            .collect(),
    }
}
