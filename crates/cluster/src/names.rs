//! Names of streams and subjects. A part of a subject is a [`Name`], a number or an id of `model`, never text that somebody sent.

use model::{Priority, Rejection, RunId, SessionId, TenantId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Version of all that is named and sent here. Nodes of different versions refuse each other.
pub const SCHEMA: u32 = 3;

/// Runs that are not settled: a work queue.
pub const RUNS: &str = "FC_RUNS";
/// Results that no gateway has recorded yet: a work queue.
pub const RESULTS: &str = "FC_RESULTS";
/// What was given up, with the reason.
pub const DEAD: &str = "FC_DEAD";
/// Bodies that are too large for one message, in chunks.
pub const BLOBS: &str = "FC_BLOBS";
/// How many runs of a tenant are on their way: a message for each that has a slot.
pub const SLOTS: &str = "FC_SLOTS";
/// Layers that runs need, in chunks.
pub const LAYERS: &str = "FC_LAYERS";
/// Files of durable sessions, in chunks.
pub const SAVES: &str = "FC_SAVES";
/// Who began a run that may begin but once.
pub const CLAIMS: &str = "FC_CLAIMS";
/// Key-value bucket of the schema's version and of gateways' epochs.
pub const META: &str = "FC_META";
/// Key-value bucket of the nodes that live.
pub const NODES: &str = "FC_NODES";
/// Key-value bucket of what operators said to nodes.
pub const CONTROL: &str = "FC_CONTROL";
/// Key-value bucket of where sessions are, which gateways write, and how they ended, which their nodes write.
pub const SESSIONS: &str = "FC_SESSIONS";

/// Longest name.
const NAME_BYTES_MAX: usize = 64;

/// A name that is one token of a subject: 1 to 64 of `a-z 0-9 -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-');
        if good && text.len() <= NAME_BYTES_MAX {
            return Ok(Self(text.to_owned()));
        }
        let hint = "use 1 to 64 of a-z 0-9 -, beginning with a letter or digit";
        Err(Rejection::new("name", format!("{text:?} is not a name"), hint))
    }
}

impl TryFrom<String> for Name {
    type Error = Rejection;

