//! Secrets of tenants, as whoever sealed them gave them: nothing here can open one.

use crate::columns::{from_json, from_word};
use crate::limits::{SECRET_BYTES_MAX, SECRETS_MAX};
use crate::writer::Write;
use crate::{Actor, NewAudit, Reader, Store, StoreError, audit, tenants};
use model::TenantId;
use rusqlite::{Row, params};
use serde_json::json;

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// The variable that stands for it.
    pub name: String,
    /// Where it may go, `HOST:PORT`.
    pub hosts: Vec<String>,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
    /// When it was first kept, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When its value or its hosts were last set.
    pub changed_at_ms: i64,
}

impl Store {
    /// Keeps a secret in place of one of the same name, which it may be. Returns whether it is a new one. Audited, without its value.
    ///
    /// Fails with [`StoreError::TooLong`] beyond [`SECRETS_MAX`] of a tenant.
    pub fn put_secret(&self, row: SecretRow, by: Actor) -> Write<bool> {
        if row.sealed.len() > SECRET_BYTES_MAX {
            let error = StoreError::TooLong { what: "secret", max: SECRET_BYTES_MAX as u64 };
            return Write::refused(self, error);
        }
        self.write("keep a secret", move |transaction| {
            tenants::ensure(transaction, &row.tenant, row.changed_at_ms)?;
            let (tenant, hosts) = (row.tenant.as_str(), json!(row.hosts).to_string());
            let sql = "SELECT count(*), ifnull(max(name = ?2), 0) FROM secrets WHERE tenant = ?1";
            let (number, is_there): (i64, bool) = transaction
                .sql(sql)?
                .query_row(params![tenant, row.name], |found| Ok((found.get(0)?, found.get(1)?)))?;
            if number >= SECRETS_MAX as i64 && !is_there {
                return Err(StoreError::TooLong { what: "list of secrets", max: SECRETS_MAX as u64 });
            }
            let sql = "INSERT INTO secrets (tenant, name, hosts, sealed, created_at, changed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
                ON CONFLICT DO UPDATE SET hosts = ?3, sealed = ?4, changed_at = ?5";
            transaction.execute(sql, params![tenant, row.name, hosts, row.sealed, row.changed_at_ms])?;
            let act = NewAudit {
                at_ms: row.changed_at_ms,
                actor: by.clone(),
                tenant: Some(row.tenant.clone()),
                action: "secret.set".to_owned(),
                object: row.name.clone(),
                detail: json!({ "hosts": row.hosts }),
            };
            audit::append(transaction, &act)?;
            Ok(!is_there)
        })
    }

    /// Forgets a secret. Fails with [`StoreError::NotFound`] if there is none of that name. Audited.
    pub fn remove_secret(&self, tenant: &TenantId, name: &str, by: Actor, at_ms: i64) -> Write<()> {
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.write("forget a secret", move |transaction| {
            let sql = "DELETE FROM secrets WHERE tenant = ? AND name = ?";
            if transaction.execute(sql, params![tenant.as_str(), name])? == 0 {
                return Err(StoreError::NotFound);
            }
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(tenant.clone()),
                action: "secret.remove".to_owned(),
                object: name.clone(),
                detail: json!(null),
            };
            audit::append(transaction, &act).map(drop)
        })
    }
}

impl Reader {
    /// Every secret of every tenant, by tenant and name.
    pub fn secrets(&self) -> Result<Vec<SecretRow>, StoreError> {
        self.read("list secrets", |connection| {
            let sql = "SELECT tenant, name, hosts, sealed, created_at, changed_at FROM secrets ORDER BY tenant, name";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| Ok(of_row(row)))?;
            rows.map(|row| row.map_err(StoreError::from).flatten()).collect()
        })
    }
}

fn of_row(row: &Row<'_>) -> Result<SecretRow, StoreError> {
    let hosts: String = row.get(2)?;
    Ok(SecretRow {
        tenant: from_word(row.get(0)?, "the tenant of a secret")?,
        name: row.get(1)?,
        hosts: from_json(&hosts, "the hosts of a secret")?,
        sealed: row.get(3)?,
        created_at_ms: row.get(4)?,
        changed_at_ms: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use crate::{Actor, Options, Reader, SecretRow, Store, StoreError};
    use model::TenantId;

    fn row(tenant: &str, name: &str, sealed: &[u8], at_ms: i64) -> SecretRow {
        SecretRow {
            tenant: tenant.parse().unwrap(),
            name: name.to_owned(),
            hosts: vec!["a.test:443".to_owned()],
            sealed: sealed.to_vec(),
            created_at_ms: at_ms,
            changed_at_ms: at_ms,
        }
    }

    #[test]
    fn they_are_kept_replaced_and_forgotten_each_for_its_tenant() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path(), Options::default()).unwrap();
        assert!(store.put_secret(row("a", "KEY", b"one", 1), Actor::Service).wait().unwrap());
        assert!(store.put_secret(row("b", "KEY", b"two", 2), Actor::Service).wait().unwrap());
        assert!(!store.put_secret(row("a", "KEY", b"three", 3), Actor::Service).wait().unwrap());
        let kept = Reader::open(place.path()).unwrap().secrets().unwrap();
        assert_eq!(
            kept,
            [SecretRow { created_at_ms: 1, ..row("a", "KEY", b"three", 3) }, row("b", "KEY", b"two", 2)]
        );
        let a: TenantId = "a".parse().unwrap();
        store.remove_secret(&a, "KEY", Actor::Service, 4).wait().unwrap();
        let gone = store.remove_secret(&a, "KEY", Actor::Service, 5).wait();
        assert!(matches!(gone, Err(StoreError::NotFound)), "{gone:?}");
        assert_eq!(Reader::open(place.path()).unwrap().secrets().unwrap().len(), 1);
    }

    #[test]
    fn a_tenant_has_so_many_at_most() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path(), Options::default()).unwrap();
        for number in 0..crate::limits::SECRETS_MAX {
            store.put_secret(row("a", &format!("KEY_{number}"), b"x", 1), Actor::Service).wait().unwrap();
        }
        let many = store.put_secret(row("a", "MORE", b"x", 1), Actor::Service).wait();
        assert!(matches!(many, Err(StoreError::TooLong { .. })), "{many:?}");
        store.put_secret(row("a", "KEY_0", b"y", 2), Actor::Service).wait().unwrap();
        let long = store.put_secret(row("b", "LONG", &vec![0; 1 << 20], 1), Actor::Service).wait();
        assert!(matches!(long, Err(StoreError::TooLong { .. })), "{long:?}");
    }
}
