//! Tenants and how much each may use.

use crate::columns::{from_json, from_word, to_json};
use crate::limits::DETAIL_BYTES_MAX;
use crate::writer::{Transaction, Write};
use crate::{Actor, Cursor, Listed, NewAudit, Page, Reader, Store, StoreError, audit};
use model::{CheckPatch, LimitsPatch, TenantId};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRow {
    /// Its name.
    pub id: TenantId,
    /// When it was first named, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What it may use.
    pub quota: Quota,
}

/// What a tenant may use; absent is the service's own default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// The most that one run may ask for; narrows the service's ceiling.
    pub ceiling: LimitsPatch,
    /// Runs in sandboxes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Runs that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_minute: Option<u32>,
    /// What is said of the check of its runs, over the service's own.
    #[serde(skip_serializing_if = "CheckPatch::is_empty")]
    pub check: CheckPatch,
}

impl Store {
    /// Makes a tenant, or gives it another quota.
    pub fn put_tenant(&self, id: TenantId, quota: Quota, by: Actor, at_ms: i64) -> Write<()> {
        let text = match to_json(&quota, "quota", DETAIL_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => return Write::refused(self, error),
        };
        self.write("put a tenant", move |transaction| {
            let sql = "INSERT INTO tenants (id, created_at, quota) VALUES (?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET quota = excluded.quota";
            transaction.execute(sql, params![id.as_str(), at_ms, text])?;
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(id.clone()),
                action: "tenant.put".to_owned(),
                object: id.to_string(),
                detail: json!(quota),
            };
            audit::append(transaction, &act).map(drop)
        })
    }
}

/// Makes a tenant without a quota, if it is not there.
pub(crate) fn ensure(transaction: &Transaction<'_>, id: &TenantId, at_ms: i64) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO tenants (id, created_at, quota) VALUES (?, ?, '{}')";
    transaction.execute(sql, params![id.as_str(), at_ms])?;
    Ok(())
}

impl Reader {
    /// One tenant, if it was ever named by a key or a quota.
    pub fn tenant(&self, id: &TenantId) -> Result<Option<TenantRow>, StoreError> {
        self.read("read a tenant", |db| {
            let mut statement =
                db.prepare_cached("SELECT id, created_at, quota FROM tenants WHERE id = ?")?;
            let found = statement.query_row([id.as_str()], |found| Ok(row(found))).optional()?;
            found.transpose()
        })
    }

    /// All tenants, by name.
    pub fn tenants(&self, page: &Page) -> Result<Listed<TenantRow>, StoreError> {
        let after = page.cursor.as_ref().map_or("", |cursor| cursor.word.as_str());
        self.read("list tenants", |db| {
            let sql = "SELECT id, created_at, quota FROM tenants WHERE id > ? ORDER BY id LIMIT ?";
            let limit = page.rows();
            let mut statement = db.prepare_cached(sql)?;
            let rows = statement.query(params![after, limit as i64 + 1])?;
            let place = |row: &TenantRow| Cursor { number: 0, word: row.id.as_str().to_owned() };
            crate::page::collect(rows, limit, row, place)
        })
    }
}

fn row(row: &Row<'_>) -> Result<TenantRow, StoreError> {
    Ok(TenantRow {
        id: from_word(row.get(0)?, "the name of a tenant")?,
        created_at_ms: row.get(1)?,
        quota: from_json(&row.get::<_, String>(2)?, "the quota of a tenant")?,
    })
}
