//! What tools are called with. Each doc line is what the model reads in the schema; keys that are not here are ignored, since some
//! clients add their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A language that code may be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// CPython.
    #[default]
    #[serde(alias = "py", alias = "python3")]
    Python,
    /// GNU bash.
    #[serde(alias = "sh", alias = "shell")]
    Bash,
    /// Node.
    #[serde(alias = "js", alias = "node")]
    JavaScript,
    /// Node, after the types are stripped.
    #[serde(alias = "ts")]
    TypeScript,
    /// C, compiled, if the machine has gcc; as all that follow, each run in a fresh sandbox.
    C,
    /// C++, compiled, if the machine has g++.
    #[serde(alias = "c++")]
    Cpp,
    /// Rust, compiled, if the machine has rustc.
    #[serde(alias = "rs")]
    Rust,
    /// Go, compiled, if the machine has go.
    #[serde(alias = "golang")]
    Go,
    /// Java, with its class Main, if the machine has a JDK.
    Java,
    /// Ruby, if the machine has it.
    #[serde(alias = "rb")]
    Ruby,
    /// Perl, if the machine has it.
    #[serde(alias = "pl")]
    Perl,
    /// PHP, if the machine has it.
    Php,
    /// R, if the machine has it.
    R,
}

impl Language {
    /// Whether no session has an interpreter of it.
    pub fn is_always_fresh(self) -> bool {
        !matches!(self, Self::Python | Self::Bash | Self::JavaScript | Self::TypeScript)
    }
}

/// A file to put into the workspace before the code starts: exactly one of `text` and `base64`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Where, relative to the workspace, such as `data/input.csv`.
    pub path: String,
    /// Its content, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its content in base64, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// How much a run may use; what is left out has a sensible value.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Milliseconds until the code is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Bytes of each output stream that are kept: its beginning and its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Bytes of memory; of a whole session or a fresh sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Bytes of disk; of a whole session or a fresh sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Processors, such as 1.5; of a whole session or a fresh sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Processes and threads at once; of a whole session or a fresh sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// What is done about findings of the static check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Nothing is checked.
    Off,
    /// They are told with the result.
    Warn,
    /// What looks harmful is not run.
    Deny,
}

/// Which findings of the static check are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckPolicy {
    /// What is harm, or an attempt at it, refuses code.
    Default,
    /// What is seldom in ordinary code refuses it too, the network among it.
    Strict,
    /// AgentRun's own verdicts, for Python.
    Agentrun,
}

/// Whether code is read before it is run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reading {
    /// What is done about findings of the static check; left out, what the service does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Check")]
    pub check: Option<Check>,
    /// Which findings are looked for, and which of them refuse code; left out, as the service is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CheckPolicy")]
    pub check_policy: Option<CheckPolicy>,
    /// What is done about single rules of the check, by id (`tree.destroy`), or by the beginning of ids with a `*` (`network.*`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub check_rules: BTreeMap<String, Check>,
    /// Whether the service's own language model reads it first; what that finds unsafe is not run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
}

/// Arguments of `run_code`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RunCode {
    /// The program. In Python, the value of a last expression is returned too.
    pub code: String,
    /// Its language.
    #[serde(default)]
    pub language: Language,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// Files to put into the workspace first.
    #[serde(default)]
    pub files: Vec<File>,
    /// Packages that it needs, such as `pandas>=2`; of JavaScript only in a `fresh` sandbox.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What the sandbox is made from: `python`, `python-data` (numpy, pandas, matplotlib), `bash` or `node`. Of a session, only its
    /// first use may name it.
    pub template: Option<String>,
    /// How much it may use.
    #[serde(default)]
    pub limits: Limits,
    #[serde(flatten)]
    pub reading: Reading,
    /// Where to run: the name or id of a session, which is opened if there is none of that name. Left out, it is your own default
    /// session: variables, imports and files are still there in the next call. `fresh` is a new sandbox for this call alone.
    pub session: Option<String>,
}

/// Arguments of `run_shell`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RunShell {
    /// The command, or a whole script, for bash. The working directory and variables stay from call to call.
    pub command: String,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// How much it may use.
    #[serde(default)]
    pub limits: Limits,
    #[serde(flatten)]
    pub reading: Reading,
    /// Where to run, as for `run_code`.
    pub session: Option<String>,
}

/// Arguments of `read_file`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReadFile {
    /// Which file, relative to the workspace.
    pub path: String,
    /// From which byte on.
    #[serde(default)]
    pub offset: u64,
    /// At most so many bytes; 1 MiB at most, 64 KiB if it is left out. Images are returned whole, up to 4 MiB.
    pub max_bytes: Option<u64>,
    /// The session whose file it is; left out, your own default session.
    pub session: Option<String>,
}

/// Arguments of `write_file`: exactly one of `text` and `base64`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WriteFile {
    /// Where, relative to the workspace. Directories on the way are made; a file that is there is replaced.
    pub path: String,
    /// The content, if it is text.
    pub text: Option<String>,
    /// The content in base64, if it is not.
    pub base64: Option<String>,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
    /// The session to write to; left out, your own default session, which is opened if there is none.
    pub session: Option<String>,
}

/// Arguments of `list_files`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListFiles {
    /// Which directory, relative to the workspace; left out, the workspace.
    #[serde(default)]
    pub path: String,
    /// Whether to list what is below, too.
    #[serde(default)]
    pub recursive: bool,
    /// Only paths that match, such as `**/*.csv`.
    pub glob: Option<String>,
    /// The session whose files they are; left out, your own default session.
    pub session: Option<String>,
}

/// Arguments of `list_packages`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListPackages {
    /// Of which language: installed distributions of Python, modules of Node, or commands of the shell.
    #[serde(default)]
    pub language: Language,
    /// Of which template, such as `python-data`; left out, the language's own.
    pub template: Option<String>,
}

/// Arguments of `create_session`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CreateSession {
    /// What to call it; `session` of other tools takes this name.
    #[serde(default)]
    pub name: String,
    /// What it is made from: `python` if left out, `python-data` (numpy, pandas, matplotlib), `bash` or `node`.
    pub template: Option<String>,
    /// How much all that runs in it may use together.
    #[serde(default)]
    pub limits: Limits,
    /// Environment variables of all that runs in it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Milliseconds that it stays when nothing runs in it.
    pub idle_ttl_ms: Option<u64>,
}

/// Arguments of `close_session`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CloseSession {
    /// Its name or id; left out, your own default session.
    pub session: Option<String>,
}

/// Arguments of `list_sessions`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListSessions {
    /// Whether to list those that have ended, too.
    #[serde(default)]
    pub ended: bool,
}
