//! How sizes, times and limits are written in settings: as numbers, or with units.

use crate::ports::Base;
use model::{CheckMode, CheckPatch, LimitsPatch, units};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::SocketAddr;

fn measured<'de, D: Deserializer<'de>>(
    deserializer: D,
    parse: fn(&str) -> Result<u64, String>,
) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Number(u64),
        Text(String),
    }
    match Said::deserialize(deserializer)? {
        Said::Number(number) => Ok(number),
        Said::Text(text) => parse(&text).map_err(serde::de::Error::custom),
    }
}

/// What stands for no address.
const OFF: &str = "off";

/// An address to listen on, or `off`.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let said = String::deserialize(deserializer)?;
    if said == OFF {
        return Ok(None);
    }
    said.parse()
        .map(Some)
        .map_err(|_| D::Error::custom(format!("{said:?} is neither an address with a port nor `off`")))
}

/// As [`address`] reads it.
pub(super) fn address_or_off<S: Serializer>(
    said: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match said {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(OFF),
    }
}

/// Empty, or scheme and name below which ports have theirs.
pub(super) fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let said = String::deserialize(deserializer)?;
    if said.is_empty() {
        return Ok(said);
    }
    Base::parse(&said).map(|_| said).map_err(D::Error::custom)
}

/// A size: a number of bytes, or text with a unit.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    measured(deserializer, units::parse_bytes)
}

/// A time: a number of milliseconds, or text with a unit.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    measured(deserializer, units::parse_duration_ms)
}

/// What is done about single rules. Their ids have dots, which begin tables in TOML: a table in a table is the rest of an id.
pub(super) fn check_rules<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, CheckMode>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Mode(CheckMode),
        Rest(BTreeMap<String, Said>),
    }
    fn take(said: BTreeMap<String, Said>, prefix: &str, rules: &mut BTreeMap<String, CheckMode>) {
        for (name, said) in said {
            let name = format!("{prefix}{name}");
            match said {
                Said::Mode(mode) => drop(rules.insert(name, mode)),
                Said::Rest(rest) => take(rest, &format!("{name}."), rules),
            }
        }
    }
    let said = BTreeMap::deserialize(deserializer)
        .map_err(|_| D::Error::custom("expected off, warn or deny for each rule"))?;
    let mut patch = CheckPatch::default();
    take(said, "", &mut patch.rules);
    check::verdicts::check_names(&patch, "check.rules").map_err(D::Error::custom)?;
    Ok(patch.rules)
}

/// A template that is warm from the start: `NAME`, or `NAME=COUNT` if so many sandboxes of it always wait.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct WarmTemplate {
    /// Its name.
    pub template: String,
    /// Sandboxes with usual limits that wait; none, and as many as were needed lately do.
    pub waiting: usize,
}

impl TryFrom<String> for WarmTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((template, count)) = text.split_once('=') else {
            return Ok(Self { template: text, waiting: 0 });
        };
        let waiting = count.parse().map_err(|_| {
            format!("{count:?} of {text:?} is no number; write a template as NAME or NAME=COUNT")
        })?;
        Ok(Self { template: template.to_owned(), waiting })
    }
}

impl From<WarmTemplate> for String {
    fn from(warm: WarmTemplate) -> Self {
        match warm.waiting {
            0 => warm.template,
            waiting => format!("{}={waiting}", warm.template),
        }
    }
}

/// Limits with units.
pub(super) fn limits_patch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LimitsPatch, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Said {
        timeout_ms: Option<Milliseconds>,
        memory_bytes: Option<Bytes>,
        cpus: Option<f64>,
        processes: Option<u64>,
        disk_bytes: Option<Bytes>,
        output_bytes: Option<Bytes>,
    }
    #[derive(Deserialize)]
    struct Bytes(#[serde(deserialize_with = "bytes")] u64);
    #[derive(Deserialize)]
    struct Milliseconds(#[serde(deserialize_with = "milliseconds")] u64);
    let said = Said::deserialize(deserializer)?;
    let bytes = |said: Option<Bytes>| said.map(|bytes| bytes.0);
    Ok(LimitsPatch {
        timeout_ms: said.timeout_ms.map(|time| time.0),
        memory_bytes: bytes(said.memory_bytes),
        cpus: said.cpus,
        processes: said.processes,
        disk_bytes: bytes(said.disk_bytes),
        output_bytes: bytes(said.output_bytes),
    })
}
