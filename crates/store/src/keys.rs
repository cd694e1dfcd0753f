//! API keys: shown once, kept as hashes, verified from memory.
//!
//! A key is `fc_<id>_<secret>`: the id is public, the secret 256 random bits. Of the secret only its SHA-256 is kept, which suffices
//! because nobody can guess 256 bits. Only the process that owns the store changes keys, so its memory is complete: a key is
//! verified without the disk, and a revoked one is refused before the revocation is acknowledged.

use crate::columns::{from_word, word};
use crate::limits::{KEY_TOUCH_MS, KEYS_MAX, NAME_BYTES_MAX};
use crate::writer::{After, Transaction, Write};
use crate::{Actor, Cursor, Listed, NewAudit, Page, Reader, Scope, Store, StoreError, audit, tenants};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::TenantId;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use subtle::ConstantTimeEq;

/// Random bytes that a new key is made of.
pub const KEY_RANDOM_BYTES: usize = 40;

/// The public part of a key, 10 characters: names it in lists and in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub(crate) String);

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, of every tenant.
    Admin,
    /// What is its tenant's own.
    Tenant,
}

/// A key as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// For whom; made with an empty quota if it is not there yet.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
    /// What people call it, at most 256 bytes.
    pub name: String,
    /// When it stops working, milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
}

/// A key that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedKey {
    /// What is kept of it.
    pub row: KeyRow,
    /// The key itself, `fc_<id>_<secret>`. Nobody can ask for it again.
    pub plain: String,
}

/// A key as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public part.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub name: String,
    /// When it was made, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last used, to within [`crate::limits::KEY_TOUCH_MS`].
    pub last_used_at_ms: Option<i64>,
    /// When it stops working.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<i64>,
}

/// Who a verified key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key.
    pub key: KeyId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
}

impl KeyId {
    /// The key that this text names; `None` if it cannot be a key's public part.
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == ID_CHARS && text.bytes().all(|byte| ALPHABET.contains(&byte));
        ours.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Leaves the secret out: it must not reach a log.
impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey").field("row", &self.row).finish_non_exhaustive()
    }
}

/// Crockford's alphabet, as in the model's ids.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARS: usize = 10;
/// 32 bytes in base64 without padding.
const SECRET_CHARS: usize = 43;

