//! Records of one-shot commands that do not pay for opening a database: files, taken in by whoever opens the store next.
//!
//! A record is `spool/<run id>.json`, its artifacts `spool/<run id>.<number>`. The record appears last, by renaming, so what has one
//! is complete; what has none after an hour was left by a writer that died. Files here are only as trustworthy as whoever may
//! write below the data directory: each is bounded, parsed strictly, and put aside if it is not what it should be.

use crate::blobs::{hex, make_directory};
use crate::columns::to_json;
use crate::limits::{
    SPOOL_ARTIFACT_BYTES_MAX, SPOOL_GROUP, SPOOL_INGEST_MAX, SPOOL_RECORD_BYTES_MAX, SPOOL_STALE_MS,
};
use crate::writer::{Answer, answered};
use crate::{Admission, Durability, NewArtifact, NewRun, RunEvent, Settlement, Store, StoreError, TraceEnd};
use model::limits::ARTIFACTS_MAX;
use model::{RunId, RunResult};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A settled run, as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The run as it was admitted. Its idempotency key, if any, is left out.
    pub run: NewRun,
    /// When it entered a sandbox, milliseconds since 1970.
    pub started_at_ms: Option<i64>,
    /// When it was settled.
    pub settled_at_ms: i64,
    /// What became of it.
    pub result: RunResult,
    /// What was told while it ran, in order of `seq`.
    pub events: Vec<RunEvent>,
    /// As [`Settlement::trace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceEnd>,
}

/// An artifact to be kept with a record.
pub struct ToSpool<'a> {
    /// Where it lay, relative to the workspace.
    pub path: String,
    /// A guess by its name.
    pub mime: String,
    /// Its content, of at most [`SPOOL_ARTIFACT_BYTES_MAX`].
    pub content: &'a mut dyn Read,
}

/// What taking in the spool found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Records that are in the store now and were not before.
    pub taken: usize,
    /// Records that were there already.
    pub known: usize,
    /// Files that are no records, moved to `spool/bad`: name, and what is wrong.
    pub bad: Vec<(String, String)>,
    /// Whether there may be more: at most [`SPOOL_INGEST_MAX`] files are looked at, and as many records taken as were asked for.
    pub more: bool,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spooled {
    record: Record,
    artifacts: Vec<Beside>,
}

/// A file beside the record, in the order of their numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    path: String,
    mime: String,
    bytes: u64,
    sha256: String,
}

/// Writes a record into the spool of a data directory, which is made (0700) if it is not there. Needs no lock and waits for nobody.
///
/// When it returns, the record survives the death of this process; with [`Durability::Fsync`] a loss of power too.
pub fn write(
    data: &Path,
    record: Record,
    artifacts: Vec<ToSpool<'_>>,
    durability: Durability,
) -> Result<(), StoreError> {
    if artifacts.len() > ARTIFACTS_MAX {
        return Err(StoreError::TooLong { what: "list of artifacts", max: ARTIFACTS_MAX as u64 });
    }
    let spool = data.join("spool");
    let id = record.run.id.clone();
    let mut spooled = Spooled { record, artifacts: Vec::new() };
    let mut parts = Parts(Vec::new());
    for (number, artifact) in artifacts.into_iter().enumerate() {
        let path = spool.join(format!("{id}.{number}"));
        parts.0.push(path.clone());
        spooled.artifacts.push(keep(&path, artifact, durability)?);
    }
    let text = to_json(&spooled, "record", SPOOL_RECORD_BYTES_MAX as usize)?;
    let (half, whole) = (spool.join(format!("{id}.tmp")), spool.join(format!("{id}.json")));
    parts.0.push(half.clone());
    let mut file = create(&half)?;
    file.write_all(text.as_bytes()).map_err(StoreError::io("write", &half))?;
    sync(&file, &half, durability)?;
    fs::rename(&half, &whole).map_err(StoreError::io("name", &whole))?;
    parts.0.clear();
    if durability == Durability::Fsync {
        let directory = File::open(&spool).map_err(StoreError::io("open", &spool))?;
        sync(&directory, &spool, durability)?;
    }
    Ok(())
}

/// Files of a record that is not complete: removed when dropped, so that a full disk is not made fuller.
struct Parts(Vec<PathBuf>);

impl Drop for Parts {
    fn drop(&mut self) {
        // What cannot be removed now goes after an hour.
        self.0.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

/// Writes one artifact beside its record.
fn keep(path: &Path, artifact: ToSpool<'_>, durability: Durability) -> Result<Beside, StoreError> {
    let mut file = create(path)?;
    let mut hash = Sha256::new();
    let mut content = artifact.content.take(SPOOL_ARTIFACT_BYTES_MAX + 1);
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::io("read what goes to", path)(error)),
        };
        bytes += count as u64;
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(StoreError::io("write", path))?;
    }
    if bytes > SPOOL_ARTIFACT_BYTES_MAX {
        return Err(StoreError::TooLong { what: "artifact", max: SPOOL_ARTIFACT_BYTES_MAX });
    }
    sync(&file, path, durability)?;
    let sha256 = hex(&hash.finalize());
    Ok(Beside { path: artifact.path, mime: artifact.mime, bytes, sha256 })
}

