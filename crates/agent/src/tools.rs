//! The tools of a conversation: what a model reads of them, and what it calls them with.

use crate::conversation::{Call, Tool};
use crate::surroundings::Surroundings;
use crate::workbench::Program;
use model::Language;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What a model asked for.
#[derive(Debug, PartialEq)]
pub enum Asked {
    /// `run_code`.
    Run(Program),
    /// `read_file`.
    Read(String),
    /// `write_file`.
    Write(String, String),
    /// A tool that is not ours, with its arguments.
    Other(Map<String, Value>),
}

/// All tools. Schemas are in the part of JSON Schema that every provider knows.
pub fn tools(language: Language, around: &Surroundings) -> Vec<Tool> {
    let path = json!({"type": "string", "description": "Relative to the working directory, such as data/input.csv."});
    vec![
        Tool {
            name: "run_code".into(),
            description: format!(
                "Runs a program in {} and returns what it printed, the value of its last expression and how it ended. Variables, imports \
                 and files stay from call to call. Print what you want to see.{}",
                around.sandbox(),
                around.files()
            )
            .into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "language": {
                        "type": "string", "enum": ["python", "javascript", "typescript", "bash"],
                        "description": format!("The language of the code; {} if left out.", language.name()),
                    },
                    "code": {"type": "string", "description": "The program."},
                    "stdin": {"type": "string", "description": "What it reads on standard input."},
                    "packages": {
                        "type": "array", "items": {"type": "string"},
                        "description": "Python packages that it needs, such as pandas>=2; usually found by its imports.",
                    },
                },
                "required": ["code"],
            }),
        },
        Tool {
            name: "read_file".into(),
            description: "Reads a text file of the sandbox.".into(),
            parameters: json!({"type": "object", "properties": {"path": path}, "required": ["path"]}),
        },
        Tool {
            name: "write_file".into(),
            description: "Writes a text file of the sandbox, where run_code finds it. A file that is there is replaced.".into(),
            parameters: json!({
                "type": "object",
                "properties": {"path": path, "text": {"type": "string", "description": "All of its content."}},
                "required": ["path", "text"],
            }),
        },
    ]
}

#[derive(Deserialize)]
struct RunCode {
    language: Option<Language>,
    #[serde(alias = "jsCode")]
    code: String,
    stdin: Option<String>,
    packages: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ReadFile {
    path: String,
}

#[derive(Deserialize)]
struct WriteFile {
    path: String,
    #[serde(alias = "content")]
    text: String,
}

/// Reads a call, or says what is wrong with it so that the model can do better. Keys that are not known are passed over. `tools` are all that
/// there are.
pub fn read(call: &Call, language: Language, tools: &[Tool]) -> Result<Asked, String> {
    match call.name.as_str() {
        "run_code" => {
            let RunCode { language: said, code, stdin, packages } = parse(call)?;
            let packages = packages.unwrap_or_default();
            match said.filter(|said| said.is_declared()) {
                Some(said) => {
                    Err(format!("{said} does not run here; use python, javascript, typescript or bash"))
                }
                None => Ok(Asked::Run(Program { language: said.unwrap_or(language), code, stdin, packages })),
            }
        }
        "read_file" => parse(call).map(|ReadFile { path }| Asked::Read(path)),
        "write_file" => parse(call).map(|WriteFile { path, text }| Asked::Write(path, text)),
        // A model that gives none may mean none.
        other if tools.iter().any(|tool| tool.name == other) && call.arguments.trim().is_empty() => {
            Ok(Asked::Other(Map::new()))
        }
        other if tools.iter().any(|tool| tool.name == other) => parse(call).map(Asked::Other),
        other => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            Err(format!("there is no tool {other:?}; there are {}", names.join(", ")))
        }
    }
}

fn parse<T: DeserializeOwned>(call: &Call) -> Result<T, String> {
    serde_json::from_str(&call.arguments).map_err(|error| {
        format!("the arguments of {} cannot be used: {error}; call it again with whole JSON", call.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &str) -> Call {
        Call { name: name.to_owned(), arguments: arguments.to_owned(), ..Call::default() }
    }

    #[test]
    fn what_models_write_is_read() {
        let mut known = tools(Language::Python, &Surroundings::default());
        known.push(Tool { name: "theirs".into(), description: "".into(), parameters: json!({}) });
        let read = |name, arguments| read(&call(name, arguments), Language::Python, &known);
        let run = |language, code: &str| {
            Ok(Asked::Run(Program { language, code: code.to_owned(), stdin: None, packages: Vec::new() }))
        };
        assert_eq!(read("run_code", r#"{"code":"1"}"#), run(Language::Python, "1"));
        assert_eq!(
            read("run_code", r#"{"code":"1","language":"JS","stdin":null,"x":1}"#),
            run(Language::JavaScript, "1")
        );
        assert!(read("run_code", r#"{"code":"1"#).unwrap_err().contains("whole JSON"));
        assert!(read("run_code", r#"{"language":"cobol","code":"1"}"#).is_err());
        assert_eq!(
            read("write_file", r#"{"path":"a","text":"b"}"#),
            Ok(Asked::Write("a".into(), "b".into()))
        );
        assert!(read("rm", "{}").unwrap_err().contains("run_code, read_file, write_file, theirs"));
        assert!(matches!(read("theirs", r#"{"a":1}"#), Ok(Asked::Other(arguments)) if arguments["a"] == 1));
        assert!(matches!(read("theirs", ""), Ok(Asked::Other(arguments)) if arguments.is_empty()));
        assert!(read("theirs", "[1]").unwrap_err().contains("whole JSON"));
    }
}
