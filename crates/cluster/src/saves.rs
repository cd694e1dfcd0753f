//! Saved files of durable sessions: what a node stores of each of its own, and what a gateway reads when the node is lost.
//!
//! ```text
//! fc.save.NODE.SESSION.EPOCH.N      a chunk, at most 512 KiB; nothing where none is any more
//! fc.save.NODE.SESSION.EPOCH.head   which chunks count: it is written last, and what it names stays until the next is there
//! ```
//!
//! NATS lets a node write below its own name only, and the epoch is the count of the session's reopenings: whoever had a session before
//! writes where nobody reads any more. Chunks are known by their SHA-256; one that is there is not sent again. A chunk has pieces of an
//! archive, whose format this file does not know: the archive is all pieces of a [`Listing`], one after the other. Only gateways read.

use crate::bus::{Bus, ClusterError, Stored, failed};
use crate::names::{self, Name, SAVES};
use crate::now_ms;
use async_nats::HeaderMap;
use model::SessionId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Bytes of a chunk, at most.
pub const CHUNK: usize = 512 << 10;
/// How long saved files are kept that nobody saves again.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// All saved files together: beyond, the bus refuses to store more, and sessions say so.
pub(crate) const SAVES_MAX: i64 = 2 << 30;
/// Chunks that are as old as this are stored anew.
const AGED_MS: i64 = KEEP.as_millis() as i64 / 2;
/// Chunks of which so much is used no more, and half of all, are stored anew.
const WASTE: u64 = 8 << 20;
/// Longest listing: some 60 bytes for each of 20,000 files, and for each chunk of the largest disk.
const LISTING_MAX: u64 = 32 << 20;
/// A copy of the stream that lags has a chunk soon.
const TRIES: usize = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A chunk, as a listing names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// The last word of its subject.
    n: u32,
    /// Its SHA-256, in hexadecimal digits.
    hex: String,
    /// How many bytes.
    bytes: u32,
}

/// A piece of the archive: bytes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Which chunk.
    pub chunk: u32,
    /// From which byte of it.
    pub from: u32,
    /// How many.
    pub bytes: u32,
}

/// What a session's files consist of.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    chunks: Vec<Chunk>,
    /// In the order of the archive.
    pieces: Vec<Piece>,
}

/// What is known of a session besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// When its files were looked at, milliseconds since 1970.
    pub at_ms: i64,
    /// When the session ends at the latest, likewise.
    pub expires_at_ms: i64,
    /// How long it stays when nothing runs, in milliseconds.
    pub idle_ttl_ms: u64,
}

/// What was saved last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Of the session.
    pub said: Said,
    /// The listing, JSON in chunks.
    listing: Vec<Chunk>,
}

/// Who saved files of a session: a node, in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The node.
    pub node: Name,
    /// The count of the session's reopenings then.
    pub epoch: u64,
}

impl Source {
    fn chunk(&self, session: &SessionId, n: u32) -> String {
        names::saved(&self.node, session, self.epoch, &n.to_string())
    }

    fn head(&self, session: &SessionId) -> String {
        names::saved(&self.node, session, self.epoch, "head")
    }
}

/// A chunk of ours that is on the bus.
#[derive(Debug)]
struct Held {
    hex: String,
    bytes: u32,
    at_ms: i64,
}

/// Where this node stores the files of one session.
#[derive(Debug)]
pub struct Shelf {
    bus: Bus,
    session: SessionId,
    source: Source,
    held: BTreeMap<u32, Held>,
    /// Those that may be named again, by their digest.
    known: HashMap<String, u32>,
    free: Vec<u32>,
    /// How much was stored.
    count: u64,
    /// Of the last listing: bytes of its chunks and of its pieces, and when the oldest chunk was stored.
    used: (u64, u64, i64),
}