/// Makes a file in the spool, and the spool with it the first time.
fn create(path: &Path) -> Result<File, StoreError> {
    let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let spool = path.parent().unwrap_or(path);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(spool);
            made.map_err(StoreError::io("make", spool))?;
            open()
        }
        opened => opened,
    }
    .map_err(StoreError::io("make", path))
}

fn sync(file: &File, path: &Path, durability: Durability) -> Result<(), StoreError> {
    match durability {
        Durability::Commit => Ok(()),
        Durability::Fsync => file.sync_all().map_err(StoreError::io("sync", path)),
    }
}

/// What waits in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Records.
    pub records: usize,
    /// Their bytes, and those of their artifacts.
    pub bytes: u64,
    /// When the oldest file was written, milliseconds since 1970; absent if there is none.
    pub oldest_ms: Option<i64>,
    /// Whether there are more files than were looked at.
    pub more: bool,
}

/// Looks at the spool of a data directory, without opening the store. Stops after `files_max` files, so that it never costs much.
pub fn backlog(data: &Path, files_max: usize) -> Result<Backlog, StoreError> {
    let spool = data.join("spool");
    let entries = match fs::read_dir(&spool) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Backlog::default()),
        entries => entries.map_err(StoreError::io("list", &spool))?,
    };
    let mut backlog = Backlog::default();
    for (number, entry) in entries.enumerate() {
        if number == files_max {
            backlog.more = true;
            break;
        }
        let entry = entry.map_err(StoreError::io("list", &spool))?;
        let name = entry.file_name();
        if !matches!(name.to_str().map(named), Some(Named::Record(_) | Named::Part(_))) {
            continue;
        }
        // Gone between the look and this: another has taken it in.
        let Ok(metadata) = entry.metadata() else { continue };
        backlog.records += usize::from(name.to_string_lossy().ends_with(".json"));
        backlog.bytes += metadata.len();
        let written_ms = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let written_ms = written_ms.map(|since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        backlog.oldest_ms = [backlog.oldest_ms, written_ms].into_iter().flatten().min();
    }
    Ok(backlog)
}

impl Store {
    /// Takes in at most `records_max` of what one-shot commands have spooled. Blocks. A record that is in the store already is removed
    /// from the spool and changes nothing, so an interrupted call is simply repeated; what is no record is put aside and told.
    ///
    /// Fails only for our own reasons, and then leaves in the spool what it has not taken in.
    pub fn ingest_spool(&self, records_max: usize, now_ms: i64) -> Result<Ingested, StoreError> {
        let spool = self.directory().join("spool");
        let entries = match fs::read_dir(&spool) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ingested::default()),
            entries => entries.map_err(StoreError::io("list", &spool))?,
        };
        let mut ingest = Ingest { store: self, spool, waiting: Vec::new(), found: Ingested::default() };
        for (number, entry) in entries.enumerate() {
            let records = ingest.found.taken + ingest.found.known + ingest.waiting.len();
            if number == SPOOL_INGEST_MAX || records == records_max {
                ingest.found.more = true;
                break;
            }
            let name = entry.map_err(StoreError::io("list", &ingest.spool))?.file_name();
            ingest.look_at(name, now_ms)?;
            if ingest.waiting.len() == SPOOL_GROUP {
                ingest.finish()?;
            }
        }
        ingest.finish()?;
        Ok(ingest.found)
    }
}

/// One walk through the spool.
struct Ingest<'a> {
    store: &'a Store,
    spool: PathBuf,
    waiting: Vec<Waiting>,
    found: Ingested,
}

/// A record that the writer has.
struct Waiting {
    id: RunId,
    artifacts: usize,
    answer: Answer<Admission>,
}

/// What a name in the spool says.
enum Named {
    Record(RunId),
    /// A part of a record that is not there yet, or any more.
    Part(RunId),
    BadDirectory,
    Unknown,
}

fn named(name: &str) -> Named {
    if name == "bad" {
        return Named::BadDirectory;
    }
    let Some((id, end)) = name.rsplit_once('.') else { return Named::Unknown };
    match (id.parse(), end) {
        (Ok(id), "json") => Named::Record(id),
        (Ok(id), end) if end == "tmp" || end.parse::<u16>().is_ok() => Named::Part(id),
        _ => Named::Unknown,
    }
}

/// Why a record is not taken: it is no record, or we failed.
enum Refused {
    Bad(String),
    Ours(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        if error.is_mistake() { Self::Bad(error.to_string()) } else { Self::Ours(error) }
    }
}

fn bad(error: impl ToString) -> Refused {
    Refused::Bad(error.to_string())
}

