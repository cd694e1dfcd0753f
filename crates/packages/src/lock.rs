//! What an environment is called: a digest of the interpreter, the platform, and the resolved lock. The same packages have the same name, in
//! whatever order they stand; one different byte of a file that would be installed has another.
//!
//! The canonical form, of which [`Environment::address`] is the SHA-256 in hexadecimal, is ASCII, each line ended by `\n`:
//!
//! ```text
//! fireclay-environment 1
//! interpreter cpython 3.13.0 cp313
//! platform linux_x86_64
//! name[extra,extra]==version ; marker sha256:… sha256:…        sorted, one for each entry
//! ```
//! No part can hold a line end, so two different environments never have one form.

use crate::refused::{Refused, Why};
use crate::requirement::{Requirement, pin};
use crate::requirements_txt::{self, Entry, Hash};
use crate::version::Version;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;

/// Most bytes of a tag.
const TAG_BYTES_MAX: usize = 64;

/// A resolved lock: each package pinned to one version, with the hashes its files may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Its packages, by their lines in the canonical form.
    entries: Vec<Locked>,
}

/// One package of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// What is installed: a requirement with one `==`.
    pub requirement: Requirement,
    /// Its version.
    pub version: Version,
    /// What its file may hash to: at least one.
    pub hashes: BTreeSet<Hash>,
}

impl Lock {
    /// Reads what `uv pip compile --generate-hashes` prints (and pip's `--require-hashes` takes). Fails with the first entry that is not
    /// pinned, has no hash, or is there twice under the same marker.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        for Entry { mut requirement, line } in requirements_txt::parse(text)? {
            let hashes = std::mem::take(&mut requirement.hashes);
            let refuse = |why| Err(Refused::new(&requirement.to_string(), why).at(line));
            let Some(version) = pin(&requirement).cloned() else { return refuse(Why::Unpinned) };
            if hashes.is_empty() {
                return refuse(Why::Unhashed);
            }
            if !seen.insert((requirement.name.clone(), requirement.marker.clone())) {
                return refuse(Why::Twice);
            }
            entries.push(Locked { requirement, version, hashes });
        }
        entries.sort_by_cached_key(Locked::to_string);
        Ok(Self { entries })
    }

    /// Leaves of each package the hashes that were asked for. As with pip, hashes for one are asked for all, also for what a package brings
    /// with it (pip.pypa.io/en/stable/topics/secure-installs); what `is_there` already is not installed. Fails with the first package that
    /// nobody gave a hash, or of which no file has one that was given.
    pub fn held_to(
        mut self,
        wanted: &[Requirement],
        is_there: impl Fn(&Locked) -> bool,
    ) -> Result<Self, Refused> {
        if wanted.iter().all(|wanted| wanted.hashes.is_empty()) {
            return Ok(self);
        }
        for entry in self.entries.iter_mut().filter(|entry| !is_there(entry)) {
            let refuse =
                |why| Err(Refused::new(&format!("{}=={}", entry.requirement.name, entry.version), why));
            let given: BTreeSet<&Hash> = wanted
                .iter()
                .filter(|one| one.name == entry.requirement.name)
                .flat_map(|one| &one.hashes)
                .collect();
            if given.is_empty() {
                return refuse(Why::HashMissing);
            }
            entry.hashes.retain(|hash| given.contains(hash));
            if entry.hashes.is_empty() {
                return refuse(Why::HashOther);
            }
        }
        self.entries.sort_by_cached_key(Locked::to_string);
        Ok(self)
    }

    /// Its packages, sorted by name.
    pub fn entries(&self) -> &[Locked] {
        &self.entries
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Requirement { name, extras, marker, .. } = &self.requirement;
        write!(out, "{name}")?;
        for (at, extra) in extras.iter().enumerate() {
            write!(out, "{}{extra}", if at == 0 { "[" } else { "," })?;
        }
        write!(out, "{}=={}", if extras.is_empty() { "" } else { "]" }, self.version)?;
        marker.as_ref().map_or(Ok(()), |marker| write!(out, " ; {marker}"))?;
        self.hashes.iter().try_for_each(|hash| write!(out, " {hash}"))
    }
}

/// An interpreter and the platform it runs on, as wheels are tagged
/// (packaging.python.org/en/latest/specifications/platform-compatibility-tags).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    implementation: String,
    version: Version,
    abi: String,
    platform: String,
}

impl Interpreter {
    /// An interpreter: `cpython`, `3.13.0`, `cp313`, `linux_x86_64`. Fails if a part is not a tag, or the version none of three numbers.
    pub fn new(implementation: &str, version: &str, abi: &str, platform: &str) -> Result<Self, Refused> {
        let malformed = || Refused::new(version, crate::requirement::version(version));
        let parsed: Version = version.parse().map_err(|_| malformed())?;
        if parsed.release().len() != 3 {
            return Err(malformed());
        }
        let tag = |text: &str| {
            let fits = !text.is_empty()
                && text.len() <= TAG_BYTES_MAX
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte));
            if fits { Ok(text.to_owned()) } else { Err(Refused::new(text, Why::Name)) }
        };
        Ok(Self {
            implementation: tag(implementation)?,
            version: parsed,
            abi: tag(abi)?,
            platform: tag(platform)?,
        })
    }
}

/// An environment: what would be installed, for which interpreter.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// For what.
    pub interpreter: &'a Interpreter,
    /// What.
    pub lock: &'a Lock,
}

impl Environment<'_> {
    /// The canonical form, of the module's head.
    pub fn canonical(&self) -> String {
        let Interpreter { implementation, version, abi, platform } = self.interpreter;
        let mut form = format!(
            "fireclay-environment 1\ninterpreter {implementation} {version} {abi}\nplatform {platform}\n"
        );
        for entry in &self.lock.entries {
            form.push_str(&entry.to_string());
            form.push('\n');
        }
        form
    }

    /// Its address: 64 hexadecimal digits.
    pub fn address(&self) -> String {
        let digest = Sha256::digest(self.canonical());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