impl Shelf {
    /// For a session of this node in this epoch, of which nothing is stored yet.
    pub fn new(bus: Bus, session: SessionId, epoch: u64) -> Self {
        let source = Source { node: bus.identity.name.clone(), epoch };
        let (held, known, free) = (BTreeMap::new(), HashMap::new(), Vec::new());
        Self { bus, session, source, held, known, free, count: 0, used: (0, 0, i64::MAX) }
    }

    /// Whether all is to be stored anew: what is there is old, or most of it is used no more. Then nothing of it is named again.
    pub fn begin_anew(&mut self) -> bool {
        let (chunks, pieces, oldest) = self.used;
        let is_wanted = chunks > 2 * pieces + WASTE || now_ms().saturating_sub(oldest) > AGED_MS;
        if is_wanted {
            self.known.clear();
        }
        is_wanted
    }

    /// Sees that a chunk is there, of at most [`CHUNK`] bytes; returns its number.
    pub async fn put(&mut self, bytes: Vec<u8>) -> Result<u32, ClusterError> {
        let hex = hex_of(&bytes);
        if let Some(n) = self.known.get(&hex) {
            return Ok(*n);
        }
        let length = u32::try_from(bytes.len()).map_err(failed("save files"))?;
        let n = self.free.pop().unwrap_or_else(|| self.held.keys().last().map_or(0, |last| last + 1));
        // Before it is sent: it may be there although no answer comes.
        self.held.insert(n, Held { hex: hex.clone(), bytes: length, at_ms: now_ms() });
        self.store(self.source.chunk(&self.session, n), bytes).await?;
        self.known.insert(hex, n);
        Ok(n)
    }

    async fn store(&mut self, subject: String, bytes: Vec<u8>) -> Result<(), ClusterError> {
        self.count += 1;
        let id = format!("{subject}.{}", self.count);
        match self.bus.store(subject, &id, HeaderMap::new(), bytes).await? {
            Stored::Yes { .. } => Ok(()),
            Stored::Taken => Err(failed("save files")("their place is taken")),
        }
    }

    /// Makes these files, each in pieces, what the session's files are, and removes chunks that none of them is in.
    pub async fn commit(&mut self, mut files: Vec<Vec<Piece>>, said: Said) -> Result<(), ClusterError> {
        // Those that share a chunk are read together.
        files.sort_unstable_by_key(|pieces| pieces.first().copied());
        let pieces: Vec<Piece> = files.into_iter().flatten().collect();
        let used: BTreeSet<u32> = pieces.iter().map(|piece| piece.chunk).collect();
        let chunks: Vec<Chunk> = used.iter().filter_map(|n| self.chunk(*n)).collect();
        let bytes = |all: &mut dyn Iterator<Item = u32>| all.map(u64::from).sum::<u64>();
        let oldest = used.iter().filter_map(|n| Some(self.held.get(n)?.at_ms)).min().unwrap_or(i64::MAX);
        self.used = (
            bytes(&mut chunks.iter().map(|chunk| chunk.bytes)),
            bytes(&mut pieces.iter().map(|piece| piece.bytes)),
            oldest,
        );
        let text = serde_json::to_vec(&Listing { chunks, pieces }).expect("a listing is JSON");
        let mut listing = Vec::new();
        for part in text.chunks(CHUNK) {
            let n = self.put(part.to_vec()).await?;
            listing.extend(self.chunk(n));
        }
        let kept: BTreeSet<u32> = used.into_iter().chain(listing.iter().map(|chunk| chunk.n)).collect();
        let head = serde_json::to_vec(&Head { said, listing }).expect("a head is JSON");
        self.store(self.source.head(&self.session), head).await?;
        let unused: Vec<u32> = self.held.keys().filter(|n| !kept.contains(n)).copied().collect();
        for n in unused {
            self.store(self.source.chunk(&self.session, n), Vec::new()).await?;
            if let Some(held) = self.held.remove(&n) {
                self.known.remove(&held.hex);
            }
            self.free.push(n);
        }
        Ok(())
    }

    fn chunk(&self, n: u32) -> Option<Chunk> {
        self.held.get(&n).map(|held| Chunk { n, hex: held.hex.clone(), bytes: held.bytes })
    }
}

