//! Files that runs left behind: rows here, contents in [`crate::blobs`].

use crate::blobs::hex;
use crate::columns::{at_most, count, int};
use crate::limits::NAME_BYTES_MAX;
use crate::writer::{After, Transaction};
use crate::{Reader, Scope, Staged, StoreError, runs};
use model::RunId;
use model::limits::{ARTIFACTS_MAX, PATH_BYTES_MAX};
use rusqlite::{OptionalExtension, Row, params};
use std::fs::File;

/// A file to be kept with a run. Its content is on disk already, staged.
#[derive(Debug)]
pub struct NewArtifact {
    /// Where it lay, relative to the workspace.
    pub path: String,
    /// A guess by its name.
    pub mime: String,
    /// Its content.
    pub content: Staged,
}

/// A kept file, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Where it lay, relative to the workspace.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// A guess by its name.
    pub mime: String,
}

const COLUMNS: &str = "path, bytes, sha256, mime";

impl Reader {
    /// The artifacts of a run by path; none if it is not in the scope.
    pub fn artifacts(&self, scope: &Scope, id: &RunId) -> Result<Vec<ArtifactRow>, StoreError> {
        self.read("list artifacts", |db| {
            let Some(run) = runs::read::seq(db, scope, id)? else { return Ok(Vec::new()) };
            let sql = format!("SELECT {COLUMNS} FROM artifacts WHERE run = ? ORDER BY path");
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map([run], |found| row(found).map(|(row, _)| row))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One artifact with its content, to be read from the beginning. The file stays readable when the run is deleted meanwhile.
    pub fn artifact(
        &self,
        scope: &Scope,
        id: &RunId,
        path: &str,
    ) -> Result<Option<(ArtifactRow, File)>, StoreError> {
        let find = || {
            self.read("read an artifact", |db| {
                let Some(run) = runs::read::seq(db, scope, id)? else { return Ok(None) };
                let sql = format!("SELECT {COLUMNS} FROM artifacts WHERE run = ? AND path = ?");
                let mut statement = db.prepare_cached(&sql)?;
                Ok(statement.query_row(params![run, path], row).optional()?)
            })
        };
        let Some((row, sha256)) = find()? else { return Ok(None) };
        match self.blobs().read(&sha256) {
            Ok(file) => Ok(Some((row, file))),
            // The content goes after the row: if the run was deleted between the two looks, the row is gone too by now.
            Err(error) => find()?.map_or(Ok(None), |_| Err(error)),
        }
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<(ArtifactRow, [u8; 32])> {
    let sha256: [u8; 32] = row.get(2)?;
    let found =
        ArtifactRow { path: row.get(0)?, bytes: count(row.get(1)?), sha256: hex(&sha256), mime: row.get(3)? };
    Ok((found, sha256))
}

/// Refuses what could not be kept.
pub(crate) fn check(artifacts: &[NewArtifact]) -> Result<(), StoreError> {
    if artifacts.len() > ARTIFACTS_MAX {
        return Err(StoreError::TooLong { what: "list of artifacts", max: ARTIFACTS_MAX as u64 });
    }
    // Three bytes stand for each that is not UTF-8.
    artifacts.iter().try_for_each(|new| {
        at_most("path of an artifact", &new.path, 3 * PATH_BYTES_MAX)?;
        at_most("type of an artifact", &new.mime, NAME_BYTES_MAX)
    })
}

/// Keeps the artifacts of a run. Of two with one path, which replaced bytes can bring about, the first is kept.
pub(crate) fn insert(
    transaction: &mut Transaction<'_>,
    run: i64,
    artifacts: &[NewArtifact],
) -> Result<(), StoreError> {
    for new in artifacts {
        let (sha256, bytes) = (new.content.sha256(), int(new.content.bytes()));
        let sql = "INSERT OR IGNORE INTO artifacts (run, path, bytes, sha256, mime) VALUES (?, ?, ?, ?, ?)";
        if transaction.execute(sql, params![run, new.path, bytes, sha256, new.mime])? == 0 {
            continue;
        }
        let sql = "INSERT INTO blobs (sha256, bytes, names) VALUES (?, ?, 1)
            ON CONFLICT (sha256) DO UPDATE SET names = names + 1";
        transaction.execute(sql, params![sha256, bytes])?;
        transaction.blobs.adopt(&new.content, &mut transaction.changed)?;
    }
    Ok(())
}

/// Removes the artifacts of a run, and their contents where no other run has them. Returns how many bytes that gives free.
pub(crate) fn remove(transaction: &mut Transaction<'_>, run: i64) -> Result<u64, StoreError> {
    let contents: Vec<[u8; 32]> = transaction
        .sql("DELETE FROM artifacts WHERE run = ? RETURNING sha256")?
        .query_map([run], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut freed = 0;
    for sha256 in contents {
        let last = "DELETE FROM blobs WHERE sha256 = ? AND names = 1 RETURNING bytes";
        let bytes: Option<i64> = transaction.sql(last)?.query_row([sha256], |row| row.get(0)).optional()?;
        match bytes {
            Some(bytes) => {
                freed += count(bytes);
                transaction.after.push(After::RemoveBlob(sha256));
            }
            None => {
                let sql = "UPDATE blobs SET names = names - 1 WHERE sha256 = ?";
                transaction.execute(sql, [sha256])?;
            }
        }
    }
    Ok(freed)
}
