//! Who is logged in at the console. In memory, and those who came with a key in the store too, so that a start of the service logs nobody out.
//!
//! A login is 256 random bits in a cookie; here only its SHA-256 is kept, and whose it is, never a key. It ends after
//! [`LOGIN_MS_MAX`], after [`IDLE_MS_MAX`] without use, by logging out, and with the key that it was made with: that key is asked
//! about anew with every request. A *link* is the same for one use: it becomes a login once, within [`LINK_MS_MAX`].

use super::refusals::Refusals;
use crate::http::guard::Caller;
use crate::service::Service;
use model::Fault;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use store::{Actor, KEY_RANDOM_BYTES, LoginRow, Reader};

/// The cookie. Its prefix has browsers take it only from us, for us, and over a connection that nobody reads (RFC 6265bis, 4.1.3.2).
pub const COOKIE: &str = "__Host-fireclay";
/// How long a login holds, in milliseconds: 12 hours.
pub const LOGIN_MS_MAX: i64 = 12 * 3_600_000;
/// How long a login holds that is not used: 2 hours.
pub const IDLE_MS_MAX: i64 = 2 * 3_600_000;
/// How long a link is good: 5 minutes.
pub const LINK_MS_MAX: i64 = 5 * 60_000;
/// How many of each are kept; the oldest goes for the next.
const HELD_MAX: usize = store::limits::LOGINS_MAX;
/// How often a use of a login is written at most.
const TOUCH_MS: i64 = 60_000;

type Hash = [u8; 32];

/// Who is logged in, and which links are out.
#[derive(Default)]
pub struct Logins {
    logins: Mutex<HashMap<Hash, Login>>,
    links: Mutex<HashMap<Hash, Login>>,
    /// Who was refused lately.
    pub refusals: Refusals,
    /// How many logged in, were refused, and logged out.
    pub counts: Counts,
}

/// What became of those who wanted to log in.
#[derive(Debug, Default)]
pub struct Counts {
    /// They did.
    pub accepted: AtomicU64,
    /// They did not.
    pub refused: AtomicU64,
    /// They logged out.
    pub ended: AtomicU64,
}

impl Counts {
    /// Writes them in the text format of Prometheus.
    pub fn write(&self, text: &mut String) {
        text.push_str("# HELP fireclay_console_logins_total Logins of the console\n# TYPE fireclay_console_logins_total counter\n");
        let all = [("accepted", &self.accepted), ("refused", &self.refused), ("ended", &self.ended)];
        for (result, count) in all {
            let count = count.load(Ordering::Relaxed);
            text.push_str(&format!("fireclay_console_logins_total{{result=\"{result}\"}} {count}\n"));
        }
    }
}

#[derive(Clone)]
struct Login {
    caller: Caller,
    /// Whether it was made where nobody needed a key; it holds only while that is so.
    keyless: bool,
    since_ms: i64,
    used_ms: i64,
    /// The last use that the store knows.
    kept_ms: i64,
}

impl Login {
    fn is_good(&self, service: &Service, now_ms: i64) -> bool {
        let recent = now_ms < self.since_ms + LOGIN_MS_MAX && now_ms < self.used_ms + IDLE_MS_MAX;
        recent
            && match &self.caller.actor {
                Actor::Key(id) => service.store.is_live_key(id, now_ms),
                // The owner's token holds as long as this process.
                Actor::Local => !self.keyless || service.is_keyless(),
                Actor::Service => false,
            }
    }
}

impl fmt::Debug for Logins {
    /// Without whose they are.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Logins").finish_non_exhaustive()
    }
}

impl Logins {
    /// Those of before. Blocks.
    pub fn of_before(reader: &Reader) -> Self {
        let rows = reader.logins().unwrap_or_else(|error| {
            worker::log::warn(format_args!("read who is logged in: {error}"));
            Vec::new()
        });
        let logins = rows.into_iter().map(|(hash, row)| {
            let LoginRow { key, tenant, role, since_ms, used_ms } = row;
            let caller = Caller { tenant, role, actor: Actor::Key(key) };
            (hash, Login { caller, keyless: false, since_ms, used_ms, kept_ms: used_ms })
        });
        Self { logins: Mutex::new(logins.collect()), ..Self::default() }
    }

