//! What is sent: a run that a gateway signed, and the result that the worker that got it sends back.

use crate::body::{Body, framed, unframed};
use crate::bus::ClusterError;
use crate::identity::Identity;
use crate::names::{self, Name, SCHEMA};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{EgressAttempt, Layer, Priority, RunId, RunResult, RunSpec, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq as _;

/// The header that has a signature, in base64.
pub const SIGNATURE: &str = "Fireclay-Signature";
/// What is signed begins with this, so that a signature over one thing is none over another.
const RUN_DOMAIN: &str = "fireclay run 1";
const CANCEL_DOMAIN: &str = "fireclay cancel 1";
/// Clocks of nodes may differ by so much.
pub(crate) const SKEW_MS: i64 = 60_000;

/// A run as a worker does it: all that the local way of it needs, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What to run.
    pub spec: RunSpec,
    /// Layers that may be absent if the machine lacks them.
    pub allow_missing: BTreeSet<Layer>,
    /// Packages that it asks for: the worker installs what it lacks.
    pub packages: Vec<String>,
    /// Whether packages are also found by what it imports.
    pub auto_packages: bool,
    /// What it needs besides an image, as its gateway has it: layers by digest, which travel as [`crate::parcels`] says. Read by hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub luggage: Option<String>,
    /// Whether only packages that the worker has will do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

/// What a gateway signs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`SCHEMA`] of who made it.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// Who sent it, and gets its result.
    pub gateway: Name,
    /// Which sending of it this is, from 1.
    pub epoch: u64,
    /// When it was signed, milliseconds since 1970.
    pub issued_ms: i64,
    /// From when on it must not be begun.
    pub expires_ms: i64,
    /// When it was admitted, RFC 3339 in UTC.
    pub created_at: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Runs at once of this tenant on one worker.
    pub concurrency: usize,
    /// Which of the tenant's come first.
    pub priority: Priority,
    /// Whether it may be begun again when the worker that had it is gone.
    pub repeatable: bool,
    /// Only who got the run knows it: it comes back with the result.
    pub token: String,
    /// The [`Task`], as JSON.
    pub body: Body,
}

/// A run that was taken back, as its gateway signs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The run.
    pub run: RunId,
    /// Whose.
    pub gateway: Name,
    /// When it was signed.
    pub issued_ms: i64,
}

/// What a worker says of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// [`SCHEMA`] of who made it.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// Who ran it.
    pub worker: Name,
    /// Which sending of it.
    pub epoch: u64,
    /// Which delivery of that.
    pub delivery: i64,
    /// As the envelope has it.
    pub token: String,
    /// The result as JSON, and its artifacts.
    pub body: Body,
}

/// What happens to a run on a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// It has a place.
    Started,
    /// It wrote something.
    Output {
        /// Whether on standard error.
        stderr: bool,
        /// What, in base64 where it travels.
        #[serde(with = "model::base64")]
        bytes: Vec<u8>,
    },
    /// It tried to reach a host.
    Egress(EgressAttempt),
    /// It is settled; its artifacts lie where [`crate::Hands::artifacts`] says. Travels as an [`Outcome`].
    #[serde(skip)]
    Settled(Box<RunResult>, Took),
}

/// Where the time of a run went on its worker, in microseconds; what does not apply is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// Until its packages lay there.
    pub install: Option<u64>,
    /// Until it was compiled.
    pub compile: Option<u64>,
    /// From its place until its sandbox had it.
    pub lease: Option<u64>,
    /// Until its program began.
    pub fork: Option<u64>,
    /// Until that ended.
    pub guest: Option<u64>,
    /// Until it was seen what that left.
    pub collect: Option<u64>,
}

/// A [`Happening`] on its way to a gateway; not stored, and lost when nobody listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// As the envelope has it.
    pub token: String,
    /// Which sending.
    pub epoch: u64,
    /// Which delivery.
    pub delivery: i64,
    /// What.
    pub happening: Happening,
}

/// Compares secrets in a time that tells nothing of them.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl Envelope {
    /// Where it waits. Its template has become a name, so that it is one token.
    pub fn subject(&self, template: &Name) -> String {
        names::run(self.priority, template, &self.gateway, &self.run)
    }

    /// The message and its signature's header.
    pub fn sealed(&self, identity: &Identity, subject: &str, inline: &[u8]) -> (Vec<u8>, String) {
        let text = serde_json::to_vec(self).expect("an envelope is JSON");
        let signature = identity.sign(&signed(RUN_DOMAIN, subject, &text));
        (framed(&text, inline), BASE64.encode(signature))
    }

    /// Reads a message; refuses one that no gateway of ours signed for this subject, of another schema, or signed for later. Whether
    /// it is [`Envelope::is_expired`] is another question: it is answered with a result.
    pub fn open<'a>(
        identity: &Identity,
        subject: &str,
        signature: Option<&str>,
        payload: &'a [u8],
        now_ms: i64,
    ) -> Result<(Self, &'a [u8]), ClusterError> {
        let refused = |what: &str| ClusterError::Refused(what.to_owned());
        let (text, inline) = unframed(payload).ok_or_else(|| refused("it is cut off"))?;
        let envelope: Self = serde_json::from_slice(text).map_err(|error| refused(&error.to_string()))?;
        let signature = signature.and_then(|text| BASE64.decode(text).ok());
        let signature = signature.ok_or_else(|| refused("it has no signature"))?;
        if !identity.is_signed_by(&envelope.gateway, &signed(RUN_DOMAIN, subject, text), &signature) {
            return Err(refused("no gateway that this node knows signed it for this subject"));
        }
        if envelope.schema != SCHEMA {
            return Err(ClusterError::Schema { theirs: envelope.schema.to_string() });
        }
        if envelope.issued_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(refused("it was signed in the future: set the clocks"));
        }
        Ok((envelope, inline))
    }

    /// Whether it must not be begun any more.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_ms <= now_ms
    }
}

