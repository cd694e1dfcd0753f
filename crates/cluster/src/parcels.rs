//! Layers that runs need, on their way from the gateway that has them: in chunks that are named by the layer's digest.
//!
//! Only gateways write them. What is in a layer is checked by whoever takes it in, against the digest that a gateway signed with the run;
//! here it is bytes. They go when they are old or when there are too many; a gateway looks whether they are there before it sends a run
//! that needs them.

use crate::bus::{Bus, ClusterError, Stored, failed};
use crate::names::{self, LAYERS};
use crate::now_ms;
use async_nats::HeaderMap;
use futures_util::{Stream, StreamExt as _};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a chunk.
const CHUNK: usize = 512 << 10;
/// Largest layer.
pub const LAYER_MAX: u64 = 1 << 30;
/// All layers together, with room for two of the largest: the oldest go first.
pub(crate) const LAYERS_MAX: i64 = 2 << 30;
/// How long a layer is kept that no run asks for.
pub(crate) const KEEP: Duration = Duration::from_secs(3 * 24 * 3600);
/// A layer as old as this is stored again by the next run that needs it.
const AGED_MS: i128 = KEEP.as_millis() as i128 / 2;
/// So long a gateway believes that a layer is there.
const BELIEVED: Duration = Duration::from_secs(60);
/// Layers that a gateway remembers.
const REMEMBERED_MAX: usize = 4096;
/// Chunks that are asked for at once.
const AHEAD: usize = 4;
/// A copy that lags has a chunk soon.
const TRIES: usize = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A layer that a run needs, and where its bytes come from.
#[derive(Clone)]
pub struct Freight {
    /// 64 hexadecimal digits.
    pub hex: String,
    /// How many bytes.
    pub bytes: u64,
    /// Opens it anew.
    pub open: Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>,
}

impl std::fmt::Debug for Freight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Freight({}, {} bytes)", self.hex, self.bytes)
    }
}

/// When a layer was last seen on the bus; who holds it looks or stores.
type Seen = Arc<tokio::sync::Mutex<Option<Instant>>>;

/// What a gateway knows of the layers that are there.
#[derive(Debug, Default)]
pub(crate) struct Depot {
    seen: Mutex<HashMap<String, Seen>>,
    /// Those with which a run failed since, and what is there may be wrong.
    doubted: Mutex<HashSet<String>>,
}

/// Refuses what is no digest, and what is too large.
fn check(hex: &str, bytes: u64) -> Result<(), ClusterError> {
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest && bytes <= LAYER_MAX {
        return Ok(());
    }
    Err(ClusterError::Refused(format!("a layer of {bytes} bytes; {LAYER_MAX} travel between nodes")))
}

impl Depot {
    /// Sees that a layer is there; of those that ask at once one stores it.
    pub(crate) async fn offer(&self, bus: &Bus, freight: &Freight) -> Result<(), ClusterError> {
        check(&freight.hex, freight.bytes)?;
        let seen = {
            let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() > REMEMBERED_MAX {
                all.clear();
            }
            all.entry(freight.hex.clone()).or_default().clone()
        };
        let mut seen = seen.lock().await;
        let is_doubted = self.doubted().remove(&freight.hex);
        if !is_doubted && seen.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Ok(());
        }
        if is_doubted || !is_there(bus, &freight.hex).await? {
            store(bus, freight).await?;
        }
        *seen = Some(Instant::now());
        Ok(())
    }
}

impl Depot {
    fn doubted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run failed for which these were needed: the next that needs one stores it anew.
    pub(crate) fn doubt(&self, freight: &[Freight]) {
        let mut doubted = self.doubted();
        if doubted.len() < REMEMBERED_MAX {
            doubted.extend(freight.iter().map(|freight| freight.hex.clone()));
        }
    }
}