impl Store {
    /// Makes a key of bytes that the caller took from the kernel's random source. The answer is the only sight of it.
    ///
    /// Fails with [`StoreError::TooLong`] beyond [`KEYS_MAX`] keys, revoked ones counted.
    pub fn create_key(
        &self,
        new: NewKey,
        random: [u8; KEY_RANDOM_BYTES],
        by: Actor,
        at_ms: i64,
    ) -> Write<CreatedKey> {
        let (id, secret) = spell(&random);
        let plain = format!("fc_{id}_{secret}");
        let row = KeyRow {
            id,
            tenant: new.tenant,
            role: new.role,
            name: new.name,
            created_at_ms: at_ms,
            last_used_at_ms: None,
            expires_at_ms: new.expires_at_ms,
            revoked_at_ms: None,
        };
        let keys = Arc::clone(self.keys());
        self.write("create a key", move |transaction| {
            let secret_sha256: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
            insert(transaction, &row, &secret_sha256)?;
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(row.tenant.clone()),
                action: "key.create".to_owned(),
                object: row.id.to_string(),
                detail: json!({"name": row.name, "role": row.role, "expires_at_ms": row.expires_at_ms}),
            };
            audit::append(transaction, &act)?;
            let (keys, told) = (Arc::clone(&keys), row.clone());
            transaction.after.push(After::Tell(Box::new(move || keys.put(told, secret_sha256))));
            Ok(CreatedKey { row: row.clone(), plain: plain.clone() })
        })
    }

    /// Revokes a key: from the answer on nothing verifies with it. Revoking again changes nothing.
    ///
    /// Fails with [`StoreError::LastAdmin`] if it works and no other key of an administrator does.
    pub fn revoke_key(&self, scope: Scope, id: &KeyId, by: Actor, at_ms: i64) -> Write<()> {
        let id = id.clone();
        let keys = Arc::clone(self.keys());
        self.write("revoke a key", move |transaction| {
            let sql = "SELECT tenant, revoked_at IS NOT NULL FROM keys WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
            let found = transaction
                .sql(sql)?
                .query_row(params![id.as_str(), scope.tenant()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get(1)?))
                })
                .optional()?;
            let (tenant, revoked) = found.ok_or(StoreError::NotFound)?;
            if revoked {
                return Ok(());
            }
            if is_last_admin(transaction, &id, at_ms)? {
                return Err(StoreError::LastAdmin);
            }
            transaction
                .execute("UPDATE keys SET revoked_at = ? WHERE id = ?", params![at_ms, id.as_str()])?;
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(from_word(tenant, "the tenant of a key")?),
                action: "key.revoke".to_owned(),
                object: id.to_string(),
                detail: json!(null),
            };
            audit::append(transaction, &act)?;
            let (keys, id) = (Arc::clone(&keys), id.clone());
            transaction.after.push(After::Tell(Box::new(move || keys.remove(&id))));
            Ok(())
        })
    }

    /// Who a key speaks for, if it is one of ours, not expired and not revoked. Neither blocks nor reads the disk; notes the use,
    /// about once a minute.
    pub fn verify_key(&self, text: &str, now_ms: i64) -> Option<Principal> {
        let (id, secret) = split(text)?;
        let secret_sha256 = Sha256::digest(secret.as_bytes());
        let held = self.keys().get(id)?;
        let same: bool = held.secret_sha256.ct_eq(&secret_sha256[..]).into();
        if !same || !held.is_live(now_ms) {
            return None;
        }
        self.touch(&held, now_ms);
        let KeyRow { id, tenant, role, .. } = held.row.clone();
        Some(Principal { key: id, tenant, role })
    }

    /// Whether the key of this id would verify now.
    pub fn is_live_key(&self, id: &KeyId, now_ms: i64) -> bool {
        self.keys().get(id.as_str()).is_some_and(|held| held.is_live(now_ms))
    }

    /// Whether any key would verify now.
    pub fn has_key(&self, now_ms: i64) -> bool {
        self.keys().any(|held| held.is_live(now_ms))
    }

    /// Whether a key was ever made, revoked and expired ones too: from then on nobody is trusted without one.
    pub fn has_made_key(&self) -> bool {
        self.keys().ever.load(Ordering::Relaxed)
    }

    /// Whether any key of an administrator would verify now.
    pub fn has_admin_key(&self, now_ms: i64) -> bool {
        self.keys().any(|held| held.is_live(now_ms) && held.row.role == Role::Admin)
    }

    /// Writes a key's last use down, unless that was done a short while ago or the writer has no place.
    fn touch(&self, held: &Held, now_ms: i64) {
        let touched = held.touched_at_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(touched) < KEY_TOUCH_MS
            || held
                .touched_at_ms
                .compare_exchange(touched, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let id = held.row.id.clone();
        let write = self.write("note the use of a key", move |transaction| {
            let sql = "UPDATE keys SET last_used_at = max(?1, ifnull(last_used_at, ?1)) WHERE id = ?2";
            Ok(transaction.execute(sql, params![now_ms, id.as_str()])?)
        });
        if !write.begin_if_idle() {
            held.touched_at_ms.store(touched, Ordering::Relaxed);
        }
    }
}

/// The public and the secret part of a new key.
fn spell(random: &[u8; KEY_RANDOM_BYTES]) -> (KeyId, String) {
    let (public, secret) = random.split_at(8);
    // Five of the low bits of each byte would do too; eight bytes are 64 bits, of which 50 are used.
    let number = public.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let id = (0..ID_CHARS).map(|place| char::from(ALPHABET[(number >> (place * 5)) as usize & 31])).collect();
    (KeyId(id), URL_SAFE_NO_PAD.encode(secret))
}

/// Takes a key apart; `None` if it cannot be one.
fn split(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix("fc_")?.split_at_checked(ID_CHARS)?;
    let secret = secret.strip_prefix('_')?;
    (secret.len() == SECRET_CHARS).then_some((id, secret))
}

