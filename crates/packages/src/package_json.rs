//! `dependencies` of a `package.json` (docs.npmjs.com/cli/v11/configuring-npm/package-json).

use crate::npm::{self, Requirement};
use crate::refused::{Refused, Why, shown};
use crate::{ENTRIES_MAX, FILE_BYTES_MAX};
use serde_json::Value;

/// Fields that would change which packages come: npm obeys them, so leaving them unread would install what was not meant.
const SOURCES: [&str; 4] = ["overrides", "resolutions", "workspaces", "pnpm"];

/// Reads `dependencies` of a file of at most [`FILE_BYTES_MAX`] bytes, in its order. Those of development, and optional and peer ones are not
/// read, and no script is.
pub fn parse(text: &str) -> Result<Vec<Requirement>, Refused> {
    let refuse = |why| Refused::new("package.json", why);
    if text.len() > FILE_BYTES_MAX {
        return Err(refuse(Why::TooMuch { what: "bytes", max: FILE_BYTES_MAX }));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Value =
        serde_json::from_str(text).map_err(|error| refuse(Why::Syntax(shown(&error.to_string(), 200))))?;
    if !document.is_object() {
        return Err(refuse(Why::Syntax("not an object".to_owned())));
    }
    if let Some(source) = SOURCES.iter().find(|key| document.get(**key).is_some()) {
        return Err(refuse(Why::Source((*source).to_owned())));
    }
    let dependencies = match document.get("dependencies") {
        None => return Ok(Vec::new()),
        Some(Value::Object(dependencies)) => dependencies,
        Some(_) => return Err(refuse(Why::Field { field: "dependencies", kind: "an object" })),
    };
    if dependencies.len() > ENTRIES_MAX {
        return Err(refuse(Why::TooMuch { what: "entries", max: ENTRIES_MAX }));
    }
    let one = |(name, range): (&String, &Value)| match range {
        Value::String(range) => npm::requirement(name, range),
        _ => Err(Refused::new(name, Why::Field { field: "dependencies", kind: "an object of texts" })),
    };
    dependencies.iter().map(one).collect()
}
