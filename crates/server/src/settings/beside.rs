//! Settings of what stands beside the engine: tenants, retention, ports of sessions, the static check, the language model, tasks, local
//! servers, AgentRun's routes.

use super::Settings;
use super::values::{address, address_or_off, bytes, check_rules, limits_patch, milliseconds, origin};
use model::{CheckMode, CheckPolicy, Limits, LimitsPatch};
use packages::agentrun::{CACHED_NOT_ALLOWED, Whitelist};
use packages::policy::List;
use packages::requirement::{self, Requirement};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use store::TraceContent;
use worker::image::pythons::PythonSettings;
use worker::installer::InstallSettings;
use worker::proxies::EgressPolicy;

/// What one tenant may do, unless its quota says otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// Runs at once.
    pub concurrency: usize,
    /// Waiting runs.
    pub queue: usize,
    /// Submissions in a minute.
    pub rate_per_minute: u64,
    /// Open sessions.
    pub sessions: usize,
    /// Tasks on their way.
    pub tasks: usize,
    /// Ceilings of limits.
    #[serde(deserialize_with = "limits_patch")]
    pub ceiling: LimitsPatch,
}

/// What is kept of settled runs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// How long.
    #[serde(deserialize_with = "milliseconds")]
    pub age_ms: u64,
    /// How much.
    #[serde(deserialize_with = "bytes")]
    pub bytes: u64,
}

/// The static check of runs that do not say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// What is done about findings.
    pub mode: CheckMode,
    /// Which are looked for.
    pub policy: CheckPolicy,
    /// What is done about single rules.
    #[serde(deserialize_with = "check_rules")]
    pub rules: BTreeMap<String, CheckMode>,
    /// Whether this is the least.
    pub enforce: bool,
}

/// The language model of the service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Who is asked; empty is nobody.
    pub name: String,
    /// Where that is.
    pub base_url: String,
    /// Who reviews; empty is the same.
    pub reviewer: String,
    /// Whether others of its provider may be asked.
    pub any: bool,
    /// Answers for one request.
    pub turns: u64,
    /// Tokens for one request.
    pub tokens: u64,
    /// Dollars for one question of a task.
    pub dollars: f64,
    /// Runs for one request.
    pub runs: u64,
    /// Time for one request.
    #[serde(deserialize_with = "milliseconds")]
    pub time_ms: u64,
    /// Requests at once.
    pub concurrency: usize,
    /// Requests of one tenant at once.
    pub tenant_concurrency: usize,
}

/// Tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// On their way at once.
    pub max: usize,
    /// How long code waits for a person.
    #[serde(deserialize_with = "milliseconds")]
    pub approval_ms: u64,
}

/// A local server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSettings {
    /// How long it goes on when nobody needs it.
    #[serde(deserialize_with = "milliseconds")]
    pub idle_ms: u64,
}

/// AgentRun's routes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRunSettings {
    /// Whether they are served.
    pub enabled: bool,
    /// What its check does.
    pub check: CheckMode,
    /// What may be imported.
    pub whitelist: Vec<String>,
    /// What every run has.
    pub cached: Vec<String>,
    /// Wall time.
    #[serde(deserialize_with = "milliseconds")]
    pub timeout_ms: u64,
    /// What may be reached.
    pub egress: Vec<String>,
    /// Which browsers may call them.
    pub cors_origins: Vec<String>,
}

/// Whom something is served to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Serve {
    /// Nobody.
    Off,
    /// This machine.
    Loopback,
    /// Everybody who can reach us.
    All,
}

/// Which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogRequests {
    /// None.
    Off,
    /// Those in which we failed.
    Failed,
    /// All.
    All,
}

/// What is said to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Of requests.
    pub requests: LogRequests,
}

/// AIGNE's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AigneSettings {
    /// Whom they are served to.
    pub serve: Serve,
}

