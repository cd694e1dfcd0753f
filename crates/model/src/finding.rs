//! What the static check notices in a program, and what is done about it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; ordinary programs do it.
    Low,
    /// Seldom in an ordinary program.
    Medium,
    /// Harm, or an attempt at it.
    High,
}

impl Severity {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One thing that the static check noticed, or that a review has against the program as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finding {
    /// Which rule: `tree.destroy`; `review` is not one of the check, but a language model.
    pub rule: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What is done about it: `deny` refuses the program. Results of versions that did not say have `warn`.
    #[serde(default)]
    pub verdict: CheckMode,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub advice: String,
}

/// What is done about findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckMode {
    /// The program is not checked.
    Off,
    /// Findings are told with the result.
    #[default]
    Warn,
    /// A program that the policy refuses is not run: its outcome is `denied`.
    Deny,
}

/// Which findings are looked for, and which of them refuse a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckPolicy {
    /// High findings refuse.
    #[default]
    Default,
    /// Medium findings refuse too, and the network is one.
    Strict,
    /// AgentRun's own verdicts, for Python.
    Agentrun,
}

/// What somebody says of the check; what is absent is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CheckPatch {
    /// What is done about findings of rules that nobody names. `off` also takes back what was said of rules before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<CheckMode>,
    /// Which findings are looked for, and which of them refuse a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<CheckPolicy>,
    /// What is done about single rules, by id, or by the beginning of ids with a `*`: `{"tree.destroy": "deny", "network.*": "off"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, CheckMode>,
    /// Whether all this is the least: then who is asked later may ask for more, and not for less.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enforce: bool,
}

impl CheckPatch {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl CheckMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Warn, Self::Deny];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

impl CheckPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Default, Self::Strict, Self::Agentrun];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Agentrun => "agentrun",
        }
    }
}

impl FromStr for CheckMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.name() == text)
            .ok_or_else(|| "expected off, warn or deny".to_owned())
    }
}

impl FromStr for CheckPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| "expected default, strict or agentrun".to_owned())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, severity, line, column, reason, .. } = self;
        write!(f, "{line}:{column}: {} {rule}: {reason}", severity.name())
    }
}