fn insert(transaction: &Transaction<'_>, row: &KeyRow, secret_sha256: &[u8; 32]) -> Result<(), StoreError> {
    crate::columns::at_most("name of a key", &row.name, NAME_BYTES_MAX)?;
    let number: i64 = transaction.sql("SELECT count(*) FROM keys")?.query_row([], |row| row.get(0))?;
    if number >= KEYS_MAX as i64 {
        return Err(StoreError::TooLong { what: "list of keys", max: KEYS_MAX as u64 });
    }
    tenants::ensure(transaction, &row.tenant, row.created_at_ms)?;
    let sql = "INSERT INTO keys (id, secret_sha256, tenant, role, name, created_at, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        row.id.as_str(),
        secret_sha256,
        row.tenant.as_str(),
        word(&row.role),
        row.name,
        row.created_at_ms,
        row.expires_at_ms,
    ];
    match transaction.execute(sql, values) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::Exists { id: row.id.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether this is a key of an administrator that works, and there is no other.
fn is_last_admin(transaction: &Transaction<'_>, id: &KeyId, at_ms: i64) -> Result<bool, StoreError> {
    let sql = "SELECT id = ? FROM keys WHERE role = 'admin' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)
        ORDER BY 1 LIMIT 1";
    // Others sort before it.
    Ok(transaction
        .sql(sql)?
        .query_row(params![id.as_str(), at_ms], |row| row.get(0))
        .optional()?
        .unwrap_or(false))
}

/// Every key that is not revoked, in memory.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    held: RwLock<HashMap<String, Arc<Held>>>,
    /// Whether there ever was one; revoked ones are not held.
    ever: AtomicBool,
}

/// A key in memory.
struct Held {
    row: KeyRow,
    secret_sha256: [u8; 32],
    /// When its use was last written down.
    touched_at_ms: AtomicI64,
}

impl Held {
    fn is_live(&self, now_ms: i64) -> bool {
        self.row.expires_at_ms.is_none_or(|expires| now_ms < expires)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("row", &self.row).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads all keys.
    pub fn load(db: &Connection) -> Result<Self, StoreError> {
        let keyring = Self::default();
        let sql = format!("SELECT {COLUMNS}, secret_sha256 FROM keys WHERE revoked_at IS NULL");
        let mut statement = db.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            keyring.put(row(found)?, found.get(8)?);
        }
        let ever = db.query_row("SELECT EXISTS (SELECT 1 FROM keys)", [], |row| row.get(0))?;
        keyring.ever.store(ever, Ordering::Relaxed);
        Ok(keyring)
    }

    fn put(&self, row: KeyRow, secret_sha256: [u8; 32]) {
        let touched_at_ms = AtomicI64::new(row.last_used_at_ms.unwrap_or(i64::MIN));
        let id = row.id.as_str().to_owned();
        let held = Arc::new(Held { row, secret_sha256, touched_at_ms });
        self.ever.store(true, Ordering::Relaxed);
        // An insertion cannot be left half done, so a panic elsewhere does not spoil the map.
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(id, held);
    }

    fn remove(&self, id: &KeyId) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).remove(id.as_str());
    }

    fn get(&self, id: &str) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn any(&self, holds: impl Fn(&Held) -> bool) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).values().any(|held| holds(held))
    }
}

const COLUMNS: &str = "id, tenant, role, name, created_at, last_used_at, expires_at, revoked_at";

impl Reader {
    /// Keys of the scope, newest first, revoked and expired ones too.
    pub fn keys(&self, scope: &Scope, page: &Page) -> Result<Listed<KeyRow>, StoreError> {
        let before = page.cursor.as_ref().map(|cursor| (cursor.number, cursor.word.as_str())).unzip();
        self.read("list keys", |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM keys WHERE (?1 IS NULL OR tenant = ?1)
                AND (?2 IS NULL OR (created_at, id) < (?2, ?3)) ORDER BY created_at DESC, id DESC LIMIT ?4"
            );
            let limit = page.rows();
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query(params![scope.tenant(), before.0, before.1, limit as i64 + 1])?;
            let place = |row: &KeyRow| Cursor { number: row.created_at_ms, word: row.id.0.clone() };
            crate::page::collect(rows, limit, row, place)
        })
    }
}

fn row(row: &Row<'_>) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        id: KeyId(row.get(0)?),
        tenant: from_word(row.get(1)?, "the tenant of a key")?,
        role: from_word(row.get(2)?, "the role of a key")?,
        name: row.get(3)?,
        created_at_ms: row.get(4)?,
        last_used_at_ms: row.get(5)?,
        expires_at_ms: row.get(6)?,
        revoked_at_ms: row.get(7)?,
    })
}
