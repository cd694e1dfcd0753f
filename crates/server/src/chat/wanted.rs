//! A request of OpenAI's responses, as the request of chat completions that it comes to. Pure.

use super::asked::Asked;
use super::items;
use super::tool;
use super::wrong::Wrong;
use serde_json::{Map, Value, json};

/// Fields that mean the same in both.
const SAME: [&str; 10] = [
    "model",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "stream",
    "user",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "metadata",
];
/// Fields that ask for what this service has not.
const LACKING: [(&str, &str); 3] = [
    ("prompt", "prompts are kept by nobody here: give instructions and input"),
    ("conversation", "conversations are kept by nobody here: use previous_response_id, or send all items"),
    ("background", "an answer is given while its request waits: leave background out"),
];

/// A request.
#[derive(Debug)]
pub struct Wanted {
    /// What goes to the model.
    pub asked: Asked,
    /// The answer that this goes on from.
    pub previous: Option<String>,
    /// How many of the messages are no part of what is remembered: the instructions are of this request alone.
    pub instructions: usize,
    /// Whether the answer may be gone on from by its id.
    pub store: bool,
    /// The container that code is to run in, if one was named.
    pub container: Option<String>,
    /// What the answer repeats of the request.
    pub echo: Map<String, Value>,
}

impl Wanted {
    /// Reads a request, as [`Asked::read`] does. `known` finds the messages of an earlier answer.
    pub fn read(
        mut fields: Map<String, Value>,
        own: &str,
        any: bool,
        known: impl FnOnce(&str) -> Option<Vec<Value>>,
    ) -> Result<Self, Wrong> {
        for (name, why) in LACKING {
            if fields.get(name).is_some_and(|said| !said.is_null() && *said != false) {
                return Err(Wrong::request(why, name));
            }
        }
        let echo = echo(&fields);
        let mut chat = Map::new();
        for name in SAME {
            if let Some(value) = fields.shift_remove(name).filter(|value| !value.is_null()) {
                chat.insert(name.to_owned(), value);
            }
        }
        for (name, there) in
            [("max_output_tokens", "max_completion_tokens"), ("top_logprobs", "top_logprobs")]
        {
            if let Some(value) = fields.shift_remove(name).filter(|value| !value.is_null()) {
                chat.insert(there.to_owned(), value);
            }
        }
        if let Some(effort) =
            fields.get("reasoning").map(|said| &said["effort"]).filter(|said| said.is_string())
        {
            chat.insert("reasoning_effort".to_owned(), effort.clone());
        }
        if let Some(text) = fields.get("text") {
            if let Some(format) = response_format(&text["format"])? {
                chat.insert("response_format".to_owned(), format);
            }
            if text["verbosity"].is_string() {
                chat.insert("verbosity".to_owned(), text["verbosity"].clone());
            }
        }
        let (tools, container) = tools(fields.shift_remove("tools"))?;
        if !tools.is_empty() {
            chat.insert("tools".to_owned(), tools.into());
        }
        if let Some(choice) = tool_choice(fields.shift_remove("tool_choice"))? {
            chat.insert("tool_choice".to_owned(), choice);
        }
        let mut messages = Vec::new();
        match fields.shift_remove("instructions") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => messages.push(json!({"role": "system", "content": text})),
            Some(_) => return Err(Wrong::request("instructions is a text", "instructions")),
        }
        let instructions = messages.len();
        let previous = match fields.shift_remove("previous_response_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err(Wrong::request("previous_response_id is a text", "previous_response_id")),
        };
        if let Some(id) = &previous {
            messages.extend(known(id).ok_or_else(|| {
                let message =
                    format!("no answer {id:?} is known any more: send all items of the conversation");
                Wrong::request(message, "previous_response_id")
            })?);
        }
        messages.extend(items::messages(fields.shift_remove("input"))?);
        if messages.len() == instructions {
            return Err(Wrong::request("give at least one item", "input"));
        }
        chat.insert("messages".to_owned(), messages.into());
        let store = match fields.shift_remove("store") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(store)) => store,
            Some(_) => return Err(Wrong::request("store is true or false", "store")),
        };
        let asked = Asked::read(chat, own, any)?;
        Ok(Self { asked, previous, instructions, store, container, echo })
    }
}

/// What an answer repeats, as clients of OpenAI's expect it.
fn echo(fields: &Map<String, Value>) -> Map<String, Value> {
    let defaults = [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", true.into()),
        ("previous_response_id", Value::Null),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("store", true.into()),
        ("temperature", Value::Null),
        ("text", json!({"format": {"type": "text"}})),
        ("tool_choice", "auto".into()),
        ("tools", json!([])),
        ("top_p", Value::Null),
        ("truncation", "disabled".into()),
        ("user", Value::Null),
    ];
    let told = |(name, default): (&str, Value)| {
        let said = fields.get(name).filter(|said| !said.is_null()).cloned();
        (name.to_owned(), said.unwrap_or(default))
    };
    defaults.into_iter().map(told).collect()
}

