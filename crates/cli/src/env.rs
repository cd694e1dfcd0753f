//! The environment, read here and nowhere else.
//!
//! | variable | means |
//! |---|---|
//! | `FIRECLAY_API_KEY` | the key for a service that asks for one; `--api-key-file` wins |
//! | `FIRECLAY_DATA` | the data directory, as `--data` |
//! | `FIRECLAY_URL` | a service to ask, as `--url` |
//! | `FIRECLAY_…` | settings of the service: docs/reference/settings.md |
//! | `HTTPS_PROXY`, `https_proxy` | how `fireclay agent` reaches a provider that is not on this machine |
//! | `NO_COLOR` | no colour, whatever its value (no-color.org) |
//! | `OPENAI_API_KEY`, `OPENAI_BASE_URL` and those of other providers | keys of models, and where they are: crates/agent/src/provider.rs |
//! | `OTEL_EXPORTER_OTLP_…` | the collector that a service sends traces to: docs/traces.md |
//! | `PATH` | where interpreters for images are looked for |
//! | `TERM` | `dumb` or nothing: `fireclay top` draws nothing anew |
//! | `XDG_DATA_HOME`, `HOME` | where an ordinary user's data directory is |
//! | `XDG_RUNTIME_DIR`, `TMPDIR` | where the token of a local server lies |

use crate::args::Arguments;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the surroundings say, complete.
#[derive(Clone)]
pub struct Settings {
    /// Where images and records are kept.
    pub data: PathBuf,
    /// Where interpreters are looked for.
    pub path: OsString,
    /// Whether colour is wanted on a terminal.
    pub color: bool,
    /// Whether the terminal obeys no control sequences.
    pub dumb: bool,
    /// A service to ask.
    pub url: Option<String>,
    /// The key for it.
    pub api_key: Option<String>,
    /// Where the tokens of local servers lie.
    pub runtime: PathBuf,
}

/// Reads the environment; arguments win.
pub fn settings(arguments: &Arguments) -> Settings {
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (url, api_key) = (said("FIRECLAY_URL"), said("FIRECLAY_API_KEY"));
    let (data, runtime) = (arguments.data.clone().unwrap_or_else(default_data), runtime());
    let dumb = said("TERM").is_none_or(|term| term == "dumb");
    Settings { data, path, color, dumb, url, api_key, runtime }
}

/// A key in a variable of the caller's choice.
pub fn key_in(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The collector that OpenTelemetry's own variables name, and the headers for it (opentelemetry.io/docs/specs/otel/protocol/exporter): those for traces
/// win, and name the whole address.
pub fn collector() -> (Option<String>, String) {
    collector_of(key_in)
}

/// A file with certificates that the collector is checked by, besides those that the machine trusts.
#[cfg(feature = "secrets")]
pub fn certificates_of_collector() -> Option<String> {
    key_in("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE").or_else(|| key_in("OTEL_EXPORTER_OTLP_CERTIFICATE"))
}

fn collector_of(said: impl Fn(&str) -> Option<String>) -> (Option<String>, String) {
    let whole = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = || Some(format!("{}/v1/traces", said("OTEL_EXPORTER_OTLP_ENDPOINT")?.trim_end_matches('/')));
    let is_wanted = said("OTEL_TRACES_EXPORTER").is_none_or(|exporter| exporter == "otlp")
        && said("OTEL_SDK_DISABLED").is_none_or(|disabled| !disabled.eq_ignore_ascii_case("true"));
    let endpoint = whole.or_else(base).filter(|_| is_wanted);
    let headers = said("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| said("OTEL_EXPORTER_OTLP_HEADERS"));
    (endpoint, headers.unwrap_or_default())
}

/// How to reach what is not on this machine.
#[cfg(feature = "agent")]
pub fn proxy() -> Option<String> {
    key_in("HTTPS_PROXY").or_else(|| key_in("https_proxy"))
}

/// What a program that is not ours gets of our environment: what it needs to be found and to write, and what the user names.
#[cfg(all(feature = "agent", feature = "mcp"))]
pub fn of_other_programs(more: &[String]) -> Vec<(String, String)> {
    const USUAL: [&str; 10] =
        ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "TMPDIR", "TZ"];
    let names = USUAL.into_iter().chain(more.iter().map(String::as_str));
    names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
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

/// `fireclay` in the user's runtime directory, if that is the user's (`sudo` passes on another's); else `fireclay-UID` in a directory of
/// all. Whether it may be used is looked at when it is.
fn runtime() -> PathBuf {
    let own = rustix::process::geteuid();
    let is_own = |path: &PathBuf| {
        path.is_absolute() && rustix::fs::stat(path).is_ok_and(|stat| stat.st_uid == own.as_raw())
    };
    let said = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{}", own.as_raw()));
    match said.filter(is_own).or_else(|| Some(usual).filter(is_own)) {
        Some(directory) => directory.join("fireclay"),
        None => std::env::temp_dir().join(format!("fireclay-{}", own.as_raw())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_as_opentelemetry_does() {
        let of = |said: &[(&str, &str)]| {
            collector_of(|name| {
                said.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "a=b");
        assert_eq!(of(&[]), (None, String::new()));
        assert_eq!(of(&[base, headers]), (Some("http://c:4318/v1/traces".to_owned()), "a=b".to_owned()));
        let own = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=d"),
        ];
        assert_eq!(of(&[base, headers, own[0], own[1]]), (Some("http://t/x".to_owned()), "c=d".to_owned()));
        for off in [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true")] {
            assert_eq!(of(&[base, off]).0, None);
        }
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c")]).0.unwrap(), "https://c/v1/traces");
    }
}
