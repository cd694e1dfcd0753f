//! Every setting of the service, as one table: where it comes from, what it is by default, and what it means.
//!
//! File < environment < flags. [`TABLE`] makes the reference page, the names in the environment and the defaults; [`Settings`] is
//! what the service reads. A test holds the two together.

use model::{Layer, Limits, LimitsPatch, Policy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use toml::{Table, Value};
use worker::pool::PoolSize;
use worker::queue::Places;

mod beside;
mod reference;
mod table;
mod values;

pub use beside::{
    AgentRunSettings, AigneSettings, CheckSettings, ClusterSettings, EgressSettings, InterpreterSettings,
    LocalSettings, LogRequests, LogSettings, ModelSettings, PackageSettings, PortsSettings,
    RetentionSettings, Serve, TaskSettings, TemplateSettings, TenantSettings, TraceSettings,
};
pub use table::TABLE;
pub use values::WarmTemplate;
use values::{bytes, limits_patch, milliseconds};

/// Runs at once for each processor: many wait for something else than one.
const PLACES_PER_PROCESSOR: usize = 16;
/// Young ones for each processor: one runs, and one begins or ends, which is others' work.
const YOUNG_PER_PROCESSOR: usize = 2;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name in the file; a dot is a table. In the environment: `FIRECLAY_`, upper case, dots as underscores.
    pub name: &'static str,
    /// Its value when nothing is said, as TOML.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// What the service is to do; complete.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// See [`TABLE`], as for every field.
    pub listen: SocketAddr,
    /// The image.
    pub image: String,
    /// Runs at once.
    pub concurrency: usize,
    /// Of these, young ones.
    pub concurrency_young: usize,
    /// Sandboxes built ahead.
    pub pool: PoolSettings,
    /// Waiting runs.
    pub queue: usize,
    /// What waits with them.
    #[serde(deserialize_with = "bytes")]
    pub queue_bytes: u64,
    /// What one tenant may do.
    pub tenant: TenantSettings,
    /// Sandboxes that stay.
    pub session: SessionSettings,
    /// What listens in them.
    pub ports: PortsSettings,
    /// What can be installed.
    pub packages: PackageSettings,
    /// Templates that are not shipped.
    pub templates: TemplateSettings,
    /// Other Pythons than the image's.
    pub python: InterpreterSettings,
    /// The way out of sandboxes.
    pub egress: EgressSettings,
    /// Defaults of limits.
    #[serde(deserialize_with = "limits_patch")]
    pub limits: LimitsPatch,
    /// Ceilings of limits.
    #[serde(deserialize_with = "limits_patch")]
    pub ceiling: LimitsPatch,
    /// Layers that may be missing.
    pub allow_missing: BTreeSet<Layer>,
    /// Largest body.
    #[serde(deserialize_with = "bytes")]
    pub body_bytes: u64,
    /// Connections at once.
    pub connections: usize,
    /// Time for a head.
    #[serde(deserialize_with = "milliseconds")]
    pub header_timeout_ms: u64,
    /// Time between pieces of a body.
    #[serde(deserialize_with = "milliseconds")]
    pub body_timeout_ms: u64,
    /// Time to drain.
    #[serde(deserialize_with = "milliseconds")]
    pub drain_timeout_ms: u64,
    /// Durability.
    pub fsync: bool,
    /// What is kept.
    pub retention: RetentionSettings,
    /// What is recorded of what all of it did.
    pub traces: TraceSettings,
    /// Names of this service.
    pub allowed_hosts: Vec<String>,
    /// The static check.
    pub check: CheckSettings,
    /// The language model.
    pub model: ModelSettings,
    /// Tasks.
    pub task: TaskSettings,
    /// Signed receipts.
    pub receipts: bool,
    /// A local server.
    pub local: LocalSettings,
    /// AgentRun's routes.
    pub agentrun: AgentRunSettings,
    /// AIGNE's routes.
    pub aigne: AigneSettings,
    /// What is said to the operator.
    pub log: LogSettings,
    /// Other nodes.
    pub cluster: ClusterSettings,
}

/// Sandboxes built ahead of need.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// Always waiting.
    pub min: usize,
    /// Waiting at most.
    pub max: usize,
    /// Memory they may take.
    #[serde(deserialize_with = "bytes")]
    pub memory: u64,
    /// Warm from the start.
    pub warm: Vec<WarmTemplate>,
}

/// Sandboxes that stay.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// Open at once.
    pub max: usize,
    /// Memory that is not theirs.
    #[serde(deserialize_with = "bytes")]
    pub memory_free: u64,
    /// Without a run.
    #[serde(deserialize_with = "milliseconds")]
    pub idle_ttl_ms: u64,
    /// At most.
    #[serde(deserialize_with = "milliseconds")]
    pub ttl_ms: u64,
    /// Processes of one.
    pub processes: usize,
    /// Their files, after their end.
    #[serde(deserialize_with = "milliseconds")]
    pub keep_files_ms: u64,
    /// Their files, of all ended sessions.
    #[serde(deserialize_with = "bytes")]
    pub files_bytes: u64,
}