    /// Logs in; returns what the cookie is to say, the only sight of it. That it could not be kept for the next start is said in the log.
    pub async fn begin(&self, service: &Service, caller: Caller, now_ms: i64) -> Result<String, Fault> {
        let row = match &caller.actor {
            Actor::Key(key) => Some(LoginRow {
                key: key.clone(),
                tenant: caller.tenant.clone(),
                role: caller.role,
                since_ms: now_ms,
                used_ms: now_ms,
            }),
            Actor::Local | Actor::Service => None,
        };
        let secret = put(&self.logins, service, caller, now_ms)?;
        if let Some(row) = row
            && let Err(error) = service.store.put_login(hash(&secret), row).await
        {
            worker::log::warn(format_args!("keep a login: {error}"));
        }
        Ok(secret)
    }

    /// Makes a link for this caller; returns its secret, good for one login.
    pub fn link(&self, service: &Service, caller: Caller, now_ms: i64) -> Result<String, Fault> {
        put(&self.links, service, caller, now_ms)
    }

    /// Uses a link up: whose it was, if it was good.
    pub fn redeem(&self, service: &Service, secret: &str, now_ms: i64) -> Option<Caller> {
        let link = lock(&self.links).remove(&hash(secret))?;
        (now_ms < link.since_ms + LINK_MS_MAX && link.is_good(service, now_ms)).then_some(link.caller)
    }

    /// Whose login this is, if it holds; that is a use of it.
    pub fn caller(&self, service: &Service, secret: &str, now_ms: i64) -> Option<Caller> {
        let mut logins = lock(&self.logins);
        let hash = hash(secret);
        let login = logins.get_mut(&hash)?;
        if !login.is_good(service, now_ms) {
            logins.remove(&hash);
            return None;
        }
        login.used_ms = now_ms;
        if now_ms - login.kept_ms >= TOUCH_MS && matches!(login.caller.actor, Actor::Key(_)) {
            login.kept_ms = now_ms;
            let store = service.store.clone();
            tokio::spawn(async move { store.touch_login(hash, now_ms).await });
        }
        Some(login.caller.clone())
    }

    /// Logs out; returns who was logged in.
    pub async fn end(&self, service: &Service, secret: &str) -> Option<Caller> {
        let login = lock(&self.logins).remove(&hash(secret))?;
        forget(service, vec![hash(secret)]).await;
        Some(login.caller)
    }

    /// Forgets those that hold no more: too old, or with a key that is revoked.
    pub async fn clear(&self, service: &Service, now_ms: i64) {
        let mut over = Vec::new();
        lock(&self.logins).retain(|hash, login| {
            let good = login.is_good(service, now_ms);
            if !good {
                over.push(*hash);
            }
            good
        });
        if !over.is_empty() {
            forget(service, over).await;
        }
    }
}

async fn forget(service: &Service, over: Vec<Hash>) {
    if let Err(error) = service.store.end_logins(over).await {
        worker::log::warn(format_args!("forget logins: {error}"));
    }
}

fn put(
    held: &Mutex<HashMap<Hash, Login>>,
    service: &Service,
    caller: Caller,
    now_ms: i64,
) -> Result<String, Fault> {
    let random: [u8; KEY_RANDOM_BYTES] = crate::http::keys::random()?;
    let secret: String = random[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    let keyless = caller.actor == Actor::Local && service.is_keyless();
    let login = Login { caller, keyless, since_ms: now_ms, used_ms: now_ms, kept_ms: now_ms };
    let mut held = lock(held);
    if held.len() >= HELD_MAX {
        held.retain(|_, login| login.is_good(service, now_ms));
    }
    if held.len() >= HELD_MAX
        && let Some(oldest) = held.iter().min_by_key(|(_, login)| login.used_ms).map(|(hash, _)| *hash)
    {
        held.remove(&oldest);
    }
    held.insert(hash(&secret), login);
    Ok(secret)
}

/// 256 random bits cannot be guessed, so a plain digest hides them, and finding it in a map tells nothing by its time.
fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