impl Ingest<'_> {
    fn look_at(&mut self, name: OsString, now_ms: i64) -> Result<(), StoreError> {
        match name.to_str().map_or(Named::Unknown, named) {
            Named::Record(id) => match self.submit(&id) {
                Ok(waiting) => {
                    self.waiting.push(waiting);
                    Ok(())
                }
                Err(Refused::Bad(why)) => self.put_aside(name, why),
                Err(Refused::Ours(error)) => Err(error),
            },
            Named::Part(id) => {
                let path = self.spool.join(name);
                let record = self.spool.join(format!("{id}.json"));
                let wanted = record.try_exists().map_err(StoreError::io("look for", &record))?;
                if wanted || !is_stale(&path, now_ms) { Ok(()) } else { gone(&path) }
            }
            Named::BadDirectory => Ok(()),
            Named::Unknown => self.put_aside(name, "not a name of the spool".to_owned()),
        }
    }

    /// Reads a record and gives it to the writer.
    fn submit(&self, id: &RunId) -> Result<Waiting, Refused> {
        let spooled = read(&self.spool.join(format!("{id}.json")))?;
        let record = spooled.record;
        if &record.run.id != id {
            return Err(bad("the record of another run"));
        }
        if spooled.artifacts.len() > ARTIFACTS_MAX {
            return Err(bad("too many artifacts"));
        }
        let artifacts: Vec<NewArtifact> = (0..)
            .zip(&spooled.artifacts)
            .map(|(number, beside)| self.stage(id, number, beside))
            .collect::<Result<_, _>>()?;
        let count = artifacts.len();
        let settlement = Settlement {
            settled_at_ms: record.settled_at_ms,
            result: record.result,
            events: record.events,
            artifacts,
            verdict: None,
            trace: record.trace,
        };
        let write = self.store.record(record.run, record.started_at_ms, settlement);
        Ok(Waiting { id: id.clone(), artifacts: count, answer: write.begin()? })
    }

    fn stage(&self, id: &RunId, number: usize, beside: &Beside) -> Result<NewArtifact, Refused> {
        let mut file = open(&self.spool.join(format!("{id}.{number}")))?;
        let content = self.store.stage(&mut file, SPOOL_ARTIFACT_BYTES_MAX)?;
        if hex(&content.sha256()) != beside.sha256 || content.bytes() != beside.bytes {
            return Err(bad(format!("artifact {number} is not what was written")));
        }
        Ok(NewArtifact { path: beside.path.clone(), mime: beside.mime.clone(), content })
    }

    /// Waits for what the writer has, and removes from the spool what is in the store.
    fn finish(&mut self) -> Result<(), StoreError> {
        for Waiting { id, artifacts, answer } in std::mem::take(&mut self.waiting) {
            let name = format!("{id}.json");
            match answered(answer.blocking_recv()) {
                Ok(_) => self.found.taken += 1,
                Err(StoreError::Exists { .. }) => self.found.known += 1,
                Err(error) if error.is_mistake() => {
                    self.put_aside(name.into(), error.to_string())?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            // The record first: parts without one are removed later, a record without its parts would be bad.
            gone(&self.spool.join(name))?;
            (0..artifacts).try_for_each(|number| gone(&self.spool.join(format!("{id}.{number}"))))?;
        }
        Ok(())
    }

    fn put_aside(&mut self, name: OsString, why: String) -> Result<(), StoreError> {
        let aside = self.spool.join("bad");
        make_directory(&aside)?;
        let path = self.spool.join(&name);
        fs::rename(&path, aside.join(&name)).map_err(StoreError::io("put aside", &path))?;
        self.found.bad.push((name.to_string_lossy().into_owned(), why));
        Ok(())
    }
}

/// Opens a plain file; whatever else lies there, link, pipe or device, is neither followed nor waited for.
fn open(path: &Path) -> Result<File, Refused> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = file.map_err(bad)?;
    if file.metadata().map_err(bad)?.is_file() { Ok(file) } else { Err(bad("not a file")) }
}

fn read(path: &Path) -> Result<Spooled, Refused> {
    let mut text = Vec::new();
    let file = open(path)?;
    file.take(SPOOL_RECORD_BYTES_MAX + 1).read_to_end(&mut text).map_err(bad)?;
    if text.len() as u64 > SPOOL_RECORD_BYTES_MAX {
        return Err(bad("too long"));
    }
    serde_json::from_slice(&text).map_err(bad)
}

/// Whether a file was last written more than an hour ago; what cannot be told is young.
fn is_stale(path: &Path, now_ms: i64) -> bool {
    let written = path.symlink_metadata().and_then(|metadata| metadata.modified()).ok();
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let written_ms = written.and_then(|since| i64::try_from(since.as_millis()).ok());
    written_ms.is_some_and(|at| now_ms.saturating_sub(at) > SPOOL_STALE_MS)
}

/// Removes a file that may be gone already.
fn gone(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
