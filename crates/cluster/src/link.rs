//! A connection from a gateway to another node, over the bus: bytes in both directions, in which HTTP is spoken.
//!
//! A gateway opens it by a message that it signs, and nobody else can; the node may answer only below its own name. Then each side sends
//! numbered pieces, no more of them than the other has room for, and says every two seconds that it is there. A gap in the numbers, a
//! silence of ten seconds, or a word for a connection that is not there ends it on both sides: NATS loses messages when it reconnects,
//! and a connection that lost some is broken as one of TCP would be.
//!
//! A frame is its kind, its number in eight bytes, little-endian, and what it carries.

use crate::bus::{Bus, ClusterError, failed};
use crate::names::{self, Name, SCHEMA};
use crate::now_ms;
use crate::work::{SIGNATURE, SKEW_MS};
use async_nats::{Client, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt as _;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// What is signed begins with this.
const DOMAIN: &str = "fireclay link 1";
/// Bytes on their way in one direction, at most.
const WINDOW: usize = 512 << 10;
/// Bytes of one frame, at most.
const PIECE: usize = 64 << 10;
/// How often each side says that it is there.
const ALIVE: Duration = Duration::from_secs(2);
/// How long a side may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections that a node has at once, at most.
const LINKS_MAX: usize = 16_384;

const OPEN: u8 = 0;
const DATA: u8 = 1;
const CREDIT: u8 = 2;
const END: u8 = 3;
const RESET: u8 = 4;
const HERE: u8 = 5;

/// What a gateway signs to open a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// [`SCHEMA`] of who made it.
    pub schema: u32,
    /// Who opens it.
    pub gateway: Name,
    /// To whom.
    pub node: Name,
    /// When it was signed, milliseconds since 1970.
    pub issued_ms: i64,
    /// For whom, in the words of the service that answers.
    pub caller: String,
}

/// What answers on a node.
pub trait Door: Send + Sync + 'static {
    /// Speaks with who opened; the stream ends when either side is done.
    fn answer(&self, opening: Opening, stream: DuplexStream);
}

/// The connections of one node.
pub struct Links {
    bus: Bus,
    door: Arc<dyn Door>,
    /// By the subject on which the other side speaks.
    open: Mutex<HashMap<String, Arc<Link>>>,
    opened: AtomicU64,
    refused: AtomicU64,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Links({:?})", self.bus.identity)
    }
}

/// One connection.
struct Link {
    client: Client,
    /// Where we speak.
    subject: String,
    /// What came and is to be read here.
    inbox: mpsc::UnboundedSender<Option<Vec<u8>>>,
    /// Told that the other side ended it.
    reset: tokio::sync::Notify,
    /// Bytes that the other side has room for.
    room: Semaphore,
    /// Bytes that came and were not read here.
    unread: AtomicUsize,
    /// The numbers of the last frames with bytes.
    sent: AtomicU64,
    received: AtomicU64,
    heard: Mutex<Instant>,
}

impl Link {
    async fn say(&self, kind: u8, number: u64, bytes: &[u8]) {
        let frame = [&[kind][..], &number.to_le_bytes(), bytes].concat();
        // One that is lost is missed by its number, or by the silence after it.
        drop(self.client.publish(self.subject.clone(), frame.into()).await);
    }

