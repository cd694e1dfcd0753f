//! AgentRun's rules of packages, in its words (github.com/tjmlabs/AgentRun 0.2.5, whose answers were captured from the running service).
//!
//! Its list has names of *imports*, compared exactly; `*` is all of them, and an empty list none. It looks for what is imported anywhere, by
//! the first part of the name, and installs a package of the import's own name. We install what the import means; so its distribution's
//! name is let pass in the list too (`scikit-learn` for `sklearn`).

use crate::name::Name;
use crate::python::Need;

/// Why AgentRun does not begin at all.
pub const CACHED_NOT_ALLOWED: &str = "Some cached dependencies are not in the whitelist.";

/// What AgentRun answers for an import that it may not install.
pub fn not_allowed(module: &str) -> String {
    format!("Dependency: {module} is not in the whitelist.")
}

/// What AgentRun answers for a package that could not be installed.
pub fn not_installed(module: &str) -> String {
    format!("Failed to install dependency {module}")
}

/// AgentRun's list: `dependencies_whitelist`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whitelist(Vec<String>);

impl Default for Whitelist {
    /// Everything, as AgentRun has it.
    fn default() -> Self {
        Self(vec!["*".to_owned()])
    }
}

impl Whitelist {
    /// A list of these entries.
    pub fn new(entries: Vec<String>) -> Self {
        Self(entries)
    }

    /// Whether any package may be used.
    pub fn is_everything(&self) -> bool {
        self.0.iter().any(|entry| entry == "*")
    }

    /// Whether a module of this name may be used, or the distribution it is from.
    pub fn allows(&self, module: &str, distribution: Option<&Name>) -> bool {
        let is_distribution = |entry: &String| {
            distribution
                .is_some_and(|distribution| entry.parse::<Name>().is_ok_and(|name| name == *distribution))
        };
        self.is_everything() || self.0.iter().any(|entry| entry == module || is_distribution(entry))
    }

    /// What AgentRun answers instead of running a program with these needs; nothing if it may have them. The first in their order counts.
    pub fn refusal(&self, needs: &[Need]) -> Option<String> {
        let refused = needs.iter().find(|need| !self.allows(need.root(), need.distribution()))?;
        Some(not_allowed(refused.root()))
    }

    /// Whether all packages that are installed ahead may be used; if not, [`CACHED_NOT_ALLOWED`].
    pub fn covers(&self, cached: &[String]) -> bool {
        cached.iter().all(|name| self.allows(name, None))
    }
}
