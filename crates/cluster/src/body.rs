//! Bodies: what is too large for one message travels in chunks, named and checked by its SHA-256.

use crate::bus::{Bus, ClusterError, Stored, failed};
use crate::names::{BLOBS, Name};
use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Largest body in one message; a message has 1 MiB at most (`max_payload`).
pub const INLINE_MAX: usize = 256 << 10;
/// Bytes of a chunk.
const CHUNK: usize = 512 << 10;
/// Largest body. It is in memory whole, here and there.
pub const BODY_MAX: usize = 64 << 20;
/// A copy that lags has a chunk soon.
const TRIES: usize = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// What a body is, wherever it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
    /// How many.
    pub bytes: usize,
}

/// Where a body's chunks lie: those of gateways apart from those of each worker.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// What goes to workers.
    In,
    /// What comes from this worker.
    Out(&'a Name),
}

impl Body {
    /// Describes these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: hex(&Sha256::digest(bytes)), bytes: bytes.len() }
    }

    /// Whether it goes with its message.
    pub fn is_inline(&self) -> bool {
        self.bytes <= INLINE_MAX
    }

    fn chunk(&self, place: Place<'_>, index: usize) -> String {
        match place {
            Place::In => format!("fc.in.{}.{index}", self.sha256),
            Place::Out(worker) => format!("fc.out.{worker}.{}.{index}", self.sha256),
        }
    }

    fn check(&self) -> Result<(), ClusterError> {
        let is_digest = self.sha256.len() == 64 && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest && self.bytes <= BODY_MAX {
            return Ok(());
        }
        Err(ClusterError::Refused(format!("a body of {} bytes, or none", self.bytes)))
    }
}

/// Puts the chunks of a large body where the other side finds them; a small one goes with its message.
pub(crate) async fn put(bus: &Bus, place: Place<'_>, body: &Body, bytes: &[u8]) -> Result<(), ClusterError> {
    body.check()?;
    if body.is_inline() {
        return Ok(());
    }
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let subject = body.chunk(place, index);
        match bus.store(subject.clone(), &subject, HeaderMap::new(), chunk.to_vec()).await? {
            Stored::Yes { .. } => {}
            Stored::Taken => return Err(failed("store a chunk")("its place is taken")),
        }
    }
    Ok(())
}

/// Gets a body: from its message or by its chunks. Never more than it said, and exactly what it said.
pub(crate) async fn get(
    bus: &Bus,
    place: Place<'_>,
    body: &Body,
    inline: &[u8],
) -> Result<Vec<u8>, ClusterError> {
    body.check()?;
    let mut bytes = inline.to_vec();
    if !body.is_inline() {
        bytes = Vec::with_capacity(body.bytes);
        for index in 0..body.bytes.div_ceil(CHUNK) {
            bytes.extend(chunk(bus, &body.chunk(place, index)).await?);
            if bytes.len() > body.bytes {
                break;
            }
        }
    }
    if Body::of(&bytes) == *body {
        return Ok(bytes);
    }
    Err(ClusterError::Refused(format!("a body that is not {}", body.sha256)))
}

async fn chunk(bus: &Bus, subject: &str) -> Result<Vec<u8>, ClusterError> {
    for _ in 0..TRIES {
        if let Ok(Some(bytes)) = bus.last(BLOBS, subject).await {
            return Ok(bytes);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    Err(failed(format!("read {subject}"))("it is not there"))
}

/// Two parts as one: the length of the first in four bytes, little-endian, then both.
pub fn framed(first: &[u8], second: &[u8]) -> Vec<u8> {
    let length = u32::try_from(first.len()).expect("the first is a small text");
    [&length.to_le_bytes(), first, second].concat()
}

/// The two parts of what [`framed`] made.
pub fn unframed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The parts of a result's body after its JSON: its artifacts, whose sizes the JSON says.
pub(crate) fn artifacts<'a>(result: &model::RunResult, mut rest: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut parts = Vec::new();
    for artifact in &result.artifacts {
        let (part, after) = rest.split_at_checked(usize::try_from(artifact.bytes).ok()?)?;
        if hex(&Sha256::digest(part)) != artifact.sha256 {
            return None;
        }
        parts.push(part);
        rest = after;
    }
    rest.is_empty().then_some(parts)
}

const _: () = assert!(INLINE_MAX < CHUNK && CHUNK < 1 << 20, "a chunk fits into a message");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_come_back(first in prop::collection::vec(any::<u8>(), 0..99), second in prop::collection::vec(any::<u8>(), 0..99)) {
            let both = framed(&first, &second);
            prop_assert_eq!(unframed(&both), Some((&first[..], &second[..])));
        }

        #[test]
        fn what_is_cut_off_is_none(bytes in prop::collection::vec(any::<u8>(), 0..9)) {
            if let Some((first, second)) = unframed(&bytes) {
                prop_assert_eq!(first.len() + second.len() + 4, bytes.len());
            }
        }
    }

    #[test]
    fn a_body_has_a_digest_and_a_bound() {
        let good = Body::of(b"x");
        good.check().unwrap();
        Body { bytes: BODY_MAX + 1, ..good.clone() }.check().unwrap_err();
        Body { sha256: "fc.in.>".into(), ..good.clone() }.check().unwrap_err();
        Body { sha256: "*".repeat(64), ..good }.check().unwrap_err();
    }
}