    async fn say_next(&self, kind: u8, bytes: &[u8]) {
        let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        self.say(kind, number, bytes).await;
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame in; whether the connection goes on.
    fn take(&self, kind: u8, number: u64, bytes: &[u8]) -> bool {
        *self.heard() = Instant::now();
        match kind {
            DATA | END => {
                let is_next = self.received.fetch_add(1, Ordering::Relaxed) + 1 == number;
                let unread = self.unread.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
                let piece = (kind == DATA).then(|| bytes.to_vec());
                is_next && unread <= WINDOW && self.inbox.send(piece).is_ok()
            }
            CREDIT => {
                let more = usize::try_from(number).unwrap_or(usize::MAX);
                let is_owed = self.room.available_permits().saturating_add(more) <= WINDOW;
                if is_owed {
                    self.room.add_permits(more);
                }
                is_owed
            }
            HERE => true,
            _ => false,
        }
    }

    /// Sends what is written here, as there is room for it.
    async fn outward(&self, mut reader: ReadHalf<DuplexStream>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let count = reader.read(&mut piece).await?;
            if count == 0 {
                self.say_next(END, b"").await;
                return Ok(());
            }
            let permits = u32::try_from(count).map_err(io::Error::other)?;
            self.room.acquire_many(permits).await.map_err(io::Error::other)?.forget();
            self.say_next(DATA, &piece[..count]).await;
        }
    }

    /// Hands on what comes, and makes room for more when it is taken.
    async fn inward(
        &self,
        mut writer: WriteHalf<DuplexStream>,
        mut inbox: mpsc::UnboundedReceiver<Option<Vec<u8>>>,
    ) -> io::Result<()> {
        while let Some(Some(piece)) = inbox.recv().await {
            writer.write_all(&piece).await?;
            self.unread.fetch_sub(piece.len(), Ordering::Relaxed);
            self.say(CREDIT, piece.len() as u64, b"").await;
        }
        writer.shutdown().await
    }

    /// Returns when the other side is gone.
    async fn gone(&self) {
        let silent = async {
            let mut tick = tokio::time::interval(ALIVE);
            loop {
                tick.tick().await;
                if self.heard().elapsed() > SILENCE {
                    return;
                }
                self.say(HERE, 0, b"").await;
            }
        };
        tokio::select! {
            () = silent => {}
            () = self.reset.notified() => {}
        }
    }
}

