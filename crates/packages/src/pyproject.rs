//! What a Python project says of itself: `[project]` of `pyproject.toml`
//! (packaging.python.org/en/latest/specifications/pyproject-toml). Nothing is built to learn more.

use crate::FILE_BYTES_MAX;
use crate::refused::{Refused, Why, shown};
use crate::requirement::{self, Requirement, parse_list};
use crate::version::Specifiers;
use toml::{Table, Value};

/// What a program or project needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// Its packages.
    pub dependencies: Vec<Requirement>,
    /// The versions of Python that will do, if it says so.
    pub requires_python: Option<Specifiers>,
}

/// Keys of `[tool.uv]` that would change which packages come, or from where. Who wrote them means others than the index has by that name, so
/// leaving them unread would install what was not meant.
const SOURCES: [&str; 14] = [
    "sources",
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "index-strategy",
    "override-dependencies",
    "constraint-dependencies",
    "allow-insecure-host",
    "no-build-isolation",
    "pip",
    "no-binary",
    "workspace",
];

/// Reads `[project]` of a `pyproject.toml` of at most [`FILE_BYTES_MAX`] bytes. Without that table nothing is needed. Optional dependencies
/// and dependency groups are not read; dependencies that only a build can tell, and sources of packages, are refused.
pub fn parse(text: &str) -> Result<Project, Refused> {
    let document = document("pyproject.toml", text)?;
    let project = match document.get("project") {
        None => return Ok(Project::default()),
        Some(Value::Table(project)) => project,
        Some(_) => return Err(field("pyproject.toml", "project", "a table")),
    };
    let dynamic = project.get("dynamic").and_then(Value::as_array).into_iter().flatten();
    for name in dynamic.filter_map(Value::as_str) {
        if matches!(name, "dependencies" | "requires-python") {
            return Err(Refused::new("pyproject.toml", Why::Dynamic));
        }
    }
    needs("pyproject.toml", project)
}

/// Reads TOML, and refuses sources of packages in it.
pub(crate) fn document(file: &str, text: &str) -> Result<Table, Refused> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Refused::new(file, Why::TooMuch { what: "bytes", max: FILE_BYTES_MAX }));
    }
    let document: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Refused::new(file, Why::Syntax(shown(error.message(), 200))))?;
    let uv = document.get("tool").and_then(|tool| tool.get("uv"));
    if let Some(source) = SOURCES.iter().find(|key| uv.is_some_and(|uv| uv.get(**key).is_some())) {
        return Err(Refused::new(file, Why::Source(format!("tool.uv.{source}"))));
    }
    Ok(document)
}

/// Reads `dependencies` and `requires-python` of a table.
pub(crate) fn needs(file: &str, table: &Table) -> Result<Project, Refused> {
    let dependencies = match table.get("dependencies") {
        None => Vec::new(),
        Some(Value::Array(entries)) => {
            let texts: Option<Vec<&str>> = entries.iter().map(Value::as_str).collect();
            parse_list(&texts.ok_or_else(|| field(file, "dependencies", "a list of texts"))?)?
        }
        Some(_) => return Err(field(file, "dependencies", "a list of texts")),
    };
    let requires_python = match table.get("requires-python") {
        None => None,
        Some(Value::String(text)) => {
            Some(text.parse().map_err(|_| Refused::new("requires-python", requirement::version(text)))?)
        }
        Some(_) => return Err(field(file, "requires-python", "a text")),
    };
    Ok(Project { dependencies, requires_python })
}

fn field(file: &str, field: &'static str, kind: &'static str) -> Refused {
    Refused::new(file, Why::Field { field, kind })
}
