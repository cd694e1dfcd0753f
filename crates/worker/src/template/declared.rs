//! How a template's language is compiled and run, as its file says it (docs/languages.md).

use super::Row;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A language by declaration. Commands are a shell's; those of the machine are run by it with the service's `PATH`, `compile` in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The packages of Debian that bring its programs, for people.
    pub debian: String,
    /// Prints the version of what compiles, or runs.
    pub version: String,
    /// Prints a directory that it all lies in, if it has one of its own: that is taken over whole, but what `leave_out` names.
    #[serde(default)]
    pub home: Option<String>,
    /// Compiles the file `$FILE` into the directory `$OUT`; none if it is run as it is.
    #[serde(default)]
    pub compile: Option<String>,
    /// The words of the command that runs it, see [`sandbox::Image::programs`].
    pub run: Vec<String>,
    /// Whether a run sees the programs, too, not only what they made.
    pub at_run: bool,
    /// What the machine must have, by name.
    pub programs: Vec<Row<String>>,
    /// Files and directories that come with them if the machine has them; `*` in the last part stands for anything.
    #[serde(default)]
    pub paths: Vec<Row<String>>,
}

impl Declared {
    /// The programs that the machine lacks.
    pub fn missing(&self, search: &OsStr) -> Vec<&str> {
        let names = self.programs.iter().map(|row| row.name.as_str());
        names.filter(|name| program(search, name).is_none()).collect()
    }
}

/// Where the machine has a program of this name: the system's own first, whose data lie where they are looked for.
pub(crate) fn program(search: &OsStr, name: &str) -> Option<PathBuf> {
    let system = ["/usr/bin", "/bin"].map(PathBuf::from).into_iter();
    let said = std::env::split_paths(search).filter(|path| path.is_absolute());
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    system.chain(said).map(|directory| directory.join(name)).find(is_program)
}
