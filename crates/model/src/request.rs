//! A run as a caller says it: nearly everything may be left out.

use crate::object::{self, Object};
use crate::{CheckMode, CheckPolicy, Egress, Language, LimitsPatch, base64};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// What the `packages` of a usual request are called that are for programs of Python only: those of a file of pip's.
pub const PACKAGES_OF_PYTHON: &str = "packages of Python";

/// What is usual for a program in this language, by its fields' names; `None` is Python.
pub fn usual_of<'a, V>(
    language: Option<&str>,
    usual: impl IntoIterator<Item = (&'a String, &'a V)> + Clone,
) -> Vec<(&'a str, &'a V)> {
    let is_python = matches!(language, None | Some("python"));
    let has_python = is_python || language == Some("bash");
    let has_list = is_python && usual.clone().into_iter().any(|(name, _)| name == PACKAGES_OF_PYTHON);
    let of = |(name, value): (&'a String, &'a V)| match name.as_str() {
        PACKAGES_OF_PYTHON => is_python.then_some(("packages", value)),
        "packages" if has_list => None,
        // Only these have one (`RunSpec::admit`).
        "python" if !has_python => None,
        name => Some((name, value)),
    };
    usual.into_iter().filter_map(of).collect()
}

/// What a caller asks for. [`crate::RunSpec::admit`] makes it complete or rejects it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RunRequest {
    /// The language; absent means by `file_name`, or by the code's first line.
    pub language: Option<Language>,
    /// What its sandbox is made from; absent means the template of its language: `python`, `bash`, `node`, or the one
    /// that is called as the language is.
    pub template: Option<String>,
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
    #[cfg_attr(feature = "schema", schema(value_type = Vec<InputFileSaid>))]
    pub files: Vec<InputFile>,
    /// Packages that it is to have, as `pandas>=2`; those that its script block (PEP 723), `requirements.txt` or `pyproject.toml` name are
    /// installed too.
    pub packages: Vec<String>,
    /// Whether packages are also found by what it imports.
    pub auto_packages: bool,
    /// Whether only packages that are installed already may be used: then nothing is fetched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// The version of Python that runs it, as `3.13` or `3.13.1`; absent means that of the image, or else the newest that `requires-python` in its
    /// script block (PEP 723) or `pyproject.toml` allows. One that is not there is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Language and version in one, as `python3.13` or `node20`; the same as `language` and `python`. One that is not there is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Which hosts it may reach, through a proxy; absent is none.
    #[serde(deserialize_with = "Egress::deserialize")]
    pub egress: Option<Egress>,
    /// How much it may use.
    #[serde(deserialize_with = "object::deserialize")]
    pub limits: LimitsPatch,
    /// What is done about findings of the static check; absent means as the service is set, which is to tell them.
    pub check: Option<CheckMode>,
    /// Which findings are looked for; absent means as the service is set.
    pub check_policy: Option<CheckPolicy>,
    /// What is done about single rules, by id, or by the beginning of ids with a `*`: `{"tree.destroy": "deny", "network.*": "off"}`. An
    /// exact id comes before a beginning, a longer one before a shorter.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub check_rules: BTreeMap<String, CheckMode>,
    /// Whether a language model reads it first, which the service must have; what it finds unsafe is not run, and denied.
    pub review: bool,
    /// Whether another node of a cluster runs it again when the one that ran it is gone, which is so unless it is false; then it is
    /// `interrupted`, as every run is on one machine.
    pub repeatable: Option<bool>,
    /// The caller's own labels, returned unchanged.
    pub metadata: BTreeMap<String, String>,
}

/// A file that the workspace begins with. In JSON its content is `text`, or `base64` for raw bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "InputFileSaid")]
pub struct InputFile {
    /// Where, relative to the workspace.
    pub path: String,
    /// Its content.
    pub content: FileContent,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The content of a file, as text or as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// UTF-8.
    Text(String),
    /// Raw bytes.
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

/// A file to put into the workspace, as a caller says it: exactly one of `text` and `base64`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = InputFile))]
#[serde(deny_unknown_fields)]
pub struct InputFileSaid {
    /// Where, relative to the workspace.
    path: String,
    /// Its content as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Its content as base64 (RFC 4648 §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Whether it may be executed.
    #[serde(default)]
    executable: bool,
}

impl<'de> Deserialize<'de> for InputFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(said) = Object::<InputFileSaid>::deserialize(deserializer)?;
        said.try_into().map_err(serde::de::Error::custom)
    }
}

impl TryFrom<InputFileSaid> for InputFile {
    type Error = String;

    fn try_from(said: InputFileSaid) -> Result<Self, String> {
        let content = match (said.text, said.base64) {
            (Some(text), None) => FileContent::Text(text),
            (None, Some(coded)) => FileContent::Bytes(base64::decode(&coded)?),
            _ => return Err(format!("{:?} needs exactly one of `text` and `base64`", said.path)),
        };
        Ok(Self { path: said.path, content, executable: said.executable })
    }
}

impl From<InputFile> for InputFileSaid {
    fn from(file: InputFile) -> Self {
        let (text, base64) = match file.content {
            FileContent::Text(text) => (Some(text), None),
            FileContent::Bytes(bytes) => (None, Some(base64::encode(&bytes))),
        };
        Self { path: file.path, text, base64, executable: file.executable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_exactly_one_content() {
        let parse = |json: &str| serde_json::from_str::<InputFile>(json).map_err(|error| error.to_string());
        let bytes = parse(r#"{"path":"a","base64":"/wA="}"#).unwrap();
        assert_eq!(bytes.content.as_bytes(), [255, 0]);
        assert_eq!(
            serde_json::to_string(&bytes).unwrap(),
            r#"{"path":"a","base64":"/wA=","executable":false}"#
        );
        for wrong in [
            r#"{"path":"a"}"#,
            r#"{"path":"a","text":"","base64":""}"#,
            r#"{"path":"a","base64":"*"}"#,
            r#"{"path":"a","text":"","mode":1}"#,
            r#"["a","",null,false]"#,
        ] {
            parse(wrong).unwrap_err();
        }
    }
}