/// A setting that cannot be used: which, from where, why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct SettingError {
    /// The file, variable or flag.
    pub origin: String,
    /// What is wrong.
    pub message: String,
}

/// Settings as said in one place: names of [`TABLE`] and values as text.
pub type Said = Vec<(String, String)>;

impl Settings {
    /// Merges what is said: the file's text with its name, variables of the environment, flags.
    pub fn resolve(
        file: Option<(&str, &str)>,
        environment: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<Self, SettingError> {
        let mut table = defaults();
        if let Some((name, text)) = file {
            let said: Table = text.parse().map_err(|error: toml::de::Error| wrong(name, error.message()))?;
            merge(&mut table, said, name, "")?;
        }
        for row in TABLE {
            let variable = variable_of(row.name);
            if let Some((_, value)) = environment.iter().find(|(name, _)| *name == variable) {
                set(&mut table, row.name, value_of(value), &variable)?;
            }
        }
        for (name, value) in flags {
            set(&mut table, name, value_of(value), &format!("--set {name}"))?;
        }
        let settings: Settings = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let name = error.path().to_string();
            wrong(&name, error.inner().message())
        })?;
        Ok(settings)
    }

    /// The policy of runs: defaults and ceilings of limits.
    pub fn policy(&self) -> Policy {
        let Policy { limits, ceiling } = Policy::DEFAULT;
        let unlimited = Limits {
            timeout_ms: u64::MAX,
            memory_bytes: u64::MAX,
            cpus: f64::MAX,
            processes: u64::MAX,
            disk_bytes: u64::MAX,
            output_bytes: u64::MAX,
        };
        let ceiling = ceiling.narrowed(&self.ceiling, &ceiling);
        Policy {
            limits: limits.narrowed(&self.limits, &unlimited).narrowed(&LimitsPatch::default(), &ceiling),
            ceiling,
        }
    }

    /// Runs at once, on a machine with so many processors and so much memory.
    pub fn places(&self, processors: usize, memory_bytes: u64) -> Places {
        let or = |said, usual| if said == 0 { usual } else { said };
        let young = or(self.concurrency_young, YOUNG_PER_PROCESSOR * processors);
        let in_memory = memory_bytes / 4 * 3 / self.policy().limits.memory_bytes.max(1);
        let in_memory = usize::try_from(in_memory).unwrap_or(usize::MAX);
        let usual = (PLACES_PER_PROCESSOR * processors).min(in_memory).max(young);
        let all = or(self.concurrency, usual);
        Places { all, young: young.min(all) }
    }

    /// How many sandboxes may wait.
    pub fn pool_size(&self) -> PoolSize {
        let PoolSettings { min, max, memory, .. } = self.pool;
        PoolSize { min: min.min(max), max, memory_bytes: memory }
    }
}

/// The variable of a setting.
pub fn variable_of(name: &str) -> String {
    format!("FIRECLAY_{}", name.to_uppercase().replace('.', "_"))
}

fn defaults() -> Table {
    let mut table = Table::new();
    for row in TABLE {
        set(&mut table, row.name, value_of(row.default), "default").expect("the table's names make a tree");
    }
    table
}

fn wrong(origin: &str, message: &str) -> SettingError {
    SettingError { origin: origin.to_owned(), message: message.trim().to_owned() }
}

/// Text as a value of TOML if it is one, else as a string: `8`, `true`, `["a"]`, `127.0.0.1:80`.
fn value_of(text: &str) -> Value {
    format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Says whether `name` is a setting, or a part of one that is a table of limits.
fn is_known(name: &str) -> bool {
    TABLE.iter().any(|row| row.name == name || is_limits(row) && name.starts_with(&format!("{}.", row.name)))
}

fn is_limits(row: &Row) -> bool {
    row.default.starts_with('{')
}

fn set(table: &mut Table, name: &str, value: Value, origin: &str) -> Result<(), SettingError> {
    if !is_known(name) {
        return Err(wrong(
            origin,
            &format!("there is no setting {name:?}; docs/reference/settings.md lists them"),
        ));
    }
    let mut at = table;
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            at.insert(part.to_owned(), value);
            return Ok(());
        }
        let inner = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        at = inner.as_table_mut().ok_or_else(|| wrong(origin, &format!("{part:?} is not a table")))?;
    }
    Ok(())
}