    fn try_from(text: String) -> Result<Self, Rejection> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every priority, the first to be taken first.
pub const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// The priority as a token, and the name of the consumer of its runs.
pub fn word(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

/// A template as a token: without its version, and with `-` for what a [`Name`] does not have. It is for people to read.
pub fn template(name: &str) -> Name {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let token: String =
        name.split('@').next().unwrap_or_default().chars().map(plain).take(NAME_BYTES_MAX).collect();
    token.parse().unwrap_or_else(|_| Name("other".to_owned()))
}

/// Where a run waits.
pub fn run(priority: Priority, template: &Name, gateway: &Name, run: &RunId) -> String {
    format!("fc.runs.{}.{template}.{gateway}.{run}", word(priority))
}

/// Where all runs of a priority wait.
pub fn runs(priority: Priority) -> String {
    format!("fc.runs.{}.>", word(priority))
}

/// Where a worker tells what became of its `delivery` of a run.
pub fn result(worker: &Name, gateway: &Name, run: &RunId, delivery: i64) -> String {
    format!("fc.res.{worker}.{gateway}.{run}.{delivery}")
}

/// Where results for a gateway come.
pub fn results(gateway: &Name) -> String {
    format!("fc.res.*.{gateway}.>")
}

/// Where results of one run come.
pub fn results_of(gateway: &Name, run: &RunId) -> String {
    format!("fc.res.*.{gateway}.{run}.*")
}

/// Where a worker tells what a run does meanwhile; not stored.
pub fn event(worker: &Name, gateway: &Name, run: &RunId) -> String {
    format!("fc.ev.{worker}.{gateway}.{run}")
}

/// Where such things come for a gateway.
pub fn events(gateway: &Name) -> String {
    format!("fc.ev.*.{gateway}.*")
}

/// Where a gateway takes a run back; not stored.
pub fn cancel(run: &RunId) -> String {
    format!("fc.cancel.{run}")
}

/// Where all that is taken back is heard.
pub const CANCELS: &str = "fc.cancel.*";

/// Where a worker claims a run that may begin but once.
pub fn claim(run: &RunId) -> String {
    format!("fc.claim.{run}")
}

/// Where a gateway says that streams and buckets are there; not stored.
pub const READY: &str = "fc.ready";

/// Where a tenant's n-th slot is taken.
pub fn slot(tenant: &TenantId, n: usize) -> String {
    format!("fc.slot.{tenant}.{n}")
}

/// Where all slots of a tenant are.
pub fn slots(tenant: &TenantId) -> String {
    format!("fc.slot.{tenant}.*")
}

/// Where it is said that a slot of a tenant is free; not stored.
pub fn freed(tenant: &TenantId) -> String {
    format!("fc.freed.{tenant}")
}

/// Where that is heard.
pub const FREED: &str = "fc.freed.*";

/// Where a gateway tells others what it has to do; not stored.
pub fn load(gateway: &Name) -> String {
    format!("fc.load.{gateway}")
}

/// Where that is heard.
pub const LOADS: &str = "fc.load.*";

/// Where the n-th chunk of a layer lies.
pub fn layer(hex: &str, n: u64) -> String {
    format!("fc.layer.{hex}.{n}")
}

/// Where it is said that a layer is whole.
pub fn layer_end(hex: &str) -> String {
    format!("fc.layer.{hex}.end")
}

/// Where a node stores a part of the files of a session of its own.
pub fn saved(node: &Name, session: &SessionId, epoch: u64, part: &str) -> String {
    format!("fc.save.{node}.{session}.{epoch}.{part}")
}

/// Where all that was saved of a session is.
pub fn all_saved(session: &SessionId) -> String {
    format!("fc.save.*.{session}.>")
}

/// Where a worker tells of a message that it gave up. Its sequence in the stream names it: what it says of itself is not believed.
pub fn dead(worker: &Name, sequence: u64) -> String {
    format!("fc.dead.{worker}.{sequence}")
}

/// The subject of a key in a key-value bucket (NATS ADR-8).
pub fn key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The stream of a key-value bucket (NATS ADR-8).
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// Where a gateway speaks on a connection to a node.
pub fn down(node: &Name, gateway: &Name, link: &str) -> String {
    format!("fc.down.{node}.{gateway}.{link}")
}

/// Where the node speaks on it.
pub fn up(node: &Name, gateway: &Name, link: &str) -> String {
    format!("fc.up.{node}.{gateway}.{link}")
}

/// Where all connections to a node are heard.
pub fn downs(node: &Name) -> String {
    format!("fc.down.{node}.>")
}

/// Where answers on all connections of a gateway are heard.
pub fn ups(gateway: &Name) -> String {
    format!("fc.up.*.{gateway}.*")
}

/// Where the other side of a connection speaks.
pub fn other_way(subject: &str) -> Option<String> {
    let down = subject.strip_prefix("fc.down.").map(|rest| format!("fc.up.{rest}"));
    down.or_else(|| Some(format!("fc.down.{}", subject.strip_prefix("fc.up.")?)))
}

/// The n-th part of a subject.
pub fn part<T: FromStr>(subject: &str, n: usize) -> Option<T> {
    subject.split('.').nth(n)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_and_separators_are_no_names() {
        for text in ["", "*", ">", "a.b", "a b", "x.>", "A", "-a", "ä", "a\n", &"a".repeat(65)] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        for text in ["a", "7", "gateway-1", "python-data", &"a".repeat(64)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_is_one_token(text in ".{0,20}") {
            if let Ok(name) = text.parse::<Name>() {
                let subject = run(Priority::Low, &name, &name, &RunId::from_random([7; 16]));
                prop_assert_eq!(subject.split('.').count(), 6);
                prop_assert!(!subject.contains(['*', '>', ' ', '\r', '\n']));
                prop_assert_eq!(part::<Name>(&subject, 3), Some(name));
            }
        }
    }
}