/// What can be installed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSettings {
    /// What may be asked for.
    pub allow: Vec<String>,
    /// What nothing may bring.
    pub deny: Vec<String>,
    /// From where.
    pub index: String,
    /// From where before that.
    pub indexes: Vec<String>,
    /// Whether from source, too.
    pub source: bool,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// From where packages of npm come.
    pub registry: String,
    /// Its hosts.
    pub npm_hosts: Vec<String>,
    /// Releases that are too young.
    #[serde(deserialize_with = "milliseconds")]
    pub min_age_ms: u64,
    /// Only what is known by its hash.
    pub require_hashes: bool,
    /// Only what is there.
    pub offline: bool,
    /// What is installed ahead, for everybody.
    pub cached: Vec<String>,
    /// All of it.
    #[serde(deserialize_with = "bytes")]
    pub cache_bytes: u64,
    /// A step of a build.
    #[serde(deserialize_with = "milliseconds")]
    pub build_timeout_ms: u64,
    /// A build's memory.
    #[serde(deserialize_with = "bytes")]
    pub build_memory: u64,
    /// A build's files.
    #[serde(deserialize_with = "bytes")]
    pub build_disk: u64,
    /// The compile step of a program.
    #[serde(deserialize_with = "milliseconds")]
    pub compile_timeout_ms: u64,
    /// Its memory.
    #[serde(deserialize_with = "bytes")]
    pub compile_memory: u64,
    /// Its files.
    #[serde(deserialize_with = "bytes")]
    pub compile_disk: u64,
}

/// Templates that are not shipped.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    /// How many.
    pub max: usize,
    /// Of how much.
    #[serde(deserialize_with = "bytes")]
    pub bytes: u64,
    /// How many of one tenant.
    pub tenant_max: usize,
    /// Of how much.
    #[serde(deserialize_with = "bytes")]
    pub tenant_bytes: u64,
}

/// Other Pythons than the image's.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InterpreterSettings {
    /// Programs.
    pub paths: Vec<PathBuf>,
    /// Whether others are looked for.
    pub detect: bool,
    /// Whether uv brings them.
    pub download: bool,
}

impl InterpreterSettings {
    /// As the worker takes them.
    pub fn pythons(&self) -> PythonSettings {
        let Self { paths, detect, download } = self.clone();
        PythonSettings { paths, detect, download }
    }
}

impl AgentRunSettings {
    /// What every run of its routes has, if the whitelist allows that.
    pub fn cached(&self) -> Result<Vec<Requirement>, String> {
        if !Whitelist::new(self.whitelist.clone()).covers(&self.cached) {
            return Err(format!("agentrun.cached: {CACHED_NOT_ALLOWED}"));
        }
        requirement::parse_list(&self.cached).map_err(|wrong| format!("agentrun.cached: {wrong}"))
    }
}

impl Settings {
    /// What the installer is to know, if it can be read.
    pub fn install(&self) -> Result<InstallSettings, String> {
        let mut install = self.packages.install()?;
        let cached = if self.agentrun.enabled { self.agentrun.cached()? } else { Vec::new() };
        install.cached.extend(Some(cached).filter(|cached| !cached.is_empty()));
        Ok(install)
    }
}

