//! The tools, as models read them: one table.

use crate::arguments::{
    CloseSession, CreateSession, ListFiles, ListPackages, ListSessions, ReadFile, RunCode, RunShell,
    WriteFile,
};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::sync::LazyLock;

/// What is said to a model about all of them.
pub const INSTRUCTIONS: &str = "\
Runs code in sandboxes without network on this person's own machine. Variables, imports and files stay from call to call in your \
default session; name another `session` for separate work, or `fresh` for a sandbox that is gone afterwards. Files lie in the \
workspace, which is the working directory. A result says `outcome`; anything but `completed` is about the code, and the output says why.";

/// All tools.
pub static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    vec![
        tool::<RunCode>(
            "run_code",
            "Run code",
            "Runs Python, JavaScript, TypeScript or bash in a sandbox and returns what it printed, the value of its last expression, \
             images it displayed and the exception it raised. State stays from call to call in the same session.",
            ToolAnnotations::new().destructive(true).open_world(false),
        ),
        tool::<RunShell>(
            "run_shell",
            "Run a shell command",
            "Runs a bash command in a sandbox and returns what it printed and its exit code. It sees the files of the session that \
             run_code and write_file use.",
            ToolAnnotations::new().destructive(true).open_world(false),
        ),
        tool::<ReadFile>(
            "read_file",
            "Read a file",
            "Reads a file of a session's workspace: text as text, PNG and JPEG as images, anything else as base64.",
            ToolAnnotations::new().read_only(true).open_world(false),
        ),
        tool::<WriteFile>(
            "write_file",
            "Write a file",
            "Writes a file into a session's workspace, where run_code and run_shell find it.",
            ToolAnnotations::new().destructive(true).idempotent(true).open_world(false),
        ),
        tool::<ListFiles>(
            "list_files",
            "List files",
            "Lists what lies in a session's workspace, with sizes.",
            ToolAnnotations::new().read_only(true).open_world(false),
        ),
        tool::<ListPackages>(
            "list_packages",
            "List packages",
            "Lists the packages that code of a language can use in a template, with versions. There is no network: nothing can be \
             installed by code.",
            ToolAnnotations::new().read_only(true).open_world(false),
        ),
        tool::<CreateSession>(
            "create_session",
            "Open a session",
            "Opens a session: a sandbox that keeps its state and files between calls. Only needed for limits, variables or a template \
             of its own: naming a new session in another tool opens it, too.",
            ToolAnnotations::new().destructive(false).open_world(false),
        ),
        tool::<CloseSession>(
            "close_session",
            "Close a session",
            "Ends a session: all that runs in it ends and its state is gone.",
            ToolAnnotations::new().destructive(true).idempotent(true).open_world(false),
        ),
        tool::<ListSessions>(
            "list_sessions",
            "List sessions",
            "Lists open sessions, newest first, with what they are made from and when they end.",
            ToolAnnotations::new().read_only(true).open_world(false),
        ),
    ]
});

fn tool<T: JsonSchema>(
    name: &'static str,
    title: &str,
    description: &'static str,
    annotations: ToolAnnotations,
) -> Tool {
    Tool::new(name, description, schema_of::<T>()).with_title(title).with_annotations(annotations)
}

/// The schema of a tool's arguments, in the part of JSON Schema that every model's own dialect has: nothing is referred to, a type is one
/// word, and what may be left out is not `null` instead (which is taken all the same).
fn schema_of<T: JsonSchema>() -> JsonObject {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    plain(&mut schema);
    match schema {
        Value::Object(object) => object,
        // The schema of a struct is an object.
        _ => JsonObject::new(),
    }
}

fn plain(schema: &mut Value) {
    if let Value::Array(items) = schema {
        items.iter_mut().for_each(plain);
    }
    let Value::Object(object) = schema else { return };
    // A format such as uint64 is Rust's own, and a title the name of our type.
    object.remove("format");
    if object.get("title").is_some_and(Value::is_string) {
        object.remove("title");
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get("type") {
        let word = types.iter().find(|word| *word != "null").cloned();
        object.insert("type".to_owned(), word.unwrap_or(Value::Null));
    }
    // An enumeration whose words have descriptions of their own.
    if let Some(Value::Array(words)) = object.get("oneOf")
        && let Some(words) = words.iter().map(|word| word.get("const").cloned()).collect::<Option<Vec<_>>>()
    {
        object.remove("oneOf");
        object.insert("type".to_owned(), "string".into());
        object.insert("enum".to_owned(), Value::Array(words));
    }
    object.values_mut().for_each(plain);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn what_models_read() {
        let mut table = String::new();
        for tool in TOOLS.iter() {
            let schema = tool.schema_as_json_value();
            let names: Vec<&str> =
                schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            writeln!(table, "{}({}) requires {}", tool.name, names.join(", "), schema["required"]).unwrap();
            // Every argument says what it is, and none is refused that a client adds.
            for (name, property) in schema["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{name} of {}", tool.name);
                assert!(property["type"].is_string(), "{name} of {}: {property}", tool.name);
            }
            let text = schema.to_string();
            assert!(
                !["$ref", "null", "anyOf", "oneOf", "format"].iter().any(|word| text.contains(word)),
                "{text}"
            );
            assert!(schema.get("additionalProperties").is_none(), "{}", tool.name);
        }
        insta::assert_snapshot!(table);
    }
}
