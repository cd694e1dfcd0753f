//! Sessions: opened, ended, found again. What runs in them is in [`crate::runs`].

use crate::columns::{Conditions, at_most, count as whole, from_word, moment};
use crate::limits::IDEMPOTENCY_MS;
use crate::limits::{DETAIL_BYTES_MAX, NAME_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::writer::Write;
use crate::{
    Actor, Cursor, Idempotency, Listed, NewAudit, Page, Reader, Scope, Store, StoreError, audit, traces,
};
use model::{RunId, SessionId, TenantId};
use rusqlite::{ErrorCode, OptionalExtension, Row, params, params_from_iter};
use serde_json::json;

/// A session as it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// Made by the caller, of random bytes.
    pub id: SessionId,
    /// Who owns it.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// When it was opened, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What was asked, JSON text.
    pub request: String,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnd {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Why, in one word.
    pub why: String,
    /// More, for people.
    pub detail: String,
    /// Until when its files are kept; `None` if there are none.
    pub files_until_ms: Option<i64>,
    /// What they take on the disk.
    pub files_bytes: u64,
}

/// A session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// This session.
    pub id: SessionId,
    /// Who owns it.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// When it was opened, milliseconds since 1970.
    pub created_at_ms: i64,
    /// What was asked, JSON text.
    pub request: String,
    /// How it ended, if it has.
    pub end: Option<SessionEnd>,
}

/// How many runs of a session there are, by where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Waiting.
    pub queued: u64,
    /// On their way.
    pub running: u64,
    /// Settled as completed.
    pub completed: u64,
    /// Settled as anything else.
    pub failed: u64,
}