/// Lays a file's table over the settings; a table of limits is merged, not replaced.
fn merge(table: &mut Table, said: Table, origin: &str, prefix: &str) -> Result<(), SettingError> {
    for (key, value) in said {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => merge(table, inner, origin, &name)?,
            value => set(table, &name, value, origin)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Said {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "queue = 1\nconcurrency = 3\n[tenant]\nqueue = 2\n[ceiling]\nmemory_bytes = \"1GiB\"\n";
        let environment = said(&[("FIRECLAY_QUEUE", "5"), ("FIRECLAY_TENANT_QUEUE", "6")]);
        let flags = said(&[("tenant.queue", "7"), ("listen", "[::1]:80"), ("limits.timeout_ms", "5s")]);
        let settings = Settings::resolve(Some(("f", file)), &environment, &flags).unwrap();
        assert_eq!((settings.concurrency, settings.queue, settings.tenant.queue), (3, 5, 7));
        assert_eq!(settings.listen, "[::1]:80".parse().unwrap());
        let policy = settings.policy();
        assert_eq!((policy.ceiling.memory_bytes, policy.ceiling.timeout_ms), (1 << 30, 3_600_000));
        assert_eq!(policy.limits.timeout_ms, 5000);
    }

    #[test]
    fn mistakes_name_the_place() {
        let wrong = |file: &str, flags: &[(&str, &str)]| {
            Settings::resolve(Some(("f.toml", file)), &[], &said(flags)).unwrap_err().to_string()
        };
        insta::assert_snapshot!(wrong("qeue = 1", &[]), @r#"f.toml: there is no setting "qeue"; docs/reference/settings.md lists them"#);
        insta::assert_snapshot!(wrong("", &[("queue", "many")]), @r#"queue: invalid type: string "many", expected usize"#);
        insta::assert_snapshot!(wrong("body_bytes = \"1 parsec\"", &[]), @r#"body_bytes: unknown unit "parsec": use KiB, MiB or GiB, as in 512MiB"#);
        insta::assert_snapshot!(wrong("a = [", &[]), @"f.toml: unclosed array, expected `]`");
    }

    #[test]
    fn rules_of_the_check_are_named_with_dots_or_in_quotes() {
        let of = |file: &str, flags: &[(&str, &str)]| {
            Settings::resolve(Some(("f.toml", file)), &[], &said(flags)).map(|settings| {
                let rules = settings.check.rules.iter();
                rules.map(|(rule, mode)| format!("{rule}={}", mode.name())).collect::<Vec<_>>().join(" ")
            })
        };
        let file = "[check.rules]\ntree.destroy = \"deny\"\n\"network.*\" = \"off\"\nminer = \"warn\"";
        assert_eq!(of(file, &[]).unwrap(), "miner=warn network.*=off tree.destroy=deny");
        let flags = [("check.rules.tree.destroy", "off"), ("check.rules.*", "warn")];
        assert_eq!(of(file, &flags).unwrap(), "*=warn miner=warn network.*=off tree.destroy=off");
        let whole = [("check.rules", "{\"tree.*\" = \"deny\"}")];
        assert_eq!(of(file, &whole).unwrap(), "tree.*=deny");
        let wrong = |rule: &str, mode: &str| {
            let name = format!("check.rules.{rule}");
            of("", &[(name.as_str(), mode)]).unwrap_err().to_string()
        };
        insta::assert_snapshot!(wrong("tree.destory", "deny"), @r#"check.rules: check.rules.tree.destory: there is no rule "tree.destory"; the nearest is "tree.destroy"; ids are in policy/check/rules.toml, and `*` at the end stands for the rest of one"#);
        insta::assert_snapshot!(wrong("tree.destroy", "no"), @"check.rules.tree: expected off, warn or deny for each rule");
    }

    #[test]
    fn as_many_run_at_once_as_have_room() {
        let places = |flags: &[(&str, &str)], processors, memory_bytes| {
            let settings = Settings::resolve(None, &[], &said(flags)).unwrap();
            let Places { all, young } = settings.places(processors, memory_bytes);
            (all, young)
        };
        let half = ("limits.memory_bytes", "512MiB");
        assert_eq!(places(&[half], 2, 64 << 30), (32, 4));
        assert_eq!(places(&[half], 2, 8 << 30), (12, 4), "three quarters of 8 GiB");
        assert_eq!(places(&[half], 2, 1 << 30), (4, 4), "never fewer than the young ones");
        assert_eq!(places(&[("concurrency", "3")], 2, 1 << 30), (3, 3), "an operator's word is final");
        assert_eq!(places(&[("concurrency", "9"), ("concurrency_young", "1")], 2, 1 << 30), (9, 1));
    }

    /// The reference page is made from the table: `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_reference_page_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, Settings::reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), Settings::reference());
    }
}
