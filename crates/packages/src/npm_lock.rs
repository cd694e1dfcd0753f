//! `package-lock.json` as npm writes it (docs.npmjs.com/cli/v11/configuring-npm/package-lock-json, `lockfileVersion` 3): what is going to be
//! installed, before it is.

use crate::npm;
use crate::refused::{Refused, Why, shown};
use crate::{ENTRIES_MAX, FILE_BYTES_MAX};
use serde_json::Value;
use std::collections::BTreeSet;

/// The packages of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmLock {
    entries: Vec<NpmLocked>,
}

/// One of them, at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NpmLocked {
    /// Where it lies: `node_modules/a/node_modules/b`.
    pub path: String,
    /// Its name at the registry, which an alias does not change.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its archive has to hash to (W3C Subresource Integrity); empty for what comes within another's archive.
    pub integrity: String,
}

impl NpmLock {
    /// Reads a lock of at most [`FILE_BYTES_MAX`] × 4 bytes and [`ENTRIES_MAX`] × 4 entries. Each is of this registry and has its hash, or came
    /// within the archive of one that has.
    pub fn parse(text: &str, registry: &str) -> Result<Self, Refused> {
        let refuse = |why| Refused::new("package-lock.json", why);
        if text.len() > FILE_BYTES_MAX * 4 {
            return Err(refuse(Why::TooMuch { what: "bytes", max: FILE_BYTES_MAX * 4 }));
        }
        let document: Value = serde_json::from_str(text)
            .map_err(|error| refuse(Why::Syntax(shown(&error.to_string(), 200))))?;
        let packages = document.get("packages").and_then(Value::as_object);
        let packages = packages.ok_or_else(|| refuse(Why::Field { field: "packages", kind: "an object" }))?;
        if packages.len() > ENTRIES_MAX * 4 {
            return Err(refuse(Why::TooMuch { what: "entries", max: ENTRIES_MAX * 4 }));
        }
        let base = format!("{}/", registry.trim_end_matches('/'));
        // The project itself has the empty path.
        let others = packages.iter().filter(|(path, _)| !path.is_empty());
        let mut entries =
            others.map(|(path, entry)| one(path, entry, &base)).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        Ok(Self { entries })
    }

    /// Its packages, by place.
    pub fn entries(&self) -> &[NpmLocked] {
        &self.entries
    }

    /// Each package and version once, such as `left-pad 1.3.0`, sorted.
    pub fn packages(&self) -> Vec<String> {
        let all: BTreeSet<String> =
            self.entries.iter().map(|entry| format!("{} {}", entry.name, entry.version)).collect();
        all.into_iter().collect()
    }

    /// The same text for the same packages at the same places.
    pub fn canonical(&self) -> String {
        let line = |NpmLocked { path, name, version, integrity }: &NpmLocked| {
            format!("{path} {name} {version} {integrity}\n")
        };
        self.entries.iter().map(line).collect()
    }
}

fn one(path: &str, entry: &Value, base: &str) -> Result<NpmLocked, Refused> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let flag = |key: &str| entry.get(key).and_then(Value::as_bool).unwrap_or(false);
    let at = path.rsplit("node_modules/").next().unwrap_or(path);
    let refuse = |why| Err(Refused::new(at, why));
    let name = text("name").unwrap_or(at);
    if !path.starts_with("node_modules/") || flag("link") || !npm::is_name(name) {
        return refuse(Why::Path);
    }
    let Some(version) = text("version").filter(|version| version.bytes().all(|byte| byte.is_ascii_graphic()))
    else {
        return refuse(Why::Field { field: "version", kind: "a text" });
    };
    let integrity = text("integrity").unwrap_or_default();
    if !flag("inBundle") {
        if !text("resolved").is_some_and(|resolved| resolved.starts_with(base)) {
            return refuse(Why::Url);
        }
        if !integrity.split(' ').any(|hash| hash.starts_with("sha512-") || hash.starts_with("sha256-"))
            && !integrity.starts_with("sha1-")
        {
            return refuse(Why::Field { field: "integrity", kind: "a hash" });
        }
    }
    let (path, name, version) = (path.to_owned(), name.to_owned(), version.to_owned());
    Ok(NpmLocked { path, name, version, integrity: integrity.to_owned() })
}
