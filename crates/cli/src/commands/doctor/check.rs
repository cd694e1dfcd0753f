//! One line of the report.

use sandbox::probe::{Failure, Found};
use serde::Serialize;

/// How much a failed check matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// `fireclay run` refuses without it.
    Required,
    /// `fireclay run` works, with something missing.
    Degrading,
    /// The machine could be safer; runs are as they should be.
    Advice,
}

/// Where a check stands in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Namespaces.
    Namespaces,
    /// File systems and mounts.
    Files,
    /// Capabilities, limits and the like.
    Rights,
    /// System calls and Landlock.
    Filters,
    /// Control groups.
    Cgroups,
    /// The data directory and the image in it.
    Image,
    /// The whole.
    Run,
    /// How the machine is set up.
    Host,
}

impl Group {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Namespaces => "Namespaces",
            Self::Files => "File systems",
            Self::Rights => "Rights and processes",
            Self::Filters => "Filters",
            Self::Cgroups => "Control groups",
            Self::Image => "Image",
            Self::Run => "All of it",
            Self::Host => "This machine (advice)",
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Stable name.
    pub id: &'static str,
    /// Where it stands.
    pub group: Group,
    /// Name for people.
    pub title: &'static str,
    /// What was found.
    pub have: String,
    /// What there should be.
    pub need: String,
    /// Whether that is what there is.
    pub ok: bool,
    /// What it means if not.
    pub severity: Severity,
    /// What follows if not, in words.
    pub consequence: String,
    /// What to do; nothing when all is well, or when what this stands on must be mended first.
    pub fix: Option<String>,
}

impl Check {
    /// A check about which nothing is known yet.
    pub fn new(group: Group, id: &'static str, title: &'static str) -> Self {
        let (have, need, consequence) = (String::new(), String::new(), String::new());
        Self { id, group, title, have, need, ok: false, severity: Severity::Advice, consequence, fix: None }
    }

    /// Says what there should be.
    pub fn needs(mut self, need: impl Into<String>) -> Self {
        self.need = need.into();
        self
    }

    /// Says what it means if it is not there.
    pub fn matters(mut self, severity: Severity, consequence: impl Into<String>) -> Self {
        self.severity = severity;
        self.consequence = consequence.into();
        self
    }

    /// Takes what an act found; `fix` is asked for what to do when it failed.
    pub fn found(mut self, found: Found, fix: impl FnOnce(&Failure) -> String) -> Self {
        self.ok = found.is_ok();
        match found {
            Ok(have) => self.have = have,
            Err(failure) => {
                self.fix = Some(fix(&failure));
                self.have = failure.reason;
            }
        }
        self
    }

    /// Says that it was not looked at, since it stands on something that failed.
    pub fn not_tried(mut self, why: &str) -> Self {
        self.have = format!("not tried: {why}");
        self
    }

    /// Takes what was read, and whether it is as it should be.
    pub fn read(self, have: impl Into<String>, ok: bool, fix: &str) -> Self {
        let have = have.into();
        self.found(if ok { Ok(have) } else { Err(Failure::of(have)) }, |_| fix.to_owned())
    }
}
