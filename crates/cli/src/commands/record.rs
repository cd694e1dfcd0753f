//! Leaves a record of a one-shot run in the data directory, for whoever opens the store next: a file, since opening a database
//! would cost more than the run.

use crate::env::Settings;
use model::{RunResult, TenantId};
use sandbox::run::Settled;
use server::service::now_ms;
use server::settings::Settings as ServiceSettings;
use std::io::Seek;
use store::{Durability, NewRun, Options, Record, Retention, Store, StoreError, spool, spool::ToSpool};

/// One in so many runs takes the records into the store and removes what is too old, so that they do not pile up without a service.
const TAKE_IN_EVERY: u8 = 64;

/// Writes the record. That it could not be written is said, and changes nothing: the run is over and its answer given.
pub fn record(settings: &Settings, request: String, result: RunResult, settled: &Settled) {
    let chance = result.id.as_str().bytes().fold(0u8, u8::wrapping_add);
    let written = write(settings, request, result, settled)
        .and_then(|()| if chance % TAKE_IN_EVERY == 0 { take_in(settings) } else { Ok(()) });
    if let Err(error) = written {
        eprintln!("fireclay: the run is not recorded: {error}");
    }
}

fn write(
    settings: &Settings,
    request: String,
    result: RunResult,
    settled: &Settled,
) -> Result<(), StoreError> {
    let settled_at_ms = now_ms();
    let wall_ms = i64::try_from(result.usage.wall_ms).unwrap_or(0);
    let run = NewRun {
        id: result.id.clone(),
        tenant: TenantId::local(),
        created_at_ms: settled_at_ms - wall_ms,
        language: result.language,
        request,
        metadata: result.metadata.clone(),
        session: None,
        batch: None,
        idempotency: None,
    };
    let mut files: Vec<&std::fs::File> = settled.collected.files.iter().map(|left| &left.file).collect();
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
    let record = Record { run, started_at_ms, settled_at_ms, result, events: Vec::new() };
    spool::write(&settings.data, record, artifacts, Durability::Commit)
}

/// Takes all records in, and removes the oldest by the service's own defaults. A service that runs does both itself.
fn take_in(settings: &Settings) -> Result<(), StoreError> {
    let store = match Store::open(&settings.data, Options::default()) {
        Err(StoreError::InUse { .. }) => return Ok(()),
        other => other?,
    };
    while store.ingest_spool(now_ms())?.more {}
    let keep = ServiceSettings::resolve(None, &[], &[]).expect("the defaults are settings").retention;
    let retention = Retention {
        max_age_ms: i64::try_from(keep.age_ms).ok(),
        max_bytes: Some(keep.bytes),
        ..Retention::default()
    };
    while store.retain(retention.clone(), now_ms()).wait()?.more {}
    Ok(())
}
