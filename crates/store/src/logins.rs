//! Logins of the console, so that they outlive the process. What a login's cookie says is known here by its SHA-256 alone, which suffices because
//! nobody can guess 256 bits. Whether its key still holds is asked of the keys with each request, not of here.

use crate::columns::{from_word, word};
use crate::keys::{KeyId, Role};
use crate::limits::LOGINS_MAX;
use crate::writer::Write;
use crate::{Reader, Store, StoreError};
use model::TenantId;
use rusqlite::params;

/// A login that was made with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRow {
    /// The key.
    pub key: KeyId,
    /// Whose that is.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
    /// When it was made, milliseconds since 1970.
    pub since_ms: i64,
    /// When it was last used.
    pub used_ms: i64,
}

impl Store {
    /// Keeps a login. The oldest goes for one beyond [`LOGINS_MAX`].
    pub fn put_login(&self, secret_sha256: [u8; 32], login: LoginRow) -> Write<()> {
        self.write("keep a login", move |transaction| {
            let sql =
                "INSERT INTO logins (secret_sha256, key, tenant, role, since, used) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (secret_sha256) DO NOTHING";
            let role = word(&login.role);
            let row = params![
                secret_sha256,
                login.key.as_str(),
                login.tenant.as_str(),
                role,
                login.since_ms,
                login.used_ms
            ];
            transaction.execute(sql, row)?;
            let sql = "DELETE FROM logins WHERE secret_sha256 IN
                (SELECT secret_sha256 FROM logins ORDER BY used DESC LIMIT -1 OFFSET ?)";
            transaction.execute(sql, [LOGINS_MAX as i64]).map(drop).map_err(StoreError::from)
        })
    }

    /// Says that a login was used; of one that is not kept nothing.
    pub fn touch_login(&self, secret_sha256: [u8; 32], used_ms: i64) -> Write<()> {
        self.write("note the use of a login", move |transaction| {
            let sql = "UPDATE logins SET used = ? WHERE secret_sha256 = ?";
            transaction.execute(sql, params![used_ms, secret_sha256]).map(drop).map_err(StoreError::from)
        })
    }

    /// Forgets logins.
    pub fn end_logins(&self, secrets_sha256: Vec<[u8; 32]>) -> Write<()> {
        self.write("forget logins", move |transaction| {
            for secret in &secrets_sha256 {
                transaction.execute("DELETE FROM logins WHERE secret_sha256 = ?", [secret])?;
            }
            Ok(())
        })
    }
}

impl Reader {
    /// All logins that are kept, ended ones too.
    pub fn logins(&self) -> Result<Vec<([u8; 32], LoginRow)>, StoreError> {
        self.read("read logins", |db| {
            let mut statement =
                db.prepare_cached("SELECT secret_sha256, key, tenant, role, since, used FROM logins")?;
            let mut rows = statement.query([])?;
            let mut logins = Vec::new();
            while let Some(row) = rows.next()? {
                let login = LoginRow {
                    key: KeyId(row.get(1)?),
                    tenant: from_word(row.get(2)?, "a login")?,
                    role: from_word(row.get(3)?, "a login")?,
                    since_ms: row.get(4)?,
                    used_ms: row.get(5)?,
                };
                logins.push((row.get(0)?, login));
            }
            Ok(logins)
        })
    }
}
