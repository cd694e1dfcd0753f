//! The input of OpenAI's responses as messages of chat completions. Pure. What a client has of earlier answers it sends again, code that ran here
//! too: nothing else need be remembered for it.

use super::tool;
use super::wrong::Wrong;
use serde_json::{Map, Value, json};

/// Most items of an input.
const ITEMS_MAX: usize = 4_096;

/// The messages that an input stands for.
pub fn messages(input: Option<Value>) -> Result<Vec<Value>, Wrong> {
    let items = match input {
        Some(Value::String(text)) => return Ok(vec![json!({"role": "user", "content": text})]),
        Some(Value::Array(items)) if items.len() <= ITEMS_MAX => items,
        _ => {
            return Err(Wrong::request(
                format!("input is a text or a list of at most {ITEMS_MAX} items"),
                "input",
            ));
        }
    };
    let mut messages: Vec<Value> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let at = format!("input[{at}]");
        match item["type"].as_str().unwrap_or("message") {
            "message" => messages.push(message(item, &at)?),
            "function_call" => call(&mut messages, item, &at)?,
            "function_call_output" => {
                let output = match &item["output"] {
                    Value::String(text) => text.clone().into(),
                    Value::Array(parts) => content(parts, &at)?,
                    _ => return Err(Wrong::request("output is a text or a list of parts", &at)),
                };
                let id = text(item, "call_id", &at)?;
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": output}));
            }
            "code_interpreter_call" => ran(&mut messages, item, &at)?,
            // What a model thought is not for its next turn, where it is not the same provider's.
            "reasoning" => {}
            other => {
                let message = format!("items of the type {other:?} are not understood here");
                return Err(Wrong::request(message, &at));
            }
        }
    }
    Ok(messages)
}

fn text<'a>(item: &'a Value, name: &str, at: &str) -> Result<&'a str, Wrong> {
    item[name].as_str().ok_or_else(|| Wrong::request(format!("{name} is missing, a text"), at))
}

fn message(item: &Value, at: &str) -> Result<Value, Wrong> {
    let role = text(item, "role", at)?;
    if !["user", "assistant", "system", "developer"].contains(&role) {
        return Err(Wrong::request("role is user, assistant, system or developer", at));
    }
    let content = match &item["content"] {
        Value::String(text) => text.clone().into(),
        Value::Array(parts) => content(parts, at)?,
        _ => return Err(Wrong::request("content is a text or a list of parts", at)),
    };
    Ok(json!({"role": role, "content": content}))
}

/// Parts of a content: one text if they are nothing else.
fn content(parts: &[Value], at: &str) -> Result<Value, Wrong> {
    let mut told = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let at = format!("{at}.content[{index}]");
        told.push(match part["type"].as_str().unwrap_or_default() {
            "input_text" | "output_text" | "text" => json!({"type": "text", "text": text(part, "text", &at)?}),
            "refusal" => json!({"type": "text", "text": text(part, "refusal", &at)?}),
            "input_image" if part["image_url"].is_string() => {
                let mut image = json!({"url": part["image_url"]});
                if part["detail"].is_string() {
                    image["detail"] = part["detail"].clone();
                }
                json!({"type": "image_url", "image_url": image})
            }
            "input_file" if part["file_data"].is_string() => {
                json!({"type": "file", "file": {"file_data": part["file_data"], "filename": part["filename"]}})
            }
            other => {
                let message = format!("a part of the type {other:?} is not understood here, or lacks its data");
                return Err(Wrong::request(message, &at));
            }
        });
    }
    if told.iter().all(|part| part["type"] == "text") {
        let texts: Vec<&str> = told.iter().filter_map(|part| part["text"].as_str()).collect();
        return Ok(texts.concat().into());
    }
    Ok(told.into())
}

/// A call of the client's tools: those that follow one another were made in one turn.
fn call(messages: &mut Vec<Value>, item: &Value, at: &str) -> Result<(), Wrong> {
    let (id, name) = (text(item, "call_id", at)?, text(item, "name", at)?);
    let call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": text(item, "arguments", at)?}});
    if let Some(Value::Array(calls)) = messages.last_mut().and_then(|last| last.get_mut("tool_calls")) {
        calls.push(call);
    } else {
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    }
    Ok(())
}

/// Code that ran here, as the call and the answer that it was.
fn ran(messages: &mut Vec<Value>, item: &Value, at: &str) -> Result<(), Wrong> {
    let id = text(item, "id", at)?;
    let mut arguments = Map::new();
    arguments.insert("code".to_owned(), item["code"].as_str().unwrap_or_default().into());
    if item["language"].is_string() {
        arguments.insert("language".to_owned(), item["language"].clone());
    }
    let logs = item["outputs"].as_array().into_iter().flatten().filter_map(|output| output["logs"].as_str());
    let logs = logs.collect::<Vec<_>>().join("\n");
    let function = json!({"name": tool::NAME, "arguments": Value::Object(arguments).to_string()});
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": function}]}));
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": logs}));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_the_message_that_it_was() {
        let input = json!([
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "input_text", "text": "a "}, {"type": "input_text", "text": "b"}]},
            {"type": "reasoning", "summary": []},
            {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "language": "python", "outputs": [{"type": "logs", "logs": "1"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "one"}]},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "x"},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "y"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]},
        ]);
        let function = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
        let wanted = json!([
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": "a b"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "ci_1", "type": "function", "function": function("run_code", r#"{"code":"1","language":"python"}"#)}]},
            {"role": "tool", "tool_call_id": "ci_1", "content": "1"},
            {"role": "assistant", "content": "one"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "type": "function", "function": function("f", "{}")},
                {"id": "b", "type": "function", "function": function("g", "{}")}]},
            {"role": "tool", "tool_call_id": "a", "content": "x"},
            {"role": "tool", "tool_call_id": "b", "content": "y"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        ]);
        assert_eq!(Value::Array(messages(Some(input)).unwrap()), wanted);
        assert_eq!(messages(Some("?".into())).unwrap(), [json!({"role": "user", "content": "?"})]);
    }

    #[test]
    fn what_is_not_understood_names_its_place() {
        for (input, place) in [
            (json!(null), "input"),
            (json!(7), "input"),
            (json!([{"role": "robot", "content": ""}]), "input[0]"),
            (json!([{"role": "user", "content": 1}]), "input[0]"),
            (json!([{"role": "user", "content": ""}, {"type": "item_reference", "id": "x"}]), "input[1]"),
            (json!([{"role": "user", "content": [{"type": "input_audio"}]}]), "input[0].content[0]"),
            (json!([{"type": "function_call", "call_id": "a", "name": "f"}]), "input[0]"),
        ] {
            let wrong = messages(Some(input.clone())).unwrap_err();
            assert_eq!(wrong.event()["error"]["param"], place, "{input}");
        }
    }
}