impl Cancel {
    /// The message and its signature's header.
    pub fn sealed(&self, identity: &Identity) -> (Vec<u8>, String) {
        let text = serde_json::to_vec(self).expect("it is JSON");
        let signature = identity.sign(&signed(CANCEL_DOMAIN, self.run.as_str(), &text));
        (text, BASE64.encode(signature))
    }

    /// Reads a message that a gateway of ours signed lately.
    pub fn open(identity: &Identity, signature: Option<&str>, text: &[u8], now_ms: i64) -> Option<Self> {
        let cancel: Self = serde_json::from_slice(text).ok()?;
        let signature = BASE64.decode(signature?).ok()?;
        let bytes = signed(CANCEL_DOMAIN, cancel.run.as_str(), text);
        let is_of_now = (now_ms - cancel.issued_ms).abs() <= SKEW_MS;
        (is_of_now && identity.is_signed_by(&cancel.gateway, &bytes, &signature)).then_some(cancel)
    }
}

fn signed(domain: &str, subject: &str, text: &[u8]) -> Vec<u8> {
    [domain.as_bytes(), b"\n", subject.as_bytes(), b"\n", text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;
    use nkeys::KeyPair;
    use proptest::prelude::*;

    fn gateway() -> Identity {
        let pair = KeyPair::new_user();
        let name: Name = "g1".parse().unwrap();
        Identity {
            role: Role::Gateway,
            name: name.clone(),
            seed: pair.seed().unwrap(),
            replicas: 1,
            tls_ca: None,
            gateways: [(name, pair.public_key())].into(),
        }
    }

    fn envelope() -> Envelope {
        Envelope {
            schema: SCHEMA,
            run: RunId::from_random([1; 16]),
            gateway: "g1".parse().unwrap(),
            epoch: 1,
            issued_ms: 1_000_000,
            expires_ms: 2_000_000,
            created_at: "2026-01-01T00:00:00.000Z".into(),
            tenant: TenantId::local(),
            concurrency: 4,
            priority: Priority::Normal,
            repeatable: true,
            token: "secret".into(),
            body: Body::of(b"body"),
        }
    }

    #[test]
    fn what_a_gateway_signed_is_read_and_nothing_else() {
        let (us, other) = (gateway(), gateway());
        let envelope = envelope();
        let subject = envelope.subject(&"python".parse().unwrap());
        let (payload, signature) = envelope.sealed(&us, &subject, b"body");
        let open = |identity: &Identity, subject: &str, signature: Option<&str>, payload: &[u8], now| {
            Envelope::open(identity, subject, signature, payload, now)
                .map(|(envelope, inline)| (envelope, inline.to_vec()))
        };
        let good = open(&us, &subject, Some(&signature), &payload, 1_500_000).unwrap();
        assert_eq!(good, (envelope.clone(), b"body".to_vec()));
        assert!(!envelope.is_expired(1_999_999) && envelope.is_expired(2_000_000));
        // By whom, for where, with what, when: each is signed.
        open(&other, &subject, Some(&signature), &payload, 1_500_000).unwrap_err();
        open(&us, &subject.replace("normal", "high"), Some(&signature), &payload, 1_500_000).unwrap_err();
        open(&us, &subject, None, &payload, 1_500_000).unwrap_err();
        open(&us, &subject, Some("????"), &payload, 1_500_000).unwrap_err();
        open(&us, &subject, Some(&signature), &payload, 900_000).unwrap_err();
        let other_token = String::from_utf8_lossy(&payload).replace("secret", "sexret").into_bytes();
        open(&us, &subject, Some(&signature), &other_token, 1_500_000).unwrap_err();
        let other_schema = Envelope { schema: SCHEMA + 1, ..envelope };
        let (payload, signature) = other_schema.sealed(&us, &subject, b"");
        let wrong = open(&us, &subject, Some(&signature), &payload, 1_500_000).unwrap_err();
        assert!(matches!(wrong, ClusterError::Schema { .. }), "{wrong}");
    }

    #[test]
    fn a_cancellation_is_signed_and_of_now() {
        let (us, other) = (gateway(), gateway());
        let cancel =
            Cancel { run: RunId::from_random([1; 16]), gateway: "g1".parse().unwrap(), issued_ms: 0 };
        let (text, signature) = cancel.sealed(&us);
        assert_eq!(Cancel::open(&us, Some(&signature), &text, 1_000), Some(cancel));
        assert_eq!(Cancel::open(&us, Some(&signature), &text, SKEW_MS + 1), None);
        assert_eq!(Cancel::open(&other, Some(&signature), &text, 1_000), None);
        assert_eq!(Cancel::open(&us, None, &text, 1_000), None);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_ends_the_reader(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let opened = Envelope::open(&gateway(), "fc.runs.high.a.b.c", Some("AAAA"), &payload, 0);
            prop_assert!(opened.is_err());
        }
    }
}