/// Whether a layer is whole and will stay for a while: its last word was stored after its first, which would go first.
async fn is_there(bus: &Bus, hex: &str) -> Result<bool, ClusterError> {
    let (first, end) = (at(bus, &names::layer(hex, 0)).await?, at(bus, &names::layer_end(hex)).await?);
    let (Some((first, since_ms)), Some((end, _))) = (first, end) else { return Ok(false) };
    Ok(first < end && i128::from(now_ms()) - since_ms < AGED_MS)
}

/// The place of a subject's last message in the stream, and when it was stored, in milliseconds since 1970.
async fn at(bus: &Bus, subject: &str) -> Result<Option<(u64, i128)>, ClusterError> {
    let found = bus.last_of_leader(LAYERS, subject).await?;
    Ok(found.map(|message| (message.sequence, message.time.unix_timestamp_nanos() / 1_000_000)))
}

async fn store(bus: &Bus, freight: &Freight) -> Result<(), ClusterError> {
    let unread = |error: io::Error| ClusterError::Refused(format!("a layer that cannot be read: {error}"));
    let mut source = (freight.open)().map_err(unread)?;
    let (mut index, mut total) = (0, 0);
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut source).take(CHUNK as u64).read_to_end(&mut chunk);
            read.map(|_| (source, chunk))
        });
        let read = reading.await.map_err(failed("read a layer"))?;
        let chunk;
        (source, chunk) = read.map_err(unread)?;
        if chunk.is_empty() {
            break;
        }
        total += chunk.len() as u64;
        put(bus, names::layer(&freight.hex, index), chunk).await?;
        index += 1;
    }
    if total != freight.bytes {
        return Err(ClusterError::Refused(format!("a layer of {total} bytes, and not {}", freight.bytes)));
    }
    put(bus, names::layer_end(&freight.hex), total.to_string().into()).await
}

async fn put(bus: &Bus, subject: String, payload: Vec<u8>) -> Result<(), ClusterError> {
    // What was stored before is stored again, so that it is the newest.
    let id = format!("{subject}.{}", now_ms());
    match bus.store(subject, &id, HeaderMap::new(), payload).await? {
        Stored::Yes { .. } => Ok(()),
        Stored::Taken => Err(failed("store a layer")("its place is taken")),
    }
}

/// The chunks of a layer, in order.
pub struct Coming {
    chunks: Pin<Box<dyn Stream<Item = Result<Vec<u8>, ClusterError>> + Send>>,
}

impl std::fmt::Debug for Coming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Coming")
    }
}

impl Coming {
    /// Asks for a layer of so many bytes.
    pub fn of(bus: &Bus, hex: &str, bytes: u64) -> Result<Self, ClusterError> {
        check(hex, bytes)?;
        let (bus, hex) = (bus.clone(), hex.to_owned());
        let chunks = futures_util::stream::iter(0..bytes.div_ceil(CHUNK as u64)).map(move |index| {
            let (bus, subject) = (bus.clone(), names::layer(&hex, index));
            async move { chunk(&bus, &subject).await }
        });
        Ok(Self { chunks: Box::pin(chunks.buffered(AHEAD)) })
    }

    /// The next chunk; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClusterError> {
        self.chunks.next().await.transpose()
    }
}

async fn chunk(bus: &Bus, subject: &str) -> Result<Vec<u8>, ClusterError> {
    for _ in 0..TRIES {
        if let Ok(Some(bytes)) = bus.last(LAYERS, subject).await {
            return Ok(bytes);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    Err(failed(format!("read {subject}"))("it is not there"))
}

const _: () = assert!(LAYERS_MAX as u64 >= 2 * LAYER_MAX, "a layer that is stored does not push itself out");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_a_digest_and_a_bound() {
        check(&"0a".repeat(32), LAYER_MAX).unwrap();
        check(&"0a".repeat(32), LAYER_MAX + 1).unwrap_err();
        for hex in ["", ">", &"*".repeat(64), &"a".repeat(63)] {
            check(hex, 1).unwrap_err();
        }
    }
}