impl Store {
    /// Records a session. Fails with [`StoreError::Exists`] if the id is taken. Audited.
    pub fn open_session(&self, session: NewSession, by: Actor) -> Write<()> {
        let checked = at_most("name of a session", &session.name, NAME_BYTES_MAX)
            .and_then(|()| at_most("request", &session.request, REQUEST_BYTES_MAX))
            .and_then(|()| moment(session.created_at_ms));
        if let Err(error) = checked {
            return Write::refused(self, error);
        }
        self.write("open a session", move |transaction| {
            let NewSession { id, tenant, name, created_at_ms, request } = &session;
            let sql = "INSERT INTO sessions (id, tenant, name, created_at, request) VALUES (?, ?, ?, ?, ?)";
            let row = params![id.as_str(), tenant.as_str(), name, created_at_ms, request];
            match transaction.execute(sql, row) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Err(StoreError::Exists { id: id.to_string() });
                }
                other => other?,
            };
            let act = NewAudit {
                at_ms: *created_at_ms,
                actor: by.clone(),
                tenant: Some(tenant.clone()),
                action: "session.open".to_owned(),
                object: id.to_string(),
                detail: json!({ "name": name }),
            };
            audit::append(transaction, &act).map(drop)
        })
    }

    /// Records that a session is open again, which may have been here before: then its end is forgotten. Audited.
    pub fn reopen_session(&self, session: NewSession, at_ms: i64, by: Actor) -> Write<()> {
        let checked = at_most("name of a session", &session.name, NAME_BYTES_MAX)
            .and_then(|()| at_most("request", &session.request, REQUEST_BYTES_MAX))
            .and_then(|()| moment(session.created_at_ms))
            .and_then(|()| moment(at_ms));
        if let Err(error) = checked {
            return Write::refused(self, error);
        }
        self.write("reopen a session", move |transaction| {
            let NewSession { id, tenant, name, created_at_ms, request } = &session;
            let sql = "INSERT INTO sessions (id, tenant, name, created_at, request) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET ended_at = NULL, why = NULL, detail = NULL, files_until = NULL, files_bytes = 0
                WHERE tenant = excluded.tenant RETURNING tenant";
            let row = params![id.as_str(), tenant.as_str(), name, created_at_ms, request];
            let found: Option<String> = transaction.sql(sql)?.query_row(row, |row| row.get(0)).optional()?;
            if found.is_none() {
                return Err(StoreError::Exists { id: id.to_string() });
            }
            let act = NewAudit {
                at_ms,
                actor: by.clone(),
                tenant: Some(tenant.clone()),
                action: "session.reopen".to_owned(),
                object: id.to_string(),
                detail: json!({ "name": name }),
            };
            audit::append(transaction, &act).map(drop)
        })
    }

    /// Records the end of a session. Fails with [`StoreError::AlreadySettled`] if it has one. Audited.
    pub fn end_session(&self, id: &SessionId, end: SessionEnd, by: Actor) -> Write<()> {
        let checked = at_most("end of a session", &end.detail, DETAIL_BYTES_MAX)
            .and_then(|()| at_most("end of a session", &end.why, NAME_BYTES_MAX))
            .and_then(|()| moment(end.at_ms));
        if let Err(error) = checked {
            return Write::refused(self, error);
        }
        let id = id.clone();
        self.write("end a session", move |transaction| {
            let sql =
                "UPDATE sessions SET ended_at = ?, why = ?, detail = ?, files_until = ?, files_bytes = ?
                WHERE id = ? AND ended_at IS NULL RETURNING tenant";
            let bytes = i64::try_from(end.files_bytes).unwrap_or(i64::MAX);
            let row = params![end.at_ms, end.why, end.detail, end.files_until_ms, bytes, id.as_str()];
            let tenant: Option<String> = transaction.sql(sql)?.query_row(row, |row| row.get(0)).optional()?;
            let tenant = tenant.ok_or(StoreError::AlreadySettled)?;
            let act = NewAudit {
                at_ms: end.at_ms,
                actor: by.clone(),
                tenant: Some(from_word(tenant, "the tenant of a session")?),
                action: "session.end".to_owned(),
                object: id.to_string(),
                detail: json!({ "why": end.why, "detail": end.detail }),
            };
            audit::append(transaction, &act).map(drop)
        })
    }

    /// Takes note that the files of an ended session are gone.
    pub fn forget_session_files(&self, id: &SessionId) -> Write<()> {
        let id = id.clone();
        self.write("forget a session's files", move |transaction| {
            let sql = "UPDATE sessions SET files_until = NULL, files_bytes = 0 WHERE id = ?";
            transaction.execute(sql, [id.as_str()]).map(drop).map_err(StoreError::from)
        })
    }

    /// Removes the records of sessions that ended before `oldest_ms`, have no files and no runs any more: at most `limit`. Returns how
    /// many.
    pub fn remove_sessions(&self, oldest_ms: i64, limit: u32) -> Write<usize> {
        self.write("remove old sessions", move |transaction| {
            let sql = "DELETE FROM sessions WHERE seq IN (SELECT seq FROM sessions WHERE ended_at < ?
                AND files_until IS NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE session = sessions.id) LIMIT ?) RETURNING id";
            let mut statement = transaction.sql(sql)?;
            let removed = statement.query_map(params![oldest_ms, limit], |row| row.get(0))?;
            let removed: Vec<String> = removed.collect::<Result<_, _>>()?;
            removed.iter().try_for_each(|id| traces::write::forget(transaction, id))?;
            Ok(removed.len())
        })
    }
}

const COLUMNS: &str =
    "id, tenant, name, created_at, request, ended_at, why, detail, files_until, files_bytes";