impl PackageSettings {
    /// As the installer takes it, if it can be read.
    fn install(&self) -> Result<InstallSettings, String> {
        let list = |name: &str, entries: &[String]| {
            List::parse(entries).map_err(|wrong| format!("packages.{name}: {wrong}"))
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/%@".contains(&byte);
        let places = [
            ("index", &self.index, "https://pypi.org/simple"),
            ("registry", &self.registry, "https://registry.npmjs.org"),
        ];
        let before = self.indexes.iter().map(|index| ("indexes", index, "https://pypi.example.org/simple"));
        for (name, place, such_as) in places.into_iter().chain(before) {
            if !place.starts_with("http") || !place.bytes().all(plain) {
                return Err(format!("packages.{name}: not an address, such as {such_as}"));
            }
        }
        let policy =
            packages::policy::Policy { allow: list("allow", &self.allow)?, deny: list("deny", &self.deny)? };
        let limits = Limits {
            timeout_ms: self.build_timeout_ms,
            memory_bytes: self.build_memory,
            cpus: 2.0,
            processes: 256,
            disk_bytes: self.build_disk,
            output_bytes: 64 << 10,
        };
        let compile = Limits {
            timeout_ms: self.compile_timeout_ms,
            memory_bytes: self.compile_memory,
            disk_bytes: self.compile_disk,
            ..limits
        };
        let together = |line: &String| {
            // A hash belongs to what stands before it.
            let words: Vec<String> = line
                .replace(" --hash=", "\0--hash=")
                .split([' ', '\t'])
                .map(|word| word.replace('\0', " "))
                .collect();
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let wanted =
                requirement::parse_list(&words).map_err(|wrong| format!("packages.cached: {wrong}"))?;
            let denied = wanted.iter().find_map(|wanted| policy.judge(&wanted.name).err());
            denied.map_or(Ok(wanted), |denied| Err(format!("packages.cached: {denied}")))
        };
        Ok(InstallSettings {
            cached: self.cached.iter().map(together).collect::<Result<_, _>>()?,
            compile,
            policy,
            index: self.index.clone(),
            indexes: self.indexes.clone(),
            source: self.source,
            hosts: self.hosts.clone(),
            registry: self.registry.clone(),
            npm_hosts: self.npm_hosts.clone(),
            min_age_ms: self.min_age_ms,
            require_hashes: self.require_hashes,
            offline: self.offline,
            cache_bytes: self.cache_bytes,
            limits,
        })
    }
}

/// The way out of sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EgressSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Hosts at most.
    pub within: Vec<String>,
    /// Ranges that are open beside the public internet.
    pub private: Vec<String>,
    /// Targets of tunnels that are not TLS.
    pub tunnels: Vec<String>,
    /// Certificates of whom servers are checked by as well, where secrets go: a PEM file.
    pub ca: String,
    /// Connections at once.
    pub connections: usize,
    /// Bytes out.
    #[serde(deserialize_with = "bytes")]
    pub bytes_up: u64,
    /// Bytes in.
    #[serde(deserialize_with = "bytes")]
    pub bytes_down: u64,
}

impl EgressSettings {
    /// As the proxies take it, if it can be read.
    pub fn policy(&self) -> Result<EgressPolicy, String> {
        let Self { enabled, within, private, tunnels, connections, bytes_up, bytes_down, ca: _ } =
            self.clone();
        let policy = EgressPolicy { enabled, within, private, tunnels, connections, bytes_up, bytes_down };
        policy.check().map(|()| policy)
    }
}

/// What is recorded of what runs, sessions, tasks and batches did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// Whether anything.
    pub enabled: bool,
    /// How much of what goes in and comes out.
    pub content: TraceContent,
    /// The most of one text.
    #[serde(deserialize_with = "bytes")]
    pub bytes_max: u64,
    /// How long.
    #[serde(deserialize_with = "milliseconds")]
    pub age_ms: u64,
    /// How many.
    pub max: u64,
    /// Who else is told.
    pub otlp: OtlpSettings,
}

/// A collector that is sent traces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpSettings {
    /// Where; empty is none.
    pub endpoint: String,
}

/// What listens in sessions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PortsSettings {
    /// Where; `None` is nowhere.
    #[serde(deserialize_with = "address", serialize_with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// How browsers get there; empty is below `localhost`.
    #[serde(deserialize_with = "origin")]
    pub url: String,
    /// Until an answer begins.
    #[serde(deserialize_with = "milliseconds")]
    pub answer_timeout_ms: u64,
}

/// Other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// Servers of NATS; empty is none.
    pub url: String,
    /// The credential.
    pub credentials: String,
    /// Whether this machine does runs, too.
    pub worker: bool,
}