impl Links {
    /// Listens, for as long as the process lives: every node to what gateways open, a gateway to answers too.
    pub async fn listen(bus: Bus, door: Arc<dyn Door>, is_gateway: bool) -> Result<Arc<Self>, ClusterError> {
        let name = bus.identity.name.clone();
        let (opened, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let links = Arc::new(Self { bus, door, open: Mutex::default(), opened, refused });
        let mut subjects = vec![names::downs(&name)];
        if is_gateway {
            subjects.push(names::ups(&name));
        }
        for subject in subjects {
            let heard =
                links.bus.client.subscribe(subject).await.map_err(failed("listen for connections"))?;
            tokio::spawn(links.clone().hear(heard));
        }
        // A server that does not know the subscription would drop what the first gateway says.
        links.bus.client.flush().await.map_err(failed("listen for connections"))?;
        Ok(links)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Link>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many openings were refused, because no gateway of ours meant them.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Opens a connection to a node, for a caller as the node's service understands it. A node that is not there is known by its silence.
    pub async fn connect(
        self: &Arc<Self>,
        node: &Name,
        caller: String,
    ) -> Result<DuplexStream, ClusterError> {
        let gateway = self.bus.identity.name.clone();
        let key = KeyPair::new_user().public_key().to_lowercase();
        let (down, up) = (names::down(node, &gateway, &key), names::up(node, &gateway, &key));
        let opening = Opening { schema: SCHEMA, gateway, node: node.clone(), issued_ms: now_ms(), caller };
        let text = serde_json::to_vec(&opening).expect("an opening is JSON");
        let mut headers = HeaderMap::new();
        let signature = self.bus.identity.sign(&signed(&down, &text));
        headers.insert(SIGNATURE, BASE64.encode(signature).as_str());
        let (link, inbox) = self.link(down.clone());
        self.open().insert(up.clone(), link.clone());
        let frame = [&[OPEN][..], &0_u64.to_le_bytes(), &text].concat();
        let told = self.bus.client.publish_with_headers(down, headers, frame.into()).await;
        if let Err(error) = told {
            self.open().remove(&up);
            return Err(failed(format!("connect to {node}"))(error));
        }
        let (ours, theirs) = tokio::io::duplex(PIECE);
        tokio::spawn(self.clone().carry(up, link, inbox, ours));
        Ok(theirs)
    }

    fn link(&self, subject: String) -> (Arc<Link>, mpsc::UnboundedReceiver<Option<Vec<u8>>>) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (inbox, came) = mpsc::unbounded_channel();
        let link = Link {
            client: self.bus.client.clone(),
            subject,
            inbox,
            reset: tokio::sync::Notify::new(),
            room: Semaphore::new(WINDOW),
            unread: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            heard: Mutex::new(Instant::now()),
        };
        (Arc::new(link), came)
    }

    /// Carries one connection to its end.
    async fn carry(
        self: Arc<Self>,
        incoming: String,
        link: Arc<Link>,
        inbox: mpsc::UnboundedReceiver<Option<Vec<u8>>>,
        stream: DuplexStream,
    ) {
        let (reader, writer) = tokio::io::split(stream);
        let ended_well = tokio::select! {
            done = async { tokio::try_join!(link.outward(reader), link.inward(writer, inbox)) } => done.is_ok(),
            () = link.gone() => false,
        };
        self.open().remove(&incoming);
        if !ended_well {
            link.say(RESET, 0, b"").await;
        }
    }

    async fn hear(self: Arc<Self>, mut heard: async_nats::Subscriber) {
        while let Some(message) = heard.next().await {
            let Some((&kind, rest)) = message.payload.split_first() else { continue };
            let Some((number, bytes)) = rest.split_first_chunk::<8>() else { continue };
            let number = u64::from_le_bytes(*number);
            let subject = message.subject.as_str();
            if kind == OPEN {
                let signature = message.headers.as_ref().and_then(|headers| headers.get(SIGNATURE));
                self.accept(subject, signature.map(async_nats::HeaderValue::as_str), bytes);
                continue;
            }
            let link = self.open().get(subject).cloned();
            match link {
                Some(link) if link.take(kind, number, bytes) => {}
                Some(link) => link.reset.notify_one(),
                // What is said to nobody is answered, so that the other side ends; not what ends it.
                None if kind == DATA || kind == HERE => {
                    let Some(back) = names::other_way(subject) else { continue };
                    let frame = [&[RESET][..], &0_u64.to_le_bytes()].concat();
                    drop(self.bus.client.publish(back, frame.into()).await);
                }
                None => {}
            }
        }
    }

    fn accept(self: &Arc<Self>, subject: &str, signature: Option<&str>, text: &[u8]) {
        let opening = read(&self.bus, subject, signature, text, now_ms());
        let room = self.open().len() < LINKS_MAX && !self.open().contains_key(subject);
        let (Some(opening), Some(back), true) = (opening, names::other_way(subject), room) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let (link, inbox) = self.link(back);
        self.open().insert(subject.to_owned(), link.clone());
        let (ours, theirs) = tokio::io::duplex(PIECE);
        tokio::spawn(self.clone().carry(subject.to_owned(), link, inbox, ours));
        self.door.answer(opening, theirs);
    }
}

/// Reads an opening that a gateway of ours signed for this subject, lately.
fn read(bus: &Bus, subject: &str, signature: Option<&str>, text: &[u8], now_ms: i64) -> Option<Opening> {
    let opening: Opening = serde_json::from_slice(text).ok()?;
    let signature = BASE64.decode(signature?).ok()?;
    let is_signed = bus.identity.is_signed_by(&opening.gateway, &signed(subject, text), &signature);
    let is_ours = opening.node == bus.identity.name && opening.schema == SCHEMA;
    let is_of_now = (now_ms - opening.issued_ms).abs() <= SKEW_MS;
    let is_its = names::part::<Name>(subject, 3).as_ref() == Some(&opening.gateway);
    (is_signed && is_ours && is_of_now && is_its).then_some(opening)
}

fn signed(subject: &str, text: &[u8]) -> Vec<u8> {
    [DOMAIN.as_bytes(), b"\n", subject.as_bytes(), b"\n", text].concat()
}
