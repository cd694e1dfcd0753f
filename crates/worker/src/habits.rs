//! Environments that are used again: what their programs import, so that an interpreter waits in a sandbox of theirs that has it already.
//!
//! Packages are a tenant's choice, and importing them runs their code. So they are never imported in a zygote, which has rights that no sandbox has, but
//! in the sandbox of the next run itself, before that run comes (docs/design/0031-imports-ahead.md).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::image::packages::has_module;

/// Most environments that are remembered; the one that was not used for longest is forgotten.
const KNOWN_MAX: usize = 256;
/// An environment that was not used for so long begins anew.
const FORGET: Duration = Duration::from_secs(600);
/// Most modules that are imported ahead.
const MODULES_MAX: usize = 16;
/// Longest name of one.
const NAME_BYTES_MAX: usize = 128;

/// What was seen of environments.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    known: Mutex<BTreeMap<String, Habit>>,
}

#[derive(Debug)]
struct Habit {
    uses: u32,
    /// What every program has imported until the second; then it stays.
    modules: Vec<String>,
    used: Instant,
}

impl Habits {
    /// A program is run in the environment of this name, whose packages lie below `rootfs`. From its second use on, the modules that a waiting interpreter
    /// of it is to have; before that nothing.
    pub(crate) fn of(&self, name: &str, rootfs: &Path, code: &str) -> Option<Vec<String>> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(habit) = known.get_mut(name).filter(|habit| now.duration_since(habit.used) < FORGET) {
            habit.uses = habit.uses.saturating_add(1);
            habit.used = now;
            if habit.uses == 2 {
                let others = imported(code);
                habit.modules.retain(|module| others.contains(module));
            }
            return Some(habit.modules.clone());
        }
        let root = |module: &str| module.split('.').next().unwrap_or_default().to_owned();
        let mut modules = imported(code);
        modules.retain(|module| has_module(rootfs, &root(module)));
        modules.truncate(MODULES_MAX);
        if known.len() >= KNOWN_MAX
            && let Some(oldest) =
                known.iter().min_by_key(|(_, habit)| habit.used).map(|(name, _)| name.clone())
        {
            known.remove(&oldest);
        }
        known.insert(name.to_owned(), Habit { uses: 1, modules, used: now });
        None
    }
}

/// The modules that a program imports at its top, whatever happens, in their order. Read by lines, which is enough: one that was only text is one import too
/// many, and nothing else.
fn imported(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let names: Vec<&str> = if let Some(rest) = line.strip_prefix("import ") {
            rest.split(',').map(|part| part.split_whitespace().next().unwrap_or_default()).collect()
        } else if let Some((module, _)) =
            line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "))
        {
            vec![module.trim()]
        } else {
            continue;
        };
        for name in names {
            if is_module(name) && !found.iter().any(|other| other == name) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

fn is_module(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_imported_at_the_top_is_read_and_nothing_else() {
        let code = "import os, pandas as pd; import json\nfrom matplotlib.pyplot import plot\nif x:\n    import six\nfrom . import y\nimport pandas # again\nimport a b\nimport 1x, b/c";
        assert_eq!(imported(code), ["os", "pandas", "matplotlib.pyplot", "a"]);
    }

    #[test]
    fn from_the_second_use_on_what_both_programs_import_that_the_environment_has() {
        let data = tempfile::tempdir().unwrap();
        let site = data.path().join("opt/lib/python3/site-packages");
        for module in ["pandas", "six"] {
            std::fs::create_dir_all(site.join(module)).unwrap();
        }
        std::fs::write(site.join("single.py"), "").unwrap();
        let habits = Habits::default();
        let of = |name: &str, code: &str| habits.of(name, data.path(), code);
        assert_eq!(of("a", "import os, pandas, six, single, absent"), None);
        let both = Some(vec!["pandas".to_owned(), "single".to_owned()]);
        assert_eq!(of("a", "import single\nimport pandas.core, pandas"), both);
        assert_eq!(of("a", "print(1)"), both, "it stays");
        assert_eq!(of("b", "import six"), None, "each for itself");
    }
}
