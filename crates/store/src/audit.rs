//! The audit log: who did what, when, to whose thing. Rows are never changed, and each carries a hash of all before it.
//!
//! Triggers refuse changes by mistake. Whoever writes to the file can drop them; then the chain of hashes shows the first row
//! that is not what was written. Only who rewrites every row from there on, and finds no copy of a later head, goes unnoticed.

use crate::blobs::hex;
use crate::columns::{Conditions, at_most, count, from_json, from_word, to_json};
use crate::limits::{DETAIL_BYTES_MAX, NAME_BYTES_MAX};
use crate::writer::{Transaction, Write};
use crate::{Cursor, KeyId, Listed, Page, Reader, Scope, Store, StoreError};
use model::TenantId;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a key.
    Key(KeyId),
    /// The person at this machine: `local`.
    Local,
    /// The service by itself: `service`.
    Service,
}

/// An act to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: Actor,
    /// Whose thing; absent for the service's own.
    pub tenant: Option<TenantId>,
    /// What was done, a noun and a verb: `key.create`.
    pub action: String,
    /// To what: an id, or empty.
    pub object: String,
    /// More about it; `null` for nothing.
    pub detail: Value,
}

/// A recorded act.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Its place in the log, from 1.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who: a key's id, `local` or `service`.
    pub actor: String,
    /// Whose thing.
    pub tenant: Option<TenantId>,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// More about it.
    pub detail: Value,
    /// SHA-256 of the hash before and this row, in hex.
    pub hash: String,
}

/// Which acts of a scope are listed: those that match all that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// With this action.
    pub action: Option<String>,
    /// By this actor, as [`AuditRow::actor`] spells it.
    pub actor: Option<String>,
    /// To this object.
    pub object: Option<String>,
    /// At this time or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
}

/// What [`crate::Reader::verify_audit`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row follows from the one before.
    Whole {
        /// How many rows there are.
        rows: u64,
        /// The last hash, in hex: kept elsewhere, it proves later that nothing before was rewritten.
        head: String,
    },
    /// A row is not what was written.
    Broken {
        /// The first such row.
        seq: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Local => f.write_str("local"),
            Self::Service => f.write_str("service"),
        }
    }
}

impl Store {
    /// Records an act, and returns its place in the log. What the store itself audits needs no second record.
    pub fn audit(&self, act: NewAudit) -> Write<u64> {
        self.write("write the audit log", move |transaction| append(transaction, &act))
    }
}

/// Records an act in the transaction that does it.
pub(crate) fn append(transaction: &Transaction<'_>, act: &NewAudit) -> Result<u64, StoreError> {
    at_most("action", &act.action, NAME_BYTES_MAX)?;
    at_most("object", &act.object, NAME_BYTES_MAX)?;
    let link = Link {
        seq: 0,
        at_ms: act.at_ms,
        actor: act.actor.to_string(),
        tenant: act.tenant.as_ref().map(ToString::to_string),
        action: act.action.clone(),
        object: act.object.clone(),
        detail: to_json(&act.detail, "detail", DETAIL_BYTES_MAX)?,
    };
    let last = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?));
    let last = transaction.sql(last)?.query_row([], read).optional()?;
    let (seq, before) = match last {
        Some(last) => last,
        None => transaction.sql("SELECT seq, hash FROM audit_anchor")?.query_row([], read)?,
    };
    let link = Link { seq: seq.saturating_add(1), ..link };
    let sql = "INSERT INTO audit (seq, at, actor, tenant, action, object, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let hash = link.hash(&before);
    let row =
        params![link.seq, link.at_ms, link.actor, link.tenant, link.action, link.object, link.detail, hash];
    transaction.execute(sql, row)?;
    Ok(count(link.seq))
}

/// Removes rows older than `oldest_ms`, at most `limit`, and records that. Returns how many, and whether there are more.
pub(crate) fn prune(
    transaction: &Transaction<'_>,
    oldest_ms: i64,
    now_ms: i64,
    limit: usize,
) -> Result<(u64, bool), StoreError> {
    let sql = "SELECT seq, at, hash FROM audit ORDER BY seq LIMIT ?";
    let mut statement = transaction.sql(sql)?;
    let mut rows = statement.query([limit as i64 + 1])?;
    let (mut last, mut removed) = (None, 0);
    // The log stays without gaps: the first young row ends it, whatever the clock said later.
    let more = loop {
        let Some(row) = rows.next()? else { break false };
        if row.get::<_, i64>(1)? >= oldest_ms {
            break false;
        }
        if removed == limit {
            break true;
        }
        last = Some((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(2)?));
        removed += 1;
    };
    drop(rows);
    let Some((seq, hash)) = last else { return Ok((0, false)) };
    let act = NewAudit {
        at_ms: now_ms,
        actor: Actor::Service,
        tenant: None,
        action: "audit.prune".to_owned(),
        object: String::new(),
        detail: json!({"rows": removed, "through": seq, "hash": hex(&hash)}),
    };
    append(transaction, &act)?;
    transaction.execute("UPDATE audit_anchor SET seq = ?, hash = ?", params![seq, hash])?;
    transaction.execute("DELETE FROM audit WHERE seq <= ?", [seq])?;
    Ok((removed as u64, more))
}