fn response_format(format: &Value) -> Result<Option<Value>, Wrong> {
    Ok(match format["type"].as_str() {
        None | Some("text") => None,
        Some("json_object") => Some(json!({"type": "json_object"})),
        Some("json_schema") => {
            let mut schema = Map::new();
            for name in ["name", "description", "schema", "strict"] {
                if !format[name].is_null() {
                    schema.insert(name.to_owned(), format[name].clone());
                }
            }
            Some(json!({"type": "json_schema", "json_schema": schema}))
        }
        Some(_) => return Err(Wrong::request("type is text, json_object or json_schema", "text.format")),
    })
}

/// The client's own tools, and the container of the code interpreter, which is ours whether it is asked for or not.
fn tools(said: Option<Value>) -> Result<(Vec<Value>, Option<String>), Wrong> {
    let said = match said {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(said)) => said,
        Some(_) => return Err(Wrong::request("tools is a list", "tools")),
    };
    let (mut tools, mut container) = (Vec::new(), None);
    for (at, mut tool) in said.into_iter().enumerate() {
        match tool["type"].as_str().unwrap_or_default() {
            "function" => {
                if let Some(tool) = tool.as_object_mut() {
                    tool.shift_remove("type");
                }
                tools.push(json!({"type": "function", "function": tool}));
            }
            "code_interpreter" => container = tool["container"].as_str().map(str::to_owned),
            other => {
                let message =
                    format!("there is no tool {other:?} here: function and code_interpreter are known");
                return Err(Wrong::request(message, &format!("tools[{at}]")));
            }
        }
    }
    Ok((tools, container))
}

fn tool_choice(said: Option<Value>) -> Result<Option<Value>, Wrong> {
    Ok(match said {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) => Some(word.into()),
        Some(choice) => {
            let name = match choice["type"].as_str().unwrap_or_default() {
                "function" => choice["name"].as_str().unwrap_or_default(),
                "code_interpreter" => tool::NAME,
                _ => {
                    let message = "tool_choice is auto, none, required, a function or code_interpreter";
                    return Err(Wrong::request(message, "tool_choice"));
                }
            };
            Some(json!({"type": "function", "function": {"name": name}}))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Wanted, Value> {
        let Value::Object(fields) = body else { unreachable!("a test says objects") };
        let known = |id: &str| (id == "resp_1").then(|| vec![json!({"role": "user", "content": "before"})]);
        Wanted::read(fields, "openai:gpt-5-mini", true, known)
            .map_err(|wrong| wrong.event()["error"]["param"].clone())
    }

    #[test]
    fn a_request_is_said_in_the_words_of_the_other() {
        let wanted = read(json!({
            "model": "gpt-4o", "input": "?", "instructions": "be brief", "previous_response_id": "resp_1", "max_output_tokens": 9,
            "reasoning": {"effort": "low"}, "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
            "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "code_interpreter", "container": "ses_1"}],
            "tool_choice": {"type": "code_interpreter"}, "include": ["code_interpreter_call.outputs"], "store": false,
        }))
        .unwrap();
        let words: Vec<&str> =
            wanted.asked.messages.iter().map(|said| said["content"].as_str().unwrap()).collect();
        assert_eq!((words, wanted.instructions), (vec!["be brief", "before", "?"], 1));
        let fields = Value::Object(wanted.asked.fields);
        assert_eq!(
            (&fields["max_completion_tokens"], &fields["reasoning_effort"]),
            (&json!(9), &json!("low"))
        );
        assert_eq!(fields["response_format"]["json_schema"]["name"], "n");
        assert_eq!(fields["tools"][0]["function"]["name"], "f");
        assert_eq!(fields["tools"].as_array().unwrap().len(), 2);
        assert_eq!(fields["tool_choice"]["function"]["name"], "run_code");
        assert!(fields.get("include").is_none() && wanted.asked.formed && !wanted.store);
        assert_eq!(wanted.container.as_deref(), Some("ses_1"));
        assert_eq!(
            (&wanted.echo["instructions"], &wanted.echo["truncation"]),
            (&json!("be brief"), &json!("disabled"))
        );
    }

    #[test]
    fn what_cannot_be_done_names_its_field() {
        for (body, field) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": "?", "background": true}), "background"),
            (json!({"input": "?", "conversation": "conv_1"}), "conversation"),
            (json!({"input": "?", "previous_response_id": "resp_2"}), "previous_response_id"),
            (json!({"input": "?", "tools": [{"type": "web_search"}]}), "tools[0]"),
            (json!({"input": "?", "tool_choice": {"type": "mcp"}}), "tool_choice"),
            (json!({"input": "?", "text": {"format": {"type": "xml"}}}), "text.format"),
            (json!({"input": "?", "store": 1}), "store"),
            (json!({"input": "?", "instructions": 1}), "instructions"),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), field, "{body}");
        }
        assert!(read(json!({"input": "?", "background": false, "prompt": null})).is_ok());
    }
}
