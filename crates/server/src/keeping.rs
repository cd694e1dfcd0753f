//! Keeping of what a run leaves: its files move into the store before anybody is told of its result.

use crate::service::Service;
use model::RunResult;
use std::fs::File;
use store::{NewArtifact, StoreError};

impl Service {
    /// Moves the files of a settled run from `directory` into the store.
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
                eprintln!("fireclay: remove {}: {error}", directory.display());
            }
            Ok(kept)
        };
        tokio::task::spawn_blocking(keep).await.unwrap_or(Err(StoreError::Closed))
    }
}