/// A row without its hash, as it is hashed.
struct Link {
    seq: i64,
    at_ms: i64,
    actor: String,
    tenant: Option<String>,
    action: String,
    object: String,
    detail: String,
}

impl Link {
    /// SHA-256 of the hash before and of the row: numbers of eight bytes, then each text with its length before it.
    fn hash(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(before);
        hash.update(self.seq.to_be_bytes());
        hash.update(self.at_ms.to_be_bytes());
        // No tenant has an empty name, so an absent one is told apart.
        let tenant = self.tenant.as_deref().unwrap_or_default();
        for text in [&self.actor, tenant, &self.action, &self.object, &self.detail] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().into()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            at_ms: row.get(1)?,
            actor: row.get(2)?,
            tenant: row.get(3)?,
            action: row.get(4)?,
            object: row.get(5)?,
            detail: row.get(6)?,
        })
    }
}

const COLUMNS: &str = "seq, at, actor, tenant, action, object, detail, hash";

impl Reader {
    /// Acts of the scope that match, newest first.
    pub fn audit(
        &self,
        scope: &Scope,
        filter: &AuditFilter,
        page: &Page,
    ) -> Result<Listed<AuditRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equal("tenant", scope.tenant().map(str::to_owned));
        conditions.equal("action", filter.action.clone());
        conditions.equal("actor", filter.actor.clone());
        conditions.equal("object", filter.object.clone());
        let bounds = [
            ("at >= ?", filter.since_ms),
            ("at < ?", filter.until_ms),
            ("seq < ?", page.cursor.as_ref().map(|cursor| cursor.number)),
        ];
        for (condition, bound) in bounds {
            conditions.and_if(condition, bound);
        }
        let limit = page.rows();
        self.read("list the audit log", |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM audit{} ORDER BY seq DESC LIMIT {}",
                conditions.sql(),
                limit + 1
            );
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query(params_from_iter(&conditions.values))?;
            let place = |row: &AuditRow| Cursor {
                number: i64::try_from(row.seq).unwrap_or(i64::MAX),
                word: String::new(),
            };
            crate::page::collect(rows, limit, row, place)
        })
    }

    /// Follows the chain of hashes from its beginning, or from what retention left of it. Reads every row.
    pub fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        self.read("verify the audit log", verify)
    }
}

fn verify(db: &Connection) -> Result<AuditVerdict, StoreError> {
    let broken = |seq: i64, why| Ok(AuditVerdict::Broken { seq: count(seq), why });
    let anchor = db.query_row("SELECT seq, hash FROM audit_anchor", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?))
    });
    let Some((mut last, mut hash)) = anchor.optional()? else {
        return broken(0, "what the log begins with is missing");
    };
    let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    let mut number = 0;
    while let Some(row) = rows.next()? {
        let link = Link::read(row)?;
        if link.seq != last.saturating_add(1) {
            return broken(link.seq, "rows before it are missing");
        }
        hash = link.hash(&hash);
        // A hash of another length was edited too.
        if row.get_ref(7)?.as_blob_or_null().ok().flatten() != Some(&hash[..]) {
            return broken(link.seq, "its hash does not follow from it and the row before");
        }
        last = link.seq;
        number += 1;
    }
    // SQLite remembers the highest number it ever gave (autoinc.html).
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'audit'";
    let highest: Option<i64> = db.query_row(sql, [], |row| row.get(0)).optional()?;
    if highest.is_some_and(|highest| highest > last) {
        return broken(last.saturating_add(1), "it and what follows are missing");
    }
    Ok(AuditVerdict::Whole { rows: number, head: hex(&hash) })
}

fn row(row: &Row<'_>) -> Result<AuditRow, StoreError> {
    let link = Link::read(row)?;
    Ok(AuditRow {
        seq: count(link.seq),
        at_ms: link.at_ms,
        actor: link.actor,
        tenant: link.tenant.map(|tenant| from_word(tenant, "the tenant of an act")).transpose()?,
        action: link.action,
        object: link.object,
        detail: from_json(&link.detail, "the detail of an act")?,
        hash: hex(&row.get::<_, Vec<u8>>(7)?),
    })
}
