//! Gemini's generateContent: <https://ai.google.dev/api/generate-content>. Events of its stream look like whole answers.

use super::{Draft, Wire, arguments_of, count, in_stream, is_empty, put_sampling};
use crate::conversation::{Message, Request, Sampling, Stop, Tokens};
use crate::error::ModelError;
use crate::provider::Row;
use crate::secret::Secret;
use serde_json::{Value, json};

/// The format.
pub struct GenerateContent;

impl Wire for GenerateContent {
    fn path(&self, model: &str) -> String {
        format!("/v1beta/models/{model}:streamGenerateContent?alt=sse")
    }

    fn headers(&self, key: Option<&Secret>, _: &Sampling) -> Vec<(&'static str, String)> {
        // In a header: addresses end up in logs.
        key.map(|key| ("x-goog-api-key", key.reveal().to_owned())).into_iter().collect()
    }

    fn body(&self, _: &Row, _: &str, request: &Request<'_>) -> Value {
        let contents: Vec<Value> =
            request.messages.iter().filter(|message| !is_empty(message)).map(content).collect();
        let mut body =
            json!({"systemInstruction": {"parts": [{"text": request.system}]}, "contents": contents});
        if !request.tools.is_empty() {
            let function = |tool: &crate::conversation::Tool| json!({"name": tool.name, "description": tool.description, "parameters": plain(&tool.parameters)});
            let functions: Vec<Value> = request.tools.iter().map(function).collect();
            body["tools"] = json!([{"functionDeclarations": functions}]);
        }
        let mut generation = json!({});
        let names = ["temperature", "topP", "presencePenalty", "frequencyPenalty"];
        put_sampling(&mut generation, names, &request.sampling);
        if let Some(shape) = request.shape {
            generation["responseMimeType"] = json!("application/json");
            generation["responseSchema"] = plain(&shape.schema);
        }
        body["generationConfig"] = generation;
        body
    }

    fn read(&self, event: &Value, draft: &mut Draft) -> Result<(), ModelError> {
        in_stream(event)?;
        let candidate = &event["candidates"][0];
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            // Its thoughts are not its answer.
            if let Some(text) = part["text"].as_str().filter(|_| part["thought"] != true) {
                draft.say(text)?;
            }
            let asked = &part["functionCall"];
            if asked.is_object() {
                let number = draft.next_number();
                let call = draft.call(number)?;
                asked["id"].as_str().unwrap_or_default().clone_into(&mut call.id);
                asked["name"].as_str().unwrap_or_default().clone_into(&mut call.name);
                if asked["args"].is_object() {
                    call.arguments = asked["args"].to_string();
                }
                call.token = part.get("thoughtSignature").cloned();
            }
        }
        let usage = &event["usageMetadata"];
        if usage.is_object() {
            draft.tokens = Tokens {
                input: count(&usage["promptTokenCount"]),
                cached: count(&usage["cachedContentTokenCount"]),
                output: count(&usage["candidatesTokenCount"]) + count(&usage["thoughtsTokenCount"]),
            };
        }
        match (candidate["finishReason"].as_str(), event["promptFeedback"]["blockReason"].as_str()) {
            (Some("MAX_TOKENS"), _) => draft.stop = Some(Stop::Length),
            (Some("STOP"), _) => draft.stop = Some(Stop::Done),
            (Some("MALFORMED_FUNCTION_CALL"), _) => {
                return Err(ModelError::Malformed("the model wrote a call that is none".to_owned()));
            }
            (Some(_), _) | (None, Some(_)) => draft.stop = Some(Stop::Refused),
            (None, None) => {}
        }
        Ok(())
    }

    fn lacks(&self, _: &Sampling) -> Option<&'static str> {
        None
    }
}

/// A schema in the part of OpenAPI's that this service knows.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => object
            .iter()
            .filter(|(name, _)| *name != "additionalProperties")
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn content(message: &Message) -> Value {
    match message {
        Message::User(text) | Message::Printed(text) => json!({"role": "user", "parts": [{"text": text}]}),
        Message::Assistant { text, calls } => {
            let said = (!text.is_empty()).then(|| json!({"text": text}));
            let call = |call: &crate::conversation::Call| {
                let mut part = json!({"functionCall": {"name": call.name, "args": arguments_of(call)}});
                if let Some(token) = &call.token {
                    part["thoughtSignature"] = token.clone();
                }
                part
            };
            let parts: Vec<Value> = said.into_iter().chain(calls.iter().map(call)).collect();
            json!({"role": "model", "parts": parts})
        }
        Message::Results(results) => {
            let result = |result: &crate::conversation::CallResult| {
                let word = if result.failed { "error" } else { "output" };
                json!({"functionResponse": {"name": result.name, "response": {word: result.text}}})
            };
            json!({"role": "user", "parts": results.iter().map(result).collect::<Vec<_>>()})
        }
    }
}