impl Reader {
    /// One session.
    pub fn session(&self, scope: &Scope, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.read("read a session", |db| {
            let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)");
            let mut statement = db.prepare_cached(&sql)?;
            let found = statement.query_row(params![id.as_str(), scope.tenant()], |found| Ok(row(found)));
            found.optional()?.transpose()
        })
    }

    /// Sessions, newest first; only those that are open, or only those that have ended, if that is said.
    pub fn sessions(
        &self,
        scope: &Scope,
        open: Option<bool>,
        page: &Page,
    ) -> Result<Listed<SessionRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equal("tenant", scope.tenant().map(str::to_owned));
        conditions.and_if("(ended_at IS NULL) = ?", open.map(i64::from));
        conditions.beyond("(created_at, id) < (?, ?)", page.cursor.as_ref());
        self.read("list sessions", |db| {
            let limit = page.rows();
            let sql = format!(
                "SELECT {COLUMNS} FROM sessions{} ORDER BY created_at DESC, id DESC LIMIT {}",
                conditions.sql(),
                limit + 1
            );
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query(params_from_iter(&conditions.values))?;
            let place =
                |row: &SessionRow| Cursor { number: row.created_at_ms, word: row.id.as_str().to_owned() };
            crate::page::collect(rows, limit, row, place)
        })
    }

    /// How many runs of a session there are.
    pub fn session_counts(&self, id: &SessionId) -> Result<SessionCounts, StoreError> {
        self.read("count a session's runs", |db| {
            let sql =
                "SELECT state, outcome = 'completed', count(*) FROM runs WHERE session = ? GROUP BY 1, 2";
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query([id.as_str()])?;
            let mut counts = SessionCounts::default();
            while let Some(row) = rows.next()? {
                let (state, completed): (String, Option<bool>) = (row.get(0)?, row.get(1)?);
                let number = whole(row.get(2)?);
                match (state.as_str(), completed) {
                    ("queued", _) => counts.queued += number,
                    ("running", _) => counts.running += number,
                    (_, Some(true)) => counts.completed += number,
                    _ => counts.failed += number,
                }
            }
            Ok(counts)
        })
    }

    /// What the files of all ended sessions take on the disk.
    pub fn session_files_bytes(&self) -> Result<u64, StoreError> {
        self.read("add up the files of sessions", |db| {
            // As a float it cannot overflow; it is exact far beyond any disk.
            let sql =
                "SELECT CAST(total(files_bytes) AS INTEGER) FROM sessions WHERE files_until IS NOT NULL";
            Ok(whole(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
        })
    }

    /// The run that a key stands for; `None` if there is none, or it stands for another request.
    pub fn run_of_key(
        &self,
        tenant: &TenantId,
        idempotency: &Idempotency,
        now_ms: i64,
    ) -> Result<Option<RunId>, StoreError> {
        self.read("find a run by its key", |db| {
            let sql = "SELECT object FROM idempotency WHERE tenant = ? AND key = ? AND body_sha256 = ? AND created_at > ?";
            let oldest = now_ms.saturating_sub(IDEMPOTENCY_MS);
            let row = params![tenant.as_str(), idempotency.key, idempotency.body_sha256, oldest];
            let found = db.prepare_cached(sql)?.query_row(row, |row| row.get::<_, String>(0)).optional()?;
            Ok(found.and_then(|id| id.parse().ok()))
        })
    }

    /// Ended sessions whose files are kept no longer than until `at_ms`: at most `limit`.
    pub fn sessions_to_clear(&self, at_ms: i64, limit: u32) -> Result<Vec<SessionId>, StoreError> {
        self.read("find sessions with old files", |db| {
            let sql = "SELECT id FROM sessions WHERE files_until <= ? ORDER BY files_until LIMIT ?";
            let mut statement = db.prepare_cached(sql)?;
            let rows = statement.query_map(params![at_ms, limit], |row| row.get::<_, String>(0))?;
            rows.map(|id| from_word(id?, "the id of a session")).collect()
        })
    }
}

fn row(row: &Row<'_>) -> Result<SessionRow, StoreError> {
    let ended: Option<i64> = row.get(5)?;
    let end = match ended {
        Some(at_ms) => Some(SessionEnd {
            at_ms,
            why: row.get(6)?,
            detail: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
            files_until_ms: row.get(8)?,
            files_bytes: whole(row.get(9)?),
        }),
        None => None,
    };
    Ok(SessionRow {
        id: from_word(row.get(0)?, "the id of a session")?,
        tenant: from_word(row.get(1)?, "the tenant of a session")?,
        name: row.get(2)?,
        created_at_ms: row.get(3)?,
        request: row.get(4)?,
        end,
    })
}
