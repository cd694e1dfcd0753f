//! What the service does besides: takes in what runs and one-shot commands left, and removes what is too old or too much.

use crate::problem::Problem;
use crate::service::{Service, now_ms};
use model::RunResult;
use std::fs::File;
use store::{NewArtifact, Retention, StoreError};

/// Most records of one-shot commands that are taken in at once; the rest waits for the next time.
const SPOOL_RECORDS_MAX: usize = 10_000;

impl Service {
    /// Takes the artifacts of a settled run into the store.
    pub(crate) async fn keep_artifacts(
        &self,
        directory: &std::path::Path,
        result: &RunResult,
    ) -> Result<Vec<NewArtifact>, StoreError> {
        if result.artifacts.is_empty() {
            return Ok(Vec::new());
        }
        let (store, directory, artifacts) =
            (self.store.clone(), directory.to_owned(), result.artifacts.clone());
        let keep = move || {
            let mut kept = Vec::new();
            for (index, artifact) in artifacts.into_iter().enumerate() {
                let path = directory.join(index.to_string());
                let mut file =
                    File::open(&path).map_err(|source| StoreError::Io { doing: "open", path, source })?;
                let content = store.stage(&mut file, artifact.bytes)?;
                kept.push(NewArtifact { path: artifact.path, mime: artifact.mime, content });
            }
            if let Err(error) = std::fs::remove_dir_all(&directory) {
                worker::log::warn(format_args!("remove {}: {error}", directory.display()));
            }
            Ok(kept)
        };
        tokio::task::spawn_blocking(keep).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes in what one-shot commands left, and removes what is too old or too much, a step at a time.
    pub async fn keep_house(&self) -> Result<(), Problem> {
        let store = self.store.clone();
        let ingested =
            tokio::task::spawn_blocking(move || store.ingest_spool(SPOOL_RECORDS_MAX, now_ms())).await;
        for (name, wrong) in ingested.unwrap_or(Err(StoreError::Closed))?.bad {
            worker::log::warn(format_args!("the record {name} was put aside: {wrong}"));
        }
        let keep = &self.settings.retention;
        let retention = Retention {
            max_age_ms: i64::try_from(keep.age_ms).ok(),
            max_bytes: Some(keep.bytes),
            max_runs: None,
            traces_max_age_ms: i64::try_from(self.settings.traces.age_ms).ok(),
            traces_max: Some(self.settings.traces.max),
            audit_max_age_ms: None,
        };
        while self.store.retain(retention.clone(), now_ms()).await?.more {}
        Ok(())
    }
}