/// What a node saved last of a session; `None` if nothing is there.
pub(crate) async fn head(
    bus: &Bus,
    source: &Source,
    session: &SessionId,
) -> Result<Option<Head>, ClusterError> {
    let found = bus.last_of_leader(SAVES, &source.head(session)).await?;
    let Some(found) = found else { return Ok(None) };
    serde_json::from_slice(&found.payload).map(Some).map_err(failed("read saved files"))
}

/// The archive of what was saved, piece by piece, each checked by the digest of its chunk.
#[derive(Debug)]
pub struct Archive {
    bus: Bus,
    session: SessionId,
    source: Source,
    chunks: HashMap<u32, Chunk>,
    pieces: std::vec::IntoIter<Piece>,
    /// The chunk that was read last.
    last: (u32, Vec<u8>),
}

impl Archive {
    pub(crate) async fn open(
        bus: &Bus,
        source: &Source,
        session: &SessionId,
        head: &Head,
    ) -> Result<Self, ClusterError> {
        let total: u64 = head.listing.iter().map(|chunk| u64::from(chunk.bytes)).sum();
        if total > LISTING_MAX {
            return Err(ClusterError::Refused(format!("saved files with a list of {total} bytes")));
        }
        let (bus, session, source) = (bus.clone(), session.clone(), source.clone());
        let (chunks, pieces, last) = (HashMap::new(), Vec::new().into_iter(), (0, Vec::new()));
        let mut archive = Self { bus, session, source, chunks, pieces, last };
        let mut text = Vec::new();
        for chunk in &head.listing {
            text.extend(archive.read(chunk).await?);
        }
        let listing: Listing = serde_json::from_slice(&text).map_err(failed("read saved files"))?;
        archive.chunks = listing.chunks.into_iter().map(|chunk| (chunk.n, chunk)).collect();
        archive.pieces = listing.pieces.into_iter();
        Ok(archive)
    }

    /// The next bytes; `None` after the last. What is not as it was saved is an error.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClusterError> {
        let refused = |what: &str| ClusterError::Refused(what.to_owned());
        let Some(Piece { chunk, from, bytes }) = self.pieces.next() else { return Ok(None) };
        if self.last.0 != chunk || self.last.1.is_empty() {
            let chunk =
                self.chunks.get(&chunk).ok_or_else(|| refused("saved files with a piece of no chunk"))?;
            self.last = (chunk.n, self.read(chunk).await?);
        }
        let range = from as usize..(from as usize).saturating_add(bytes as usize);
        let piece =
            self.last.1.get(range).ok_or_else(|| refused("saved files with a piece beyond its chunk"))?;
        Ok(Some(piece.to_vec()))
    }

    async fn read(&self, chunk: &Chunk) -> Result<Vec<u8>, ClusterError> {
        let subject = self.source.chunk(&self.session, chunk.n);
        let mut last = None;
        for _ in 0..TRIES {
            last = self.bus.last(SAVES, &subject).await.ok().flatten();
            if last.as_ref().is_some_and(|bytes| hex_of(bytes) == chunk.hex) {
                return Ok(last.unwrap_or_default());
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        let what = last.map_or("is not there", |_| "has another SHA-256 than what was saved");
        Err(failed(format!("read {subject}"))(what))
    }
}

/// Removes what was saved of a session: by all who had it, or by one.
pub(crate) async fn clear(
    bus: &Bus,
    session: &SessionId,
    source: Option<&Source>,
) -> Result<(), ClusterError> {
    let filter = match source {
        Some(source) => names::saved(&source.node, session, source.epoch, ">"),
        None => names::all_saved(session),
    };
    let doing = format!("remove {filter}");
    let stream = bus.js.get_stream_no_info(SAVES).await.map_err(failed(doing.clone()))?;
    stream.purge().filter(&filter).await.map(drop).map_err(failed(doing))
}

fn hex_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

const _: () = assert!(CHUNK < 1 << 20, "a chunk is one message");
