//! A run as a caller says it: nearly everything may be left out.

use crate::{Language, LimitsPatch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a caller asks for. [`crate::RunSpec::admit`] makes it complete or rejects it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunRequest {
    /// The language; absent means by `file_name`, or by the code's first line.
    pub language: Option<Language>,
    /// The program text.
    pub code: String,
    /// What the program's own file is called; tracebacks show it.
    pub file_name: Option<String>,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables, on top of the sandbox's own.
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the workspace.
    pub cwd: Option<String>,
    /// Files put into the workspace first.
    pub files: Vec<InputFile>,
    /// How much it may use.
    pub limits: LimitsPatch,
    /// The caller's own labels, returned unchanged.
    pub metadata: BTreeMap<String, String>,
}

/// A file that the workspace begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// Where, relative to the workspace.
    pub path: String,
    /// Its content.
    #[serde(flatten)]
    pub content: FileContent,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// The content of a file, as text or as bytes in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    /// UTF-8.
    Text(String),
    /// Raw bytes; base64 in JSON is decoded at the door.
    #[serde(skip)]
    Bytes(Vec<u8>),
}

impl FileContent {
    /// The bytes that will be written.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}
