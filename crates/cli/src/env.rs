//! The environment, read here and nowhere else.
//!
//! | variable | means |
//! |---|---|
//! | `FIRECLAY_API_KEY` | the key for a service that asks for one; `--api-key-file` wins |
//! | `FIRECLAY_DATA` | the data directory, as `--data` |
//! | `FIRECLAY_URL` | a service to ask, as `--url` |
//! | `FIRECLAY_…` | settings of the service: docs/reference/settings.md |
//! | `NO_COLOR` | no colour, whatever its value (no-color.org) |
//! | `PATH` | where interpreters for images are looked for |
//! | `XDG_DATA_HOME`, `HOME` | where an ordinary user's data directory is |

use crate::args::Arguments;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the surroundings say, complete.
pub struct Settings {
    /// Where images and records are kept.
    pub data: PathBuf,
    /// Where interpreters are looked for.
    pub path: OsString,
    /// Whether colour is wanted on a terminal.
    pub color: bool,
    /// A service to ask.
    pub url: Option<String>,
    /// The key for it.
    pub api_key: Option<String>,
}

/// Reads the environment; arguments win.
pub fn settings(arguments: &Arguments) -> Settings {
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (url, api_key) = (said("FIRECLAY_URL"), said("FIRECLAY_API_KEY"));
    Settings { data: arguments.data.clone().unwrap_or_else(default_data), path, color, url, api_key }
}

/// A key in a variable of the caller's choice.
pub fn key_in(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Every variable that may be a setting of the service.
pub fn of_the_service() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("FIRECLAY_"))
        .collect()
}

/// `/var/lib/fireclay` for root; else `fireclay` in the user's data directory (XDG base directories).
fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/fireclay");
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    base.unwrap_or_else(std::env::temp_dir).join("fireclay")
}
