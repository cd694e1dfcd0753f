//! What a client asks for: the fields that concern us, checked; all others go to the provider as they are. Pure.

use super::tool;
use super::wrong::Wrong;
use serde_json::{Map, Value};

/// Most choices of one request: each is a conversation with a sandbox of its own.
const CHOICES_MAX: u64 = 8;
/// Most messages.
const MESSAGES_MAX: usize = 4_096;
/// Most tools of a client; with ours those that OpenAI takes.
const TOOLS_MAX: usize = 127;
/// Names for the service's own model.
const OWN_MODEL: [&str; 2] = ["default", "fireclay"];

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What goes to the provider with each turn, but for the messages.
    pub fields: Map<String, Value>,
    /// The conversation so far.
    pub messages: Vec<Value>,
    /// How many choices are wanted.
    pub choices: u32,
    /// Whether they are wanted as they come.
    pub stream: bool,
    /// Whether a stream tells at its end what it cost.
    pub tells_usage: bool,
    /// Whether the answer has a form of its own, so that remarks on the way to it are no part of it.
    pub formed: bool,
}

impl Asked {
    /// Reads a request to a service whose model is this one; `any` is whether requests may name another.
    pub fn read(mut fields: Map<String, Value>, own: &str, any: bool) -> Result<Self, Wrong> {
        let messages = match fields.shift_remove("messages") {
            Some(Value::Array(messages)) if (1..=MESSAGES_MAX).contains(&messages.len()) => messages,
            _ => return Err(Wrong::request(format!("give 1 to {MESSAGES_MAX} messages"), "messages")),
        };
        if !messages.iter().all(|message| message["role"].is_string()) {
            return Err(Wrong::request("each message is an object with a role", "messages"));
        }
        let choices = match fields.shift_remove("n") {
            None | Some(Value::Null) => 1,
            Some(said) => said
                .as_u64()
                .filter(|n| (1..=CHOICES_MAX).contains(n))
                .ok_or_else(|| Wrong::request(format!("n is a number from 1 to {CHOICES_MAX}"), "n"))?,
        };
        let stream = flag(fields.shift_remove("stream"), "stream")?;
        let options = fields.shift_remove("stream_options").unwrap_or_default();
        let tells_usage = flag(options.get("include_usage").cloned(), "stream_options.include_usage")?;
        if fields.contains_key("functions") || fields.contains_key("function_call") {
            return Err(Wrong::request(
                "functions were replaced by tools, which are understood here",
                "functions",
            ));
        }
        name_model(&mut fields, own, any)?;
        add_tool(&mut fields)?;
        let format = fields.get("response_format").and_then(|format| format["type"].as_str());
        let formed = format.is_some_and(|format| format != "text");
        Ok(Self { fields, messages, choices: choices as u32, stream, tells_usage, formed })
    }

    /// Has our tool say which hosts code may reach.
    pub fn reaches(&mut self, hosts: &[String]) {
        let tools = self.fields.get_mut("tools").and_then(Value::as_array_mut);
        let own = |tool: &&mut Value| tool["function"]["name"] == tool::NAME;
        if let Some(tool) = tools.and_then(|tools| tools.iter_mut().find(own)) {
            *tool = tool::description(hosts);
        }
    }
}

fn flag(said: Option<Value>, name: &str) -> Result<bool, Wrong> {
    match said {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(said)) => Ok(said),
        Some(_) => Err(Wrong::request(format!("{name} is true or false"), name)),
    }
}

/// Leaves out the name of the service's own model: its provider has it.
fn name_model(fields: &mut Map<String, Value>, own: &str, any: bool) -> Result<(), Wrong> {
    let said = match fields.get("model") {
        None | Some(Value::Null) => "",
        Some(Value::String(said)) => said,
        Some(_) => return Err(Wrong::request("model is a string", "model")),
    };
    let short = own.split_once(':').map_or(own, |(_, model)| model);
    if said.is_empty() || OWN_MODEL.contains(&said) || said == own || said == short {
        fields.shift_remove("model");
        return Ok(());
    }
    if any {
        return Ok(());
    }
    Err(Wrong::request(format!("this service asks no other model than {short:?}"), "model"))
}

/// Puts our tool beside the client's, unless no tool may be called.
fn add_tool(fields: &mut Map<String, Value>) -> Result<(), Wrong> {
    let mut tools = match fields.shift_remove("tools") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(tools)) if tools.len() <= TOOLS_MAX => tools,
        Some(_) => return Err(Wrong::request(format!("tools is a list of at most {TOOLS_MAX}"), "tools")),
    };
    if tools.iter().any(|tool| tool["function"]["name"] == tool::NAME) {
        let message =
            format!("{:?} is the name of this service's own tool; call yours something else", tool::NAME);
        return Err(Wrong::request(message, "tools"));
    }
    let none = fields.get("tool_choice").is_some_and(|choice| choice == "none");
    if none && tools.is_empty() {
        // Without tools it is no word that providers take.
        fields.shift_remove("tool_choice");
        return Ok(());
    }
    if !none {
        tools.push(tool::description(&[]));
    }
    fields.insert("tools".to_owned(), Value::Array(tools));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(mut body: Value, any: bool) -> Result<Asked, Value> {
        if body.get("messages").is_none() {
            body["messages"] = json!([{"role": "user", "content": "?"}]);
        }
        let Value::Object(fields) = body else { unreachable!("a test says objects") };
        Asked::read(fields, "openai:gpt-5-mini", any).map_err(|wrong| wrong.event()["error"]["param"].clone())
    }

    #[test]
    fn what_is_not_ours_is_passed_on_as_it_is() {
        let asked =
            read(json!({"model": "gpt-4o", "seed": 7, "n": 2, "stream": true, "logprobs": true}), true)
                .unwrap();
        assert_eq!((asked.choices, asked.stream, asked.tells_usage, asked.formed), (2, true, false, false));
        assert_eq!(asked.fields["seed"], 7);
        assert_eq!(asked.fields["model"], "gpt-4o");
        assert_eq!(asked.fields["tools"].as_array().unwrap().len(), 1);
        for name in ["n", "stream", "messages"] {
            assert!(!asked.fields.contains_key(name), "{name}");
        }
        for own in ["default", "gpt-5-mini", "openai:gpt-5-mini"] {
            assert!(!read(json!({"model": own}), false).unwrap().fields.contains_key("model"), "{own}");
        }
        let none = read(json!({"tool_choice": "none"}), true).unwrap();
        assert!(!none.fields.contains_key("tools") && !none.fields.contains_key("tool_choice"));
        assert!(read(json!({"response_format": {"type": "json_object"}}), true).unwrap().formed);
    }

    #[test]
    fn what_cannot_be_done_names_its_field() {
        for (body, field) in [
            (json!({"messages": []}), "messages"),
            (json!({"messages": ["hello"]}), "messages"),
            (json!({"n": 0}), "n"),
            (json!({"n": 9}), "n"),
            (json!({"stream": "yes"}), "stream"),
            (json!({"stream_options": {"include_usage": 1}}), "stream_options.include_usage"),
            (json!({"model": 1}), "model"),
            (json!({"model": "other"}), "model"),
            (json!({"functions": []}), "functions"),
            (json!({"tools": [{"type": "function", "function": {"name": "run_code"}}]}), "tools"),
        ] {
            assert_eq!(read(body.clone(), false).unwrap_err(), field, "{body}");
        }
    }
}
