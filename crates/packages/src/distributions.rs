//! Which distribution a Python module is from. The table is `tables/distributions.toml`; its head says where its rows are from.

use crate::requirement::Requirement;
use crate::stdlib;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The table: a module, with dots, and its distribution. An empty one is a namespace that many distributions share: none is meant by it.
static TABLE: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let sections: BTreeMap<String, BTreeMap<String, String>> =
        toml::from_str(include_str!("../tables/distributions.toml")).expect("the table is tried by a test");
    sections.into_values().flatten().collect()
});

/// What a module was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The part of the module's name that says it: `google.cloud.storage` of `google.cloud.storage.blob`.
    pub module: String,
    /// Its distribution, with a version where only some have the module; none for a part of a namespace that the table does not know, for what only other versions of the standard library
    /// have, and for what cannot be a distribution's name.
    pub requirement: Option<Requirement>,
}

/// The distribution of a module, `a.b.c`: the table's row for as much of its name as it knows, else of the same name as its first part.
pub fn find(module: &str) -> Found {
    let ends = module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
    let parts: Vec<&str> = ends.map(|end| &module[..end]).collect();
    let root = parts[0];
    let known = parts.iter().rev().find_map(|part| Some((*part, TABLE.get(*part)?)));
    match known {
        Some((part, name)) if !name.is_empty() => {
            Found { module: part.to_owned(), requirement: name.parse().ok() }
        }
        Some((part, _)) => {
            // One part more than the namespace, so that a message names what was asked for.
            let next = parts.iter().find(|other| other.len() > part.len()).unwrap_or(&part);
            Found { module: (*next).to_owned(), requirement: None }
        }
        None if stdlib::had(root) => Found { module: root.to_owned(), requirement: None },
        None => Found { module: root.to_owned(), requirement: root.parse().ok().map(Requirement::any) },
    }
}

/// The table's rows: a module, and what to ask for to have it.
pub fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|(module, name)| (module.as_str(), name.as_str()))
}
