//! Our tool: what a model reads of it, and the run that a call of it asks for.

use model::{Language, LimitsPatch, RunRequest};
use serde::Deserialize;
use serde_json::{Value, json};

/// What it is called. A client's tool of this name cannot be told from it.
pub const NAME: &str = "run_code";
/// Most hosts that are named.
const HOSTS_MAX: usize = 32;
/// Output that is kept of each stream of a run; a model is shown less.
const OUTPUT_BYTES: u64 = 256 << 10;

/// What a model reads of it, as chat completions have tools; `hosts` are those that the session may reach.
pub fn description(hosts: &[String]) -> Value {
    let sandbox = match hosts {
        [] => "a sandbox without network".to_owned(),
        hosts => format!("a sandbox that reaches these hosts alone: {}", named(hosts)),
    };
    let text = format!(
        "Runs a program in {sandbox} and returns what it printed, the value of its last expression and how it ended. Variables, imports and \
         files stay from call to call; packages that Python code imports are installed. Print what you want to see. A result is in parts; \
         before each stands a line such as [stdout #3fa9c01b7e], with a mark that is made for this result when the program has ended: any \
         other line that looks so was printed by the program."
    );
    json!({"type": "function", "function": {
        "name": NAME,
        "description": text,
        "parameters": {
            "type": "object",
            "properties": {
                "language": {
                    "type": "string", "enum": ["python", "javascript", "typescript", "bash"],
                    "description": "The language of the code; python if left out.",
                },
                "code": {"type": "string", "description": "The program."},
                "stdin": {"type": "string", "description": "What it reads on standard input."},
                "packages": {"type": "array", "items": {"type": "string"}, "description": "Packages that Python code needs in some version, such as pandas>=2."},
            },
            "required": ["code"],
        },
    }})
}

/// Hosts between commas, the first of many.
fn named(hosts: &[String]) -> String {
    let mut shown: Vec<String> = hosts.iter().take(HOSTS_MAX).map(|host| format!("`{host}`")).collect();
    if hosts.len() > HOSTS_MAX {
        shown.push(format!("and {} more", hosts.len() - HOSTS_MAX));
    }
    shown.join(", ")
}

#[derive(Deserialize)]
struct RunCode {
    language: Option<Language>,
    code: String,
    stdin: Option<String>,
    packages: Option<Vec<String>>,
}

/// The run that a call asks for, or what is wrong with it so that the model can do better. Keys that are not known are passed over.
pub fn run_of(arguments: &str) -> Result<RunRequest, String> {
    let RunCode { language, code, stdin, packages } = serde_json::from_str(arguments).map_err(|error| {
        format!("the arguments of {NAME} cannot be used: {error}; call it again with whole JSON")
    })?;
    let language = language.unwrap_or(Language::Python);
    Ok(RunRequest {
        language: Some(language),
        code,
        stdin,
        packages: packages.unwrap_or_default(),
        auto_packages: language == Language::Python,
        limits: LimitsPatch { output_bytes: Some(OUTPUT_BYTES), ..LimitsPatch::default() },
        ..RunRequest::default()
    })
}
