//! Leaves a record of a one-shot run in the data directory, for whoever opens the store next: a file, since opening a database
//! would cost more than the run.

use crate::env::{self, Settings};
use model::{RunRequest, RunResult, TenantId};
use sandbox::files::Left;
use server::service::now_ms;
use server::settings::{Settings as ServiceSettings, TraceSettings};
use server::traces::Timeline;
use std::io::Seek;
use store::{
    Durability, NewRun, Options, Record, Retention, Store, StoreError, TraceContent, spool, spool::ToSpool,
};

/// With so many records in the spool, a run takes them into the store and removes what is too old: without a service nobody else does.
const TAKE_IN_RECORDS: usize = 64;
/// Likewise with so many bytes of records and artifacts.
const TAKE_IN_BYTES: u64 = 256 << 20;
/// Likewise when the oldest has waited for a day, so that age is kept by those who run little.
const TAKE_IN_AFTER_MS: i64 = 24 * 60 * 60 * 1000;
/// Most files of the spool that a run looks at. More than this are too many.
const LOOK_FILES: usize = 512;
/// Most records that one run takes in, twice what it finds when nothing went wrong before.
const TAKE_IN_MOST: usize = 2 * TAKE_IN_RECORDS;
/// Most steps of retention that one run makes. One removes up to 100 runs, so what is too much shrinks faster than it grows.
const RETAIN_STEPS: usize = 4;

/// What is known of a run that is over.
pub struct Over<'a> {
    /// The request, as JSON.
    pub request: String,
    /// What came of it.
    pub result: RunResult,
    /// What it left, as `result.artifacts` says.
    pub left: &'a [Left],
    /// When what was done, if that could be followed.
    pub timeline: Option<Timeline>,
}

/// Writes the record. That it could not be written is said, and changes nothing: the run is over and its answer given.
pub fn record(settings: &Settings, over: Over<'_>) {
    if let Err(error) = write(settings, over) {
        eprintln!("fireclay: the run is not recorded: {error}");
    }
    if let Err(error) = tidy(settings) {
        eprintln!("fireclay: older records are not taken in: {error}");
    }
}

/// Takes records in when it is time to.
fn tidy(settings: &Settings) -> Result<(), StoreError> {
    let spool::Backlog { records, bytes, oldest_ms, more } = spool::backlog(&settings.data, LOOK_FILES)?;
    let old = oldest_ms.is_some_and(|at| now_ms().saturating_sub(at) > TAKE_IN_AFTER_MS);
    if records >= TAKE_IN_RECORDS || bytes >= TAKE_IN_BYTES || old || more {
        take_in(settings)
    } else {
        Ok(())
    }
}

fn write(settings: &Settings, over: Over<'_>) -> Result<(), StoreError> {
    let Over { request, result, left, timeline } = over;
    let settled_at_ms = now_ms();
    let wall_ms = i64::try_from(result.usage.wall_ms).unwrap_or(0);
    let said: Option<RunRequest> = serde_json::from_str(&request).ok();
    let code = said.map(|said| said.code).unwrap_or_default();
    let traces = traces();
    let followed = timeline.filter(|_| traces.enabled);
    let (trace, trace_end) =
        followed.map(|timeline| server::traces::alone(&code, &result, &timeline, traces.content)).unzip();
    let run = NewRun {
        id: result.id.clone(),
        tenant: TenantId::local(),
        created_at_ms: settled_at_ms - wall_ms,
        language: result.language,
        request,
        metadata: result.metadata.clone(),
        session: None,
        batch: None,
        trace,
        idempotency: None,
    };
    let mut files: Vec<&std::fs::File> = left.iter().map(|left| &left.file).collect();
    for file in &mut files {
        file.rewind().map_err(|source| StoreError::Io { doing: "read", path: "artifact".into(), source })?;
    }
    let artifacts = result.artifacts.iter().zip(&mut files).map(|(artifact, content)| ToSpool {
        path: artifact.path.clone(),
        mime: artifact.mime.clone(),
        content,
    });
    let artifacts = artifacts.collect();
    let started_at_ms = Some(settled_at_ms - wall_ms);
    let record = Record { run, started_at_ms, settled_at_ms, result, events: Vec::new(), trace: trace_end };
    spool::write(&settings.data, record, artifacts, Durability::Commit)
}

/// What a service with this environment would do about traces. With what cannot be read nothing is shown.
pub fn traces() -> TraceSettings {
    let said = ServiceSettings::resolve(None, &env::of_the_service(), &[]);
    said.map_or_else(
        |error| {
            eprintln!("fireclay: {error}: traces are without content");
            let usual = ServiceSettings::resolve(None, &[], &[]).expect("the defaults are settings").traces;
            TraceSettings { content: TraceContent::Off, ..usual }
        },
        |settings| settings.traces,
    )
}

/// Takes records in, and removes the oldest by the service's own defaults, as much as a run may cost. A service that runs does both
/// itself.
fn take_in(settings: &Settings) -> Result<(), StoreError> {
    let store = match Store::open(&settings.data, Options::default()) {
        Err(StoreError::InUse { .. }) => return Ok(()),
        other => other?,
    };
    store.ingest_spool(TAKE_IN_MOST, now_ms())?;
    let keep = ServiceSettings::resolve(None, &[], &[]).expect("the defaults are settings").retention;
    let retention = Retention {
        max_age_ms: i64::try_from(keep.age_ms).ok(),
        max_bytes: Some(keep.bytes),
        ..Retention::default()
    };
    for _ in 0..RETAIN_STEPS {
        if !store.retain(retention.clone(), now_ms()).wait()?.more {
            break;
        }
    }
    Ok(())
}
